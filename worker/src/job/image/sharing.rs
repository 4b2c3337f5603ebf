//! Images that one job builds and others run in, on other workers: stored with the artifacts, and loaded where they are missing.

use crate::{
    engine::BuiltImages,
    job::{job_executor::JobExecutor, reporter::Reporter},
};
use tidemill_core::{
    api::is_image_id,
    execution::{
        assignment::{Assignment, PullPolicy},
        failure::{FailureKind, FailureReason},
    },
};

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

/// Loads an image that another job built and stored, unless the engine has it. Other images are left to the pull. An image by
/// its id must be one that the policy allows.
pub async fn load_image(
    executor: &JobExecutor,
    assignment: &Assignment,
    reporter: &Reporter,
    (image, policy): (&str, PullPolicy),
) -> Result<(), FailureReason> {
    check_id(&executor.engine.built, assignment, (image, policy))?;
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

/// Fails if `image` is an id that must be pulled, which no registry can be asked for. An id that a job of the same execution
/// built needs no pull: nobody else's rights to an image are used with it.
fn check_id(
    built: &BuiltImages,
    assignment: &Assignment,
    (image, policy): (&str, PullPolicy),
) -> Result<(), FailureReason> {
    let is_stored = || assignment.needs_artifacts.iter().any(|it| it.image.as_deref() == Some(image));
    let execution = assignment.preparation.execution_id;
    if policy != PullPolicy::Always || !is_image_id(image) || is_stored() || built.contains(execution, image)
    {
        return Ok(());
    }
    let message = format!(
        "the job asks for the image `{image}` by its id, and `pull_policy: always`, of the job or of its worker, allows that only \
         for images that jobs of the same execution built; name the image as its registry does, or let the job that builds it \
         `push` it and use `IMAGE_REFERENCE`"
    );
    Err(FailureReason::new(FailureKind::NotAllowed, message))
}

/// Formats a size, rounded up.
fn in_mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Assignment, BuiltImages, PullPolicy, check_id};
    use tidemill_core::ids::ExecutionId;

    #[test]
    fn id_of_another_execution_is_no_way_around_a_pull() {
        let id = format!("sha256:{}", "a".repeat(64));
        let execution = ExecutionId(uuid::Uuid::now_v7());
        let json = serde_json::json!({
            "preparation": {
                "job_id": uuid::Uuid::nil(), "execution_id": execution, "image": id, "source": { "kind": "none" },
            },
            "job_name": "test", "stage": "build", "attempt": 1,
            "lease": { "token": uuid::Uuid::nil(), "ttl_ms": 1000, "report_interval_ms": 1000 },
            "script": ["true"], "variables": {}, "timeout_s": 60,
        });
        let mut job: Assignment = serde_json::from_value(json).unwrap();
        let built = BuiltImages::default();
        let is_allowed =
            |job: &Assignment, image: &str, policy| check_id(&built, job, (image, policy)).is_ok();
        built.insert(ExecutionId(uuid::Uuid::now_v7()), &id);
        assert!(!is_allowed(&job, &id, PullPolicy::Always));
        for policy in [PullPolicy::IfNotPresent, PullPolicy::Never] {
            assert!(is_allowed(&job, &id, policy));
        }
        assert!(is_allowed(&job, "alpine:3", PullPolicy::Always));
        let stored = serde_json::json!({
            "artifact_id": uuid::Uuid::nil(), "from_job": "pack", "url": "/a", "sha256": "", "size": 1, "image": id,
        });
        job.needs_artifacts = vec![serde_json::from_value(stored).unwrap()];
        assert!(is_allowed(&job, &id, PullPolicy::Always));
        job.needs_artifacts.clear();
        built.insert(execution, &id);
        assert!(is_allowed(&job, &id, PullPolicy::Always));
    }
}
