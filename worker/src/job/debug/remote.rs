//! Shells that users of a server ask for, through a connection that the worker opens.

use super::{
    copying, forwarding,
    port::{Debugger, HeldJob},
    recording::Recording,
};
use crate::client::{ApiClient, Socket, SocketMessage};
use futures_util::{FutureExt, future::BoxFuture};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};
use tidemill_core::{
    api::path,
    execution::{
        assignment::Assignment,
        debug::{HoldPoint, MAX_SESSION, ShellMessage, ShellRequest, TerminalSize},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Semaphore,
    time::{sleep, timeout},
};

/// Maximum number of shells of one worker.
const MAX_SHELLS: usize = 4;
/// How long the user's first message may take.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the engine may take to open a shell.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);
/// How long what is typed may wait for a shell that does not read it.
const INPUT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the rest of the recording may wait for the log.
const RECORDING_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that are read from a shell at once.
const BUFFER_SIZE: usize = 16 << 10;

/// Opens the shells that users of a server ask for.
#[derive(Debug)]
pub struct RemoteShells {
    api: ApiClient,
    permits: Arc<Semaphore>,
}

impl RemoteShells {
    /// Creates a debugger for the jobs of a server.
    pub fn new(api: ApiClient) -> Self {
        Self { api, permits: Arc::new(Semaphore::new(MAX_SHELLS)) }
    }

    async fn serve(&self, job: HeldJob) -> Option<()> {
        let request = job.request?;
        let permit = self.permits.try_acquire();
        let path = path::SHELL_SESSION.replace("{sessionId}", &request.session.to_string());
        let opened = tokio::select! {
            opened = self.api.open_socket(&path) => opened,
            () = job.ended.cancelled() => return None,
        };
        let mut socket =
            opened.inspect_err(|error| tracing::info!(%error, "a shell could not be connected")).ok()?;
        let note = match permit {
            Ok(_) => serve_user(&job, &mut socket).await.err(),
            Err(_) => Some(format!("{MAX_SHELLS} shells are open on the worker, which is its limit")),
        };
        if let Some(text) = note {
            socket.sender.send_message(&ShellMessage::Note { text, is_failure: true }).await;
        }
        socket.sender.close().await;
        Some(())
    }
}

impl Debugger for RemoteShells {
    fn holds(&self, assignment: &Assignment, point: HoldPoint, request: Option<ShellRequest>) -> bool {
        let is_trusted = !assignment.preparation.origin.is_fork;
        is_trusted && point.is_failure() && request.is_some_and(|request| request.on_failure)
    }

    fn hold(&self, job: HeldJob) -> BoxFuture<'_, ()> {
        self.serve(job).map(drop).boxed()
    }
}

/// Does what the user's first message asks for. Returns a failure for the user.
async fn serve_user(job: &HeldJob, socket: &mut Socket) -> Result<(), String> {
    let first = tokio::select! {
        first = timeout(START_TIMEOUT, socket.receiver.receive()) => first.ok().flatten(),
        () = job.ended.cancelled() => return Err("the job has ended".to_owned()),
    };
    // These apply whatever it is.
    let limited = async |serving: BoxFuture<'_, Result<(), String>>| {
        tokio::select! {
            ended = serving => ended,
            () = job.ended.cancelled() => Err("the job has ended".to_owned()),
            // The server ends it as well, and earlier without input.
            () = sleep(MAX_SESSION) => Ok(()),
        }
    };
    match first {
        Some(SocketMessage::Shell(ShellMessage::Start { term, size })) => {
            relay(job, socket, (&term, size)).await
        }
        Some(SocketMessage::Shell(ShellMessage::Download { path })) => {
            limited(copying::download(job, socket, path).boxed()).await
        }
        Some(SocketMessage::Shell(ShellMessage::Upload { directory })) => {
            limited(copying::upload(job, socket, directory).boxed()).await
        }
        Some(SocketMessage::Shell(ShellMessage::Forward { targets })) => {
            limited(forwarding::forward(job, socket, targets).boxed()).await
        }
        _ => Err("the first message does not start a shell, a copy or a forwarding".to_owned()),
    }
}

/// Connects a shell in the job with the user's end until one of them ends. Returns a failure for the user.
async fn relay(job: &HeldJob, socket: &mut Socket, (term, size): (&str, TerminalSize)) -> Result<(), String> {
    let columns = AtomicU16::new(size.columns);
    let starting = async {
        let opened = timeout(OPEN_TIMEOUT, job.open_shell(term, size)).await;
        opened
            .map_err(|_| "the engine did not open the shell in time".to_owned())?
            .map_err(|reason| reason.message)
    };
    let mut shell = tokio::select! {
        shell = starting => shell?,
        () = job.ended.cancelled() => return Err("the job has ended".to_owned()),
    };
    let Some(connection) = shell.take_connection() else { return Ok(()) };
    let (mut from_shell, mut to_shell) = tokio::io::split(connection);
    let mut recording = None;
    let Socket { sender, receiver } = socket;
    // Each direction in a future of its own: output continues while a shell does not read what was typed, and the other way round.
    let output = async {
        sender.send_message(&ShellMessage::Opened { text: job.introduction() }).await;
        let recording = recording.insert(Recording::start(&job.reporter).await);
        let mut buffer = vec![0; BUFFER_SIZE];
        while let Ok(length @ 1..) = from_shell.read(&mut buffer).await {
            recording.add(&buffer[..length], columns.load(Ordering::Relaxed)).await;
            if !sender.send_bytes(&buffer[..length]).await {
                break;
            }
        }
        Ok(())
    };
    let input = async {
        loop {
            match receiver.receive().await {
                Some(SocketMessage::Bytes(bytes)) => {
                    let written = async {
                        to_shell.write_all(&bytes).await?;
                        to_shell.flush().await
                    };
                    match timeout(INPUT_TIMEOUT, written).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return Ok(()),
                        Err(_) => return Err(unread_input()),
                    }
                }
                Some(SocketMessage::Shell(ShellMessage::Resize { size })) => {
                    columns.store(size.columns, Ordering::Relaxed);
                    // A size that the engine is slow to set is not worth more.
                    let _ = timeout(START_TIMEOUT, shell.resize(usable(size))).await;
                }
                Some(SocketMessage::Shell(_)) => {}
                None => return Ok(()),
            }
        }
    };
    // These apply whatever the relay waits for.
    let ended = tokio::select! {
        ended = output => ended,
        ended = input => ended,
        () = job.ended.cancelled() => Ok(()),
        // The server ends it as well, and earlier without input.
        () = sleep(MAX_SESSION) => Ok(()),
    };
    if let Some(recording) = recording {
        let _ = timeout(RECORDING_TIMEOUT, recording.finish()).await;
    }
    if !job.ended.is_cancelled() {
        shell.end().await;
    }
    ended
}

fn unread_input() -> String {
    format!("the shell did not read what was typed for {} s", INPUT_TIMEOUT.as_secs())
}

/// A size that a terminal can have: programs divide by it.
fn usable(size: TerminalSize) -> TerminalSize {
    TerminalSize { columns: size.columns.max(1), rows: size.rows.max(1) }
}
