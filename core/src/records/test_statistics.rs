//! What is counted of the tests of ended executions: which are flaky, and the line coverage.

use super::{
    ExecutionSpec, Node, NodeBody,
    activity::{cut, shows_state_of_branch},
};
use crate::{
    api::{DayCoverage, FlakyTest},
    execution::{status::JobStatus, test_report::TestCase},
    ids::ExecutionId,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

/// Maximum number of flaky tests of a pipeline and day.
const MAX_FLAKY_TESTS: usize = 50;
/// Maximum number of characters of each of a test's names.
const MAX_NAME_CHARS: usize = 200;
/// Maximum size of the stored flaky tests of a pipeline and day, in bytes.
const MAX_FLAKY_BYTES: usize = 32 << 10;
/// Maximum number of flaky tests of a reply.
const MAX_SHOWN_TESTS: usize = 20;
/// Number of hundredths of a percent of a complete coverage.
const FULL_COVERAGE: f64 = 10_000.0;

/// What the test reports of a job in an execution say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MeasuredJob {
    /// The tests that turned out to be flaky in this execution.
    pub flaky: Vec<TestCase>,
    /// Line coverage in percent.
    pub coverage: Option<f64>,
}

/// How often a test was flaky.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FlakyCount {
    #[serde(rename = "j")]
    job_name: String,
    #[serde(rename = "s")]
    suite: String,
    #[serde(rename = "n")]
    name: String,
    #[serde(rename = "c")]
    count: u32,
    #[serde(rename = "x")]
    last_execution: ExecutionId,
}

impl FlakyCount {
    fn new(job_name: &str, case: &TestCase, execution: ExecutionId) -> Self {
        Self {
            job_name: cut(job_name, MAX_NAME_CHARS),
            suite: cut(&case.suite, MAX_NAME_CHARS),
            name: cut(&case.name, MAX_NAME_CHARS),
            count: 1,
            last_execution: execution,
        }
    }

    fn is_same_test(&self, other: &Self) -> bool {
        (&self.job_name, &self.suite, &self.name) == (&other.job_name, &other.suite, &other.name)
    }

    fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.last_execution = self.last_execution.max(other.last_execution);
    }

    fn stored_bytes(&self) -> usize {
        serde_json::to_vec(self).map_or(usize::MAX, |bytes| bytes.len())
    }
}

/// The flaky tests of a pipeline and day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FlakyTests(Vec<FlakyCount>);

impl FlakyTests {
    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the flaky tests of an execution, without those of jobs that were carried over, which the retried execution counted.
    pub(super) fn add(
        &mut self,
        execution: ExecutionId,
        nodes: &[Node],
        measured: &BTreeMap<u32, MeasuredJob>,
    ) {
        // Counts tests of this execution once, also if their names are the same when cut.
        let mut of_execution = Self::default();
        for node in nodes {
            let (NodeBody::Job(item), Some(job)) = (&node.state.body, measured.get(&node.key.ix)) else {
                continue;
            };
            if item.carried_from.is_some() {
                continue;
            }
            for case in &job.flaky {
                let one = FlakyCount::new(&node.spec.name, case, execution);
                if !of_execution.0.iter().any(|other| other.is_same_test(&one)) {
                    of_execution.count(one);
                }
            }
        }
        for one in of_execution.0 {
            self.count(one);
        }
    }

    /// Counts a test. If there is no room for it, it takes the place of the oldest of those that were flaky once.
    fn count(&mut self, one: FlakyCount) {
        if let Some(known) = self.0.iter_mut().find(|known| known.is_same_test(&one)) {
            known.merge(&one);
            return;
        }
        let bytes =
            self.0.iter().fold(one.stored_bytes(), |sum, known| sum.saturating_add(known.stored_bytes()));
        if self.0.len() >= MAX_FLAKY_TESTS || bytes > MAX_FLAKY_BYTES {
            let rare = self.0.iter().enumerate().filter(|(_, known)| known.count == 1);
            let oldest = rare.min_by_key(|(_, known)| known.last_execution);
            let Some((index, oldest)) = oldest else { return };
            let is_older = oldest.last_execution < one.last_execution;
            let fits = bytes.saturating_sub(oldest.stored_bytes()) <= MAX_FLAKY_BYTES;
            if !is_older || !fits {
                return;
            }
            self.0.remove(index);
        }
        self.0.push(one);
    }
}

