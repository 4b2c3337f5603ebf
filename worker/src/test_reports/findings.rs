//! Reads the annotations in the reports of linters and scanners.

use super::ReportReader;
use crate::{
    artifact::{ArtifactTransfer, reading::WorkspaceEntry},
    engine::WorkspaceMount,
    job::reporter::Reporter,
    log::commands::masked_annotation,
};
use std::io;
use tidemill_core::execution::assignment::Assignment;
use tidemill_core::summary::{annotation::AnnotationSet, report_file};

/// Adds what the reports that `assignment` declares say to `annotations`.
pub async fn read(
    transfer: &ArtifactTransfer,
    workspace: &WorkspaceMount,
    assignment: &Assignment,
    reporter: &Reporter,
    annotations: &mut AnnotationSet,
) {
    let globs: Vec<String> =
        assignment.artifacts.iter().flat_map(|artifacts| artifacts.reports.findings()).cloned().collect();
    if globs.is_empty() {
        return;
    }
    reporter.phase("reading reports");
    let reader = ReportReader::new(reporter.clone(), "reports");
    let lines = match transfer.read_files(workspace, &globs, reader, read_file).await {
        Ok((reader, warnings)) => {
            let lines = warnings + &reader.lines();
            annotations.merge(reader.annotations);
            lines
        }
        Err(reason) => format!("warning: reports: {}\n", reason.message),
    };
    if !lines.is_empty() {
        reporter.log(lines.as_bytes()).await;
    }
}

fn read_file(reader: &mut ReportReader, entry: &mut WorkspaceEntry<'_>) -> io::Result<()> {
    let Some((name, bytes)) = reader.read_file(entry)? else { return Ok(()) };
    let (mask, annotations) = (reader.reporter.mask(), &mut reader.annotations);
    let result = report_file::read(&bytes, |found| annotations.add(masked_annotation(mask, found)));
    if let Err(error) = result {
        reader.add_warning(format!("{name}: {error}"));
    }
    Ok(())
}
