//! Runs one attempt through its phases: prepare, run, collect, report.

use super::{
    attempt::{AdmittedJob, Attempt, EarlyEnd},
    collection::collect,
    debug::Holder,
    discovery::{discover, start_child},
    image::{build_after_script, build_only},
    job_executor::JobExecutor,
    preparation::prepare,
    reporter::ReportOutcome,
    script_run::{FinishedScript, run},
    services::Services,
};
use crate::{
    client::ApiClient,
    engine::{Container, OccupiedSlot},
    policy::Limits,
};
use std::time::Duration;
use tidemill_core::execution::{
    assignment::Assignment,
    failure::{FailureKind, FailureReason},
};
use tidemill_core::pipeline::NO_IMAGE;
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
/// - Once `run` returns, the attempt's containers, networks, processes and files are removed, or are being removed in the
///   background.
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
        decline_attempt((&self.api, self.engine.limits()), assignment, reason, delay, shutdown).await
    }
}

/// Ends `assignment` with `reason` without running it; see [`Executor::decline`].
pub async fn decline_attempt(
    (api, limits): (&ApiClient, &Limits),
    assignment: &Assignment,
    reason: FailureReason,
    delay: Duration,
    shutdown: &CancellationToken,
) -> ReportOutcome {
    // A failure to mask is irrelevant, as only the worker's own reason is reported.
    let (mut attempt, _) = Attempt::start(api.clone(), assignment.clone(), &[], limits, shutdown.clone());
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

impl JobExecutor {
    async fn run_phases(
        &self,
        attempt: &mut Attempt,
        admitted: AdmittedJob,
        started: impl FnOnce() + Send,
    ) -> Result<(), EarlyEnd> {
        if attempt.assignment.preparation.image == NO_IMAGE && !attempt.assignment.script.is_empty() {
            return Err(no_image_failure().into());
        }
        self.engine.permissions.check(&attempt.assignment)?;
        let network = self.engine.chosen_network(&attempt.assignment.preparation.container);
        self.engine.permissions.check_sidecar_network(&attempt.assignment, network)?;
        attempt.wait_for_capacity(admitted).await?;
        if let Some(discovery) = attempt.assignment.extras.discovery.clone() {
            started();
            let end = discover((&self.engine.sources, &self.api), attempt, &discovery).await?;
            attempt.reporter.end(end).await;
            return Ok(());
        }
        if let Some(child) = attempt.assignment.extras.child.clone() {
            started();
            let end = start_child((&self.engine.sources, &self.artifacts), attempt, &child).await?;
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
        let (prepared, slot) = prepare(self, attempt).await?;
        started();
        let job_started = prepared.started;
        let of_attempt = (&attempt.assignment, &attempt.reporter);
        let services = prepared.environment.services.as_ref().map(Services::addresses).unwrap_or_default();
        let of_container = (&prepared.sandbox, services);
        let holder =
            Holder::new(self.debugger.as_ref(), of_attempt, &self.engine, of_container, &attempt.sender);
        let mut script = run(attempt, prepared, holder).await;
        let mut end = script.end.take();
        let reason = end.as_ref().and_then(|end| end.failure.clone());
        let reason = reason.filter(|reason| is_unexplained(reason.kind));
        if let Some(of_script) = end.take() {
            end = build_after_script(self, attempt, &mut script, of_script, job_started).await;
        }
        if let Some(end) = end
            && let Ok(end) = collect(&self.artifacts, attempt, &mut script, end).await
        {
            if let Some(reason) = reason {
                attempt.reporter.log_line(&reason.message).await;
            }
            attempt.reporter.end(end).await;
        }
        self.release(script, &slot).await;
        Ok(())
    }

    /// Stops the services and frees the slot. Its network is reused only if nothing runs in the container any more.
    async fn release(&self, script: FinishedScript<Container>, slot: &OccupiedSlot) {
        let FinishedScript { sandbox: container, environment, has_exited, .. } = script;
        drop(environment);
        let restored = match &container.holder {
            Some(holder) => has_exited.is_cancelled() && holder.restore().await,
            None => true,
        };
        if !restored {
            self.pool.discard_network(slot);
        }
        self.pool.release(slot, Some(container));
    }
}

/// Returns the failure of a job without an image on a worker with an engine. Labels route no such job here; an image that is known
/// only when the job is due may be one.
fn no_image_failure() -> FailureReason {
    let message = "the job has `image: none`, and its worker runs jobs in containers; add `runs_on: { executor: process }`, and start a \
                   worker with `--executor process`";
    FailureReason::new(FailureKind::NotAllowed, message)
}

/// Whether the output of a script does not show why it ended so, because the worker or the kernel stopped it.
pub const fn is_unexplained(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::TimedOut | FailureKind::OutOfMemory | FailureKind::WorkspaceLimit)
}
