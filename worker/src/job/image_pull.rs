//! Pulls the images of a job, with its progress in the job's log.

use crate::{
    engine::{DockerManager, JobLogins},
    job::reporter::Reporter,
};
use tidemill_core::execution::{assignment::PullPolicy, failure::FailureReason};
use tokio::sync::mpsc;

/// Ensures that the image is present, and logs the progress of its pull.
pub async fn pull_image(
    engine: &DockerManager,
    image: &str,
    policy: PullPolicy,
    logins: &JobLogins,
    reporter: &Reporter,
) -> Result<(), FailureReason> {
    let (lines, mut pulled) = mpsc::unbounded_channel::<String>();
    let pull = async {
        let lines = lines;
        engine.ensure_image(image, policy, logins, |line| drop(lines.send(line))).await
    };
    let show = async {
        while let Some(line) = pulled.recv().await {
            reporter.phase("pulling image");
            reporter.log(line.as_bytes()).await;
        }
    };
    tokio::join!(pull, show).0
}
