//! A script in its sandbox: its input, its output, and the exit of its first process.

mod container;
mod sandbox;

pub use sandbox::{JobDirectories, Sandbox, ScriptSignal, Streams};

use super::{debug::Holder, dispatcher::Event, script::ScriptText};
use crate::{
    engine::{Exit, ExitError},
    log::output_pipe::{OutputPipe, PipeEvents, ScriptProgress},
};
use futures_util::future::BoxFuture;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tidemill_core::execution::debug::HoldPoint;
use tokio::{
    io::AsyncWriteExt,
    sync::{mpsc, oneshot},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;

/// How long the last output may take to arrive after the exit.
const MAX_OUTPUT_DELAY: Duration = Duration::from_secs(3);
/// Pending requests to confirm that output was read; a sandbox that follows the protocol sends one.
const MAX_PENDING_FLUSHES: usize = 64;

/// A script that is running in its sandbox.
pub struct RunningScript {
    exit: Option<BoxFuture<'static, Result<Exit, ExitError>>>,
    report_outage: Box<dyn FnOnce() + Send>,
    output_ended: CancellationToken,
    /// Receives the output pipe once the reporter has all output.
    pub output: oneshot::Receiver<OutputPipe>,
    progress: Arc<ScriptProgress>,
    /// Cancelled once the exit is known, and so the end of all processes.
    pub has_exited: CancellationToken,
    /// Ends shells when this is dropped.
    _shells: DropGuard,
}

impl RunningScript {
    /// Writes `text` to the sandbox, and forwards its output through the pipe that `create_pipe` returns. The pipe sends
    /// to `events`. Before the script starts, and once it has ended, `holder` may hold it.
    pub fn start(
        sandbox: &mut impl Sandbox,
        (text, holder): (ScriptText, Option<Holder>),
        events: mpsc::UnboundedSender<Event>,
        create_pipe: impl FnOnce(PipeEvents) -> OutputPipe,
    ) -> Self {
        let (flushed, mut flushes) = mpsc::channel::<HoldPoint>(MAX_PENDING_FLUSHES);
        let Streams { input, output: stream } = sandbox.take_streams();
        let has_exited = CancellationToken::new();
        // Also cancelled when nobody waits for the script any longer.
        let ended = has_exited.child_token();
        let shells = ended.clone().drop_guard();
        let holder = holder.map(Arc::new);
        if let Some(holder) = holder.clone() {
            let ended = ended.clone();
            tokio::spawn(async move { holder.open_shells(&ended).await }.in_current_span());
        }
        // In a task, so that a process that reads nothing cannot block the job.
        tokio::spawn(async move {
            let Some(mut input) = input else { return };
            let mut next = Some((HoldPoint::BeforeScript, text.script.as_bytes()));
            let mut written = input.write_all(text.environment.as_bytes()).await.is_ok();
            while let Some((point, bytes)) = next.filter(|_| written) {
                if let Some(holder) = &holder {
                    written = input.flush().await.is_ok();
                    holder.hold_at(point, &ended).await;
                }
                written = written && input.write_all(bytes).await.is_ok() && input.flush().await.is_ok();
                next = flushes.recv().await.map(|point| (point, b"\n".as_slice()));
            }
        });
        let output_ended = CancellationToken::new();
        let (output_sender, output) = oneshot::channel();
        let progress = Arc::new(ScriptProgress::default());
        if let Some(stream) = stream {
            let (pipe, ended) =
                (create_pipe(PipeEvents { flushed, events }), output_ended.clone().drop_guard());
            let progress = progress.clone();
            let forwarding = async move {
                let pipe = pipe.run(stream, &progress).await;
                drop(ended);
                drop(output_sender.send(pipe));
            };
            tokio::spawn(forwarding.in_current_span());
        }
        let exit = sandbox.take_exit(output_ended.clone());
        let report_outage = sandbox.outage_report();
        Self { exit, report_outage, output_ended, output, progress, has_exited, _shells: shells }
    }

    /// Waits for the exit and sends it to `events`.
    pub fn watch_exit(
        &mut self,
        events: mpsc::UnboundedSender<Event>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (exit, output_ended) = (self.exit.take(), self.output_ended.clone());
        let report_outage = std::mem::replace(&mut self.report_outage, Box::new(|| {}));
        let (progress, has_exited) = (self.progress.clone(), self.has_exited.clone());
        async move {
            let Some(exit) = exit else { return };
            let event = match exit.await {
                Ok(exit) => {
                    has_exited.cancel();
                    // Its last output may still be in transit.
                    drop(tokio::time::timeout(MAX_OUTPUT_DELAY, output_ended.cancelled()).await);
                    if progress.has_started.load(Ordering::Acquire) {
                        let exit_code = i32::try_from(exit.code).unwrap_or(-1);
                        let completed = progress.has_completed.load(Ordering::Acquire);
                        Event::ScriptEnded { exit_code, out_of_memory: exit.out_of_memory, completed }
                    } else {
                        let cause =
                            format!("its first process exited with {} before the script started", exit.code);
                        Event::ContainerDied { cause, out_of_memory: exit.out_of_memory }
                    }
                }
                Err(error) => Event::ContainerDied { cause: error.to_string(), out_of_memory: false },
            };
            if matches!(event, Event::ContainerDied { .. }) {
                report_outage();
            }
            drop(events.send(event));
        }
    }
}
