//! Commit statuses, and notifications: what is reported about an execution, to whom, when, and in which format.

pub mod commit_status;
pub mod content;
pub mod error_lines;
pub mod format;
pub mod message;
pub mod quiet_hours;
pub mod receiver;
