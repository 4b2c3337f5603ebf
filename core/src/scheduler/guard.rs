//! The conditions that the protocol's guarantees depend on, each with a name: [`guarded!`](crate::guarded) marks them.
//!
//! With the feature `mutations`, which only tests enable, one guard can be removed to show which guarantee breaks
//! without it.
//! In every other build the macro expands to the bare condition, and this module is empty.

#[cfg(feature = "mutations")]
mod removable {
    use std::sync::atomic::{AtomicU8, Ordering};

    /// A condition without which a guarantee breaks.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Guard {
        /// Only a pending job is released or skipped.
        ReleaseOnlyPending,
        /// Only a queued job is claimed.
        ClaimOnlyQueued,
        /// A report takes effect only with the job's lease.
        ReportNeedsLease,
        /// A lease expires only when its time has passed.
        ExpireOnlyPastExpiry,
        /// A canceled attempt is not retried.
        CanceledIsNotRetried,
        /// Reports extend the lease of a canceled attempt only up to a limit.
        CanceledRenewalIsLimited,
        /// A cancel shortens the lease of a running attempt.
        CancelShortensLease,
        /// The number of attempts after lost workers is limited.
        LossesAreLimited,
        /// The number of attempts after the job's own failures is limited by its `retry`.
        RetriesAreLimited,
        /// Only a job that has not ended is canceled.
        CancelOnlyLive,
        /// Only a queued job becomes undeliverable.
        UndeliverableOnlyQueued,
        /// A job or gate waits until all its dependencies have arrived.
        WaitsForAll,
        /// A job whose need failed is skipped.
        FailedNeedSkipsJob,
        /// Only a success or a tolerated failure lets dependent jobs run.
        OkNeedsSuccess,
        /// Each link of an ended node is notified once.
        NotifyLinkOnce,
        /// A node stays due until all its links are notified.
        PartlyNotifiedStaysDue,
        /// A running job stays due until its lease expires.
        RunningStaysDue,
        /// A queued job stays due, so that its message is resent.
        QueuedStaysDue,
        /// Only the last arrival of a node is precomputed.
        PrecomputeOnlyLastArrival,
        /// Each attempt has a different token.
        TokenPerAttempt,
        /// An execution that has ended is not ended again.
        EndOnlyLive,
        /// An execution ends only when every job has arrived at its end node.
        EndWaitsForAll,
        /// An interrupted cancel is resumed.
        InterruptedCancelResumes,
        /// The end node of a canceled execution is due until its jobs are canceled.
        CancelMakesDue,
        /// A batch commits only if its nodes have the versions that were read.
        NodeVersion,
        /// A batch commits only if its execution has the version that was read.
        ExecutionVersion,
        /// An idempotency key refers to one execution.
        IdempotencyKeyCondition,
        /// The last arrival makes a node due.
        ArrivalMakesDue,
        /// Only a worker with the required labels gets a job.
        LabelsMatch,
        /// A node that needs an approval waits for it.
        ApprovalWaits,
        /// An execution that runs after another of its group waits until that one has ended.
        GroupWaits,
        /// Jobs that run regardless of their dependencies also wait for what their execution waits for.
        HoldsUnconditionalJobs,
        /// An execution that ends before it started passes its position in the group on, and starts no other.
        GroupPositionPassedOn,
        /// The end of an execution starts the next one of its group in the same write.
        EndStartsNextInGroup,
        /// An `on_failure` job without dependencies is skipped when nothing failed.
        OnFailureNeedsFailure,
        /// An execution with nothing to run is due at once.
        EmptyExecutionIsDue,
        /// The end node of an execution with a deadline is due at that time.
        DeadlineMakesDue,
        /// An execution that exceeds its timeout fails.
        TimeoutFailsExecution,
        /// An execution that was approved in time is not canceled for a missing approval.
        ApprovedIsNotCanceled,
        /// A scheduled time identifies the execution that it starts.
        ScheduledTimeStartsOnce,
        /// A schedule starts nothing before its time.
        ScheduleOnlyDue,
        /// A job gets a place in its concurrency group only if one is free.
        JobGroupLimit,
    }

    impl Guard {
        /// The guards that every execution depends on: the model shows what breaks without each.
        pub const PROTOCOL: [Self; 28] = [
            Self::ReleaseOnlyPending,
            Self::ClaimOnlyQueued,
            Self::ReportNeedsLease,
            Self::ExpireOnlyPastExpiry,
            Self::CanceledIsNotRetried,
            Self::CanceledRenewalIsLimited,
            Self::CancelShortensLease,
            Self::LossesAreLimited,
            Self::RetriesAreLimited,
            Self::CancelOnlyLive,
            Self::UndeliverableOnlyQueued,
            Self::WaitsForAll,
            Self::FailedNeedSkipsJob,
            Self::OkNeedsSuccess,
            Self::NotifyLinkOnce,
            Self::PartlyNotifiedStaysDue,
            Self::RunningStaysDue,
            Self::QueuedStaysDue,
            Self::PrecomputeOnlyLastArrival,
            Self::TokenPerAttempt,
            Self::EndOnlyLive,
            Self::EndWaitsForAll,
            Self::InterruptedCancelResumes,
            Self::CancelMakesDue,
            Self::NodeVersion,
            Self::ExecutionVersion,
            Self::IdempotencyKeyCondition,
            Self::ArrivalMakesDue,
        ];

        /// The guards of scheduling: labels, approvals, groups, deadlines, schedules. The simulation shows what breaks
        /// without each.
        pub const SCHEDULING: [Self; 14] = [
            Self::LabelsMatch,
            Self::ApprovalWaits,
            Self::GroupWaits,
            Self::HoldsUnconditionalJobs,
            Self::GroupPositionPassedOn,
            Self::EndStartsNextInGroup,
            Self::OnFailureNeedsFailure,
            Self::EmptyExecutionIsDue,
            Self::DeadlineMakesDue,
            Self::TimeoutFailsExecution,
            Self::ApprovedIsNotCanceled,
            Self::ScheduledTimeStartsOnce,
            Self::ScheduleOnlyDue,
            Self::JobGroupLimit,
        ];
    }

    /// The discriminant of the removed guard plus 1; 0 if none is removed.
    static REMOVED: AtomicU8 = AtomicU8::new(0);

    /// Whether this guard is removed.
    #[must_use]
    pub fn is_removed(guard: Guard) -> bool {
        REMOVED.load(Ordering::Relaxed) == guard as u8 + 1
    }

    /// Whether any guard is removed. Checks that rely on all of them do not hold then.
    #[must_use]
    pub fn is_any_removed() -> bool {
        REMOVED.load(Ordering::Relaxed) != 0
    }

    /// Removes a guard in the whole process; `None` restores all.
    pub fn remove(guard: Option<Guard>) {
        REMOVED.store(guard.map_or(0, |guard| guard as u8 + 1), Ordering::Relaxed);
    }
}

