//! Misbehaving clients over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tidemill_server::CertificateReloader;
use tidemill_server::ConnectionLimits;
use tidemill_server::EmbeddedConfig;
use tidemill_server::EmbeddedServer;
use tidemill_server::Listeners;
use tidemill_server::raise_open_file_limit;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Timeout of a step, longer than any step takes on a loaded machine.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);
/// A deadline that no test reaches.
const NO_DEADLINE: Duration = Duration::from_secs(3_600);

struct Server {
    public: SocketAddr,
    own: SocketAddr,
    token: String,
    shutdown: CancellationToken,
    served: JoinHandle<tidemill_services::Result<()>>,
    dir: tempfile::TempDir,
}

/// Limits without deadlines that a test reaches.
fn without_deadlines() -> ConnectionLimits {
    ConnectionLimits {
        handshake: NO_DEADLINE,
        head: NO_DEADLINE,
        idle: NO_DEADLINE,
        idle_unauthenticated: NO_DEADLINE,
        request_unauthenticated: NO_DEADLINE,
        stall: NO_DEADLINE,
        ..ConnectionLimits::default()
    }
}

impl Server {
    async fn start(limits: ConnectionLimits) -> Self {
        Self::start_with(limits, None).await
    }

    async fn start_with(limits: ConnectionLimits, tls: Option<std::sync::Arc<CertificateReloader>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = EmbeddedConfig { limits, rate_limit: 0, ..EmbeddedConfig::new(dir.path().join("data")) };
        let embedded = EmbeddedServer::open(config).await.unwrap();
        let public = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let own_workers = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, own) = (public.local_addr().unwrap().port(), own_workers.local_addr().unwrap());
        let (token, shutdown) = (embedded.token().to_owned(), CancellationToken::new());
        let served = tokio::spawn(
            embedded.serve_listeners(Listeners { public, tls, local_workers: own_workers }, shutdown.clone()),
        );
        Self { public: ([127, 0, 0, 1], port).into(), own, token, shutdown, served, dir }
    }

    /// Connects from 127.0.`from`.
    async fn connect(&self, from: [u8; 2]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, from[0], from[1]], 0).into()).unwrap();
        timeout(TEST_TIMEOUT, socket.connect(self.public)).await.unwrap().unwrap()
    }

    /// Returns whether an authenticated request on this connection succeeds.
    async fn request_succeeds(&self, stream: &mut TcpStream) -> bool {
        let request = format!(
            "GET /api/pipeline/executions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n",
            self.token
        );
        if stream.write_all(request.as_bytes()).await.is_err() {
            return false;
        }
        let mut reply = [0; 4_096];
        let read = timeout(TEST_TIMEOUT, stream.read(&mut reply)).await.expect("a reply").unwrap_or(0);
        reply[..read].starts_with(b"HTTP/1.1 200")
    }

    async fn stop(self) -> Duration {
        let start = Instant::now();
        self.shutdown.cancel();
        timeout(TEST_TIMEOUT, self.served).await.expect("the server ends").unwrap().unwrap();
        start.elapsed()
    }
}

