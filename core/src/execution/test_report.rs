//! Test results of a job: read by its worker from JUnit XML files, kept for each attempt, and compared across attempts.

use crate::ids::{JobId, LeaseToken};
use data_encoding::HEXLOWER;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::HashSet, fmt, ops::AddAssign};

/// Maximum number of failed and of flaky test cases in a report.
pub const MAX_CASES: usize = 250;
/// Maximum total length in bytes of their texts; with the digests, a report stays within a document (256 KiB).
pub const MAX_CASE_TEXT_BYTES: usize = 60 << 10;
/// Maximum number of passed test cases that are remembered.
pub const MAX_PASSED: usize = 10_000;
/// Maximum number of test cases whose durations are remembered: those of the slowest.
pub const MAX_SLOWEST: usize = 10;
/// Number of hex digits of the digest of a passed test case.
const DIGEST_LEN: usize = 8;

/// Number of tests by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestCounts {
    /// All of them.
    pub tests: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those with an error outside of an assertion.
    pub errors: u64,
    /// Those that were skipped.
    pub skipped: u64,
    /// Those that failed first and then passed.
    pub flaky: u64,
    /// The sum of their durations, in milliseconds.
    pub duration_ms: u64,
}

impl TestCounts {
    /// Returns the number of tests that failed or had an error.
    #[must_use]
    pub const fn failed(&self) -> u64 {
        self.failures.saturating_add(self.errors)
    }
}

impl AddAssign for TestCounts {
    fn add_assign(&mut self, other: Self) {
        let add = |to: &mut u64, more: u64| *to = to.saturating_add(more);
        add(&mut self.tests, other.tests);
        add(&mut self.failures, other.failures);
        add(&mut self.errors, other.errors);
        add(&mut self.skipped, other.skipped);
        add(&mut self.flaky, other.flaky);
        add(&mut self.duration_ms, other.duration_ms);
    }
}

impl TestCounts {
    /// Returns the counts on one line for a job that failed: it does not read as if all were well.
    #[must_use]
    pub fn of_failed_job(&self) -> String {
        let has_other = self.failed() > 0 || self.flaky > 0 || self.skipped > 0;
        if has_other || self.tests == 0 {
            return self.to_string();
        }
        format!("tests {0}: {0} passed", self.tests)
    }
}

impl fmt::Display for TestCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.failed(), "failed"), (self.flaky, "flaky"), (self.skipped, "skipped")];
        let parts = parts.iter().filter(|(count, _)| *count > 0);
        let parts: Vec<String> = parts.map(|(count, outcome)| format!("{count} {outcome}")).collect();
        if parts.is_empty() && self.tests == 0 {
            return f.write_str("no test ran");
        }
        let text = if parts.is_empty() { "all passed".to_owned() } else { parts.join(", ") };
        write!(f, "tests {}: {text}", self.tests)
    }
}

/// A failed or flaky test case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestCase {
    /// Its class, or else its suite.
    pub suite: String,
    /// Its name within the suite.
    pub name: String,
    /// The file that contains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Whether it had an error rather than a failed assertion.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub error: bool,
    /// The failure message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl TestCase {
    fn bytes(&self) -> usize {
        self.suite.len() + self.name.len() + self.file.as_ref().map_or(0, String::len) + self.message.len()
    }

    fn is_same(&self, other: &Self) -> bool {
        (&self.suite, &self.name) == (&other.suite, &other.name)
    }
}

impl fmt::Display for TestCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suite = Some(self.suite.as_str()).filter(|suite| !suite.is_empty());
        let name = Some(self.name.as_str()).filter(|name| !name.is_empty());
        let text: Vec<&str> = suite.into_iter().chain(name).collect();
        f.write_str(&text.join(" "))?;
        self.file.as_ref().map_or(Ok(()), |file| write!(f, " ({file})"))
    }
}

/// A test case with its duration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestDuration {
    /// Its class, or else its suite.
    pub suite: String,
    /// Its name within the suite.
    pub name: String,
    /// Its duration in milliseconds.
    pub duration_ms: u64,
}

impl TestDuration {
    const fn bytes(&self) -> usize {
        self.suite.len() + self.name.len()
    }
}

/// Test results of one attempt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestReport {
    /// Number of tests by outcome.
    pub counts: TestCounts,
    /// The failed test cases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<TestCase>,
    /// Number of failed test cases omitted for lack of space.
    #[serde(default)]
    pub failed_left_out: u64,
    /// The flaky test cases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flaky: Vec<TestCase>,
    /// Number of flaky test cases omitted for lack of space.
    #[serde(default)]
    pub flaky_left_out: u64,
    /// The slowest test cases, the slowest first; at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slowest: Vec<TestDuration>,
    /// Concatenated hex digests of the passed test cases, which show what is flaky in a later attempt.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub passed: String,
    /// Line coverage in percent, as printed by the job's script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<f64>,
}

