//! How containers end, as the engine says: its events tell the exit code long before it has cleaned up after a container,
//! which is what a request that waits for the end would wait for.

use super::{DockerManager, EngineError, LABEL_WORKER};
use crate::client::causes;
use bollard::{
    Docker,
    models::EventMessage,
    query_parameters::{EventsOptions, InspectContainerOptions},
};
use futures_util::StreamExt;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The pause before events are asked for again after they ended.
const RECONNECT_DELAY: Duration = Duration::from_millis(250);
/// How long the exit of a container whose output ended may take to become known before the engine is asked.
const EXIT_EVENT_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a container may go on whose output ended.
const MAX_EXIT_DELAY: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The exit code of a first process that the kernel killed.
const SIGKILL_EXIT_CODE: i64 = 137;

/// The end of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit code of its first process.
    pub code: i64,
    /// Whether the kernel killed something of it for its memory.
    pub out_of_memory: bool,
}

#[derive(Debug)]
struct WatchedContainer {
    exit: watch::Sender<Option<Exit>>,
    out_of_memory: bool,
}

/// The containers of one worker whose ends are awaited.
#[derive(Debug)]
pub(super) struct ExitRegistry {
    watched: Arc<Mutex<HashMap<String, WatchedContainer>>>,
    _following: DropGuard,
}

/// Awaits the end of one container.
#[derive(Debug)]
pub struct ExitWaiter {
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
    /// The end, once the engine told it.
    async fn exit(&mut self) -> Exit {
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
        let following = follow(docker, worker.to_owned(), watched.clone());
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = following => {}
            }
        });
        Self { watched, _following: stop.drop_guard() }
    }

    /// Awaits the end of a container, which is not started yet.
    pub(super) fn watch(&self, id: &str) -> ExitWaiter {
        let (sender, exit) = watch::channel(None);
        lock(&self.watched).insert(id.to_owned(), WatchedContainer { exit: sender, out_of_memory: false });
        ExitWaiter { id: id.to_owned(), exit, watched: self.watched.clone() }
    }
}

impl DockerManager {
    /// How a container ended; or, in words, that its end cannot be known. `output_over` is cancelled once its output ended.
    ///
    /// All processes of the container are gone by then, since the first of them takes the others with it.
    pub async fn exit(
        &self,
        watch: &mut ExitWaiter,
        output_over: &CancellationToken,
    ) -> Result<Exit, String> {
        let id = watch.id.clone();
        let told = async {
            tokio::select! {
                exit = watch.exit() => return Ok(exit),
                () = output_over.cancelled() => {}
            }
            tokio::select! {
                exit = watch.exit() => Ok(exit),
                asked = self.ask_exit(&id) => asked,
            }
        };
        let exit: Exit = told.await?;
        let known = exit.code == 0 || exit.out_of_memory;
        let out_of_memory = exit.out_of_memory || (!known && self.was_out_of_memory(&id, exit.code).await);
        Ok(Exit { out_of_memory, ..exit })
    }

    /// Asks for the end of a container whose output ended, of which no event came.
    async fn ask_exit(&self, id: &str) -> Result<Exit, String> {
        tokio::time::sleep(EXIT_EVENT_TIMEOUT).await;
        let asking = async {
            loop {
                match exit_of(&self.docker, id).await {
                    Ok(Some(exit)) => return Ok(exit),
                    Ok(None) => tokio::time::sleep(POLL_INTERVAL).await,
                    Err(error) => return Err(causes(&error)),
                }
            }
        };
        let asked = tokio::time::timeout(MAX_EXIT_DELAY, asking).await;
        asked.unwrap_or_else(|_| Err("its output ended".to_owned()))
    }

    /// Whether the kernel killed something of a container that is over, for its memory. The engine may note it a little after
    /// the end, where it was the first process. An engine that does not answer in time does not know.
    async fn was_out_of_memory(&self, id: &str, code: i64) -> bool {
        let known = async {
            for _ in 0..3 {
                match exit_of(&self.docker, id).await {
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
        tokio::time::timeout(super::EXIT_TIMEOUT, known).await.unwrap_or(false)
    }
}

/// The end of a container, if it is over.
async fn exit_of(docker: &Docker, id: &str) -> Result<Option<Exit>, EngineError> {
    let state =
        docker.inspect_container(id, None::<InspectContainerOptions>).await?.state.unwrap_or_default();
    Ok((state.running != Some(true)).then(|| Exit {
        code: state.exit_code.unwrap_or(-1),
        out_of_memory: state.oom_killed.unwrap_or(false),
    }))
}

async fn follow(docker: Docker, worker: String, watched: Arc<Mutex<HashMap<String, WatchedContainer>>>) {
    let filters = HashMap::from([
        ("type".to_owned(), vec!["container".to_owned()]),
        ("label".to_owned(), vec![format!("{LABEL_WORKER}={worker}")]),
    ]);
    loop {
        let options = EventsOptions { filters: Some(filters.clone()), ..Default::default() };
        let mut events = std::pin::pin!(docker.events(Some(options)));
        while let Some(Ok(event)) = events.next().await {
            note(&mut lock(&watched), event);
        }
        tokio::time::sleep(RECONNECT_DELAY).await;
        // What ended while no events came is found by who awaits it, as its output ended too.
    }
}

fn note(watched: &mut HashMap<String, WatchedContainer>, event: EventMessage) {
    let Some(actor) = event.actor else { return };
    let Some(watched) = actor.id.and_then(|id| watched.get_mut(&id)) else { return };
    match event.action.as_deref() {
        Some("oom") => watched.out_of_memory = true,
        Some("die") => {
            let attributes = actor.attributes.unwrap_or_default();
            // Docker's name for it, and Podman's.
            let code = attributes.get("exitCode").or_else(|| attributes.get("containerExitCode"));
            // Without a code it is asked for once the output ended.
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
    use super::{Exit, HashMap, WatchedContainer, note};
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
        for other in [event("start", None), event("die", None), event("die", Some("x"))] {
            note(&mut watched, other);
            assert_eq!(*exit.borrow(), None, "no code, no end");
        }
        note(&mut watched, event("oom", None));
        note(&mut watched, event("die", Some("137")));
        assert_eq!(*exit.borrow(), Some(Exit { code: 137, out_of_memory: true }));
    }
}
