//! What identifies a run: its derived key.

use crate::error::{Error, Result};
use serde::Serialize;
use tidemill_core::execution::{assignment::Source, facts::Facts};
use tidemill_core::ids::digest::json_digest;

/// What identifies a run of the same thing: all that its plan and its sources depend on, without who asked, and when.
#[derive(Debug, Serialize)]
pub(super) struct RunIdentity<'a> {
    /// The repository.
    pub repo: &'a str,
    /// Where its sources are.
    pub source: &'a Source,
    /// The file's text.
    pub pipeline: &'a str,
    /// What is known of it: trigger, branch, tag, commit, the paths that decided something, variables.
    pub facts: &'a Facts,
}

impl RunIdentity<'_> {
    /// Its digest.
    ///
    /// # Errors
    /// It cannot be serialized.
    pub fn digest(&self) -> Result<String> {
        digest(self)
    }
}

/// The digest of what identifies a request.
///
/// # Errors
/// It cannot be serialized: then there is no digest, as another request's could be the same.
pub(super) fn digest(value: &impl Serialize) -> Result<String> {
    json_digest(value).map_err(|error| Error::storage("deriving the key of a request", error))
}
