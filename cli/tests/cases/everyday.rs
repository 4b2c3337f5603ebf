//! Cases of the group `everyday`.

use crate::cases::project::Project;

const AND_LISTS: &str = r#"
guarded:
  image: IMAGE
  variables: { MODE: quick }
  script:
    - '[ "$MODE" = thorough ] && DEPTH=9'
    - '! grep -q nothing-like-this /etc/passwd'
    - |
      for part in one two; do
        [ "$part" = one ] && echo "saw $part"
      done
    - 'false || echo "came to the end, depth ${DEPTH:-unset}"'
last-of-the-list-fails:
  image: IMAGE
  allow_failure: true
  script:
    - true && false
    - echo NOT-REACHED
"#;

#[test]
fn case_everyday_01_false_and_list_does_not_end_a_gitlab_script() {
    let project = Project::new(&[(".gitlab-ci.yml", AND_LISTS)]);
    project.run(".gitlab-ci.yml", 0);
    let log = project.log("guarded");
    assert!(log.contains("saw one") && log.contains("came to the end, depth unset"), "{log}");
    let failed = project.log("last-of-the-list-fails");
    assert!(!failed.lines().any(|line| line == "NOT-REACHED"), "{failed}");
}

#[test]
fn case_everyday_01_false_and_list_does_not_end_a_native_script() {
    let file = r#"
name: guarded
jobs:
  guarded:
    image: "IMAGE"
    variables: { MODE: quick }
    script:
      - '[ "$MODE" = thorough ] && DEPTH=9'
      - echo "came to the end, depth ${DEPTH:-unset}"
  last-of-the-list-fails:
    image: "IMAGE"
    allow_failure: true
    script: ["true && false", echo NOT-REACHED]
"#;
    let project = Project::new(&[("ci.yml", file)]);
    project.run("ci.yml", 0);
    let log = project.log("guarded");
    assert!(log.contains("came to the end, depth unset"), "{log}");
    let failed = project.log("last-of-the-list-fails");
    assert!(!failed.lines().any(|line| line == "NOT-REACHED"), "{failed}");
}

#[test]
fn case_everyday_02_block_over_several_items_runs_as_one_script() {
    let file = r#"
split:
  image: IMAGE
  script:
    - if test -e /no/such/file; then
    - echo INSIDE
    - exit 9
    - else
    - for n in 1 2; do
    - echo "pass $n"
    - done
    - fi
    - echo "behind the block"
"#;
    let project = Project::new(&[(".gitlab-ci.yml", file)]);
    let checked = project.tidemill(&["check", "-f", ".gitlab-ci.yml"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    project.run(".gitlab-ci.yml", 0);
    let log = project.log("split");
    let printed = |text: &str| log.lines().any(|line| line == text);
    assert!(printed("pass 1") && printed("pass 2") && printed("behind the block"), "{log}");
    assert!(!printed("INSIDE"), "{log}");
}

/// A key file as tools write it, with an id and a key.
const KEY_FILE: &str = r#"{
  "keys": [
    {
      "id": "k-4711-abcd",
      "private": "MIIEvQIBADANBgkqhkiG9w0B"
    },
    null
  ]
}
"#;
/// A file that has lines of brackets in common with it.
const SAMPLE_FILE: &str = "{\n  \"parts\": [\n    {\n      \"name\": \"mill\"\n    },\n    null\n  ]\n}\n";

#[test]
fn case_everyday_23_secret_of_a_json_file_is_masked_and_another_file_is_not() {
    let file = r#"
name: keys
jobs:
  show:
    image: "IMAGE"
    secrets: [KEY]
    script:
      - cat sample.json
      - printf '%s\n' "$KEY"
      - printf '%s\n' "$KEY" | grep '"id"' | sed 's/^ *//'
      - printf '%s\n' "$KEY" | grep private | tr -d ' '
      - printf '%s' "$KEY" | base64
      - printf '%s' "$KEY" | base64 -w 0
"#;
    let project = Project::new(&[("ci.yml", file), ("sample.json", SAMPLE_FILE)]);
    project.write("key.json", KEY_FILE.as_bytes());
    let run = project.tidemill(&["run", "-f", "ci.yml", "--secret", "KEY=@key.json"]);
    assert_eq!(run.code, 0, "{run:?}");
    let log = project.log("show");
    assert!(log.contains(SAMPLE_FILE), "{log}");
    // The second half of the id and of the key; and the key in base64, at each of the three offsets.
    for part in ["4711", "BADANBgkq", "TUlJRXZRSUJBREFO", "1JSUV2UUlCQURBT", "NSUlFdlFJQkFEQU"] {
        assert!(!log.contains(part), "{part}: {log}");
        assert!(!run.stdout.contains(part) && !run.stderr.contains(part), "{part}: {run:?}");
    }
    assert!(log.matches("[masked]").count() >= 5, "{log}");
}
