//! Each key of GitLab's reference is supported or reported.

use super::{diagnostics, translate_fixture};

/// Keys of GitLab's `.gitlab-ci.yml` reference that are reported, each in a file that uses it.
pub(crate) const REPORTED_KEYS: &[(&str, &str)] = &[
    ("http://example.com/a.yml", "include: http://example.com/a.yml"),
    ("project", "include: { project: a/b, ref: main }"),
    ("../A.yml", "include: { template: ../A.yml }"),
    ("component", "include: { component: a/b@1 }"),
    ("integrity", "include: { local: ci/base.yml, integrity: sha256-x }"),
    ("inputs", "include: { local: ci/base.yml, inputs: { a: b } }"),
    ("spec", "spec: { inputs: { a: {} } }"),
    ("on_job_failure", "workflow: { auto_cancel: { on_job_failure: all } }"),
    ("on_job_failure", "workflow: { rules: [{ auto_cancel: { on_job_failure: all } }] }"),
    ("on_new_commit", "workflow: { auto_cancel: { on_new_commit: all } }"),
    ("hooks", "default: { hooks: { pre_get_sources_script: [x] } }"),
    ("identity", "default: { identity: google_cloud }"),
    ("interruptible", "j: { interruptible: true }\nk: { script: x }"),
    ("description", "variables: { A: { value: b, description: c } }"),
    ("options", "variables: { A: { value: b, options: [b, c] } }"),
    ("public", "j: { artifacts: { paths: [a], public: false } }"),
    ("access", "j: { artifacts: { paths: [a], access: none } }"),
    ("coverage_format", "j: { artifacts: { reports: { coverage_report: { path: a } } } }"),
    (
        "coverage_format",
        "j: { artifacts: { reports: { coverage_report: { path: a, coverage_format: lcov } } } }",
    ),
    ("path", "j: { artifacts: { reports: { coverage_report: { coverage_format: jacoco } } } }"),
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
    ("`b` cannot stop the environment", "j: { environment: { name: a, on_stop: b } }"),
    ("kubernetes", "j: { environment: { name: a, kubernetes: { agent: b } } }"),
    ("hooks", "j: { hooks: { pre_get_sources_script: [x] } }"),
    ("aud", "j: { id_tokens: { A: {} } }"),
    ("identity", "j: { identity: google_cloud }"),
    ("kubernetes", "j: { image: { name: a, kubernetes: { user: b } } }"),
    ("inputs", "j: { inputs: { a: b } }"),
    ("manual_confirmation", "j: { when: manual, manual_confirmation: sure? }"),
    ("pipeline", "j: { needs: [{ pipeline: $UP, job: a }] }"),
    ("project", "j: { needs: [{ project: a/b, job: a, ref: main, artifacts: true }] }"),
    ("kubernetes", "j: { only: { kubernetes: active } }"),
    ("api", "j: { only: [api] }"),
    ("pages", "pages: { script: x }"),
    ("pages", "j: { pages: true }"),
    ("publish", "j: { publish: dist }"),
    ("release", "j: { release: { tag_name: a } }"),
    ("unmet", "j: { retry: { max: 1, when: unmet_and_unknown } }"),
    ("compare_to", "j: { rules: [{ changes: { paths: [a], compare_to: [b] } }] }"),
    ("project", "j: { rules: [{ exists: { paths: [a], project: b } }] }"),
    ("no job", "j: { rules: [{ when: always, needs: [a] }] }"),
    ("interruptible", "j: { rules: [{ if: $A, interruptible: true }, { when: always }] }"),
    (
        "interruptible",
        "j: { interruptible: true, rules: [{ if: $A, interruptible: false }, { when: always }] }",
    ),
    ("start_in", "j: { rules: [{ when: always, start_in: 1 day }] }"),
    ("start_in", "j: { rules: [{ when: delayed }] }"),
    ("week", "j: { rules: [{ when: delayed, start_in: 8 days }] }"),
    ("run", "j: { run: [{ name: a }] }"),
    ("secrets", "j: { secrets: { A: { vault: b } } }"),
    ("kubernetes", "j: { services: [{ name: a, kubernetes: { user: b } }] }"),
    ("delayed", "j: { when: delayed }"),
    ("start_in", "j: { start_in: 1 day }"),
    ("week", "j: { when: delayed, start_in: 8 days }"),
    ("manual", "j: { when: manual, allow_failure: false }"),
    ("GIT_CLONE_PATH", "variables: { GIT_CLONE_PATH: a }"),
    ("RUNNER_SCRIPT_TIMEOUT", "variables: { RUNNER_SCRIPT_TIMEOUT: 1m }"),
    ("RUNNER_AFTER_SCRIPT_TIMEOUT", "j: { variables: { RUNNER_AFTER_SCRIPT_TIMEOUT: 1m } }"),
    ("CACHE_FALLBACK_KEY", "j: { variables: { CACHE_FALLBACK_KEY: $CI_RUNNER_ID }, cache: { paths: [a] } }"),
    ("FF_USE_FASTZIP", "j: { variables: { FF_USE_FASTZIP: 1 } }"),
    ("CI_OPEN_MERGE_REQUESTS", "j: { rules: [{ if: $CI_OPEN_MERGE_REQUESTS =~ /x/ }] }"),
];

