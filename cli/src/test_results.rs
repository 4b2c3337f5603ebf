//! What tests came to, as commands show it.

use crate::output::{Printable, printable};
use std::io::{self, Write};
use tidemill_core::test_report::{JobTests, TestCase};

/// Lines of a message that are shown.
const LINES: usize = 3;

/// A job's tests and coverage: a line, and the cases that failed or are flaky, at most so many.
pub fn print(out: &mut impl Write, job: &JobTests, most: usize) -> io::Result<()> {
    let report = &job.report;
    writeln!(out, "{}: {report}", Printable(&job.job_name))?;
    cases(out, "failed", &report.failed, report.failed_left_out, most)?;
    cases(out, "flaky", &report.flaky, report.flaky_left_out, most)
}

fn cases(out: &mut impl Write, word: &str, cases: &[TestCase], left_out: u64, most: usize) -> io::Result<()> {
    for case in cases.iter().take(most) {
        writeln!(out, "  {word}: {}", printable(&case.to_string()))?;
        for line in case.message.lines().filter(|line| !line.trim().is_empty()).take(LINES) {
            writeln!(out, "    {}", Printable(line))?;
        }
    }
    let more = cases.len().saturating_sub(most) as u64 + left_out;
    if more > 0 {
        writeln!(out, "  {word}: {more} more")?;
    }
    Ok(())
}
