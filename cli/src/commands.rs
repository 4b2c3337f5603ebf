//! One file for each command that is more than a few lines.

pub mod artifacts;
pub mod audit;
pub mod check;
pub mod cost;
pub mod dead_letters;
#[cfg(feature = "deploy")]
pub mod deploy;
#[cfg(feature = "deploy")]
pub mod destroy;
pub mod import;
pub mod init;
pub mod login;
pub mod plan;
pub mod records;
pub mod repo;
pub mod report;
pub mod run;
pub mod secret;
pub mod server;
pub mod token;
