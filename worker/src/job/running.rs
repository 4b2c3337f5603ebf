//! A script in its container: its text on the way in, its output on the way out, and its exit from the engine.

use super::dispatch::Event;
use crate::{
    engine::{Container, DockerManager, ExitWaiter},
    log::pump::OutputPipe,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    sync::{mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// How long the last output of a container may take to arrive after its end.
const MAX_OUTPUT_DELAY: Duration = Duration::from_secs(3);
/// Pending requests to confirm that output was read; an honest container makes one.
const MAX_PENDING_FLUSHES: usize = 64;

/// A script that was handed to its container.
pub struct RunningScript {
    exit: Option<ExitWaiter>,
    output_ended: CancellationToken,
    /// The pump, once all output is with the reporter.
    pub output: oneshot::Receiver<OutputPipe>,
    /// Whether the script began.
    begun: Arc<AtomicBool>,
    /// Cancelled once the engine says that the container is over.
    pub container_ended: CancellationToken,
}

impl RunningScript {
    /// Writes `text` to the container, and moves its output with `pump`.
    pub fn start(
        container: &mut Container,
        text: String,
        pump: impl FnOnce(mpsc::Sender<()>) -> OutputPipe,
    ) -> Self {
        let (flushed, mut flushes) = mpsc::channel::<()>(MAX_PENDING_FLUSHES);
        let input = container.input.take();
        // In a task: a container that reads nothing must not hold the job.
        tokio::spawn(async move {
            let Some(mut input) = input else { return };
            let mut written = input.write_all(text.as_bytes()).await.is_ok() && input.flush().await.is_ok();
            while written && flushes.recv().await.is_some() {
                written = input.write_all(b"\n").await.is_ok() && input.flush().await.is_ok();
            }
        });
        let output_ended = CancellationToken::new();
        let (pumped, output) = oneshot::channel();
        let begun = Arc::new(AtomicBool::new(false));
        if let Some(stream) = container.output.take() {
            let (pump, ended) = (pump(flushed), output_ended.clone().drop_guard());
            let begun = begun.clone();
            let pumping = async move {
                let pump = pump.run(stream, &begun).await;
                drop(ended);
                drop(pumped.send(pump));
            };
            tokio::spawn(pumping.in_current_span());
        }
        let container_ended = CancellationToken::new();
        Self { exit: container.exit.take(), output_ended, output, begun, container_ended }
    }

    /// Waits for the container's exit, and sends it to `events`.
    pub fn watch_exit(
        &mut self,
        engine: Arc<DockerManager>,
        events: mpsc::UnboundedSender<Event>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (exit, output_ended) = (self.exit.take(), self.output_ended.clone());
        let (begun, container_ended) = (self.begun.clone(), self.container_ended.clone());
        async move {
            let Some(mut exit) = exit else { return };
            let event = match engine.exit(&mut exit, &output_ended).await {
                Ok(exit) => {
                    container_ended.cancel();
                    // Its last output is still on the way.
                    drop(tokio::time::timeout(MAX_OUTPUT_DELAY, output_ended.cancelled()).await);
                    if begun.load(Ordering::Acquire) {
                        let exit_code = i32::try_from(exit.code).unwrap_or(-1);
                        Event::ScriptEnded { exit_code, out_of_memory: exit.out_of_memory }
                    } else {
                        let cause =
                            format!("its first process exited with {} before the script began", exit.code);
                        Event::ContainerDied { cause, out_of_memory: exit.out_of_memory }
                    }
                }
                Err(cause) => Event::ContainerDied { cause, out_of_memory: false },
            };
            if matches!(event, Event::ContainerDied { .. }) {
                engine.doubt();
            }
            drop(events.send(event));
        }
    }
}