/// Files that use supported keys, each with a text that the translated file must contain.
pub(crate) const SUPPORTED_KEYS: &[(&str, &str)] = &[
    ("stages: [s]\nj: { stage: s }", "- s"),
    ("types: [s]\nj: { stage: s }", "- s"),
    ("default: { image: i }", "image: i"),
    ("j: { when: delayed, start_in: 30 minutes }", "start_in: 30m"),
    ("j: { rules: [{ if: $A, when: delayed, start_in: 1 day }] }", "start_in: 1d"),
    ("j: { when: delayed, start_in: 1 day, rules: [{ if: $A, when: always }] }", "start_in: 0s"),
    ("j: { resource_group: prod }", "concurrency: prod"),
    ("j: { resource_group: $CI_COMMIT_BRANCH/a }", "concurrency: ${CI_COMMIT_BRANCH}/a"),
    ("image: i", "image: i"),
    ("services: [s]", "image: s"),
    ("services: ['docker:27-dind']", "privileged: true"),
    ("services: [{ name: 'r.example.org/dind:1' }]", "privileged: true"),
    ("before_script: [first]", "- first"),
    ("after_script: [last]", "- last"),
    ("cache: { paths: [kept] }", "- kept"),
    (
        "variables: { CACHE_FALLBACK_KEY: \"$CI_COMMIT_BRANCH-f\" }\ncache: { paths: [a] }",
        "- ${CI_COMMIT_BRANCH}-f",
    ),
    ("variables: { A: b }", "A: b"),
    ("variables: { GIT_STRATEGY: none }", "checkout: false"),
    ("variables: { GIT_STRATEGY: empty }", "checkout: false"),
    ("j: { variables: { GIT_DEPTH: 0 } }", "depth: 0"),
    ("variables: { GIT_CHECKOUT: 'false' }", "files: false"),
    ("variables: { GIT_SUBMODULE_STRATEGY: none }", "submodules: false"),
    ("variables: { GIT_SUBMODULE_STRATEGY: normal }", "submodules: direct"),
    ("variables: { GIT_SUBMODULE_STRATEGY: recursive }", "submodules: recursive"),
    ("variables: { GIT_SUBMODULE_PATHS: 'a :(exclude)b' }", "- :(exclude)b"),
    ("variables: { GIT_SUBMODULE_DEPTH: 3 }", "depth: 3"),
    ("variables: { GIT_LFS_SKIP_SMUDGE: 1 }", "lfs: false"),
    ("j: { rules: [{ if: $CI_COMMIT_MESSAGE =~ /x/ }] }", "env(\"CI_COMMIT_MESSAGE\")"),
    ("variables: { A: { value: b, expand: false } }", "A: b"),
    ("workflow: { name: other }", "name: other"),
    ("workflow: { rules: [{ if: $A }] }", "env(\"A\") != \"\""),
    (
        "workflow: { auto_cancel: { on_new_commit: interruptible } }\ndefault: { interruptible: true }",
        "interruptible: true",
    ),
    ("workflow: { rules: [{ auto_cancel: { on_job_failure: none, on_new_commit: none } }] }", "script"),
    (
        "j: { rules: [{ if: $A, changes: { paths: [a, b], compare_to: c } }] }",
        "env(\"A\") != \"\" && changed_since(\"c\", \"a\", \"b\")",
    ),
    (
        "j: { rules: [{ changes: { paths: [a], compare_to: refs/heads/$CI_DEFAULT_BRANCH } }] }",
        "changed_since((\"refs/heads/\" + env(\"CI_DEFAULT_BRANCH\")), \"a\")",
    ),
    ("j: { retry: { max: 1, when: runner_interrupted } }", "worker_lost"),
    ("j: { only: [pipelines] }", "env(\"CI_PIPELINE_SOURCE\") == \"pipeline\""),
    ("j: { rules: [{ if: $A, when: never }, { interruptible: true }] }", "interruptible: true"),
    (
        "default: { interruptible: true }\nj: { rules: [{ if: $A, interruptible: true }, { when: always }] }",
        "interruptible: true",
    ),
    ("k: { script: x }\nj: { stage: deploy, rules: [{ if: $A, needs: [k] }] }", "needs:"),
    ("default: { artifacts: { paths: [kept] }, retry: 1, tags: [t], timeout: 1h }", "t: 'true'"),
    ("include: ci/base.yml\nj: { extends: .go }", "golang:1.24"),
    ("include: { local: ci/base.yml, rules: [{ if: $A }] }\nj: { extends: .go }", "golang:1.24"),
    (
        "k: { script: x, parallel: { matrix: [{ A: [b] }] } }\nj: { stage: deploy, needs: [{ job: k, parallel: { matrix: [{ A: b }] } }] }",
        "A:",
    ),
    (".k: { script: [shared] }\nj: { script: [!reference [.k, script]] }", "- shared"),
    ("j: { allow_failure: true }", "allow_failure: true"),
    ("j: { allow_failure: { exit_codes: 3 } }", "- 3"),
    ("j: { artifacts: { paths: [a], when: always, expire_in: 2 days } }", "expire_in: 2d"),
    ("j: { artifacts: { reports: { junit: a.xml } } }", "- a.xml"),
    (
        "j: { artifacts: { reports: { coverage_report: { coverage_format: cobertura, path: c.xml } } } }",
        "coverage:\n        - c.xml",
    ),
    (
        "j: { cache: { key: { files: [a], prefix: b }, paths: [c], policy: pull, when: always, fallback_keys: [d] } }",
        "policy: pull",
    ),
    ("j: { coverage: '/TOTAL.*? (\\d+%)$/' }", "coverage: TOTAL.*? (\\d+%)$"),
    ("j: { coverage: '/of a\\/b or a/b: \\d+\\%/' }", "coverage: 'of a\\/b or a/b: \\d+\\%'"),
    ("j: { coverage: /cover/i }", "coverage: (?i)cover"),
    ("k: { script: x }\nj: { coverage: }", "- x"),
    ("default: { id_tokens: { A: { aud: 'https://b' } } }", "- https://b"),
    ("j: { id_tokens: { A: { aud: [b, 'https://$CI_COMMIT_BRANCH'] } } }", "- https://${CI_COMMIT_BRANCH}"),
    ("j: { environment: { name: a, url: https://b } }", "url: https://b"),
    ("j: { trigger: a/b }", "repository: a/b"),
    ("j: { environment: { name: a, action: stop } }", "action: stop"),
    ("j: { environment: { name: a, action: verify, auto_stop_in: 2 hours } }", "auto_stop_in: 2h"),
    ("j: { environment: { name: a, auto_stop_in: 1 day } }", "auto_stop_in: 1d"),
    ("j: { environment: { name: a, auto_stop_in: $A } }\nvariables: { A: 1 week }", "auto_stop_in: 7d"),
    ("j: { environment: { name: a, deployment_tier: staging } }", "tier: staging"),
    (
        "j: { environment: { name: a, on_stop: k } }\nk: { script: x, when: manual, environment: { name: a, action: stop } }",
        "on_stop: k",
    ),
    ("j: { except: [main] }", "CI_COMMIT_REF_NAME"),
    ("j: { only: { refs: [main], changes: [a], variables: [$B] } }", "changed(\"a\")"),
    ("j: { image: { name: i, pull_policy: always } }", "pull_policy: always"),
    ("j: { image: { name: i, pull_policy: [always, if-not-present] } }", "pull_policy: always-or-present"),
    ("j: { image: { name: i, entrypoint: [''] } }", "entrypoint:"),
    ("j: { image: { name: i, docker: { user: '1000:1000', platform: linux/arm64 } } }", "user: 1000:1000"),
    ("image: i\nj: { inherit: { default: false, variables: false } }", "ruby:3.1"),
    ("k: { script: x }\nj: { stage: deploy, needs: [{ job: k, optional: true }] }", "optional: true"),
    ("j: { parallel: 2 }", "parallel: 2"),
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
    ("j: { services: [{ name: s, alias: 't,u' }] }", "- u"),
    ("j: { services: [{ name: s, pull_policy: always }] }", "pull_policy: always"),
    ("j: { services: [{ name: s, docker: { user: $CI_COMMIT_BRANCH } }] }", "user: ${CI_COMMIT_BRANCH}"),
    ("j: { services: [{ name: s, docker: { platform: linux/arm64 } }] }", "platform: linux/arm64"),
    ("j: { services: [{ name: s, variables: { HEALTHCHECK_TCP_PORT: 8080 } }] }", "port: 8080"),
    ("j: { tags: [t] }", "t: 'true'"),
    ("j: { timeout: 90 minutes }", "timeout: 1h 30m"),
    ("j: { when: on_failure }", "when: on_failure"),
    ("j: { variables: { A: b } }", "A: b"),
];

