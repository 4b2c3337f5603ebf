//! The scheduler: pure functions that map the recorded state of an execution and its nodes to writes.
//!
//! - [`new_execution`]: creates the nodes of a new execution and applies the steps that are possible at once
//! - [`claim`]: decides a worker's claim of a job
//! - [`apply_event`]: applies an event to a job
//! - [`next_step`]: decides what a due node does
//! - [`precompute`]: computes the steps that follow from a batch, to write them with it
//! - [`end_step`], [`finish`], [`time_out`], [`request_cancel`]: end or cancel an execution
//!
//! Production code, the model and the simulation call these same functions.

mod claim;
mod conditions;
mod creation;
mod end;
mod external_gates;
pub mod guard;
mod memory;
mod next_step;
mod precompute;

pub use claim::{ClaimDecision, ClaimRequest, claim};
pub use conditions::{CarriedJob, StartConditions};
pub use creation::{NewExecution, new_execution};
pub use end::{
    EndStep, JobOutcome, NextInGroup, ParentGate, end_step, ended_status, final_status, finish,
    open_parent_gate, request_cancel, time_out,
};
pub use memory::MemoryNodes;
pub use next_step::{
    APPROVAL_CLOSED, FIRST_RESEND_MS, MAX_ARRIVALS, MAX_BLOCKER_BYTES, NextStep, Transition, apply_event,
    dead_letter_of, next_step,
};
pub use precompute::{precompute, queued_jobs, ready_nodes};
