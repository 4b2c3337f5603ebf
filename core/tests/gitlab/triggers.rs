//! Translation of `trigger`, and the files of child pipelines.

use super::{diagnostics, on_push, pipeline, translate_fixture};
use crate::elsewhere::{Elsewhere, commit};
use indexmap::IndexMap;
use tidemill_core::api::Trigger;
use tidemill_core::child::{ChildError, read_child};
use tidemill_core::execution::facts::Facts;
use tidemill_core::gitlab::TranslateOptions;
use tidemill_core::pipeline::{ChildInclude, ChildIncludeSource, ChildPipeline, FileError, Pipeline};
use tidemill_core::plan::Plan;

fn child_of(text: &str) -> ChildPipeline {
    let pipeline = pipeline(text);
    pipeline.jobs.iter().find_map(|job| job.surroundings.child.as_deref().cloned()).unwrap()
}

#[test]
fn trigger_becomes_a_child_pipeline() {
    let child = child_of("j: { trigger: { include: /ci/a.yml } }\n");
    assert_eq!((child.files, child.is_gitlab, child.waits), (vec!["ci/a.yml".to_owned()], true, false));
    for strategy in ["depend", "mirror"] {
        let text =
            format!("j: {{ trigger: {{ include: [{{ local: a.yml }}, b.yml], strategy: {strategy} }} }}\n");
        let child = child_of(&text);
        assert_eq!((child.files, child.waits), (vec!["a.yml".to_owned(), "b.yml".to_owned()], true));
    }
    let made = "make: { image: a, script: x, artifacts: { paths: [c.yml] } }\n\
                j: { stage: deploy, trigger: { include: [{ artifact: c.yml, job: make, inputs: { env: prod } }] } }\n";
    let child = child_of(made);
    assert_eq!((child.artifact_of.as_deref(), child.inputs["env"].as_str()), (Some("make"), "prod"));
    let forward = |forward: &str| {
        let child = child_of(&format!("j: {{ trigger: {{ include: a.yml, forward: {forward} }} }}\n"));
        (child.forwards_job, child.forwards_run)
    };
    assert_eq!(forward("{}"), (true, false));
    assert_eq!(forward("{ yaml_variables: false, pipeline_variables: true }"), (false, true));
    assert_eq!(diagnostics("j: { trigger: { include: a.yml } }\n"), [""; 0]);
}

#[test]
fn variables_of_a_trigger_reach_the_child_with_values_that_the_job_knows() {
    let text = "variables: { TOP: t }\nj: { variables: { ONE: '1', SHA: 'at $CI_COMMIT_SHA', PARENT: $CI_PIPELINE_ID }, trigger: { include: a.yml } }\n";
    let plan = Plan::for_facts(&pipeline(text), &on_push("main")).unwrap();
    let job = &plan.jobs[0];
    assert_eq!((job.variables["TOP"].as_str(), job.variables["ONE"].as_str()), ("t", "1"));
    let child = job.surroundings.child.as_deref().unwrap();
    assert_eq!(child.variables["SHA"], "at 0123456789abcdef0123");
    assert_eq!(child.variables["PARENT"], "${CI_PIPELINE_ID}", "known when the job runs");
}

#[test]
fn rules_of_a_child_see_how_it_was_started() {
    let text = "a: { image: i, script: x, rules: [{ if: '$CI_PIPELINE_SOURCE == \"parent_pipeline\"' }] }\n\
                b: { image: i, script: x, rules: [{ if: '$CI_PIPELINE_SOURCE == \"push\"' }] }\n";
    let of_child = Facts { trigger: Trigger::ParentPipeline, ..on_push("main") };
    for (facts, name) in [(of_child, "a"), (on_push("main"), "b")] {
        let plan = Plan::for_facts(&pipeline(text), &facts).unwrap();
        assert_eq!(plan.jobs.iter().map(|job| job.name.as_str()).collect::<Vec<_>>(), [name]);
    }
}

