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
