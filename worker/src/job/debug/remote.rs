//! Shells that users of a server ask for, through a connection that the worker opens.

use super::{
    port::{Debugger, HeldJob},
    recording::Recording,
};
use crate::client::{ApiClient, Socket, SocketMessage};
use futures_util::{FutureExt, future::BoxFuture};
use std::{sync::Arc, time::Duration};
use tidemill_core::{
    api::path,
    execution::{
        assignment::Assignment,
        debug::{HoldPoint, MAX_SESSION, ShellMessage, ShellRequest},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Semaphore,
    time::{Instant, sleep_until, timeout},
};

/// Maximum number of shells of one worker.
const MAX_SHELLS: usize = 4;
/// How long the user's first message may take.
const START_TIMEOUT: Duration = Duration::from_secs(10);
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
        let opened = self.api.open_socket(&path).await;
        let mut socket =
            opened.inspect_err(|error| tracing::info!(%error, "a shell could not be connected")).ok()?;
        let note = match permit {
            Ok(_) => relay(&job, &mut socket).await.err(),
            Err(_) => Some(format!("{MAX_SHELLS} shells are open on the worker, which is its limit")),
        };
        if let Some(text) = note {
            socket.send_message(&ShellMessage::Note { text }).await;
        }
        socket.close().await;
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

/// Connects a shell in the job with the user's end until one of them ends. Returns a failure for the user.
async fn relay(job: &HeldJob, socket: &mut Socket) -> Result<(), String> {
    let first = timeout(START_TIMEOUT, socket.receive()).await;
    let Ok(Some(SocketMessage::Shell(ShellMessage::Start { term, size }))) = first else {
        return Err("the first message does not start a shell".to_owned());
    };
    let mut shell = job.open_shell(&term, size).await.map_err(|reason| reason.message)?;
    let Some(connection) = shell.take_connection() else { return Ok(()) };
    let (mut from_shell, mut to_shell) = tokio::io::split(connection);
    socket.send_message(&ShellMessage::Note { text: job.introduction() }).await;
    let mut recording = Recording::start(&job.reporter).await;
    let mut buffer = vec![0; BUFFER_SIZE];
    let deadline = Instant::now() + MAX_SESSION;
    loop {
        tokio::select! {
            read = from_shell.read(&mut buffer) => match read {
                Ok(length @ 1..) => {
                    recording.add(&buffer[..length]).await;
                    if !socket.send_bytes(&buffer[..length]).await {
                        break;
                    }
                }
                Ok(0) | Err(_) => break,
            },
            received = socket.receive() => match received {
                Some(SocketMessage::Bytes(bytes)) => {
                    if to_shell.write_all(&bytes).await.is_err() || to_shell.flush().await.is_err() {
                        break;
                    }
                }
                Some(SocketMessage::Shell(ShellMessage::Resize { size })) => shell.resize(size).await,
                Some(SocketMessage::Shell(_)) => {}
                None => break,
            },
            () = job.ended.cancelled() => break,
            // The server ends it as well, and earlier without input.
            () = sleep_until(deadline) => break,
        }
    }
    recording.finish().await;
    Ok(())
}