/// Returns the time until the server closes this connection.
async fn closed_after(stream: &mut TcpStream) -> Duration {
    let start = Instant::now();
    let mut reply = Vec::new();
    let _ = timeout(TEST_TIMEOUT, stream.read_to_end(&mut reply))
        .await
        .expect("the server closes the connection");
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_do_not_block_authenticated_callers() {
    assert!(raise_open_file_limit() > 4_000, "this test opens many sockets");
    let server =
        Server::start(ConnectionLimits { max_connections: 200, max_per_address: 32, ..without_deadlines() })
            .await;
    let mut early = server.connect([0, 2]).await;
    assert!(server.request_succeeds(&mut early).await);
    let mut held = Vec::new();
    for number in 0..1_200_u16 {
        // First from one address, then from many.
        let from = if number < 600 { [0, 2] } else { [1, (number % 100) as u8] };
        let mut stream = server.connect(from).await;
        // Some send nothing, some part of a head, some part of a body.
        let sent: &[u8] = match number % 3 {
            0 => b"",
            1 => b"GET /api/health HTTP/1.1\r\nx-slow: ",
            _ => b"POST /api/webhook/github HTTP/1.1\r\nhost: a\r\nx-hub-signature-256: a\r\ncontent-length: 9\r\n\r\n",
        };
        // The connection may be closed already.
        let _ = stream.write_all(sent).await;
        held.push(stream);
    }
    assert!(server.request_succeeds(&mut early).await, "an authenticated connection stays");
    for from in [[0, 1], [0, 2], [0, 3]] {
        let mut late = server.connect(from).await;
        assert!(server.request_succeeds(&mut late).await, "{from:?}");
        assert!(server.request_succeeds(&mut late).await, "{from:?} again");
    }
    let mut own = TcpStream::connect(server.own).await.unwrap();
    assert!(server.request_succeeds(&mut own).await);
    server.stop().await;
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn authenticated_callers_are_served_despite_idle_connections() {
    assert!(raise_open_file_limit() > 4_000, "this test opens many sockets");
    let server = Server::start(ConnectionLimits::default()).await;
    let mut held = Vec::new();
    for _ in 0..1_100 {
        held.push(server.connect([0, 2]).await);
    }
    for from in [[0, 1], [0, 2]] {
        assert!(server.request_succeeds(&mut server.connect(from).await).await);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_connection_is_closed() {
    let short = Duration::from_millis(300);
    for (limits, sent) in [
        (ConnectionLimits { idle_unauthenticated: short, ..without_deadlines() }, ""),
        (ConnectionLimits { head: short, ..without_deadlines() }, "GET / HTTP/1.1\r\nx: "),
        (
            ConnectionLimits { stall: short, ..without_deadlines() },
            "POST /api/webhook/github HTTP/1.1\r\nhost: a\r\nx-hub-signature-256: a\r\ncontent-length: 9\r\n\r\n",
        ),
        (
            ConnectionLimits { request_unauthenticated: short, ..without_deadlines() },
            "POST /api/webhook/github HTTP/1.1\r\nhost: a\r\nx-hub-signature-256: a\r\ncontent-length: 9\r\n\r\nxxxx",
        ),
    ] {
        let server = Server::start(limits).await;
        let mut stream = server.connect([0, 2]).await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        let after = closed_after(&mut stream).await;
        assert!(after >= Duration::from_millis(200), "{sent}: {after:?}");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_headers_close_connection() {
    let server =
        Server::start(ConnectionLimits { head: Duration::from_millis(500), ..without_deadlines() }).await;
    let mut stream = server.connect([0, 2]).await;
    let start = Instant::now();
    stream.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
    while stream.write_all(b"y").await.is_ok() {
        assert!(start.elapsed() < TEST_TIMEOUT, "the connection is never closed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_reader_closes_connection() {
    let server =
        Server::start(ConnectionLimits { stall: Duration::from_millis(500), ..without_deadlines() }).await;
    let mut stream = server.connect([0, 2]).await;
    let start = Instant::now();
    let requests = "GET /api/openapi.json HTTP/1.1\r\nhost: a\r\n\r\n".repeat(50);
    // Until the server can no longer write, and so stops reading.
    while let Ok(Ok(())) = timeout(Duration::from_secs(5), stream.write_all(requests.as_bytes())).await {
        assert!(start.elapsed() < TEST_TIMEOUT, "the connection is never closed");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_polls_and_uploads_stay_open() {
    let stall = Duration::from_secs(1);
    let limits = ConnectionLimits {
        stall,
        head: stall,
        idle_unauthenticated: stall,
        request_unauthenticated: stall,
        ..without_deadlines()
    };
    let server = Server::start(limits).await;
    // Three seconds of an upload. Its outcome does not matter.
    let mut stream = server.connect([0, 2]).await;
    let head = format!(
        "PUT /api/source/content/{} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ncontent-length: 300000\r\n\r\n",
        "a".repeat(96),
        server.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.write_all(&[0; 10_000]).await.unwrap();
    }
    let mut reply = [0; 1_000];
    let read = timeout(TEST_TIMEOUT, stream.read(&mut reply)).await.unwrap().unwrap();
    assert!(reply[..read].starts_with(b"HTTP/1.1 "), "{:?}", String::from_utf8_lossy(&reply[..read]));
    // A long poll of three seconds for a job.
    let mut stream = server.connect([0, 2]).await;
    let body = r#"{"worker":{"id":"01980000-0000-7000-8000-000000000000","name":"w"},"wait_ms":3000}"#;
    let request = format!(
        "POST /api/job/execute HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        server.token,
        body.len()
    );
    let start = Instant::now();
    stream.write_all(request.as_bytes()).await.unwrap();
    let read = timeout(TEST_TIMEOUT, stream.read(&mut reply)).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&reply[..read]).into_owned();
    assert!(text.starts_with("HTTP/1.1 200") && start.elapsed() > Duration::from_secs(2), "{text}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_heads_are_rejected() {
    let server = Server::start(without_deadlines()).await;
    let mut stream = server.connect([0, 2]).await;
    let head = format!("GET /api/health HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(64 << 10));
    let _ = stream.write_all(head.as_bytes()).await;
    let mut reply = Vec::new();
    let _ = timeout(TEST_TIMEOUT, stream.read_to_end(&mut reply)).await.unwrap();
    assert!(!reply.starts_with(b"HTTP/1.1 200"));
    assert!(server.request_succeeds(&mut server.connect([0, 2]).await).await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_tls_handshake_closes_connection() {
    let dir = tempfile::tempdir().unwrap();
    let generated = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("ci.pem"), dir.path().join("ci.key"));
    std::fs::write(&certificate, generated.cert.pem()).unwrap();
    std::fs::write(&key, generated.signing_key.serialize_pem()).unwrap();
    let tls = CertificateReloader::open(certificate, key).unwrap();
    let limits = ConnectionLimits { handshake: Duration::from_millis(500), ..without_deadlines() };
    let server = Server::start_with(limits, Some(tls)).await;
    let mut silent = server.connect([0, 2]).await;
    closed_after(&mut silent).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_is_bounded() {
    let server = Server::start(without_deadlines()).await;
    let mut held = Vec::new();
    for sent in [
        String::new(),
        "GET / HTTP/1.1\r\nx: ".to_owned(),
        "POST /api/webhook/github HTTP/1.1\r\nhost: a\r\nx-hub-signature-256: a\r\ncontent-length: 9\r\n\r\nx".to_owned(),
        format!(
            "PUT /api/source/content/{} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ncontent-length: 9\r\n\r\nx",
            "a".repeat(96),
            server.token
        ),
    ] {
        let mut stream = server.connect([0, 2]).await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        held.push(stream);
    }
    let mut idle = server.connect([0, 2]).await;
    assert!(server.request_succeeds(&mut idle).await);
    let duration = server.stop().await;
    assert!(duration < Duration::from_secs(8), "{duration:?}");
    for mut stream in held {
        assert!(closed_after(&mut stream).await < Duration::from_secs(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_reports_problems_and_details_need_token() {
    let server = Server::start(ConnectionLimits::default()).await;
    let get = async |authorization: &str| {
        let mut stream = server.connect([0, 2]).await;
        let request =
            format!("GET /api/health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{authorization}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        timeout(TEST_TIMEOUT, stream.read_to_string(&mut reply)).await.unwrap().unwrap();
        reply
    };
    let anonymous = get("").await;
    assert!(anonymous.starts_with("HTTP/1.1 200") && anonymous.contains(r#""status":"ok""#), "{anonymous}");
    assert!(!anonymous.contains("details") && !anonymous.contains("bytes"), "{anonymous}");
    let authenticated = get(&format!("authorization: Bearer {}\r\n", server.token)).await;
    for part in ["store_ms", "disk_free_bytes", "disk_reserve_bytes", "last_sweep_at"] {
        assert!(authenticated.contains(part), "{part} in {authenticated}");
    }
    assert!(get("authorization: Bearer wrong\r\n").await.starts_with("HTTP/1.1 401"));
    assert!(server.dir.path().join("data/reserve").exists());
    server.stop().await;
}
