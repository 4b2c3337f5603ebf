//! What notifications say, of which events, and when they are sent.

use super::{
    outbox::{RecordingMessenger, run},
    server::{COMMIT, ClaimedJob, Server, URL, push},
};
use async_trait::async_trait;
use axum::http::Method;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tidemill_core::{api::path, execution::test_report::TestReport, notification::message::OutgoingMail};
use tidemill_services::{
    Notifiers,
    ports::{Clock, MailError, MailSender},
};

const HOOK: &str = "https://notified.example.org/hook";
const KEY: &str = "the signing key of notifications";

#[derive(Debug, Default)]
struct RecordingMail(Mutex<Vec<OutgoingMail>>);

#[async_trait]
impl MailSender for RecordingMail {
    async fn send(&self, mail: &OutgoingMail) -> Result<(), MailError> {
        self.0.lock().unwrap().push(mail.clone());
        Ok(())
    }
}

/// A server whose messages the test reads.
struct Notified {
    server: Server,
    messenger: Arc<RecordingMessenger>,
    mail: Arc<RecordingMail>,
    pushes: usize,
}

impl Notified {
    async fn new(server: Server, receivers: Value) -> Self {
        let messenger = Arc::new(RecordingMessenger::default());
        let mail = Arc::new(RecordingMail::default());
        let public_url = Some("https://ci.example.org/".to_owned());
        let notifiers = Notifiers { messenger: messenger.clone(), mail: Some(mail.clone()), public_url };
        let services = server.services.clone().with_notifiers(notifiers);
        let server = server.with_services(services);
        server.add_repository(URL, "github", json!({ "notify": receivers })).await;
        Self { server, messenger, mail, pushes: 0 }
    }

    /// Pushes to a branch, whose pipeline file this is.
    async fn start(&mut self, branch: &str, file: &str) {
        self.pushes += 1;
        self.server.github("push", &self.pushes.to_string(), &push(branch)).await;
        let claimed = self.server.claim().await.unwrap();
        let details = json!({ "message": "Fix the pump\n\nAll of it.", "author": "Ada <ada@example.org>" });
        let report = json!({ "job_id": claimed.job(), "lease": claimed.lease(), "commit": COMMIT,
                             "files": [{ "path": "p/ci.yml", "text": file }], "details": details });
        self.server.ok(Method::POST, path::DISCOVERY_REPORT, report).await;
        self.server.finish(&claimed, true).await;
    }

    async fn claim(&self) -> ClaimedJob {
        self.server.claim().await.unwrap()
    }

    /// Runs the outbox, and returns what webhooks received since the last call.
    async fn received(&self) -> Vec<Value> {
        run(&self.server).await;
        let received = self.messenger.notifications();
        self.messenger.clear();
        received.iter().map(|post| serde_json::from_str(&post.body).unwrap()).collect()
    }
}

fn hook(more: &Value) -> Value {
    let mut hook = json!({ "kind": "webhook", "url": HOOK, "secret": KEY });
    hook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    hook
}

#[tokio::test]
async fn failure_names_jobs_first_error_lines_author_and_link() {
    const CI: &str = "name: ci\non: { push: }\njobs:\n  good: { image: i, script: [x] }\n  bad: { image: i, script: [x] }\n  \
                      tolerated: { image: i, script: [x], allow_failure: true }\n";
    for server in Server::for_each_store() {
        let mail = json!({ "kind": "email", "to": ["team@example.org"] });
        let mut on = Notified::new(server, json!([hook(&json!({})), mail])).await;
        on.start("main", CI).await;
        for _ in 0..3 {
            let claimed = on.claim().await;
            let name = claimed.assignment["job_name"].as_str().unwrap().to_owned();
            let text = format!("$ x\ncompiling\n{name}.rs:7: error: no pump\n  help: buy one\n");
            let log = json!({ "offset": 0, "length": text.len(), "text": text });
            let failed = json!({ "kind": "script_failed", "message": "`x` exited with code 1" });
            let failure = if name == "good" { Value::Null } else { failed };
            let report = json!({ "job_id": claimed.job(), "lease": claimed.lease(), "log": log,
                                 "end": { "failure": failure, "exit_code": i32::from(name != "good") } });
            on.server.ok(Method::POST, path::JOB_STATUS, report).await;
        }
        let received = on.received().await;
        assert_eq!(received.len(), 1, "{received:?}");
        let notice = &received[0];
        assert_eq!(
            (&notice["event"], &notice["title"], &notice["author"]),
            (&json!("failure"), &json!("Fix the pump"), &json!("Ada")),
            "{notice}"
        );
        let job = json!([{ "name": "bad", "reason": "`x` exited with code 1",
                           "lines": ["bad.rs:7: error: no pump", "  help: buy one"] }]);
        assert_eq!(notice["jobs"], job, "tolerated failures are not named");
        let mails = on.mail.0.lock().unwrap();
        assert_eq!(mails.len(), 1);
        assert_eq!(mails[0].to, ["team@example.org"]);
        assert_eq!(mails[0].subject, "ci 1 of git.example.org/team/app on main failed");
        assert!(mails[0].text.contains("https://ci.example.org/executions/"), "{}", mails[0].text);
        assert!(mails[0].text.contains("    bad.rs:7: error: no pump\n"), "{}", mails[0].text);
    }
}