#[test]
fn what_a_trigger_cannot_have_is_an_error() {
    for (text, expected) in [
        ("j: { trigger: { project: a/b, include: a.yml } }", "`include` or `project`, not both"),
        ("j: { trigger: { include: a.yml, branch: main } }", "is a key of a `trigger` with `project`"),
        ("j: { trigger: { project: '$NOBODY/b' } }", "`NOBODY`, which nobody sets"),
        ("j: { trigger: { project: [a/b] } }", "takes the path of another project"),
        ("j: { trigger: { include: [{ project: a/b }] } }", "names no `file`"),
        ("j: { trigger: { include: [{ template: a.yml, remote: b }] } }", "`remote`, not both"),
        ("j: { trigger: { include: [{ local: a.yml, rules: [{ if: $A }] }] } }", "`rules` is not supported"),
        ("j: { trigger: { include: [{ remote: 'https://e.org/a', integrity: x }] } }", "a SHA-256 in Base64"),
        ("j: { trigger: { include: a.yml }, environment: prod }", "`environment` is not supported"),
        ("j: { trigger: { include: [{ artifact: a.yml }] } }", "`artifact` needs `job`"),
        ("j: { trigger: { strategy: depend } }", "has no `include`"),
        ("j: { trigger: { include: a.yml, strategy: wait } }", "takes `depend` or `mirror`"),
        ("j: { image: a, script: x, trigger: { include: a.yml } }", "cannot have `script`"),
        ("j: { trigger: { include: a.yml }, resource_group: g }", "`resource_group` is not supported"),
        ("j: { trigger: { include: [a.yml, b.yml], inputs: { a: b } } }", "`inputs` are for one file"),
        ("j: { trigger: { include: a.yml, includes: b.yml } }", "\"includes\""),
    ] {
        let found = diagnostics(&format!("{text}\n"));
        let is_found =
            found.iter().any(|one| one.contains("error[") && one.contains(&expected.replace('"', "")));
        assert!(is_found, "{text}: {found:#?}");
    }
    assert!(translate_fixture(".gitlab-ci.yml", "j: { trigger: { include: ../a.yml } }\n").is_err());
}

#[test]
fn files_of_a_child_may_be_a_pattern() {
    let child = child_of("j: { interruptible: true, trigger: { include: ci/*.yml } }\n");
    let [ChildInclude { source: ChildIncludeSource::Local { path }, .. }] = child.includes.as_slice() else {
        panic!("{child:?}");
    };
    assert_eq!((path.as_str(), child.files.len()), ("ci/*.yml", 0));
}

#[test]
fn trigger_of_a_project_becomes_a_pipeline_of_another_repository() {
    let child = child_of("j: { trigger: group/other }\n");
    assert_eq!((child.repository.as_deref(), child.branch, child.waits), (Some("group/other"), None, false));
    assert!(child.forwards_job && child.files.is_empty() && child.includes.is_empty());
    let text = "variables: { WHERE: next }\nj:\n  variables: { SHA: $CI_PIPELINE_ID }\n  trigger:\n    \
                project: group/$WHERE\n    branch: of-$CI_COMMIT_REF_NAME\n    strategy: depend\n    \
                inputs: { env: prod, all: [1, a b] }\n    forward: { pipeline_variables: true }\n";
    let plan = Plan::for_facts(&pipeline(text), &on_push("main")).unwrap();
    let child = plan.jobs[0].surroundings.child.as_deref().unwrap();
    assert_eq!((child.repository.as_deref(), child.branch.as_deref()), (Some("group/next"), Some("of-main")));
    assert_eq!(
        (child.waits, child.forwards_run, child.variables["SHA"].as_str()),
        (true, true, "${CI_PIPELINE_ID}")
    );
    assert_eq!((child.inputs["env"].as_str(), child.inputs["all"].as_str()), ("prod", "[1, \"a b\"]"));
    assert_eq!(child.names(), ["group/next"]);
    assert_eq!(diagnostics(text), [""; 0]);
}

