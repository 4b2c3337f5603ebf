//! A listener for Prometheus.

use super::source::MetricsSource;
use crate::serving::{self, ConnectionLimits};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::{TEXT_FORMAT, TextEncoder, proto::MetricFamily};
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;

/// How long a reading is cached, so that many readers cost no more than one.
const CACHE_TIME: Duration = Duration::from_secs(1);
/// Maximum number of connections of readers.
const MAX_CONNECTIONS: usize = 16;

/// Formats metrics as text (Prometheus text format 0.0.4).
///
/// # Errors
/// Returns an error if a family of metrics has no metric.
pub fn metrics_text(families: &[MetricFamily]) -> prometheus::Result<String> {
    TextEncoder::new().encode_to_string(families)
}

struct Reader {
    source: Arc<dyn MetricsSource>,
    /// The last reading. Locked during one, so that only one runs at a time.
    last: tokio::sync::Mutex<Option<(Instant, String)>>,
}

/// Serves `GET /metrics` on `listener` until `stop`.
pub async fn serve_metrics(listener: TcpListener, source: Arc<dyn MetricsSource>, stop: CancellationToken) {
    let reader = Arc::new(Reader { source, last: tokio::sync::Mutex::default() });
    let api = Router::new().route("/metrics", get(read)).with_state(reader);
    let limits = ConnectionLimits {
        max_connections: MAX_CONNECTIONS,
        max_per_address: MAX_CONNECTIONS,
        ..ConnectionLimits::default()
    };
    serving::serve(listener, None, api, limits, stop).await;
}

async fn read(State(reader): State<Arc<Reader>>) -> Response {
    let mut last = reader.last.lock().await;
    let cached = last.as_ref().filter(|(at, _)| at.elapsed() < CACHE_TIME).map(|(_, text)| text.clone());
    let text = match cached {
        Some(text) => text,
        None => match metrics_text(&reader.source.gather().await) {
            Ok(text) => {
                *last = Some((Instant::now(), text.clone()));
                text
            }
            Err(error) => {
                tracing::warn!(%error, "cannot format metrics");
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
        },
    };
    ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response()
}
