//! Formats test results.

use crate::output::{Printable, printable};
use std::io::{self, Write};
use tidemill_core::execution::test_report::{JobTests, TestCase};

/// Maximum number of lines of a test's message.
const MAX_MESSAGE_LINES: usize = 3;

/// Prints a summary of a job's tests and coverage, and at most `max_cases` failed and `max_cases` flaky test cases.
///
/// `has_failed`: the job failed, so that no summary may say that all is well.
pub fn print(out: &mut impl Write, job: &JobTests, has_failed: bool, max_cases: usize) -> io::Result<()> {
    let report = &job.report;
    let name = Printable(&job.job_name);
    if has_failed && report.counts.failed() == 0 {
        let counts = report.counts.of_failed_job();
        let coverage = report.coverage.map(|share| format!("; coverage {share} %")).unwrap_or_default();
        writeln!(out, "{name}: {counts}{coverage} (the job failed for another reason)")?;
    } else {
        writeln!(out, "{name}: {report}")?;
    }
    cases(out, "failed", &report.failed, report.failed_left_out, max_cases)?;
    cases(out, "flaky", &report.flaky, report.flaky_left_out, max_cases)
}

fn cases(
    out: &mut impl Write,
    word: &str,
    cases: &[TestCase],
    left_out: u64,
    max_cases: usize,
) -> io::Result<()> {
    for case in cases.iter().take(max_cases) {
        writeln!(out, "  {word}: {}", printable(&case.to_string()))?;
        for line in case.message.lines().filter(|line| !line.trim().is_empty()).take(MAX_MESSAGE_LINES) {
            writeln!(out, "    {}", Printable(line))?;
        }
    }
    let more = cases.len().saturating_sub(max_cases) as u64 + left_out;
    if more > 0 {
        writeln!(out, "  {word}: {more} more")?;
    }
    Ok(())
}
