//! GitLab files as they are found, and what becomes of them.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{collections::HashSet, fs, path::Path};

use proptest::prelude::*;
use tidemill_core::api::Trigger;
use tidemill_core::execution::facts::{Facts, PullRequest};
use tidemill_core::gitlab::{TranslateOptions, translate};
use tidemill_core::pipeline::{Pipeline, PipelineErrors, PipelineWithSources, When, parse};
use tidemill_core::plan::Plan;

fn fixtures() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gitlab")
}

fn from(name: &str, text: &str) -> Result<PipelineWithSources, PipelineErrors> {
    let read =
        |path: &str| fs::read_to_string(fixtures().join(path)).map_err(|error| error.kind().to_string());
    translate(name, text, &read, &TranslateOptions::of("app"))
}

fn said(text: &str) -> Vec<String> {
    let found = match from(".gitlab-ci.yml", text) {
        Ok(made) => made.parsed.warnings,
        Err(mistakes) => mistakes.found,
    };
    found.iter().map(ToString::to_string).collect()
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
        let made = match from(&name, &fs::read_to_string(fixtures().join(&name)).unwrap()) {
            Ok(made) => made,
            Err(mistakes) => panic!("{name}:\n{}", mistakes.render(false)),
        };
        let pipeline = parse(&made.text).unwrap();
        assert_eq!(pipeline, made.parsed.pipeline, "{name}");
        let seen = format!("{}\n---\n{}", made.text, made.render_warnings(false));
        insta::assert_snapshot!(name.trim_end_matches(".yml"), seen);
    }
}

