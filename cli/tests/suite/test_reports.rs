//! Test reports and coverage of jobs, on every backend.

use crate::support::{Backend, json, text};

/// Writes a report in which `unsure` fails in the first attempt, and `broken` in every attempt.
const PIPELINE_WITH_TESTS: &str = r#"
name: tested
stages: [a]
defaults: { image: "IMAGE" }
jobs:
  good:
    stage: a
    script:
      - 'echo "<testsuite name=\"good\"><testcase name=\"fine\" time=\"0.5\"/></testsuite>" >good.xml'
    artifacts: { reports: { junit: good.xml } }
  green:
    stage: a
    script:
      - 'echo "<testsuite><testcase name=\"fine\"/></testsuite>" >green.xml'
      - exit 3
    artifacts: { reports: { junit: green.xml } }
  empty:
    stage: a
    script: ['echo "<testsuite/>" >empty.xml', exit 3]
    artifacts: { reports: { junit: empty.xml } }
  unit:
    stage: a
    retry: { max: 1, when: script_failed }
    script:
      - mkdir -p reports && cp report.xml reports/one.xml
      - if [ "$TIDEMILL_ATTEMPT" = 1 ]; then sed -i 's/UNSURE/<failure message="first attempt"\/>/' reports/one.xml; fi
      - echo '<testsuite><testcase' >reports/two.xml
      - '! grep BROKEN reports/one.xml'
    artifacts: { reports: { junit: ["reports/*.xml", "none/*.xml"] } }
"#;

const REPORT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="pytest" tests="4">
    <testcase classname="tests.test_a" name="steady" time="0.25"/>
    <testcase classname="tests.test_a" name="unsure" time="0.25">UNSURE</testcase>
    <testcase classname="tests.test_a" name="broken"><failure>BROKEN</failure></testcase>
    <testcase classname="tests.test_a" name="later"><skipped message="not yet"/></testcase>
  </testsuite>
</testsuites>
"#;

pub fn report_has_test_results_and_a_retry_marks_flaky_tests(on: &Backend) {
    let mut env = on.test_env(PIPELINE_WITH_TESTS);
    std::fs::write(env.repo().join("report.xml"), REPORT).unwrap();
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let stderr = text(&run.stderr);
    assert!(stderr.contains("unit: tests 4: 1 failed, 1 flaky, 1 skipped\n"), "{stderr}");
    assert!(stderr.contains("  failed: tests.test_a broken\n    BROKEN\n"), "{stderr}");
    let log = env.log("unit");
    assert!(log.contains("warning: artifacts: no file matches `none/*.xml`\n"), "{log}");
    assert!(log.contains("warning: tests: reports/two.xml:"), "{log}");
    assert!(log.contains("\ntests 4: 1 failed, 1 skipped\n"), "the worker reports a single attempt: {log}");

    // A job that failed for another reason does not read as if all were well.
    assert!(env.log("green").ends_with("\ntests 1: 1 passed\n"), "{}", env.log("green"));
    assert!(env.log("empty").ends_with("\nno test ran\n"), "{}", env.log("empty"));
    let shown = text(&env.on_latest(&["report"]).stdout);
    for line in ["green: tests 1: 1 passed", "empty: no test ran"] {
        assert!(shown.contains(&format!("{line} (the job failed for another reason)\n")), "{shown}");
    }
    assert_eq!(shown.matches("all passed").count(), 1, "{shown}");
    assert!(shown.contains("good: tests 1: all passed\n"), "{shown}");
    assert!(shown.contains("  flaky: tests.test_a unsure\n    first attempt\n"), "{shown}");
    let report = json(&env.on_latest(&["report", "--format", "json"]));
    let tests = &report["tests"];
    assert_eq!((&tests["counts"]["tests"], &tests["counts"]["duration_ms"]), (&6.into(), &1000.into()));
    let unit = tests["jobs"].as_array().unwrap().iter().find(|job| job["job_name"] == "unit").unwrap();
    assert_eq!(unit["report"]["failed"][0]["name"], "broken", "{report:#}");

    let retry = env.on_latest(&["retry"]);
    assert_eq!(retry.status.code(), Some(1), "{retry:?}");
    let report = json(&env.on_latest(&["report", "--format", "json"]));
    assert!(report["jobs"][0]["carried"].as_bool().unwrap(), "{report:#}");
    assert_eq!(report["tests"]["counts"]["tests"], 6, "a carried-over job keeps its tests: {report:#}");
    env.wait_until_clean();
}

