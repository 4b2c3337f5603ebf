//! One attempt from its assignment to its reported end: its reporter, and what may stop it.

use super::{
    dispatch::Event,
    reporter::{ReportOutcome, Reporter},
};
use crate::{
    client::ApiClient,
    limits::Limits,
    log::mask::SecretMask,
    queue::admission::{Entry, Reservation},
};
use std::time::Duration;
use tidemill_core::api::AttemptEnd;
use tidemill_core::execution::{
    assignment::Assignment,
    failure::{FailureKind, FailureReason},
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Preparation time that does not count for the job's `timeout`.
pub const PREPARATION_ALLOWANCE: Duration = Duration::from_secs(60);

/// How an attempt ends that does not run its script.
#[derive(Debug)]
pub enum EarlyEnd {
    /// It ends with this reason.
    Failed(FailureReason),
    /// Its lease is lost: nothing is reported.
    LeaseLost,
}

impl From<FailureReason> for EarlyEnd {
    fn from(reason: FailureReason) -> Self {
        Self::Failed(reason)
    }
}

/// The lease is lost: another worker may have the job.
#[derive(Debug)]
pub struct LeaseLost;

/// The decision of the worker's admission on a job.
#[derive(Debug)]
pub struct AdmittedJob {
    /// The room, or a place in the queue for it.
    pub entry: Entry,
    /// How long the job may wait before it is given back for another worker; `None`: without a limit.
    pub patience: Option<Duration>,
}

/// One attempt.
#[derive(Debug)]
pub struct AttemptKey {
    /// The job.
    pub assignment: Assignment,
    /// Reports on it.
    pub reporter: Reporter,
    /// What may stop it.
    pub signals: Signals,
    /// Sends events to `signals`.
    pub sender: mpsc::UnboundedSender<Event>,
    reporting: JoinHandle<ReportOutcome>,
    /// Held until the attempt is over.
    reservation: Option<Reservation>,
}

/// What may stop an attempt from outside: events of its reporter, and the worker's shutdown.
#[derive(Debug)]
pub struct Signals {
    /// Events of the reporter and of the container.
    pub events: mpsc::UnboundedReceiver<Event>,
    /// Cancelled when the worker gives its jobs back.
    pub shutdown: CancellationToken,
}

impl AttemptKey {
    /// Starts to report on `assignment`. The result says whether its secrets can be masked; if not, nothing of the job may
    /// run, as its output could not be shown.
    pub fn start(
        api: ApiClient,
        assignment: Assignment,
        limits: &Limits,
        shutdown: CancellationToken,
    ) -> (Self, Result<(), FailureReason>) {
        let (sender, events) = mpsc::unbounded_channel();
        let (mask, masked) = match mask(&assignment) {
            Ok(mask) => (mask, Ok(())),
            Err(reason) => (SecretMask::default(), Err(reason)),
        };
        let (job_id, lease) = (assignment.preparation.job_id, assignment.lease.clone());
        let (reporter, reporting) = Reporter::start(api, job_id, lease, (mask, limits), sender.clone());
        let signals = Signals { events, shutdown };
        (Self { assignment, reporter, signals, sender, reporting, reservation: None }, masked)
    }

    /// Waits for the room that `admitted` promises, and keeps it.
    pub async fn wait_for_room(&mut self, admitted: AdmittedJob) -> Result<(), EarlyEnd> {
        let waiting = match admitted.entry {
            Entry::Granted(reservation) => {
                self.reservation = Some(reservation);
                return Ok(());
            }
            Entry::Never(shortage) => {
                return Err(FailureReason::new(FailureKind::Undeliverable, shortage).into());
            }
            Entry::Waits(waiting) => waiting,
        };
        self.reporter.phase("waiting for room");
        let room = async {
            match admitted.patience {
                Some(patience) => tokio::time::timeout(patience, waiting.admitted()).await.ok().flatten(),
                None => waiting.admitted().await,
            }
        };
        self.reservation = tokio::select! {
            room = room => room,
            stopped = self.signals.stopped() => return Err(stopped),
        };
        if self.reservation.is_none() {
            let message = "the worker has no room for what the job asks and gave it back for another one";
            return Err(FailureReason::new(FailureKind::GivenBack, message).into());
        }
        Ok(())
    }

    /// Reports the end of an attempt that runs no script; nothing if its lease is lost.
    pub async fn report_early_end(&self, end: EarlyEnd) {
        if let EarlyEnd::Failed(reason) = end {
            self.reporter.log(format!("{}\n", reason.message).as_bytes()).await;
            self.reporter.end(AttemptEnd { failure: Some(reason), exit_code: None }).await;
        }
    }

    /// Waits until the end is acknowledged, or the lease lost.
    pub async fn reported(self) -> ReportOutcome {
        self.reporting.await.unwrap_or(ReportOutcome::LeaseLost)
    }
}

impl Signals {
    /// Resolves once an attempt whose script does not run has to stop.
    pub async fn stopped(&mut self) -> EarlyEnd {
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(Event::CancelSeen) => {
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

    /// Resolves once the lease is lost.
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

/// Resolves with a failure once preparation took longer than the job's timeout and [`PREPARATION_ALLOWANCE`].
pub async fn preparation_timeout(timeout_s: u64) -> EarlyEnd {
    let limit = Duration::from_secs(timeout_s).saturating_add(PREPARATION_ALLOWANCE);
    tokio::time::sleep(limit).await;
    let message = format!(
        "the job was still being prepared after {} s, its timeout of {} s and a minute: its sources, its image or what it \
         needs did not come; see that their servers answer, or raise `timeout`",
        limit.as_secs(),
        timeout_s
    );
    FailureReason::new(FailureKind::PreparationTimedOut, message).into()
}

/// A mask for the job's secrets.
fn mask(assignment: &Assignment) -> Result<SecretMask, FailureReason> {
    let mask = SecretMask::new(assignment.extras.secrets.iter().map(|secret| secret.value.as_str()));
    mask.map_err(|error| {
        let message = format!("the job did not begin, as its secrets could not be masked: {error}");
        FailureReason::new(FailureKind::MaskingFailed, message)
    })
}

#[cfg(test)]
mod tests {
    use super::{EarlyEnd, PREPARATION_ALLOWANCE, preparation_timeout};
    use std::time::Duration;
    use tidemill_core::execution::failure::FailureKind;

    #[tokio::test(start_paused = true)]
    async fn preparation_ends_with_jobs_timeout_and_minute() {
        let begun = tokio::time::Instant::now();
        let EarlyEnd::Failed(reason) = preparation_timeout(30).await else { panic!("it is a failure") };
        assert_eq!(reason.kind, FailureKind::PreparationTimedOut);
        let took = begun.elapsed();
        assert!(
            (Duration::from_secs(30) + PREPARATION_ALLOWANCE..Duration::from_secs(100)).contains(&took),
            "{took:?}"
        );
    }
}
