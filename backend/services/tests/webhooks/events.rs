//! Events besides pushes, from the delivery to the execution.

use super::server::{COMMIT, ClaimedJob, Server, URL, pull_request, push};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use tidemill_core::api::path;

const JOBS: &str = "jobs: { a: { image: i, script: [x] } }\n";

fn file(name: &str, on: &str) -> String {
    format!("name: {name}\non: {on}\n{JOBS}")
}

/// Reports the files for the next discovery, ends it, and returns its lines.
async fn discover(server: &Server, files: &[(&str, &str)]) -> Vec<String> {
    let claimed = server.claim().await.expect("a discovery job");
    assert!(claimed.discovery().is_object(), "{:?}", claimed.assignment);
    let reply = server.report_discovery(&claimed, files).await;
    server.finish(&claimed, true).await;
    let lines = reply["lines"].as_array().unwrap();
    lines.iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

async fn finish_next(server: &Server) -> ClaimedJob {
    let job = server.claim().await.expect("a job");
    server.finish(&job, true).await;
    job
}

#[tokio::test]
async fn events_start_the_pipelines_that_name_them() {
    let of_request = file("labels", "{ pull_request: { types: [labeled], labels: [full] } }");
    let release = file("release", "{ release: { pattern: \"^v\" } }");
    let group = file("group", "{ merge_group: { branches: [main] } }");
    let files = [("p/1.yml", &*of_request), ("p/2.yml", &*release), ("p/3.yml", &*group)];
    let mut labeled = pull_request(7, false);
    labeled["action"] = json!("labeled");
    labeled["pull_request"]["labels"] = json!([{ "name": "full" }]);
    let repository = json!({ "clone_url": URL, "default_branch": "main" });
    let released =
        json!({ "action": "published", "repository": repository, "release": { "tag_name": "v1" } });
    let grouped = json!({ "action": "checks_requested", "repository": repository, "merge_group": {
        "head_sha": COMMIT, "head_ref": "refs/heads/gh-readonly-queue/main/pr-7", "base_ref": "refs/heads/main",
        "base_sha": "b".repeat(40) } });
    for (event, body, position, branch) in [
        ("pull_request", labeled, 0, json!("main")),
        ("release", released, 1, Value::Null),
        ("merge_group", grouped, 2, json!("gh-readonly-queue/main/pr-7")),
    ] {
        for server in Server::for_each_store() {
            server.add_repository(URL, "github", json!({})).await;
            assert_eq!(server.github(event, "d", &body).await.0, StatusCode::ACCEPTED, "{event}");
            let lines = discover(&server, &files).await;
            for (at, line) in lines.iter().enumerate() {
                assert_eq!(line.contains(": started: "), at == position, "{event}: {line}");
            }
            let execution = server.executions().await.remove(1);
            assert_eq!(
                (&execution["trigger"], &execution["commit"], &execution["branch"]),
                (&json!(event), &json!(COMMIT), &branch)
            );
        }
    }
}

#[tokio::test]
async fn release_is_discovered_at_its_tag() {
    let server = Server::memory();
    server.add_repository(URL, "github", json!({})).await;
    let body =
        json!({ "action": "published", "repository": { "clone_url": URL }, "release": { "tag_name": "v1" } });
    server.github("release", "d", &body).await;
    let claimed = server.claim().await.unwrap();
    assert_eq!(claimed.discovery()["fetch_ref"], "refs/tags/v1");
    assert_eq!(claimed.assignment["preparation"]["source"]["commit"], "", "the body does not have it");
}

#[tokio::test]
async fn comment_of_a_member_starts_with_the_groups_of_its_pattern() {
    let deploy = file("deploy", "{ comment: { pattern: \"^/deploy (?P<where>[a-z]+)$\" } }");
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({ "approval": "none" })).await;
        server.github("pull_request", "d", &pull_request(7, true)).await;
        discover(&server, &[("p/deploy.yml", &deploy)]).await;
        let comment = |text: &str, association: &str| {
            json!({ "action": "created", "sender": { "login": "jo" }, "repository": { "clone_url": URL },
                "issue": { "number": 7, "pull_request": {} },
                "comment": { "body": text, "user": { "login": "jo" }, "author_association": association } })
        };
        let (status, refused) = server.github("issue_comment", "1", &comment("/deploy prod", "NONE")).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            refused["lines"],
            json!(["nothing starts: jo is not an owner, a member or a collaborator of the repository"])
        );
        server.github("issue_comment", "2", &comment("Please do", "MEMBER")).await;
        let lines = discover(&server, &[("p/deploy.yml", &deploy)]).await;
        assert_eq!(
            lines,
            ["p/deploy.yml: not started: the `pattern` of its `on` does not match the comment"]
        );
        server.github("issue_comment", "3", &comment("/deploy prod\r\n", "MEMBER")).await;
        let lines = discover(&server, &[("p/deploy.yml", &deploy)]).await;
        assert!(lines[0].contains(": started: deploy 1"), "{lines:?}");
        let job = server.claim().await.unwrap();
        assert_eq!(job.assignment["variables"]["INPUT_WHERE"], "prod");
        assert_eq!(job.assignment["preparation"]["origin"]["is_fork"], true, "a fork stays one");
        let execution = server.executions().await.pop().unwrap();
        assert_eq!(
            (&execution["inputs"], &execution["trigger"], &execution["requested_by"]),
            (&json!({ "where": "prod" }), &json!("comment"), &json!("jo"))
        );
    }
}