/// Adds to a file what a job must have.
pub(crate) fn complete(text: &str) -> String {
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
    let mut unreported = Vec::new();
    for (key, text) in REPORTED_KEYS {
        let text = complete(text);
        let diagnostics = diagnostics(&text);
        let about = |one: &String| {
            one.contains("gitlab-") && one.contains(key) && one.starts_with(|c: char| c.is_ascii_digit())
        };
        if !diagnostics.iter().any(about) {
            unreported.push(format!("{key} of {text}: {diagnostics:#?}"));
        }
    }
    assert!(unreported.is_empty(), "not reported: {}", unreported.join("\n"));
    for (text, expected) in SUPPORTED_KEYS {
        let text = complete(text);
        match translate_fixture(".gitlab-ci.yml", &text) {
            Ok(translated) => assert!(translated.text.contains(expected), "{text}{}", translated.text),
            Err(errors) => panic!("{text}{}", errors.render(false)),
        }
    }
    // An undocumented key is an error everywhere.
    for text in [
        "j: { sript: x }",
        "default: { sript: x }",
        "workflow: { sript: x }",
        "j: { artifacts: { sript: x } }",
        "j: { cache: { paths: [a], sript: x } }",
        "j: { rules: [{ sript: x }] }",
        "j: { retry: { sript: x } }",
        "j: { image: { name: a, sript: x } }",
        "j: { image: { name: a, docker: { sript: x } } }",
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
        let diagnostics = diagnostics(&complete(text));
        assert!(
            diagnostics.iter().any(|one| one.contains("error[gitlab-unknown-key]: `sript`")),
            "{text}: {diagnostics:#?}"
        );
    }
}
