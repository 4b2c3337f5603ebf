//! What a job's script runs in: the port with an adapter for containers and one for plain processes.

use crate::{
    engine::{Exit, ExitError, Output, WorkspaceMount},
    job::{disk_watch::DiskWatch, dispatcher::Event},
};
use futures_util::future::BoxFuture;
use std::{fmt::Debug, path::Path, pin::Pin};
use tidemill_core::execution::failure::FailureReason;
use tokio::{io::AsyncWrite, sync::mpsc};
use tokio_util::sync::CancellationToken;

/// What a job's script runs in.
///
/// Its first process waits for the script on `input` and speaks the protocol of `engine/boot.sh`, whatever the adapter. Once the exit
/// is reported, nothing of the job runs any more.
pub trait Sandbox: Debug + Send + 'static {
    /// Takes what its first process reads and writes.
    fn take_streams(&mut self) -> Streams;

    /// Takes what waits for the exit of its first process; `None` if it was taken. `output_ended` is cancelled once its output ended.
    /// The error describes why the exit is unknown.
    fn take_exit(
        &mut self,
        output_ended: CancellationToken,
    ) -> Option<BoxFuture<'static, Result<Exit, ExitError>>>;

    /// Sends a signal to its first process, in the background: one that does not answer must not block the job.
    fn signal(&self, signal: ScriptSignal);

    /// Returns its workspace.
    fn workspace(&self) -> &WorkspaceMount;

    /// Returns the directory of the job's sources on this machine; `None` if it has none.
    fn sources(&self) -> Option<&Path>;

    /// Whether the sources in the workspace are still those that the job started with.
    fn has_sources(&self) -> bool;

    /// Returns where the job finds its files.
    fn directories(&self) -> JobDirectories;

    /// Starts to check its disk usage.
    fn watch_disk(&self, events: mpsc::UnboundedSender<Event>) -> DiskWatch;

    /// Returns what reports an end that the adapter may have caused.
    fn outage_report(&self) -> Box<dyn FnOnce() + Send>;

    /// Returns the reason of a job whose script did not end, given a description of what happened.
    fn death_failure(&self) -> fn(&str) -> FailureReason;
}

/// What the first process reads and writes.
#[derive(Default)]
pub struct Streams {
    /// Its stdin.
    pub input: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    /// Its stdout and stderr.
    pub output: Option<Output>,
}

/// A signal to the first process, as `engine/boot.sh` understands it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptSignal {
    /// Stop the script: the job fails.
    Stop,
    /// Stop the script: the job is canceled.
    StopCanceled,
    /// Stop the script, and run nothing after it.
    StopFinally,
    /// Kill the script.
    KillScript,
    /// Kill the `after_script`.
    KillAfterScript,
    /// Kill everything.
    Kill,
}

impl ScriptSignal {
    /// Returns the name of the signal.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "TERM",
            Self::StopCanceled => "USR1",
            Self::StopFinally => "QUIT",
            Self::KillScript => "USR2",
            Self::KillAfterScript => "HUP",
            Self::Kill => "KILL",
        }
    }
}

/// Where a job finds its files, as its script sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobDirectories {
    /// The directory of its sources.
    pub workspace: String,
    /// The directory of secrets that are files.
    pub secrets: String,
}