fn pipeline(text: &str) -> Pipeline {
    match from(".gitlab-ci.yml", text) {
        Ok(made) => made.parsed.pipeline,
        Err(mistakes) => panic!("{}\n{text}", mistakes.render(false)),
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

/// The jobs that take part.
fn jobs(text: &str, facts: &Facts) -> Vec<String> {
    Plan::of(&pipeline(text), facts)
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
        (r"${CI_COMMIT_BRANCH} == 'main'", true, false, false),
        (r#""a" == "a""#, true, true, true),
        (r#"$FIXED == "to-x""#, true, true, true),
    ] {
        let text = format!(
            "default: {{ image: a }}\nvariables: {{ EMPTY: '', PATTERN: /^ma/, TO: to-$CI_COMMIT_REF_NAME, X: x, FIXED: to-$X }}\n\
             # CI_MERGE_REQUEST\nj:\n  script: x\n  rules:\n    - if: |-\n        {condition}\n"
        );
        for (wanted, facts) in [(branch, on_push("main")), (tag, on_tag("v1.2")), (request, on_request())] {
            assert_eq!(!jobs(&text, &facts).is_empty(), wanted, "{condition} with {facts:?}");
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
        for (wanted, facts) in
            [(main, on_push("main")), (topic, on_push("topic")), (tag, on_tag("v1")), (request, on_request())]
        {
            assert_eq!(!jobs(&text, &changed(facts.clone())).is_empty(), wanted, "{policy} with {facts:?}");
        }
    }
}

#[test]
fn workflow_decides_execution_and_variables() {
    let text = "image: a\nworkflow:\n  rules:\n    - { if: $CI_COMMIT_TAG, when: never }\n    - if: $CI_COMMIT_BRANCH == 'main'\n\
                \x20     variables: { TO: live }\n    - if: $CI_COMMIT_BRANCH\nvariables: { TO: test }\n\
                a: { script: x }\nb: { script: x, rules: [{ if: $CI_COMMIT_BRANCH == 'main', when: manual }, { exists: [x] }] }\n";
    assert_eq!(jobs(text, &on_tag("v1")), Vec::<String>::new());
    let main = Plan::of(&pipeline(text), &on_push("main")).unwrap();
    assert_eq!(main.jobs.len(), 2);
    assert!(main.jobs.iter().all(|job| job.variables["TO"] == "live"), "{main:#?}");
    assert_eq!(main.jobs[1].when, When::Manual);
    let topic = Plan::of(&pipeline(text), &on_push("topic")).unwrap();
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
    let plan = Plan::of(&pipeline(text), &on_push("Topic/1")).unwrap();
    assert_eq!(plan.jobs[0].image, "r.example.com/app:01234567");
    assert_eq!(plan.jobs[0].surroundings.caches[0].key, "j-topic-1");
    let plan = Plan::of(&pipeline(text), &Facts::default()).unwrap();
    assert_eq!(plan.jobs[0].surroundings.caches[0].key, "j-", "what is not known is empty");
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
        "a: { image: x, script: y }\na: { image: x, script: y }\n",
        "j: {image: a, script: x\n",
        "",
    ] {
        let mistakes = from(".gitlab-ci.yml", text).expect_err(text);
        assert!(
            text.is_empty() || mistakes.found.iter().all(|one| one.location.is_some()),
            "{text}: {:#?}",
            mistakes.found
        );
        all.push_str(&mistakes.render(false));
        all.push_str("\n================\n");
    }
    insta::assert_snapshot!("mistakes", all);
}

/// The keys of GitLab's reference of `.gitlab-ci.yml`, with a value each: in a file, in `default`, in a job, and in its parts.
const KEYS: &[(&str, &str)] = &[
    ("https://example.com/a.yml", "include: https://example.com/a.yml"),
    ("project", "include: { project: a/b, file: c.yml, ref: main }"),
    ("template", "include: { template: A.yml }"),
    ("component", "include: { component: a/b@1 }"),
    ("rules", "include: { local: ci/base.yml, rules: [{ if: $A }] }"),
    ("inputs", "include: { local: ci/base.yml, inputs: { a: b } }"),
    ("spec", "spec: { inputs: { a: {} } }"),
    ("on_job_failure", "workflow: { auto_cancel: { on_job_failure: all } }"),
    ("hooks", "default: { hooks: { pre_get_sources_script: [x] } }"),
    ("id_tokens", "default: { id_tokens: { A: { aud: b } } }"),
    ("identity", "default: { identity: google_cloud }"),
    ("interruptible", "j: { interruptible: true }\nk: { script: x }"),
    ("description", "variables: { A: { value: b, description: c } }"),
    ("options", "variables: { A: { value: b, options: [b, c] } }"),
    ("name", "j: { artifacts: { paths: [a], name: n } }"),
    ("exclude", "j: { artifacts: { paths: [a], exclude: [b] } }"),
    ("expose_as", "j: { artifacts: { paths: [a], expose_as: b } }"),
    ("public", "j: { artifacts: { paths: [a], public: false } }"),
    ("access", "j: { artifacts: { paths: [a], access: none } }"),
    ("untracked", "j: { artifacts: { untracked: true } }"),
    ("dotenv", "j: { artifacts: { reports: { dotenv: a.env } } }"),
    ("coverage_report", "j: { artifacts: { reports: { coverage_report: { path: a } } } }"),
    ("codequality", "j: { artifacts: { reports: { codequality: a.json } } }"),
    ("sast", "j: { artifacts: { reports: { sast: a.json } } }"),
    ("terraform", "j: { artifacts: { reports: { terraform: a.json } } }"),
    ("untracked", "j: { cache: { paths: [a], untracked: true } }"),
    ("unprotect", "j: { cache: { paths: [a], unprotect: true } }"),
    ("files_commits", "j: { cache: { paths: [a], key: { files_commits: [b] } } }"),
    ("coverage", "j: { coverage: x }"),
    ("coverage", "j: { coverage: // }"),
    ("coverage", "j: { coverage: /x/o }"),
    ("coverage", "j: { coverage: [/x/] }"),
    ("coverage", "j: { coverage: '/(x/' }"),
    ("coverage", "j: { coverage: '/\\d+(?=%)/' }"),
    ("coverage", "j: { coverage: '/(?<!a)x/' }"),
    ("coverage", "j: { coverage: '/(a)\\1/' }"),
    ("coverage", "j: { coverage: '/(\\w{1000}){1000}/' }"),
    ("dast_configuration", "j: { dast_configuration: { site_profile: a } }"),
    ("on_stop", "j: { environment: { name: a, on_stop: b } }"),
    ("action", "j: { environment: { name: a, action: stop } }"),
    ("auto_stop_in", "j: { environment: { name: a, auto_stop_in: 1 day } }"),
    ("kubernetes", "j: { environment: { name: a, kubernetes: { agent: b } } }"),
    ("deployment_tier", "j: { environment: { name: a, deployment_tier: staging } }"),
    ("hooks", "j: { hooks: { pre_get_sources_script: [x] } }"),
    ("id_tokens", "j: { id_tokens: { A: { aud: b } } }"),
    ("identity", "j: { identity: google_cloud }"),
    ("entrypoint", "j: { image: { name: a, entrypoint: [/x] } }"),
    ("docker", "j: { image: { name: a, docker: { user: b } } }"),
    ("kubernetes", "j: { image: { name: a, kubernetes: { user: b } } }"),
    ("inputs", "j: { inputs: { a: b } }"),
    ("manual_confirmation", "j: { when: manual, manual_confirmation: sure? }"),
    (
        "parallel",
        "k: { script: x }\nj: { stage: deploy, needs: [{ job: k, parallel: { matrix: [{ A: b }] } }] }",
    ),
    ("pipeline", "j: { needs: [{ pipeline: $UP, job: a }] }"),
    ("project", "j: { needs: [{ project: a/b, job: a, ref: main, artifacts: true }] }"),
    ("kubernetes", "j: { only: { kubernetes: active } }"),
    ("api", "j: { only: [api] }"),
    ("pages", "pages: { script: x }"),
    ("pages", "j: { pages: true }"),
    ("publish", "j: { publish: dist }"),
    ("release", "j: { release: { tag_name: a } }"),
    ("resource_group", "j: { resource_group: a }"),
    ("unmet", "j: { retry: { max: 1, when: unmet_and_unknown } }"),
    ("compare_to", "j: { rules: [{ changes: { paths: [a], compare_to: b } }] }"),
    ("project", "j: { rules: [{ exists: { paths: [a], project: b } }] }"),
    ("needs", "j: { rules: [{ when: always, needs: [a] }] }"),
    ("interruptible", "j: { rules: [{ when: always, interruptible: true }] }"),
    ("start_in", "j: { rules: [{ when: delayed, start_in: 1 day }] }"),
    ("run", "j: { run: [{ name: a }] }"),
    ("secrets", "j: { secrets: { A: { vault: b } } }"),
    ("pull_policy", "j: { services: [{ name: a, pull_policy: always }] }"),
    ("docker", "j: { services: [{ name: a, docker: { user: b } }] }"),
    ("delayed", "j: { when: delayed, start_in: 1 day }"),
    ("start_in", "j: { when: delayed, start_in: 1 day }"),
    ("trigger", "j: { trigger: a/b }"),
    ("manual", "j: { when: manual, allow_failure: false }"),
    ("GIT_STRATEGY", "variables: { GIT_STRATEGY: none }"),
    ("FF_USE_FASTZIP", "j: { variables: { FF_USE_FASTZIP: 1 } }"),
    ("CI_COMMIT_MESSAGE", "j: { rules: [{ if: $CI_COMMIT_MESSAGE =~ /x/ }] }"),
];

/// The keys that are supported, each where the native file has what follows from it.
const SUPPORTED_KEYS: &[(&str, &str)] = &[
    ("stages: [s]\nj: { stage: s }", "- s"),
    ("types: [s]\nj: { stage: s }", "- s"),
    ("default: { image: i }", "image: i"),
    ("image: i", "image: i"),
    ("services: [s]", "image: s"),
    ("before_script: [first]", "- first"),
    ("after_script: [last]", "- last"),
    ("cache: { paths: [kept] }", "- kept"),
    ("variables: { A: b }", "A: b"),
    ("variables: { A: { value: b, expand: false } }", "A: b"),
    ("workflow: { name: other }", "name: other"),
    ("workflow: { rules: [{ if: $A }] }", "env(\"A\") != \"\""),
    (
        "workflow: { auto_cancel: { on_new_commit: interruptible } }\ndefault: { interruptible: true }",
        "interruptible: true",
    ),
    ("default: { artifacts: { paths: [kept] }, retry: 1, tags: [t], timeout: 1h }", "t: 'true'"),
    ("include: ci/base.yml\nj: { extends: .go }", "golang:1.24"),
    (".k: { script: [shared] }\nj: { script: [!reference [.k, script]] }", "- shared"),
    ("j: { allow_failure: true }", "allow_failure: true"),
    ("j: { allow_failure: { exit_codes: 3 } }", "- 3"),
    ("j: { artifacts: { paths: [a], when: always, expire_in: 2 days } }", "expire_in: 2d"),
    ("j: { artifacts: { reports: { junit: a.xml } } }", "- a.xml"),
    (
        "j: { cache: { key: { files: [a], prefix: b }, paths: [c], policy: pull, when: always, fallback_keys: [d] } }",
        "policy: pull",
    ),
    ("j: { coverage: '/TOTAL.*? (\\d+%)$/' }", "coverage: TOTAL.*? (\\d+%)$"),
    ("j: { coverage: '/of a\\/b or a/b: \\d+\\%/' }", "coverage: 'of a\\/b or a/b: \\d+\\%'"),
    ("j: { coverage: /cover/i }", "coverage: (?i)cover"),
    ("k: { script: x }\nj: { coverage: }", "- x"),
    ("j: { environment: { name: a, url: https://b } }", "url: https://b"),
    ("j: { except: [main] }", "CI_COMMIT_REF_NAME"),
    ("j: { only: { refs: [main], changes: [a], variables: [$B] } }", "changed(\"a\")"),
    ("j: { image: { name: i, pull_policy: always } }", "pull_policy: always"),
    ("image: i\nj: { inherit: { default: false, variables: false } }", "ruby:3.1"),
    ("k: { script: x }\nj: { stage: deploy, needs: [{ job: k, optional: true }] }", "- k"),
    ("j: { parallel: 2 }", "CI_NODE_INDEX"),
    ("j: { parallel: { matrix: [{ A: [b, c] }] } }", "matrix:"),
    ("j: { retry: { max: 2, when: script_failure, exit_codes: 4 } }", "max: 2"),
    (
        "j: { rules: [{ if: $A, changes: [b], exists: [c], when: on_failure, allow_failure: true, variables: { D: e } }] }",
        "D: e",
    ),
    (
        "j: { services: [{ name: s, alias: 't u', command: [v], entrypoint: [w], variables: { X: z } }] }",
        "- u",
    ),
    ("j: { tags: [t] }", "t: 'true'"),
    ("j: { timeout: 90 minutes }", "timeout: 1h 30m"),
    ("j: { when: on_failure }", "when: on_failure"),
    ("j: { variables: { A: b } }", "A: b"),
];

/// The text with what a job must have.
fn whole(text: &str) -> String {
    let mut text = text.to_owned();
    if !text.contains("\nj:") && !text.starts_with("j:") && !text.starts_with("pages:") {
        text += "\nj: {}";
    }
    let at = text.find("j: {").filter(|_| !text.contains("run:") && !text.contains("trigger:"));
    if let Some(at) = at {
        let line = text[at..].lines().next().unwrap_or_default().to_owned();
        if !line.contains("script:") {
            text.insert_str(at + 4, if line == "j: {}" { "script: x" } else { " script: x," });
        }
    }
    text + "\n"
}

#[test]
fn each_key_of_gitlabs_reference_is_supported_or_reported() {
    let mut silent = Vec::new();
    for (key, text) in KEYS {
        let text = whole(text);
        let said = said(&text);
        let about = |one: &String| {
            one.contains("gitlab-") && one.contains(key) && one.starts_with(|c: char| c.is_ascii_digit())
        };
        if !said.iter().any(about) {
            silent.push(format!("{key} of {text}: {said:#?}"));
        }
    }
    assert!(silent.is_empty(), "these go without a word: {}", silent.join("\n"));
    for (text, follows) in SUPPORTED_KEYS {
        let text = whole(text);
        match from(".gitlab-ci.yml", &text) {
            Ok(made) => assert!(made.text.contains(follows), "{text}{}", made.text),
            Err(mistakes) => panic!("{text}{}", mistakes.render(false)),
        }
    }
    // A key that nobody documents is an error wherever it stands.
    for text in [
        "j: { sript: x }",
        "default: { sript: x }",
        "workflow: { sript: x }",
        "j: { artifacts: { sript: x } }",
        "j: { cache: { paths: [a], sript: x } }",
        "j: { rules: [{ sript: x }] }",
        "j: { retry: { sript: x } }",
        "j: { image: { name: a, sript: x } }",
        "j: { services: [{ name: a, sript: x }] }",
        "j: { environment: { name: a, sript: x } }",
        "j: { parallel: { sript: x } }",
        "j: { inherit: { sript: x } }",
        "j: { only: { sript: x } }",
        "j: { allow_failure: { sript: x } }",
        "variables: { A: { sript: x } }",
        "k: { script: x }\nj: { needs: [{ job: k, sript: x }] }",
        "j: { sript: false }",
    ] {
        let said = said(&whole(text));
        assert!(
            said.iter().any(|one| one.contains("error[gitlab-unknown-key]: `sript`")),
            "{text}: {said:#?}"
        );
    }
}

#[test]
fn translation_keeps_values() {
    let text = "image: a\nj:\n  script:\n    - |\n      cat <<END\n        moved in\n\n      END\n    - \"echo 'é 🦀' \\t # no comment\"\n    - 'yes'\n    \
                - 1.10\n    - \"#\"\n    - \"a: b\"\n    - 'true'\n  variables: { A: \"1.10\", B: ' x ', C: \"a\\nb\", D: \"$$HOME\", E: no }\n";
    let pipeline = pipeline(text);
    let job = &pipeline.jobs[0];
    assert_eq!(
        job.script,
        ["cat <<END\n  moved in\n\nEND\n", "echo 'é 🦀' \t # no comment", "yes", "1.10", "#", "a: b", "true"]
    );
    let values: Vec<&str> = job.variables.values().map(String::as_str).collect();
    assert_eq!(values, ["1.10", " x ", "a\nb", "$HOME", "no"]);
}

#[test]
fn artifact_sources_match_gitlab() {
    let takes = |keys: &str| {
        let text = format!(
            "image: a\none: {{ stage: build, script: x }}\ntwo: {{ stage: build, script: x, parallel: {{ matrix: [{{ A: [b, c] }}, {{ A: d }}] }} }}\n\
             j: {{ stage: deploy, script: x, {keys} }}\n"
        );
        let pipeline = pipeline(&text);
        pipeline.jobs.last().unwrap().dependencies.clone().map(|names| names.join(", "))
    };
    let some = |names: &str| Some(names.to_owned());
    assert_eq!(takes("needs: [one, two]"), None);
    assert_eq!(takes("needs: [{ job: one, artifacts: false }, two]"), some("two 1, two 2"));
    assert_eq!(takes("needs: [{ job: one, artifacts: false }]"), some(""));
    assert_eq!(takes("needs: [{ job: one, artifacts: true }, two], dependencies: [one]"), some("one"));
    assert_eq!(takes("dependencies: []"), some(""));
    assert_eq!(takes("dependencies: [two]"), some("two 1, two 2"));
    let wrong = "image: a\none: { script: x }\nj: { stage: deploy, script: x, needs: [], dependencies: [one, none] }\n";
    let said = said(wrong).join("\n");
    assert!(
        said.contains("does not need `one`") && said.contains("unknown job `none` in `dependencies`"),
        "{said}"
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
fn oversized_gitlab_files_are_rejected() {
    let bomb = |lines: usize, line: &dyn Fn(usize) -> String| (1..lines).map(line).collect::<String>();
    let aliases = format!(
        "a0: &a0 [x]\n{}",
        bomb(20, &|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(", ")))
    );
    let references = format!(
        ".a0: {{ s: [x] }}\n{}j: {{ image: a, script: [!reference [.a9, s]] }}\n",
        bomb(10, &|n| format!(
            ".a{n}: {{ s: [{}] }}\n",
            vec![format!("!reference [.a{}, s]", n - 1); 9].join(", ")
        ))
    );
    let variables = format!(
        "variables:\n  A0: \"\"\n{}j: {{ image: a, script: x }}\n",
        bomb(60, &|n| format!("  A{n}: $A{0}$A{0}$A{0}\n", n - 1))
    );
    let rings = format!(
        "variables:\n{}j: {{ image: a, script: x }}\n",
        bomb(40, &|n| format!(
            "  A{n}: {}\n",
            (1..40).map(|n| format!("$A{n}")).collect::<Vec<_>>().concat()
        ))
    );
    let extended = format!(
        ".b0:\n{}{}",
        bomb(2_000, &|n| format!("  k{n}: [1, 2, 3, 4]\n")),
        bomb(2_000, &|n| format!("j{n}: {{ extends: .b0, image: a, script: x }}\n"))
    );
    let long = format!("j: {{ image: a, script: {} }}\n", "x".repeat(10 << 20));
    let brackets = format!("j: {{ image: a, script: x, rules: [{{ if: '{}$A' }}] }}\n", "(".repeat(100_000));
    let nested = format!("j: {{ image: a, script: {} }}\n", "[".repeat(100_000));
    for (name, text) in [
        ("aliases", aliases),
        ("references", references),
        ("extended", extended),
        ("long", long),
        ("brackets", brackets),
        ("nested", nested),
    ] {
        let start = std::time::Instant::now();
        let mistakes = from(".gitlab-ci.yml", &text).map(|made| made.text.len()).expect_err(name);
        assert!(!mistakes.found.is_empty(), "{name}");
        assert!(start.elapsed().as_secs() < 60, "{name} took {:?}", start.elapsed());
    }
    for (name, text) in [("variables", variables), ("rings", rings)] {
        let start = std::time::Instant::now();
        let _ = from(".gitlab-ci.yml", &text);
        assert!(start.elapsed().as_secs() < 60, "{name} took {:?}", start.elapsed());
    }
}

#[test]
fn includes_are_read_once_without_cycles() {
    let seen = std::cell::RefCell::new(Vec::new());
    let read = |path: &str| {
        seen.borrow_mut().push(path.to_owned());
        match path {
            "a.yml" => Ok("include: b.yml\n.a: { image: a, script: [of a] }\n".to_owned()),
            "b.yml" => Ok(".a: { image: b, script: [of b], stage: deploy }\n".to_owned()),
            "ring.yml" => Ok("include: [ring.yml]\n".to_owned()),
            _ => Err("it is not there".to_owned()),
        }
    };
    let made = translate(
        "x.yml",
        "include: [b.yml, a.yml]\nj: { extends: .a }\n",
        &read,
        &TranslateOptions::of("x"),
    )
    .unwrap();
    let job = &made.parsed.pipeline.jobs[0];
    assert_eq!(
        (job.image.as_str(), job.stage.as_str(), job.script.as_slice()),
        ("a", "deploy", &["of a".to_owned()][..])
    );
    assert_eq!(*seen.borrow(), ["b.yml", "a.yml"]);
    let ring = translate("x.yml", "include: ring.yml\n", &read, &TranslateOptions::of("x")).unwrap_err();
    let said = ring.found.iter().find(|one| one.message.contains("include each other")).unwrap();
    assert_eq!(said.file.as_deref(), Some("ring.yml"));
}

/// Parts that a file may be made of, so that what is made at random gets past the parser.
fn line() -> impl Strategy<Value = String> {
    let keys: Vec<String> = KEYS
        .iter()
        .map(|(_, text)| whole(text))
        .chain(SUPPORTED_KEYS.iter().map(|(text, _)| whole(text)))
        .collect();
    let words = prop::sample::select(keys);
    (words, any::<prop::sample::Index>(), "\\PC{0,6}").prop_map(|(text, at, odd)| {
        let chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len() + 1);
        chars[..at].iter().collect::<String>() + &odd + &chars[at..].iter().collect::<String>()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_is_answered(text in "\\PC{0,300}") {
        let _ = from(".gitlab-ci.yml", &text);
    }

    #[test]
    fn mutated_gitlab_files_return_result(lines in prop::collection::vec(line(), 1..4)) {
        if let Ok(made) = from(".gitlab-ci.yml", &lines.concat()) {
            prop_assert_eq!(parse(&made.text).unwrap(), made.parsed.pipeline);
        }
    }

    #[test]
    fn any_gitlab_condition_returns_result(text in "[$A-C =!~/&|()'\"a-c.*+\\[\\]\\\\{}i]{0,40}") {
        let quoted = text.replace('\'', "''");
        if let Ok(made) = from(".gitlab-ci.yml", &format!("image: a\nj: {{ script: x, rules: [{{ if: '{quoted}' }}] }}\n")) {
            let _ = Plan::of(&made.parsed.pipeline, &on_push("a"));
        }
    }
}

#[test]
fn translated_names_are_unique() {
    let text = "image: a\n\"a b\": { script: x }\n\"a?b\": { script: x }\n\"a-b\": { script: x }\n\"ä\": { script: x, needs: [\"a?b\"] }\n";
    let pipeline = pipeline(text);
    let names: HashSet<&str> = pipeline.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert_eq!(pipeline.jobs[3].needs.as_deref().unwrap(), ["a-b 2"]);
}
