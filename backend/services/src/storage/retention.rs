//! Retention: removes executions and what they stored, by the rules of the server and of repositories.

mod facts;
mod pass;
mod pins;
pub(crate) mod policy;
pub(crate) mod references;
mod removal;
pub(crate) mod service;
pub(crate) mod usage;
