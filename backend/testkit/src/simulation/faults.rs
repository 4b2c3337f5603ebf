//! What goes wrong in a run, how often, and how often it did.

use std::{collections::BTreeMap, fmt, sync::Mutex, sync::PoisonError};

/// Chances of one in a thousand, for each time that it could happen; drawn for each seed, so that some are calm.
#[derive(Debug, Clone, Copy, Default)]
pub struct FaultRates {
    /// A store refuses before anything happened.
    pub throttle: u32,
    /// A store fails after the write was made.
    pub landed: u32,
    /// A store takes its time.
    pub slow: u32,
    /// A batch is refused although its conditions hold.
    pub conflict: u32,
    /// Only some messages of a batch are sent.
    pub partial_send: u32,
    /// A request does not arrive.
    pub lost_request: u32,
    /// A reply does not arrive.
    pub lost_reply: u32,
    /// A request arrives twice.
    pub duplicate: u32,
    /// A listing does not show the newest.
    pub late_listing: u32,
    /// A server dies, for each second.
    pub server_dies: u32,
    /// A worker dies, for each second.
    pub worker_dies: u32,
    /// A worker stands still for longer than a lease, for each report.
    pub worker_stands: u32,
    /// Hidden messages show again, for each second.
    pub redelivery: u32,
    /// The queue loses all it has, for each second.
    pub queue_loss: u32,
    /// A worker is cut off from the servers, for each second.
    pub cut: u32,
    /// A message is given up, for each second.
    pub give_up: u32,
    /// A script fails.
    pub script_fails: u32,
    /// The engine fails under a script.
    pub engine_fails: u32,
    /// A worker gives a job back.
    pub give_back: u32,
    /// A worker asks a queue for other workers, for each time that it asks.
    pub misled: u32,
    /// Servers' clocks differ by up to so many milliseconds.
    pub skew_ms: u32,
}

impl FaultRates {
    /// Of a seed: calm, rough in some respects, or wild in all.
    pub fn drawn(rng: &mut fastrand::Rng) -> Self {
        if rng.u32(..10) == 0 {
            return Self { script_fails: 50, ..Self::default() };
        }
        let wild = rng.u32(..4) == 0;
        let mut draw = |most: u32| if wild || rng.bool() { rng.u32(..=most) } else { 0 };
        Self {
            throttle: draw(40),
            landed: draw(40),
            slow: draw(80),
            conflict: draw(60),
            partial_send: draw(150),
            lost_request: draw(60),
            lost_reply: draw(60),
            duplicate: draw(60),
            late_listing: draw(300),
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
        }
    }
}

/// How often each fault happened, and what else is worth counting.
#[derive(Debug, Default)]
pub struct EventCounts(Mutex<BTreeMap<&'static str, u64>>);

impl EventCounts {
    pub fn count(&self, what: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    }

    pub fn all(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Display for EventCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, times) in self.all() {
            write!(f, "{what} {times}, ")?;
        }
        Ok(())
    }
}
