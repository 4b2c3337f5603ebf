//! A fake provider API that accepts commit statuses.

use serde_json::Value;
use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
};

/// A fake API of a git provider that records commit statuses.
pub struct Provider {
    /// URL of the API.
    pub url: String,
    requests: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Provider {
    /// Starts the API.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let all = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (mut text, mut part) = (String::new(), [0; 4096]);
                let whole = |text: &str| {
                    let (head, body) = text.split_once("\r\n\r\n")?;
                    let length =
                        head.to_lowercase().split_once("content-length: ")?.1.lines().next()?.parse().ok()?;
                    (body.len() >= length).then(|| (head.to_owned(), serde_json::from_str(body).unwrap()))
                };
                let request = loop {
                    if let Some(request) = whole(&text) {
                        break Some(request);
                    }
                    match stream.read(&mut part) {
                        Ok(0) | Err(_) => break None,
                        Ok(read) => text.push_str(std::str::from_utf8(&part[..read]).unwrap()),
                    }
                };
                all.lock().unwrap().extend(request);
                let reply = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
                drop(stream.write_all(reply));
            }
        });
        Self { url, requests }
    }

    /// Returns heads and bodies of the requests so far.
    pub fn requests(&self) -> Vec<(String, Value)> {
        self.requests.lock().unwrap().clone()
    }
}
