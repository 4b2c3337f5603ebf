//! Pulls the images of a job, with its progress in the job's log.

use crate::{
    engine::{DockerManager, ImageConfig, JobLogins},
    job::reporter::Reporter,
};
use tidemill_core::{
    api::PULLING_IMAGE,
    execution::{assignment::PullPolicy, failure::FailureReason},
};
use tokio::sync::mpsc;

/// Ensures that the image is present, for a platform if one is given, and logs the progress of its pull. Returns its
/// configuration.
pub async fn pull_image(
    engine: &DockerManager,
    (image, platform): (&str, Option<&str>),
    policy: PullPolicy,
    logins: &JobLogins,
    reporter: &Reporter,
) -> Result<ImageConfig, FailureReason> {
    let (lines, mut pulled) = mpsc::unbounded_channel::<String>();
    let pull = async {
        let lines = lines;
        engine.ensure_image(image, platform, policy, logins, |line| drop(lines.send(line))).await
    };
    let show = async {
        while let Some(line) = pulled.recv().await {
            reporter.phase(PULLING_IMAGE);
            reporter.log(line.as_bytes()).await;
        }
    };
    tokio::join!(pull, show).0
}
