//! Selection of executions, watching them and printing logs.

pub mod choices;
mod logs;
mod polling;
pub mod repository;
pub mod select;
pub mod watch;

pub use logs::{LogRequest, print_log, show_end, show_failures};
