//! A git server on the loopback.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

pub struct GitServer {
    pub url: String,
    process: Child,
    _dir: tempfile::TempDir,
}

impl GitServer {
    /// A server that has what the repository at `of` has, and is its `origin`.
    pub fn of(of: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bare = dir.path().join("mill.git");
        git(of, &["clone", "-q", "--bare", ".", &bare.to_string_lossy()]);
        let program = git(of, &["--exec-path"]) + "/git-daemon";
        for _ in 0..20 {
            // Somebody may take the port in between: then it is another one's turn.
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
            let mut process = Command::new(&program)
                .args(["--listen=127.0.0.1", &format!("--port={free}"), "--export-all", "--reuseaddr"])
                .arg(format!("--base-path={}", dir.path().display()))
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let answers = super::wait_until(|| {
                process.try_wait().unwrap().is_some()
                    || TcpStream::connect((Ipv4Addr::LOCALHOST, free)).is_ok()
            });
            if answers.is_ok() && process.try_wait().unwrap().is_none() {
                let url = format!("git://127.0.0.1:{free}/mill.git");
                git(of, &["remote", "add", "origin", &url]);
                git(of, &["fetch", "-q", "origin"]);
                return Self { url, process, _dir: dir };
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        panic!("no git server could be started");
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs git in `dir`; what it printed.
pub fn git(dir: &Path, words: &[&str]) -> String {
    let identity = ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"];
    let done = Command::new("git").current_dir(dir).args(identity).args(words).output().unwrap();
    assert!(done.status.success(), "{words:?}: {done:?}");
    super::text(&done.stdout).trim().to_owned()
}
