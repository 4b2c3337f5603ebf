//! Admits jobs as far as the machine has room for the resources that they request.

use crate::queue::capacity::{Answer, Capacity, ResourceAmount, Ticket};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tidemill_core::execution::assignment::Resources;
use tokio::sync::{oneshot, watch};

/// The room of one worker.
#[derive(Debug)]
pub struct Admission {
    state: Mutex<AdmissionState>,
    /// What one job may have.
    per_job: ResourceAmount,
    waiting: watch::Sender<usize>,
}

#[derive(Debug)]
struct AdmissionState {
    capacity: Capacity,
    waiters: HashMap<Ticket, oneshot::Sender<Reservation>>,
}

/// The decision on a job.
#[derive(Debug)]
pub enum Entry {
    /// The job may run.
    Granted(Reservation),
    /// The job has to wait.
    Waits(Waiting),
    /// The worker is too small; what the job requests, and what there is.
    Never(String),
}

/// Room that a job has until it drops this.
#[derive(Debug)]
pub struct Reservation {
    admission: Arc<Admission>,
    amount: ResourceAmount,
}

/// A place in the queue, left when this is dropped.
#[derive(Debug)]
pub struct Waiting {
    admission: Arc<Admission>,
    ticket: Ticket,
    receiver: oneshot::Receiver<Reservation>,
}

impl Admission {
    /// An admission without jobs. One job may have `per_job`, all together `total`.
    #[must_use]
    pub fn new(total: ResourceAmount, per_job: ResourceAmount) -> Arc<Self> {
        let state = AdmissionState { capacity: Capacity::new(total), waiters: HashMap::new() };
        Arc::new(Self { state: Mutex::new(state), per_job, waiting: watch::Sender::new(0) })
    }

    /// Asks for a job's resources.
    pub fn ask(self: &Arc<Self>, resources: &Resources) -> Entry {
        let amount = ResourceAmount::asked(resources);
        if !amount.is_within(self.per_job) {
            return Entry::Never(format!("the job asks for {amount}, and one job may have {}", self.per_job));
        }
        let mut state = self.lock();
        match state.capacity.ask(amount) {
            Answer::Granted => Entry::Granted(Reservation { admission: self.clone(), amount }),
            Answer::Never => Entry::Never(format!(
                "the job asks for {amount}, and there is {} for jobs in all",
                state.capacity.total()
            )),
            Answer::Waits(ticket) => {
                let (sender, receiver) = oneshot::channel();
                state.waiters.insert(ticket, sender);
                self.waiting.send_replace(state.capacity.waiting());
                Entry::Waits(Waiting { admission: self.clone(), ticket, receiver })
            }
        }
    }

    /// Returns once no job waits.
    pub async fn nobody_waits(&self) {
        // The sender lives in `self`, so that this cannot fail.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting == 0).await;
    }

    fn change(self: &Arc<Self>, change: impl FnOnce(&mut Capacity) -> Vec<(Ticket, ResourceAmount)>) {
        let mut state = self.lock();
        let served = change(&mut state.capacity);
        let waiters: Vec<_> =
            served.into_iter().map(|(ticket, amount)| (state.waiters.remove(&ticket), amount)).collect();
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

impl Waiting {
    /// The reservation, once there is room.
    pub async fn admitted(mut self) -> Option<Reservation> {
        (&mut self.receiver).await.ok()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let (admission, amount) = (self.admission.clone(), self.amount);
        admission.change(|capacity| capacity.release(amount));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let ticket = self.ticket;
        self.admission.lock().waiters.remove(&ticket);
        let admission = self.admission.clone();
        admission.change(|capacity| capacity.give_up(ticket));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::{Admission, Entry, Reservation, Waiting};
    use crate::queue::capacity::ResourceAmount;
    use std::{sync::Arc, time::Duration};
    use tidemill_core::execution::assignment::Resources;

    fn ask(admission: &Arc<Admission>, cpus: f64) -> Entry {
        admission.ask(&Resources { cpus: Some(cpus), memory_bytes: None })
    }

    fn granted(entry: Entry) -> Reservation {
        let Entry::Granted(reservation) = entry else { panic!("{entry:?}") };
        reservation
    }

    fn waits(entry: Entry) -> Waiting {
        let Entry::Waits(waiting) = entry else { panic!("{entry:?}") };
        waiting
    }

    #[tokio::test]
    async fn waiting_job_is_admitted_when_another_leaves_or_gives_up() {
        let admission = Admission::new(ResourceAmount { millicpus: 2000, bytes: 0 }, ResourceAmount::MAX);
        let first = granted(ask(&admission, 2.0));
        let (second, third) = (waits(ask(&admission, 2.0)), waits(ask(&admission, 1.0)));
        let idle = tokio::time::timeout(Duration::from_millis(10), admission.nobody_waits());
        assert!(idle.await.is_err(), "two wait");
        drop(first);
        // Granted, but never fetched: the room must not be lost.
        drop(second);
        let third = third.admitted().await.unwrap();
        admission.nobody_waits().await;
        let fourth = granted(ask(&admission, 1.0));
        drop((third, fourth));
        let all = granted(ask(&admission, 2.0));
        let Entry::Never(words) = ask(&admission, 3.0) else { panic!("never") };
        assert!(
            words.contains("asks for 3 processor(s)") && words.contains("there is 2 processor(s)"),
            "{words}"
        );
        drop(all);
    }

    #[test]
    fn job_over_the_limit_of_one_job_is_never_admitted() {
        let one = ResourceAmount { millicpus: 500, bytes: u64::MAX };
        let admission = Admission::new(ResourceAmount { millicpus: 2000, bytes: 0 }, one);
        drop(granted(ask(&admission, 0.5)));
        let Entry::Never(words) = ask(&admission, 0.6) else { panic!("never") };
        assert!(words.contains("one job may have 0.5 processor(s)"), "{words}");
    }
}
