//! Cases about what jobs leave: artifacts and the variables that they hand on.

use crate::cases::project::Project;
use std::fs;

const EXCLUDE: &str = r#"
stages: [build, test]
default: { image: IMAGE }
pack:
  stage: build
  script:
    - mkdir -p dist/certs/old dist/tmp
    - echo program > dist/app
    - echo key > dist/app.key
    - echo key > dist/certs/old/server.key
    - echo draft > dist/tmp/draft.txt
  artifacts:
    paths: [dist/]
    exclude: ["dist/**/*.key", dist/tmp/]
use:
  stage: test
  script:
    - test "$(cat dist/app)" = program
    - test -z "$(find dist -name '*.key' -o -name draft.txt)"
"#;

#[test]
fn case_everyday_14_excluded_files_are_not_uploaded() {
    let project = Project::new(&[(".gitlab-ci.yml", EXCLUDE)]);
    let checked = project.tidemill(&["check", "-f", ".gitlab-ci.yml"]);
    assert!(checked.code == 0 && !checked.stderr.contains("exclude"), "{checked:?}");
    project.run(".gitlab-ci.yml", 0);
    let listed = project.tidemill(&["artifacts", "pack"]);
    assert!(listed.stdout.contains("  dist/app  "), "{listed:?}");
    assert!(!listed.stdout.contains(".key") && !listed.stdout.contains("draft"), "{listed:?}");
}

const UNTRACKED: &str = r#"
pack:
  image: IMAGE
  script:
    - mkdir -p out .cache
    - echo made > out/made.txt
    - echo ignored > build.log
    - echo cached > .cache/index
    - echo changed >> tracked.txt
  artifacts:
    paths: [out]
    untracked: true
    exclude: [".cache/**"]
    name: "$CI_JOB_NAME-$CI_COMMIT_BRANCH"
    expose_as: the build
"#;

