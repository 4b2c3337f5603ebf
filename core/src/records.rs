//! The records: the stored state of executions, and the batches that change it.
//!
//! Each execution is one item, and so is each node of its plan: the jobs, the plan's gates, and one end node that every
//! job leads to, so that the end of an execution is detected without counting jobs. The immutable part (spec) and the
//! mutable part (state) are separate: a transition never rewrites a script.

mod activity;
mod artifact;
mod badge;
mod environment;
mod execution;
mod failed_discovery;
mod insight;
mod message;
mod node;
mod test_statistics;
mod write;

pub use activity::RepositoryActivity;
pub use artifact::ArtifactRecord;
pub use badge::badge_svg;
pub use environment::{
    AutoStopExtension, EnvironmentRecord, MAX_DEPLOYMENTS, StopRequest, StopStep, UNSETTLED_RECHECK_MS,
};
pub use execution::{
    ApprovalGate, Deadline, ExecutionRecord, ExecutionSpec, ExecutionState, ExecutionTask, GroupPosition,
    LabelRequirement, ParentLink,
};
pub use failed_discovery::{FailedDiscoveries, MAX_FAILURE_AGE_MS, has_newer_discovery, shown_discoveries};
pub use insight::{Counts, DAY_MS, DayRollup, Histogram, PipelineTotals, day_of, day_of_end};
pub use message::{MAX_MESSAGE_DELAY_MS, QueuedJob};
pub use node::{
    ApprovalClosing, DecidedBy, JobDescription, JobRecord, NewNode, Node, NodeBody, NodeKey, NodeSpec,
    NodeState,
};
pub use test_statistics::{Coverage, FlakyTests, MeasuredJob};
pub use write::{ArrivalOutcome, CommitResult, Continuation, DeadLetter, KeyRecord, Write};
