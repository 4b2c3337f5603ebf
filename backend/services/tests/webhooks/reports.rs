//! Check runs and notes, at a git provider on loopback that checks each request.

use super::{
    report_provider::{APP_ID, Fault, ReportProvider, app},
    server::{COMMIT, ClaimedJob, SECRET, Server, URL, pull_request, push},
};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::{Value, json};
use std::sync::Arc;
use tidemill_core::{api::path, repository::webhook::sign};
use tidemill_services::{HttpMessenger, Notifiers, Services, ports::Clock};

const CI: &str = "name: ci\non: { push: , pull_request: }\njobs: { test: { image: i, script: [x] } }\n";

struct Reported {
    server: Server,
    provider: ReportProvider,
    deliveries: usize,
}

impl Reported {
    async fn new(server: Server, provider_name: &str, registration: Value) -> Self {
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

    async fn with_app(server: Server, more: Value) -> Self {
        let mut registration = json!({ "app": app() });
        registration.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Self::new(server, "github", registration).await
    }

    /// Delivers an event of GitHub, whose commit has this pipeline file.
    async fn start_at(&mut self, event: &str, body: &Value, commit: &str, file: &str) {
        self.deliveries += 1;
        let (status, reply) = self.server.github(event, &self.deliveries.to_string(), body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{reply}");
        self.discover(commit, file).await;
    }

    async fn discover(&self, commit: &str, file: &str) {
        let claimed = self.claim().await;
        self.server.report_discovery_at(&claimed, commit, &[("p/ci.yml", file)], None).await;
        self.server.finish(&claimed, true).await;
    }

    async fn claim(&self) -> ClaimedJob {
        self.server.claim().await.unwrap()
    }

    async fn claim_and_finish(&self, success: bool) {
        let job = self.claim().await;
        self.server.finish(&job, success).await;
    }

    /// Fails a job whose log ends with this text.
    async fn fail_with_log(&self, text: &str) {
        let job = self.claim().await;
        let log = json!({ "offset": 0, "length": text.len(), "text": text });
        let failure = json!({ "kind": "script_failed", "message": "`x` exited with code 1" });
        let report = json!({ "job_id": job.job(), "lease": job.lease(), "log": log,
                             "end": { "failure": failure, "exit_code": 1 } });
        self.server.ok(Method::POST, path::JOB_STATUS, report).await;
    }

    async fn annotate(&self, job: &ClaimedJob, count: usize, file: &str) {
        let annotation = |line: usize| json!({ "level": "failure", "path": file, "line": line + 1, "message": format!("wrong at {line}") });
        let all: Vec<Value> = (0..count).map(annotation).collect();
        let request = json!({ "job_id": job.job(), "lease": job.lease(), "annotations": all });
        self.server.ok(Method::POST, path::JOB_SUMMARY, request).await;
    }

    async fn run(&self) {
        for _ in 0..8 {
            self.server.services.outbox.run().await.unwrap();
            self.server.clock.advance(2_000);
        }
    }

    /// Runs the outbox until failed deliveries were repeated.
    async fn run_retries(&self) {
        for _ in 0..6 {
            self.run().await;
            self.server.clock.advance(60_000);
        }
    }
}

fn request_at(commit: &str, from_fork: bool) -> Value {
    let mut body = pull_request(5, from_fork);
    body["pull_request"]["head"]["sha"] = json!(commit);
    body
}

#[tokio::test]
async fn check_run_follows_execution_with_annotations_in_batches() {
    const CI: &str =
        "name: ci\non: { push: }\njobs:\n  a: { image: i, script: [x] }\n  b: { image: i, script: [x] }\n";
    for server in Server::for_each_store() {
        let mut on = Reported::with_app(server, json!({})).await;
        on.start_at("push", &push("main"), COMMIT, CI).await;
        on.run().await;
        let jobs = [on.claim().await, on.claim().await];
        on.run().await;
        for (job, file) in jobs.iter().zip(["a.rs", "b.rs"]) {
            on.annotate(job, 70, file).await;
            on.server.finish(job, false).await;
        }
        on.run().await;
        assert_eq!(on.provider.states(), ["queued", "in_progress", "completed failure"]);
        let requests = on.provider.requests();
        // Created, two states, and two more batches of annotations.
        assert_eq!(requests.len(), 5, "{requests:?}");
        assert_eq!(on.provider.tokens(), 1, "the token is kept");
        let runs = on.provider.runs();
        assert_eq!(runs.len(), 1);
        let run = &runs[0];
        assert_eq!((&run["name"], &run["head_sha"]), (&json!("tidemill/ci"), &json!(COMMIT)));
        let id = on.server.executions().await[1]["id"].clone();
        assert_eq!(run["external_id"], id);
        assert_eq!(run["output"]["title"], "run 1 failed");
        let annotations = run["annotations"].as_array().unwrap();
        assert_eq!(annotations.len(), 140);
        assert_eq!(annotations[0]["path"], "a.rs");
        assert_eq!((&annotations[0]["start_line"], &annotations[0]["title"]), (&json!(1), &json!("a")));
        let summary = run["output"]["summary"].as_str().unwrap();
        assert!(
            summary.contains("**failed:** `a`") && summary.contains("annotations: 140 failures"),
            "{summary}"
        );
        on.server.clock.advance(3_600_000);
        on.start_at("push", &push("topic"), COMMIT, CI).await;
        on.run().await;
        assert_eq!(on.provider.tokens(), 2, "an expired token is replaced");
    }
}

#[tokio::test]
async fn lost_replies_create_and_append_nothing_twice() {
    for server in Server::for_each_store() {
        let mut on = Reported::with_app(server, json!({})).await;
        on.start_at("push", &push("main"), COMMIT, CI).await;
        on.provider.fail_next(Fault::lost_reply());
        on.run_retries().await;
        assert_eq!(on.provider.runs().len(), 1, "{:?}", on.provider.requests());
        let job = on.claim().await;
        on.annotate(&job, 90, "a.rs").await;
        on.server.finish(&job, false).await;
        on.provider.fail_next(Fault::status(503));
        on.provider.fail_next(Fault::lost_reply());
        on.provider.fail_next(Fault::lost_reply());
        on.run_retries().await;
        let runs = on.provider.runs();
        assert_eq!((runs.len(), runs[0]["annotations"].as_array().unwrap().len()), (1, 90));
        assert_eq!((&runs[0]["status"], &runs[0]["conclusion"]), (&json!("completed"), &json!("failure")));
        on.provider.requests();
        on.run_retries().await;
        assert_eq!(on.provider.requests(), Vec::<String>::new(), "everything is delivered");
    }
}

#[tokio::test]
async fn limit_of_requests_is_honoured() {
    for server in Server::for_each_store() {
        let mut on = Reported::with_app(server, json!({})).await;
        let reset = on.server.clock.now().0 / 1_000 + 1_800;
        let limited = Fault::status(403).with_header("x-ratelimit-remaining", "0");
        on.provider.fail_next(limited.with_header("x-ratelimit-reset", reset.to_string()));
        on.start_at("push", &push("main"), COMMIT, CI).await;
        on.server.services.outbox.run().await.unwrap();
        assert_eq!(on.provider.requests().len(), 1);
        // Another execution has the same limit.
        on.start_at("push", &push("topic"), COMMIT, CI).await;
        for _ in 0..17 {
            on.server.services.outbox.run().await.unwrap();
            on.server.clock.advance(100_000);
        }
        assert_eq!(on.provider.requests(), Vec::<String>::new(), "nothing is sent before the limit is reset");
        on.server.clock.advance(200_000);
        on.run_retries().await;
        assert_eq!(on.provider.runs().len(), 2);
        on.provider.fail_next(Fault::status(429).with_header("retry-after", "600"));
        on.claim_and_finish(true).await;
        on.provider.requests();
        on.server.services.outbox.run().await.unwrap();
        on.server.clock.advance(500_000);
        on.server.services.outbox.run().await.unwrap();
        assert_eq!(on.provider.requests().len(), 1);
        on.server.clock.advance(200_000);
        on.run_retries().await;
        assert!(on.provider.states().contains(&"completed success".to_owned()), "{:?}", on.provider.states());
    }
}

fn rerun(event: &str, execution: &Value, author: &str) -> Value {
    let mut check = json!({ "head_sha": COMMIT, "app": { "id": APP_ID } });
    if event == "check_run" {
        check["external_id"] = execution.clone();
    }
    json!({ "action": "rerequested", event: check, "sender": { "login": author },
            "repository": { "clone_url": URL, "default_branch": "main" } })
}

#[tokio::test]
async fn checks_are_run_again_by_those_who_may_write() {
    for server in Server::for_each_store() {
        let mut on = Reported::with_app(server, json!({})).await;
        on.start_at("push", &push("main"), COMMIT, CI).await;
        let execution = on.server.executions().await[1]["id"].clone();
        on.provider.allow_writer("jo");
        let body = rerun("check_run", &execution, "jo");
        let lines = |reply: &Value| reply["lines"].to_string();
        let (status, reply) = on.server.github_exact("check_run", "live", &body).await;
        assert_eq!(status, StatusCode::OK, "{reply}");
        assert!(lines(&reply).contains("has not ended"), "{reply}");
        on.claim_and_finish(false).await;
        // A wrong signature, people without rights, other Apps and other commits start nothing.
        let forged = Request::post("/api/webhook/github")
            .header("content-type", "application/json")
            .header("x-github-event", "check_run")
            .header(
                "x-hub-signature-256",
                format!("sha256={}", sign(b"another secret", body.to_string().as_bytes())),
            );
        let (status, _) = on.server.send(forged.body(Body::from(body.to_string())).unwrap()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let mut of_app = body.clone();
        of_app["check_run"]["app"]["id"] = json!(1);
        let mut at_commit = body.clone();
        at_commit["check_run"]["head_sha"] = json!("b".repeat(40));
        for (body, why) in [
            (rerun("check_run", &execution, "eve"), "eve may not write to the repository"),
            (of_app, "not those of the App"),
            (at_commit, "no execution here"),
            (rerun("check_run", &json!("x"), "jo"), "no execution here"),
        ] {
            let (status, reply) = on.server.github("check_run", why, &body).await;
            assert_eq!(status, StatusCode::OK, "{reply}");
            assert!(lines(&reply).contains(why), "{reply}");
        }
        assert_eq!(on.server.executions().await.len(), 2);
        let (status, reply) = on.server.github("check_run", "1", &body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{reply}");
        let (status, reply) = on.server.github("check_run", "1", &body).await;
        assert_eq!(status, StatusCode::OK, "{reply}");
        assert!(lines(&reply).contains("delivered before"), "{reply}");
        let executions = on.server.executions().await;
        assert_eq!(executions.len(), 3);
        assert_eq!((&executions[2]["retry_of"], &executions[2]["requested_by"]), (&execution, &json!("jo")));
        on.claim_and_finish(true).await;
        on.run().await;
        assert_eq!(on.provider.runs().len(), 2, "the retry has a check run of its own");
        // All checks of the commit: the newest execution, which succeeded, runs again as a whole.
        let all = rerun("check_suite", &Value::Null, "jo");
        let (status, reply) = on.server.github("check_suite", "2", &all).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{reply}");
        let executions = on.server.executions().await;
        assert_eq!((executions.len(), &executions[3]["retry_of"]), (4, &executions[2]["id"]));
        // Listed people only.
        on.server.add_repository(URL, "github", json!({ "comment_authors": ["ada"] })).await;
        let (_, reply) = on.server.github("check_run", "3", &body).await;
        assert!(lines(&reply).contains("jo is not among"), "{reply}");
    }
}

#[tokio::test]
async fn unapproved_execution_of_a_fork_is_not_started_by_the_button() {
    for server in Server::for_each_store() {
        let mut on = Reported::with_app(server, json!({ "notes": true })).await;
        on.start_at("pull_request", &request_at(COMMIT, true), COMMIT, CI).await;
        on.run().await;
        let runs = on.provider.runs();
        assert_eq!(
            (&runs[0]["status"], &runs[0]["output"]["title"]),
            (&json!("queued"), &json!("run 1 waits for an approval"))
        );
        assert!(on.provider.notes()[0].contains("waits for an approval"), "{:?}", on.provider.notes());
        let execution = on.server.executions().await[1]["id"].clone();
        let id = execution.as_str().unwrap();
        on.server.ok(Method::POST, &path::CANCEL.replace("{executionId}", id), json!({})).await;
        on.run().await;
        assert_eq!(on.provider.runs()[0]["conclusion"], "cancelled");
        on.provider.allow_writer("jo");
        let (status, reply) = on.server.github("check_run", "1", &rerun("check_run", &execution, "jo")).await;
        assert_eq!(status, StatusCode::OK, "{reply}");
        assert_eq!(on.server.executions().await.len(), 2);
        on.provider.requests();
    }
}

#[tokio::test]
async fn note_is_edited_and_written_again_after_its_deletion() {
    for server in Server::for_each_store() {
        for with_app in [true, false] {
            let server = Server::over(server.stores.clone(), server.clock.clone());
            let (provider, auth) = if with_app {
                ("github", json!({ "app": app() }))
            } else {
                ("github", json!({ "app": "remove", "status_token": "T0KEN" }))
            };
            let mut registration = auth;
            registration["notes"] = json!(true);
            registration["approval"] = json!("none");
            let mut on = Reported::new(server, provider, registration).await;
            let commit = if with_app { "c".repeat(40) } else { "d".repeat(40) };
            on.start_at("pull_request", &request_at(&commit, false), &commit, CI).await;
            on.provider.fail_next(Fault::status(500));
            on.provider.fail_next(Fault::status(502));
            on.run_retries().await;
            let notes = on.provider.notes();
            assert_eq!(notes.len(), 1, "{:?}", on.provider.requests());
            assert!(notes[0].contains("is pending at"), "{}", notes[0]);
            on.fail_with_log("compiling\nerror: no pump\n").await;
            on.run().await;
            let notes = on.provider.notes();
            assert_eq!(notes.len(), 1, "it is edited");
            for part in [
                "❌ `ci` [run ",
                "**failed:** `test`",
                "error: no pump",
                "https://ci.example.org/executions/",
            ] {
                assert!(notes[0].contains(part), "{}", notes[0]);
            }
            on.provider.delete_notes();
            let next = "e".repeat(39) + if with_app { "1" } else { "2" };
            on.start_at("pull_request", &request_at(&next, false), &next, CI).await;
            on.run().await;
            let notes = on.provider.notes();
            assert_eq!(notes.len(), 1, "it is written again");
            assert!(notes[0].contains("is pending at") && !notes[0].contains("no pump"), "{}", notes[0]);
            on.claim_and_finish(true).await;
            on.run().await;
            assert!(on.provider.notes()[0].contains("✅ `ci`"), "{:?}", on.provider.notes());
            on.provider.requests();
            on.run_retries().await;
            assert_eq!(on.provider.requests(), Vec::<String>::new(), "everything is delivered");
        }
    }
}

#[tokio::test]
async fn later_commit_replaces_earlier_results_whatever_ends_last() {
    for server in Server::for_each_store() {
        let mut on = Reported::with_app(server, json!({ "notes": true })).await;
        let (old, new) = ("c".repeat(40), "d".repeat(40));
        on.start_at("pull_request", &request_at(&old, false), &old, CI).await;
        let first = on.claim().await;
        on.run().await;
        on.start_at("pull_request", &request_at(&new, false), &new, CI).await;
        on.claim_and_finish(true).await;
        on.run().await;
        on.server.finish(&first, false).await;
        on.run().await;
        let notes = on.provider.notes();
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains("✅ `ci`") && notes[0].contains("`dddddddd`"), "{}", notes[0]);
        assert!(!notes[0].contains("cccccccc") && !notes[0].contains("failed"), "{}", notes[0]);
        // A retry at the earlier commit does not come back.
        let executions = on.server.executions().await;
        let failed = executions.iter().find(|one| one["status"] == "FAILED").unwrap()["id"].as_str().unwrap();
        on.server.ok(Method::POST, &path::RETRY.replace("{executionId}", failed), json!({})).await;
        on.run().await;
        assert_eq!(on.provider.notes(), notes);
        on.provider.requests();
    }
}

#[tokio::test]
async fn output_of_a_fork_is_only_code_in_its_note() {
    const LOG: &str =
        "error: @team see [here](https://e.example) <img src=x onerror=y> #1 ```\n/close\n```\n@all\n";
    let on_file = "name: \"@all <b>x</b> `q` [l](http://e.example)\"\non: { pull_request: }\njobs: { test: { image: i, script: [x] } }\n";
    for server in Server::for_each_store() {
        let mut on = Reported::with_app(server, json!({ "notes": true, "approval": "none" })).await;
        on.start_at("pull_request", &request_at(COMMIT, true), COMMIT, on_file).await;
        on.fail_with_log(LOG).await;
        on.run().await;
        let notes = on.provider.notes();
        assert_eq!(notes.len(), 1);
        let outside = without_code(&notes[0]);
        for part in ["@", "<img", "e.example", "#1", "<b>", "/close"] {
            assert!(!outside.contains(part), "{part}: {outside}");
        }
        assert!(notes[0].contains("@team see"), "{}", notes[0]);
        assert!(!notes[0].lines().any(|line| line.starts_with('/')), "{}", notes[0]);
        on.provider.requests();
    }
}

/// Returns what of a Markdown text is outside of blocks and spans of code, by the rules of CommonMark.
fn without_code(text: &str) -> String {
    let (mut outside, mut is_block) = (String::new(), false);
    for line in text.lines() {
        if line.starts_with("```")
            && (is_block && line.trim_end() == "```" || !is_block && !line[3..].contains('`'))
        {
            is_block = !is_block;
            continue;
        }
        if is_block {
            continue;
        }
        let mut rest = line;
        while let Some(start) = rest.find('`') {
            outside.push_str(&rest[..start]);
            let run = rest[start..].chars().take_while(|c| *c == '`').count();
            let fence = "`".repeat(run);
            let after = &rest[start + run..];
            let mut at = 0;
            let end = loop {
                let Some(found) = after[at..].find(&fence) else { break None };
                let length = after[at + found..].chars().take_while(|c| *c == '`').count();
                if length == run {
                    break Some(at + found);
                }
                at += found + length;
            };
            match end {
                Some(end) => rest = &after[end + run..],
                None => {
                    outside.push_str(&fence);
                    rest = after;
                }
            }
        }
        outside.push_str(rest);
        outside.push('\n');
    }
    assert!(!is_block, "{text}");
    outside
}

/// Posts an event of GitLab or Gitea about merge request 5.
async fn open_request(server: &Server, provider: &str, commit: &str) {
    let (event, header, signature, body) = if provider == "gitlab" {
        let request = json!({ "iid": 5, "title": "T", "action": "open", "source_branch": "t", "target_branch": "main",
            "source_project_id": 1, "target_project_id": 1, "last_commit": { "id": commit } });
        let body = json!({ "object_kind": "merge_request", "user": { "username": "jo" }, "object_attributes": request,
            "project": { "default_branch": "main", "git_http_url": URL } });
        (("x-gitlab-event", "Merge Request Hook"), "x-gitlab-token", SECRET.to_owned(), body)
    } else {
        let body = request_at(commit, false);
        let signature = sign(SECRET.as_bytes(), body.to_string().as_bytes());
        (("x-gitea-event", "pull_request"), "x-gitea-signature", signature, body)
    };
    let request = Request::post(format!("/api/webhook/{provider}"))
        .header("content-type", "application/json")
        .header(event.0, event.1)
        .header(header, signature);
    let (status, reply) = server.send(request.body(Body::from(body.to_string())).unwrap()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{reply}");
}

#[tokio::test]
async fn merge_requests_have_one_note_each() {
    for (provider, created, edited) in [
        (
            "gitlab",
            "POST /projects/team%2Fapp/merge_requests/5/notes",
            "PUT /projects/team%2Fapp/merge_requests/5/notes/1",
        ),
        ("gitea", "POST /repos/team/app/issues/5/comments", "PATCH /repos/team/app/issues/comments/1"),
    ] {
        for server in Server::for_each_store() {
            let on = Reported::new(server, provider, json!({ "status_token": "T0KEN", "notes": true })).await;
            open_request(&on.server, provider, COMMIT).await;
            on.discover(COMMIT, CI).await;
            on.run().await;
            on.claim_and_finish(true).await;
            on.run().await;
            let requests = on.provider.requests();
            let of_notes = |request: &&String| request.contains("notes") || request.contains("comments");
            let requests: Vec<&String> = requests.iter().filter(of_notes).collect();
            assert_eq!(requests, [created, edited]);
            assert!(on.provider.notes()[0].contains("✅ `ci`"), "{:?}", on.provider.notes());
        }
    }
}

#[tokio::test]
async fn invalid_registrations_are_rejected_and_keys_are_not_shown() {
    let server = Server::memory();
    let put = async |provider: &str, more: Value| {
        let mut body = json!({ "url": URL, "provider": provider, "webhook_secret": SECRET });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.call(Method::PUT, path::REPOSITORIES, body).await
    };
    let no_key = json!({ "app": { "set": { "app_id": 1, "installation_id": 2, "private_key": "x" } } });
    for (provider, more, why) in [
        ("github", no_key, "not an RSA key"),
        ("gitlab", json!({ "app": app() }), "for repositories at GitHub"),
        ("github", json!({ "notes": true }), "notes need a token"),
        ("bitbucket", json!({ "notes": true, "status_token": "T" }), "notes are for pull requests at"),
    ] {
        let (status, reply) = put(provider, more).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{reply}");
        assert!(reply["detail"].as_str().unwrap().contains(why), "{reply}");
    }
    let (status, reply) = put("github", json!({ "app": app(), "notes": true })).await;
    assert_eq!(status, StatusCode::OK, "{reply}");
    let list = server.ok(Method::GET, path::REPOSITORIES, Value::Null).await;
    assert_eq!(list["repositories"][0]["app"], json!({ "app_id": APP_ID, "installation_id": 88 }));
    assert_eq!(list["repositories"][0]["notes"], true);
    assert!(!list.to_string().contains("PRIVATE KEY") && !reply.to_string().contains("PRIVATE KEY"));
    let document = tidemill_services::ports::DocumentKey::new("repository", "git.example.org/team/app");
    let stored = server.stores.documents.get(&document).await.unwrap().unwrap();
    assert!(!stored.value.contains("PRIVATE KEY"));
}
