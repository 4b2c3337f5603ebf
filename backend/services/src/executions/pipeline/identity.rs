//! Identity of a run, from which its idempotency key is derived.

use crate::error::{Error, Result};
use serde::Serialize;
use tidemill_core::execution::{assignment::Source, facts::Facts};
use tidemill_core::ids::digest::json_digest;

/// Inputs of a run: all that its plan and its sources depend on, without requester and time.
#[derive(Debug, Serialize)]
pub(super) struct RunIdentity<'a> {
    /// The repository.
    pub repo: &'a str,
    /// The sources.
    pub source: &'a Source,
    /// Text of the pipeline file.
    pub pipeline: &'a str,
    /// Facts: trigger, branch, tag, commit, variables, and the paths that conditions read.
    pub facts: &'a Facts,
}

impl RunIdentity<'_> {
    /// Returns the digest of the inputs.
    ///
    /// # Errors
    /// The inputs cannot be serialized.
    pub fn digest(&self) -> Result<String> {
        digest(self)
    }
}

/// Returns the digest of the identity of a request.
///
/// # Errors
/// The value cannot be serialized.
pub(super) fn digest(value: &impl Serialize) -> Result<String> {
    json_digest(value).map_err(|error| Error::storage("deriving the key of a request", error))
}
