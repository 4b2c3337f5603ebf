//! The executor of jobs as processes.

use super::{host::ProcessHost, preparation::prepare, sandbox::JobProcess};
use crate::{
    artifact::ArtifactTransfer,
    client::ApiClient,
    job::{
        AdmittedJob, Attempt, EarlyEnd, Executor, Prepared, ReportOutcome, collect, decline_attempt,
        is_unexplained, run_script, start_child,
    },
};
use std::{sync::Arc, time::Duration};
use tidemill_core::execution::{
    assignment::Assignment,
    failure::{FailureKind, FailureReason},
};
use tidemill_core::pipeline::NO_IMAGE;
use tokio_util::sync::CancellationToken;

/// Runs attempts as processes of this machine, for one worker.
#[derive(Debug, Clone)]
pub struct ProcessExecutor {
    /// The server.
    pub api: ApiClient,
    /// What jobs share.
    pub host: Arc<ProcessHost>,
    /// Transfers artifacts and caches.
    pub artifacts: ArtifactTransfer,
}

impl Executor for ProcessExecutor {
    async fn run(
        &self,
        assignment: Assignment,
        admitted: AdmittedJob,
        shutdown: CancellationToken,
        started: impl FnOnce() + Send,
    ) -> ReportOutcome {
        let mut secrets = self.host.registries.secrets_of(&assignment);
        secrets.extend(assignment.preparation.credential.iter().map(|one| one.secret().to_owned()));
        let (mut attempt, masked) =
            Attempt::start(self.api.clone(), assignment, &secrets, &self.host.limits, shutdown);
        let ended = match masked {
            Ok(()) => self.run_phases(&mut attempt, admitted, started).await,
            Err(reason) => Err(EarlyEnd::Failed(reason)),
        };
        if let Err(end) = ended {
            attempt.report_early_end(end).await;
        }
        attempt.report_outcome().await
    }

    async fn decline(
        &self,
        assignment: &Assignment,
        reason: FailureReason,
        delay: Duration,
        shutdown: &CancellationToken,
    ) -> ReportOutcome {
        decline_attempt((&self.api, &self.host.limits), assignment, reason, delay, shutdown).await
    }
}

impl ProcessExecutor {
    async fn run_phases(
        &self,
        attempt: &mut Attempt,
        admitted: AdmittedJob,
        started: impl FnOnce() + Send,
    ) -> Result<(), EarlyEnd> {
        check(&attempt.assignment)?;
        attempt.wait_for_capacity(admitted).await?;
        if let Some(child) = attempt.assignment.extras.child.clone() {
            started();
            let end = start_child((&self.host.sources, &self.artifacts), attempt, &child).await?;
            attempt.reporter.end(end).await;
            return Ok(());
        }
        let prepared: Prepared<JobProcess> = prepare(&self.host, &self.artifacts, attempt).await?;
        started();
        let mut script = run_script(attempt, prepared, None).await;
        let end = script.end.take();
        let reason = end.as_ref().and_then(|end| end.failure.clone());
        let reason = reason.filter(|reason| is_unexplained(reason.kind));
        if let Some(end) = end
            && let Ok(end) = collect(&self.artifacts, attempt, &mut script, end).await
        {
            if let Some(reason) = reason {
                attempt.reporter.log_line(&reason.message).await;
            }
            attempt.reporter.end(end).await;
        }
        Ok(())
    }
}

/// Returns the failure of a job that must not, or cannot, run as processes. It names the key that prevents it.
fn check(assignment: &Assignment) -> Result<(), FailureReason> {
    let denied = |message: String| Err(FailureReason::new(FailureKind::NotAllowed, message));
    let (preparation, extras) = (&assignment.preparation, &assignment.extras);
    if preparation.origin.is_fork {
        return denied(
            "the job comes from a fork, and its worker runs jobs as plain processes, which can read and change what the worker's \
             user can; run it on a worker with a container engine"
                .to_owned(),
        );
    }
    if extras.discovery.is_some() {
        return denied("a worker that runs jobs as plain processes reads no pipeline files".to_owned());
    }
    if extras.child.is_some() {
        return Ok(());
    }
    let cannot = |key: &str, what: &str| {
        denied(format!(
            "`{key}`: the job asks for {what}, and its worker runs jobs as plain processes, without a container engine; remove the \
             key, or run the job on another worker (without `executor: process` in `runs_on`)"
        ))
    };
    if extras.build.is_some() {
        return cannot("build", "an image to be built");
    }
    if preparation.image != NO_IMAGE {
        let image = &preparation.image;
        return denied(format!(
            "`image`: the job asks for the image `{image}`, and its worker runs jobs as plain processes; write `image: none`, or run \
             the job on another worker (without `executor: process` in `runs_on`)"
        ));
    }
    if !extras.services.is_empty() {
        return cannot("services", "containers beside it");
    }
    if !preparation.container.is_empty() {
        return cannot("container", "options of its container");
    }
    if !preparation.image_options.is_empty() {
        return cannot("image", "options of its image");
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::check;
    use serde_json::{Value, json};
    use tidemill_core::execution::{assignment::Assignment, failure::FailureKind};

    /// Returns the message of the failure of a job that changes `pointer` of one that may run; empty if it may.
    fn refusal(pointer: &str, value: Value) -> String {
        let nil = "00000000-0000-0000-0000-000000000000";
        let mut job = json!({
            "preparation": {
                "job_id": nil, "execution_id": nil, "image": "none", "source": { "kind": "none" },
                "origin": { "repository": "example.org/a", "is_fork": false }, "container": {}, "image_options": {},
            },
            "job_name": "j", "stage": "a", "attempt": 1, "script": ["x"], "variables": {}, "timeout_s": 1,
            "lease": { "token": nil, "ttl_ms": 1, "report_interval_ms": 1 },
            "extras": { "services": [], "build": null },
        });
        *job.pointer_mut(pointer).unwrap() = value;
        let assignment: Assignment = serde_json::from_value(job).unwrap();
        match check(&assignment) {
            Ok(()) => String::new(),
            Err(reason) => {
                assert_eq!(reason.kind, FailureKind::NotAllowed);
                reason.message
            }
        }
    }

    #[test]
    fn jobs_of_forks_and_those_that_need_an_engine_are_refused_by_key() {
        assert_eq!(refusal("/attempt", json!(2)), "");
        assert!(refusal("/preparation/origin/is_fork", json!(true)).contains("fork"));
        for (pointer, value, key) in [
            ("/preparation/image", json!("rust:1"), "`image`"),
            ("/preparation/image_options", json!({ "user": "me" }), "`image`"),
            ("/preparation/container", json!({ "privileged": true }), "`container`"),
            ("/extras/services", json!([{ "image": "postgres", "ready_within_s": 1 }]), "`services`"),
            ("/extras/build", json!({}), "`build`"),
        ] {
            let message = refusal(pointer, value);
            assert!(message.contains(key), "{pointer}: {message}");
        }
    }
}
