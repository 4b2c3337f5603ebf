//! One function for each operation of the API: from HTTP to a service, and back.

pub mod artifacts;
mod audited;
pub mod environments;
pub mod executions;
mod expected;
pub mod insights;
pub mod jobs;
pub mod oidc;
pub mod pages;
pub mod registries;
pub mod repositories;
pub mod secrets;
pub mod server;
pub mod sources;
pub mod tokens;
pub mod workers;
