//! A provider's API on this machine, as far as it takes commit statuses.

use serde_json::Value;
use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
};

/// A git provider's API, which takes commit statuses.
pub struct Provider {
    /// Its address.
    pub url: String,
    heard: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Provider {
    /// One that has heard nothing yet.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let all = heard.clone();
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
        Self { url, heard }
    }

    /// Heads and bodies of the requests so far.
    pub fn heard(&self) -> Vec<(String, Value)> {
        self.heard.lock().unwrap().clone()
    }
}
