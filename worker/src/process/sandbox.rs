//! The processes of one job: the adapter of the port that runs scripts.

use super::{
    cgroup::JobCgroup,
    directory::JobDirectory,
    environment::MARKER,
    processes::{kill_all_of, with_variable},
};
use crate::{
    engine::{Exit, ExitError, Output, WorkspaceMount},
    job::{DiskWatch, Event, JobDirectories, JobDisk, Sandbox, ScriptSignal, Streams, directory_bytes},
    policy::Limits,
    source::Tree,
};
use bollard::container::LogOutput;
use futures_util::{StreamExt, future::BoxFuture, stream::unfold};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tidemill_core::execution::failure::{FailureKind, FailureReason};
use tokio::{
    io::AsyncWrite,
    process::{Child, ChildStdin, ChildStdout},
    sync::mpsc,
};
use tokio_util::{io::ReaderStream, sync::CancellationToken};

/// How long the supervisor may take to end the processes of its job, before it is killed itself.
const MAX_END_TIME: Duration = Duration::from_millis(2_500);

/// How long nothing may come from the output after the supervisor has exited, and how long it may last then at all.
const MAX_OUTPUT_PAUSE: Duration = Duration::from_secs(1);
const MAX_LATE_OUTPUT: Duration = Duration::from_secs(60);
/// How long the worker itself tries to end the processes of a job whose supervisor is gone.
const MAX_LEFTOVER_TIME: Duration = Duration::from_secs(2);
/// Time between two attempts.
const LEFTOVER_INTERVAL: Duration = Duration::from_millis(20);

/// The processes of a job, below their supervisor. They end when this is dropped, and their files are removed then.
#[derive(Debug)]
pub struct JobProcess {
    child: Option<Child>,
    input: Option<ChildStdin>,
    output: Option<ChildStdout>,
    /// Cancelled once the supervisor has exited.
    exited: CancellationToken,
    tree: ProcessTree,
    directory: Arc<JobDirectory>,
    workspace: WorkspaceMount,
    sources: Option<Tree>,
    limits: Limits,
}

/// What ends the processes of a job.
#[derive(Debug, Clone)]
struct ProcessTree {
    /// The supervisor, until its exit was seen: its number may then be another process's.
    supervisor: Arc<Mutex<Option<Pid>>>,
    cgroup: Option<Arc<JobCgroup>>,
    marker: Arc<str>,
}

impl ProcessTree {
    fn supervisor(&self) -> MutexGuard<'_, Option<Pid>> {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a signal to the supervisor, if it runs.
    fn signal(&self, signal: Signal) {
        let supervisor = self.supervisor();
        if let Some(pid) = *supervisor
            && let Err(error) = kill_process(pid, signal)
        {
            tracing::debug!(%error, ?signal, "the supervisor of a job could not be signaled");
        }
    }

    /// Ends what a supervisor left that was killed, until none is left or some time has passed.
    fn kill_leftovers(&self) {
        let start = Instant::now();
        loop {
            if let Some(cgroup) = &self.cgroup {
                cgroup.kill();
            }
            let is_own = |value: &str| value == &*self.marker;
            if !kill_all_of(|| with_variable(MARKER, is_own)) || start.elapsed() > MAX_LEFTOVER_TIME {
                return;
            }
            std::thread::sleep(LEFTOVER_INTERVAL);
        }
    }
}

impl JobProcess {
    /// Takes over a supervisor that waits for the script of its job.
    pub(super) fn new(
        mut child: Child,
        input: ChildStdin,
        (cgroup, marker): (Option<JobCgroup>, String),
        directory: Arc<JobDirectory>,
        workspace: WorkspaceMount,
        (sources, limits): (Option<Tree>, Limits),
    ) -> Self {
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let tree = ProcessTree {
            supervisor: Arc::new(Mutex::new(pid)),
            cgroup: cgroup.map(Arc::new),
            marker: marker.into(),
        };
        let output = child.stdout.take();
        Self {
            child: Some(child),
            input: Some(input),
            output,
            exited: CancellationToken::new(),
            tree,
            directory,
            workspace,
            sources,
            limits,
        }
    }
}

impl Sandbox for JobProcess {
    fn take_streams(&mut self) -> Streams {
        let exited = self.exited.clone();
        let output = self.output.take().map(|output| until_exit(ReaderStream::new(output), exited));
        let input = self.input.take().map(|input| -> Pin<Box<dyn AsyncWrite + Send>> { Box::pin(input) });
        Streams { input, output }
    }

