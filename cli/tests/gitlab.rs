//! GitLab's file as it stands: checked, planned, run and imported.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use std::{fs, path::Path, process::Command};
use support::image;

const FILE: &str = r#"
stages: [build, check]
default:
  image: IMAGE
  tags: [docker]
variables:
  GREETING: hello
  LABEL: $GREETING-$CI_COMMIT_SHORT_SHA
.shared:
  script:
    - echo "shared by $CI_JOB_NAME in $CI_JOB_STAGE"
make:
  stage: build
  script:
    - !reference [.shared, script]
    - echo "label is $LABEL"
    - echo "in $CI_PROJECT_DIR of $CI_PROJECT_NAME at $(pwd)" && test "$CI_PROJECT_DIR" = "$(pwd)"
    - mkdir out && echo made > out/file
  after_script: [echo "after $LABEL"]
  artifacts: { paths: [$CI_PROJECT_DIR/out], expire_in: 2 hrs 20 min }
use:
  stage: check
  parallel: { matrix: [{ SIZE: [small, large] }] }
  script:
    - test "$(cat out/file)" = made
    - echo "size is $SIZE of $CI_NODE_TOTAL"
    - printf 'a 10%%\nall 87.50%%\n'
  coverage: /all (\d+.\d+)%/
  resource_group: one
branch:
  stage: check
  script: [echo "on $CI_COMMIT_BRANCH of $CI_DEFAULT_BRANCH by $CI_PIPELINE_SOURCE"]
  rules: [{ if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH && $CI_PIPELINE_SOURCE == "web" }]
tagged:
  stage: check
  script: [exit 1]
  only: [tags]
"#;

fn git(dir: &Path, words: &[&str]) -> String {
    let done = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=T", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main"])
        .args(words)
        .output()
        .unwrap();
    assert!(done.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// A repository `app` with GitLab's file.
fn repository(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let repo = dir.path().join("app");
    fs::create_dir(&repo).unwrap();
    fs::write(repo.join(".gitlab-ci.yml"), text.replace("IMAGE", &image())).unwrap();
    git(&repo, &["init", "--quiet"]);
    git(&repo, &["add", "--all"]);
    git(&repo, &["commit", "--quiet", "--message", "first"]);
    (dir, repo)
}

fn tidemill(repo: &Path, words: &[&str]) -> (i32, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .current_dir(repo)
        .env("TIDEMILL_DATA_DIR", repo.parent().unwrap().join("data"))
        .env("TIDEMILL_CONFIG", repo.parent().unwrap().join("config.toml"))
        .env_remove("TIDEMILL_SERVER")
        .env_remove("TIDEMILL_PROFILE")
        .args(words)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

#[test]
fn gitlab_file_runs_unchanged() {
    let (_dir, repo) = repository(FILE);
    let commit = git(&repo, &["rev-parse", "HEAD"]);
    let short = &commit[..8];
    let (code, shown, said) = tidemill(&repo, &["run"]);
    assert_eq!(code, 0, "{shown}{said}");
    assert!(said.contains("`resource_group` is not supported") && said.contains(".gitlab-ci.yml:"), "{said}");
    assert!(said.contains("`tags` is not supported: all jobs run on this machine"), "{said}");
    let log = |job: &str| tidemill(&repo, &["logs", "--job", job]).1;
    let made = log("make");
    for wanted in [
        "shared by make in build".to_owned(),
        format!("label is hello-{short}"),
        "in /workspace of app at /workspace".to_owned(),
        format!("after hello-{short}"),
    ] {
        assert!(made.contains(&wanted), "{wanted}: {made}");
    }
    assert!(log("use [SIZE=large]").contains("size is large of 2"), "{}", log("use [SIZE=large]"));
    assert!(log("branch").contains("on main of main by web"), "{}", log("branch"));
    let (_, json, _) = tidemill(&repo, &["report", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["jobs"].as_array().unwrap().len(), 4, "{report:#}");
    let tests = report["tests"]["jobs"].as_array().unwrap();
    assert_eq!(tests.len(), 2, "of each variant: {report:#}");
    assert_eq!(tests[0]["report"]["coverage"], 87.5, "{report:#}");
}

#[test]
fn gitlab_file_is_checked_and_planned() {
    let (_dir, repo) = repository(FILE);
    let (code, shown, _) = tidemill(&repo, &["check"]);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("--> .gitlab-ci.yml:29:3"), "{shown}");
    let (code, shown, _) = tidemill(&repo, &["plan", "--tag", "v1"]);
    assert!(code == 0 && shown.contains("  tagged ") && shown.contains("left out: 1 job(s)"), "{shown}");
    fs::write(repo.join("other.yml"), "j: { image: a, script: x, trigger: a/b }\n").unwrap();
    let (code, shown, _) = tidemill(&repo, &["check", "--gitlab", "-f", "other.yml", "--format", "json"]);
    assert_eq!(code, 2, "{shown}");
    let found: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(found[0]["code"], "gitlab-key-refused", "{found:#}");
    assert_eq!((&found[0]["location"]["line"], &found[0]["location"]["column"]), (&1.into(), &27.into()));
    assert_eq!(tidemill(&repo, &["plan", "--gitlab", "-f", "other.yml"]).0, 2);
}

#[test]
fn imported_file_has_the_same_plan_and_is_not_overwritten() {
    let (_dir, repo) = repository(FILE);
    let before: serde_json::Value = serde_json::from_str(&tidemill(&repo, &["plan", "--json"]).1).unwrap();
    let (code, shown, said) = tidemill(&repo, &["import"]);
    assert_eq!(code, 0, "{shown}{said}");
    assert!(shown.contains("created .pipelines/ci.yml"), "{shown}");
    let text = fs::read_to_string(repo.join(".pipelines/ci.yml")).unwrap();
    assert!(text.contains("# line 29: `resource_group` is not supported"), "{text}");
    assert_eq!(tidemill(&repo, &["check"]).1, ".pipelines/ci.yml: no errors\n");
    let after: serde_json::Value = serde_json::from_str(&tidemill(&repo, &["plan", "--json"]).1).unwrap();
    assert_eq!(before, after);
    let (code, _, said) = tidemill(&repo, &["import"]);
    assert!(code == 2 && said.contains("--force"), "{said}");
    fs::write(repo.join(".pipelines/ci.yml"), "x".repeat(100_000)).unwrap();
    assert_eq!(tidemill(&repo, &["import", "--force"]).0, 0);
    assert_eq!(fs::read_to_string(repo.join(".pipelines/ci.yml")).unwrap(), text);
    fs::write(repo.join(".gitlab-ci.yml"), "j: { image: a, script: x, trigger: a/b }\n").unwrap();
    assert_eq!(tidemill(&repo, &["import", "-o", "other.yml"]).0, 2);
    assert!(!repo.join("other.yml").exists());
}
