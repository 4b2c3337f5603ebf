//! Translation of GitLab files into pipeline files.

mod cases;
mod import;
mod includes;
mod includes_elsewhere;
mod keys;
mod keywords;
mod large;
mod matrix;
mod messages;
mod robustness;
mod triggers;
mod variables;
mod words;

use std::{fs, path::Path};

use tidemill_core::api::Trigger;
use tidemill_core::execution::facts::{Facts, PullRequest};
use tidemill_core::gitlab::{TranslateOptions, translate};
use tidemill_core::pipeline::{FileError, Pipeline, PipelineErrors, PipelineWithSources, When, parse};
use tidemill_core::plan::Plan;

fn fixtures() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gitlab")
}

fn translate_fixture(name: &str, text: &str) -> Result<PipelineWithSources, PipelineErrors> {
    let read = |path: &str| {
        fs::read_to_string(fixtures().join(path))
            .map_err(|error| FileError::Repository(error.kind().to_string()))
    };
    translate(name, text, &read, &TranslateOptions::for_pipeline("app"))
}

/// The diagnostics of a GitLab file, as text.
fn diagnostics(text: &str) -> Vec<String> {
    let diagnostics = match translate_fixture(".gitlab-ci.yml", text) {
        Ok(translated) => translated.parsed.warnings,
        Err(errors) => errors.diagnostics,
    };
    diagnostics.iter().map(ToString::to_string).collect()
}

#[test]
fn real_gitlab_files_translate() {
    let mut names: Vec<String> = fs::read_dir(fixtures())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| Path::new(name).extension().is_some_and(|end| end == "yml"))
        .collect();
    names.sort();
    assert!(names.len() >= 15, "{names:?}");
    for name in names {
        let translated = match translate_fixture(&name, &fs::read_to_string(fixtures().join(&name)).unwrap())
        {
            Ok(translated) => translated,
            Err(errors) => panic!("{name}:\n{}", errors.render(false)),
        };
        let pipeline = parse(&translated.text).unwrap();
        assert_eq!(pipeline, translated.parsed.pipeline, "{name}");
        let output = format!("{}\n---\n{}", translated.text, translated.render_warnings(false));
        insta::assert_snapshot!(name.trim_end_matches(".yml"), output);
    }
}

fn pipeline(text: &str) -> Pipeline {
    match translate_fixture(".gitlab-ci.yml", text) {
        Ok(translated) => translated.parsed.pipeline,
        Err(errors) => panic!("{}\n{text}", errors.render(false)),
    }
}

fn on_push(branch: &str) -> Facts {
    Facts {
        trigger: Trigger::Push,
        branch: Some(branch.to_owned()),
        commit: Some("0123456789abcdef0123".to_owned()),
        default_branch: Some("main".to_owned()),
        ..Facts::default()
    }
}

fn on_tag(tag: &str) -> Facts {
    Facts { branch: None, tag: Some(tag.to_owned()), ..on_push("") }
}

fn on_request() -> Facts {
    let request = PullRequest { number: 3, target_branch: "main".to_owned(), ..PullRequest::default() };
    Facts { trigger: Trigger::PullRequest, pull_request: Some(request), ..on_push("topic") }
}

/// The names of the jobs in the plan; empty if there is no plan.
fn jobs(text: &str, facts: &Facts) -> Vec<String> {
    Plan::for_facts(&pipeline(text), facts)
        .map_or_else(|_| Vec::new(), |plan| plan.jobs.into_iter().map(|job| job.name).collect())
}

