//! A git server on the loopback, and faulty servers.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tidemill_core::execution::assignment::{Preparation, Source};

pub struct GitServer {
    pub dir: tempfile::TempDir,
    process: Child,
    pub url: String,
}

impl GitServer {
    /// Starts a server of `mill.git`, which has one commit.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "-q", "-b", "main", "work"]);
        git(dir.path(), &["init", "-q", "--bare", "-b", "main", "mill.git"]);
        let program = output(dir.path(), &["--exec-path"]) + "/git-daemon";
        for _ in 0..20 {
            // Another process may take the port meanwhile; then the next one is tried.
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
            let mut process = Command::new(&program)
                .args(["--listen=127.0.0.1", &format!("--port={free}"), "--export-all", "--reuseaddr"])
                .arg(format!("--base-path={}", dir.path().display()))
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let started = Instant::now();
            while process.try_wait().unwrap().is_none() && started.elapsed() < Duration::from_secs(60) {
                if TcpStream::connect((Ipv4Addr::LOCALHOST, free)).is_ok() {
                    let server = Self { dir, process, url: format!("git://127.0.0.1:{free}/mill.git") };
                    server.commit("one");
                    return server;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        panic!("no git server could be started");
    }

    /// Pushes a commit with `text` in `mill.txt` and returns its hash.
    pub fn commit(&self, text: &str) -> String {
        let work = self.dir.path().join("work");
        fs::write(work.join("mill.txt"), text).unwrap();
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-q", "-m", text]);
        git(&work, &["push", "-q", "../mill.git", "main"]);
        output(&work, &["rev-parse", "HEAD"])
    }

    pub fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.stop();
    }
}

pub fn git(dir: &Path, args: &[&str]) {
    output(dir, args);
}

pub fn output(dir: &Path, args: &[&str]) -> String {
    let identity = ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"];
    let output = Command::new("git").current_dir(dir).args(identity).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Starts a server that calls `handle` for each connection, and returns its address.
fn server(handle: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let handle = handle.clone();
            std::thread::spawn(move || handle(connection));
        }
    });
    format!("git://127.0.0.1:{port}/mill.git")
}

/// Starts a server that accepts connections and never sends anything.
pub fn silent_server() -> String {
    server(|mut connection| {
        let mut request = [0; 1024];
        while connection.read(&mut request).is_ok_and(|count| count > 0) {}
    })
}

/// Starts a server that sends one byte per second.
pub fn slow_server() -> String {
    server(|mut connection| {
        while connection.write_all(b"0").is_ok() {
            std::thread::sleep(Duration::from_secs(1));
        }
    })
}

/// Starts a proxy of the git server at `url` that stops after `after` bytes of a connection.
pub fn truncating_server(url: &str, after: usize) -> String {
    let upstream: String = url.trim_start_matches("git://").split('/').next().unwrap().to_owned();
    server(move |mut connection| {
        let mut origin = TcpStream::connect(&upstream).unwrap();
        let (mut from_client, mut to_server) = (connection.try_clone().unwrap(), origin.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from_client, &mut to_server);
            let _ = to_server.shutdown(Shutdown::Both);
        });
        let mut remaining = after;
        let mut buffer = [0; 4096];
        while remaining > 0 {
            let max = remaining.min(buffer.len());
            match origin.read(&mut buffer[..max]) {
                Ok(count) if count > 0 && connection.write_all(&buffer[..count]).is_ok() => {
                    remaining -= count;
                }
                // The connection ended before the limit.
                _ => return drop(connection.shutdown(Shutdown::Both)),
            }
        }
        // The connections stay open, so that the client cannot detect the stop.
        let mut rest = [0; 1];
        let _ = connection.set_read_timeout(Some(Duration::from_secs(300)));
        let _ = connection.read(&mut rest);
    })
}

/// Returns sources of this commit on the branch `main`.
pub fn source(url: &str, commit: &str) -> Source {
    Source::Git {
        url: url.to_owned(),
        branch: Some("main".into()),
        commit: commit.to_owned(),
        private_host: true,
        has_credential: false,
    }
}

/// Returns a job with these sources.
pub fn job_with(source: &Source) -> Preparation {
    let id = || uuid::Uuid::now_v7().to_string();
    let job = serde_json::json!({ "job_id": id(), "execution_id": id(), "image": "i", "source": source });
    serde_json::from_value(job).unwrap()
}
