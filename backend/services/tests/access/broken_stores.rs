//! Every operation while the stores fail with errors as those of a cloud's SDK.

use super::routes::{route_body, route_url};
use super::server::{BOOT, FixtureIds};
use async_trait::async_trait;
use axum::{body::Body, http::Request};
use bytes::Bytes;
use http_body_util::BodyExt;
use std::{sync::Arc, time::Duration};
use tidemill_core::execution::cost::Usage;
use tidemill_core::pipeline::labels::Labels;
use tidemill_core::{
    api::{ContentChecksum, Problem},
    ids::{ArtifactId, ExecutionId, JobId},
    time::Timestamp,
};
use tidemill_services::error::{Error, Result};
use tidemill_services::http::{ROUTES, TokenVerifier, router};
use tidemill_services::ports::{
    ArtifactRecord, ByteStream, Commit, DeadLetter, Document, DocumentKey, Documents, DueNode,
    ExecutionRecord, ExecutionSnapshot, ExecutionState, JobQueue, KeyRecord, KeyStore, Keys, ListFilter,
    Logs, Message, MessageContext, NewDocument, Node, ObjectInfo, Objects, QueuedJob, Records, UploadTarget,
    Write,
};
use tidemill_services::{RandomIds, Services, Settings, Stores, SystemClock};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;

/// What an SDK's error says: nothing of it is for callers.
const INTERNAL: [&str; 4] =
    ["arn:aws:dynamodb:", "DispatchFailure", "tidemill-table-7f", "us-east-1.amazonaws.com"];

/// A store whose every call fails.
struct Broken;

fn fail<T>() -> Result<T> {
    let text = format!(
        "DispatchFailure(ConnectorError {{ host: \"{}\" }}) for {}eu-west-1:123456789012:table/{}",
        INTERNAL[3], INTERNAL[0], INTERNAL[2]
    );
    Err(Error::storage("reading the table (ProvisionedThroughputExceededException)", text))
}

#[async_trait]
impl Records for Broken {
    async fn commit(&self, _: Vec<Write>) -> Result<Commit> {
        fail()
    }
    async fn execution(&self, _: ExecutionId) -> Result<Option<ExecutionRecord>> {
        fail()
    }
    async fn execution_state(&self, _: ExecutionId) -> Result<Option<(ExecutionState, u64)>> {
        fail()
    }
    async fn revision(&self, _: ExecutionId) -> Result<Option<u64>> {
        fail()
    }
    async fn snapshot(&self, _: ExecutionId, _: Option<u64>) -> Result<Option<ExecutionSnapshot>> {
        fail()
    }
    async fn executions(&self, _: &ListFilter) -> Result<(Vec<ExecutionRecord>, bool)> {
        fail()
    }
    async fn live_executions(&self, _: Option<ExecutionId>, _: usize) -> Result<Vec<ExecutionId>> {
        fail()
    }
    async fn nodes(&self, _: ExecutionId, _: &[u32]) -> Result<Vec<Node>> {
        fail()
    }
    async fn all_nodes(&self, _: ExecutionId) -> Result<Vec<Node>> {
        fail()
    }
    async fn job(&self, _: JobId) -> Result<Option<Node>> {
        fail()
    }
    async fn upcoming(&self, _: ExecutionId, _: u32, _: usize) -> Result<Vec<u32>> {
        fail()
    }
    async fn remove_execution(&self, _: ExecutionId) -> Result<()> {
        fail()
    }
    async fn key(&self, _: &str) -> Result<Option<KeyRecord>> {
        fail()
    }
    async fn due_nodes(&self, _: Timestamp, _: usize) -> Result<Vec<DueNode>> {
        fail()
    }
    async fn postpone(&self, _: DueNode, _: Timestamp) -> Result<bool> {
        fail()
    }
    async fn artifact(&self, _: ArtifactId) -> Result<Option<ArtifactRecord>> {
        fail()
    }
    async fn artifacts(&self, _: ExecutionId) -> Result<Vec<ArtifactRecord>> {
        fail()
    }
    async fn artifacts_of(&self, _: JobId) -> Result<Vec<ArtifactRecord>> {
        fail()
    }
    async fn expired_artifacts(&self, _: Timestamp, _: usize) -> Result<Vec<ArtifactRecord>> {
        fail()
    }
    async fn dead_letters(&self, _: Option<DeadLetter>, _: usize) -> Result<(Vec<DeadLetter>, bool)> {
        fail()
    }
    async fn wait_for_change(&self, seen: u64) -> u64 {
        seen
    }
    async fn usage(&self, _: ExecutionId) -> Result<Usage> {
        fail()
    }
}