#[test]
fn file_of_an_artifact_is_read_beside_others() {
    let text = "make: { image: a, script: x, artifacts: { paths: [made.yml] } }\n\
                j:\n  stage: deploy\n  trigger:\n    include:\n      - one.yml\n      - { artifact: made.yml, job: make }\n";
    let child = child_of(text);
    assert_eq!((child.artifact_of.as_deref(), child.artifacts()), (None, vec![("make", "made.yml")]));
    assert!(child.files.is_empty() && !child.is_known_early());
    let made = read(&child, &["made: { image: i, script: x }\n"]).unwrap();
    assert_eq!(names(&made), ["one", "made"]);
    // A native item needs the job.
    let native = |keys: &str| {
        let text = format!(
            "name: a\njobs:\n  m: {{ image: i, script: x, artifacts: {{ paths: [m.yml] }} }}\n  \
             j: {{ needs: [m], pipeline: {{ include: [o.yml, {{ artifact: m.yml }}]{keys} }} }}\n"
        );
        tidemill_core::pipeline::parse(&text)
    };
    assert!(native(", artifact_of: m").is_ok());
    assert!(native("").is_err());
}

#[test]
fn files_of_several_artifacts_and_jobs_are_read_as_one_pipeline() {
    let text = "a: { image: a, script: x, artifacts: { paths: [made.yml, same.yml] } }\n\
                b: { image: a, script: x, artifacts: { paths: [made.yml] } }\n\
                j:\n  stage: deploy\n  trigger:\n    include:\n      - { artifact: made.yml, job: a }\n      \
                - { artifact: /made.yml, job: b, inputs: { name: n } }\n      - same.yml\n      - { artifact: same.yml, job: a }\n";
    assert_eq!(diagnostics(text), [""; 0]);
    let child = child_of(text);
    assert_eq!(child.artifacts(), [("a", "made.yml"), ("b", "made.yml"), ("a", "same.yml")]);
    let of_b = "spec: { inputs: { name: } }\n---\n\"of-b-$[[ inputs.name ]]\": { image: i, script: x }\n";
    let made = read(&child, &["of-a: { image: i, script: x }\n", of_b, "again: { image: i, script: x }\n"]);
    assert_eq!(names(&made.unwrap()), ["of-a", "of-b-n", "of-sources", "again"]);
    let mistake = read(&child, &["of-a: { script: [ }\n", of_b, "again: { image: i, script: x }\n"]);
    let Err(ChildError::Invalid(errors)) = mistake else { panic!("a file is not YAML") };
    assert!(errors.render(false).contains("artifact-1/made.yml:1:"), "{}", errors.render(false));
    let missing = diagnostics(&text.replace("made.yml, job: b", "made.yml, job: c"));
    assert!(missing.iter().any(|one| one.contains("there is no job `c`")), "{missing:#?}");
    // Natively, each item names its job, or `artifact_of` does for those that name none.
    let native = |child: &str| {
        let text = format!(
            "name: a\njobs:\n  m: {{ image: i, script: x, artifacts: {{ paths: [m.yml] }} }}\n  \
             o: {{ image: i, script: x }}\n  j: {{ needs: [m, o], pipeline: {{ {child} }} }}\n"
        );
        tidemill_core::pipeline::parse(&text)
    };
    let both = "artifact_of: m, include: [{ artifact: m.yml }, { artifact: o.yml, job: o }]";
    let parsed = native(both).unwrap();
    let child = parsed.jobs[2].surroundings.child.as_deref().unwrap();
    assert_eq!(child.artifacts(), [("m", "m.yml"), ("o", "o.yml")]);
    for (child, message) in [
        ("artifact_of: m, include: [{ artifact: o.yml, job: o }]", "no item of `include` has an `artifact`"),
        ("include: [{ artifact: o.yml, job: p }]", "there is no job `p`"),
        ("include: [{ local: o.yml, job: o }]", "`artifact` with `job`"),
    ] {
        let found: Vec<String> = native(child).unwrap_err().into_iter().map(|one| one.message).collect();
        let found = found.join("\n");
        assert!(found.replace('"', "`").contains(message), "{found}");
    }
}

