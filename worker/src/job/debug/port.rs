//! The port through which users work in the container of a job.

use crate::engine::{DockerManager, Shell, TerminalSize};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use tidemill_core::execution::{assignment::Assignment, debug::HoldPoint, failure::FailureReason};
use tokio_util::sync::CancellationToken;

/// Decides which jobs of a worker are held, and lets a user work in their containers.
///
/// Contract of every implementation:
/// - `holds` is asked once for each point that a job reaches, and answers at once.
/// - `hold` may take as long as it likes: the lease is renewed meanwhile, and the job's timeout does not count. It ends soon after
///   `ended` of its job is cancelled.
pub trait Debugger: std::fmt::Debug + Send + Sync {
    /// Whether a job is held at `point`.
    fn holds(&self, assignment: &Assignment, point: HoldPoint) -> bool;

    /// Lets a user work in the container of a job. The job goes on when this returns.
    fn hold(&self, job: HeldJob) -> BoxFuture<'_, ()>;
}

/// A job whose container runs, and in which nothing of the job does.
#[derive(Debug, Clone)]
pub struct HeldJob {
    /// Its name.
    pub name: String,
    /// Where it is held.
    pub point: HoldPoint,
    /// Cancelled once its container has ended: it was canceled, or its lease is lost.
    pub ended: CancellationToken,
    pub(super) engine: Arc<DockerManager>,
    /// The id of its container.
    pub(super) container: String,
}

impl HeldJob {
    /// Opens a shell in its container, in its workspace, with its variables and secrets. `term` is the type of the user's
    /// terminal.
    pub async fn open_shell(&self, term: &str, size: TerminalSize) -> Result<Shell, FailureReason> {
        self.engine.open_shell(&self.container, self.point.job_status(), term, size).await
    }
}
