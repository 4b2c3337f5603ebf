//! Registered repositories, and which sources a request may name.

mod credential;
mod github_app;
pub(crate) mod record;
mod rekey;
pub(crate) mod service;
pub(crate) mod source_policy;
