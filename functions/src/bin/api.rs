//! The API behind API Gateway: the router of `backend`, for HTTP API (v2) and REST API (v1) events alike.

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::{self, Next},
    response::Response,
};
use lambda_http::{Error, RequestExt, request::RequestContext, run};
use std::{net::IpAddr, sync::Arc, time::Instant};
use tidemill_core::api::TRACEPARENT;
use tidemill_core::execution::cost::Usage;
use tidemill_functions::{FunctionContext, settings, telemetry};
use tidemill_services::{
    HttpMessenger,
    http::{ClientAddress, DEFAULT_RATE, TokenVerifier, router},
};
use tower_http::compression::{CompressionLayer, predicate::SizeAbove};
use tracing::{Instrument, field};

/// Smaller replies are not compressed.
const MIN_COMPRESSED: u64 = 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let wiring = FunctionContext::load().await?;
    if let Err(error) = enable_sign_in(&wiring) {
        // Tokens still work, also those of workers.
        tracing::error!(%error, "nobody can sign in");
    }
    let (admin, worker) =
        (settings::list(settings::ADMIN_TOKEN_SHA256), settings::list(settings::WORKER_TOKEN_SHA256));
    let access =
        TokenVerifier::from_hashes(admin.iter().map(String::as_str), worker.iter().map(String::as_str))?
            .with_rate_limit(settings::number_or(settings::RATE_LIMIT, DEFAULT_RATE)?);
    let api = router(wiring.services.clone(), access)
        .layer(CompressionLayer::new().compress_when(SizeAbove::new(MIN_COMPRESSED)))
        .layer(middleware::from_fn_with_state(wiring, measured));
    run(api).await
}

/// Lets people sign in with the provider of the settings, if there is one.
fn enable_sign_in(wiring: &FunctionContext) -> Result<(), Error> {
    let Some(provider) = settings::sign_in()? else { return Ok(()) };
    Ok(wiring.services.enable_sign_in(vec![provider], Arc::new(HttpMessenger::default()))?)
}

/// Counts and logs a request, and writes its metrics.
async fn measured(State(wiring): State<FunctionContext>, mut request: Request, next: Next) -> Response {
    let start = Instant::now();
    let before = wiring.meter.total();
    let request_id =
        request.lambda_context_ref().map(|context| context.request_id.clone()).unwrap_or_default();
    let operation = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let operation = operation.unwrap_or_else(|| request.uri().path().to_owned());
    let trace = request.headers().get(TRACEPARENT).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if let Some(address) = source_address(&request) {
        request.extensions_mut().insert(ClientAddress(address));
    }
    let span = tracing::info_span!(
        "request", %request_id, %operation, trace, execution = field::Empty, job = field::Empty
    );
    let meter = wiring.meter.clone();
    let response = wiring
        .meter
        .request(
            async move {
                meter.count(Usage { api_requests: 1, ..Usage::default() });
                let response = next.run(request).await;
                let spent = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
                let function_mib_ms = spent.saturating_mul(telemetry::memory_mib());
                meter.count(Usage { function_mib_ms, ..Usage::default() });
                // The access log has the others; each line costs a seventh of the request.
                if response.status().is_server_error() {
                    tracing::error!(status = response.status().as_u16(), ms = spent, "failed");
                } else {
                    tracing::debug!(status = response.status().as_u16(), ms = spent, "served");
                }
                response
            }
            .instrument(span),
        )
        .await;
    telemetry::write_metrics(&telemetry::RequestMetrics {
        request_id: &request_id,
        operation: &operation,
        status: response.status().as_u16(),
        milliseconds: start.elapsed().as_secs_f64() * 1000.0,
        usage: since(before, wiring.meter.total()),
        trace: trace.as_deref(),
    });
    response
}

/// The client's address, as API Gateway reports it.
fn source_address(request: &Request) -> Option<IpAddr> {
    let text = match request.request_context_ref()? {
        RequestContext::ApiGatewayV2(context) => context.http.source_ip.clone()?,
        RequestContext::ApiGatewayV1(context) => context.identity.source_ip.clone()?,
        #[allow(unreachable_patterns, reason = "the other variants depend on features")]
        _ => return None,
    };
    text.parse().ok()
}

/// The usage between two readings of the counter: a function serves one request at a time.
fn since(before: Usage, now: Usage) -> Usage {
    Usage {
        table_write_halves: now.table_write_halves - before.table_write_halves,
        table_read_halves: now.table_read_halves - before.table_read_halves,
        ..Usage::default()
    }
}
