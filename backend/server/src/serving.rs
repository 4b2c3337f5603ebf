//! Serves HTTP/1.1 on a listener: who takes too long is closed, and who only holds connections open keeps nobody out.

mod connections;
mod descriptors;
mod limits;
mod stream;

pub use descriptors::{connections_within, raise_open_files};
pub use limits::ConnectionLimits;

use axum::{Router, body::Body, response::Response};
use connections::{Connection, Connections, Open};
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

/// The largest head of a request.
const MAX_HEADER_SIZE: usize = 32 << 10;
/// The largest buffer of a connection.
const MAX_BUFFER_SIZE: usize = 128 << 10;
/// Connections that are being closed while others take their place.
const MAX_CLOSING_CONNECTIONS: usize = 64;
/// Pause after a connection could not be accepted, for want of files say.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Serves `api` on `listener`, with TLS where there is an `acceptor`, until `stopping`; requests then have
/// [`ConnectionLimits::grace`] to end, and all other connections are closed at once.
pub async fn serve(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    api: Router,
    limits: ConnectionLimits,
    stopping: CancellationToken,
) {
    let connections = Connections::new(limits);
    let tasks = TaskTracker::new();
    tasks.spawn(connections.clone().watch(stopping.clone()));
    // A connection that was told to go has its file until its task ends.
    let files = Arc::new(Semaphore::new(limits.max_connections + MAX_CLOSING_CONNECTIONS));
    let phase = if acceptor.is_some() { Phase::Handshake } else { Phase::Idle };
    while let Some((file, stream, from)) = stopping.run_until_cancelled(accept(&listener, &files)).await {
        let Some(open) = connections.open(from.ip(), phase) else {
            tracing::debug!(%from, "there are too many connections");
            continue;
        };
        let (api, acceptor, stopping) = (api.clone(), acceptor.clone(), stopping.clone());
        tasks.spawn(async move {
            let _file = file;
            let close = open.connection.close.clone();
            let served = async {
                match acceptor {
                    None => converse(stream, from, open, api, limits.grace, stopping).await,
                    Some(acceptor) => {
                        let handshake = stopping.run_until_cancelled(acceptor.accept(stream));
                        match handshake.await {
                            Some(Ok(stream)) => {
                                open.connection.secured();
                                converse(stream, from, open, api, limits.grace, stopping).await;
                            }
                            Some(Err(error)) => tracing::debug!(%from, %error, "no TLS with this client"),
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
    // Longer than any of them takes.
    let _ = timeout(limits.grace + Duration::from_secs(1), tasks.wait()).await;
}

/// The next connection, once there is a file for it.
async fn accept(
    listener: &TcpListener,
    files: &Arc<Semaphore>,
) -> (Option<tokio::sync::OwnedSemaphorePermit>, TcpStream, SocketAddr) {
    // It is never closed.
    let file = files.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                // A reply is written at once; to wait for more of it would only delay its end.
                let _ = stream.set_nodelay(true);
                return (file, stream, from);
            }
            Err(error) => {
                tracing::debug!(%error, "a connection cannot be accepted");
                sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

/// Answers the requests of one connection.
async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    from: SocketAddr,
    open: Open,
    api: Router,
    grace: Duration,
    stopping: CancellationToken,
) {
    let connection = open.connection.clone();
    let io = TokioIo::new(MonitoredStream::new(stream, connection.clone()));
    let answering = connection.clone();
    let service =
        service_fn(move |request: Request<Incoming>| answer(request, from, answering.clone(), api.clone()));
    let mut http = http1::Builder::new();
    // The deadlines are those of the registry.
    http.timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(MAX_BUFFER_SIZE)
        .max_header_size(MAX_HEADER_SIZE);
    let mut served = pin!(http.serve_connection(io, service));
    tokio::select! {
        done = served.as_mut() => return ended(from, done),
        () = stopping.cancelled() => {}
    }
    if !connection.is_at_work() {
        return;
    }
    served.as_mut().graceful_shutdown();
    tokio::select! {
        done = served => ended(from, done),
        () = sleep_until(Instant::now() + grace) => tracing::debug!(%from, "a request did not end in time"),
    }
}

fn ended(from: SocketAddr, done: hyper::Result<()>) {
    if let Err(error) = done {
        tracing::debug!(%from, %error, "a connection broke");
    }
}

async fn answer(
    request: Request<Incoming>,
    from: SocketAddr,
    connection: Arc<Connection>,
    api: Router,
) -> Result<Response<MonitoredResponseBody>, Infallible> {
    let in_flight = connection.begin();
    let mut request = request.map(|body| Body::new(MonitoredRequestBody::new(body, connection.clone())));
    request.extensions_mut().insert(ClientAddress(from.ip().to_canonical()));
    request.extensions_mut().insert(connection.proof.clone());
    let response = api.oneshot(request).await?;
    Ok(response.map(|body| MonitoredResponseBody::new(body, in_flight)))
}
