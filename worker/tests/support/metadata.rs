//! A fake of EC2's instance metadata service, version 2.

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::{get, put},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

#[derive(Default)]
struct Service {
    values: Mutex<HashMap<String, String>>,
    /// Number of sessions started; only the last one is valid, unless it has ended.
    sessions: Mutex<usize>,
    ended: Mutex<bool>,
    calls: Mutex<usize>,
    answer: Mutex<Option<StatusCode>>,
}

pub struct Metadata {
    pub url: String,
    service: Arc<Service>,
}

impl Metadata {
    pub async fn start() -> Self {
        let service = Arc::new(Service::default());
        let router = Router::new()
            .route("/latest/api/token", put(begin))
            .route("/latest/meta-data/{*path}", get(read))
            .with_state(service.clone());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, service }
    }

    pub fn set(&self, path: &str, value: &str) {
        self.service.values.lock().unwrap().insert(path.to_owned(), value.to_owned());
    }

    pub fn end_sessions(&self) {
        *self.service.ended.lock().unwrap() = true;
    }

    /// Sets the status with which every read is answered.
    pub fn answer(&self, status: Option<StatusCode>) {
        *self.service.answer.lock().unwrap() = status;
    }

    pub fn sessions(&self) -> usize {
        *self.service.sessions.lock().unwrap()
    }

    pub fn calls(&self) -> usize {
        *self.service.calls.lock().unwrap()
    }
}

async fn begin(State(service): State<Arc<Service>>, headers: HeaderMap) -> Result<String, StatusCode> {
    headers.get("x-aws-ec2-metadata-token-ttl-seconds").ok_or(StatusCode::BAD_REQUEST)?;
    *service.ended.lock().unwrap() = false;
    let mut sessions = service.sessions.lock().unwrap();
    *sessions += 1;
    Ok(format!("session-{sessions}"))
}

async fn read(
    State(service): State<Arc<Service>>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<String, StatusCode> {
    *service.calls.lock().unwrap() += 1;
    let valid = format!("session-{}", service.sessions.lock().unwrap());
    let token = headers.get("x-aws-ec2-metadata-token").and_then(|token| token.to_str().ok());
    if token != Some(valid.as_str()) || *service.ended.lock().unwrap() {
        return Err(StatusCode::UNAUTHORIZED);
    }
    if let Some(status) = *service.answer.lock().unwrap() {
        return Err(status);
    }
    service.values.lock().unwrap().get(&path).cloned().ok_or(StatusCode::NOT_FOUND)
}
