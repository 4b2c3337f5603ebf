//! What the tests of a job came to: read by its worker from JUnit XML files, kept for each attempt, compared across them.

use crate::ids::{JobId, LeaseToken};
use data_encoding::HEXLOWER;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::HashSet, fmt, ops::AddAssign};

/// The most cases that a report tells of, those that failed and flaky ones each.
pub const MAX_CASES: usize = 250;
/// The most bytes of text of all of them; with the digests a report stays within a document (256 KiB).
pub const MOST_TEXT: usize = 60 << 10;
/// The most cases that passed and are remembered.
pub const MAX_PASSED: usize = 10_000;
/// Hex digits that stand for a case that passed.
const DIGEST_LEN: usize = 8;

/// How many tests there were, and how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestCounts {
    /// All of them.
    pub tests: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those that could not be carried out.
    pub errors: u64,
    /// Those that were left out.
    pub skipped: u64,
    /// Those that failed first and passed when they were tried again.
    pub flaky: u64,
    /// The sum of their times, in milliseconds.
    pub duration_ms: u64,
}

impl TestCounts {
    /// Those that failed or could not be carried out.
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

impl fmt::Display for TestCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.failed(), "failed"), (self.flaky, "flaky"), (self.skipped, "skipped")];
        let parts = parts.iter().filter(|(count, _)| *count > 0);
        let parts: Vec<String> = parts.map(|(count, word)| format!("{count} {word}")).collect();
        let words = if parts.is_empty() { "all passed".to_owned() } else { parts.join(", ") };
        write!(f, "tests {}: {words}", self.tests)
    }
}

/// A case that failed, or is flaky.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestCase {
    /// Its class, or else the suite that it is in.
    pub suite: String,
    /// Its name there.
    pub name: String,
    /// The file that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Whether it could not be carried out, rather than failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub error: bool,
    /// What was said of its failure.
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
        let words: Vec<&str> = suite.into_iter().chain(name).collect();
        f.write_str(&words.join(" "))?;
        self.file.as_ref().map_or(Ok(()), |file| write!(f, " ({file})"))
    }
}

/// What the tests of one attempt came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestReport {
    /// How many, and how they ended.
    pub counts: TestCounts,
    /// Those that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<TestCase>,
    /// How many more failed, for which there was no room.
    #[serde(default)]
    pub failed_left_out: u64,
    /// Those that are flaky.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flaky: Vec<TestCase>,
    /// How many more are flaky, for which there was no room.
    #[serde(default)]
    pub flaky_left_out: u64,
    /// Those that passed, as digests in hex, one after the other: by them a later attempt shows what is flaky.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub passed: String,
    /// The share of covered lines, in percent, as the job's script printed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<f64>,
}

impl TestReport {
    /// Adds a case that failed; it is counted already.
    pub fn add_failed(&mut self, case: TestCase) {
        if self.has_room(self.failed.len(), &case) {
            self.failed.push(case);
        } else {
            self.failed_left_out += 1;
        }
    }

    /// Adds a case that is flaky; it is counted already.
    pub fn add_flaky(&mut self, case: TestCase) {
        if self.has_room(self.flaky.len(), &case) {
            self.flaky.push(case);
        } else {
            self.flaky_left_out += 1;
        }
    }

    /// Remembers a case that passed.
    pub fn add_passed(&mut self, suite: &str, name: &str) {
        if self.passed.len() < MAX_PASSED * DIGEST_LEN {
            self.passed += &digest(suite, name);
        }
    }

    fn has_room(&self, cases: usize, next: &TestCase) -> bool {
        cases < MAX_CASES && self.bytes() + next.bytes() <= MOST_TEXT
    }

    /// Bytes of what it tells of its cases.
    fn bytes(&self) -> usize {
        self.failed.iter().chain(&self.flaky).map(TestCase::bytes).sum()
    }
}

/// `coverage 87.5 %` and what the tests came to, as far as the job has them.
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

