//! Streams of events: of an execution, and of what lists of executions show.

use crate::{
    access::caller::Caller,
    error::Result,
    executions::pipeline::events::{ExecutionChange, ExecutionWatch, ListWatch},
    http::{
        extractors::{Id, QueryParams},
        limits::streams::OpenStream,
        problem::ApiError,
        reply::Reply,
        route::READ_SCOPES,
        state::ApiState,
    },
};
use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, HeaderName},
    response::{
        IntoResponse,
        sse::{Event, Sse},
    },
};
use futures_util::stream;
use serde::Deserialize;
use std::{convert::Infallible, time::Duration};
use tidemill_core::{api::ExecutionEvent, ids::ExecutionId};
use tokio::time::{Instant, sleep_until};

/// Time after which a stream without changes sends a comment, so that proxies keep the connection.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// Time between two checks of the token.
const CHECK_INTERVAL: Duration = Duration::from_secs(3);
/// The longest that a stream lasts; the client then opens another one.
const MAX_DURATION: Duration = Duration::from_secs(3_600);

#[derive(Deserialize)]
pub struct EventsQuery {
    wait_ms: Option<u64>,
}

pub async fn events(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<ExecutionId>,
    QueryParams(query): QueryParams<EventsQuery>,
    headers: HeaderMap,
) -> Reply {
    let watch = api.services.pipelines.watch(id).ok_or_else(ApiError::no_event_stream)?;
    let repo = api.services.pipelines.repo(id).await?;
    stream_of(api, &caller, headers, (Watch::Execution(watch), Some(repo)), query.wait_ms)
}

pub async fn list_events(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    QueryParams(query): QueryParams<EventsQuery>,
    headers: HeaderMap,
) -> Reply {
    let watch = api.services.pipelines.watch_lists().ok_or_else(ApiError::no_event_stream)?;
    stream_of(api, &caller, headers, (Watch::Lists(watch), None), query.wait_ms)
}

/// Opens a stream for a caller. A stream without a repository is for callers that see all of them.
fn stream_of(
    api: ApiState,
    caller: &Caller,
    headers: HeaderMap,
    (watch, repo): (Watch, Option<String>),
    wait_ms: Option<u64>,
) -> Reply {
    let key = format!("{} {}", caller.id, caller.name);
    let open = api.streams.open(key).map_err(ApiError::too_many_streams)?;
    let now = Instant::now();
    let duration = wait_ms.map_or(MAX_DURATION, Duration::from_millis).min(MAX_DURATION);
    let events = ChangeEvents {
        api,
        headers,
        repo,
        watch,
        check_at: now + CHECK_INTERVAL,
        beat_at: now + HEARTBEAT,
        end_at: now + duration,
        has_sent: false,
        _open: open,
    };
    // Otherwise a proxy may collect events.
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    Ok((unbuffered, Sse::new(stream::unfold(events, ChangeEvents::next))).into_response())
}

/// What a stream follows.
enum Watch {
    Execution(ExecutionWatch),
    Lists(ListWatch),
}

impl Watch {
    async fn next(&mut self) -> Result<Option<ExecutionChange>> {
        match self {
            Self::Execution(watch) => watch.next().await,
            Self::Lists(watch) => Ok(watch.next().await.map(ExecutionChange::Changed)),
        }
    }
}

/// An open stream. The next event is computed when the client can receive it, so a slow client gets fewer events.
struct ChangeEvents {
    api: ApiState,
    /// The headers of the request, which have the token.
    headers: HeaderMap,
    /// The repository of what it follows; `None`: all.
    repo: Option<String>,
    watch: Watch,
    check_at: Instant,
    beat_at: Instant,
    end_at: Instant,
    has_sent: bool,
    _open: OpenStream,
}

impl ChangeEvents {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if self.has_sent && Instant::now() >= self.end_at {
                return None;
            }
            if Instant::now() >= self.check_at {
                if !self.is_allowed().await {
                    return None;
                }
                self.check_at = Instant::now() + CHECK_INTERVAL;
            }
            if Instant::now() >= self.beat_at {
                return Some(self.sent(Event::default().comment("")));
            }
            let wake_at = self.check_at.min(self.beat_at);
            let wake_at = if self.has_sent { wake_at.min(self.end_at) } else { wake_at };
            let change = tokio::select! {
                change = self.watch.next() => change,
                () = sleep_until(wake_at) => continue,
            };
            let (name, revision) = match change {
                Ok(Some(ExecutionChange::Changed(revision))) => ("changed", revision),
                Ok(Some(ExecutionChange::Ended(revision))) => ("end", revision),
                Ok(None) => return None,
                Err(error) => {
                    tracing::debug!(%error, "a stream of events ends");
                    return None;
                }
            };
            let data = ExecutionEvent { version: revision.to_string() };
            let event = Event::default().event(name).json_data(data).ok()?;
            return Some(self.sent(event));
        }
    }

    fn sent(mut self, event: Event) -> (Result<Event, Infallible>, Self) {
        self.has_sent = true;
        self.beat_at = Instant::now() + HEARTBEAT;
        (Ok(event), self)
    }

    /// Whether the token or the session is still valid and still allows what the stream shows.
    async fn is_allowed(&self) -> bool {
        let Ok(caller) = self.api.caller(&self.headers, false, None).await else { return false };
        let sees = match &self.repo {
            Some(repo) => caller.can_read(repo),
            None => caller.may_call_for_deployment(READ_SCOPES),
        };
        caller.may_call(READ_SCOPES) && sees
    }
}
