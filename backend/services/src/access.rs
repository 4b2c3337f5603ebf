//! Tokens, sessions, roles, callers, secrets and the audit log.

pub(crate) mod audit;
pub(crate) mod caller;
mod caller_cache;
pub(crate) mod id_tokens;
pub(crate) mod protections;
pub(crate) mod registries;
mod resealing;
pub(crate) mod roles;
pub(crate) mod secrets;
pub(crate) mod sessions;
pub(crate) mod sign_in;
pub(crate) mod tokens;
pub(crate) mod variables;
