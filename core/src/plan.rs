//! The plan: the jobs of an execution, and their dependencies.
//!
//! A job without `needs` waits for every job of every earlier stage. Written as edges, that would be quadratic, so
//! groups (the jobs of a stage, the variants of a matrix) are joined by gates: nodes that run nothing and notify their
//! dependents once all their dependencies have ended. The number of edges is linear in the size of the file.

mod dependents;
mod due_condition;
mod due_texts;
mod edges;
mod error;
mod expansion;
mod matrix;
mod model;
mod order;
mod references;
mod requested;
mod selection;
mod size;
pub mod trigger;

pub use due_condition::{DueCondition, DueRule};
pub use due_texts::DueTexts;
pub use error::{ExcludedJob, PlanError};
pub use matrix::MAX_JOBS;
pub(crate) use matrix::{MAX_TEMPLATE_BYTES, max_variants, name_clash, variant_name};
pub use model::{Gate, NodeIx, Plan, PlannedJob};
pub use selection::compared_refs;
pub use size::MAX_PLAN_BYTES;
pub(crate) use size::expanded_bytes;