/// Returns the most frequent tests of several days, the most frequent first.
pub(super) fn most_frequent(days: Vec<FlakyTests>) -> Vec<FlakyTest> {
    let mut all: HashMap<(String, String, String), (u32, ExecutionId)> = HashMap::new();
    for one in days.into_iter().flat_map(|day| day.0) {
        let (count, last) = all.entry((one.job_name, one.suite, one.name)).or_insert((0, one.last_execution));
        *count = count.saturating_add(one.count);
        *last = (*last).max(one.last_execution);
    }
    let mut tests: Vec<FlakyTest> = all
        .into_iter()
        .map(|((job_name, suite, name), (count, last_execution))| FlakyTest {
            job_name,
            suite,
            name,
            count,
            last_execution,
        })
        .collect();
    tests.sort_by(|a, b| {
        let frequency = |one: &FlakyTest| Reverse((one.count, one.last_execution));
        let names = (&a.job_name, &a.suite, &a.name).cmp(&(&b.job_name, &b.suite, &b.name));
        frequency(a).cmp(&frequency(b)).then(names)
    });
    tests.truncate(MAX_SHOWN_TESTS);
    tests
}

/// The line coverage of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// In hundredths of a percent.
    #[serde(rename = "p")]
    hundredths: u32,
    /// Whether the execution shows the state of the default branch.
    #[serde(rename = "d", default, skip_serializing_if = "std::ops::Not::not")]
    of_default_branch: bool,
    /// The execution.
    #[serde(rename = "x")]
    execution: ExecutionId,
}

impl Coverage {
    /// Returns the mean coverage of the jobs that succeeded; `None` if they have none.
    pub(super) fn of(
        spec: &ExecutionSpec,
        nodes: &[Node],
        measured: &BTreeMap<u32, MeasuredJob>,
    ) -> Option<Self> {
        let succeeded = nodes.iter().filter(|node| node.state.status() == Some(JobStatus::Success));
        let percents: Vec<f64> = succeeded
            .filter_map(|node| measured.get(&node.key.ix)?.coverage)
            .filter(|percent| percent.is_finite())
            .collect();
        let number = u32::try_from(percents.len()).ok().filter(|number| *number > 0)?;
        let mean = percents.iter().sum::<f64>() / f64::from(number);
        let is_default = spec.branch.is_some() && spec.branch == spec.facts.default_branch;
        Some(Self {
            hundredths: hundredths(mean),
            of_default_branch: is_default && shows_state_of_branch(spec),
            execution: spec.id,
        })
    }

    /// Whether it takes the place of another one of the same day.
    pub(super) fn is_preferred_to(&self, other: Option<&Self>) -> bool {
        let rank = |one: &Self| (one.of_default_branch, one.execution);
        other.is_none_or(|other| rank(self) >= rank(other))
    }
}

/// Rounds a percentage to hundredths.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 10,000")]
const fn hundredths(percent: f64) -> u32 {
    (percent * 100.0).clamp(0.0, FULL_COVERAGE).round() as u32
}

