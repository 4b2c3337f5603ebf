//! The native file that `import` writes: its plans are those of the GitLab file, and it has the comments of that file.

use std::collections::BTreeMap;
use std::fs;

use tidemill_core::execution::facts::{ExternalVariables, Facts};
use tidemill_core::gitlab::{TranslateOptions, translate};
use tidemill_core::pipeline::{FileError, Pipeline, PipelineErrors, PipelineWithSources, When, parse};
use tidemill_core::plan::{Plan, PlanError};

use super::matrix::events::{EVENTS, facts};
use super::matrix::{file_with_job, keys, participation};
use super::{fixtures, translate_fixture};

/// Translates a text as a run does: with the variables that are set outside of the file, and those that nobody sets allowed.
fn translate_for_run(
    text: &str,
    external: &ExternalVariables,
) -> Result<PipelineWithSources, PipelineErrors> {
    let read = |path: &str| Ok(fs::read_to_string(fixtures().join(path))?);
    let options = TranslateOptions {
        external: external.clone(),
        reports_unset_variables: true,
        ..TranslateOptions::for_pipeline("app")
    };
    translate(".gitlab-ci.yml", text, &read, &options)
}

fn plans(pipeline: &Pipeline, external: &ExternalVariables) -> Vec<Result<Plan, PlanError>> {
    let of = |event| {
        let mut facts: Facts = facts(event);
        facts.add_external(external.clone());
        Plan::for_facts(pipeline, &facts)
    };
    EVENTS.into_iter().map(of).collect()
}

/// Compares the plans of each text with those of its native file.
fn compare(texts: impl Iterator<Item = String>) -> usize {
    let none = ExternalVariables::default();
    let mut compared = 0;
    for text in texts {
        // `import` refuses what `check` accepts because a user may set a variable: an image that refers to it, say.
        let Ok(imported) = translate_fixture(".gitlab-ci.yml", &text) else { continue };
        let native = parse(&imported.text).unwrap();
        let direct =
            translate_for_run(&text, &none).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
        assert_eq!(plans(&native, &none), plans(&direct.parsed.pipeline, &none), "{text}");
        compared += 1;
    }
    compared
}

/// Name, `when` and variables of a job of a plan.
type JobOfPlan = (String, When, BTreeMap<String, String>);

#[test]
fn imported_file_has_the_plans_of_the_gitlab_file_in_all_events() {
    let jobs = participation::JOBS.iter().map(|(keys, _)| file_with_job(keys));
    let files = participation::FILES.iter().map(|(text, _)| (*text).to_owned());
    assert_eq!(compare(jobs.chain(files)), participation::JOBS.len() + participation::FILES.len());
}

#[test]
fn imported_file_has_the_keys_of_the_gitlab_file() {
    let keys_of_job = keys::KEYS.iter().map(|(keys, ..)| file_with_job(keys));
    let files = keys::FILES.iter().map(|(text, ..)| (*text).to_owned());
    assert_eq!(compare(keys_of_job.chain(files)), keys::KEYS.len() + keys::FILES.len());
    let samples = fs::read_dir(fixtures()).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        path.extension().is_some_and(|end| end == "yml").then(|| fs::read_to_string(path).unwrap())
    });
    assert!(compare(samples) >= 15);
}

/// Variables that are set outside of the file have the same effect after `import` in conditions and in jobs. The difference is that
/// `import` expands the values of the file: `A: a-$B` is written as `A: a-b`, and no longer changes with `B`.
#[test]
fn variables_from_outside_have_the_same_effect_after_import() {
    let value = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let external = ExternalVariables {
        values: [value("FIXED", "outside"), value("OUTSIDE", "set")].into_iter().collect(),
        ..ExternalVariables::default()
    };
    let own = ["'$OUTSIDE == \"set\"'", "$OUTSIDE", "'$OUTSIDE =~ /^s/ && $CI_COMMIT_BRANCH'"];
    let own = own.map(|condition| file_with_job(&format!("rules: [{{if: {condition}}}]")));
    let rows = participation::JOBS.iter().map(|(keys, _)| file_with_job(keys));
    for text in rows.chain(own).filter(|text| !text.contains("-$FIXED")) {
        let imported = translate_fixture(".gitlab-ci.yml", &text).unwrap();
        let native = parse(&imported.text).unwrap();
        let direct = translate_for_run(&text, &external).unwrap();
        let jobs = |pipeline: &Pipeline| -> Vec<Vec<JobOfPlan>> {
            let jobs = |plan: Plan| {
                let jobs = plan.jobs.into_iter();
                jobs.map(|job| (job.name, job.when, job.variables.into_iter().collect())).collect()
            };
            plans(pipeline, &external).into_iter().map(|plan| plan.map(jobs).unwrap_or_default()).collect()
        };
        assert_eq!(jobs(&native), jobs(&direct.parsed.pipeline), "{text}");
    }
}