impl TestReport {
    /// Adds a failed test case, which is counted already.
    pub fn add_failed(&mut self, case: TestCase) {
        if self.has_room(self.failed.len(), &case) {
            self.failed.push(case);
        } else {
            self.failed_left_out += 1;
        }
    }

    /// Adds a flaky test case, which is counted already.
    pub fn add_flaky(&mut self, case: TestCase) {
        if self.has_room(self.flaky.len(), &case) {
            self.flaky.push(case);
        } else {
            self.flaky_left_out += 1;
        }
    }

    /// Remembers a passed test case.
    pub fn add_passed(&mut self, suite: &str, name: &str) {
        if self.passed.len() < MAX_PASSED * DIGEST_LEN {
            self.passed += &digest(suite, name);
        }
    }

    /// Remembers a test case if it is one of the slowest so far.
    pub fn add_duration(&mut self, suite: &str, name: &str, duration_ms: u64) {
        let at = self.slowest.partition_point(|other| other.duration_ms >= duration_ms);
        if duration_ms > 0 && at < MAX_SLOWEST {
            self.slowest.truncate(MAX_SLOWEST - 1);
            self.slowest.insert(at, TestDuration { suite: suite.into(), name: name.into(), duration_ms });
        }
    }

    fn has_room(&self, cases: usize, next: &TestCase) -> bool {
        cases < MAX_CASES && self.bytes() + next.bytes() <= MAX_CASE_TEXT_BYTES
    }

    /// Total length of its test cases' texts in bytes.
    fn bytes(&self) -> usize {
        self.failed.iter().chain(&self.flaky).map(TestCase::bytes).sum()
    }
}

/// `coverage 87.5 %` and the test results, as far as the job has them.
impl fmt::Display for TestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.coverage {
            None => self.counts.fmt(f),
            Some(share) if self.counts == TestCounts::default() => write!(f, "coverage {share} %"),
            Some(share) => write!(f, "{}; coverage {share} %", self.counts),
        }
    }
}

fn digest(suite: &str, name: &str) -> String {
    let digest = Sha256::new().chain_update(suite).chain_update([0]).chain_update(name).finalize();
    HEXLOWER.encode(&digest[..DIGEST_LEN / 2])
}

/// Combines the results of a job's `attempts`: those of the last one, with the tests marked as flaky that failed in one
/// attempt and passed in a later one.
#[must_use]
pub fn combine_attempts(attempts: &[TestReport]) -> Option<TestReport> {
    let mut last = attempts.last()?.clone();
    for case in passed_after_failure(attempts, 0) {
        if !last.flaky.iter().any(|other| other.is_same(case)) {
            last.counts.flaky += 1;
            last.add_flaky(case.clone());
        }
    }
    last.passed.clear();
    Some(last)
}

/// Returns the tests that turned out to be flaky in the `attempts` of a job from the index `first` on: those that the last report
/// calls flaky, and those that failed and first passed again in one of these attempts.
#[must_use]
pub fn flaky_since(attempts: &[TestReport], first: usize) -> Vec<&TestCase> {
    let Some(last) = attempts.last() else { return Vec::new() };
    let mut cases: Vec<&TestCase> = last.flaky.iter().collect();
    for case in passed_after_failure(attempts, first) {
        if !cases.iter().any(|other| other.is_same(case)) {
            cases.push(case);
        }
    }
    cases
}

/// Returns the tests that failed in an attempt, and first passed again in a later one, with the index `first` or a greater one.
fn passed_after_failure(attempts: &[TestReport], first: usize) -> Vec<&TestCase> {
    let passed: Vec<HashSet<&[u8]>> =
        attempts.iter().map(|report| report.passed.as_bytes().chunks(DIGEST_LEN).collect()).collect();
    let mut cases: Vec<&TestCase> = Vec::new();
    for (position, earlier) in attempts.iter().enumerate() {
        for case in &earlier.failed {
            let digest = digest(&case.suite, &case.name);
            let mut later = passed.iter().enumerate().skip(position + 1);
            let passes = later.find(|(_, passed)| passed.contains(digest.as_bytes()));
            let counts = passes.is_some_and(|(index, _)| index >= first);
            if counts && !cases.iter().any(|other| other.is_same(case)) {
                cases.push(case);
            }
        }
    }
    cases
}