#[cfg(feature = "mutations")]
pub use removable::{Guard, is_any_removed, is_removed, remove};

/// A condition or other value that a guarantee of the protocol depends on: `guarded!(ClaimOnlyQueued, condition)`.
///
/// In tests that remove the guard, the macro evaluates to the expression after `without`, or to true.
#[cfg(not(feature = "mutations"))]
#[macro_export]
macro_rules! guarded {
    ($guard:ident, $value:expr) => {
        $value
    };
    ($guard:ident, $value:expr, without $other:expr) => {
        $value
    };
}

/// A condition or other value that a guarantee of the protocol depends on: `guarded!(ClaimOnlyQueued, condition)`.
///
/// In tests that remove the guard, the macro evaluates to the expression after `without`, or to true.
#[cfg(feature = "mutations")]
#[macro_export]
macro_rules! guarded {
    ($guard:ident, $value:expr) => {
        $crate::guarded!($guard, $value, without true)
    };
    ($guard:ident, $value:expr, without $other:expr) => {
        if $crate::scheduler::guard::is_removed($crate::scheduler::guard::Guard::$guard) { $other } else { $value }
    };
}

/// A condition that holds only while no guard is removed.
#[cfg(not(feature = "mutations"))]
#[macro_export]
macro_rules! guarded_by_all {
    ($value:expr) => {
        $value
    };
}

/// A condition that holds only while no guard is removed.
#[cfg(feature = "mutations")]
#[macro_export]
macro_rules! guarded_by_all {
    ($value:expr) => {
        $crate::scheduler::guard::is_any_removed() || $value
    };
}
