//! Images that one job builds and others run in, on other workers: stored with the artifacts, and loaded where they are missing.

use crate::job::{job_executor::JobExecutor, reporter::Reporter};
use tidemill_core::execution::{assignment::Assignment, failure::FailureReason};

/// Stores the image with this id for the jobs that run in it, if there are any and they may run on another worker.
pub async fn store_image(
    executor: &JobExecutor,
    assignment: &Assignment,
    reporter: &Reporter,
    id: &str,
) -> Result<(), FailureReason> {
    if !assignment.extras.shares_image || executor.is_only_worker {
        return Ok(());
    }
    reporter.phase("storing the image");
    let holder = (assignment.preparation.job_id, assignment.lease.token);
    let size = executor.artifacts.store_image(id, holder).await?;
    reporter.log(format!("Stored {id} for other workers ({})\n", in_mib(size)).as_bytes()).await;
    Ok(())
}

/// Loads an image that another job built and stored, unless the engine has it. Other images are left to the pull.
pub async fn load_image(
    executor: &JobExecutor,
    assignment: &Assignment,
    reporter: &Reporter,
    image: &str,
) -> Result<(), FailureReason> {
    let stored = assignment.needs_artifacts.iter().find(|artifact| artifact.image.as_deref() == Some(image));
    let Some(artifact) = stored else { return Ok(()) };
    // Two slots do not load it at the same time.
    let _turn = executor.engine.loading.lock().await;
    if executor.engine.inspect_image(image).await?.is_some() {
        return Ok(());
    }
    reporter.phase("loading the image");
    let line = format!("Loading {image}, which `{}` built ({})\n", artifact.from_job, in_mib(artifact.size));
    reporter.log(line.as_bytes()).await;
    executor.artifacts.load_image(image, artifact).await
}

/// Formats a size, rounded up.
fn in_mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}