/// What a job's tests came to: the last of its `attempts`, with what is flaky: failed in one of them, and passed in a later one.
#[must_use]
pub fn across(attempts: &[TestReport]) -> Option<TestReport> {
    let mut last = attempts.last()?.clone();
    for (place, earlier) in attempts.iter().enumerate() {
        let later = attempts.iter().skip(place + 1);
        let passed: HashSet<&[u8]> =
            later.flat_map(|report| report.passed.as_bytes().chunks(DIGEST_LEN)).collect();
        if passed.is_empty() {
            break;
        }
        for case in &earlier.failed {
            let is_flaky = passed.contains(digest(&case.suite, &case.name).as_bytes());
            if is_flaky && !last.flaky.iter().any(|known| known.is_same(case)) {
                last.counts.flaky += 1;
                last.add_flaky(case.clone());
            }
        }
    }
    last.passed.clear();
    Some(last)
}

/// A worker tells of an attempt's tests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestsRequest {
    /// The job.
    pub job_id: JobId,
    /// The attempt's lease.
    pub lease: LeaseToken,
    /// What they came to.
    pub report: TestReport,
}

/// The tests of an attempt are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestsReply {
    /// The attempt.
    pub attempt: u32,
}

/// The tests of an execution.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionTests {
    /// Of all its jobs.
    pub counts: TestCounts,
    /// Its jobs that have tests, in the plan's order.
    pub jobs: Vec<JobTests>,
}

/// The tests of a job: of the attempt that counts, compared with those before it and with the executions that were retried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobTests {
    /// The job.
    pub job_id: JobId,
    /// Its name, matrix values included.
    pub job_name: String,
    /// What they came to.
    pub report: TestReport,
}

impl ExecutionTests {
    /// Adds a job. Once its cases and those before have more than `most` bytes of text, they are left out.
    pub fn add(&mut self, mut job: JobTests, most: usize) {
        let so_far: usize = self.jobs.iter().map(|job| job.report.bytes()).sum();
        let report = &mut job.report;
        if so_far + report.bytes() > most {
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
    use super::{ExecutionTests, JobTests, MAX_CASES, MAX_PASSED, TestCase, TestCounts, TestReport, across};
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
            let found = across(&attempts).unwrap();
            assert_eq!(names(&found.flaky), flaky, "{attempts:?}");
            assert_eq!(found.counts.flaky, flaky.len() as u64);
            assert_eq!((names(&found.failed), found.passed.as_str()), (names(&last.failed), ""));
        }
        assert_eq!(across(&[]), None);
    }

    #[test]
    fn coverage_is_that_of_last_attempt() {
        let of = |coverage| TestReport { coverage, ..report(&[], &["a"]) };
        assert_eq!(across(&[of(Some(50.0)), of(Some(60.0))]).unwrap().coverage, Some(60.0));
        assert_eq!(across(&[of(Some(50.0)), of(None)]).unwrap().coverage, None);
        let before: TestReport =
            serde_json::from_value(serde_json::json!({ "counts": of(None).counts })).unwrap();
        assert_eq!(before.coverage, None);
        assert!(!serde_json::to_string(&of(None)).unwrap().contains("coverage"));
    }

    #[test]
    fn flaky_test_of_file_is_counted_once() {
        let mut last = report(&[], &["a"]);
        last.counts.flaky = 1;
        last.add_flaky(case("a"));
        assert_eq!(across(&[report(&["a"], &[]), last]).unwrap().counts.flaky, 1);
    }

    #[test]
    fn report_of_any_tests_fits_into_document() {
        let mut report = TestReport::default();
        for number in 0..20_000 {
            let long = TestCase { message: "\"\n".repeat(number), ..case(&"\\".repeat(400)) };
            report.add_failed(long.clone());
            report.add_flaky(long);
            report.add_passed("s", &number.to_string());
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
    fn execution_s_tests_are_summed_and_bounded() {
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
        let mut report = TestReport { coverage: Some(87.5), ..TestReport::default() };
        assert_eq!(report.to_string(), "coverage 87.5 %");
        report.counts = counts;
        assert_eq!(report.to_string(), "tests 120: all passed; coverage 87.5 %");
        let report = TestReport { coverage: None, ..report };
        assert_eq!(report.to_string(), "tests 120: all passed");
    }
}
