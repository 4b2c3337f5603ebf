//! Accounting of a machine's resources for jobs: pure, without a clock or locks.

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

    /// The amount that a job requests; resources that it does not name are not reserved.
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "negative and huge ones are cut off"
    )]
    pub fn asked(resources: &Resources) -> Self {
        let millicpus = resources.cpus.map_or(0, |cpus| (cpus * 1000.0).ceil() as u64);
        Self { millicpus, bytes: resources.memory_bytes.unwrap_or(0) }
    }

    /// Whether it is nothing at all.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// Whether neither of both is more than `other` has.
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
pub enum Answer {
    /// The amount is reserved.
    Granted,
    /// There will be room, after earlier requests.
    Waits(Ticket),
    /// The machine is too small.
    Never,
}

/// The account. What was granted is in use until it is released.
///
/// Waiting jobs are served in order and not overtaken, as a large job would otherwise wait for as long as small ones come. A job
/// that requests nothing is granted at once.
#[derive(Debug)]
pub struct Capacity {
    total: ResourceAmount,
    used: ResourceAmount,
    waiting: VecDeque<(Ticket, ResourceAmount)>,
    tickets: u64,
}

impl Capacity {
    /// An account of which nothing is used.
    #[must_use]
    pub const fn new(total: ResourceAmount) -> Self {
        Self { total, used: ResourceAmount { millicpus: 0, bytes: 0 }, waiting: VecDeque::new(), tickets: 0 }
    }

    /// Resources for all jobs together.
    #[must_use]
    pub const fn total(&self) -> ResourceAmount {
        self.total
    }

