//! One attempt from its assignment to its reported end: its reporter and its stop signals.

use super::{
    dispatcher::Event,
    reporter::{ReportOutcome, Reporter},
};
use crate::{
    client::ApiClient,
    log::mask::SecretMask,
    policy::Limits,
    queue::admission::{AdmissionDecision, Reservation},
};
use std::time::Duration;
use tidemill_core::api::AttemptEnd;
use tidemill_core::execution::{
    assignment::Assignment,
    failure::{FailureKind, FailureReason},
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Preparation time that does not count towards the job's `timeout`.
pub const PREPARATION_ALLOWANCE: Duration = Duration::from_secs(60);

/// The end of an attempt that does not run its script.
#[derive(Debug)]
pub enum EarlyEnd {
    /// It failed with this reason.
    Failed(FailureReason),
    /// Its lease is lost: nothing is reported.
    LeaseLost,
}

impl From<FailureReason> for EarlyEnd {
    fn from(reason: FailureReason) -> Self {
        Self::Failed(reason)
    }
}

/// The lease is lost, so another worker may have the job.
#[derive(Debug)]
pub struct LeaseLost;

/// A job with the decision of the worker's admission.
#[derive(Debug)]
pub struct AdmittedJob {
    /// The decision.
    pub decision: AdmissionDecision,
    /// How long the job may wait for capacity before it is given back for another worker; `None`: unlimited.
    pub max_wait: Option<Duration>,
}

/// One attempt.
#[derive(Debug)]
pub struct Attempt {
    /// The job.
    pub assignment: Assignment,
    /// Reports on it.
    pub reporter: Reporter,
    /// Its stop signals.
    pub signals: Signals,
    /// Sends events to `signals`.
    pub sender: mpsc::UnboundedSender<Event>,
    reporting: JoinHandle<ReportOutcome>,
    /// The capacity that it uses, held until it has ended.
    reservation: Option<Reservation>,
}

/// Signals that stop an attempt: events of its reporter and its container, and the worker's shutdown.
#[derive(Debug)]
pub struct Signals {
    /// Events of the reporter and of the container.
    pub events: mpsc::UnboundedReceiver<Event>,
    /// Cancelled when the worker gives its jobs back.
    pub shutdown: CancellationToken,
}

impl Attempt {
    /// Starts to report on `assignment`, with its secrets and `other_secrets` masked. The returned result is an error if they cannot
    /// be masked; then the job must not run, as its output could not be shown.
    pub fn start(
        api: ApiClient,
        assignment: Assignment,
        other_secrets: &[String],
        limits: &Limits,
        shutdown: CancellationToken,
    ) -> (Self, Result<(), FailureReason>) {
        let (sender, events) = mpsc::unbounded_channel();
        let (mask, masked) = match mask(&assignment, other_secrets) {
            Ok(mask) => (mask, Ok(())),
            Err(reason) => (SecretMask::default(), Err(reason)),
        };
        let (job_id, lease) = (assignment.preparation.job_id, assignment.lease.clone());
        let (reporter, reporting) = Reporter::start(api, job_id, lease, (mask, limits), sender.clone());
        reporter.request_shell(assignment.extras.shell);
        let signals = Signals { events, shutdown };
        (Self { assignment, reporter, signals, sender, reporting, reservation: None }, masked)
    }

    /// Waits for the capacity that the job needs, and reserves it.
    pub async fn wait_for_capacity(&mut self, admitted: AdmittedJob) -> Result<(), EarlyEnd> {
        let waiter = match admitted.decision {
            AdmissionDecision::Granted(reservation) => {
                self.reservation = Some(reservation);
                return Ok(());
            }
            AdmissionDecision::Impossible(shortage) => {
                return Err(FailureReason::new(FailureKind::Undeliverable, shortage).into());
            }
            AdmissionDecision::Queued(waiter) => waiter,
        };
        self.reporter.phase("waiting for capacity");
        let reservation = async {
            match admitted.max_wait {
                Some(max_wait) => tokio::time::timeout(max_wait, waiter.granted()).await.ok().flatten(),
                None => waiter.granted().await,
            }
        };
        self.reservation = tokio::select! {
            reservation = reservation => reservation,
            stopped = self.signals.stopped() => return Err(stopped),
        };
        if self.reservation.is_none() {
            let message =
                "the worker has no capacity for the job's resources and gave it back for another worker";
            return Err(FailureReason::new(FailureKind::GivenBack, message).into());
        }
        Ok(())
    }

    /// Reports the end of an attempt that runs no script. Reports nothing if its lease is lost.
    pub async fn report_early_end(&self, end: EarlyEnd) {
        if let EarlyEnd::Failed(reason) = end {
            self.reporter.log_line(&reason.message).await;
            self.reporter
                .end(AttemptEnd { failure: Some(reason), exit_code: None, ..AttemptEnd::default() })
                .await;
        }
    }

    /// Waits until the end is acknowledged or the lease is lost.
    pub async fn report_outcome(self) -> ReportOutcome {
        self.reporting.await.unwrap_or(ReportOutcome::LeaseLost)
    }
}

impl Signals {
    /// Waits until an attempt whose script does not run has to stop.
    pub async fn stopped(&mut self) -> EarlyEnd {
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(Event::Canceled) => {
                        let message = "the job was canceled before its script ran";
                        return FailureReason::new(FailureKind::Canceled, message).into();
                    }
                    Some(Event::LimitExceeded(reason)) => return reason.into(),
                    Some(Event::LeaseLost) | None => return EarlyEnd::LeaseLost,
                    Some(_) => {}
                },
                () = self.shutdown.cancelled() => {
                    let message = "the worker is stopping and gave the job back";
                    return FailureReason::new(FailureKind::GivenBack, message).into();
                }
            }
        }
    }

    /// Waits until the lease is lost.
    pub async fn lease_lost(&mut self) -> LeaseLost {
        loop {
            match self.events.recv().await {
                Some(Event::LeaseLost) => return LeaseLost,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }
}

/// Waits until preparation has taken longer than the job's timeout plus [`PREPARATION_ALLOWANCE`], and returns the failure.
pub async fn preparation_timeout(timeout_s: u64) -> EarlyEnd {
    let limit = Duration::from_secs(timeout_s).saturating_add(PREPARATION_ALLOWANCE);
    tokio::time::sleep(limit).await;
    let message = format!(
        "the job was still being prepared after {} s (its timeout of {} s plus a minute): its sources, image, artifacts or \
         services were not ready; check that their servers respond, or raise `timeout`",
        limit.as_secs(),
        timeout_s
    );
    FailureReason::new(FailureKind::PreparationTimedOut, message).into()
}

/// Creates a mask for the job's secrets and those of its logins and credentials.
fn mask(assignment: &Assignment, other_secrets: &[String]) -> Result<SecretMask, FailureReason> {
    let secrets = assignment.extras.secrets.iter().filter(|secret| !secret.unmasked);
    let secrets = secrets.map(|secret| secret.value.as_str());
    let mask = SecretMask::new(secrets.chain(other_secrets.iter().map(String::as_str)));
    mask.map_err(|error| {
        let message = format!("the job did not start, as its secrets could not be masked: {error}");
        FailureReason::new(FailureKind::MaskingFailed, message)
    })
}

#[cfg(test)]
mod tests {
    use super::{EarlyEnd, PREPARATION_ALLOWANCE, preparation_timeout};
    use std::time::Duration;
    use tidemill_core::execution::failure::FailureKind;

    #[tokio::test(start_paused = true)]
    async fn preparation_ends_a_minute_after_the_jobs_timeout() {
        let started = tokio::time::Instant::now();
        let EarlyEnd::Failed(reason) = preparation_timeout(30).await else { panic!("not a failure") };
        assert_eq!(reason.kind, FailureKind::PreparationTimedOut);
        let elapsed = started.elapsed();
        assert!(
            (Duration::from_secs(30) + PREPARATION_ALLOWANCE..Duration::from_secs(100)).contains(&elapsed),
            "{elapsed:?}"
        );
    }
}