/// `both` has coverage and a test; only output of its script counts. `secret` prints a secret as coverage, which must not show.
/// `measured` has a coverage report.
const PIPELINE_WITH_COVERAGE: &str = r#"
name: covered
stages: [a]
defaults: { image: "IMAGE" }
jobs:
  both:
    stage: a
    script:
      - 'echo "<testsuite><testcase name=\"fine\"/></testsuite>" >fine.xml'
      - printf 'lib 12.5%%\n\033[1mTO'; sleep 1; printf 'TAL\033[0m  \033[32m87.5%%\033[0m\r\n'
      - 'true # TOTAL 13%'
    after_script: [echo TOTAL 14%]
    coverage: 'TOTAL\s+(\d+(?:\.\d+)?)%'
    artifacts: { reports: { junit: fine.xml } }
  secret:
    stage: a
    secrets: [SHARE]
    script: ['echo "share 7%"', 'echo "share $SHARE%"']
    coverage: 'share (\d+)%'
  none:
    stage: a
    script: [echo no share, exit 3]
    coverage: '(\d+)%'
  measured:
    stage: a
    script: ["echo '<coverage lines-valid=\"4\" lines-covered=\"3\"/>' >sum.xml", "echo '<report/>' >empty.xml"]
    artifacts: { reports: { coverage: [sum.xml, empty.xml] } }
"#;

pub fn report_has_printed_coverage_and_a_retry_keeps_it(on: &Backend) {
    let mut env = on.test_env(PIPELINE_WITH_COVERAGE);
    let value = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(value.path(), "0056").unwrap();
    let set = env.tidemill(&["secret", "set", "SHARE", "--value-file", value.path().to_str().unwrap()]);
    assert_eq!(set.status.code(), Some(0), "{set:?}");
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(1), "`none` fails: {run:?}");
    let assert_report = || {
        let shown = text(&env.on_latest(&["report"]).stdout);
        assert!(shown.contains("\nboth: tests 1: all passed; coverage 87.5 %\n"), "{shown}");
        assert!(shown.contains("\nsecret: coverage 7 %\n"), "{shown}");
        assert!(!shown.contains("\nnone: coverage"), "{shown}");
        let report = json(&env.on_latest(&["report", "--format", "json"]));
        let jobs: Vec<_> = report["tests"]["jobs"].as_array().unwrap().iter().collect();
        let coverage: Vec<_> = jobs.iter().map(|job| job["report"]["coverage"].as_f64()).collect();
        assert_eq!(coverage, [Some(87.5), Some(7.0), Some(75.0)], "{report:#}");
        assert_eq!(report["tests"]["counts"]["tests"], 1, "{report:#}");
    };
    assert_report();
    let log = env.log("both");
    assert!(log.ends_with("TOTAL 14%\ntests 1: all passed\ncoverage 87.5 %\n"), "{log}");
    let log = env.log("measured");
    assert!(log.contains("\nwarning: coverage: empty.xml:") && log.ends_with("\ncoverage 75 %\n"), "{log}");
    let log = env.log("none");
    assert!(log.contains("\nwarning: coverage: no line of the script's output"), "{log}");

    let retry = env.on_latest(&["retry"]);
    assert_eq!(retry.status.code(), Some(1), "{retry:?}");
    assert_report();
    env.wait_until_clean();
}
