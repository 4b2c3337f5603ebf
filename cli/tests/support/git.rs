//! A git server on the loopback interface.

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
    /// Starts a server with a clone of `repository`, and adds it as `origin`.
    pub fn start_origin(repository: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bare = dir.path().join("mill.git");
        git(repository, &["clone", "-q", "--bare", ".", &bare.to_string_lossy()]);
        let program = git(repository, &["--exec-path"]) + "/git-daemon";
        for _ in 0..20 {
            // Another process may take the port in between: then try another one.
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
            let mut process = Command::new(&program)
                .args(["--listen=127.0.0.1", &format!("--port={port}"), "--export-all", "--reuseaddr"])
                .arg(format!("--base-path={}", dir.path().display()))
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let answers = super::wait_until(|| {
                process.try_wait().unwrap().is_some()
                    || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
            });
            if answers.is_ok() && process.try_wait().unwrap().is_none() {
                let url = format!("git://127.0.0.1:{port}/mill.git");
                git(repository, &["remote", "add", "origin", &url]);
                git(repository, &["fetch", "-q", "origin"]);
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

/// Runs git in `dir` and returns its output.
pub fn git(dir: &Path, args: &[&str]) -> String {
    let identity = ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"];
    let done = Command::new("git").current_dir(dir).args(identity).args(args).output().unwrap();
    assert!(done.status.success(), "{args:?}: {done:?}");
    super::text(&done.stdout).trim().to_owned()
}
