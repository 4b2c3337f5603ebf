//! Commands that administer a deployment.

pub mod audit;
pub mod badge;
mod browser_login;
mod credential;
pub mod dead_letters;
mod deliveries;
pub mod export;
pub mod login;
pub mod registry;
pub mod repo;
pub mod roles;
pub mod secret;
pub mod sessions;
pub mod token;
pub mod variable;
pub mod workers;
