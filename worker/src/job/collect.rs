//! Third phase: caches, test reports and artifacts of a script that is over.

use super::{
    attempt::{AttemptKey, LeaseLost},
    caches,
    job_executor::JobExecutor,
    run::{FinishedScript, has_script_ended},
};
use crate::test_reports;
use std::time::Duration;
use tidemill_core::api::AttemptEnd;
use tidemill_core::execution::assignment::{Artifacts, ArtifactsWhen};

/// How long the reporter may take for the container's last output.
const MAX_DRAIN_TIME: Duration = Duration::from_secs(60);

/// Collects what the script left; its end, which fails if artifacts could not be stored.
pub async fn collect(
    executor: &JobExecutor,
    attempt: &mut AttemptKey,
    script: &mut FinishedScript,
    mut end: AttemptEnd,
) -> Result<AttemptEnd, LeaseLost> {
    let AttemptKey { assignment, reporter, signals, .. } = attempt;
    let artifacts = &executor.artifacts;
    let (workspace, environment) = (&script.container.workspace, &script.environment);
    if has_script_ended(&end) {
        let (succeeded, exit_code) = (end.failure.is_none(), end.exit_code.unwrap_or_default());
        let output = &mut script.output;
        let saving = async {
            // The container is over: no more output can come.
            let drained = tokio::time::timeout(MAX_DRAIN_TIME, output).await;
            let pump = drained.ok().and_then(Result::ok);
            let coverage = pump.and_then(|pump| pump.finish(exit_code));
            caches::save(artifacts, workspace, assignment, &environment.caches, succeeded, reporter).await;
            test_reports::send(artifacts, workspace, assignment, reporter, coverage).await;
        };
        tokio::select! {
            () = saving => {}
            lost = signals.lease_lost() => return Err(lost),
        }
    }
    if let Some(declared) = assignment.artifacts.as_ref().filter(|declared| applies(declared, &end)) {
        reporter.phase("collecting artifacts");
        let lease = (assignment.preparation.job_id, assignment.lease.token);
        let collected = tokio::select! {
            collected = artifacts.collect(workspace, declared, lease, reporter.mask()) => collected,
            lost = signals.lease_lost() => return Err(lost),
        };
        match collected {
            Ok(warnings) => reporter.log(warnings.as_bytes()).await,
            Err(reason) => {
                reporter.log(format!("{}\n", reason.message).as_bytes()).await;
                end.failure.get_or_insert(reason);
            }
        }
    }
    if let (Some(services), Some(_)) = (&environment.services, &end.failure) {
        services.log_output(reporter).await;
    }
    Ok(end)
}

/// Whether artifacts that are declared like this are collected after this end.
fn applies(declared: &Artifacts, end: &AttemptEnd) -> bool {
    let (is_over, succeeded) = (has_script_ended(end), end.failure.is_none());
    !declared.paths.is_empty()
        && match declared.when {
            ArtifactsWhen::OnSuccess => succeeded,
            ArtifactsWhen::OnFailure => is_over && !succeeded,
            ArtifactsWhen::Always => is_over,
        }
}