#[tokio::test]
async fn pipelines_that_follow_each_other_end() {
    let ping = file("ping", "{ push: , pipeline: { name: pong, status: any } }");
    let pong = file("pong", "{ pipeline: { name: ping } }");
    let files = [("p/ping.yml", &*ping), ("p/pong.yml", &*pong)];
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        server.github("push", "d", &push("main")).await;
        discover(&server, &files).await;
        let mut last = Vec::new();
        for name in ["pong", "ping", "pong", "ping", "pong"] {
            finish_next(&server).await;
            assert_eq!(server.services.follow_ups.run().await.unwrap(), 1, "before {name}");
            last = discover(&server, &files).await;
            assert!(last.iter().any(|line| line.contains(&format!(": started: {name} "))), "{last:?}");
        }
        assert!(last.iter().any(|line| line.contains("at most 5 executions follow each other")), "{last:?}");
        finish_next(&server).await;
        assert_eq!(server.services.follow_ups.run().await.unwrap(), 0);
        assert!(server.claim().await.is_none());
    }
}

#[tokio::test]
async fn scheduled_pipeline_is_followed() {
    let nightly = file("nightly", "{ schedule: \"@hourly\" }");
    let report = file("report", "{ pipeline: { name: nightly }, schedule: \"@yearly\" }");
    let files = [("p/nightly.yml", &*nightly), ("p/report.yml", &*report)];
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        server.github("push", "d", &push("main")).await;
        discover(&server, &files).await;
        server.clock.advance(3_600_000);
        assert_eq!(server.services.schedules.run().await.unwrap(), 1);
        let claimed = server.claim().await.unwrap();
        assert_eq!(claimed.discovery()["only"], json!(["p/nightly.yml", "p/report.yml"]));
        assert_eq!(claimed.discovery()["start_only"], json!(["p/nightly.yml"]));
        let reply = server.report_discovery(&claimed, &files).await;
        assert_eq!(reply["lines"].as_array().unwrap().len(), 1, "the other one is only read: {reply}");
        server.finish(&claimed, true).await;
        finish_next(&server).await;
        assert_eq!(server.services.follow_ups.run().await.unwrap(), 1);
        let lines = discover(&server, &files).await;
        assert!(lines[1].contains("p/report.yml: started: report 1"), "{lines:?}");
    }
}

#[tokio::test]
async fn what_follows_a_fork_is_of_the_fork() {
    let build = file("build", "{ pull_request: }");
    let deploy = file("deploy", "{ pipeline: { name: build } }");
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({ "approval": "forks" })).await;
        server.github("pull_request", "d", &pull_request(7, true)).await;
        discover(&server, &[("p/build.yml", &build), ("p/deploy.yml", &deploy)]).await;
        let id = server.executions().await[1]["id"].as_str().unwrap().to_owned();
        assert_eq!(server.services.follow_ups.run().await.unwrap(), 0, "it waits for an approval");
        server.ok(Method::POST, &path::APPROVE_EXECUTION.replace("{executionId}", &id), json!({})).await;
        finish_next(&server).await;
        server.clock.advance(60_000);
        assert_eq!(server.services.follow_ups.run().await.unwrap(), 1);
        let claimed = server.claim().await.unwrap();
        assert_eq!(claimed.discovery()["fetch_ref"], "refs/pull/7/head");
        let reply = server.report_discovery(&claimed, &[("p/deploy.yml", &deploy)]).await;
        assert!(reply["lines"][0].as_str().unwrap().ends_with("it waits for an approval"), "{reply}");
        server.finish(&claimed, true).await;
        assert!(server.claim().await.is_none());
    }
}