#[test]
fn case_everyday_14_untracked_files_are_uploaded_but_for_excluded_ones() {
    let project = Project::new(&[
        (".gitlab-ci.yml", UNTRACKED),
        ("tracked.txt", "from the repository\n"),
        (".gitignore", "*.log\n"),
    ]);
    project.run(".gitlab-ci.yml", 0);
    let listed = project.tidemill(&["artifacts", "--format", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    let artifact = &listed["artifacts"][0];
    let mut names: Vec<&str> =
        artifact["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["build.log", "out/made.txt"]);
    assert_eq!(
        (artifact["name"].as_str(), artifact["expose_as"].as_str()),
        (Some("pack-main"), Some("the build"))
    );
    let report = project.tidemill(&["report"]);
    assert!(report.stdout.contains("the build"), "{report:?}");
}

const DOTENV: &str = r#"
stages: [build, test, deploy]
default: { image: IMAGE }
variables: { PLAIN: from the file, ADDRESS: "https://$HOST_NAME/$PATCH" }
version:
  stage: build
  script:
    - printf 'VERSION=1.4\r\nQUOTED="two words"\nDOLLAR=$HOME\nPATCH=1\nPATCH=2\nEMPTY=\n' > a.env
    - echo "HOST_NAME=v14.example" > b.env
    - echo "PLAIN=from the job" >> b.env
    - echo "TAG=IMAGE" >> b.env
  artifacts: { reports: { dotenv: [a.env, b.env] } }
later:
  stage: test
  script:
    - test "$VERSION" = 1.4
    - test "$QUOTED" = '"two words"'
    - test "$DOLLAR" = '$HOME'
    - test "$ADDRESS" = https://v14.example/2
    - test "${EMPTY-unset}" = ""
    - test "$PLAIN" = "from the job"
needs-it:
  stage: deploy
  needs: [version]
  image: $TAG
  environment: { name: review, url: "https://$HOST_NAME/" }
  script: [test "$CI_ENVIRONMENT_URL" = https://v14.example/]
without:
  stage: test
  dependencies: []
  script: [test -z "$VERSION", test "$PLAIN" = "from the file"]
without-artifacts:
  stage: test
  needs: [{ job: version, artifacts: false }]
  script: [test -z "$VERSION"]
"#;

#[test]
fn case_everyday_26_dotenv_report_reaches_later_jobs() {
    let project = Project::new(&[(".gitlab-ci.yml", DOTENV)]);
    let run = project.tidemill(&["run", "-f", ".gitlab-ci.yml"]);
    assert_eq!(run.code, 0, "{run:?} {}", project.log("later"));
    let status = project.tidemill(&["status", "1", "--format", "json"]);
    assert!(status.stdout.contains("https://v14.example/"), "{status:?}");
}

const MALFORMED: &str = r#"
stages: [a, b]
default: { image: IMAGE }
spaces: { stage: a, script: ['echo "MY NAME=1" > v.env'], artifacts: { reports: { dotenv: v.env } } }
export: { stage: a, script: ['echo "export NAME=1" > v.env'], artifacts: { reports: { dotenv: v.env } } }
lines: { stage: a, script: ["printf 'KEY=a\nb\n' > v.env"], artifacts: { reports: { dotenv: v.env } } }
large: { stage: a, script: ['echo "KEY=$(head -c 6000 /dev/zero | tr "\\0" x)" > v.env'], artifacts: { reports: { dotenv: v.env } } }
many: { stage: a, script: ['for n in $(seq 151); do echo "V$n="; done > v.env'], artifacts: { reports: { dotenv: v.env } } }
"#;

#[test]
fn case_everyday_26_malformed_dotenv_report_fails_its_job() {
    let project = Project::new(&[(".gitlab-ci.yml", MALFORMED)]);
    project.run(".gitlab-ci.yml", 1);
    for (job, message) in [
        ("spaces", "line 1: `MY NAME` is not the name of a variable"),
        ("export", "without `export`"),
        ("lines", "line 2 is not `NAME=value`"),
        ("large", "more than 5 KiB"),
        ("many", "more than 150 outputs"),
    ] {
        let log = project.log(job);
        assert!(log.contains(message), "{job}: {log}");
    }
}

const SECRETS: &str = r#"
name: secrets
jobs:
  value: { image: "IMAGE", script: ['echo "A=x$TOKEN" > v.env'], outputs: v.env }
  split: { image: "IMAGE", script: ['echo "$TOKEN" > v.env'], outputs: v.env }
  sparse: { image: "IMAGE", script: [truncate -s 1099511627776 v.env], outputs: v.env }
defaults: { secrets: [TOKEN] }
"#;

#[test]
fn case_everyday_26_outputs_with_a_secret_and_huge_files_fail_their_jobs() {
    let project = Project::new(&[("ci.yml", SECRETS)]);
    // With a `=`, as in base64: read as an output, it would be a name and a value.
    fs::write(project.repo().join("../token"), "QUJDREVGR0hJ==").unwrap();
    let run = project.tidemill(&["run", "-f", "ci.yml", "--secret", "TOKEN=@../token"]);
    assert_eq!(run.code, 1, "{run:?}");
    for (job, message) in [
        ("value", "`v.env` contains a secret"),
        ("split", "`v.env` contains a secret"),
        ("sparse", "more than 5 KiB"),
    ] {
        let log = project.log(job);
        assert!(log.contains(message) && !log.contains("QUJDREVGR0hJ"), "{job}: {log}");
    }
}

const REPORT: &str = r#"
stages: [build, test]
build: {stage: build, image: IMAGE, script: ['echo VERSION=1.2 > v.env'], artifacts: {reports: {dotenv: v.env}}}
test: {stage: test, image: IMAGE, script: ['test "$VERSION" = 1.2']}
"#;

#[test]
fn case_gitlab_16_dotenv_variables_are_set_in_jobs_of_later_stages() {
    let project = Project::new(&[(".gitlab-ci.yml", REPORT)]);
    let checked = project.tidemill(&["check", "-f", ".gitlab-ci.yml"]);
    assert_eq!((checked.code, checked.stderr.contains("dotenv")), (0, false), "{checked:?}");
    project.run(".gitlab-ci.yml", 0);
}

const OUTPUTS: &str = r#"
name: outputs
stages: [a, b]
jobs:
  version:
    stage: a
    image: "IMAGE"
    script: ["echo TAG=IMAGE > v.env", "echo HOST_NAME=native.example >> v.env"]
    outputs: v.env
  review:
    stage: b
    image: "${TAG}"
    environment: { name: review, url: "https://${HOST_NAME}/${OWN}" }
    script: ["echo OWN=page > own.env"]
    outputs: own.env
  unknown: { stage: b, image: "IMAGE${NOT_SET}", allow_failure: true, script: ["true"] }
"#;

#[test]
fn case_everyday_26_outputs_of_native_jobs_are_known_in_images_and_addresses() {
    let project = Project::new(&[("ci.yml", OUTPUTS)]);
    project.run("ci.yml", 0);
    let status = project.tidemill(&["status", "1", "--format", "json"]);
    assert!(status.stdout.contains("https://native.example/page"), "{status:?}");
    let unknown = project.tidemill(&["report"]);
    assert!(unknown.stdout.contains("refers to `NOT_SET`"), "{unknown:?}");
}

const SAME_NAMES: &str = r#"
name: same
jobs:
  one: { image: "IMAGE", script: ["echo 1 > out.txt"], artifacts: { paths: [out.txt] } }
  two: { image: "IMAGE", script: ["echo 2 > out.txt"], artifacts: { paths: [out.txt] } }
"#;

#[test]
fn artifacts_of_several_jobs_are_laid_out_by_job_and_replace_nothing() {
    let project = Project::new(&[("ci.yml", SAME_NAMES)]);
    project.run("ci.yml", 0);
    let out = project.repo().join("../out");
    let target = out.to_str().unwrap();
    let fetched = project.tidemill(&["artifacts", "-o", target]);
    assert_eq!(fetched.code, 0, "{fetched:?}");
    let read = |job: &str| fs::read_to_string(out.join(job).join("out.txt")).unwrap_or_default();
    assert_eq!((read("one"), read("two")), ("1\n".to_owned(), "2\n".to_owned()));
    fs::remove_file(out.join("one/out.txt")).unwrap();
    fs::write(out.join("two/out.txt"), "mine").unwrap();
    let refused = project.tidemill(&["artifacts", "-o", target]);
    assert!(refused.code == 2 && refused.stderr.contains("--force"), "{refused:?}");
    assert_eq!((read("one"), read("two")), (String::new(), "mine".to_owned()), "nothing was extracted");
    assert_eq!(project.tidemill(&["artifacts", "-o", target, "--force"]).code, 0);
    assert_eq!(read("two"), "2\n");
}
