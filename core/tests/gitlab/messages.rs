//! Messages about GitLab files: all errors at once, and reasons in the terms of the file.

use tidemill_core::execution::facts::{ExternalVariables, Facts};
use tidemill_core::gitlab::{TranslateOptions, translate};
use tidemill_core::pipeline::FileError;
use tidemill_core::plan::Plan;
use tidemill_core::text::diagnostics::Severity;

use super::{diagnostics, on_push, on_request, on_tag, pipeline, translate_fixture};

/// The errors of a file, each as its line and its message.
fn errors(text: &str) -> Vec<(usize, String)> {
    let found = translate_fixture(".gitlab-ci.yml", text).expect_err(text).diagnostics;
    let errors = found.into_iter().filter(|one| one.severity == Severity::Error);
    errors.map(|one| (one.location.map_or(0, |at| at.line), one.message)).collect()
}

#[test]
fn header_without_its_line_is_the_only_error() {
    let found = errors("spec: {inputs: {a: {}}}\nj: {image: 'i:$[[ inputs.a ]]', script: x, stage: none}\n");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].0 == 1 && found[0].1.contains("header of its own"), "{found:#?}");
}

#[test]
fn errors_that_do_not_follow_from_an_unknown_base_are_reported_with_it() {
    let text = "stages: [build, test]\ndefault: {image: x}\nvariables: {OF_BASE: $NOT_SET}\n\
                broken:\n  extends: .missing\n  timeout: soon\n  scirpt: x\n  rules: {if: $CI}\n\
                like: {extends: broken, start_in: 1 day}\n\
                reads: {stage: build, script: [!reference [.gone, script]], needs: [zz]}\n\
                needs: {stage: test, script: x, needs: [broken, like, \"reads: [a]\", absent], dependencies: [broken]}\n\
                stops: {stage: test, script: x, environment: {name: a, on_stop: broken}}\n\
                image: {stage: build, image: 'Not An Image', script: x}\n\
                stage: {stage: deploy, script: x}\n";
    let text = text
        .replace("\nimage: {", "\npicture: {")
        .replace("\nneeds: {", "\nlast: {")
        .replace("\nstage: {", "\nlate: {");
    let found = errors(&text);
    let lines: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
    // `.missing`, `timeout`, `scirpt`, `rules`, `.gone`, `absent`, the image and the stage.
    assert_eq!(lines, [5, 6, 7, 8, 10, 11, 13, 14], "{found:#?}");
    assert!(
        found[0].1.contains("unknown job `.missing`") && found[6].1.contains("Not An Image"),
        "{found:#?}"
    );
}

#[test]
fn unknown_reference_in_a_key_of_all_jobs_is_the_only_error() {
    let text = "default: {image: x, before_script: !reference [.gone, script]}\nj: {timeout: soon}\n";
    assert_eq!(errors(text).len(), 1, "{:?}", errors(text));
    // One in a template that nobody extends hides no others.
    let text = ".a: {script: !reference [.gone, script]}\nj: {image: x, script: x, timeout: soon}\n";
    assert_eq!(errors(text).iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2]);
}

/// Why a job is left out of a plan with others.
fn reason(text: &str, facts: &Facts, job: &str) -> String {
    let text = format!("default: {{image: x}}\nother: {{script: x, rules: [{{when: always}}]}}\n{text}");
    match Plan::for_facts(&pipeline(&text), facts) {
        Ok(plan) => plan.left_out.into_iter().find(|out| out.job == job).unwrap().why,
        Err(error) => error.to_string(),
    }
}

#[test]
fn reasons_count_the_rules_of_the_file_only() {
    let job = "j: {script: x, rules: [{if: $CI_COMMIT_TAG}]}\n";
    let two =
        "j: {script: x, rules: [{if: $CI_COMMIT_BRANCH == \"old\", when: never}, {if: $CI_COMMIT_TAG}]}\n";
    let workflow = "workflow: {rules: [{if: $CI_MERGE_REQUEST_IID, when: never}, {when: always}]}\n";
    let sets = "workflow: {rules: [{if: $CI_COMMIT_TAG, variables: {A: t}}, {if: $CI_COMMIT_BRANCH, variables: {A: b}}]}\n";
    for workflow in ["", workflow] {
        let with = |job: &str| format!("{workflow}{job}");
        assert_eq!(
            reason(&with(job), &on_push("main"), "j"),
            "`env(\"CI_COMMIT_TAG\") != \"\"` does not hold"
        );
        assert_eq!(reason(&with(two), &on_push("main"), "j"), "none of its 2 rules holds");
        let excluded = reason(&with(two), &on_push("old"), "j");
        assert!(excluded.starts_with("rule 1 excludes the job: if "), "{excluded}");
    }
    let by_workflow = reason(&format!("{workflow}{job}"), &on_request(), "j");
    assert!(by_workflow.contains("the rules of the pipeline (`workflow`"), "{by_workflow}");
    // Each rule stands once for each rule of `workflow`.
    let with = |job: &str| format!("{sets}{job}");
    assert_eq!(reason(&with(job), &on_push("main"), "j"), "its rule does not hold");
    assert_eq!(reason(&with(two), &on_push("main"), "j"), "none of its 2 rules holds");
    assert!(reason(&with(two), &on_push("old"), "j").starts_with("rule 1 excludes the job: if "));
    assert!(reason(&with(job), &on_request(), "j").contains("the rules of the pipeline"));
    assert!(
        !translate_fixture(".gitlab-ci.yml", &format!("default: {{image: x}}\n{two}"))
            .unwrap()
            .text
            .contains("number:")
    );
    assert_eq!(
        Plan::for_facts(&pipeline(&format!("default: {{image: x}}\n{}", with(two))), &on_tag("v1"))
            .unwrap()
            .jobs
            .len(),
        1
    );
}