    fn take_exit(&mut self, _: CancellationToken) -> Option<BoxFuture<'static, Result<Exit, ExitError>>> {
        let mut child = self.child.take()?;
        let exited = self.exited.clone().drop_guard();
        // The files stay until nothing uses them.
        let (tree, directory) = (self.tree.clone(), self.directory.clone());
        Some(Box::pin(async move {
            let ended = child.wait().await;
            drop(exited);
            *tree.supervisor() = None;
            let status = ended?;
            let out_of_memory = tree.cgroup.as_ref().is_some_and(|cgroup| cgroup.was_out_of_memory());
            let exit = if let Some(code) = status.code() {
                Ok(Exit { code: code.into(), out_of_memory: out_of_memory && code != 0 })
            } else {
                let leftovers = tree.clone();
                drop(tokio::task::spawn_blocking(move || leftovers.kill_leftovers()).await);
                Err(ExitError::SupervisorKilled(status))
            };
            drop(directory);
            exit
        }))
    }

    fn signal(&self, signal: ScriptSignal) {
        let sent = match signal {
            ScriptSignal::Stop => Signal::TERM,
            ScriptSignal::StopCanceled => Signal::USR1,
            ScriptSignal::StopFinally => Signal::QUIT,
            ScriptSignal::KillScript => Signal::USR2,
            ScriptSignal::KillAfterScript => Signal::HUP,
            // The supervisor ends all others first.
            ScriptSignal::Kill => Signal::INT,
        };
        self.tree.signal(sent);
        if signal == ScriptSignal::Kill {
            let tree = self.tree.clone();
            tokio::spawn(async move {
                tokio::time::sleep(MAX_END_TIME).await;
                tree.signal(Signal::KILL);
            });
        }
    }

    fn workspace(&self) -> &WorkspaceMount {
        &self.workspace
    }

    fn sources(&self) -> Option<&Path> {
        self.sources.as_ref().map(|tree| tree.path.as_path())
    }

    fn has_sources(&self) -> bool {
        true
    }

    fn directories(&self) -> JobDirectories {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        JobDirectories {
            workspace: text(self.directory.workspace()),
            secrets: text(self.directory.run().join("secrets")),
        }
    }

    fn watch_disk(&self, events: mpsc::UnboundedSender<Event>) -> DiskWatch {
        DiskWatch::start(DirectoryDisk(self.directory.path().to_owned()), self.limits.clone(), events)
    }

    fn outage_report(&self) -> Box<dyn FnOnce() + Send> {
        Box::new(|| {})
    }

    fn death_failure(&self) -> fn(&str) -> FailureReason {
        |cause| {
            let message = format!("the processes of the job ended before its script did ({cause})");
            FailureReason::new(FailureKind::WorkerFailed, message)
        }
    }
}

/// Returns the output of a job until it ends, or, once its supervisor has exited, until nothing comes for a while: a process that is not
/// the job's may keep the pipe open, such as a service that the job passed it to.
fn until_exit(chunks: ReaderStream<ChildStdout>, exited: CancellationToken) -> Output {
    let next = |(mut chunks, exited, mut end): (
        ReaderStream<ChildStdout>,
        CancellationToken,
        Option<Instant>,
    )| async move {
        if exited.is_cancelled()
            && *end.get_or_insert_with(|| Instant::now() + MAX_LATE_OUTPUT) < Instant::now()
        {
            return None;
        }
        let idle = async {
            exited.cancelled().await;
            tokio::time::sleep(MAX_OUTPUT_PAUSE).await;
        };
        let chunk = tokio::select! {
            biased;
            chunk = chunks.next() => chunk?.ok()?,
            () = idle => return None,
        };
        Some((Ok(LogOutput::Console { message: chunk }), (chunks, exited, end)))
    };
    Box::pin(unfold((chunks, exited, None), next))
}

/// The disk with the directory of a job.
#[derive(Debug)]
struct DirectoryDisk(PathBuf);

impl JobDisk for DirectoryDisk {
    async fn disks(&self) -> Vec<PathBuf> {
        vec![self.0.clone()]
    }

    async fn used(&self, max: u64) -> u64 {
        directory_bytes(self.0.clone(), max).await
    }
}