/// Returns the jobs and the pinned files of the child of a GitLab file.
fn read_elsewhere(text: &str, files: &Elsewhere) -> Result<(Vec<String>, Vec<String>), ChildError> {
    let plan = Plan::for_facts(&pipeline(text), &on_push("main")).unwrap();
    let child = plan.jobs.iter().find_map(|job| job.surroundings.child.as_deref()).unwrap();
    let read = read_child(child, &[], files, &TranslateOptions::for_pipeline("app: j"))?;
    let jobs = read.parsed.pipeline.jobs.into_iter().map(|job| job.name).collect();
    Ok((jobs, read.includes.iter().map(ToString::to_string).collect()))
}

#[test]
fn files_of_a_trigger_come_from_anywhere_and_are_pinned() {
    const LIB: &str = "https://git.example/group/lib";
    let typed = "spec:\n  inputs:\n    name:\n    count: { type: number }\n    all: { type: array, default: [x] }\n---\n\
                 \"$[[ inputs.name ]]-$[[ inputs.count ]]\": { image: i, script: $[[ inputs.all ]] }\n";
    let component = [("templates/build.yml", "built: { image: i, script: x }\n")];
    let files = Elsewhere::new(&[("own.yml", "own: { image: i, script: x }\n")])
        .with_commit(
            LIB,
            &commit('2'),
            &["tag:v2"],
            &[("t.yml", typed), ("b.yml", "b: { image: i, script: x }\n")],
        )
        .with_commit(LIB, &commit('3'), &["tag:1.0"], &component)
        .with_web("https://example.org/far.yml", "far: { image: i, script: x }\n")
        .with_template("Go.gitlab-ci.yml", "go: { image: i, script: x }\n");
    let text = "variables: { VERSION: v2 }\nj:\n  trigger:\n    include:\n      - { project: group/lib, ref: $VERSION, file: [t.yml], inputs: { name: '1.10', count: 3, all: [x, 'y z'] } }\n      \
                - { project: group/lib, ref: v2, file: /b.yml }\n      - https://example.org/far.yml\n      - template: Go.gitlab-ci.yml\n      \
                - component: $CI_SERVER_FQDN/group/lib/build@1.0\n      - own.yml\n";
    let (mut jobs, pinned) = read_elsewhere(text, &files).unwrap();
    jobs.sort();
    assert_eq!(jobs, ["1.10-3", "b", "built", "far", "go", "own"]);
    assert_eq!(pinned.len(), 5, "{pinned:#?}");
    assert!(
        pinned[0].starts_with("t.yml of https://git.example/group/lib (v2, commit 22222222)"),
        "{pinned:#?}"
    );
    // Inputs beside one file.
    let one = "j: { trigger: { include: [{ project: group/lib, ref: v2, file: t.yml }], inputs: { name: a, count: 1 } } }\n";
    assert_eq!(read_elsewhere(one, &files).unwrap().0, ["a-1"]);
    // A value is a literal where files are included.
    let odd = "variables: { DIR: '$$CI_PROJECT_NAME' }\nj: { trigger: { include: [{ local: '$DIR.yml' }, { template: Go.gitlab-ci.yml }] } }\n";
    let Err(ChildError::Invalid(errors)) = read_elsewhere(odd, &files) else {
        panic!("there is no such file")
    };
    assert!(errors.render(false).contains("$CI_PROJECT_NAME.yml"), "{}", errors.render(false));
    for (text, expected) in [
        (
            "j: { trigger: { include: [{ project: group/gone, file: a.yml }] } }\n",
            "the repository was not found",
        ),
        ("j: { trigger: { include: [{ template: None.yml }] } }\n", "no such file"),
        ("j: { trigger: { include: 'http://example.org/far.yml' } }\n", "https://"),
    ] {
        let Err(ChildError::Invalid(errors)) = read_elsewhere(text, &files) else { panic!("{text} is read") };
        assert!(errors.render(false).contains(expected), "{}", errors.render(false));
    }
}