#[tokio::test]
async fn nothing_follows_what_is_canceled_before_its_approval() {
    let build = file("build", "{ pull_request: }");
    let deploy = file("deploy", "{ pipeline: { name: build, status: any } }");
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({ "approval": "forks" })).await;
        server.github("pull_request", "d", &pull_request(7, true)).await;
        discover(&server, &[("p/build.yml", &build), ("p/deploy.yml", &deploy)]).await;
        let id = server.executions().await[1]["id"].as_str().unwrap().to_owned();
        server.ok(Method::POST, &path::CANCEL_EXECUTION.replace("{executionId}", &id), json!({})).await;
        server.clock.advance(60_000);
        assert_eq!(server.services.follow_ups.run().await.unwrap(), 0);
        assert!(server.claim().await.is_none());
    }
}

#[tokio::test]
async fn api_describes_the_inputs_of_a_file() {
    let server = Server::memory();
    let on = "{ manual: { inputs: { env: { type: choice, options: [dev, prod] } } } }";
    let reply = server.ok(Method::POST, path::INPUTS, json!({ "pipeline": file("ship", on) })).await;
    assert_eq!(reply["pipeline_name"], "ship");
    assert_eq!(
        reply["schema"],
        json!({ "type": "object", "properties": { "env": { "type": "string", "enum": ["dev", "prod"] } },
            "required": ["env"], "additionalProperties": false })
    );
    let (status, reply) = server.call(Method::POST, path::INPUTS, json!({ "pipeline": "name: x\n" })).await;
    assert_eq!(
        (status, &reply["type"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("tidemill:invalid-pipeline"))
    );
    let execute = |inputs: Value| {
        let body = json!({ "pipeline": file("ship", on), "repo": "r", "source": { "kind": "none" }, "inputs": inputs });
        server.call(Method::POST, path::EXECUTE, body)
    };
    assert_eq!(execute(json!({ "env": "dev" })).await.0, StatusCode::CREATED);
    let (status, reply) = execute(json!({})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(reply["detail"].as_str().unwrap().contains("`--input env=VALUE`"), "{reply}");
}

#[tokio::test]
async fn event_that_no_pipeline_of_the_commit_listens_to_starts_no_discovery() {
    let opened = file("opened", "{ pull_request: }");
    let full = file("full", "{ pull_request: { types: [labeled, closed], labels: [full] } }");
    let files = [("p/1.yml", &*opened), ("p/2.yml", &*full)];
    let event = |action: &str, label: &str, commit: &str| {
        let mut body = pull_request(7, false);
        body["action"] = json!(action);
        body["pull_request"]["labels"] = json!([{ "name": label }]);
        body["pull_request"]["head"]["sha"] = json!(commit);
        body
    };
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        let mut number = 0;
        let mut starts = async |action: &str, label: &str, commit: &str| {
            number += 1;
            let id = number.to_string();
            let (_, reply) = server.github("pull_request", &id, &event(action, label, commit)).await;
            let line = reply["lines"][0].as_str().unwrap().to_owned();
            assert_eq!(line.starts_with("started discovery"), !line.starts_with("nothing starts"), "{line}");
            line.starts_with("started discovery")
        };
        // Nothing is known before the discovery of the commit has ended.
        assert!(starts("opened", "other", COMMIT).await);
        assert!(starts("labeled", "other", COMMIT).await);
        discover(&server, &files).await;
        for (action, label, expected) in [
            ("labeled", "other", false),
            ("unlabeled", "full", false),
            ("closed", "other", false),
            ("labeled", "full", true),
            ("closed", "full", true),
            // Events about the commit always do.
            ("reopened", "other", true),
            ("synchronize", "other", true),
        ] {
            assert_eq!(starts(action, label, COMMIT).await, expected, "{action} {label}");
        }
        let other = "c".repeat(40);
        assert!(starts("labeled", "other", &other).await, "the pipelines of another commit are not known");
        assert!(starts("labeled", "other", COMMIT).await, "those of the last one are no longer");
    }
}

#[tokio::test]
async fn event_starts_a_discovery_if_the_last_one_found_an_invalid_file() {
    let server = Server::memory();
    server.add_repository(URL, "github", json!({})).await;
    server.github("pull_request", "1", &pull_request(7, false)).await;
    discover(&server, &[("p/1.yml", "name: [")]).await;
    let mut labeled = pull_request(7, false);
    labeled["action"] = json!("labeled");
    let (_, reply) = server.github("pull_request", "2", &labeled).await;
    assert!(reply["lines"][0].as_str().unwrap().starts_with("started discovery"), "{reply}");
}

#[tokio::test]
async fn failed_discovery_is_listed_beside_pipelines() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        let listed = async |query: &str| {
            let path = format!("{}?{query}", path::EXECUTIONS);
            let list = server.ok(Method::GET, &path, Value::Null).await;
            list["executions"].as_array().unwrap().len()
        };
        for (id, file, succeeds) in [("1", "jobs: nothing", false), ("2", "", true)] {
            server.github("push", id, &push("main")).await;
            let claimed = server.claim().await.unwrap();
            let files = [(".pipelines/ci.yml", file)];
            server.report_discovery(&claimed, if succeeds { &[] } else { &files }).await;
            server.finish(&claimed, succeeds).await;
        }
        assert_eq!(listed("kind=run_pipeline").await, 0);
        assert_eq!(listed("kind=run_pipeline&failed_discoveries=true").await, 1);
        assert_eq!(listed("kind=run_pipeline&failed_discoveries=false").await, 0);
        assert_eq!(listed("").await, 2);
    }
}

