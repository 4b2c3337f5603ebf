//! Accounting of a machine's resources for jobs, without a clock or locks.

use std::{collections::VecDeque, fmt};
use tidemill_core::execution::assignment::Resources;

/// Processors and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResourceAmount {
    /// Thousandths of processors.
    pub millicpus: u64,
    /// Bytes of memory.
    pub bytes: u64,
}

impl ResourceAmount {
    /// No limit.
    pub const MAX: Self = Self { millicpus: u64::MAX, bytes: u64::MAX };

    /// Returns the amount that a job requests. Resources that it does not specify are not reserved.
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "negative and huge values are clamped"
    )]
    pub fn requested(resources: &Resources) -> Self {
        let millicpus = resources.cpus.map_or(0, |cpus| (cpus * 1000.0).ceil() as u64);
        Self { millicpus, bytes: resources.memory_bytes.unwrap_or(0) }
    }

    /// Whether both are zero.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// Whether neither exceeds that of `other`.
    #[must_use]
    pub const fn is_within(self, other: Self) -> bool {
        self.millicpus <= other.millicpus && self.bytes <= other.bytes
    }

    fn plus(self, other: Self) -> Self {
        Self {
            millicpus: self.millicpus.saturating_add(other.millicpus),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            millicpus: self.millicpus.saturating_sub(other.millicpus),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

impl fmt::Display for ResourceAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.millicpus / 1000, self.millicpus % 1000);
        let cpus = if part == 0 { whole.to_string() } else { format!("{whole}.{part:03}") };
        let cpus = if part == 0 { cpus.as_str() } else { cpus.trim_end_matches('0') };
        write!(f, "{cpus} processor(s) and {} MiB of memory", self.bytes.div_ceil(1 << 20))
    }
}

/// Identifies a waiting job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// The decision on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapacityDecision {
    /// The amount is reserved.
    Granted,
    /// The request waits for earlier requests and for capacity.
    Queued(Ticket),
    /// The machine is too small.
    Impossible,
}

/// The account of a machine. A granted amount is in use until it is released.
///
/// Waiting jobs are granted in order and not overtaken, as a large job would otherwise wait as long as small ones arrive. A job
/// that requests nothing is granted immediately.
#[derive(Debug)]
pub struct Capacity {
    total: ResourceAmount,
    used: ResourceAmount,
    waiting: VecDeque<(Ticket, ResourceAmount)>,
    tickets: u64,
}

impl Capacity {
    /// Creates an account without used amounts.
    #[must_use]
    pub const fn new(total: ResourceAmount) -> Self {
        Self { total, used: ResourceAmount { millicpus: 0, bytes: 0 }, waiting: VecDeque::new(), tickets: 0 }
    }

    /// Returns the resources for all jobs together.
    #[must_use]
    pub const fn total(&self) -> ResourceAmount {
        self.total
    }

