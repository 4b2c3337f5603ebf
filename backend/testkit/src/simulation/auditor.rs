//! The auditor observes every commit and every acknowledgement, and reports broken promises.
//!
//! It does not use the functions that it checks, except for a pipeline's plan, from which it takes the dependencies.

mod acknowledgements;
mod commits;
mod known;
mod rules;
mod trigger_log;
mod triggers;
mod verdict;

pub use acknowledgements::Auditor;
