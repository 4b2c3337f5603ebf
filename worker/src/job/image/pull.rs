//! Pulls the images of a job, with its progress in the job's log.

use crate::{
    engine::{DockerManager, ImageConfig, JobLogins, PullReport},
    job::reporter::Reporter,
};
use tidemill_core::{
    api::PULLING_IMAGE,
    execution::{
        assignment::PullPolicy,
        failure::{FailureKind, FailureReason},
    },
    text::substitution::first_reference,
};
use tokio::sync::mpsc;

/// Ensures that the image is present, for a platform if one is given, and shows the progress of its pull. Returns its
/// configuration.
pub async fn pull_image(
    engine: &DockerManager,
    (image, platform): (&str, Option<&str>),
    policy: PullPolicy,
    logins: &JobLogins,
    reporter: &Reporter,
) -> Result<ImageConfig, FailureReason> {
    if let Some(name) = first_reference(image) {
        let message = format!(
            "the image `{image}` refers to `{name}`, which is not among the `outputs` of the jobs whose artifacts this job gets"
        );
        return Err(FailureReason::new(FailureKind::ImageUnavailable, message));
    }
    let (reports, mut reported) = mpsc::unbounded_channel::<PullReport>();
    let pull = async {
        let reports = reports;
        engine.ensure_image(image, platform, policy, logins, |report| drop(reports.send(report))).await
    };
    let show = async {
        let mut has_phase = false;
        while let Some(report) = reported.recv().await {
            if !std::mem::replace(&mut has_phase, true) {
                reporter.phase(&format!("{PULLING_IMAGE}: {image}"));
            }
            match report {
                PullReport::Line(line) => reporter.log(line.as_bytes()).await,
                PullReport::Bytes(bytes) => reporter.phase(&format!("{PULLING_IMAGE} ({bytes}): {image}")),
            }
        }
    };
    tokio::join!(pull, show).0
}
