//! A server whose check runs and notes the provider on loopback keeps.

use super::{
    report_provider::{ReportProvider, app},
    server::{ClaimedJob, Server, URL, pull_request},
};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use tidemill_core::api::path;
use tidemill_services::{HttpMessenger, Notifiers, Services};

pub const CI: &str = "name: ci\non: { push: , pull_request: }\njobs: { test: { image: i, script: [x] } }\n";

pub struct Reported {
    pub server: Server,
    pub provider: ReportProvider,
    deliveries: usize,
}

impl Reported {
    pub async fn new(server: Server, provider_name: &str, registration: Value) -> Self {
        let provider = ReportProvider::start(server.clock.clone()).await;
        let public_url = Some("https://ci.example.org/".to_owned());
        let messenger = Arc::new(HttpMessenger::default());
        let services: Services =
            server.services.clone().with_notifiers(Notifiers { messenger, mail: None, public_url });
        let server = server.with_services(services);
        let mut more = json!({ "api_url": provider.url });
        more.as_object_mut().unwrap().extend(registration.as_object().unwrap().clone());
        server.add_repository(URL, provider_name, more).await;
        Self { server, provider, deliveries: 0 }
    }

    pub async fn with_app(server: Server, more: Value) -> Self {
        let mut registration = json!({ "app": app() });
        registration.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Self::new(server, "github", registration).await
    }

    /// Delivers an event of GitHub, whose commit has this pipeline file.
    pub async fn start_at(&mut self, event: &str, body: &Value, commit: &str, file: &str) {
        self.deliveries += 1;
        let (status, reply) = self.server.github(event, &self.deliveries.to_string(), body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{reply}");
        self.discover(commit, file).await;
    }

    pub async fn discover(&self, commit: &str, file: &str) {
        let claimed = self.claim().await;
        self.server.report_discovery_at(&claimed, commit, &[("p/ci.yml", file)], None).await;
        self.server.finish(&claimed, true).await;
    }

    pub async fn claim(&self) -> ClaimedJob {
        self.server.claim().await.unwrap()
    }

    pub async fn claim_and_finish(&self, success: bool) {
        let job = self.claim().await;
        self.server.finish(&job, success).await;
    }

    /// Fails a job whose log ends with this text.
    pub async fn fail_with_log(&self, text: &str) {
        let job = self.claim().await;
        let log = json!({ "offset": 0, "length": text.len(), "text": text });
        let failure = json!({ "kind": "script_failed", "message": "`x` exited with code 1" });
        let report = json!({ "job_id": job.job(), "lease": job.lease(), "log": log,
                             "end": { "failure": failure, "exit_code": 1 } });
        self.server.ok(Method::POST, path::JOB_STATUS, report).await;
    }

    pub async fn annotate(&self, job: &ClaimedJob, count: usize, file: &str) {
        let annotation = |line: usize| json!({ "level": "failure", "path": file, "line": line + 1, "message": format!("wrong at {line}") });
        let all: Vec<Value> = (0..count).map(annotation).collect();
        let request = json!({ "job_id": job.job(), "lease": job.lease(), "annotations": all });
        self.server.ok(Method::POST, path::JOB_SUMMARY, request).await;
    }

    pub async fn run(&self) {
        for _ in 0..8 {
            self.server.services.outbox.run().await.unwrap();
            self.server.clock.advance(2_000);
        }
    }

    /// Runs the outbox until failed deliveries were repeated.
    pub async fn run_retries(&self) {
        for _ in 0..6 {
            self.run().await;
            self.server.clock.advance(60_000);
        }
    }
}

/// Returns GitHub's event for pull request 5 at a commit.
pub fn request_at(commit: &str, from_fork: bool) -> Value {
    let mut body = pull_request(5, from_fork);
    body["pull_request"]["head"]["sha"] = json!(commit);
    body
}
