//! Tokens, callers, secrets and the audit log.

pub(crate) mod audit;
pub(crate) mod caller;
pub(crate) mod id_tokens;
pub(crate) mod registries;
mod resealing;
pub(crate) mod secrets;
pub(crate) mod tokens;
pub(crate) mod variables;
