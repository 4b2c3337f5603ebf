//! The scheduler: pure functions that map the recorded state of an execution and its nodes to writes.
//!
//! - [`new_execution`]: creates the nodes of a new execution and applies the steps that are possible at once
//! - [`claim`]: decides a worker's claim of a job
//! - [`apply_event`]: applies an event to a job
//! - [`next_step`]: decides what a due node does
//! - [`change_group`]: gives jobs places in their concurrency group
//! - [`decide`]: decides about a due job with a condition on outputs, or that needs such a job
//! - [`precompute`]: computes the steps that follow from a batch, to write them with it
//! - [`decide_fleet`], [`required_capacity`], [`FairOrder`]: decide how many machines workers need, and whose jobs are next
//! - [`end_step`], [`finish`], [`time_out`], [`request_cancel`]: end or cancel an execution
//!
//! Production code, the model and the simulation call these same functions.

mod claim;
mod concurrency;
mod conditions;
mod creation;
mod decide;
mod end;
mod external_gates;
mod fairness;
mod fleet;
pub mod guard;
mod memory;
mod next_step;
mod precompute;

pub use claim::{ClaimDecision, ClaimRequest, claim};
pub use concurrency::{GroupChange, GroupEvent, GroupMember, JobGroup, MAX_WAITING_JOBS, change_group};
pub use conditions::{CarriedJob, StartConditions, protected_jobs};
pub use creation::{NewExecution, new_execution};
pub use decide::{child_gates, condition_holds, decide, nodes_to_decide};
pub use end::{
    EndStep, JobOutcome, NextInGroup, ParentGate, end_step, ended_status, final_status, finish,
    open_parent_gate, request_cancel, time_out,
};
pub use fairness::FairOrder;
pub use fleet::{
    CapacityGate, FleetAction, FleetDecision, FleetLimits, FleetMemory, FleetWorker, JobLoad, Machine,
    WorkerGroupState, decide_fleet, required_capacity,
};
pub use memory::MemoryNodes;
pub use next_step::{
    APPROVAL_CLOSED, CONDITION_NOT_MET, FIRST_RESEND_MS, MAX_ARRIVALS, MAX_BLOCKER_BYTES, NextStep,
    Transition, apply_event, dead_letter_of, next_step, with_place,
};
pub use precompute::{continued_jobs, precompute, queued_jobs, ready_nodes};
