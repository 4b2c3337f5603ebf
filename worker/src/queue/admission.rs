//! Admission of jobs within the capacity of the machine.

use crate::queue::capacity::{Capacity, CapacityDecision, ResourceAmount, Ticket};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tidemill_core::execution::assignment::Resources;
use tokio::sync::{oneshot, watch};

/// Admits the jobs of one worker.
#[derive(Debug)]
pub struct Admission {
    state: Mutex<AdmissionState>,
    /// The maximum for one job.
    per_job: ResourceAmount,
    /// The number of waiting jobs.
    waiting: watch::Sender<usize>,
}

#[derive(Debug)]
struct AdmissionState {
    capacity: Capacity,
    waiters: HashMap<Ticket, oneshot::Sender<Reservation>>,
}

/// The decision on a job.
#[derive(Debug)]
pub enum AdmissionDecision {
    /// The job may run.
    Granted(Reservation),
    /// The job has to wait.
    Queued(Waiter),
    /// The worker is too small. Contains the requested and the available resources, as a message.
    Impossible(String),
}

/// Capacity that is reserved for a job until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    admission: Arc<Admission>,
    amount: ResourceAmount,
}

/// A job that waits for capacity. Dropping this removes it from the queue.
#[derive(Debug)]
pub struct Waiter {
    admission: Arc<Admission>,
    ticket: Ticket,
    receiver: oneshot::Receiver<Reservation>,
}

impl Admission {
    /// Creates an admission without jobs. One job may use `per_job`, all jobs together `total`.
    #[must_use]
    pub fn new(total: ResourceAmount, per_job: ResourceAmount) -> Arc<Self> {
        let state = AdmissionState { capacity: Capacity::new(total), waiters: HashMap::new() };
        Arc::new(Self { state: Mutex::new(state), per_job, waiting: watch::Sender::new(0) })
    }

    /// Requests a job's resources.
    pub fn request(self: &Arc<Self>, resources: &Resources) -> AdmissionDecision {
        let amount = ResourceAmount::requested(resources);
        if !amount.is_within(self.per_job) {
            return AdmissionDecision::Impossible(format!(
                "the job requests {amount}, but one job may use at most {}",
                self.per_job
            ));
        }
        let mut state = self.lock();
        match state.capacity.request(amount) {
            CapacityDecision::Granted => {
                AdmissionDecision::Granted(Reservation { admission: self.clone(), amount })
            }
            CapacityDecision::Impossible => AdmissionDecision::Impossible(format!(
                "the job requests {amount}, but all jobs together may use at most {}",
                state.capacity.total()
            )),
            CapacityDecision::Queued(ticket) => {
                let (sender, receiver) = oneshot::channel();
                state.waiters.insert(ticket, sender);
                self.waiting.send_replace(state.capacity.waiting());
                AdmissionDecision::Queued(Waiter { admission: self.clone(), ticket, receiver })
            }
        }
    }

    /// Waits until no job waits.
    pub async fn wait_until_idle(&self) {
        // This cannot fail, as `self` owns the sender.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting == 0).await;
    }

    fn update(self: &Arc<Self>, update: impl FnOnce(&mut Capacity) -> Vec<(Ticket, ResourceAmount)>) {
        let mut state = self.lock();
        let granted = update(&mut state.capacity);
        let waiters: Vec<_> =
            granted.into_iter().map(|(ticket, amount)| (state.waiters.remove(&ticket), amount)).collect();
        self.waiting.send_replace(state.capacity.waiting());
        drop(state);
        for (receiver, amount) in waiters {
            let reservation = Reservation { admission: self.clone(), amount };
            // If the receiver is gone, the reservation is dropped, which admits the next.
            if let Some(receiver) = receiver {
                let _ = receiver.send(reservation);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, AdmissionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Waits for the reservation.
    pub async fn granted(mut self) -> Option<Reservation> {
        (&mut self.receiver).await.ok()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let (admission, amount) = (self.admission.clone(), self.amount);
        admission.update(|capacity| capacity.release(amount));
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let ticket = self.ticket;
        self.admission.lock().waiters.remove(&ticket);
        let admission = self.admission.clone();
        admission.update(|capacity| capacity.withdraw(ticket));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::{Admission, AdmissionDecision, Reservation, Waiter};
    use crate::queue::capacity::ResourceAmount;
    use std::{sync::Arc, time::Duration};
    use tidemill_core::execution::assignment::Resources;

    fn request(admission: &Arc<Admission>, cpus: f64) -> AdmissionDecision {
        admission.request(&Resources { cpus: Some(cpus), memory_bytes: None })
    }

    fn granted(decision: AdmissionDecision) -> Reservation {
        let AdmissionDecision::Granted(reservation) = decision else { panic!("{decision:?}") };
        reservation
    }

    fn queued(decision: AdmissionDecision) -> Waiter {
        let AdmissionDecision::Queued(waiter) = decision else { panic!("{decision:?}") };
        waiter
    }

    #[tokio::test]
    async fn waiting_job_is_admitted_when_another_ends_or_withdraws() {
        let admission = Admission::new(ResourceAmount { millicpus: 2000, bytes: 0 }, ResourceAmount::MAX);
        let first = granted(request(&admission, 2.0));
        let (second, third) = (queued(request(&admission, 2.0)), queued(request(&admission, 1.0)));
        let idle = tokio::time::timeout(Duration::from_millis(10), admission.wait_until_idle());
        assert!(idle.await.is_err(), "two jobs wait");
        drop(first);
        // Granted, but dropped: its capacity must not be lost.
        drop(second);
        let third = third.granted().await.unwrap();
        admission.wait_until_idle().await;
        let fourth = granted(request(&admission, 1.0));
        drop((third, fourth));
        let all = granted(request(&admission, 2.0));
        let AdmissionDecision::Impossible(message) = request(&admission, 3.0) else {
            panic!("not impossible")
        };
        assert!(
            message.contains("requests 3 processor(s)") && message.contains("at most 2 processor(s)"),
            "{message}"
        );
        drop(all);
    }

    #[test]
    fn job_over_the_limit_of_one_job_is_never_admitted() {
        let one = ResourceAmount { millicpus: 500, bytes: u64::MAX };
        let admission = Admission::new(ResourceAmount { millicpus: 2000, bytes: 0 }, one);
        drop(granted(request(&admission, 0.5)));
        let AdmissionDecision::Impossible(message) = request(&admission, 0.6) else {
            panic!("not impossible")
        };
        assert!(message.contains("one job may use at most 0.5 processor(s)"), "{message}");
    }
}
