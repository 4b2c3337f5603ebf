//! Selection of executions, watching them and printing logs.

mod candidates;
pub mod choices;
pub mod clean_up;
mod logs;
mod polling;
mod reference;
pub mod repository;
pub mod select;
pub mod shells;
pub mod watch;

pub use logs::{LogRequest, print_log, show_result};
