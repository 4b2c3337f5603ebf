//! How many workers there should be: exactly as many as the backlog needs, never fewer than are at work.

/// What is known when the number is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Messages that wait in the queue.
    pub waiting: u32,
    /// Messages that were received and whose jobs run.
    pub running: u32,
    /// Workers that are asked for now.
    pub desired: u32,
}

/// Bounds, and what one worker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Jobs that one worker runs at the same time; at least 1.
    pub slots: u32,
    /// The fewest workers.
    pub min: u32,
    /// The most workers.
    pub max: u32,
}

/// The number of workers to ask for.
///
/// It goes up at once, to what takes the whole backlog. It goes down only when nothing waits or runs: which worker would
/// be taken away is not known, and a job that runs must not be cut short to save minutes of a machine.
#[must_use]
pub fn desired(load: Load, limits: Limits) -> u32 {
    let jobs = load.waiting.saturating_add(load.running);
    let needed = jobs.div_ceil(limits.slots.max(1));
    let kept = if jobs == 0 { 0 } else { load.desired };
    needed.max(kept).clamp(limits.min.min(limits.max), limits.max)
}

#[cfg(test)]
mod tests {
    use super::{Limits, Load, desired};

    const LIMITS: Limits = Limits { slots: 2, min: 0, max: 10 };

    fn to(waiting: u32, running: u32, now: u32) -> u32 {
        desired(Load { waiting, running, desired: now }, LIMITS)
    }

    #[test]
    fn it_is_zero_when_nothing_is_to_do() {
        assert_eq!((to(0, 0, 0), to(0, 0, 7)), (0, 0));
        assert_eq!(desired(Load { waiting: 0, running: 0, desired: 5 }, Limits { min: 1, ..LIMITS }), 1);
    }

    #[test]
    fn it_goes_up_to_exactly_what_takes_all() {
        assert_eq!((to(1, 0, 0), to(2, 0, 0), to(3, 0, 0), to(5, 4, 2)), (1, 1, 2, 5));
        assert_eq!(to(1000, 0, 0), 10, "no more than allowed");
        assert_eq!(to(u32::MAX, u32::MAX, 0), 10);
    }

    #[test]
    fn it_does_not_go_down_while_a_job_runs() {
        for now in 0..=10 {
            for running in 1..=20 {
                assert!(to(0, running, now) >= now);
            }
        }
    }

    #[test]
    fn odd_limits_are_kept_sane() {
        let load = Load { waiting: 4, running: 0, desired: 0 };
        assert_eq!(desired(load, Limits { slots: 0, min: 0, max: 3 }), 3);
        assert_eq!(desired(load, Limits { slots: 1, min: 5, max: 2 }), 2);
    }
}
