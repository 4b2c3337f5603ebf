//! The conditions that the protocol's promises rest on, each with a name: [`guarded!`](crate::guarded) marks them.
//!
//! With the feature `mutations`, which only tests have, one of them can be removed, to see which promise breaks without it.
//! In every other build the macro expands to the condition alone, and nothing of this module is compiled.

#[cfg(feature = "mutations")]
mod removable {
    use std::sync::atomic::{AtomicU8, Ordering};

    /// A condition without which a promise breaks.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Guard {
        /// Only a pending job is released or skipped.
        ReleaseOnlyPending,
        /// Only a queued job is claimed.
        ClaimOnlyQueued,
        /// A report counts only with the job's lease.
        ReportNeedsLease,
        /// A lease ends only when its time is over.
        ExpireOnlyRunOut,
        /// A canceled attempt is not tried again.
        CanceledIsNotRetried,
        /// A canceled attempt keeps the time that the cancel left it, whatever its worker reports.
        CanceledIsNotRenewed,
        /// A cancel leaves a running attempt little time.
        CancelShortensLease,
        /// A job whose workers are lost is given to another one only so often.
        LossesEnd,
        /// A job that fails by itself is tried again only so often as it says.
        RetriesEnd,
        /// Only a job that is not over is canceled.
        CancelOnlyLive,
        /// Only a queued job is given up.
        GiveUpOnlyQueued,
        /// A job, or a gate, waits until all that it waits for has arrived.
        WaitsForAll,
        /// A job whose need failed is skipped.
        FailedNeedSkips,
        /// Only a success, or a failure that is allowed, lets run what needs the job.
        OkNeedsSuccess,
        /// A link is notified once that a node is over.
        ToldOnce,
        /// A node stays due until all its links are told.
        HalfToldStaysDue,
        /// A running job stays due until its lease is over.
        RunningStaysDue,
        /// A queued job stays due, so that its message is sent again.
        QueuedStaysDue,
        /// Only the last arrival is foreseen to release a node.
        ForeseenOnlyLast,
        /// A token is another one for each attempt.
        TokenOfAttempt,
        /// An execution that is over is not ended again.
        EndOnlyLive,
        /// An execution ends only when every job has arrived at its end.
        EndWaitsForAll,
        /// A cancel that was cut short is carried on.
        CancelCarriedOn,
        /// The end of a canceled execution is due until its jobs are canceled.
        CancelMakesDue,
        /// A batch is written only if its nodes are of the versions that were read.
        NodeVersion,
        /// A batch is written only if its execution is of the version that was read.
        ExecutionVersion,
        /// A key stands for one execution.
        KeyCondition,
        /// A node becomes due with its last arrival.
        ArrivalMakesDue,
        /// A job is given only to a worker that has the labels that it demands.
        LabelsFit,
        /// What waits for an approval waits until it is given.
        ApprovalWaits,
        /// What waits for its turn in a group waits until the one before is over.
        TurnWaits,
        /// Jobs that run whatever becomes of others wait, too, for what their execution waits for.
        HeldWhole,
        /// What ends without having had its turn hands its place on, and lets nobody past.
        PlaceHandedOn,
        /// The end of an execution begins the next of its group, in the same write.
        EndBeginsNext,
        /// A job for failures that waits for nothing is skipped when nothing failed.
        SparedAtOnce,
        /// An execution of which nothing is to run is due at once.
        NothingToRunIsDue,
        /// The end of an execution that must be over by some time is due then.
        DeadlineMakesDue,
        /// An execution whose time was over has failed.
        TimedOutFails,
        /// What was approved in time is not canceled for lack of an approval.
        ApprovedStays,
        /// A schedule's time names the execution that it makes.
        ScheduleOnce,
        /// A schedule starts nothing before its time.
        ScheduleOnlyDue,
    }

    impl Guard {
        /// Those that every execution rests on: the model shows what breaks without each.
        pub const PROTOCOL: [Self; 28] = [
            Self::ReleaseOnlyPending,
            Self::ClaimOnlyQueued,
            Self::ReportNeedsLease,
            Self::ExpireOnlyRunOut,
            Self::CanceledIsNotRetried,
            Self::CanceledIsNotRenewed,
            Self::CancelShortensLease,
            Self::LossesEnd,
            Self::RetriesEnd,
            Self::CancelOnlyLive,
            Self::GiveUpOnlyQueued,
            Self::WaitsForAll,
            Self::FailedNeedSkips,
            Self::OkNeedsSuccess,
            Self::ToldOnce,
            Self::HalfToldStaysDue,
            Self::RunningStaysDue,
            Self::QueuedStaysDue,
            Self::ForeseenOnlyLast,
            Self::TokenOfAttempt,
            Self::EndOnlyLive,
            Self::EndWaitsForAll,
            Self::CancelCarriedOn,
            Self::CancelMakesDue,
            Self::NodeVersion,
            Self::ExecutionVersion,
            Self::KeyCondition,
            Self::ArrivalMakesDue,
        ];

        /// Those of what comes before an execution and its jobs: labels, approvals, groups, deadlines, schedules. The simulation shows
        /// what breaks without each.
        pub const SCHEDULING: [Self; 13] = [
            Self::LabelsFit,
            Self::ApprovalWaits,
            Self::TurnWaits,
            Self::HeldWhole,
            Self::PlaceHandedOn,
            Self::EndBeginsNext,
            Self::SparedAtOnce,
            Self::NothingToRunIsDue,
            Self::DeadlineMakesDue,
            Self::TimedOutFails,
            Self::ApprovedStays,
            Self::ScheduleOnce,
            Self::ScheduleOnlyDue,
        ];
    }

    /// The discriminant of the guard that is removed, plus 1; 0: all are in place.
    static REMOVED: AtomicU8 = AtomicU8::new(0);

    /// Whether this guard is removed.
    #[must_use]
    pub fn is_removed(guard: Guard) -> bool {
        REMOVED.load(Ordering::Relaxed) == guard as u8 + 1
    }

    /// Whether any guard is removed: what is built on all of them does not hold then.
    #[must_use]
    pub fn is_any_removed() -> bool {
        REMOVED.load(Ordering::Relaxed) != 0
    }

    /// Removes a guard from the whole process, or puts all back.
    pub fn remove(guard: Option<Guard>) {
        REMOVED.store(guard.map_or(0, |guard| guard as u8 + 1), Ordering::Relaxed);
    }
}

#[cfg(feature = "mutations")]
pub use removable::{Guard, is_any_removed, is_removed, remove};

/// A condition, or another value, that a promise of the protocol rests on: `guarded!(ClaimOnlyQueued, condition)`.
///
/// In tests that remove the guard its value is what stands after `without`, or true.
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

/// A condition, or another value, that a promise of the protocol rests on: `guarded!(ClaimOnlyQueued, condition)`.
///
/// In tests that remove the guard its value is what stands after `without`, or true.
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

/// A condition that holds while all guards are in place.
#[cfg(not(feature = "mutations"))]
#[macro_export]
macro_rules! guarded_by_all {
    ($value:expr) => {
        $value
    };
}

/// A condition that holds while all guards are in place.
#[cfg(feature = "mutations")]
#[macro_export]
macro_rules! guarded_by_all {
    ($value:expr) => {
        $crate::scheduler::guard::is_any_removed() || $value
    };
}