fn read(child: &ChildPipeline, artifacts: &[&str]) -> Result<Pipeline, ChildError> {
    let files = |path: &str| match path {
        "same.yml" => Ok("of-sources: { image: i, script: x }\n".to_owned()),
        "one.yml" => Ok("one: { image: i, script: x }\n".to_owned()),
        "two.yml" => Ok("two: { image: i, script: x }\n".to_owned()),
        "typed.yml" => Ok("spec:\n  inputs:\n    count: { type: number }\n    name:\n---\n\
                          \"of $[[ inputs.name ]]\": { image: i, script: 'x $[[ inputs.count ]]' }\n"
            .to_owned()),
        "native.yml" => Ok("name: n\ninclude: more.yml\n".to_owned()),
        "more.yml" => Ok("jobs: { more: { image: i, script: x } }\n".to_owned()),
        _ => Err(FileError::Missing),
    };
    let artifacts: Vec<String> = artifacts.iter().map(|&text| text.to_owned()).collect();
    read_child(child, &artifacts, &files, &TranslateOptions::for_pipeline("app: j"))
        .map(|read| read.parsed.pipeline)
}

fn names(pipeline: &Pipeline) -> Vec<&str> {
    pipeline.jobs.iter().map(|job| job.name.as_str()).collect()
}

#[test]
fn files_of_a_child_are_read_as_one_pipeline() {
    let of = |files: &[&str], is_gitlab| ChildPipeline {
        files: files.iter().map(|&file| file.to_owned()).collect(),
        is_gitlab,
        ..ChildPipeline::default()
    };
    let made_by = |files: &[&str], is_gitlab| ChildPipeline {
        artifact_of: Some("make".to_owned()),
        ..of(files, is_gitlab)
    };
    let both = read(&of(&["one.yml", "two.yml"], true), &[]).unwrap();
    assert_eq!((names(&both), both.name.as_str()), (vec!["one", "two"], "app: j"));
    let inputs = [("count", "3"), ("name", "x")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let typed = ChildPipeline { inputs: IndexMap::from(inputs), ..of(&["typed.yml"], true) };
    assert_eq!(names(&read(&typed, &[]).unwrap()), ["of x"]);
    let inputs = [("count", "3"), ("name", "1.10")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let version = ChildPipeline { inputs: IndexMap::from(inputs), ..of(&["typed.yml"], true) };
    assert_eq!(names(&read(&version, &[]).unwrap()), ["of 1.10"]);
    assert_eq!(names(&read(&of(&["native.yml"], false), &[]).unwrap()), ["more"]);
    let made = "name: m\ninclude: more.yml\n";
    assert_eq!(read(&made_by(&["out/made.yml"], false), &[made]).unwrap().name, "m");
    for path in ["./out/made.yml", "/out/made.yml"] {
        let child = made_by(&[path, "one.yml"], true);
        let made = "made: { image: i, script: x }\n";
        assert_eq!(names(&read(&child, &[made]).unwrap()), ["made", "one"], "{path}");
    }
    let missing = read(&of(&["none.yml"], false), &[]).unwrap_err();
    assert!(matches!(missing, ChildError::Unreadable { path, .. } if path == "none.yml"));
    let Err(ChildError::Invalid(errors)) = read(&made_by(&["out/made.yml"], false), &["name: m\n"]) else {
        panic!("it has no jobs")
    };
    assert!(errors.render(false).contains("out/made.yml"), "{}", errors.render(false));
}
