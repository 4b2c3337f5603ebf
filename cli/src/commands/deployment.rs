//! Commands that create and delete deployments on AWS.

pub mod deploy;
pub mod destroy;
