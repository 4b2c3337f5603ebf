//! Shells in jobs: the WebSockets of a user and of a worker, between which bytes are relayed.

use crate::{
    access::caller::Caller,
    context::shells::{OpenShell, ShellEnd, ShellFrame},
    executions::jobs::service::JobExecutionService,
    http::{
        access::OpenAccess,
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
    http::HeaderMap,
};
use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use serde::Deserialize;
use std::{
    future::pending,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tidemill_core::{
    api::ExpectedQuery,
    execution::debug::{MAX_MESSAGE, ShellAccess, ShellMessage, session_limit},
    ids::JobId,
};
use tokio::{
    sync::mpsc,
    time::{Instant, interval, sleep, timeout},
};
use uuid::Uuid;

/// Time between two looks at a job that a user waits for. Each also shows that the user is still there.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How long the other side may take to read a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// How long what is typed may wait for the shell to read it. A worker ends a shell earlier that does not.
const INPUT_TIMEOUT: Duration = Duration::from_secs(30);

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
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Reply {
    let upgrade = upgrade.map_err(|_| ApiError::no_web_socket())?;
    api.services.expect_job(&ExpectedQuery { repo: query.repo }, id).await?;
    let (shell, access) = api.services.jobs.open_shell(id, query.on_failure).await?;
    let outcome = if access == ShellAccess::Attach { "attached" } else { "waits for a failure" };
    api.services.audit_job(&caller, "job.shell", id, outcome).await;
    let jobs = api.services.jobs.clone();
    let job = OpenJob { id, jobs, access: OpenAccess::new(api, headers, &caller, id) };
    Ok(limited(upgrade).on_upgrade(move |socket| serve_user(socket, shell, job)))
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
async fn send(socket: &mut SplitSink<WebSocket, Message>, message: Message) -> bool {
    matches!(timeout(SEND_TIMEOUT, socket.send(message)).await, Ok(Ok(())))
}

/// Serves the user's end until a side ends it, or a limit or the job does.
async fn serve_user(socket: WebSocket, shell: OpenShell, job: OpenJob) {
    let mut shell = shell;
    let (mut sink, stream) = socket.split();
    let reason = relay_to_user(&mut sink, stream, &mut shell.end, &job).await;
    // The worker's end ends with this.
    drop(shell);
    if let Some(End { text, is_failure }) = reason
        && let Ok(note) = serde_json::to_string(&ShellMessage::Note { text, is_failure })
    {
        send(&mut sink, Message::Text(note.into())).await;
    }
    send(&mut sink, Message::Close(None)).await;
}

/// The job of a session, and the user's access to it.
struct OpenJob {
    id: JobId,
    jobs: JobExecutionService,
    access: OpenAccess,
}

impl OpenJob {
    /// Returns why a user gets no shell any more who waits for one.
    async fn end(&self) -> Option<String> {
        let status = self.jobs.status(self.id).await.ok().filter(|status| status.is_terminal())?;
        Some(format!("the job has ended: {}", status.as_str()))
    }
}

/// When a session started and had its last input.
struct Activity {
    /// When the worker connected.
    connected: Option<Instant>,
    last_input: Instant,
}

/// Why a session ends that the user did not end.
struct End {
    text: String,
    /// Whether it did not end by itself.
    is_failure: bool,
}

impl End {
    fn failure(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_failure: true }
    }
}

/// Relays until the session ends. Returns why, unless the user ended it.
async fn relay_to_user(
    sink: &mut SplitSink<WebSocket, Message>,
    stream: SplitStream<WebSocket>,
    end: &mut ShellEnd,
    job: &OpenJob,
) -> Option<End> {
    let activity = Mutex::new(Activity { connected: None, last_input: Instant::now() });
    let ShellEnd { sender, receiver } = end;
    // Each direction by itself: output continues while the shell does not read what was typed.
    tokio::select! {
        reason = relay_input(stream, sender, &activity) => reason,
        reason = relay_output(sink, receiver, (job, &activity)) => reason,
        reason = job.access.lost() => Some(End::failure(reason)),
    }
}

fn lock(activity: &Mutex<Activity>) -> MutexGuard<'_, Activity> {
    activity.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn relay_input(
    mut stream: SplitStream<WebSocket>,
    sender: &mpsc::Sender<ShellFrame>,
    activity: &Mutex<Activity>,
) -> Option<End> {
    while let Some(Ok(received)) = stream.next().await {
        if matches!(received, Message::Close(_)) {
            return None;
        }
        let Some(frame) = frame(received) else { continue };
        let is_open = {
            let mut activity = lock(activity);
            // A change of the terminal's size is no input.
            if matches!(frame, ShellFrame::Bytes(_)) {
                activity.last_input = Instant::now();
            }
            activity.connected.is_some()
        };
        if !is_open {
            // Nobody reads yet: the first messages wait, and what is typed too early is lost.
            let _ = sender.try_send(frame);
            continue;
        }
        match timeout(INPUT_TIMEOUT, sender.send(frame)).await {
            Ok(Ok(())) => {}
            // The other direction passes on why it has ended.
            Ok(Err(_)) => return pending().await,
            Err(_) => return Some(End::failure("the job does not read what is sent to it")),
        }
    }
    None
}

async fn relay_output(
    sink: &mut SplitSink<WebSocket, Message>,
    receiver: &mut mpsc::Receiver<ShellFrame>,
    (job, activity): (&OpenJob, &Mutex<Activity>),
) -> Option<End> {
    let mut checks = interval(CHECK_INTERVAL);
    loop {
        let (connected, idle) = {
            let activity = lock(activity);
            (activity.connected, activity.last_input.elapsed())
        };
        let remaining = match connected.map(|since| session_limit(since.elapsed(), idle)) {
            Some(Err(limit)) => return Some(End::failure(limit.to_string())),
            Some(Ok(remaining)) => remaining,
            None => CHECK_INTERVAL,
        };
        tokio::select! {
            received = receiver.recv() => {
                let Some(frame) = received else {
                    return Some(End { text: "the session has ended".to_owned(), is_failure: false });
                };
                if connected.is_none() {
                    let now = Instant::now();
                    *lock(activity) = Activity { connected: Some(now), last_input: now };
                }
                if !send(sink, message(frame)).await {
                    return None;
                }
            }
            _ = checks.tick() => {
                if !send(sink, Message::Ping(Bytes::new())).await {
                    return None;
                }
                if connected.is_none() && let Some(reason) = job.end().await {
                    return Some(End::failure(reason));
                }
            }
            () = sleep(remaining) => {}
        }
    }
}

/// Relays between the worker's socket and the user's end.
async fn serve_worker(socket: WebSocket, end: ShellEnd) {
    let (mut sink, mut stream) = socket.split();
    let ShellEnd { sender, mut receiver } = end;
    let output = async {
        while let Some(Ok(received)) = stream.next().await {
            if matches!(received, Message::Close(_)) {
                return;
            }
            if let Some(frame) = frame(received)
                && !matches!(timeout(SEND_TIMEOUT, sender.send(frame)).await, Ok(Ok(())))
            {
                return;
            }
        }
    };
    let input = async {
        while let Some(frame) = receiver.recv().await {
            if !matches!(timeout(INPUT_TIMEOUT, sink.send(message(frame))).await, Ok(Ok(()))) {
                return;
            }
        }
    };
    tokio::select! {
        () = output => {}
        () = input => {}
    }
    // The user need not wait until the worker reads this.
    drop(sender);
    send(&mut sink, Message::Close(None)).await;
}