#[tokio::test]
async fn approval_is_notified_once_and_when_nothing_else_is_awaited() {
    const CI: &str = "name: ci\non: { push: }\njobs:\n  build: { image: i, script: [x] }\n  \
                      deploy: { image: i, script: [x], needs: [build], when: manual }\n";
    for server in Server::for_each_store() {
        let mut on = Notified::new(server, json!([hook(&json!({ "events": ["approval"] }))])).await;
        on.start("main", CI).await;
        assert_eq!(on.received().await, Vec::<Value>::new(), "the build has not ended");
        let build = on.claim().await;
        on.server.finish(&build, true).await;
        let received = on.received().await;
        assert_eq!(received.len(), 1, "{received:?}");
        assert_eq!(
            (&received[0]["event"], &received[0]["jobs"]),
            (&json!("approval"), &json!([{ "name": "deploy" }]))
        );
        assert_eq!(on.received().await, Vec::<Value>::new());
    }
}

#[tokio::test]
async fn test_that_becomes_flaky_is_notified_once() {
    const CI: &str = "name: ci\non: { push: }\njobs: { unit: { image: i, script: [x], retry: 1 } }\n";
    for server in Server::for_each_store() {
        let mut on = Notified::new(server, json!([hook(&json!({ "events": ["flaky"] }))])).await;
        for expected in [1, 0] {
            on.start("main", CI).await;
            let case = json!({ "suite": "gate", "name": "opens" });
            let counts =
                json!({ "tests": 1, "failures": 1, "errors": 0, "skipped": 0, "flaky": 0, "duration_ms": 1 });
            let mut passed = TestReport::default();
            passed.add_passed("gate", "opens");
            let passed = serde_json::to_value(passed).unwrap();
            for (report, success) in [(json!({ "counts": counts, "failed": [case] }), false), (passed, true)]
            {
                let job = on.claim().await;
                let request = json!({ "job_id": job.job(), "lease": job.lease(), "report": report });
                on.server.ok(Method::POST, "/api/job/tests", request).await;
                on.server.finish(&job, success).await;
                on.server.clock.advance(60_000);
            }
            let received = on.received().await;
            assert_eq!(received.len(), expected, "{received:?}");
            for notice in received {
                assert_eq!(notice["tests"], json!(["unit: gate: opens"]));
            }
        }
    }
}

#[tokio::test]
async fn notification_waits_for_the_end_of_quiet_hours_and_for_its_branch() {
    const CI: &str = "name: ci\non: { push: }\njobs: { a: { image: i, script: [x] } }\n";
    const HOUR: i64 = 3_600_000;
    for server in Server::for_each_store() {
        // Quiet from this hour on, for two hours or a little less.
        let hour = server.clock.now().0.div_euclid(HOUR).rem_euclid(24);
        let quiet = json!({ "from": format!("{hour:02}:00"), "to": format!("{:02}:00", (hour + 2) % 24) });
        let receiver = hook(&json!({ "quiet": quiet, "branches": ["main", "release/*"] }));
        let mut on = Notified::new(server, json!([receiver])).await;
        for branch in ["main", "topic", "release/1"] {
            on.start(branch, CI).await;
            let job = on.claim().await;
            on.server.finish(&job, false).await;
        }
        assert_eq!(on.received().await, Vec::<Value>::new(), "it is quiet");
        on.server.clock.advance(2 * HOUR);
        let received = on.received().await;
        let branches: Vec<&str> = received.iter().map(|notice| notice["branch"].as_str().unwrap()).collect();
        assert!(
            branches.len() == 2 && branches.contains(&"main") && branches.contains(&"release/1"),
            "{branches:?}"
        );
    }
}
