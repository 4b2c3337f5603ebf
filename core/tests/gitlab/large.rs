//! Files whose jobs share long rules, which would not fit into a native file one by one.

use std::fmt::Write as _;

use tidemill_core::pipeline::parse;
use tidemill_core::plan::Plan;

use super::{diagnostics, on_push, on_request, on_tag, pipeline, translate_fixture};

/// A file with `jobs` jobs of the same 40 rules, which a `workflow` with variables multiplies by its own five.
fn file(jobs: usize) -> String {
    let mut text = "default: {image: x}\nvariables: {KIND: none}\nworkflow:\n  rules:\n    \
                    - {if: $CI_MERGE_REQUEST_ID, variables: {KIND: request}}\n    \
                    - {if: $CI_COMMIT_TAG, variables: {KIND: tag}}\n    \
                    - {if: '$CI_COMMIT_BRANCH == \"old\"', when: never}\n    \
                    - {if: '$CI_COMMIT_REF_PROTECTED == \"true\"', variables: {KIND: protected}}\n    \
                    - {if: $CI_COMMIT_BRANCH, variables: {KIND: branch}}\n.rules:\n  rules:\n"
        .to_owned();
    for number in 0..38 {
        let _ = writeln!(
            text,
            "    - {{if: '$PACKAGE_KIND_OF_THE_PIPELINE == \"number {number}\" && $JOB_ONLY_PACKAGES == \"true\"', when: manual}}"
        );
    }
    text.push_str("    - {if: '$JOB_ONLY_TAGS == \"true\" && $CI_COMMIT_TAG == null', when: never}\n    - when: on_success\n");
    for number in 0..jobs {
        let only = if number % 2 == 0 { "\"true\"" } else { "\"false\"" };
        let _ = writeln!(
            text,
            "j{number}: {{extends: .rules, script: [make {number}], variables: {{JOB_ONLY_TAGS: {only}}}}}"
        );
    }
    text
}

#[test]
fn rules_that_many_jobs_share_are_written_once() {
    let text = file(200);
    let translated = translate_fixture(".gitlab-ci.yml", &text).unwrap_or_else(|errors| {
        panic!("{}", errors.render(false));
    });
    // Each job has about 200 rules of 150 bytes.
    assert!(translated.text.len() < 200 << 10, "{}", translated.text.len());
    assert!(translated.text.contains("rules: &shared-") && translated.text.contains("rules: *shared-"));
    let read = parse(&translated.text).unwrap();
    assert_eq!(read, translated.parsed.pipeline);
    for (facts, kind, count) in [
        (on_push("main"), "protected", 100),
        (on_push("topic"), "branch", 100),
        (on_tag("v1"), "tag", 200),
        (on_request(), "request", 100),
    ] {
        let plan = Plan::for_facts(&read, &facts).unwrap();
        assert_eq!(plan.jobs.len(), count, "{kind}");
        assert!(plan.jobs.iter().all(|job| job.variables["KIND"] == kind), "{kind}");
    }
    assert!(Plan::for_facts(&read, &on_push("old")).is_err());
}

#[test]
fn comments_stay_beside_values_that_many_jobs_share() {
    let text = file(200)
        .replacen(".rules:\n", "# About the rules.\n.rules:\n", 1)
        .replacen("    - {if: '$PACKAGE_KIND", "    # About the first rule.\n    - {if: '$PACKAGE_KIND", 1)
        .replacen("j7: {", "# About a job.\nj7: {", 1)
        .replace("JOB_ONLY_TAGS: \"true\"}}", "JOB_ONLY_TAGS: \"true\"}} # about the variables");
    let translated = translate_fixture(".gitlab-ci.yml", &text).unwrap_or_else(|errors| {
        panic!("{}", errors.render(false));
    });
    assert!(translated.text.len() < 300 << 10, "{}", translated.text.len());
    assert!(translated.text.contains("# About a job.\n  j7:"), "the comment of a job stands before it");
    assert!(translated.text.contains("rules: &shared-") && translated.text.contains("rules: *shared-"));
    assert_eq!(parse(&translated.text).unwrap(), translated.parsed.pipeline);
    assert_eq!(translated.parsed.pipeline, pipeline(&file(200)), "comments change nothing");
}

#[test]
fn values_of_small_files_are_written_where_they_are_used() {
    let translated = translate_fixture(".gitlab-ci.yml", &file(2)).unwrap();
    assert!(!translated.text.contains("&shared-"));
    assert_eq!(pipeline(&file(2)).jobs.len(), 2);
}

#[test]
fn too_many_combined_rules_are_one_error() {
    let found = diagnostics(&file(600));
    let errors: Vec<&String> = found.iter().filter(|one| one.contains("error[")).collect();
    assert!(errors.len() == 1 && errors[0].contains("the limit is 100000 rules"), "{errors:?}");
}
