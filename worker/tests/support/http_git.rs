//! A web server on the loopback that has git repositories as files, and may ask for a password or send its callers elsewhere.

#![allow(dead_code, reason = "each test binary uses a part")]
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// What a server does besides giving files.
#[derive(Default, Clone)]
pub struct Manners {
    /// The value of `Authorization` that it wants.
    pub authorization: Option<String>,
    /// Where it sends callers: below this path, to that address.
    pub moved: Vec<(String, String)>,
}

pub struct HttpGit {
    pub port: u16,
    /// The first lines of requests.
    pub requests: Arc<Mutex<Vec<String>>>,
}

impl HttpGit {
    /// A server of the files below `root`.
    pub fn start(root: &Path, manners: impl FnOnce(u16) -> Manners) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let (root, manners, seen) = (root.to_owned(), manners(port), requests.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (root, manners, seen) = (root.clone(), manners.clone(), seen.clone());
                std::thread::spawn(move || drop(serve(&client, &root, &manners, &seen)));
            }
        });
        Self { port, requests }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    pub fn heard(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn serve(
    mut client: &TcpStream,
    root: &Path,
    manners: &Manners,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(client.try_clone()?).lines();
    let Some(first) = lines.next().transpose()? else { return Ok(()) };
    let mut authorization = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("Authorization: ") {
            authorization = Some(value.to_owned());
        }
    }
    seen.lock().unwrap().push(first.clone());
    let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut answer = |status: &str, more: &str, body: &[u8]| {
        let head =
            format!("HTTP/1.1 {status}\r\n{more}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        client.write_all(head.as_bytes())?;
        client.write_all(body)
    };
    if let Some((from, to)) = manners.moved.iter().find(|(from, _)| target.starts_with(from.as_str())) {
        let to = format!("Location: {to}{}\r\n", &target[from.len()..]);
        return answer("301 Moved Permanently", &to, b"");
    }
    if manners.authorization.is_some() && authorization != manners.authorization {
        return answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"git\"\r\n", b"");
    }
    let path: PathBuf = root.join(target.split('?').next().unwrap_or_default().trim_start_matches('/'));
    match fs::read(path) {
        Ok(bytes) => answer("200 OK", "Content-Type: text/plain\r\n", &bytes),
        Err(_) => answer("404 Not Found", "", b""),
    }
}
