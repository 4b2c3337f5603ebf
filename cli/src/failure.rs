//! Failures of commands, and their exit codes.

use crate::output::{printable, printable_lines};
use std::process::ExitCode;
use tidemill_core::plan::PlanError;
use tidemill_worker::{EngineFailure, WorkerError, client::ApiError};

/// Exit codes other than 0 for success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The pipeline failed.
    Failed = 1,
    /// Usage error or invalid file.
    Usage = 2,
    /// Engine, disk, network or internal error.
    System = 3,
    /// Canceled.
    Canceled = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The message for standard error; empty if everything was printed already.
    pub message: String,
    /// Why the server rejected a request, if its message needs more than the server knows.
    pub rejection: Option<Rejection>,
}

/// Why a server rejected a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The token is unknown, expired or revoked.
    UnknownToken,
    /// The token lacks a scope, or is for another repository.
    InsufficientToken,
    /// The disk of the data directory is full.
    NoSpace,
}

impl Failure {
    /// A pipeline that cannot be planned. `command`: the command that can try it as another event.
    pub fn of_plan(error: &PlanError, command: &str) -> Self {
        match error {
            PlanError::AllExcluded(_) => Self::usage(format!(
                "{error}; to try the file as for another event: tidemill {command} --event push (or pull_request, tag, schedule)"
            )),
            _ => Self::usage(error.to_string()),
        }
    }

    /// Creates a usage error, also for an invalid file.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into(), rejection: None }
    }

    /// Creates the usage error of a command that needs AWS support, which this build does not have.
    #[cfg(not(feature = "aws"))]
    pub fn without_aws(command: &str) -> Self {
        Self::usage(format!(
            "`{command}` needs AWS support, which this build does not include; build it with `make deploy-tools`, or \
             `cargo build --release -p tidemill-cli --features aws`"
        ))
    }

    /// Creates a system error.
    pub fn system(message: impl Into<String>) -> Self {
        Self { exit: Exit::System, message: message.into(), rejection: None }
    }

    /// Creates a failure whose message was printed already.
    pub const fn silent(exit: Exit) -> Self {
        Self { exit, message: String::new(), rejection: None }
    }
}

/// The result of a command.
pub type Outcome<T = ()> = Result<T, Failure>;

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Rejected { status: 400 | 404 | 409 | 413 | 422, message, .. } => {
                Self::usage(printable(&message))
            }
            ApiError::Rejected { status: 401, message, .. } => {
                Self { rejection: Some(Rejection::UnknownToken), ..Self::system(printable(&message)) }
            }
            ApiError::Rejected { status: 403, message, .. } => {
                Self { rejection: Some(Rejection::InsufficientToken), ..Self::system(printable(&message)) }
            }
            ApiError::Rejected { status: 507, .. } => {
                Self { rejection: Some(Rejection::NoSpace), ..Self::system(printable(&error.to_string())) }
            }
            ApiError::Settings(_)
            | ApiError::Redirected { .. }
            | ApiError::Address(_)
            | ApiError::InsecureHttp(_) => Self::usage(printable(&error.to_string())),
            other => Self::system(printable(&other.to_string())),
        }
    }
}

impl From<tidemill_services::Error> for Failure {
    fn from(error: tidemill_services::Error) -> Self {
        let rejection = matches!(error, tidemill_services::Error::DiskFull(_)).then_some(Rejection::NoSpace);
        Self { rejection, ..Self::system(printable_lines(&error.to_string())) }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        // The reader of the output closed the pipe.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::silent(Exit::System);
        }
        Self::system(error.to_string())
    }
}

impl From<WorkerError> for Failure {
    fn from(error: WorkerError) -> Self {
        let message = printable_lines(&error.to_string());
        match error {
            WorkerError::Engine { failure: EngineFailure::Address(_), .. } => Self::usage(message),
            _ => Self::system(message),
        }
    }
}
