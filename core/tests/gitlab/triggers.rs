//! Translation of `trigger`, and the files of child pipelines.

use super::{diagnostics, on_push, pipeline, translate_fixture};
use indexmap::IndexMap;
use tidemill_core::api::Trigger;
use tidemill_core::child::{ChildError, read_child};
use tidemill_core::execution::facts::Facts;
use tidemill_core::gitlab::TranslateOptions;
use tidemill_core::pipeline::{ChildPipeline, Pipeline};
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
        ("j: { trigger: a/b }", "pipelines of another repository"),
        ("j: { trigger: { project: a/b, branch: main } }", "pipelines of another repository"),
        ("j: { trigger: { include: [{ project: a/b, file: c.yml }] } }", "`project` is not supported"),
        ("j: { trigger: { include: 'ci/*.yml' } }", "is not a pattern"),
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

fn read(child: &ChildPipeline, artifact: Option<&str>) -> Result<Pipeline, ChildError> {
    let files = |path: &str| match path {
        "one.yml" => Ok("one: { image: i, script: x }\n".to_owned()),
        "two.yml" => Ok("two: { image: i, script: x }\n".to_owned()),
        "typed.yml" => Ok("spec:\n  inputs:\n    count: { type: number }\n    name:\n---\n\
                          \"of $[[ inputs.name ]]\": { image: i, script: 'x $[[ inputs.count ]]' }\n"
            .to_owned()),
        "native.yml" => Ok("name: n\ninclude: more.yml\n".to_owned()),
        "more.yml" => Ok("jobs: { more: { image: i, script: x } }\n".to_owned()),
        _ => Err("there is no such file".to_owned()),
    };
    read_child(child, artifact, &files, &TranslateOptions::for_pipeline("app: j"))
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
    let both = read(&of(&["one.yml", "two.yml"], true), None).unwrap();
    assert_eq!((names(&both), both.name.as_str()), (vec!["one", "two"], "app: j"));
    let inputs = [("count", "3"), ("name", "x")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let typed = ChildPipeline { inputs: IndexMap::from(inputs), ..of(&["typed.yml"], true) };
    assert_eq!(names(&read(&typed, None).unwrap()), ["of x"]);
    let inputs = [("count", "3"), ("name", "1.10")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let version = ChildPipeline { inputs: IndexMap::from(inputs), ..of(&["typed.yml"], true) };
    assert_eq!(names(&read(&version, None).unwrap()), ["of 1.10"]);
    assert_eq!(names(&read(&of(&["native.yml"], false), None).unwrap()), ["more"]);
    let made = "name: m\ninclude: more.yml\n";
    assert_eq!(read(&of(&["out/made.yml"], false), Some(made)).unwrap().name, "m");
    let missing = read(&of(&["none.yml"], false), None).unwrap_err();
    assert!(matches!(missing, ChildError::Unreadable { path, .. } if path == "none.yml"));
    let Err(ChildError::Invalid(errors)) = read(&of(&["out/made.yml"], false), Some("name: m\n")) else {
        panic!("it has no jobs")
    };
    assert!(errors.render(false).contains("out/made.yml"), "{}", errors.render(false));
}
