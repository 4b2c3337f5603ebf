//! Commands that administer a deployment.

pub mod audit;
pub mod badge;
mod credential;
pub mod dead_letters;
mod deliveries;
pub mod login;
pub mod registry;
pub mod repo;
pub mod secret;
pub mod token;
pub mod variable;
pub mod workers;
