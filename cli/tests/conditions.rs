//! `plan` and `check` in a git repository: facts of conditions, and includes.

use std::{fs, path::Path, process::Command};

const TOP: &str = r#"
name: mill
include: ci/base.yml
stages: [build, test, deploy]
jobs:
  compile: { extends: .rust, stage: build, script: [cargo build] }
  docs: { stage: test, script: [mdbook build], if: "changed('docs/')" }
  deploy:
    stage: deploy
    script: [./deploy]
    rules:
      - { if: fork, when: never }
      - { if: branch == default_branch && event == 'push', when: manual }
      - if: tag.matches("^v[0-9]")
"#;
const BASE: &str = "defaults: { image: busybox }\n.rust: { image: \"rust:1.95\" }\njobs:\n  lint: { stage: test, script: [lint], exists: [] }\n";

fn git(dir: &Path, args: &[&str]) {
    let done = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=T", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main"])
        .args(args)
        .output()
        .unwrap();
    assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn repository(base: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in
        [(".pipelines/mill.yml", TOP), ("ci/base.yml", base), ("docs/a.md", "a\n"), ("src/a.rs", "\n")]
    {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    git(dir.path(), &["init", "--quiet"]);
    git(dir.path(), &["add", "--all"]);
    git(dir.path(), &["commit", "--quiet", "--message", "first"]);
    dir
}

fn tidemill(dir: &Path, args: &[&str]) -> (i32, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .current_dir(dir)
        .env("TIDEMILL_DATA_DIR", dir.join("data"))
        .env("TIDEMILL_CONFIG", dir.join("config.toml"))
        .env_remove("TIDEMILL_SERVER")
        .env_remove("TIDEMILL_PROFILE")
        .args(args)
        .output()
        .unwrap();
    let text = [done.stdout, done.stderr].concat();
    (done.status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn good_base() -> String {
    BASE.replace(", exists: []", "")
}

#[test]
fn plan_shows_jobs_and_why_others_are_excluded() {
    let dir = repository(&good_base());
    let plan = |args: &[&str]| {
        let (code, text) = tidemill(dir.path(), &[&["plan"], args].concat());
        assert_eq!(code, 0, "{text}");
        text
    };
    // Nothing differs from the default branch, so the changed files are unknown.
    insta::assert_snapshot!("clean", plan(&[]));
    git(dir.path(), &["checkout", "--quiet", "-b", "topic"]);
    fs::write(dir.path().join("src/a.rs"), "fn main() {}\n").unwrap();
    git(dir.path(), &["commit", "--quiet", "--all", "--message", "second"]);
    insta::assert_snapshot!("topic", plan(&[]));
    fs::write(dir.path().join("docs/new.md"), "new\n").unwrap();
    let text = plan(&[]);
    assert!(text.contains("\n  docs "), "an untracked file counts as changed: {text}");
    insta::assert_snapshot!(
        "pull-request-of-a-fork",
        plan(&["--event", "pull_request", "--fork", "--branch", "x", "--changed", "docs/a.md"])
    );
    insta::assert_snapshot!("tag", plan(&["--tag", "v1.2", "--changed", "src/a.rs"]));
    insta::assert_snapshot!(
        "push-to-main",
        plan(&["--event", "push", "--branch", "main", "--changed", "src/a.rs"])
    );
}

#[test]
fn errors_in_an_included_file_name_that_file() {
    let dir = repository(BASE);
    let (code, text) = tidemill(dir.path(), &["check"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!("included-mistake", text);
    let (_, json) = tidemill(dir.path(), &["check", "--format", "json"]);
    assert!(json.contains("\"file\": \"ci/base.yml\""), "{json}");
    let (_, sarif) = tidemill(dir.path(), &["check", "--format", "sarif"]);
    assert!(sarif.contains("\"uri\": \"ci/base.yml\""), "{sarif}");
}

#[test]
fn include_outside_of_the_repository_is_rejected() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret.yml"), "name: secret\n").unwrap();
    let dir = repository(&good_base());
    fs::remove_file(dir.path().join("ci/base.yml")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret.yml"), dir.path().join("ci/base.yml")).unwrap();
    let (code, text) = tidemill(dir.path(), &["check"]);
    assert_eq!(code, 2);
    assert!(text.contains("outside of the repository"), "{text}");
}

#[test]
fn inputs_are_checked_and_reach_the_plan() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(".pipelines")).unwrap();
    let file = "name: ship\non:\n  comment: { pattern: \"^/ship (?P<env>[a-z]+)$\" }\n  manual: { inputs: { env: { type: choice, options: [dev, prod] } } }\n\
                jobs: { ship: { image: \"app:${INPUT_ENV}\", script: [x], if: 'event == \"manual\" || comment.contains(\"ship\")' } }\n";
    fs::write(dir.path().join(".pipelines/ship.yml"), file).unwrap();
    let plan = |args: &[&str]| tidemill(dir.path(), &[&["plan"], args].concat());
    for args in [&["--input", "env=prod"][..], &["--comment", "/ship prod"]] {
        let (code, text) = plan(args);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("app:prod"), "{args:?}: {text}");
    }
    for (args, message) in [
        (
            &[][..],
            "the input `env` (choice) has no default and needs a value: give it with `--input env=VALUE`",
        ),
        (&["--input", "env=prd"], "the input `env` takes one of `dev`, `prod`, not `prd`"),
        (&["--input", "enw=dev"], "the pipeline has no input `enw`; did you mean `env`?"),
        (&["--input", "env"], "--input `env`: expected NAME=VALUE"),
        (&["--comment", "ship it"], "the `pattern` of its `on` does not match the comment"),
        (&["--comment", "/ship prd"], "the input `env` takes one of `dev`, `prod`, not `prd`"),
    ] {
        let (code, text) = plan(args);
        assert_eq!(code, 2, "{args:?}: {text}");
        assert!(text.contains(message), "{args:?}: {text}");
    }
    for event in ["merge_group", "release", "pipeline"] {
        let (code, text) = plan(&["--event", event, "--tag", "v1"]);
        assert_eq!(code, 2, "{event}: {text}");
        assert!(text.contains(&format!("its `on` has no `{event}`")), "{event}: {text}");
    }
    let (_, text) = plan(&["--event", "comment"]);
    assert!(text.contains("no job runs"), "{text}");
}

#[test]
fn inputs_of_a_gitlab_file_are_given_with_the_plan() {
    let dir = tempfile::tempdir().unwrap();
    let file = "spec:\n  inputs:\n    env: { options: [dev, prod] }\n---\nship: { image: \"app:$[[ inputs.env ]]\", script: [x] }\n";
    fs::write(dir.path().join(".gitlab-ci.yml"), file).unwrap();
    let (code, text) = tidemill(dir.path(), &["plan", "--input", "env=prod"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("app:prod"), "{text}");
    let (code, text) = tidemill(dir.path(), &["check"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("`--input env=VALUE`"), "{text}");
}

#[test]
fn plan_compares_changes_with_the_ref_of_a_gitlab_rule() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    let rule =
        |reference: &str| format!("  rules: [{{ changes: {{ paths: [b], compare_to: {reference} }} }}]\n");
    let job =
        |name: &str, reference: &str| format!("{name}:\n  image: busybox\n  script: x\n{}", rule(reference));
    let always = "always: { image: busybox, script: x }\n";
    let file = |reference: &str| job("since", reference) + &job("since-tag", "v1") + always;
    write(".gitlab-ci.yml", &file("refs/heads/$CI_DEFAULT_BRANCH"));
    write("a", "");
    git(dir.path(), &["init", "--quiet"]);
    git(dir.path(), &["add", "--all"]);
    git(dir.path(), &["commit", "--quiet", "--message", "first"]);
    git(dir.path(), &["checkout", "--quiet", "-b", "topic"]);
    write("b", "");
    git(dir.path(), &["add", "--all"]);
    git(dir.path(), &["commit", "--quiet", "--message", "second"]);
    git(dir.path(), &["tag", "v1"]);
    let jobs = |args: &[&str]| {
        let (code, text) = tidemill(dir.path(), &[&["plan"], args, &["--format", "json"]].concat());
        assert_eq!(code, 0, "{text}");
        // Messages follow.
        let text = &text[text.find('{').unwrap_or_default()..];
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
        let plan = values.next().unwrap().unwrap();
        let jobs = plan["jobs"].as_array().unwrap().iter();
        jobs.map(|job| job["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(jobs(&["--event", "push"]), ["since", "always"]);
    assert_eq!(jobs(&["--event", "schedule"]), ["since", "always"], "a schedule has changes, too");
    assert_eq!(jobs(&["--event", "push", "--changed", "b"]), ["since", "since-tag", "always"]);
    assert_eq!(jobs(&["--event", "push", "--changed", "a"]), ["always"]);
    git(dir.path(), &["update-ref", "refs/other/x", "HEAD"]);
    // What a server does not find is not found here, either.
    for reference in ["gone", "refs/other/x"] {
        write(".gitlab-ci.yml", &file(reference));
        let (code, text) = tidemill(dir.path(), &["plan", "--event", "push"]);
        assert!(code != 0 && text.contains(&format!("no branch, tag or commit `{reference}`")), "{text}");
    }
}
