//! A git server on the loopback, and servers that only look like one.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

pub struct GitServer {
    pub dir: tempfile::TempDir,
    process: Child,
    pub url: String,
}

impl GitServer {
    /// A server of `mill.git`, with one commit.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "-q", "-b", "main", "work"]);
        git(dir.path(), &["init", "-q", "--bare", "-b", "main", "mill.git"]);
        let program = output(dir.path(), &["--exec-path"]) + "/git-daemon";
        for _ in 0..20 {
            // Somebody may take the port in between: then it is another one's turn.
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
            let mut process = Command::new(&program)
                .args(["--listen=127.0.0.1", &format!("--port={free}"), "--export-all", "--reuseaddr"])
                .arg(format!("--base-path={}", dir.path().display()))
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let begun = Instant::now();
            while process.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(60) {
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

    /// Pushes a commit in which `mill.txt` says `words`; its hash.
    pub fn commit(&self, words: &str) -> String {
        let work = self.dir.path().join("work");
        fs::write(work.join("mill.txt"), words).unwrap();
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-q", "-m", words]);
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

pub fn git(dir: &Path, words: &[&str]) {
    output(dir, words);
}

pub fn output(dir: &Path, words: &[&str]) -> String {
    let identity = ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"];
    let done = Command::new("git").current_dir(dir).args(identity).args(words).output().unwrap();
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// The address of a server that does `answer` to each connection.
fn server(answer: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || answer(connection));
        }
    });
    format!("git://127.0.0.1:{port}/mill.git")
}

/// A server that takes connections and never says anything.
pub fn silent() -> String {
    server(|mut connection| {
        let mut asked = [0; 1024];
        while connection.read(&mut asked).is_ok_and(|count| count > 0) {}
    })
}

/// A server that sends a byte a second.
pub fn dripping() -> String {
    server(|mut connection| {
        while connection.write_all(b"0").is_ok() {
            std::thread::sleep(Duration::from_secs(1));
        }
    })
}

/// The git server at `url`, which stops in the middle once it sent so many bytes in one connection.
pub fn stopping(url: &str, after: usize) -> String {
    let behind: String = url.trim_start_matches("git://").split('/').next().unwrap().to_owned();
    server(move |mut connection| {
        let mut origin = TcpStream::connect(&behind).unwrap();
        let (mut asks, mut asked) = (connection.try_clone().unwrap(), origin.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut asks, &mut asked);
            let _ = asked.shutdown(Shutdown::Both);
        });
        let mut left = after;
        let mut buffer = [0; 4096];
        while left > 0 {
            let most = left.min(buffer.len());
            match origin.read(&mut buffer[..most]) {
                Ok(count) if count > 0 && connection.write_all(&buffer[..count]).is_ok() => left -= count,
                // It is over before it was to be cut.
                _ => return drop(connection.shutdown(Shutdown::Both)),
            }
        }
        // Both ends stay open: the client cannot know.
        let mut rest = [0; 1];
        let _ = connection.set_read_timeout(Some(Duration::from_secs(300)));
        let _ = connection.read(&mut rest);
    })
}
