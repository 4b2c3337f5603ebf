//! The auditor: sees every commit and every acknowledgement, and says what promise was broken.
//!
//! It decides nothing with the functions that it watches, but for the plan of a pipeline, from which it takes who needs whom.

mod acknowledgements;
mod commits;
mod known;
mod rules;
mod trigger_log;
mod triggers;
mod verdict;

pub use acknowledgements::Auditor;
