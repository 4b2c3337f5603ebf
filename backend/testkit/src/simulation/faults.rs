//! The probabilities of faults in a run, and counts of events.

use std::{collections::BTreeMap, fmt, sync::Mutex, sync::PoisonError};

/// Probabilities in 1/1000 per opportunity; chosen for each seed, so that some runs have few faults.
#[derive(Debug, Clone, Copy, Default)]
pub struct FaultRates {
    /// A store fails before its effect.
    pub throttle: u32,
    /// A store fails after the write.
    pub landed: u32,
    /// A store is slow.
    pub slow: u32,
    /// A batch conflicts although its conditions hold.
    pub conflict: u32,
    /// Only some messages of a batch are sent.
    pub partial_send: u32,
    /// A request does not arrive.
    pub lost_request: u32,
    /// A reply does not arrive.
    pub lost_reply: u32,
    /// A request arrives twice.
    pub duplicate: u32,
    /// A listing is stale.
    pub stale_listing: u32,
    /// A server dies, for each second.
    pub server_dies: u32,
    /// A worker dies, for each second.
    pub worker_dies: u32,
    /// A worker pauses for up to three leases, for each report.
    pub worker_stands: u32,
    /// Hidden messages become visible again, for each second.
    pub redelivery: u32,
    /// The queue loses all messages, for each second.
    pub queue_loss: u32,
    /// A worker is cut off from the servers, for each second.
    pub cut: u32,
    /// A message moves to the dead-letter queue, for each second.
    pub give_up: u32,
    /// A script fails.
    pub script_fails: u32,
    /// The engine fails under a script.
    pub engine_fails: u32,
    /// A worker gives a job back.
    pub give_back: u32,
    /// A worker reads a queue for other labels, for each receive.
    pub misled: u32,
    /// Maximum offset of a server's clock, in milliseconds.
    pub skew_ms: u32,
    /// Executions with more jobs are recorded and canceled after the reply.
    pub max_jobs_per_request: u32,
}

impl FaultRates {
    /// Chooses probabilities: almost none, some faults, or all.
    pub fn random(rng: &mut fastrand::Rng) -> Self {
        if rng.u32(..10) == 0 {
            return Self { script_fails: 50, max_jobs_per_request: 2, ..Self::default() };
        }
        let all_faults = rng.u32(..4) == 0;
        let max_jobs_per_request = if rng.bool() { 2 } else { u32::MAX };
        let mut draw = |max: u32| if all_faults || rng.bool() { rng.u32(..=max) } else { 0 };
        Self {
            throttle: draw(40),
            landed: draw(40),
            slow: draw(80),
            conflict: draw(60),
            partial_send: draw(150),
            lost_request: draw(60),
            lost_reply: draw(60),
            duplicate: draw(60),
            stale_listing: draw(300),
            server_dies: draw(25),
            worker_dies: draw(15),
            worker_stands: draw(15),
            redelivery: draw(30),
            queue_loss: draw(5),
            cut: draw(10),
            give_up: draw(5),
            script_fails: draw(150),
            engine_fails: draw(100),
            give_back: draw(60),
            misled: draw(30),
            skew_ms: draw(10_000),
            max_jobs_per_request,
        }
    }
}

/// Counts of injected faults and of other events.
#[derive(Debug, Default)]
pub struct EventCounts(Mutex<BTreeMap<&'static str, u64>>);

impl EventCounts {
    pub fn count(&self, event: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(event).or_default() += 1;
    }

    pub fn all(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Display for EventCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (event, count) in self.all() {
            write!(f, "{event} {count}, ")?;
        }
        Ok(())
    }
}