    /// Returns the number of waiting jobs.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Requests `amount`.
    pub fn request(&mut self, amount: ResourceAmount) -> CapacityDecision {
        if !amount.is_within(self.total) {
            return CapacityDecision::Impossible;
        }
        if amount.is_zero() || (self.waiting.is_empty() && self.fits(amount)) {
            self.used = self.used.plus(amount);
            return CapacityDecision::Granted;
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.push_back((ticket, amount));
        CapacityDecision::Queued(ticket)
    }

    /// Releases a granted amount. Returns the waiting jobs that are granted by it, with their amounts.
    pub fn release(&mut self, amount: ResourceAmount) -> Vec<(Ticket, ResourceAmount)> {
        self.used = self.used.minus(amount);
        self.grant_waiting()
    }

    /// Removes a waiting job. Returns those behind it that are granted by it, with their amounts.
    pub fn withdraw(&mut self, ticket: Ticket) -> Vec<(Ticket, ResourceAmount)> {
        self.waiting.retain(|(waiting, _)| *waiting != ticket);
        self.grant_waiting()
    }

    fn grant_waiting(&mut self) -> Vec<(Ticket, ResourceAmount)> {
        let mut granted = Vec::new();
        while let Some((ticket, amount)) = self.waiting.front().copied() {
            if !self.fits(amount) {
                break;
            }
            self.used = self.used.plus(amount);
            self.waiting.pop_front();
            granted.push((ticket, amount));
        }
        granted
    }

    fn fits(&self, amount: ResourceAmount) -> bool {
        self.used.plus(amount).is_within(self.total)
    }
}

/// Returns the part of `memory` bytes that jobs may use. The engine, the worker and the machine itself need the rest.
#[must_use]
pub fn memory_for_jobs(memory: u64) -> u64 {
    memory - (memory / 20).clamp(256 << 20, 1 << 30).min(memory)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::{Capacity, CapacityDecision, ResourceAmount, Ticket, memory_for_jobs};
    use proptest::prelude::*;
    use tidemill_core::execution::assignment::Resources;

    const NONE: ResourceAmount = ResourceAmount { millicpus: 0, bytes: 0 };

    const fn cpus(millicpus: u64) -> ResourceAmount {
        ResourceAmount { millicpus, bytes: 0 }
    }

    const fn memory(bytes: u64) -> ResourceAmount {
        ResourceAmount { millicpus: 0, bytes }
    }

    fn queued(decision: CapacityDecision) -> Ticket {
        match decision {
            CapacityDecision::Queued(ticket) => ticket,
            other => panic!("not queued: {other:?}"),
        }
    }

    #[test]
    fn all_capacity_is_granted_and_impossible_requests_are_rejected() {
        let mut machine = Capacity::new(ResourceAmount { millicpus: 2000, bytes: 100 });
        assert_eq!(
            machine.request(ResourceAmount { millicpus: 2000, bytes: 100 }),
            CapacityDecision::Granted
        );
        assert_eq!(machine.request(cpus(2001)), CapacityDecision::Impossible);
        assert_eq!(machine.request(memory(101)), CapacityDecision::Impossible, "both are limited");
        queued(machine.request(cpus(1)));
        queued(machine.request(memory(1)));
    }

    #[test]
    fn empty_request_is_granted_behind_waiting_jobs() {
        let mut machine = Capacity::new(cpus(1000));
        assert_eq!(machine.request(cpus(1000)), CapacityDecision::Granted);
        let waiting = queued(machine.request(cpus(1000)));
        assert_eq!(machine.request(NONE), CapacityDecision::Granted);
        assert_eq!(machine.release(NONE), []);
        assert_eq!(machine.release(cpus(1000)), [(waiting, cpus(1000))]);
        assert_eq!(Capacity::new(NONE).request(NONE), CapacityDecision::Granted);
    }

    #[test]
    fn large_job_is_not_overtaken_by_small_ones() {
        let mut machine = Capacity::new(cpus(2000));
        assert_eq!(machine.request(cpus(1000)), CapacityDecision::Granted);
        let large = queued(machine.request(cpus(2000)));
        let small = queued(machine.request(cpus(1000)));
        assert_eq!(machine.waiting(), 2);
        assert_eq!(machine.release(cpus(1000)), [(large, cpus(2000))]);
        assert_eq!(machine.release(cpus(2000)), [(small, cpus(1000))]);
        assert_eq!(machine.waiting(), 0);
    }

    #[test]
    fn release_grants_several_and_withdrawal_grants_later_jobs() {
        let mut machine = Capacity::new(cpus(2000));
        assert_eq!(machine.request(cpus(2000)), CapacityDecision::Granted);
        let first = queued(machine.request(cpus(1000)));
        let second = queued(machine.request(cpus(1000)));
        assert_eq!(machine.release(cpus(2000)), [(first, cpus(1000)), (second, cpus(1000))]);

        let large = queued(machine.request(cpus(2000)));
        assert_eq!(machine.release(cpus(1000)), []);
        let small = queued(machine.request(cpus(500)));
        assert_eq!(machine.withdraw(large), [(small, cpus(500))]);
        assert_eq!(machine.withdraw(large), [], "withdrawn already");
    }

    #[test]
    fn job_resources_are_rounded_up() {
        let requested = |cpus, memory_bytes| ResourceAmount::requested(&Resources { cpus, memory_bytes });
        assert_eq!(requested(None, None), NONE);
        assert_eq!(requested(Some(0.0001), Some(5)), ResourceAmount { millicpus: 1, bytes: 5 });
        assert_eq!(requested(Some(1.5), None), cpus(1500));
        assert_eq!(requested(Some(-1.0), None), NONE);
        assert_eq!(
            requested(Some(1500.0), Some(3 << 20)).to_string(),
            "1500 processor(s) and 3 MiB of memory"
        );
        assert_eq!(requested(Some(0.5), None).to_string(), "0.5 processor(s) and 0 MiB of memory");
    }

    #[test]
    fn memory_is_reserved_for_the_machine() {
        assert_eq!(memory_for_jobs(0), 0);
        assert_eq!(memory_for_jobs(100 << 20), 0);
        assert_eq!(memory_for_jobs(1 << 30), 768 << 20);
        assert_eq!(memory_for_jobs(64 << 30), 63 << 30);
    }

    proptest! {
        /// For any sequence: usage stays within the total, jobs are granted in order, and none waits while nothing is used.
        #[test]
        fn usage_never_exceeds_the_total_and_no_job_starves(
            steps in prop::collection::vec((any::<bool>(), 0_u64..5, 0_u64..5, any::<prop::sample::Index>()), 1..80)
        ) {
            let total = ResourceAmount { millicpus: 4, bytes: 4 };
            let mut machine = Capacity::new(total);
            let mut running: Vec<ResourceAmount> = Vec::new();
            let mut queue: Vec<Ticket> = Vec::new();
            for (requests, millicpus, bytes, which) in steps {
                let granted = if requests {
                    match machine.request(ResourceAmount { millicpus, bytes }) {
                        CapacityDecision::Granted => running.push(ResourceAmount { millicpus, bytes }),
                        CapacityDecision::Queued(ticket) => queue.push(ticket),
                        CapacityDecision::Impossible => prop_assert!(millicpus > 4 || bytes > 4),
                    }
                    Vec::new()
                } else if !running.is_empty() && (queue.is_empty() || millicpus > 0) {
                    machine.release(running.swap_remove(which.index(running.len())))
                } else if queue.is_empty() {
                    Vec::new()
                } else {
                    machine.withdraw(queue.remove(which.index(queue.len())))
                };
                for (ticket, amount) in granted {
                    prop_assert_eq!(queue.remove(0), ticket);
                    running.push(amount);
                }
                let used = running.iter().fold(NONE, |sum, amount| sum.plus(*amount));
                prop_assert!(used.is_within(total) && used == machine.used);
                prop_assert_eq!(machine.waiting(), queue.len());
                prop_assert!(!used.is_zero() || queue.is_empty());
            }
        }
    }
}
