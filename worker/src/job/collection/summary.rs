//! Sends the summary and the annotations of a job to the server. A failure is logged and does not fail the job.

use crate::{artifact::ArtifactTransfer, job::reporter::Reporter};
use tidemill_core::execution::assignment::Assignment;
use tidemill_core::summary::{
    annotation::AnnotationSet,
    markdown::{MAX_SUMMARY_BYTES, bounded},
    view::SummaryRequest,
};

/// Sends `summary`, which the job wrote, and `annotations`, if there are any.
pub async fn send(
    transfer: &ArtifactTransfer,
    assignment: &Assignment,
    reporter: &Reporter,
    summary: &[u8],
    annotations: AnnotationSet,
) {
    let markdown = markdown(summary, reporter);
    if markdown.trim().is_empty() && annotations.is_empty() {
        return;
    }
    let (annotations, left_out) = annotations.into_parts();
    let (job_id, lease) = (assignment.preparation.job_id, assignment.lease.token);
    let request = SummaryRequest { job_id, lease, markdown, annotations, left_out };
    if let Err(error) = transfer.api.store_summary(&request).await {
        let line = format!("warning: summary: the server did not store it: {error}\n");
        reporter.log(line.as_bytes()).await;
    }
}

/// Returns the text of a summary, masked before it is cut: the start of a secret is secret, too.
fn markdown(summary: &[u8], reporter: &Reporter) -> String {
    let is_complete = summary.len() <= MAX_SUMMARY_BYTES;
    let masked = reporter.masked(&String::from_utf8_lossy(summary), is_complete);
    bounded(&masked, !is_complete)
}
