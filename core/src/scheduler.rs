//! The scheduler: what becomes of an execution and its nodes, as pure functions from what is recorded to what is written.
//!
//! - [`new_execution`]: the nodes of a new execution, with the steps taken that need nobody
//! - [`claim`]: a worker asks for a job
//! - [`apply_event`]: something happens to a job
//! - [`next_step`]: what a node that is due does
//! - [`precompute`]: what a batch leads to, written together with it
//! - [`end_step`], [`finish`], [`time_out`], [`request_cancel`]: how an execution ends
//!
//! Production, the model and the simulation call these same functions.

mod claim;
mod conditions;
mod creation;
mod end;
pub mod guard;
mod memory;
mod next_step;
mod outside;
mod precompute;

pub use claim::{ClaimDecision, ClaimRequest, claim};
pub use conditions::{CarriedJob, StartConditions};
pub use creation::{NewExecution, new_execution};
pub use end::{EndStep, JobOutcome, NextInGroup, end_step, final_status, finish, request_cancel, time_out};
pub use memory::MemoryNodes;
pub use next_step::{
    APPROVAL_CLOSED, FIRST_RESEND_MS, MAX_ARRIVALS, MAX_BLOCKER_BYTES, NextStep, Transition, apply_event,
    dead_letter_of, next_step,
};
pub use precompute::{precompute, queued_jobs, ready_nodes};
