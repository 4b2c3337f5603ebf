//! The port through which users work in the container of a job.

use crate::{
    engine::{DockerManager, Shell},
    job::{reporter::Reporter, services::ServiceAddress},
};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use tidemill_core::execution::{
    assignment::Assignment,
    debug::{HoldPoint, ShellRequest, TerminalSize},
    failure::FailureReason,
};
use tokio_util::sync::CancellationToken;

/// Decides which jobs of a worker are held, and lets a user work in their containers.
///
/// Contract of every implementation:
/// - `holds` is asked once for each point that a job reaches, and answers at once.
/// - `hold` may take as long as it likes: the lease is renewed meanwhile, and the job's timeout does not count. It ends soon after
///   `ended` of its job is cancelled.
pub trait Debugger: std::fmt::Debug + Send + Sync {
    /// Whether a job is held at `point`. `request`: the shell that a user of the server asks for.
    fn holds(&self, assignment: &Assignment, point: HoldPoint, request: Option<ShellRequest>) -> bool;

    /// Lets a user work in the container of a job. The job goes on when this returns; at [`HoldPoint::DuringScript`] it does so
    /// meanwhile.
    fn hold(&self, job: HeldJob) -> BoxFuture<'_, ()>;
}

/// A job whose container runs.
#[derive(Debug, Clone)]
pub struct HeldJob {
    /// Its name.
    pub name: String,
    /// Where it is held.
    pub point: HoldPoint,
    /// Cancelled once its container has ended, as it was canceled or its lease is lost, and when the job is to go on.
    pub ended: CancellationToken,
    /// The shell that a user of the server asks for.
    pub(super) request: Option<ShellRequest>,
    pub(super) reporter: Reporter,
    pub(super) engine: Arc<DockerManager>,
    /// The id of its container.
    pub(super) container: String,
    /// The directory in which its script starts.
    pub(super) directory: String,
    /// The services that its container reaches.
    pub(super) services: Vec<ServiceAddress>,
}

impl HeldJob {
    /// Returns a line that says where the user is.
    pub fn introduction(&self) -> String {
        let name = &self.name;
        match self.point {
            HoldPoint::BeforeScript => {
                format!("{name}: a shell before the script; `exit` starts the script")
            }
            HoldPoint::DuringScript => {
                format!("{name}: a shell beside the running script, with whose end it ends")
            }
            HoldPoint::AfterScript { exit_code, was_stopped } => {
                let end = if was_stopped {
                    "was stopped".to_owned()
                } else {
                    format!("ended with exit code {exit_code}")
                };
                format!("{name}: the script {end}; a shell in its container; `exit` goes on")
            }
        }
    }

    /// Opens a shell in its container, in its workspace, with its variables and secrets. `term` is the type of the user's
    /// terminal.
    pub async fn open_shell(&self, term: &str, size: TerminalSize) -> Result<Shell, FailureReason> {
        self.engine.open_shell(&self.container, self.point.job_status(), term, size).await
    }
}
