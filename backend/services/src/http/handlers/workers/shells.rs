//! Shells in jobs: the WebSockets of a user and of a worker, between which bytes are relayed.

use crate::{
    access::caller::Caller,
    context::shells::{OpenShell, ShellEnd, ShellFrame},
    executions::jobs::service::JobExecutionService,
    http::{
        extractors::{Id, QueryParams},
        problem::ApiError,
        reply::Reply,
        state::ApiState,
    },
};
use axum::{
    Extension,
    extract::{
        State,
        ws::{Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
};
use bytes::Bytes;
use serde::Deserialize;
use std::time::Duration;
use tidemill_core::{
    api::ExpectedQuery,
    execution::debug::{MAX_MESSAGE, ShellAccess, ShellMessage, session_limit},
    ids::JobId,
};
use tokio::time::{Instant, interval, sleep, timeout};
use uuid::Uuid;

/// Time between two looks at a job that a user waits for. Each also shows that the user is still there.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How long the other side may take to read a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

#[derive(Deserialize)]
pub struct ShellQuery {
    #[serde(default)]
    on_failure: bool,
    repo: Option<String>,
}

pub async fn open(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<JobId>,
    QueryParams(query): QueryParams<ShellQuery>,
    upgrade: Upgrade,
) -> Reply {
    let upgrade = upgrade.map_err(|_| ApiError::no_web_socket())?;
    api.services.expect_job(&ExpectedQuery { repo: query.repo }, id).await?;
    let (shell, access) = api.services.jobs.open_shell(id, query.on_failure).await?;
    let outcome = if access == ShellAccess::Attach { "attached" } else { "waits for a failure" };
    api.services.audit_job(&caller, "job.shell", id, outcome).await;
    let jobs = api.services.jobs.clone();
    Ok(limited(upgrade).on_upgrade(move |socket| serve_user(socket, shell, jobs, id)))
}

pub async fn connect(State(api): State<ApiState>, Id(session): Id<Uuid>, upgrade: Upgrade) -> Reply {
    let upgrade = upgrade.map_err(|_| ApiError::no_web_socket())?;
    let end = api.services.jobs.shell_session(session)?;
    Ok(limited(upgrade).on_upgrade(move |socket| serve_worker(socket, end)))
}

fn limited(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE)
}

/// Returns the frame of a message; `None` for one that is only of the protocol.
fn frame(message: Message) -> Option<ShellFrame> {
    match message {
        Message::Binary(bytes) => Some(ShellFrame::Bytes(bytes)),
        Message::Text(text) => Some(ShellFrame::Text(text.as_str().to_owned())),
        _ => None,
    }
}

fn message(frame: ShellFrame) -> Message {
    match frame {
        ShellFrame::Bytes(bytes) => Message::Binary(bytes),
        ShellFrame::Text(text) => Message::Text(text.into()),
    }
}

/// Sends a message. Returns whether it was sent in time.
async fn send(socket: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(SEND_TIMEOUT, socket.send(message)).await, Ok(Ok(())))
}

/// Serves the user's end until a side ends it, or a limit or the job does.
async fn serve_user(mut socket: WebSocket, shell: OpenShell, jobs: JobExecutionService, job: JobId) {
    let mut shell = shell;
    let reason = relay_to_user(&mut socket, &mut shell.end, &jobs, job).await;
    // The worker's end ends with this.
    drop(shell);
    if let Some(text) = reason
        && let Ok(note) = serde_json::to_string(&ShellMessage::Note { text })
    {
        send(&mut socket, Message::Text(note.into())).await;
    }
    send(&mut socket, Message::Close(None)).await;
}

/// Relays until the session ends. Returns why, unless the user ended it.
async fn relay_to_user(
    socket: &mut WebSocket,
    end: &mut ShellEnd,
    jobs: &JobExecutionService,
    job: JobId,
) -> Option<String> {
    // When the worker connected.
    let mut connected: Option<Instant> = None;
    let mut last_input = Instant::now();
    let mut checks = interval(CHECK_INTERVAL);
    loop {
        let limit = connected.map(|since| session_limit(since.elapsed(), last_input.elapsed()));
        let remaining = match limit {
            Some(Err(limit)) => return Some(limit.to_string()),
            Some(Ok(remaining)) => Some(remaining),
            None => None,
        };
        tokio::select! {
            received = socket.recv() => match received {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(received)) => {
                    let Some(frame) = frame(received) else { continue };
                    last_input = Instant::now();
                    if connected.is_none() {
                        // Nobody reads yet: the first messages wait, and what is typed too early is lost.
                        let _ = end.sender.try_send(frame);
                    } else if !matches!(timeout(SEND_TIMEOUT, end.sender.send(frame)).await, Ok(Ok(()))) {
                        return Some("the shell has ended".to_owned());
                    }
                }
            },
            received = end.receiver.recv() => {
                let Some(frame) = received else { return Some("the shell has ended".to_owned()) };
                if connected.is_none() {
                    connected = Some(Instant::now());
                    last_input = Instant::now();
                }
                if !send(socket, message(frame)).await {
                    return None;
                }
            }
            _ = checks.tick() => {
                if !send(socket, Message::Ping(Bytes::new())).await {
                    return None;
                }
                if connected.is_none()
                    && let Ok(status) = jobs.status(job).await
                    && status.is_terminal()
                {
                    return Some(format!("the job has ended: {}", status.as_str()));
                }
            }
            () = sleep(remaining.unwrap_or(CHECK_INTERVAL)) => {}
        }
    }
}

/// Relays between the worker's socket and the user's end.
async fn serve_worker(mut socket: WebSocket, mut end: ShellEnd) {
    loop {
        tokio::select! {
            received = socket.recv() => match received {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(received)) => {
                    if let Some(frame) = frame(received)
                        && !matches!(timeout(SEND_TIMEOUT, end.sender.send(frame)).await, Ok(Ok(())))
                    {
                        break;
                    }
                }
            },
            received = end.receiver.recv() => {
                let Some(frame) = received else { break };
                if !send(&mut socket, message(frame)).await {
                    break;
                }
            }
        }
    }
    send(&mut socket, Message::Close(None)).await;
}
