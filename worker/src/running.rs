//! A job while its container runs: its orders on their way in, its output on its way out, and its end from the engine.

use crate::{
    dispatch::Event,
    engine::{Container, DockerManager, ExitWatch},
    pump::Pump,
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
/// So many requests to be told that output was read can wait; an honest container makes one.
const MAX_PENDING_FLUSHES: usize = 64;

/// A job whose container has its orders.
pub struct Running {
    exit: Option<ExitWatch>,
    output_over: CancellationToken,
    /// The pump, once all output is with the reporter.
    pub drained: oneshot::Receiver<Pump>,
    /// Whether the script began.
    begun: Arc<AtomicBool>,
    /// Cancelled once the engine said that the container is over.
    pub ended: CancellationToken,
}

impl Running {
    /// Has the container run its orders.
    pub fn start(
        container: &mut Container,
        orders: String,
        pump: impl FnOnce(mpsc::Sender<()>) -> Pump,
    ) -> Self {
        let (flushed, mut wanted) = mpsc::channel::<()>(MAX_PENDING_FLUSHES);
        let input = container.input.take();
        // By a task of its own: a container that reads nothing must not hold the job.
        tokio::spawn(async move {
            let Some(mut input) = input else { return };
            let mut written = input.write_all(orders.as_bytes()).await.is_ok() && input.flush().await.is_ok();
            while written && wanted.recv().await.is_some() {
                written = input.write_all(b"\n").await.is_ok() && input.flush().await.is_ok();
            }
        });
        let output_over = CancellationToken::new();
        let (drained, pumped) = oneshot::channel();
        let begun = Arc::new(AtomicBool::new(false));
        if let Some(output) = container.output.take() {
            let (pump, over) = (pump(flushed), output_over.clone().drop_guard());
            let begun = begun.clone();
            let pumping = async move {
                let pump = pump.run(output, &begun).await;
                drop(over);
                drop(drained.send(pump));
            };
            tokio::spawn(pumping.in_current_span());
        }
        let ended = CancellationToken::new();
        Self { exit: container.exit.take(), output_over, drained: pumped, begun, ended }
    }

    /// Tells `events` how the container ends, as the engine says.
    pub fn end(
        &mut self,
        engine: Arc<DockerManager>,
        events: mpsc::UnboundedSender<Event>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (exit, over) = (self.exit.take(), self.output_over.clone());
        let (begun, ended) = (self.begun.clone(), self.ended.clone());
        async move {
            let Some(mut exit) = exit else { return };
            let known = engine.exit(&mut exit, &over).await;
            let event = match known {
                Ok(exit) => {
                    ended.cancel();
                    // What it printed last is under way still.
                    drop(tokio::time::timeout(MAX_OUTPUT_DELAY, over.cancelled()).await);
                    if begun.load(Ordering::Acquire) {
                        let exit_code = i32::try_from(exit.code).unwrap_or(-1);
                        Event::ScriptEnded { exit_code, out_of_memory: exit.out_of_memory }
                    } else {
                        let words =
                            format!("its first process exited with {} before the script began", exit.code);
                        Event::ContainerDied { words, out_of_memory: exit.out_of_memory }
                    }
                }
                Err(words) => Event::ContainerDied { words, out_of_memory: false },
            };
            if matches!(event, Event::ContainerDied { .. }) {
                engine.doubt();
            }
            drop(events.send(event));
        }
    }
}
