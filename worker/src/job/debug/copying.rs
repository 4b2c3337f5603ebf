//! Copies that a user of a server asks for, out of and into the container of a job.

use super::port::HeldJob;
use crate::client::{Socket, SocketMessage};
use bytes::Bytes;
use futures_util::StreamExt;
use std::{io, time::Duration};
use tidemill_core::{
    execution::debug::{MAX_COPY_BYTES, ShellMessage},
    text::Printable,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

/// The longest path in bytes, as in Linux.
const MAX_PATH_LEN: usize = 4_096;
/// Messages of a copy that wait for the engine.
const MAX_PENDING: usize = 16;
/// How long the engine may take for the next part of a tar, and the user's end for the next message.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(120);

/// Sends a tar of a path in the container.
pub(super) async fn download(job: &HeldJob, socket: &mut Socket, path: String) -> Result<(), String> {
    let path = absolute(job, &path)?;
    job.reporter.shell_line(record("copies out", &path).as_bytes()).await;
    let mut tar = Box::pin(job.engine.download_path(&job.container, path));
    let Socket { sender, receiver } = socket;
    let sending = async {
        let mut sent = 0_u64;
        loop {
            let chunk = timeout(SILENCE_TIMEOUT, tar.next()).await;
            let Some(chunk) = chunk.map_err(|_| "the engine sent nothing".to_owned())? else { break };
            let chunk = chunk.map_err(|error| format!("the files could not be copied: {error}"))?;
            sent += chunk.len() as u64;
            if sent > MAX_COPY_BYTES {
                return Err(too_large());
            }
            if !sender.send_bytes(&chunk).await {
                return Ok(());
            }
        }
        sender.send_message(&ShellMessage::Complete).await;
        Ok(())
    };
    // What the user sends only shows that they are there.
    let waiting = async { while receiver.receive().await.is_some() {} };
    tokio::select! {
        ended = sending => ended,
        () = waiting => Ok(()),
    }
}

/// Unpacks the tar that the user sends in a directory of the container.
pub(super) async fn upload(job: &HeldJob, socket: &mut Socket, directory: String) -> Result<(), String> {
    let directory = absolute(job, &directory)?;
    job.reporter.shell_line(record("copies into", &directory).as_bytes()).await;
    let (parts, received) = mpsc::channel::<io::Result<Bytes>>(MAX_PENDING);
    let tar = futures_util::stream::unfold(received, async |mut received| {
        received.recv().await.map(|part| (part, received))
    });
    let unpacking = job.engine.upload_path(&job.container, directory, tar);
    let Socket { sender, receiver } = socket;
    // Before it, the server keeps only the first messages of the user.
    sender.send_message(&ShellMessage::Opened { text: format!("{}: copying", job.name) }).await;
    let was_complete = CancellationToken::new();
    let receiving = async {
        let mut size = 0_u64;
        loop {
            let message = timeout(SILENCE_TIMEOUT, receiver.receive()).await;
            match message.map_err(|_| "nothing was sent".to_owned())? {
                Some(SocketMessage::Bytes(bytes)) => {
                    size += bytes.len() as u64;
                    if size > MAX_COPY_BYTES {
                        return Err(too_large());
                    }
                    if parts.send(Ok(bytes)).await.is_err() {
                        break;
                    }
                }
                Some(SocketMessage::Shell(ShellMessage::Complete)) => {
                    was_complete.cancel();
                    break;
                }
                Some(SocketMessage::Shell(_)) => {}
                None => return Err("the connection was lost".to_owned()),
            }
        }
        // The engine reads the end of the tar.
        drop(parts);
        Ok(())
    };
    let (unpacked, received) = tokio::join!(unpacking, receiving);
    received?;
    unpacked.map_err(|reason| reason.message)?;
    if !was_complete.is_cancelled() {
        return Err("the files could not be copied: the engine did not read all of them".to_owned());
    }
    sender.send_message(&ShellMessage::Complete).await;
    Ok(())
}

fn absolute(job: &HeldJob, path: &str) -> Result<String, String> {
    if path.is_empty() || path.len() > MAX_PATH_LEN || path.contains('\0') {
        return Err(format!("a path has 1 to {MAX_PATH_LEN} bytes, without zero bytes"));
    }
    Ok(if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", job.directory) })
}

/// Returns a line for the log of the job.
fn record(action: &str, path: &str) -> String {
    format!("[shell] a user {action} {}", Printable(path))
}

fn too_large() -> String {
    format!("a copy has at most {} GiB; keep larger files as artifacts", MAX_COPY_BYTES >> 30)
}