#[test]
fn variables_of_a_registry_are_a_warning_without_a_login() {
    let text = "variables: {CI_REGISTRY_USER: me}\nj:\n  image: $CI_REGISTRY/tools:1\n  \
                script: [docker login -u $CI_REGISTRY_USER -p $CI_REGISTRY_PASSWORD, docker push $CI_REGISTRY_IMAGE]\n";
    let found = |external: ExternalVariables, reports_unset_variables| {
        let options =
            TranslateOptions { external, reports_unset_variables, ..TranslateOptions::for_pipeline("app") };
        let none = |_: &str| Err(FileError::NotListed);
        let translated = translate(".gitlab-ci.yml", text, &none, &options).unwrap();
        let warnings = translated.parsed.warnings.into_iter().filter(|one| one.code == "registry-variable");
        warnings.map(|one| (one.location.unwrap().line, one.message)).collect::<Vec<_>>()
    };
    let all = found(ExternalVariables::default(), true);
    assert_eq!(all.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 4, 4], "{all:?}");
    assert!(all[0].1.contains("`$CI_REGISTRY` is that of the repository's login"), "{all:?}");
    let login =
        ExternalVariables { registry: Some("registry.example.org".into()), ..ExternalVariables::default() };
    assert_eq!(found(login, true), []);
    assert_eq!(found(ExternalVariables::default(), false), []);
    let values =
        ["CI_REGISTRY", "CI_REGISTRY_IMAGE", "CI_REGISTRY_PASSWORD"].map(|name| (name.into(), "r".into()));
    assert_eq!(
        found(
            ExternalVariables { values: values.into_iter().collect(), ..ExternalVariables::default() },
            true
        ),
        []
    );
}

#[test]
fn error_about_a_missing_stage_names_the_default() {
    let found = diagnostics("stages: [build]\nj: {image: x, script: x}\n");
    assert!(
        found[0].contains("the job `j` has no `stage`, and the default, `test`, is not one"),
        "{found:?}"
    );
}

#[test]
fn expressions_of_github_in_scripts_are_warnings_at_their_lines() {
    let text = ".base: {before_script: ['echo ${{ github.sha }}']}\n\
                j:\n  extends: .base\n  image: x\n  script:\n    - make\n    - deploy '${{ secrets.TOKEN }}'\n\
                k: {extends: .base, image: x, script: x}\n";
    let found = translate_fixture(".gitlab-ci.yml", text).unwrap().parsed.warnings;
    let found: Vec<_> = found
        .iter()
        .map(|one| (one.location.unwrap().line, one.help.as_deref().unwrap_or_default()))
        .collect();
    let [(1, first), (7, second)] = found.as_slice() else { panic!("{found:?}") };
    assert!(first.contains("`$CI_COMMIT_SHA`") && second.contains("`$TOKEN`"), "{found:?}");
}

#[test]
fn long_condition_is_taken_and_its_limit_is_that_of_the_written_text() {
    let file = |count: usize| {
        let names: Vec<String> = (0..count)
            .map(|ix| format!("$CI_COMMIT_BRANCH =~ /^release-{ix:03}$/ && $CI_PIPELINE_SOURCE == \"push\""))
            .collect();
        format!("j: {{image: x, script: x, rules: [{{if: '{}'}}]}}\n", names.join(" || "))
    };
    // 3900 bytes, which become 4900.
    let long = file(50);
    assert!(long.len() > 3_500, "{}", long.len());
    let plan = Plan::for_facts(&pipeline(&long), &on_push("release-049")).unwrap();
    assert_eq!(plan.jobs.len(), 1);
    let found = errors(&file(80));
    assert!(found.len() == 1 && found[0].1.contains("the limit is 4000"), "{found:?}");
    let refs = |count: usize| {
        let names: Vec<String> = (0..count).map(|ix| format!("release/some-long-name-{ix}")).collect();
        format!("j: {{image: x, script: x, only: [{}]}}\n", names.join(", "))
    };
    assert_eq!(diagnostics(&refs(90)), Vec::<String>::new());
    let found = errors(&refs(400));
    assert!(found.len() == 1 && found[0].1.contains("has 400 names"), "{found:?}");
}
