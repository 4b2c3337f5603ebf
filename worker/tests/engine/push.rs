//! Jobs that push commits back to their repository, through git's own HTTP server.

use super::{
    git::{image_with_git, with_credential},
    harness::{Bench, docker, kind},
};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
};
use tidemill_core::repository::credential::RepositoryCredential;

const TOKEN: &str = "token-that-may-push";

/// Returns an address of this machine that containers reach.
pub fn own_address() -> String {
    let args = ["network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}"];
    let subnet = docker(&args).remove(0);
    let peer = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent: the kernel only selects the address.
    peer.connect(format!("{}:9", subnet.split('/').next().unwrap().replace(".0.0", ".0.9"))).unwrap();
    peer.local_addr().unwrap().ip().to_string()
}

/// Serves the repositories below `root` to callers with the user `ci` and the token, and returns the address.
fn serve(root: &Path) -> String {
    let listener = TcpListener::bind((own_address(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let root = root.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let root = root.clone();
            std::thread::spawn(move || drop(answer(&client, &root)));
        }
    });
    format!("http://{address}")
}

/// Answers one request by `git http-backend`.
fn answer(mut client: &TcpStream, root: &Path) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let Some(first) = lines.first() else { return Ok(()) };
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let header = |name: &str| {
        let is_it = |line: &&String| line.to_lowercase().starts_with(&format!("{name}:"));
        lines.iter().find(is_it).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    };
    let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let expected = data_encoding::BASE64.encode(format!("ci:{TOKEN}").as_bytes());
    if header("authorization") != Some(format!("Basic {expected}").as_str()) {
        return client.write_all(
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\n\
              Connection: close\r\n\r\n",
        );
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .envs([("GIT_HTTP_EXPORT_ALL", "1"), ("REMOTE_USER", "ci"), ("REQUEST_METHOD", method)])
        .envs([("PATH_INFO", path), ("QUERY_STRING", query), ("REMOTE_ADDR", "127.0.0.1")])
        .env("CONTENT_TYPE", header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", length.to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding").unwrap_or_default())
        .env("GIT_PROTOCOL", header("git-protocol").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = backend.stdin.take().unwrap();
    std::thread::spawn(move || input.write_all(&body));
    let reply = backend.wait_with_output()?.stdout;
    let end = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&reply[..end]);
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    let body = &reply[end + 4..];
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    client.write_all(head.as_bytes())?;
    client.write_all(body)
}

#[tokio::test(flavor = "multi_thread")]
async fn job_with_the_right_pushes_a_commit_and_one_without_it_is_refused() {
    let mut bench = Bench::start().await;
    let image = image_with_git();
    let root = tempfile::tempdir().unwrap();
    let script = "git init -q --bare -b main app.git && git -C app.git config http.receivepack true && git init -q -b main work && \
                  cd work && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m first && git push -q ../app.git main";
    let done = Command::new("sh").args(["-c", script]).current_dir(root.path()).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let url = format!("{}/app.git", serve(root.path()));
    let log_of = |branch: &str| {
        let bare = root.path().join("app.git");
        let done = Command::new("git").arg("-C").arg(bare).args(["log", "--format=%s", branch]).output();
        String::from_utf8(done.unwrap().stdout).unwrap()
    };
    let add_origin = format!("git remote add origin {url}");
    let push = [
        "export GIT_TERMINAL_PROMPT=0",
        "git init -q -b main . && git config user.name a && git config user.email a@b",
        add_origin.as_str(),
        "git fetch -q origin main && git reset -q --hard origin/main",
        "git commit -q --allow-empty -m \"by a job\"",
        "git push origin HEAD:main",
        "git tag v1 && git push origin v1",
    ];
    for user in ["0", "1000"] {
        let mut assignment = image.job(&push);
        assignment.preparation.image_options.user = Some(user.to_owned());
        let token = RepositoryCredential::Token { user: "ci".into(), token: TOKEN.into() };
        let (end, log) = bench.run(with_credential(assignment, token, &url)).await;
        if user == "0" {
            assert_eq!(kind(&end), None, "{user}: {:?}\n{log}", end.failure);
            assert_eq!(log_of("v1"), "by a job\nfirst\n");
        } else {
            // The commit is there, and the tag exists already.
            assert_eq!(end.exit_code, Some(1), "{log}");
            assert!(log.contains("already exists"), "{log}");
            assert_eq!(log_of("main"), "by a job\nby a job\nfirst\n");
        }
        assert!(!log.contains(TOKEN), "{log}");
    }
    let before = log_of("main");
    for wrong in [None, Some("another-token")] {
        let token =
            RepositoryCredential::Token { user: "ci".into(), token: wrong.unwrap_or(TOKEN).to_owned() };
        let mut assignment = with_credential(image.job(&push), token, &url);
        if let Some(credential) = &mut assignment.extras.credential {
            credential.may_push = wrong.is_some();
        }
        let (end, log) = bench.run(assignment).await;
        assert_eq!(end.exit_code, Some(128), "{log}");
        assert!(log.contains("fatal: ") && !log.contains(TOKEN), "{log}");
    }
    assert_eq!(log_of("main"), before);
    bench.stop().await;
}