/// Returns the coverage by day: that of the default branch, or of all if it has none.
pub(super) fn coverage_by_day(days: &[(Timestamp, Coverage)]) -> Vec<DayCoverage> {
    let has_default_branch = days.iter().any(|(_, coverage)| coverage.of_default_branch);
    days.iter()
        .filter(|(_, coverage)| coverage.of_default_branch || !has_default_branch)
        .map(|(day, coverage)| DayCoverage { day: *day, percent: f64::from(coverage.hundredths) / 100.0 })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{
        Coverage, FlakyCount, FlakyTests, MAX_FLAKY_BYTES, MAX_FLAKY_TESTS, MAX_SHOWN_TESTS, TestCase,
        Timestamp, coverage_by_day, hundredths, most_frequent,
    };
    use crate::ids::ExecutionId;
    use uuid::Uuid;

    fn id(number: usize) -> ExecutionId {
        ExecutionId(Uuid::from_u128(number as u128))
    }

    fn one(name: &str, execution: usize) -> FlakyCount {
        let case = TestCase { suite: "s".into(), name: name.into(), ..TestCase::default() };
        FlakyCount::new("unit", &case, id(execution))
    }

    fn day(tests: &[(&str, usize)]) -> FlakyTests {
        let mut day = FlakyTests::default();
        for (name, execution) in tests {
            day.count(one(name, *execution));
        }
        day
    }

    #[test]
    fn flaky_tests_of_days_are_summed_with_most_frequent_first() {
        let days = vec![day(&[("a", 1), ("b", 1), ("b", 2)]), day(&[("a", 3), ("c", 4), ("b", 9)])];
        let shown = most_frequent(days);
        let shown: Vec<_> =
            shown.iter().map(|test| (test.name.as_str(), test.count, test.last_execution)).collect();
        assert_eq!(shown, [("b", 3, id(9)), ("a", 2, id(3)), ("c", 1, id(4))]);
        let many: Vec<String> = (0..MAX_SHOWN_TESTS + 5).map(|n| n.to_string()).collect();
        let many: Vec<(&str, usize)> = many.iter().map(|name| (name.as_str(), 1)).collect();
        assert_eq!(most_frequent(vec![day(&many)]).len(), MAX_SHOWN_TESTS);
        assert_eq!(most_frequent(Vec::new()), []);
    }

    #[test]
    fn full_day_keeps_frequent_tests_and_drops_the_oldest_single_one() {
        let mut full = FlakyTests::default();
        for number in 0..MAX_FLAKY_TESTS {
            full.count(one(&number.to_string(), number));
            full.count(one("often", number));
        }
        assert_eq!(full.0.len(), MAX_FLAKY_TESTS);
        full.count(one("new", 1_000));
        assert_eq!(full.0.len(), MAX_FLAKY_TESTS);
        let has = |name: &str| full.0.iter().any(|test| test.name == name);
        assert!(has("new") && has("often") && !has("0") && has("3"));
        let mut all_often = full.clone();
        for test in full.0 {
            all_often.count(test);
        }
        let before = all_often.clone();
        all_often.count(one("too late", 2_000));
        assert_eq!(all_often, before);
    }

    #[test]
    fn stored_flaky_tests_are_bounded_in_size() {
        let mut day = FlakyTests::default();
        for number in 0..200 {
            // Each of these characters takes six bytes in JSON.
            day.count(one(&format!("{number}{}", "\u{1}".repeat(10_000)), number));
        }
        let bytes = serde_json::to_vec(&day).unwrap().len();
        assert!(bytes <= MAX_FLAKY_BYTES + MAX_FLAKY_TESTS + 2, "{bytes}");
        assert!(day.0.len() > 10);
        assert_eq!(day.0.last().unwrap().last_execution, id(199), "the newest one is kept");
    }

    #[test]
    fn coverage_is_of_default_branch_if_any_day_has_it() {
        let of = |percent: f64, of_default_branch: bool, execution: usize| Coverage {
            hundredths: hundredths(percent),
            of_default_branch,
            execution: id(execution),
        };
        let percents = |days: &[(Timestamp, Coverage)]| -> Vec<(i64, f64)> {
            coverage_by_day(days).iter().map(|one| (one.day.0, one.percent)).collect()
        };
        let topic = [(Timestamp(1), of(80.126, false, 1)), (Timestamp(2), of(81.0, false, 2))];
        assert_eq!(percents(&topic), [(1, 80.13), (2, 81.0)]);
        let mixed = [topic[0].clone(), (Timestamp(2), of(90.0, true, 3))];
        assert_eq!(percents(&mixed), [(2, 90.0)]);
        assert!(of(1.0, true, 1).is_preferred_to(Some(&of(2.0, false, 5))));
        assert!(!of(1.0, false, 9).is_preferred_to(Some(&of(2.0, true, 5))));
        assert!(of(1.0, true, 6).is_preferred_to(Some(&of(2.0, true, 5))), "the later one");
        assert!(of(1.0, false, 1).is_preferred_to(None));
        assert_eq!((hundredths(120.0), hundredths(-1.0)), (10_000, 0));
    }
}