#[tokio::test]
async fn pipeline_of_a_branch_starts_by_name_with_its_inputs() {
    let on = "{ push: { branches: [never] }, manual: { inputs: { level: { type: number, default: 1 } } } }";
    let (deploy, other) = (file("deploy", on), file("other", "{ push: }"));
    for server in Server::for_each_store() {
        let run = async |body: Value| server.call(Method::POST, path::RUN_PIPELINE, body).await;
        let body =
            json!({ "repo": URL, "path": "p/deploy.yml", "branch": "topic", "inputs": { "level": 7 } });
        assert_eq!(run(body.clone()).await.0, StatusCode::NOT_FOUND, "it is not registered");
        server.add_repository(URL, "github", json!({})).await;
        let unsafe_branch = json!({ "repo": URL, "path": "a.yml", "branch": "--upload-pack=x" });
        assert_eq!(run(unsafe_branch).await.0, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(run(body.clone()).await.0, StatusCode::CREATED);
        let claimed = server.claim().await.expect("a discovery job");
        let discovery = claimed.discovery();
        assert_eq!(discovery["fetch_ref"], "refs/heads/topic");
        assert_eq!(discovery["only"], json!(["p/deploy.yml"]), "{discovery}");
        // A worker reports only the file that it was asked for; another one would not start either.
        let reply =
            server.report_discovery(&claimed, &[("p/deploy.yml", &deploy), ("p/other.yml", &other)]).await;
        server.finish(&claimed, true).await;
        assert_eq!(reply["failed"], false, "{reply}");
        assert_eq!(server.pipelines().await, ["discover", "deploy"]);
        let started = server.executions().await.remove(1);
        assert_eq!((&started["trigger"], &started["branch"]), (&json!("manual"), &json!("topic")));
        assert_eq!(started["inputs"], json!({ "level": "7" }));
        finish_next(&server).await;

        // A missing file and a wrong input fail the discovery.
        run(body.clone()).await;
        let claimed = server.claim().await.expect("a discovery job");
        assert_eq!(server.report_discovery(&claimed, &[]).await["failed"], true);
        server.finish(&claimed, false).await;
        run(json!({ "repo": URL, "path": "p/deploy.yml", "inputs": { "lvl": 1 } })).await;
        let claimed = server.claim().await.expect("a discovery job");
        let reply = server.report_discovery(&claimed, &[("p/deploy.yml", &deploy)]).await;
        let line = reply["lines"][0].as_str().unwrap();
        assert!(reply["failed"] == true && line.contains("lvl") && line.contains("level"), "{reply}");
        server.finish(&claimed, false).await;
        assert_eq!(server.pipelines().await, ["discover", "deploy", "discover", "discover"]);
        let audit = server.ok(Method::GET, path::AUDIT, Value::Null).await;
        let runs = audit["entries"].as_array().unwrap().iter();
        assert_eq!(runs.filter(|entry| entry["action"] == "pipeline.run").count(), 3, "{audit}");
    }
}

#[tokio::test]
async fn case_everyday_32_only_pushes_to_branches_can_be_skipped() {
    let mut tag = push("main");
    tag["ref"] = json!("refs/tags/v1");
    let released =
        json!({ "action": "published", "repository": { "clone_url": URL }, "release": { "tag_name": "v1" } });
    for (event, body, can_skip) in [
        ("push", push("main"), true),
        ("push", tag, false),
        ("pull_request", pull_request(7, false), false),
        ("release", released, false),
    ] {
        let server = Server::memory();
        server.add_repository(URL, "github", json!({})).await;
        // Whether a push is skipped is known only once its commit is read: the provider gets the same answer.
        assert_eq!(server.github(event, "d", &body).await.0, StatusCode::ACCEPTED, "{event}");
        let claimed = server.claim().await.expect("a discovery job");
        assert!(claimed.discovery().is_object(), "{event}");
        assert_eq!(claimed.discovery()["can_skip"] == true, can_skip, "{event}: {}", claimed.discovery());
    }
}
