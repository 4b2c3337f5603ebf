//! A proxy before the container engine that records what it is asked for.

use serde_json::Value;
use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    sync::{Arc, Mutex},
    thread,
};

/// The socket of the engine, unless `DOCKER_HOST` names another one.
const ENGINE_SOCKET: &str = "unix:///var/run/docker.sock";

/// A running proxy. It accepts connections until the process ends.
pub struct EngineProxy {
    dir: tempfile::TempDir,
    /// What was sent over each connection.
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl EngineProxy {
    pub fn start() -> Self {
        let engine = std::env::var("DOCKER_HOST").unwrap_or_else(|_| ENGINE_SOCKET.to_owned());
        let engine = engine.strip_prefix("unix://").expect("an engine with a Unix socket").to_owned();
        let proxy = Self { dir: tempfile::tempdir().unwrap(), requests: Arc::default() };
        let listener = UnixListener::bind(proxy.dir.path().join("engine.sock")).unwrap();
        let requests = proxy.requests.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (engine, requests) = (UnixStream::connect(&engine).unwrap(), requests.clone());
                thread::spawn(move || forward(client, engine, &requests));
            }
        });
        proxy
    }

    /// Returns its address in the form of `DOCKER_HOST`.
    pub fn address(&self) -> String {
        format!("unix://{}", self.dir.path().join("engine.sock").display())
    }

    /// Returns the bodies of the requests to create a container.
    pub fn created_containers(&self) -> Vec<Value> {
        let requests = self.requests.lock().unwrap();
        let mut created = Vec::new();
        for sent in requests.iter().map(|sent| String::from_utf8_lossy(sent)) {
            for request in sent.split("POST /").skip(1).filter(|request| is_creation(request)) {
                let (_, body) = request.split_once("\r\n\r\n").unwrap();
                let start = body.find('{').unwrap();
                let first = serde_json::Deserializer::from_str(&body[start..]).into_iter().next();
                created.push(first.unwrap().unwrap());
            }
        }
        created
    }
}

fn is_creation(request: &str) -> bool {
    request.split(' ').next().is_some_and(|path| path.contains("containers/create"))
}

/// Forwards one connection, and records what the client sends.
fn forward(mut client: UnixStream, mut engine: UnixStream, requests: &Mutex<Vec<Vec<u8>>>) {
    let (mut from_engine, mut to_client) = (engine.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || {
        drop(std::io::copy(&mut from_engine, &mut to_client));
        drop(to_client.shutdown(std::net::Shutdown::Write));
    });
    let index = {
        let mut requests = requests.lock().unwrap();
        requests.push(Vec::new());
        requests.len() - 1
    };
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        requests.lock().unwrap()[index].extend_from_slice(&buffer[..length]);
        if engine.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
    drop(engine.shutdown(std::net::Shutdown::Write));
}
