//! Words of other CI systems in GitLab files: one error each, which names the key to use.

use tidemill_core::text::diagnostics::Severity;

use super::{diagnostics, translate_fixture};

/// Keys of a job, and the key to use.
const IN_JOBS: &[(&str, &str)] = &[
    ("image: x, script: x, allowFailure: true", "`allow_failure`"),
    ("image: x, script: x, continue-on-error: true", "`allow_failure`"),
    ("image: x, script: x, soft_fail: true", "`allow_failure`"),
    ("image: x, script: x, depends_on: [other]", "`needs`"),
    ("image: x, script: x, dependsOn: other", "`needs`"),
    ("image: x, script: x, requires: [other]", "`needs`"),
    ("image: x, script: x, env: {A: b}", "`variables`"),
    ("image: x, script: x, vars: {A: b}", "`variables`"),
    ("image: x, script: x, environment: {A: b}", "`variables`"),
    ("image: x, script: x, runs-on: ubuntu-latest", "`tags`"),
    ("image: x, script: x, runs_on: {os: linux}", "`tags`"),
    ("image: x, script: x, agent: linux", "`tags`"),
    ("image: x, script: x, if: $CI", "`rules`"),
    ("image: x, script: x, condition: $CI", "`rules`"),
    ("image: x, script: x, matrix: {A: [b]}", "`parallel`"),
    ("image: x, script: x, strategy: {matrix: {A: [b]}}", "`parallel`"),
    ("image: x, script: x, concurrency: deploy", "`resource_group`"),
    ("image: x, script: x, timeout-minutes: 3", "`timeout`"),
    ("image: x, script: x, retries: 2", "`retry`"),
    ("image: x, script: x, version: 2", "remove it"),
    ("image: x, script: x, uses: actions/checkout@v4", "`include`"),
    ("image: x, script: x, plugins: []", "`script`"),
    ("image: x, script: x, reports: {dotenv: a.env}", "it belongs under `artifacts`"),
    ("image: x, script: x, artifacts: {dotenv: a.env}", "it belongs under `reports`"),
    ("image: x, script: x, artifacts: {reports: {dotenvs: a.env}}", "`dotenv`"),
    ("image: x, script: x, artifacts: {reports: {dotenv: {path: a.env}}}", "`dotenv` takes a string"),
    (
        "image: x, script: x, services: {db: {image: 'postgres:16', environment: {A: b}}}",
        "`- { name: \"postgres:16\", alias: db }`",
    ),
    ("image: x, script: x, services: {db: {image: p}, cache: {image: q}}", "takes a list, not a mapping"),
    ("image: x, script: x, services: [{image: p}]", "it is called `name` here"),
    ("image: x, script: x, services: [{name: p, environment: {A: b}}]", "it is called `variables` here"),
    ("image: x, script: x, services: [{alias: p}]", "a mapping with `name`"),
    ("script: x, dockerImage: x", "`image`"),
    ("script: x, docker_image: x", "`image`"),
    ("script: x, container: x", "`image`"),
    ("script: x, container: {image: x}", "`image`"),
    ("image: x, steps: [{run: make}]", "`script`"),
    ("image: x, commands: [make]", "`script`"),
    ("image: x, command: make", "`script`"),
    ("image: x, run: make", "`script`"),
    ("image: x, uses: actions/checkout@v4", "`include`"),
];

/// Entries at the top of a file, and what the advice names.
const AT_TOP: &[(&str, &str)] = &[
    ("version: 2\n", "`version`"),
    ("name: ci\n", "`workflow: name`"),
    ("on: [push]\n", "`workflow: rules`"),
    ("env: {A: b}\n", "`variables`"),
    ("pipeline: {name: ci, stages: [build]}\n", "`pipeline`"),
    ("pipelines: {default: [{step: {script: [x]}}]}\n", "at the top of the file"),
    ("jobs: {build: {image: x, script: x}}\n", "at the top of the file"),
    ("workflows: {build: {jobs: [x]}}\n", "at the top of the file"),
    ("steps: [{command: x}]\n", "at the top of the file"),
    ("stages: [{name: test, jobs: [{name: a, script: x}]}, {name: deploy}]\n", "`stages: [build, test]`"),
    ("stages: {test: {jobs: {a: {script: x}}}}\n", "`stages: [build, test]`"),
];

fn check(text: &str, names: &str) {
    let Err(errors) = translate_fixture(".gitlab-ci.yml", text) else { panic!("{text}") };
    let [found] = errors.diagnostics.as_slice() else { panic!("{text}\n{}", errors.render(false)) };
    let said = format!("{} {}", found.message, found.help.as_deref().unwrap_or_default());
    assert!(found.severity == Severity::Error && said.contains(names), "{text}\n{said}");
}

#[test]
fn words_of_other_systems_in_jobs_are_one_error_that_names_the_key() {
    for (keys, names) in IN_JOBS {
        check(&format!("other: {{stage: build, image: x, script: x}}\njob: {{{keys}}}\n"), names);
    }
}

#[test]
fn words_of_other_systems_at_the_top_are_one_error_that_names_the_key() {
    for (entry, names) in AT_TOP {
        check(&format!("{entry}job: {{image: x, script: x}}\n"), names);
    }
    // A job may have such a name.
    for name in ["version", "name", "steps", "pipeline", "jobs", "script"] {
        assert!(diagnostics(&format!("{name}: {{image: x, script: x}}\n")).is_empty(), "{name}");
    }
}