#[async_trait]
impl Documents for Broken {
    async fn get(&self, _: &DocumentKey) -> Result<Option<Document>> {
        fail()
    }
    async fn put(&self, _: NewDocument, _: Option<u64>) -> Result<bool> {
        fail()
    }
    async fn delete(&self, _: &DocumentKey, _: Option<u64>) -> Result<bool> {
        fail()
    }
    async fn list(&self, _: &str, _: &str, _: Option<&str>, _: usize) -> Result<(Vec<Document>, bool)> {
        fail()
    }
    async fn due(&self, _: &str, _: Timestamp, _: usize) -> Result<Vec<Document>> {
        fail()
    }
}

#[async_trait]
impl KeyStore for Broken {
    async fn keys(&self) -> Result<Keys> {
        fail()
    }
}

#[async_trait]
impl JobQueue for Broken {
    async fn send(&self, _: &[QueuedJob], _: MessageContext<'_>) -> Result<()> {
        fail()
    }
    fn route(&self, labels: &Labels) -> Option<Labels> {
        Some(labels.clone())
    }
    async fn receive(
        &self,
        _: Option<ExecutionId>,
        _: &Labels,
        _: u64,
        _: Duration,
    ) -> Result<Option<Message>> {
        fail()
    }
    async fn delete(&self, _: &Message) -> Result<()> {
        fail()
    }
    async fn give_back(&self, _: &Message) -> Result<()> {
        fail()
    }
}

#[async_trait]
impl Objects for Broken {
    async fn put_checked(&self, _: &str, _: Option<&str>, _: ByteStream) -> Result<ObjectInfo> {
        fail()
    }
    async fn info(&self, _: &str) -> Result<Option<ObjectInfo>> {
        fail()
    }
    async fn get(&self, _: &str) -> Result<ByteStream> {
        fail()
    }
    async fn delete(&self, _: &str) -> Result<()> {
        fail()
    }
    async fn upload_target(&self, _: &str, _: Option<&ContentChecksum>) -> Result<UploadTarget> {
        fail()
    }
    async fn download_url(&self, _: &str) -> Result<Option<String>> {
        fail()
    }
}

#[async_trait]
impl Logs for Broken {
    async fn append(&self, _: JobId, _: u32, _: u64, _: &[u8]) -> Result<u64> {
        fail()
    }
    async fn read(&self, _: JobId, _: u32, _: u64, _: usize) -> Result<(Bytes, u64)> {
        fail()
    }
    async fn finish(&self, _: JobId, _: u32) -> Result<()> {
        fail()
    }
    async fn remove(&self, _: JobId, _: u32) -> Result<()> {
        fail()
    }
}

fn broken_stores() -> Stores {
    let broken = Arc::new(Broken);
    Stores {
        records: broken.clone(),
        documents: broken.clone(),
        keys: broken.clone(),
        queue: broken.clone(),
        objects: broken.clone(),
        logs: broken,
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
    }
}

#[tokio::test]
async fn errors_of_stores_are_hidden_by_every_operation() {
    let services = Services::new(broken_stores(), Settings::default(), CancellationToken::new());
    let api = router(services, TokenVerifier::from_token(BOOT).with_rate_limit(0));
    let execution = Uuid::now_v7().to_string();
    let id = || Uuid::now_v7().to_string();
    let ids = FixtureIds { job: id(), lease: id(), artifact: id(), job_token: String::new() };
    let mut failed = 0;
    for route in ROUTES {
        let url = route_url(route, &execution, &ids, &id());
        let request = Request::builder()
            .method(route.method)
            .uri(&url)
            .header("authorization", format!("Bearer {BOOT}"))
            .header("content-type", "application/json")
            .body(Body::from(route_body(route, "ours", &ids).to_string()))
            .unwrap();
        let reply = api.clone().oneshot(request).await.unwrap();
        let (status, kind) = (reply.status(), reply.headers().get("content-type").cloned());
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&body);
        for internal in INTERNAL {
            assert!(!text.contains(internal), "{} {url}: {text}", route.method);
        }
        // What is not there at all has used no store.
        let is_failure = status.is_server_error() && status.as_u16() != 501;
        if is_failure && kind.is_some_and(|kind| kind == "application/problem+json") {
            let problem: Problem = serde_json::from_slice(&body).unwrap();
            let log_id = problem.instance.unwrap_or_default();
            let log_id = log_id.strip_prefix("urn:uuid:").unwrap_or("?");
            assert!(problem.detail.contains(log_id), "{} {url}: {text}", route.method);
            failed += 1;
        }
    }
    assert!(failed > ROUTES.len() / 2, "only {failed} operations used a store");
}
