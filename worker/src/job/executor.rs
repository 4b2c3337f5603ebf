//! Runs one attempt through its phases: prepare, run, collect, report.

use super::{
    attempt::{AdmittedJob, Attempt, EarlyEnd},
    collection::collect,
    discovery::{discover, start_child},
    image::{build_after_script, build_only},
    job_executor::JobExecutor,
    preparation::prepare,
    reporter::ReportOutcome,
    script_run::run,
};
use std::time::Duration;
use tidemill_core::execution::{
    assignment::Assignment,
    failure::{FailureKind, FailureReason},
};
use tokio_util::sync::CancellationToken;

/// The port through which a worker's slots run attempts.
///
/// Contract of every implementation:
/// - An attempt ends in exactly one of two ways: its end is acknowledged by the server, or its lease is lost. Nothing is
///   reported after a lost lease, and the script is killed then.
/// - The script starts at most once, only while the lease is held, only once its capacity is granted, and not at all if its
///   secrets cannot be masked. Everything that is reported is masked.
/// - A canceled attempt has no running process of its script 10 s later. One whose `shutdown` is cancelled ends as given back.
/// - Artifacts, caches and test reports are collected after the script has ended or was stopped, and before the end is
///   reported.
/// - Once `run` returns, the attempt's containers and networks are removed, or are being removed in the background.
pub trait Executor: Clone + Send + Sync + 'static {
    /// Runs `assignment` once `admitted` grants its capacity. Calls `started` when its script starts.
    fn run(
        &self,
        assignment: Assignment,
        admitted: AdmittedJob,
        shutdown: CancellationToken,
        started: impl FnOnce() + Send,
    ) -> impl Future<Output = ReportOutcome> + Send;

    /// Ends `assignment` with `reason` without running it, after holding its lease for `delay`. A cancel or `shutdown`
    /// shortens the delay.
    fn decline(
        &self,
        assignment: &Assignment,
        reason: FailureReason,
        delay: Duration,
        shutdown: &CancellationToken,
    ) -> impl Future<Output = ReportOutcome> + Send;
}

impl Executor for JobExecutor {
    async fn run(
        &self,
        assignment: Assignment,
        admitted: AdmittedJob,
        shutdown: CancellationToken,
        started: impl FnOnce() + Send,
    ) -> ReportOutcome {
        let (api, limits) = (self.api.clone(), self.engine.limits());
        let mut secrets = self.engine.registries.secrets_of(&assignment);
        secrets.extend(assignment.preparation.credential.iter().map(|one| one.secret().to_owned()));
        let (mut attempt, masked) = Attempt::start(api, assignment, &secrets, limits, shutdown);
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
        let limits = self.engine.limits();
        // A failure to mask is irrelevant, as only the worker's own reason is reported.
        let (mut attempt, _) =
            Attempt::start(self.api.clone(), assignment.clone(), &[], limits, shutdown.clone());
        let mut end = EarlyEnd::Failed(reason);
        if !delay.is_zero() {
            attempt.reporter.phase("waiting for another worker");
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                stopped = attempt.signals.stopped() => end = stopped,
            }
        }
        attempt.report_early_end(end).await;
        attempt.report_outcome().await
    }
}

impl JobExecutor {
    async fn run_phases(
        &self,
        attempt: &mut Attempt,
        admitted: AdmittedJob,
        started: impl FnOnce() + Send,
    ) -> Result<(), EarlyEnd> {
        self.engine.permissions.check(&attempt.assignment)?;
        let network = self.engine.chosen_network(&attempt.assignment.preparation.container);
        self.engine.permissions.check_sidecar_network(&attempt.assignment, network)?;
        attempt.wait_for_capacity(admitted).await?;
        if let Some(discovery) = attempt.assignment.extras.discovery.clone() {
            started();
            let end = discover(self, attempt, &discovery).await?;
            attempt.reporter.end(end).await;
            return Ok(());
        }
        if let Some(child) = attempt.assignment.extras.child.clone() {
            started();
            let end = start_child(self, attempt, &child).await?;
            attempt.reporter.end(end).await;
            return Ok(());
        }
        let build = attempt.assignment.extras.build.clone();
        if let Some(build) = build.filter(|_| attempt.assignment.script.is_empty()) {
            started();
            let end = build_only(self, attempt, &build).await?;
            attempt.reporter.end(end).await;
            return Ok(());
        }
        let prepared = prepare(self, attempt).await?;
        started();
        let job_started = prepared.started;
        let mut script = run(self, attempt, prepared).await;
        let mut end = script.end.take();
        let reason = end.as_ref().and_then(|end| end.failure.clone());
        let reason = reason.filter(|reason| is_unexplained(reason.kind));
        if let Some(of_script) = end.take() {
            end = build_after_script(self, attempt, &mut script, of_script, job_started).await;
        }
        if let Some(end) = end
            && let Ok(end) = collect(self, attempt, &mut script, end).await
        {
            if let Some(reason) = reason {
                attempt.reporter.log_line(&reason.message).await;
            }
            attempt.reporter.end(end).await;
        }
        script.release(&self.pool).await;
        Ok(())
    }
}

/// Whether the output of a script does not show why it ended so, because the worker or the kernel stopped it.
const fn is_unexplained(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::TimedOut | FailureKind::OutOfMemory | FailureKind::WorkspaceLimit)
}