    /// The number of waiting jobs.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Requests `amount`.
    pub fn ask(&mut self, amount: ResourceAmount) -> Answer {
        if !amount.is_within(self.total) {
            return Answer::Never;
        }
        if amount.is_nothing() || (self.waiting.is_empty() && self.has_room(amount)) {
            self.used = self.used.plus(amount);
            return Answer::Granted;
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.push_back((ticket, amount));
        Answer::Waits(ticket)
    }

    /// Releases what was granted. Returns the waiting jobs that are granted by it, with their amounts.
    pub fn release(&mut self, amount: ResourceAmount) -> Vec<(Ticket, ResourceAmount)> {
        self.used = self.used.minus(amount);
        self.serve()
    }

    /// Removes a waiting job. Returns those behind it that are granted by it, with their amounts.
    pub fn give_up(&mut self, ticket: Ticket) -> Vec<(Ticket, ResourceAmount)> {
        self.waiting.retain(|(waiting, _)| *waiting != ticket);
        self.serve()
    }

    fn serve(&mut self) -> Vec<(Ticket, ResourceAmount)> {
        let mut served = Vec::new();
        while let Some((ticket, amount)) = self.waiting.front().copied() {
            if !self.has_room(amount) {
                break;
            }
            self.used = self.used.plus(amount);
            self.waiting.pop_front();
            served.push((ticket, amount));
        }
        served
    }

    fn has_room(&self, amount: ResourceAmount) -> bool {
        self.used.plus(amount).is_within(self.total)
    }
}

/// The part of `memory` bytes that is for jobs: the engine, the worker and the machine itself need the rest.
#[must_use]
pub fn memory_for_jobs(memory: u64) -> u64 {
    memory - (memory / 20).clamp(256 << 20, 1 << 30).min(memory)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::{Answer, Capacity, ResourceAmount, Ticket, memory_for_jobs};
    use proptest::prelude::*;
    use tidemill_core::execution::assignment::Resources;

    const NONE: ResourceAmount = ResourceAmount { millicpus: 0, bytes: 0 };

    const fn cpus(millicpus: u64) -> ResourceAmount {
        ResourceAmount { millicpus, bytes: 0 }
    }

    const fn memory(bytes: u64) -> ResourceAmount {
        ResourceAmount { millicpus: 0, bytes }
    }

    fn waits(answer: Answer) -> Ticket {
        match answer {
            Answer::Waits(ticket) => ticket,
            other => panic!("it waits, and is not {other:?}"),
        }
    }

    #[test]
    fn all_capacity_is_granted_and_impossible_requests_are_refused() {
        let mut machine = Capacity::new(ResourceAmount { millicpus: 2000, bytes: 100 });
        assert_eq!(machine.ask(ResourceAmount { millicpus: 2000, bytes: 100 }), Answer::Granted);
        assert_eq!(machine.ask(cpus(2001)), Answer::Never);
        assert_eq!(machine.ask(memory(101)), Answer::Never, "each of both counts");
        waits(machine.ask(cpus(1)));
        waits(machine.ask(memory(1)));
    }

    #[test]
    fn empty_request_is_granted_behind_waiting_jobs() {
        let mut machine = Capacity::new(cpus(1000));
        assert_eq!(machine.ask(cpus(1000)), Answer::Granted);
        let waiting = waits(machine.ask(cpus(1000)));
        assert_eq!(machine.ask(NONE), Answer::Granted);
        assert_eq!(machine.release(NONE), []);
        assert_eq!(machine.release(cpus(1000)), [(waiting, cpus(1000))]);
        assert_eq!(Capacity::new(NONE).ask(NONE), Answer::Granted);
    }

    #[test]
    fn large_job_is_not_overtaken_by_small_ones() {
        let mut machine = Capacity::new(cpus(2000));
        assert_eq!(machine.ask(cpus(1000)), Answer::Granted);
        let large = waits(machine.ask(cpus(2000)));
        let small = waits(machine.ask(cpus(1000)));
        assert_eq!(machine.waiting(), 2);
        assert_eq!(machine.release(cpus(1000)), [(large, cpus(2000))]);
        assert_eq!(machine.release(cpus(2000)), [(small, cpus(1000))]);
        assert_eq!(machine.waiting(), 0);
    }

    #[test]
    fn release_grants_several_and_giving_up_grants_those_behind() {
        let mut machine = Capacity::new(cpus(2000));
        assert_eq!(machine.ask(cpus(2000)), Answer::Granted);
        let first = waits(machine.ask(cpus(1000)));
        let second = waits(machine.ask(cpus(1000)));
        assert_eq!(machine.release(cpus(2000)), [(first, cpus(1000)), (second, cpus(1000))]);

        let large = waits(machine.ask(cpus(2000)));
        assert_eq!(machine.release(cpus(1000)), []);
        let small = waits(machine.ask(cpus(500)));
        assert_eq!(machine.give_up(large), [(small, cpus(500))]);
        assert_eq!(machine.give_up(large), [], "once is enough");
    }

    #[test]
    fn job_resources_are_rounded_up() {
        let asked = |cpus, memory_bytes| ResourceAmount::asked(&Resources { cpus, memory_bytes });
        assert_eq!(asked(None, None), NONE);
        assert_eq!(asked(Some(0.0001), Some(5)), ResourceAmount { millicpus: 1, bytes: 5 });
        assert_eq!(asked(Some(1.5), None), cpus(1500));
        assert_eq!(asked(Some(-1.0), None), NONE);
        assert_eq!(asked(Some(1500.0), Some(3 << 20)).to_string(), "1500 processor(s) and 3 MiB of memory");
        assert_eq!(asked(Some(0.5), None).to_string(), "0.5 processor(s) and 0 MiB of memory");
    }

    #[test]
    fn memory_is_reserved_for_the_machine() {
        assert_eq!(memory_for_jobs(0), 0);
        assert_eq!(memory_for_jobs(100 << 20), 0);
        assert_eq!(memory_for_jobs(1 << 30), 768 << 20);
        assert_eq!(memory_for_jobs(64 << 30), 63 << 30);
    }

    proptest! {
        /// For any sequence: usage stays within the total, jobs are served in order, and none waits when nothing is used.
        #[test]
        fn usage_never_exceeds_the_total_and_no_job_starves(
            steps in prop::collection::vec((any::<bool>(), 0_u64..5, 0_u64..5, any::<prop::sample::Index>()), 1..80)
        ) {
            let total = ResourceAmount { millicpus: 4, bytes: 4 };
            let mut machine = Capacity::new(total);
            let mut running: Vec<ResourceAmount> = Vec::new();
            let mut queue: Vec<Ticket> = Vec::new();
            for (asks, millicpus, bytes, which) in steps {
                let served = if asks {
                    match machine.ask(ResourceAmount { millicpus, bytes }) {
                        Answer::Granted => running.push(ResourceAmount { millicpus, bytes }),
                        Answer::Waits(ticket) => queue.push(ticket),
                        Answer::Never => prop_assert!(millicpus > 4 || bytes > 4),
                    }
                    Vec::new()
                } else if !running.is_empty() && (queue.is_empty() || millicpus > 0) {
                    machine.release(running.swap_remove(which.index(running.len())))
                } else if queue.is_empty() {
                    Vec::new()
                } else {
                    machine.give_up(queue.remove(which.index(queue.len())))
                };
                for (ticket, amount) in served {
                    prop_assert_eq!(queue.remove(0), ticket);
                    running.push(amount);
                }
                let used = running.iter().fold(NONE, |sum, amount| sum.plus(*amount));
                prop_assert!(used.is_within(total) && used == machine.used);
                prop_assert_eq!(machine.waiting(), queue.len());
                prop_assert!(!used.is_nothing() || queue.is_empty());
            }
        }
    }
}
