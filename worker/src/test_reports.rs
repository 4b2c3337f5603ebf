//! Test reports of a job: read once its script is over, and sent to the server with the share of covered lines. A failure is
//! logged and does not fail the job.

pub mod junit;

use crate::{
    artifact::{ArtifactTransfer, reading::WorkspaceEntry},
    engine::WorkspaceMount,
    job::reporter::Reporter,
};
use junit::{Case, Outcome};
use std::{
    fmt::Write as _,
    io::{self, Read},
};
use tidemill_core::execution::{
    assignment::Assignment,
    test_report::{TestCase, TestReport, TestsRequest},
};

/// Bytes of one file.
const MAX_FILE_SIZE: u64 = 32 << 20;
/// Bytes that are read of all files.
const MAX_TOTAL_SIZE: u64 = 256 << 20;
/// Lines in the log about files with mistakes.
const MAX_WARNINGS: usize = 50;
/// Bytes of a name.
const MAX_NAME_LEN: usize = 400;
/// Bytes of a message.
const MAX_MESSAGE_LEN: usize = 2_000;

/// Reads the reports that `assignment` names, and sends them and the share of covered lines to the server.
pub async fn send(
    mover: &ArtifactTransfer,
    workspace: &WorkspaceMount,
    assignment: &Assignment,
    reporter: &Reporter,
    coverage: Option<f64>,
) {
    let globs = assignment.artifacts.as_ref().map_or(&[][..], |one| one.reports.junit.as_slice());
    let mut report = TestReport::default();
    let (mut lines, mut has_content) = (String::new(), false);
    if !globs.is_empty() {
        reporter.phase("reading test reports");
        match mover
            .read_files(workspace, globs, ReportReader::new(reporter.clone()), ReportReader::file)
            .await
        {
            Ok((reading, warnings)) => {
                lines = warnings + &reading.lines();
                if reading.files > 0 {
                    (report, has_content) = (reading.report, true);
                    let _ = writeln!(lines, "{}", report.counts);
                }
            }
            Err(reason) => lines = format!("warning: tests: {}\n", reason.message),
        }
    }
    if let Some(pattern) = &assignment.extras.coverage {
        if let Some(share) = coverage {
            (report.coverage, has_content) = (coverage, true);
            let _ = writeln!(lines, "coverage {share} %");
        } else {
            let words = "in no line of what the script printed a number from 0 to 100 was found by";
            let _ = writeln!(lines, "warning: coverage: {words} `{pattern}`");
        }
    }
    if has_content {
        let preparation = &assignment.preparation;
        let request = TestsRequest { job_id: preparation.job_id, lease: assignment.lease.token, report };
        if let Err(error) = mover.api.store_test_report(&request).await {
            let _ = writeln!(lines, "warning: tests: the server did not keep them: {error}");
        }
    }
    if !lines.is_empty() {
        reporter.log(lines.as_bytes()).await;
    }
}

/// The reports that were read so far.
struct ReportReader {
    reporter: Reporter,
    report: TestReport,
    /// Files that were read.
    files: usize,
    bytes: u64,
    mistakes: Vec<String>,
    /// Mistakes beyond [`MAX_WARNINGS`].
    more: usize,
}

impl ReportReader {
    fn new(reporter: Reporter) -> Self {
        let report = TestReport::default();
        Self { reporter, report, files: 0, bytes: 0, mistakes: Vec::new(), more: 0 }
    }

    fn file(&mut self, found: &mut WorkspaceEntry<'_>) -> io::Result<()> {
        let kind = found.header().entry_type();
        if kind.is_dir() {
            return Ok(());
        }
        let name = cut(&clean(&String::from_utf8_lossy(&found.path_bytes())), MAX_NAME_LEN);
        let size = found.size();
        if !kind.is_file() {
            self.mistake(format!("{name}: left out, as it is no file but a link"));
        } else if size > MAX_FILE_SIZE {
            self.mistake(format!("{name}: left out, as it has more than {} MiB", MAX_FILE_SIZE >> 20));
        } else if self.bytes + size > MAX_TOTAL_SIZE {
            self.mistake(format!(
                "{name}: left out, as all reports have more than {} MiB",
                MAX_TOTAL_SIZE >> 20
            ));
        } else {
            let mut bytes = Vec::new();
            found.read_to_end(&mut bytes)?;
            self.bytes += size;
            self.files += 1;
            for mistake in junit::read(&bytes, |case| self.add(&case)) {
                self.mistake(format!("{name}:{}:{}: {}", mistake.line, mistake.column, mistake.words));
            }
        }
        Ok(())
    }

    fn add(&mut self, case: &Case) {
        let counts = &mut self.report.counts;
        counts.tests += 1;
        counts.duration_ms += case.duration_ms;
        match case.outcome {
            Outcome::Passed => {}
            Outcome::Flaky => counts.flaky += 1,
            Outcome::Skipped => counts.skipped += 1,
            Outcome::Failed => counts.failures += 1,
            Outcome::Error => counts.errors += 1,
        }
        if case.outcome == Outcome::Skipped {
            return;
        }
        let name = |text: &str| {
            let is_whole = text.len() < junit::MAX_NAME_LEN;
            cut(&clean(&self.reporter.masked(text, is_whole)), MAX_NAME_LEN)
        };
        let mut test = TestCase {
            suite: name(&case.suite),
            name: name(&case.name),
            file: case.file.as_deref().map(name),
            error: case.outcome == Outcome::Error,
            message: String::new(),
        };
        if matches!(case.outcome, Outcome::Passed | Outcome::Flaky) {
            self.report.add_passed(&test.suite, &test.name);
        }
        if case.outcome == Outcome::Passed {
            return;
        }
        // Masked before it is cut: the beginning of a secret is secret, too.
        let message = clean(&self.reporter.masked(&case.message, !case.is_cut));
        test.message = cut(&message, MAX_MESSAGE_LEN);
        if case.outcome == Outcome::Flaky {
            self.report.add_flaky(test);
        } else {
            self.report.add_failed(test);
        }
    }

    fn mistake(&mut self, words: String) {
        if self.mistakes.len() < MAX_WARNINGS {
            self.mistakes.push(words);
        } else {
            self.more += 1;
        }
    }

    fn lines(&self) -> String {
        let mut lines = String::new();
        for words in &self.mistakes {
            let _ = writeln!(lines, "warning: tests: {words}");
        }
        if self.more > 0 {
            let _ = writeln!(lines, "warning: tests: and {} more", self.more);
        }
        lines
    }
}

/// `text` without control characters, which could change a terminal.
fn clean(text: &str) -> String {
    text.chars().filter(|char| !char.is_control() || matches!(char, '\n' | '\t')).collect()
}

/// At most so many bytes of `text`.
fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    format!("{}…", junit::beginning(text, most))
}