#[test]
fn conditions_match_gitlab() {
    for (condition, branch, tag, request) in [
        (r"$CI_COMMIT_BRANCH", true, false, false),
        (r"$CI_COMMIT_TAG", false, true, false),
        (r"$CI_COMMIT_TAG == null", true, false, true),
        (r"null != $CI_COMMIT_TAG", false, true, false),
        (r#"$CI_MERGE_REQUEST_IID && $CI_PIPELINE_SOURCE == "merge_request_event""#, false, false, true),
        (r"$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH", true, false, false),
        (r"$CI_COMMIT_BRANCH != $CI_DEFAULT_BRANCH", false, true, true),
        (r"$CI_COMMIT_REF_NAME =~ /^MAIN$/i", true, false, false),
        (r"$CI_COMMIT_REF_NAME !~ /^main$/", false, true, true),
        (r"$CI_COMMIT_TAG =~ /^v\d+\.\d+$/", false, true, false),
        (r"$CI_COMMIT_TAG =~ /.*/", false, true, false),
        (r"$CI_COMMIT_REF_NAME =~ /a\/b|main/", true, false, false),
        (r#"$NOT_SET == """#, false, false, false),
        (r#"$EMPTY == """#, true, true, true),
        (r"$EMPTY", false, false, false),
        (r"$NOT_SET == $NOT_SET_EITHER", true, true, true),
        (r"$NOT_SET == $EMPTY", false, false, false),
        (r"$CI_COMMIT_TAG || $CI_COMMIT_BRANCH && $EMPTY", false, true, false),
        (r"($CI_COMMIT_TAG || $CI_COMMIT_BRANCH) && $EMPTY == ''", true, true, false),
        (r#""main" == $CI_COMMIT_BRANCH"#, true, false, false),
        (r"$CI_COMMIT_BRANCH =~ $PATTERN", true, false, false),
        (r#"$TO == "to-main""#, true, false, false),
        (r#""a" == "a""#, true, true, true),
        (r#"$FIXED == "to-x""#, true, true, true),
    ] {
        let text = format!(
            "default: {{ image: a }}\nvariables: {{ EMPTY: '', PATTERN: /^ma/, TO: to-$CI_COMMIT_REF_NAME, X: x, FIXED: to-$X }}\n\
             # CI_MERGE_REQUEST\nj:\n  script: x\n  rules:\n    - if: |-\n        {condition}\n"
        );
        for (expected, facts) in [(branch, on_push("main")), (tag, on_tag("v1.2")), (request, on_request())] {
            assert_eq!(!jobs(&text, &facts).is_empty(), expected, "{condition} with {facts:?}");
        }
    }
}

#[test]
fn only_and_except_match_gitlab() {
    for (policy, main, topic, tag, request) in [
        ("", true, true, true, false),
        ("only: [branches]", true, true, false, false),
        ("only: [tags]", false, false, true, false),
        ("only: [main]", true, false, false, false),
        ("only: [/^to.*$/]", false, true, false, false),
        ("only: [merge_requests]", false, false, false, true),
        ("only: [merge_requests, tags]", false, false, true, true),
        ("only: [schedules]", false, false, false, false),
        ("only: [pushes]", true, true, true, false),
        ("except: [main]", false, true, true, false),
        ("except: [tags, /^topic$/]", true, false, false, false),
        (
            "only: { refs: [branches], variables: [$CI_COMMIT_BRANCH == 'topic', $NO] }",
            false,
            true,
            false,
            false,
        ),
        ("only: { changes: [docs/*] }", false, false, false, false),
        ("only: { changes: [src/*] }", true, true, true, false),
        ("except: { changes: [src/*] }", false, false, false, false),
    ] {
        let text = format!("# merge_requests\nimage: a\nj:\n  script: x\n  {policy}\n");
        let changed = |facts: Facts| Facts { changed: Some(vec!["src/main.rs".to_owned()]), ..facts };
        for (expected, facts) in
            [(main, on_push("main")), (topic, on_push("topic")), (tag, on_tag("v1")), (request, on_request())]
        {
            assert_eq!(!jobs(&text, &changed(facts.clone())).is_empty(), expected, "{policy} with {facts:?}");
        }
    }
}

#[test]
fn workflow_decides_execution_and_variables() {
    let text = "image: a\nworkflow:\n  rules:\n    - { if: $CI_COMMIT_TAG, when: never }\n    - if: $CI_COMMIT_BRANCH == 'main'\n\
                \x20     variables: { TO: live }\n    - if: $CI_COMMIT_BRANCH\nvariables: { TO: test }\n\
                a: { script: x }\nb: { script: x, rules: [{ if: $CI_COMMIT_BRANCH == 'main', when: manual }, { exists: [x] }] }\n";
    assert_eq!(jobs(text, &on_tag("v1")), Vec::<String>::new());
    let main = Plan::for_facts(&pipeline(text), &on_push("main")).unwrap();
    assert_eq!(main.jobs.len(), 2);
    assert!(main.jobs.iter().all(|job| job.variables["TO"] == "live"), "{main:#?}");
    assert_eq!(main.jobs[1].when, When::Manual);
    let topic = Plan::for_facts(&pipeline(text), &on_push("topic")).unwrap();
    assert!(
        topic.jobs.len() == 2 && topic.jobs.iter().all(|job| job.variables["TO"] == "test"),
        "{topic:#?}"
    );
    assert_eq!(topic.jobs[1].when, When::OnSuccess);
}

#[test]
fn image_and_cache_references_use_planning_variables() {
    let text = "variables: { REGISTRY: r.example.com, IMAGE: $REGISTRY/app:$CI_COMMIT_SHORT_SHA }\n\
                j: { image: $IMAGE, script: x, cache: { key: $CI_JOB_NAME-$CI_COMMIT_REF_SLUG, paths: [a] } }\n";
    let plan = Plan::for_facts(&pipeline(text), &on_push("Topic/1")).unwrap();
    assert_eq!(plan.jobs[0].image, "r.example.com/app:01234567");
    assert_eq!(plan.jobs[0].surroundings.caches[0].key, "j-topic-1");
    let plan = Plan::for_facts(&pipeline(text), &Facts::default()).unwrap();
    assert_eq!(plan.jobs[0].surroundings.caches[0].key, "j-", "unknown values are empty");
}

#[test]
fn images_may_refer_to_variables_of_dotenv_reports() {
    let of = |reports: &str| {
        format!(
            "variables: {{ TAG: none }}\n\
             a: {{ stage: build, image: x, script: x, artifacts: {{ paths: [a], {reports} }} }}\n\
             b: {{ image: 'app:$TAG', services: ['db:$DB'], script: x }}\n\
             c: {{ image: x, cache: {{ paths: [a], key: $DB }}, script: x }}"
        )
    };
    assert_eq!(diagnostics(&of("untracked: true")).len(), 2, "both names are unknown");
    let found = diagnostics(&of("reports: { dotenv: a.env }"));
    assert!(found.len() == 1 && found[0].contains("DB"), "the key of a cache is used before: {found:?}");
    let text = of("reports: { dotenv: a.env }").replace("key: $DB", "key: d");
    let mut plan = Plan::for_facts(&pipeline(&text), &on_push("main")).unwrap();
    let b = &mut plan.jobs[1];
    assert_eq!((b.image.as_str(), b.surroundings.services[0].image.as_str()), ("app:none", "db:${DB}"));
    let outputs = [("TAG", "3"), ("DB", "16")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    b.apply_outputs(&outputs.into_iter().collect());
    assert_eq!((b.image.as_str(), b.surroundings.services[0].image.as_str()), ("app:3", "db:16"));
    assert_eq!(b.surroundings.services[0].alias, ["db"]);
}

#[test]
fn images_and_addresses_may_refer_to_the_ids_of_execution_and_job() {
    let text = "j: { image: 'app:$CI_PIPELINE_ID', services: ['db:$CI_PIPELINE_IID'], script: x, \
                environment: { name: a, url: 'https://e/$CI_JOB_ID' } }";
    let mut plan = Plan::for_facts(&pipeline(text), &on_push("main")).unwrap();
    let ids = [("CI_PIPELINE_ID", "5"), ("CI_PIPELINE_IID", "7"), ("CI_JOB_ID", "9")];
    let job = &mut plan.jobs[0];
    assert!(job.has_due_image());
    job.apply_outputs(&ids.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect());
    assert_eq!((job.image.as_str(), job.surroundings.services[0].image.as_str()), ("app:5", "db:7"));
    assert_eq!(job.surroundings.environment.as_ref().unwrap().url.as_deref(), Some("https://e/9"));
    // The key of a cache is known before.
    let found = diagnostics("j: { image: a, script: x, cache: { key: $CI_PIPELINE_ID, paths: [a] } }");
    assert!(found.len() == 1 && found[0].contains("set only when the job runs"), "{found:?}");
}

#[test]
fn gitlab_errors_have_locations() {
    let mut all = String::new();
    for text in [
        "j: { image: a, script: x, trigger: { include: b.yml } }\n",
        "include:\n  - remote: https://example.com/a.yml\n  - { project: a/b, file: c.yml }\n  - template: Auto-DevOps.gitlab-ci.yml\n  \
         - https://example.com/b.yml\n  - local: not-there.yml\n  - local: ../out.yml\n  - local: 'ci/*.yml'\n  - component: a/b@1\n",
        "j: { image: a, script: x, stage: nowhere, needs: [k, { pipeline: a/b }, { job: l, optional: true }] }\n",
        "j:\n  image: a\n  script: x\n  rules:\n    - if: $A == \"b\n    - if: '$A =~ /(/'\n    - if: ($A && $B\n    - if: $A and $B\n    \
         - if: $A =~ $P\n    - if: ''\n",
        "j: { image: a, script: x, extends: .k }\n.l: { extends: .m }\n.m: { extends: .l }\n",
        "j: { image: a, script: [!reference [.k, script], x] }\n",
        ".a: { script: [!reference [.a, script]] }\nj: { image: a, script: [!reference [.a, script]] }\n",
        "j: { image: a, scirpt: x }\n",
        "j: { image: $NOPE/app, script: x, artifacts: { untracked: true, reports: { dotenv: a.env } } }\n",
        "j: { image: a, script: [{ echo: b }] }\n",
        "j: { image: a, script: x, only: [main], rules: [{ when: always }] }\n",
        "j: { image: a, script: x, secrets: {}, id_tokens: {}, hooks: {}, timeout: soon, retry: 9, parallel: 0, when: later }\n",
        "stages: [a]\n.hidden: { script: x }\n",
        "j: [x]\n",
        "j: {image: a, script: x\n",
        "",
    ] {
        let errors = translate_fixture(".gitlab-ci.yml", text).expect_err(text);
        assert!(
            text.is_empty() || errors.diagnostics.iter().all(|one| one.location.is_some()),
            "{text}: {:#?}",
            errors.diagnostics
        );
        all.push_str(&errors.render(false));
        all.push_str("\n================\n");
    }
    insta::assert_snapshot!("mistakes", all);
}

#[test]
fn translation_keeps_values() {
    let text = "image: a\nj:\n  script:\n    - |\n      cat <<END\n        moved in\n\n      END\n    - \"echo 'é 🦀' \\t # no comment\"\n    - 'yes'\n    \
                - '1.10'\n    - \"#\"\n    - \"a: b\"\n    - 'true'\n  variables: { A: \"1.10\", B: ' x ', C: \"a\\nb\", D: \"$$HOME\", E: no }\n";
    let pipeline = pipeline(text);
    let job = &pipeline.jobs[0];
    assert_eq!(
        job.script,
        ["cat <<END\n  moved in\n\nEND\n", "echo 'é 🦀' \t # no comment", "yes", "1.10", "#", "a: b", "true"]
    );
    let values: Vec<&str> = job.variables.values().map(String::as_str).collect();
    assert_eq!(values, ["1.10", " x ", "a\nb", "$HOME", "false"]);
}

#[test]
fn artifact_sources_match_gitlab() {
    let dependencies = |keys: &str| {
        let text = format!(
            "image: a\none: {{ stage: build, script: x }}\ntwo: {{ stage: build, script: x, parallel: {{ matrix: [{{ A: [b, c] }}, {{ A: d }}] }} }}\n\
             j: {{ stage: deploy, script: x, {keys} }}\n"
        );
        let pipeline = pipeline(&text);
        let dependencies = pipeline.jobs.last().unwrap().dependencies.clone();
        dependencies.map(|needs| needs.into_iter().map(|need| need.job).collect::<Vec<_>>().join(", "))
    };
    let some = |names: &str| Some(names.to_owned());
    assert_eq!(dependencies("needs: [one, two]"), None);
    assert_eq!(dependencies("needs: [{ job: one, artifacts: false }, two]"), some("two"));
    assert_eq!(dependencies("needs: [{ job: one, artifacts: false }]"), some(""));
    assert_eq!(dependencies("needs: [{ job: one, artifacts: true }, two], dependencies: [one]"), some("one"));
    assert_eq!(dependencies("dependencies: []"), some(""));
    assert_eq!(dependencies("dependencies: [two]"), some("two"));
    let invalid = "image: a\none: { script: x }\nj: { stage: deploy, script: x, needs: [two], dependencies: [one, none] }\ntwo: { script: x }\n";
    let text = diagnostics(invalid).join("\n");
    assert!(
        text.contains("does not need `one`") && text.contains("no job `none` to take artifacts from"),
        "{text}"
    );
}

#[test]
fn runtime_values_are_exported_and_quoted() {
    let text = "image: a\nvariables: { A: 'x\"`$$(id)\\$CI_JOB_ID', B: $A-$A, PATH: '$PATH:/b' }\nj: { script: x, after_script: y }\n";
    let pipeline = pipeline(text);
    let job = &pipeline.jobs[0];
    let exports = [
        r#"export A="x\"\`\$(id)\\${CI_JOB_ID}""#,
        r#"export B="x\"\`\$(id)\\${CI_JOB_ID}-x\"\`\$(id)\\${CI_JOB_ID}""#,
        r#"export PATH="${PATH}:/b""#,
    ];
    assert_eq!(job.script[..3], exports);
    assert_eq!(job.surroundings.after_script[..3], exports);
    assert!(pipeline.variables.is_empty(), "{pipeline:#?}");
}

#[test]
fn includes_are_read_once_without_cycles() {
    let read_paths = std::cell::RefCell::new(Vec::new());
    let read = |path: &str| {
        read_paths.borrow_mut().push(path.to_owned());
        match path {
            "a.yml" => Ok("include: b.yml\n.a: { image: a, script: [of a] }\n".to_owned()),
            "b.yml" => Ok(".a: { image: b, script: [of b], stage: deploy }\n".to_owned()),
            "ring.yml" => Ok("include: [ring.yml]\n".to_owned()),
            _ => Err(FileError::NotListed),
        }
    };
    let translated = translate(
        "x.yml",
        "include: [b.yml, a.yml]\nj: { extends: .a }\n",
        &read,
        &TranslateOptions::for_pipeline("x"),
    )
    .unwrap();
    let job = &translated.parsed.pipeline.jobs[0];
    assert_eq!(
        (job.image.as_str(), job.stage.as_str(), job.script.as_slice()),
        ("a", "deploy", &["of a".to_owned()][..])
    );
    assert_eq!(*read_paths.borrow(), ["b.yml", "a.yml"]);
    let errors =
        translate("x.yml", "include: ring.yml\n", &read, &TranslateOptions::for_pipeline("x")).unwrap_err();
    let cycle = errors.diagnostics.iter().find(|one| one.message.contains("include each other")).unwrap();
    assert_eq!(cycle.file.as_deref(), Some("ring.yml"));
}

#[test]
fn mistakes_in_conditions_and_stages_come_with_help() {
    let rendered = |text: &str| {
        translate_fixture(".gitlab-ci.yml", text).expect_err("the file has a mistake").render(false)
    };
    for (condition, help) in [
        ("$CI_COMMIT_BRANCH = \"main\"", "write `==` to compare"),
        ("CI_COMMIT_BRANCH == \"main\"", "write a variable as `$NAME`"),
        ("$A & $B", "write `&&` or `||`"),
        ("$A and $B", "write `&&` or `||`"),
        ("! $A", "GitLab has no `!` before a condition"),
    ] {
        let text = format!("j: {{ image: x, script: [x], rules: [{{ if: '{condition}' }}] }}\n");
        let shown = rendered(&text);
        assert!(shown.contains(help), "{condition}: {shown}");
    }
    let shown = rendered("stages: [build]\nj: { image: x, script: [x] }\n");
    let said = "the job `j` has no `stage`, and the default, `test`, is not one of the stages";
    assert!(shown.contains(said) && shown.contains("or list `test` there"), "{shown}");
}
