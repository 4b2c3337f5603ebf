//! A loopback web server that serves git repositories as files, and can require a password or redirect.

#![allow(dead_code, reason = "each test binary uses a part")]
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// Options of the server.
#[derive(Default, Clone)]
pub struct ServerOptions {
    /// The required value of `Authorization`.
    pub authorization: Option<String>,
    /// Redirects: path prefix and target URL.
    pub moved: Vec<(String, String)>,
}

pub struct HttpGit {
    pub port: u16,
    /// The request lines received.
    pub requests: Arc<Mutex<Vec<String>>>,
}

impl HttpGit {
    /// Starts a server for the files below `root`.
    pub fn start(root: &Path, options: impl FnOnce(u16) -> ServerOptions) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let (root, options, log) = (root.to_owned(), options(port), requests.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (root, options, log) = (root.clone(), options.clone(), log.clone());
                std::thread::spawn(move || drop(serve(&client, &root, &options, &log)));
            }
        });
        Self { port, requests }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    pub fn request_count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn serve(
    mut client: &TcpStream,
    root: &Path,
    options: &ServerOptions,
    log: &Mutex<Vec<String>>,
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
    log.lock().unwrap().push(first.clone());
    let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut respond = |status: &str, headers: &str, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        client.write_all(head.as_bytes())?;
        client.write_all(body)
    };
    if let Some((from, to)) = options.moved.iter().find(|(from, _)| target.starts_with(from.as_str())) {
        let to = format!("Location: {to}{}\r\n", &target[from.len()..]);
        return respond("301 Moved Permanently", &to, b"");
    }
    if options.authorization.is_some() && authorization != options.authorization {
        return respond("401 Unauthorized", "WWW-Authenticate: Basic realm=\"git\"\r\n", b"");
    }
    let path: PathBuf = root.join(target.split('?').next().unwrap_or_default().trim_start_matches('/'));
    match fs::read(path) {
        Ok(bytes) => respond("200 OK", "Content-Type: text/plain\r\n", &bytes),
        Err(_) => respond("404 Not Found", "", b""),
    }
}