/// A worker's report of the test results of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestsRequest {
    /// The job.
    pub job_id: JobId,
    /// The attempt's lease.
    pub lease: LeaseToken,
    /// The results.
    pub report: TestReport,
}

/// The reply to a test report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestsReply {
    /// The number of the attempt.
    pub attempt: u32,
}

/// The test results of an execution.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionTests {
    /// Sum over all jobs.
    pub counts: TestCounts,
    /// The jobs with tests, in the plan's order.
    pub jobs: Vec<JobTests>,
}

/// The test results of a job: those of its last attempt, compared with earlier attempts and with retried executions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobTests {
    /// The job.
    pub job_id: JobId,
    /// Its name, including matrix values.
    pub job_name: String,
    /// Its results.
    pub report: TestReport,
}

impl ExecutionTests {
    /// Adds a job. If the texts of all test cases exceed `most` bytes in total, those of this job are omitted.
    pub fn add(&mut self, mut job: JobTests, max_bytes: usize) {
        let all = |report: &TestReport| {
            report.bytes() + report.slowest.iter().map(TestDuration::bytes).sum::<usize>()
        };
        let used: usize = self.jobs.iter().map(|job| all(&job.report)).sum();
        let report = &mut job.report;
        if used + all(report) > max_bytes {
            report.slowest.clear();
            report.failed_left_out += report.failed.drain(..).count() as u64;
            report.flaky_left_out += report.flaky.drain(..).count() as u64;
        }
        self.counts += report.counts;
        self.jobs.push(job);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{
        ExecutionTests, JobTests, MAX_CASES, MAX_PASSED, TestCase, TestCounts, TestReport, combine_attempts,
        flaky_since,
    };
    use crate::ids::JobId;

    fn case(name: &str) -> TestCase {
        TestCase { suite: "s".into(), name: name.into(), ..TestCase::default() }
    }

    fn report(failed: &[&str], passed: &[&str]) -> TestReport {
        let mut report = TestReport::default();
        for name in failed {
            report.counts.failures += 1;
            report.add_failed(case(name));
        }
        for name in passed {
            report.add_passed("s", name);
        }
        report
    }

    fn names(cases: &[TestCase]) -> Vec<&str> {
        cases.iter().map(|case| case.name.as_str()).collect()
    }

    #[test]
    fn test_failing_then_passing_is_flaky() {
        for (attempts, flaky) in [
            (vec![report(&["a", "b"], &["c"]), report(&[], &["a", "b", "c"])], vec!["a", "b"]),
            (vec![report(&["a", "b"], &[]), report(&["b"], &["a"])], vec!["a"]),
            (vec![report(&["a"], &[]), report(&[], &["b"])], vec![]),
            (vec![report(&[], &["a"]), report(&["a"], &[])], vec![]),
            (vec![report(&["a"], &[]), report(&[], &["a"]), report(&["a"], &[])], vec!["a"]),
            (vec![report(&["a"], &[]), report(&["a"], &[]), report(&[], &["a"])], vec!["a"]),
            (vec![report(&["a"], &["a"])], vec![]),
        ] {
            let last = attempts.last().unwrap().clone();
            let found = combine_attempts(&attempts).unwrap();
            assert_eq!(names(&found.flaky), flaky, "{attempts:?}");
            assert_eq!(found.counts.flaky, flaky.len() as u64);
            assert_eq!((names(&found.failed), found.passed.as_str()), (names(&last.failed), ""));
        }
        assert_eq!(combine_attempts(&[]), None);
    }

    #[test]
    fn flaky_test_belongs_to_the_attempts_in_which_it_first_passed() {
        let (failed, passed) = (report(&["a"], &["b"]), report(&[], &["a", "b"]));
        let again = [failed.clone(), passed.clone(), failed.clone(), passed.clone()];
        for (attempts, first, flaky) in [
            (&again[..2], 0, vec!["a"]),
            (&again[..2], 1, vec!["a"]),
            (&[failed.clone(), passed.clone(), passed][..], 2, vec![]),
            (&again[..3], 2, vec![]),
            (&again[..], 2, vec!["a"]),
            (&[], 0, vec![]),
        ] {
            let found: Vec<&str> =
                flaky_since(attempts, first).iter().map(|case| case.name.as_str()).collect();
            assert_eq!(found, flaky, "{attempts:?} from {first}");
        }
        let mut own = report(&[], &["a"]);
        own.add_flaky(case("a"));
        assert_eq!(flaky_since(&[failed, own], 1).len(), 1, "once, whoever says it");
    }

    #[test]
    fn coverage_is_that_of_last_attempt() {
        let of = |coverage| TestReport { coverage, ..report(&[], &["a"]) };
        assert_eq!(combine_attempts(&[of(Some(50.0)), of(Some(60.0))]).unwrap().coverage, Some(60.0));
        assert_eq!(combine_attempts(&[of(Some(50.0)), of(None)]).unwrap().coverage, None);
        let before: TestReport =
            serde_json::from_value(serde_json::json!({ "counts": of(None).counts })).unwrap();
        assert_eq!(before.coverage, None);
        assert!(!serde_json::to_string(&of(None)).unwrap().contains("coverage"));
    }

    #[test]
    fn flaky_test_in_report_is_counted_once() {
        let mut last = report(&[], &["a"]);
        last.counts.flaky = 1;
        last.add_flaky(case("a"));
        assert_eq!(combine_attempts(&[report(&["a"], &[]), last]).unwrap().counts.flaky, 1);
    }

    #[test]
    fn report_of_any_size_fits_into_document() {
        let mut report = TestReport::default();
        for number in 0..20_000 {
            let long = TestCase { message: "\"\n".repeat(number), ..case(&"\\".repeat(400)) };
            report.add_failed(long.clone());
            report.add_flaky(long);
            report.add_passed("s", &number.to_string());
            report.add_duration(&"\\".repeat(400), &"\\".repeat(400), number as u64);
        }
        for number in 0..2_000 {
            report.add_failed(case(&number.to_string()));
        }
        assert_eq!(report.failed.len() as u64 + report.failed_left_out, 22_000);
        assert_eq!(report.passed.len(), MAX_PASSED * 8);
        assert!(report.failed.len() <= MAX_CASES);
        let bytes = serde_json::to_vec(&report).unwrap().len();
        assert!(bytes < 256 << 10, "{bytes}");
    }

    #[test]
    fn slowest_tests_are_remembered_in_order() {
        let mut report = TestReport::default();
        for (number, duration_ms) in [5, 0, 9, 9, 1, 30, 2, 2, 2, 2, 2, 2, 7].into_iter().enumerate() {
            report.add_duration("s", &number.to_string(), duration_ms);
        }
        let slowest: Vec<(&str, u64)> =
            report.slowest.iter().map(|test| (test.name.as_str(), test.duration_ms)).collect();
        let expected = [
            ("5", 30),
            ("2", 9),
            ("3", 9),
            ("12", 7),
            ("0", 5),
            ("6", 2),
            ("7", 2),
            ("8", 2),
            ("9", 2),
            ("10", 2),
        ];
        assert_eq!(slowest, expected);
        let last = combine_attempts(&[TestReport::default(), report.clone()]).unwrap();
        assert_eq!(last.slowest, report.slowest);
    }

    #[test]
    fn test_counts_of_execution_are_summed_and_texts_bounded() {
        let mut all = ExecutionTests::default();
        for name in ["a", "b"] {
            let mut report = report(&["one", "two"], &[]);
            report.counts.tests = 5;
            all.add(JobTests { job_id: JobId(uuid::Uuid::nil()), job_name: name.into(), report }, 10);
        }
        assert_eq!((all.counts.tests, all.counts.failed()), (10, 4));
        assert_eq!((all.jobs[0].report.failed.len(), all.jobs[1].report.failed_left_out), (2, 2));
    }

    #[test]
    fn counts_render_on_one_line() {
        let counts = TestCounts { tests: 120, failures: 1, errors: 1, skipped: 3, flaky: 1, duration_ms: 9 };
        assert_eq!(counts.to_string(), "tests 120: 2 failed, 1 flaky, 3 skipped");
        let counts = TestCounts { tests: 120, ..TestCounts::default() };
        assert_eq!(counts.to_string(), "tests 120: all passed");
        assert_eq!(counts.of_failed_job(), "tests 120: 120 passed");
        assert_eq!(TestCounts { skipped: 2, ..counts }.of_failed_job(), "tests 120: 2 skipped");
        assert_eq!(TestCounts::default().to_string(), "no test ran");
        assert_eq!(TestCounts::default().of_failed_job(), "no test ran");
        let mut report = TestReport { coverage: Some(87.5), ..TestReport::default() };
        assert_eq!(report.to_string(), "coverage 87.5 %");
        report.counts = counts;
        assert_eq!(report.to_string(), "tests 120: all passed; coverage 87.5 %");
        let report = TestReport { coverage: None, ..report };
        assert_eq!(report.to_string(), "tests 120: all passed");
    }
}
