//! The number of workers: exactly as many as the backlog needs, never fewer than are busy.

/// The load that determines the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Waiting messages in the queue.
    pub waiting: u32,
    /// Received messages, whose jobs run.
    pub running: u32,
    /// Currently requested workers.
    pub desired: u32,
}

/// Bounds, and the capacity of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Concurrent jobs per worker; at least 1.
    pub slots: u32,
    /// Minimum number of workers.
    pub min: u32,
    /// Maximum number of workers.
    pub max: u32,
}

/// The number of workers to request.
///
/// It rises immediately to what the whole backlog needs. It falls only when nothing waits or runs: which worker AWS would
/// terminate is unknown, and a running job must not be interrupted.
#[must_use]
pub fn desired(load: Load, limits: Limits) -> u32 {
    let jobs = load.waiting.saturating_add(load.running);
    let needed = jobs.div_ceil(limits.slots.max(1));
    let current = if jobs == 0 { 0 } else { load.desired };
    needed.max(current).clamp(limits.min.min(limits.max), limits.max)
}

#[cfg(test)]
mod tests {
    use super::{Limits, Load, desired};

    const SCALE_LIMITS: Limits = Limits { slots: 2, min: 0, max: 10 };

    fn workers(waiting: u32, running: u32, current: u32) -> u32 {
        desired(Load { waiting, running, desired: current }, SCALE_LIMITS)
    }

    #[test]
    fn desired_is_zero_or_the_minimum_without_jobs() {
        assert_eq!((workers(0, 0, 0), workers(0, 0, 7)), (0, 0));
        assert_eq!(
            desired(Load { waiting: 0, running: 0, desired: 5 }, Limits { min: 1, ..SCALE_LIMITS }),
            1
        );
    }

    #[test]
    fn desired_rises_to_what_the_backlog_needs() {
        assert_eq!((workers(1, 0, 0), workers(2, 0, 0), workers(3, 0, 0), workers(5, 4, 2)), (1, 1, 2, 5));
        assert_eq!(workers(1000, 0, 0), 10, "limited to the maximum");
        assert_eq!(workers(u32::MAX, u32::MAX, 0), 10);
    }

    #[test]
    fn desired_does_not_fall_while_a_job_runs() {
        for current in 0..=10 {
            for running in 1..=20 {
                assert!(workers(0, running, current) >= current);
            }
        }
    }

    #[test]
    fn invalid_limits_are_corrected() {
        let load = Load { waiting: 4, running: 0, desired: 0 };
        assert_eq!(desired(load, Limits { slots: 0, min: 0, max: 3 }), 3);
        assert_eq!(desired(load, Limits { slots: 1, min: 5, max: 2 }), 2);
    }
}
