//! GitLab CI files: checked, planned, run and imported.

use crate::support::image;
use std::{fs, path::Path, process::Command};

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
  dast_configuration: { site_profile: none }
branch:
  stage: check
  script: [echo "on $CI_COMMIT_BRANCH of $CI_DEFAULT_BRANCH by $CI_PIPELINE_SOURCE"]
  rules: [{ if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH && $CI_PIPELINE_SOURCE == "web" }]
tagged:
  stage: check
  script: [exit 1]
  only: [tags]
"#;

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=T", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main"])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Creates a repository `app` with a GitLab CI file.
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

fn tidemill(repo: &Path, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .current_dir(repo)
        .env("TIDEMILL_DATA_DIR", repo.parent().unwrap().join("data"))
        .env("TIDEMILL_CONFIG", repo.parent().unwrap().join("config.toml"))
        .env_remove("TIDEMILL_SERVER")
        .env_remove("TIDEMILL_PROFILE")
        .args(args)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn gitlab_file_runs_unchanged() {
    let (_dir, repo) = repository(FILE);
    let commit = git(&repo, &["rev-parse", "HEAD"]);
    let short = &commit[..8];
    let (code, stdout, stderr) = tidemill(&repo, &["run"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(
        stderr.contains("`dast_configuration` is not supported") && stderr.contains(".gitlab-ci.yml:"),
        "{stderr}"
    );
    assert!(stderr.contains("`tags` is not supported: all jobs run on this machine"), "{stderr}");
    let log = |job: &str| tidemill(&repo, &["logs", job]).1;
    let make_log = log("make");
    for expected in [
        "shared by make in build".to_owned(),
        format!("label is hello-{short}"),
        "in /workspace of app at /workspace".to_owned(),
        format!("after hello-{short}"),
    ] {
        assert!(make_log.contains(&expected), "{expected}: {make_log}");
    }
    assert!(log("use: [large]").contains("size is large of 2"), "{}", log("use: [large]"));
    assert!(log("branch").contains("on main of main by web"), "{}", log("branch"));
    let (_, json, _) = tidemill(&repo, &["report", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["jobs"].as_array().unwrap().len(), 4, "{report:#}");
    let tests = report["tests"]["jobs"].as_array().unwrap();
    assert_eq!(tests.len(), 2, "one entry per matrix variant: {report:#}");
    assert_eq!(tests[0]["report"]["coverage"], 87.5, "{report:#}");
}

#[test]
fn gitlab_file_of_another_repository_gets_inputs_and_variables() {
    let text = "spec:\n  inputs:\n    level:\n---\ndefault: {image: IMAGE}\njob:\n  script: ['echo level $[[ inputs.level ]] of $NAME']\n  \
                rules: [{if: '$NAME == \"set\"'}]\n";
    let (dir, repo) = repository(text);
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let address = repo.display().to_string();
    let run = |more: &[&str]| tidemill(&elsewhere, &[&["run", "--repo", &address][..], more].concat());
    let (code, stdout, stderr) = run(&["--input", "level=high", "-e", "NAME=set"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let log = tidemill(&elsewhere, &["logs", "job", "--repo", &address]).1;
    assert!(log.contains("level high of set"), "{log}");
    let (code, _, stderr) = run(&["-e", "NAME=set"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("the input `level` has no default"), "{stderr}");
    let (code, _, stderr) = run(&["--input", "level=high"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("exclude all jobs"), "{stderr}");
}

#[test]
fn gitlab_file_is_checked_and_planned() {
    let (_dir, repo) = repository(FILE);
    let (code, stdout, _) = tidemill(&repo, &["check"]);
    assert_eq!(code, 0, "{stdout}");
    assert!(stdout.contains("--> .gitlab-ci.yml:30:3"), "{stdout}");
    let (code, stdout, _) = tidemill(&repo, &["plan", "--tag", "v1"]);
    assert!(code == 0 && stdout.contains("  tagged ") && stdout.contains("left out: 1 job(s)"), "{stdout}");
    fs::write(repo.join("other.yml"), "j: { image: a, script: x, identity: google_cloud }\n").unwrap();
    let (code, stdout, _) = tidemill(&repo, &["check", "--gitlab", "-f", "other.yml", "--format", "json"]);
    assert_eq!(code, 2, "{stdout}");
    let found: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(found[0]["code"], "gitlab-key-refused", "{found:#}");
    assert_eq!((&found[0]["location"]["line"], &found[0]["location"]["column"]), (&1.into(), &27.into()));
    assert_eq!(tidemill(&repo, &["plan", "--gitlab", "-f", "other.yml"]).0, 2);
}

#[test]
fn imported_file_has_the_same_plan_and_is_not_overwritten() {
    let (_dir, repo) = repository(FILE);
    let before: serde_json::Value =
        serde_json::from_str(&tidemill(&repo, &["plan", "--format", "json"]).1).unwrap();
    let (code, stdout, stderr) = tidemill(&repo, &["import"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("created .pipelines/ci.yml"), "{stdout}");
    let text = fs::read_to_string(repo.join(".pipelines/ci.yml")).unwrap();
    assert!(text.contains("# line 30: `dast_configuration` is not supported"), "{text}");
    assert!(text.contains("concurrency: one"), "{text}");
    assert_eq!(tidemill(&repo, &["check"]).1, ".pipelines/ci.yml: no errors\n");
    let after: serde_json::Value =
        serde_json::from_str(&tidemill(&repo, &["plan", "--format", "json"]).1).unwrap();
    assert_eq!(before, after);
    let (code, _, stderr) = tidemill(&repo, &["import"]);
    assert!(code == 2 && stderr.contains("--force"), "{stderr}");
    fs::write(repo.join(".pipelines/ci.yml"), "x".repeat(100_000)).unwrap();
    assert_eq!(tidemill(&repo, &["import", "--force"]).0, 0);
    assert_eq!(fs::read_to_string(repo.join(".pipelines/ci.yml")).unwrap(), text);
    fs::write(repo.join(".gitlab-ci.yml"), "j: { image: a, script: x, trigger: a/b }\n").unwrap();
    assert_eq!(tidemill(&repo, &["import", "-o", "other.yml"]).0, 2);
    assert!(!repo.join("other.yml").exists());
}

#[test]
fn check_and_plan_show_child_pipelines() {
    let (_dir, repo) = repository("j: { trigger: { include: ci/child.yml, strategy: depend } }\n");
    fs::create_dir(repo.join("ci")).unwrap();
    fs::write(repo.join("ci/child.yml"), "k: { image: a, script: x, stage: nowhere }\n").unwrap();
    let (code, stdout, _) = tidemill(&repo, &["check"]);
    assert_eq!(code, 2, "{stdout}");
    assert!(
        stdout.contains("--> ci/child.yml:1:34") && stdout.contains(".gitlab-ci.yml: no errors"),
        "{stdout}"
    );
    let (code, stdout, _) = tidemill(&repo, &["plan"]);
    assert!(code == 0 && stdout.contains("  j  starts ci/child.yml  "), "{stdout}");
    fs::remove_file(repo.join("ci/child.yml")).unwrap();
    let (code, stdout, _) = tidemill(&repo, &["check"]);
    assert!(
        code == 2 && stdout.contains("ci/child.yml, which the job `j` starts, cannot be read"),
        "{stdout}"
    );
}

#[test]
fn import_comments_on_unset_variables_and_the_name_is_that_of_the_origin() {
    let (_dir, repo) = repository("j: { image: IMAGE, script: ['echo $PROD_TOKEN'] }\n");
    let name = || {
        let (code, stdout, stderr) = tidemill(&repo, &["plan"]);
        assert_eq!(code, 0, "{stderr}");
        stdout.split_once(':').unwrap().0.to_owned()
    };
    assert_eq!(name(), "app", "the directory's name");
    git(&repo, &["remote", "add", "origin", "https://git.example.org/team/shop.git"]);
    assert_eq!(name(), "shop");
    let (code, _, stderr) = tidemill(&repo, &["import"]);
    assert!(code == 0 && stderr.contains("nothing in this file sets `$PROD_TOKEN`"), "{stderr}");
    let imported = fs::read_to_string(repo.join(".pipelines/ci.yml")).unwrap();
    assert!(imported.contains("name: shop\n"), "{imported}");
    let comment = imported.lines().find(|line| line.contains("$PROD_TOKEN")).unwrap();
    assert!(comment.trim_start().starts_with('#'), "{imported}");
    // The image must be known.
    fs::write(repo.join(".gitlab-ci.yml"), "j: { image: $GROUP/x, script: [x] }\n").unwrap();
    let (code, _, stderr) = tidemill(&repo, &["import", "-o", "other.yml"]);
    assert!(code == 2 && stderr.contains("`GROUP`, which nobody sets"), "{stderr}");
}

#[test]
fn file_with_keys_of_all_jobs_under_a_condition_is_imported_for_an_event() {
    let (_dir, repo) = repository(
        "include: [{ local: tag.yml, rules: [{ if: $CI_COMMIT_TAG }] }]\nj: { script: x }\n\
         child: { trigger: { include: child.yml } }\n",
    );
    fs::write(repo.join("tag.yml"), "default: { image: of-tag }\n").unwrap();
    // A child is checked for the event, too.
    let child = "include: [{ local: tag.yml, rules: [{ if: '$CI_PIPELINE_SOURCE == \"parent_pipeline\"' }] }]\nk: { script: x }\n";
    fs::write(repo.join("child.yml"), child).unwrap();
    let (code, stdout, _) = tidemill(&repo, &["check"]);
    assert!(code == 0 && stdout.contains("for this event, this is included"), "{stdout}");
    let (code, _, stderr) = tidemill(&repo, &["import"]);
    assert!(code == 2 && stderr.contains("tidemill import --event push"), "{stderr}");
    for (args, on, image) in [
        (&["--event", "push", "--branch", "main"][..], "push:\n    branches:\n    - main\n", "ruby:3.1"),
        (&["--event", "tag", "--tag", "v1"], "tag:", "of-tag"),
    ] {
        let (code, _, stderr) = tidemill(&repo, &[&["import", "--force"], args].concat());
        assert_eq!(code, 0, "{stderr}");
        let imported = fs::read_to_string(repo.join(".pipelines/ci.yml")).unwrap();
        assert!(imported.contains(&format!("on:\n  {on}")) && imported.contains(image), "{imported}");
        fs::remove_dir_all(repo.join(".pipelines")).unwrap();
    }
}

#[test]
fn check_says_where_the_variables_of_a_registry_come_from() {
    let (_dir, repo) = repository("j: { image: $CI_REGISTRY/tools:1, script: x }\n");
    let (code, stdout, _) = tidemill(&repo, &["check"]);
    let place = "--> .gitlab-ci.yml:1:13";
    assert!(
        code == 0 && stdout.contains(place) && stdout.contains("tidemill registry add"),
        "{code} {stdout}"
    );
    let (code, stdout, _) = tidemill(&repo, &["check", "-e", "CI_REGISTRY=registry.example.org"]);
    assert_eq!((code, stdout.as_str()), (0, ".gitlab-ci.yml: no errors\n"));
}
