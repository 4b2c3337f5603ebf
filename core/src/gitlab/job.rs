//! Translates one job of a GitLab file, key by key.

mod artifacts;
mod cache;
mod checkout;
mod child_files;
mod context;
pub(crate) mod duration;
mod environment;
mod failures;
mod id_tokens;
pub(crate) mod matrix;
mod needs;
mod paths;
pub(crate) mod services;
mod translation;
mod trigger;
mod when;

pub(crate) use context::{FileContext, has_outputs};
pub(crate) use translation::{check_own_keys, translate};
