//! Summaries and annotations of jobs, on every backend.

use crate::support::{Backend, json, text};

/// `lint` writes a summary and prints annotations, and fails; its second attempt finds less. `scan` has report files and a failed test.
/// `slow` is stopped at its time limit, and its `after_script` appends to what its script wrote.
const PIPELINE: &str = r##"
name: noted
stages: [a]
defaults: { image: "IMAGE" }
jobs:
  lint:
    stage: a
    secrets: [KEY]
    retry: { max: 1, when: script_failed }
    script:
      - 'printf "# Attempt %s\n\n| a | b |\n|---|---|\n| <script>x</script> | key %s |\n" "$TIDEMILL_ATTEMPT" "$KEY" >>"$TIDEMILL_SUMMARY"'
      - 'echo "::warning file=./src/b.rs,line=7::unused %25 $KEY"; echo "::notice::done"'
      - 'if [ "$TIDEMILL_ATTEMPT" = 1 ]; then echo "::error file=/workspace/src/a.rs,line=3,col=5,title=E1::first%0Asecond"; fi'
      - echo "::error file=/etc/passwd,line=1::outside"
      - exit 3
  scan:
    stage: a
    script:
      - cp reports/* .
      - echo '::debug::no annotation'
    artifacts: { reports: { junit: junit.xml, sarif: "*.sarif", codequality: gl.json, sast: none.json } }
  slow:
    stage: a
    timeout: 2s
    script:
      - echo before >>"$TIDEMILL_SUMMARY"
      - sleep 60
    after_script:
      - echo after >>"$TIDEMILL_SUMMARY"
  quiet: { stage: a, script: ["test -f \"$TIDEMILL_SUMMARY\" && echo nothing to say"] }
"##;

const SARIF: &str = r#"{ "version": "2.1.0", "runs": [{ "results": [{ "ruleId": "R1", "level": "error", "message": { "text": "from sarif" },
  "locations": [{ "physicalLocation": { "artifactLocation": { "uri": "src/a.rs" }, "region": { "startLine": 1 } } }] }] }] }"#;
const CODE_QUALITY: &str = r#"[{ "description": "from code quality", "check_name": "C1", "severity": "minor",
  "location": { "path": "src/c.rs", "lines": { "begin": 9 } } }]"#;
const JUNIT: &str = r#"<testsuite name="unit"><testcase name="totals" file="tests/t.rs" line="12"><failure>3 is not 4</failure></testcase></testsuite>"#;

pub fn summary_and_annotations_are_reported(on: &Backend) {
    let mut env = on.test_env(PIPELINE);
    let reports = env.repo().join("reports");
    std::fs::create_dir(&reports).unwrap();
    for (name, content) in [
        ("found.sarif", SARIF),
        ("broken.sarif", "{\"runs\": [1]}"),
        ("gl.json", CODE_QUALITY),
        ("junit.xml", JUNIT),
    ] {
        std::fs::write(reports.join(name), content).unwrap();
    }
    let value = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(value.path(), "k3y-of-the-test").unwrap();
    let set = env.tidemill(&["secret", "set", "KEY", "--value-file", value.path().to_str().unwrap()]);
    assert_eq!(set.status.code(), Some(0), "{set:?}");
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");

    let report = json(&env.on_latest(&["report", "--format", "json"]));
    let shown: Vec<String> = report["annotations"].as_array().unwrap().iter().map(annotation_line).collect();
    let masked = shown.iter().find(|line| line.starts_with("warning src/b.rs:7")).unwrap();
    assert!(masked.contains("unused % ") && !masked.contains("k3y"), "{masked}");
    let others: Vec<&str> = shown.iter().filter(|line| *line != masked).map(String::as_str).collect();
    assert_eq!(
        others,
        [
            "failure - outside (lint)",
            "failure src/a.rs:1 from sarif (scan)",
            "failure tests/t.rs:12 3 is not 4 (scan)",
            "warning src/c.rs:9 from code quality (scan)",
            "notice - done (lint)",
        ],
        "of the last attempt, most severe first: {shown:#?}"
    );
    let summaries = report["summaries"].as_array().unwrap();
    let names: Vec<&str> = summaries.iter().map(|one| one["job_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["lint", "slow"], "{report:#}");
    let lint = summaries[0]["markdown"].as_str().unwrap();
    assert!(lint.starts_with("# Attempt 2\n\n| a | b |\n") && lint.contains("<script>"), "{lint}");
    assert!(!lint.contains("k3y"), "{lint}");
    assert_eq!(summaries[1]["markdown"], "before\nafter\n", "{report:#}");

    let printed = text(&env.on_latest(&["report"]).stdout);
    assert!(printed.contains("\nannotations: 3 failures, 2 warnings, 1 notice\n"), "{printed}");
    assert!(printed.contains("  failure: src/a.rs:1: R1: from sarif (scan)\n"), "{printed}");
    assert!(printed.contains("\nsummary of lint:\n  # Attempt 2\n"), "{printed}");
    let log = env.log("scan");
    assert!(log.contains("warning: reports: broken.sarif: line 1, column"), "{log}");
    let log = env.log("lint");
    assert!(!log.contains("\n# Attempt"), "the summary is not part of the log: {log}");

    let retry = env.on_latest(&["retry"]);
    assert_eq!(retry.status.code(), Some(1), "{retry:?}");
    let again = json(&env.on_latest(&["report", "--format", "json"]));
    let again: Vec<String> = again["annotations"].as_array().unwrap().iter().map(annotation_line).collect();
    assert_eq!(
        again.iter().filter(|line| line.ends_with("(scan)")).count(),
        3,
        "of a carried-over job: {again:#?}"
    );
    let only = text(&env.on_latest(&["report", "quiet"]).stdout);
    assert!(!only.contains("annotations") && !only.contains("summary of"), "{only}");
    env.wait_until_clean();
}

/// Returns level, place, message and job of an annotation in JSON.
fn annotation_line(one: &serde_json::Value) -> String {
    let field = |name: &str| one[name].as_str().unwrap_or("-").to_owned();
    let line = one["line"].as_u64().map(|line| format!(":{line}")).unwrap_or_default();
    format!("{} {}{line} {} ({})", field("level"), field("path"), field("message"), field("job_name"))
}
