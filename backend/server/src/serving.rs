//! Serves HTTP/1.1 on a listener. Slow clients are disconnected, and idle connections cannot block other clients.

mod connections;
mod descriptors;
mod limits;
mod stream;

pub use descriptors::{allowed_connections, raise_open_file_limit};
pub use limits::ConnectionLimits;

use axum::{Router, body::Body, response::Response};
use connections::{Connection, Connections, OpenConnection};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use limits::Phase;
use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use stream::{MonitoredRequestBody, MonitoredResponseBody, MonitoredStream};
use tidemill_services::http::ClientAddress;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

/// Maximum size of the head of a request.
const MAX_HEADER_SIZE: usize = 32 << 10;
/// Maximum size of the buffer of a connection.
const MAX_BUFFER_SIZE: usize = 128 << 10;
/// Maximum number of replaced connections whose tasks have not ended yet.
const MAX_CLOSING_CONNECTIONS: usize = 64;
/// Delay after a failed accept, for example because no file descriptor is free.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Serves `api` on `listener`, with TLS if there is an `acceptor`, until `stopping` is canceled. Running requests then have
/// [`ConnectionLimits::grace`] to end; all other connections are closed immediately.
pub async fn serve(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    api: Router,
    limits: ConnectionLimits,
    stopping: CancellationToken,
) {
    let connections = Connections::new(limits);
    let tasks = TaskTracker::new();
    tasks.spawn(connections.clone().enforce_deadlines(stopping.clone()));
    // A connection that is being closed keeps its file descriptor until its task ends.
    let descriptors = Arc::new(Semaphore::new(limits.max_connections + MAX_CLOSING_CONNECTIONS));
    let initial_phase = if acceptor.is_some() { Phase::Handshake } else { Phase::Idle };
    while let Some((descriptor, stream, from)) =
        stopping.run_until_cancelled(accept(&listener, &descriptors)).await
    {
        let Some(open) = connections.open(from.ip(), initial_phase) else {
            tracing::debug!(%from, "rejected a connection: too many connections");
            continue;
        };
        let (api, acceptor, stopping) = (api.clone(), acceptor.clone(), stopping.clone());
        tasks.spawn(async move {
            let _descriptor = descriptor;
            let close = open.connection.close.clone();
            let served = async {
                match acceptor {
                    None => serve_connection(stream, from, open, api, limits.grace, stopping).await,
                    Some(acceptor) => {
                        let handshake = stopping.run_until_cancelled(acceptor.accept(stream));
                        match handshake.await {
                            Some(Ok(stream)) => {
                                open.connection.handshake_completed();
                                serve_connection(stream, from, open, api, limits.grace, stopping).await;
                            }
                            Some(Err(error)) => tracing::debug!(%from, %error, "TLS handshake failed"),
                            None => {}
                        }
                    }
                }
            };
            close.run_until_cancelled(served).await;
        });
    }
    drop(listener);
    tasks.close();
    // Longer than any task takes.
    let _ = timeout(limits.grace + Duration::from_secs(1), tasks.wait()).await;
}

/// Accepts the next connection, once a file descriptor is available for it.
async fn accept(
    listener: &TcpListener,
    descriptors: &Arc<Semaphore>,
) -> (Option<tokio::sync::OwnedSemaphorePermit>, TcpStream, SocketAddr) {
    // The semaphore is never closed.
    let descriptor = descriptors.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                // A reply is written as a whole, so Nagle's algorithm would only delay its end.
                let _ = stream.set_nodelay(true);
                return (descriptor, stream, from);
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection");
                sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

/// Serves the requests of one connection.
async fn serve_connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    from: SocketAddr,
    open: OpenConnection,
    api: Router,
    grace: Duration,
    stopping: CancellationToken,
) {
    let connection = open.connection.clone();
    let io = TokioIo::new(MonitoredStream::new(stream, connection.clone()));
    let for_requests = connection.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        answer(request, from, for_requests.clone(), api.clone())
    });
    let mut http = http1::Builder::new();
    // `Connections` enforces the deadlines.
    http.timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(MAX_BUFFER_SIZE)
        .max_header_size(MAX_HEADER_SIZE);
    let mut served = pin!(http.serve_connection(io, service).with_upgrades());
    tokio::select! {
        done = served.as_mut() => return log_end(from, done),
        () = stopping.cancelled() => {}
    }
    if !connection.is_serving_request() {
        return;
    }
    served.as_mut().graceful_shutdown();
    tokio::select! {
        done = served => log_end(from, done),
        () = sleep_until(Instant::now() + grace) => tracing::debug!(%from, "closed a connection: its request did not end in time"),
    }
}

fn log_end(from: SocketAddr, done: hyper::Result<()>) {
    if let Err(error) = done {
        tracing::debug!(%from, %error, "a connection failed");
    }
}

async fn answer(
    request: Request<Incoming>,
    from: SocketAddr,
    connection: Arc<Connection>,
    api: Router,
) -> Result<Response<MonitoredResponseBody>, Infallible> {
    let in_flight = connection.begin_request();
    let mut request = request.map(|body| Body::new(MonitoredRequestBody::new(body, connection.clone())));
    request.extensions_mut().insert(ClientAddress(from.ip().to_canonical()));
    request.extensions_mut().insert(connection.proof.clone());
    let response = api.oneshot(request).await?;
    Ok(response.map(|body| MonitoredResponseBody::new(body, in_flight)))
}
