//! An operation of the API: its path, who may call it, and what it touches of a repository.

use tidemill_core::access::Scope::{self, Admin, Read, Run, Worker};

/// The scopes an operation accepts; a token needs one of them.
pub type AcceptedScopes = &'static [Scope];

/// No token required. Such an operation must authenticate callers by other means, or return nothing confidential.
pub const NO_TOKEN: AcceptedScopes = &[];
/// Scopes to read.
pub const READ_SCOPES: AcceptedScopes = &[Read, Run, Admin];
/// Scopes to start and change executions.
pub const RUN_SCOPES: AcceptedScopes = &[Run, Admin];
/// Scopes to run jobs.
pub const WORKER_SCOPES: AcceptedScopes = &[Worker, Admin];
/// Scopes to download artifacts, as a reader or as a worker.
pub const DOWNLOAD_SCOPES: AcceptedScopes = &[Read, Run, Worker, Admin];
/// Scopes to administer the deployment.
pub const ADMIN_SCOPES: AcceptedScopes = &[Admin];

/// How an operation limits a token of one repository to that repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within {
    /// The path names an execution, a job or an artifact; one of another repository is reported as missing (404).
    Path,
    /// The handler checks: it returns 403, or omits items of other repositories.
    Itself,
    /// The operation concerns no repository; any token may call it.
    None,
    /// The operation concerns the whole deployment; a token of one repository may not call it (403).
    Forbidden,
}

/// An operation of the API.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// HTTP method, in upper case.
    pub method: &'static str,
    /// Path, with parameters in braces.
    pub path: &'static str,
    /// Accepted scopes.
    pub need: AcceptedScopes,
    /// How a token of one repository is limited to it.
    pub within: Within,
}