#[test]
fn unset_variables_are_comments_of_their_jobs_and_errors_where_they_must_be_known() {
    let options = TranslateOptions {
        reports_unset_variables: true,
        rejects_unset_variables: true,
        ..TranslateOptions::for_pipeline("app")
    };
    let import =
        |text: &str| translate(".gitlab-ci.yml", text, &|_: &str| Err(FileError::NotListed), &options);
    let imported = import("j: { image: x, script: ['echo $PROD_TOKEN'] }\n").unwrap();
    assert!(
        imported.text.contains("\n  # line 1: nothing in this file sets `$PROD_TOKEN`"),
        "{}",
        imported.text
    );
    let errors = import("j: { image: $GROUP/x, script: [x] }\n").unwrap_err().render(false);
    assert!(errors.contains("`GROUP`, which nobody sets"), "{errors}");
}

#[test]
fn imported_file_keeps_comments_where_they_stood() {
    let text = "# Who to ask: Ann.\n\n# One image for all.\nimage: img:1\n\n# In this order.\nstages:\n  - build\n  # Last.\n  - test\n\n\
                variables:\n  # The target.\n  TARGET: live # or test\n  OTHER: '# no comment'\n\n# A template.\n.base:\n  # Cached.\n  \
                cache: {paths: [c]}\n\n# Builds.\nbuild:\n  extends: .base\n  stage: build\n  # What runs.\n  script:\n    # First.\n    - echo a\n    \
                - |\n      # not a comment\n      echo b\n    - echo c # third\n  artifacts:\n    # The result.\n    paths: [out]\n\n# Tests.\n\
                test:\n  stage: test\n  rules:\n    # Only tags.\n    - if: $CI_COMMIT_TAG\n  script: [echo d]\n# The end.\n";
    let imported = translate_fixture(".gitlab-ci.yml", text).unwrap();
    let expected = "# Generated from .gitlab-ci.yml by Tidemill.\n\
# Who to ask: Ann.
name: app
on:
  push: null
# In this order.
stages:
- build
# Last.
- test
variables:
  # The target.
  # or test
  TARGET: live
  OTHER: '# no comment'
defaults:
  # One image for all.
  image: img:1
  secrets: '*'

jobs:
  # A template.
  # Builds.
  build:
    stage: build
    # Cached.
    cache:
    - paths:
      - c
    # What runs.
    script:
    # First.
    - echo a
    - |
      # not a comment
      echo b
    # third
    - echo c
    artifacts:
      # The result.
      paths:
      - out
  # Tests.
  test:
    stage: test
    # Only tags.
    if: env(\"CI_COMMIT_TAG\") != \"\"
    script:
    - echo d
# The end.
";
    assert_eq!(imported.text, expected, "{}", imported.text);
    assert_eq!(parse(&imported.text).unwrap(), imported.parsed.pipeline);
}

#[test]
fn comments_of_included_files_stay_with_their_jobs() {
    let read = |path: &str| match path {
        "a.yml" => Ok("# About a.\na:\n  image: i\n  # Runs.\n  script: x\n".to_owned()),
        _ => Err(FileError::NotListed),
    };
    let text = "# yaml-language-server: $schema=https://example.com\ninclude: a.yml\n# About b.\nb: {image: i, script: y}\n";
    let imported =
        translate(".gitlab-ci.yml", text, &read, &TranslateOptions::for_pipeline("app")).unwrap().text;
    let place = |part: &str| imported.find(part).unwrap_or_else(|| panic!("{part}: {imported}"));
    let order = ["  # About a.\n  a:\n", "    # Runs.\n    script:", "  # About b.\n  b:\n"].map(place);
    assert!(order.is_sorted() && !imported.contains("language-server"), "{imported}");
}
