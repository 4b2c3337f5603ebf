//! A container engine that is slow to create containers: a socket in front of the engine that holds requests back.

use super::{Bench, docker, harness::containers, job, service};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};
use tokio_util::sync::CancellationToken;

/// The engine behind a socket that holds one request to create a container back, and passes it on even if the worker has left.
#[derive(Clone)]
struct SlowEngine {
    /// Requests to create a container so far.
    creations: Arc<AtomicUsize>,
    /// The number of the request that is held back, from 1.
    held: usize,
    /// Whether the request is there.
    is_held: CancellationToken,
    release: CancellationToken,
}

impl SlowEngine {
    /// Listens at `socket`, and holds the creation with this number back, from 1.
    fn listen(socket: &Path, held: usize) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let engine = Self {
            creations: Arc::default(),
            held,
            is_held: CancellationToken::new(),
            release: CancellationToken::new(),
        };
        let accepting = engine.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().pass(client));
            }
        });
        engine
    }

    async fn pass(self, client: UnixStream) {
        let host = std::env::var("DOCKER_HOST").unwrap_or_default();
        let path = host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock");
        let (mut from_engine, mut to_engine) = UnixStream::connect(path).await.unwrap().into_split();
        let (mut from_client, mut to_client) = client.into_split();
        // Replies that nobody reads any more are read all the same.
        tokio::spawn(async move {
            let mut bytes = [0; 16 << 10];
            while let Ok(count @ 1..) = from_engine.read(&mut bytes).await {
                let _ = to_client.write_all(&bytes[..count]).await;
            }
            let _ = to_client.shutdown().await;
        });
        let mut bytes = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
            let text = String::from_utf8_lossy(&bytes[..count]);
            let is_creation = text.starts_with("POST ")
                && text.lines().next().is_some_and(|line| line.contains("/containers/create"));
            if is_creation && self.creations.fetch_add(1, Ordering::SeqCst) + 1 == self.held {
                self.is_held.cancel();
                self.release.cancelled().await;
            }
            to_engine.write_all(&bytes[..count]).await.unwrap();
        }
        let _ = to_engine.shutdown().await;
    }
}

/// Starts a worker whose engine holds the creation with the number `held` back.
async fn start(held: usize, sockets: &tempfile::TempDir) -> (Bench, SlowEngine) {
    let socket = sockets.path().join("engine.sock");
    let engine = SlowEngine::listen(&socket, held);
    let host = format!("unix://{}", socket.display());
    (Bench::start_configured(|config| config.docker_host = Some(host)).await, engine)
}

async fn until_held(engine: &SlowEngine) {
    tokio::time::timeout(Duration::from_secs(60), engine.is_held.cancelled()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn container_of_a_service_created_after_the_jobs_end_is_removed() {
    let sockets = tempfile::tempdir().unwrap();
    // The first container is the job's.
    let (mut bench, engine) = start(2, &sockets).await;
    let mut served = job(&["echo never"]);
    served.extras.services = vec![service("web", "sleep 60", None)];
    bench.enqueue(served);
    until_held(&engine).await;
    *bench.server.cancel.lock().unwrap() = true;
    bench.end().await;
    engine.release.cancel();
    bench.until_none_exists().await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_leaves_its_cleanup_to_another_process_waits_for_creations() {
    let sockets = tempfile::tempdir().unwrap();
    let (bench, engine) = start(1, &sockets).await;
    let label = bench.label();
    bench.enqueue(job(&["echo never"]));
    until_held(&engine).await;
    let stopping = tokio::spawn(bench.worker.stop_without_cleanup());
    tokio::time::timeout(Duration::from_millis(300), async {
        while !stopping.is_finished() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap_err();
    engine.release.cancel();
    assert!(stopping.await.unwrap().unwrap().is_some(), "something is left to be removed");
    let left = containers(&label);
    assert_eq!(left.len(), 1, "the process that cleans up sees the container");
    docker(&["rm", "-f", "-v", &left[0]]);
}
