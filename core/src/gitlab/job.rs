//! One job of a GitLab file, and the keys that it has.

mod artifacts;
mod context;
mod duration;
mod failures;
pub(crate) mod matrix;
mod needs;
pub(crate) mod services;
mod translate;
mod when;

pub(crate) use context::FileContext;
pub(crate) use translate::{NativeJob, translate};
