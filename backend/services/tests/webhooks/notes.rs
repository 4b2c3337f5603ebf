//! Notes of pull requests, at a provider on loopback that checks each request.

use super::{
    report_provider::{Fault, app},
    reported::{CI, Reported, request_at},
    server::{COMMIT, SECRET, Server, URL},
};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::json;
use tidemill_core::{api::path, repository::webhook::sign};

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

/// The function `notify` on AWS calls this for each change of an execution.
#[tokio::test]
async fn check_run_and_note_are_sent_at_once_by_one_process() {
    for server in Server::for_each_store() {
        let mut on = Reported::with_app(server, json!({ "notes": true })).await;
        on.start_at("pull_request", &request_at(COMMIT, false), COMMIT, CI).await;
        let id = on.server.executions().await[1]["id"].as_str().unwrap().parse().unwrap();
        let changed = async || on.server.services.outbox.send_status_now(id).await.unwrap();
        let (one, other) = tokio::join!(changed(), changed());
        assert_eq!(one + other, 2, "{:?}", on.provider.requests());
        assert_eq!(changed().await, 0, "nothing is new");
        on.claim_and_finish(true).await;
        let (one, other) = tokio::join!(changed(), changed());
        assert_eq!(one + other, 2, "{:?}", on.provider.requests());
        assert_eq!((on.provider.runs().len(), on.provider.notes().len()), (1, 1));
        assert_eq!(on.provider.runs()[0]["conclusion"], "success");
        assert!(on.provider.notes()[0].contains("✅ `ci`"), "{:?}", on.provider.notes());
        on.provider.requests();
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
            rest = if let Some(end) = end {
                &after[end + run..]
            } else {
                outside.push_str(&fence);
                after
            };
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
