//! Commands that work on pipeline files.

pub mod check;
pub mod import;
pub mod init;
pub mod plan;
mod sarif;
