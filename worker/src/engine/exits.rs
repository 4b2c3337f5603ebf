//! Exit codes of containers, from the engine's event stream.
//!
//! An event carries the exit code long before the engine has cleaned up after the container, which is what its wait request
//! waits for.

use super::labels::LABEL_WORKER;
use crate::client::format_causes;
use bollard::{
    Docker,
    errors::Error as EngineError,
    models::EventMessage,
    query_parameters::{EventsOptions, InspectContainerOptions},
};
use futures_util::StreamExt;
use std::{
    collections::HashMap,
    io,
    process::ExitStatus,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The pause before reconnecting to the event stream after it ended.
const RECONNECT_DELAY: Duration = Duration::from_millis(250);
/// How long the exit event may take after a container's output ended; after that, the container is inspected.
const EXIT_EVENT_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a container may keep running after its output ended.
const MAX_EXIT_DELAY: Duration = Duration::from_secs(5);
/// How long the engine may take to record that a container ended.
pub(super) const EXIT_TIMEOUT: Duration = Duration::from_secs(3);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The exit code of a first process that the kernel killed with SIGKILL.
const SIGKILL_EXIT_CODE: i64 = 137;

/// The exit of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit code of its first process.
    pub code: i64,
    /// Whether the kernel killed one of its processes for using too much memory.
    pub out_of_memory: bool,
}

/// Why the exit of a job's first process is not known.
#[derive(Debug, thiserror::Error)]
pub enum ExitError {
    /// The engine does not tell; the text names the causes.
    #[error("{0}")]
    Engine(String),
    /// Its output ended, and it has not.
    #[error("its output ended")]
    OutputEnded,
    /// The process that runs the job was killed.
    #[error("its supervisor was killed: {0}")]
    SupervisorKilled(ExitStatus),
    /// This machine does not tell.
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(Debug)]
struct WatchedContainer {
    exit: watch::Sender<Option<Exit>>,
    out_of_memory: bool,
}

/// The containers of one worker whose exits are awaited.
#[derive(Debug)]
pub(super) struct ExitRegistry {
    docker: Docker,
    watched: Arc<Mutex<HashMap<String, WatchedContainer>>>,
    _following: DropGuard,
}

/// Awaits the exit of one container.
#[derive(Debug)]
pub struct ExitWaiter {
    docker: Docker,
    id: String,
    exit: watch::Receiver<Option<Exit>>,
    watched: Arc<Mutex<HashMap<String, WatchedContainer>>>,
}

impl Drop for ExitWaiter {
    fn drop(&mut self) {
        lock(&self.watched).remove(&self.id);
    }
}

impl ExitWaiter {
    /// Waits for the container's exit. `output_ended` is cancelled once its output ended. Fails if the exit cannot be
    /// determined.
    ///
    /// All processes of the container are gone by then, since they end with its first process.
    pub async fn wait(&mut self, output_ended: &CancellationToken) -> Result<Exit, ExitError> {
        let (docker, id) = (self.docker.clone(), self.id.clone());
        let exit = async {
            tokio::select! {
                exit = self.event() => return Ok(exit),
                () = output_ended.cancelled() => {}
            }
            tokio::select! {
                exit = self.event() => Ok(exit),
                polled = poll_exit(&docker, &id) => polled,
            }
        };
        let exit: Exit = exit.await?;
        let is_certain = exit.code == 0 || exit.out_of_memory;
        let out_of_memory =
            exit.out_of_memory || (!is_certain && was_out_of_memory(&docker, &id, exit.code).await);
        Ok(Exit { out_of_memory, ..exit })
    }

    /// Waits for the exit event.
    async fn event(&mut self) -> Exit {
        match self.exit.wait_for(Option::is_some).await.ok().and_then(|exit| *exit) {
            Some(exit) => exit,
            None => std::future::pending().await,
        }
    }
}

impl ExitRegistry {
    /// Follows the events of this worker's containers until it is dropped.
    pub(super) fn follow(docker: Docker, worker: &str) -> Self {
        let watched = Arc::new(Mutex::new(HashMap::new()));
        let stop = CancellationToken::new();
        let following = follow(docker.clone(), worker.to_owned(), watched.clone());
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = following => {}
            }
        });
        Self { docker, watched, _following: stop.drop_guard() }
    }

    /// Starts to watch a container, which is not started yet.
    pub(super) fn watch(&self, id: &str) -> ExitWaiter {
        let (sender, exit) = watch::channel(None);
        lock(&self.watched).insert(id.to_owned(), WatchedContainer { exit: sender, out_of_memory: false });
        ExitWaiter { docker: self.docker.clone(), id: id.to_owned(), exit, watched: self.watched.clone() }
    }
}

