//! Reads the test and coverage reports of a job after its script has ended, and sends them with the coverage to the server; and
//! reads the reports with annotations. A failure is logged and does not fail the job.

mod coverage;
pub mod findings;
pub mod junit;

use crate::{
    artifact::{ArtifactTransfer, reading::WorkspaceEntry},
    engine::WorkspaceMount,
    job::reporter::Reporter,
};
use coverage::Lines;
use junit::{Case, Outcome};
use std::{
    fmt::Write as _,
    io::{self, Read},
};
use tidemill_core::execution::{
    assignment::Assignment,
    test_report::{TestCase, TestReport, TestsRequest},
};
use tidemill_core::summary::annotation::{Annotation, AnnotationLevel, AnnotationSet};

/// Maximum size of one file in bytes.
const MAX_FILE_SIZE: u64 = 32 << 20;
/// Maximum total size of the files in bytes.
const MAX_TOTAL_SIZE: u64 = 256 << 20;
/// Maximum number of warnings in the log.
const MAX_WARNINGS: usize = 50;
/// Maximum length of a name in bytes.
const MAX_NAME_LEN: usize = 400;
/// Maximum length of a message in bytes.
const MAX_MESSAGE_LEN: usize = 2_000;

/// Reads the reports that `assignment` declares, and sends them and the coverage to the server. `coverage` is what the script
/// printed, which wins over that of reports. Failed tests of known files are added to `annotations`. `has_failed`: the job failed, so
/// that no line says that all is well.
pub async fn send(
    transfer: &ArtifactTransfer,
    workspace: &WorkspaceMount,
    assignment: &Assignment,
    reporter: &Reporter,
    (coverage, has_failed): (Option<f64>, bool),
    annotations: &mut AnnotationSet,
) {
    let globs = assignment.artifacts.as_ref().map_or(&[][..], |artifacts| artifacts.reports.junit.as_slice());
    let mut report = TestReport::default();
    let (mut lines, mut has_content) = (String::new(), false);
    if !globs.is_empty() {
        reporter.phase("reading test reports");
        match transfer
            .read_files(
                workspace,
                globs,
                ReportReader::new(reporter.clone(), "tests"),
                ReportReader::read_tests,
            )
            .await
        {
            Ok((reader, warnings)) => {
                lines = warnings + &reader.lines();
                if reader.files > 0 {
                    (report, has_content) = (reader.report, true);
                    annotations.merge(reader.annotations);
                    let counts = &report.counts;
                    let counts = if has_failed { counts.of_failed_job() } else { counts.to_string() };
                    let _ = writeln!(lines, "{counts}");
                }
            }
            Err(reason) => lines = format!("warning: tests: {}\n", reason.message),
        }
    }
    if let Some(pattern) = &assignment.extras.coverage {
        if let Some(percentage) = coverage {
            (report.coverage, has_content) = (coverage, true);
            let _ = writeln!(lines, "coverage {percentage} %");
        } else {
            let message = "no line of the script's output has a number from 0 to 100 that matches";
            let _ = writeln!(lines, "warning: coverage: {message} `{pattern}`");
        }
    }
    let globs =
        assignment.artifacts.as_ref().map_or(&[][..], |artifacts| artifacts.reports.coverage.as_slice());
    if !globs.is_empty() && report.coverage.is_none() {
        reporter.phase("reading coverage reports");
        let reader = ReportReader::new(reporter.clone(), "coverage");
        match transfer.read_files(workspace, globs, reader, ReportReader::read_coverage).await {
            Ok((reader, warnings)) => {
                lines = lines + &warnings + &reader.lines();
                if let Some(percentage) = reader.covered.percentage() {
                    (report.coverage, has_content) = (Some(percentage), true);
                    let _ = writeln!(lines, "coverage {percentage} %");
                }
            }
            Err(reason) => {
                let _ = writeln!(lines, "warning: coverage: {}", reason.message);
            }
        }
    }
    if has_content {
        let preparation = &assignment.preparation;
        let request = TestsRequest { job_id: preparation.job_id, lease: assignment.lease.token, report };
        if let Err(error) = transfer.api.store_test_report(&request).await {
            let _ = writeln!(lines, "warning: tests: the server did not store the report: {error}");
        }
    }
    if !lines.is_empty() {
        reporter.log(lines.as_bytes()).await;
    }
}

/// Reads report files into a test report, or coverage reports.
struct ReportReader {
    reporter: Reporter,
    /// What the reports are about, for warnings.
    subject: &'static str,
    report: TestReport,
    /// The lines of the coverage reports.
    covered: Lines,
    /// What the reports say about places in the sources, masked.
    annotations: AnnotationSet,
    /// Number of files read.
    files: usize,
    bytes: u64,
    warnings: Vec<String>,
    /// Number of warnings beyond [`MAX_WARNINGS`].
    omitted: usize,
}

