//! Sources from a git server on the loopback.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tidemill_core::assignment::Source;
use tidemill_worker::source::{materialise, resolve};

struct GitServer {
    dir: tempfile::TempDir,
    process: Child,
    url: String,
}

impl GitServer {
    /// A server of `mill.git`, with one commit.
    fn start() -> Self {
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
    fn commit(&self, words: &str) -> String {
        let work = self.dir.path().join("work");
        fs::write(work.join("mill.txt"), words).unwrap();
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-q", "-m", words]);
        git(&work, &["push", "-q", "../mill.git", "main"]);
        output(&work, &["rev-parse", "HEAD"])
    }

    fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn git(dir: &Path, words: &[&str]) {
    output(dir, words);
}

fn output(dir: &Path, words: &[&str]) -> String {
    let identity = ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"];
    let done = Command::new("git").current_dir(dir).args(identity).args(words).output().unwrap();
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

fn text(source: &Source, cache: &Path) -> String {
    let tree = materialise(source, cache).unwrap().unwrap();
    fs::read_to_string(tree.path.join("mill.txt")).unwrap()
}

/// The one mirror in `cache`.
fn mirror(cache: &Path) -> PathBuf {
    let repos = fs::read_dir(cache.join("repos")).unwrap().map(|entry| entry.unwrap().path());
    let mirrors: Vec<PathBuf> =
        repos.filter(|path| path.extension().is_some_and(|suffix| suffix == "git")).collect();
    assert_eq!(mirrors.len(), 1, "{mirrors:?}");
    mirrors[0].clone()
}

#[test]
fn a_repository_is_fetched_once_and_then_only_what_is_new() {
    let mut server = GitServer::start();
    let cache = tempfile::tempdir().unwrap();
    let first = resolve(&server.url, None, None).unwrap();
    let Source::Git { branch, .. } = &first else { panic!("{first:?}") };
    assert_eq!(branch.as_deref(), Some("main"), "the default branch is found");
    assert_eq!(text(&first, cache.path()), "one");

    let second_commit = server.commit("two");
    let second = resolve(&server.url, Some("main"), None).unwrap();
    assert!(matches!(&second, Source::Git { commit, .. } if *commit == second_commit), "{second:?}");
    assert_eq!(text(&second, cache.path()), "two");
    let packed = output(&mirror(cache.path()), &["count-objects", "-v"]);
    assert!(packed.contains("count: 6") || packed.contains("in-pack: 6"), "two commits, no more: {packed}");

    // What was fetched is there without the server, even when its trees are gone.
    server.stop();
    fs::remove_dir_all(cache.path().join("trees")).unwrap();
    assert_eq!(text(&first, cache.path()), "one");
    assert_eq!(text(&second, cache.path()), "two");
}

#[test]
fn what_is_not_there_is_said() {
    let server = GitServer::start();
    let cache = tempfile::tempdir().unwrap();
    let refused = resolve(&server.url, Some("nowhere"), None).unwrap_err().to_string();
    assert!(refused.contains("no branch or tag `nowhere`"), "{refused}");
    let refused = resolve(&server.url, None, Some("abc123")).unwrap_err().to_string();
    assert!(refused.contains("not a full commit hash"), "{refused}");
    let missing = resolve(&server.url, None, Some(&"12".repeat(20)));
    let refused = materialise(&missing.unwrap(), cache.path()).unwrap_err().to_string();
    assert!(refused.contains("no commit"), "{refused}");
    let away = resolve("git://127.0.0.1:1/mill.git", None, None).unwrap_err().to_string();
    assert!(away.contains("git:"), "{away}");
}