/// Polls for the exit of a container whose output ended without an exit event.
async fn poll_exit(docker: &Docker, id: &str) -> Result<Exit, ExitError> {
    tokio::time::sleep(EXIT_EVENT_TIMEOUT).await;
    let polling = async {
        loop {
            match exit_of(docker, id).await {
                Ok(Some(exit)) => return Ok(exit),
                Ok(None) => tokio::time::sleep(POLL_INTERVAL).await,
                Err(error) => return Err(ExitError::Engine(format_causes(&error))),
            }
        }
    };
    let polled = tokio::time::timeout(MAX_EXIT_DELAY, polling).await;
    polled.unwrap_or(Err(ExitError::OutputEnded))
}

/// Whether the kernel killed a process of an exited container for using too much memory. The engine may record it a little
/// after the exit if it was the first process. Returns `false` if the engine does not answer in time.
async fn was_out_of_memory(docker: &Docker, id: &str, code: i64) -> bool {
    let recorded = async {
        for _ in 0..3 {
            match exit_of(docker, id).await {
                Ok(Some(exit)) if !exit.out_of_memory && code == SIGKILL_EXIT_CODE => {
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
                Ok(Some(exit)) => return exit.out_of_memory,
                Ok(None) => tokio::time::sleep(POLL_INTERVAL).await,
                Err(_) => return false,
            }
        }
        false
    };
    tokio::time::timeout(EXIT_TIMEOUT, recorded).await.unwrap_or(false)
}

/// Returns the exit of a container, or `None` while it runs.
async fn exit_of(docker: &Docker, id: &str) -> Result<Option<Exit>, EngineError> {
    let state =
        docker.inspect_container(id, None::<InspectContainerOptions>).await?.state.unwrap_or_default();
    Ok((state.running != Some(true)).then(|| Exit {
        code: state.exit_code.unwrap_or(-1),
        out_of_memory: state.oom_killed.unwrap_or(false),
    }))
}

/// Follows the event stream, reconnecting whenever it ends.
async fn follow(docker: Docker, worker: String, watched: Arc<Mutex<HashMap<String, WatchedContainer>>>) {
    let filters = HashMap::from([
        ("type".to_owned(), vec!["container".to_owned()]),
        ("label".to_owned(), vec![format!("{LABEL_WORKER}={worker}")]),
    ]);
    loop {
        let options = EventsOptions { filters: Some(filters.clone()), ..Default::default() };
        let mut events = std::pin::pin!(docker.events(Some(options)));
        while let Some(Ok(event)) = events.next().await {
            apply_event(&mut lock(&watched), event);
        }
        tokio::time::sleep(RECONNECT_DELAY).await;
        // A container that exits meanwhile is found by its waiter, since its output ends too.
    }
}

/// Applies an event of the engine to the watched containers.
fn apply_event(watched: &mut HashMap<String, WatchedContainer>, event: EventMessage) {
    let Some(actor) = event.actor else { return };
    let Some(watched) = actor.id.and_then(|id| watched.get_mut(&id)) else { return };
    match event.action.as_deref() {
        Some("oom") => watched.out_of_memory = true,
        Some("die") => {
            let attributes = actor.attributes.unwrap_or_default();
            // The attribute's name in Docker, and in Podman.
            let code = attributes.get("exitCode").or_else(|| attributes.get("containerExitCode"));
            // Without a code, the waiter inspects the container once its output ended.
            if let Some(code) = code.and_then(|code| code.parse().ok()) {
                watched.exit.send_replace(Some(Exit { code, out_of_memory: watched.out_of_memory }));
            }
        }
        _ => {}
    }
}

fn lock(
    watched: &Mutex<HashMap<String, WatchedContainer>>,
) -> MutexGuard<'_, HashMap<String, WatchedContainer>> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Exit, HashMap, WatchedContainer, apply_event};
    use bollard::models::{EventActor, EventMessage};
    use tokio::sync::watch;

    fn event(action: &str, code: Option<&str>) -> EventMessage {
        let attributes = code.map(|code| HashMap::from([("exitCode".to_owned(), code.to_owned())]));
        let actor = Some(EventActor { id: Some("one".into()), attributes });
        EventMessage { action: Some(action.into()), actor, ..Default::default() }
    }

    #[test]
    fn exit_event_carries_earlier_oom() {
        let (sender, exit) = watch::channel(None);
        let mut watched =
            HashMap::from([("one".to_owned(), WatchedContainer { exit: sender, out_of_memory: false })]);
        for incomplete in [event("start", None), event("die", None), event("die", Some("x"))] {
            apply_event(&mut watched, incomplete);
            assert_eq!(*exit.borrow(), None, "an event without a code is no exit");
        }
        apply_event(&mut watched, event("oom", None));
        apply_event(&mut watched, event("die", Some("137")));
        assert_eq!(*exit.borrow(), Some(Exit { code: 137, out_of_memory: true }));
    }
}