impl ReportReader {
    fn new(reporter: Reporter, subject: &'static str) -> Self {
        Self {
            reporter,
            subject,
            report: TestReport::default(),
            covered: Lines::default(),
            annotations: AnnotationSet::default(),
            files: 0,
            bytes: 0,
            warnings: Vec::new(),
            omitted: 0,
        }
    }

    fn read_tests(&mut self, entry: &mut WorkspaceEntry<'_>) -> io::Result<()> {
        let Some((name, bytes)) = self.read_file(entry)? else { return Ok(()) };
        for error in junit::parse(&bytes, |case| self.add(&case)) {
            self.add_warning(format!("{name}:{}:{}: {}", error.line, error.column, error.message));
        }
        Ok(())
    }

    fn read_coverage(&mut self, entry: &mut WorkspaceEntry<'_>) -> io::Result<()> {
        let Some((name, bytes)) = self.read_file(entry)? else { return Ok(()) };
        match coverage::parse(&bytes) {
            Ok(lines) => self.covered.add(lines),
            Err(error) => {
                self.add_warning(format!("{name}:{}:{}: {}", error.line, error.column, error.message));
            }
        }
        Ok(())
    }

    /// Reads a file, and returns its name for messages and its content; `None`: it is ignored.
    fn read_file(&mut self, entry: &mut WorkspaceEntry<'_>) -> io::Result<Option<(String, Vec<u8>)>> {
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            return Ok(None);
        }
        let name = truncated(
            &without_control_characters(&String::from_utf8_lossy(&entry.path_bytes())),
            MAX_NAME_LEN,
        );
        let size = entry.size();
        if !kind.is_file() {
            self.add_warning(format!("{name}: ignored, as it is not a regular file"));
        } else if size > MAX_FILE_SIZE {
            self.add_warning(format!("{name}: ignored, as it has more than {} MiB", MAX_FILE_SIZE >> 20));
        } else if self.bytes + size > MAX_TOTAL_SIZE {
            self.add_warning(format!(
                "{name}: ignored, as all reports together have more than {} MiB",
                MAX_TOTAL_SIZE >> 20
            ));
        } else {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            self.bytes += size;
            self.files += 1;
            return Ok(Some((name, bytes)));
        }
        Ok(None)
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
            let is_complete = text.len() < junit::MAX_NAME_LEN;
            truncated(&without_control_characters(&self.reporter.masked(text, is_complete)), MAX_NAME_LEN)
        };
        let mut test = TestCase {
            suite: name(&case.suite),
            name: name(&case.name),
            file: case.file.as_deref().map(name),
            error: case.outcome == Outcome::Error,
            message: String::new(),
        };
        self.report.add_duration(&test.suite, &test.name, case.duration_ms);
        if matches!(case.outcome, Outcome::Passed | Outcome::Flaky) {
            self.report.add_passed(&test.suite, &test.name);
        }
        if case.outcome == Outcome::Passed {
            return;
        }
        // Masked before it is truncated: the start of a secret is secret, too.
        let message = without_control_characters(&self.reporter.masked(&case.message, !case.is_truncated));
        test.message = truncated(&message, MAX_MESSAGE_LEN);
        if case.outcome == Outcome::Flaky {
            self.report.add_flaky(test);
            return;
        }
        if let Some(file) = &test.file {
            self.annotations.add(Annotation {
                path: Some(file.clone()),
                line: case.line,
                title: Some(format!("{} {}", test.suite, test.name)),
                ..Annotation::new(AnnotationLevel::Failure, test.message.clone())
            });
        }
        self.report.add_failed(test);
    }

    fn add_warning(&mut self, text: String) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(text);
        } else {
            self.omitted += 1;
        }
    }

    fn lines(&self) -> String {
        let mut lines = String::new();
        for text in &self.warnings {
            let _ = writeln!(lines, "warning: {}: {text}", self.subject);
        }
        if self.omitted > 0 {
            let _ = writeln!(lines, "warning: {}: and {} more", self.subject, self.omitted);
        }
        lines
    }
}

/// Removes control characters, which a terminal could interpret.
fn without_control_characters(text: &str) -> String {
    text.chars().filter(|char| !char.is_control() || matches!(char, '\n' | '\t')).collect()
}

/// Truncates `text` to `max` bytes.
fn truncated(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    format!("{}…", junit::truncate(text, max))
}
