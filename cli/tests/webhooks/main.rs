//! A push to a git server on this machine, whose hook posts a provider's published body, through to a finished execution and the
//! commit statuses that the provider's API hears.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod git_server;
mod provider;
#[path = "../support/mod.rs"]
mod support;

use git_server::GitServer;
use provider::Provider;
use serde_json::Value;
use std::{fs, process::Command, time::Instant};
use support::{Backend, Place, text, wait_until};

const SECRET: &str = "a secret of the hook";
const PIPELINE: &str = r#"
name: pushed
on: { push: { branches: [main] } }
stages: [a]
jobs:
  show:
    stage: a
    image: "IMAGE"
    script: ['cat source.txt', 'echo "$TIDEMILL_BRANCH is at $TIDEMILL_COMMIT"']
  docs: { stage: a, image: "IMAGE", if: 'changed("docs/**")', script: ["true"] }
"#;

fn git(place: &Place, words: &[&str]) -> String {
    let identity = ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"];
    let done = Command::new("git").current_dir(place.repo()).args(identity).args(words).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    text(&done.stdout).trim().to_owned() + &text(&done.stderr)
}

/// The body of a push to a branch, as the provider publishes it.
fn published(provider: &str) -> Value {
    let path = format!(
        "{}/../backend/services/tests/fixtures/webhooks/{provider}/push.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let published: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let is_of_branch = |body: &&Value| {
        body["ref"].as_str().is_some_and(|name| name.starts_with("refs/heads/")) && body["deleted"] != true
    };
    match published.as_array() {
        Some(all) => all.iter().find(is_of_branch).unwrap().clone(),
        None => published["body"].clone(),
    }
}

fn push_runs_pipelines_and_sends_statuses(on: &Backend, provider: &str) {
    let place = on.place(PIPELINE);
    let deployment = place.deployment.clone().unwrap();
    let server = GitServer::start(&place.dir.path().join("served"));
    let api = Provider::start();
    let (secret, token) = (place.dir.path().join("secret"), place.dir.path().join("token"));
    fs::write(&secret, SECRET).unwrap();
    fs::write(&token, "the-status-token").unwrap();
    let added = place.tidemill(&[
        "repo",
        "add",
        &server.url,
        "--provider",
        provider,
        "--api-url",
        &api.url,
        "--secret-file",
        secret.to_str().unwrap(),
        "--status-token-file",
        token.to_str().unwrap(),
    ]);
    assert_eq!(added.status.code(), Some(0), "{added:?}");
    let webhook = format!("{}/api/webhook/{provider}", deployment.server);

    // Who does not know the secret starts nothing.
    // The place is a clone of it: its commands are about the repository that is pushed to.
    git(&place, &["remote", "add", "origin", &server.url]);
    server.tell(&webhook, provider, "another secret", &published(provider));
    let refused = git(&place, &["push", "-q", "origin", "main"]);
    assert!(refused.contains("401"), "{refused}");

    fs::write(place.repo().join("source.txt"), "pushed just now\n").unwrap();
    git(&place, &["commit", "-aqm", "second"]);
    let after = git(&place, &["rev-parse", "HEAD"]);
    server.tell(&webhook, provider, SECRET, &published(provider));
    let begun = Instant::now();
    let told = git(&place, &["push", "-q", "origin", "main"]);
    assert!(told.contains("202"), "{told}");

    let view = place.wait_for("the pushed commit's pipeline ends", support::is_over);
    let ended = begun.elapsed();
    assert_eq!(
        (&view["execution"]["status"], &view["execution"]["commit"]),
        (&"SUCCESS".into(), &after.as_str().into()),
        "{view:#}"
    );
    assert_eq!(view["execution"]["trigger"], "push");
    assert_eq!(view["jobs"].as_array().unwrap().len(), 1, "nothing below docs/ changed: {view:#}");
    let log = place.log("show");
    assert!(log.contains("pushed just now\n") && log.contains(&format!("main is at {after}\n")), "{log}");
    assert_eq!(place.executions().len(), 1);

    wait_until(|| api.heard().last().is_some_and(|(_, body)| body["state"] == "success")).unwrap();
    println!("{provider}: over {ended:?} after the push, and heard {:?} after it", begun.elapsed());
    let heard = api.heard();
    let header = match provider {
        "github" => "authorization: Bearer the-status-token",
        "gitea" => "authorization: token the-status-token",
        _ => "private-token: the-status-token",
    };
    let id = view["execution"]["id"].as_str().unwrap();
    for (head, body) in &heard {
        assert!(head.starts_with("POST ") && head.contains(&format!("/statuses/{after} ")), "{head}");
        assert!(head.contains(header), "{head}");
        let context = if provider == "gitlab" { &body["name"] } else { &body["context"] };
        // The test's pipelines have names of their own.
        assert!(context.as_str().unwrap().starts_with("tidemill/pushed"), "{body}");
        if let Some(link) = body["target_url"].as_str() {
            assert!(link.starts_with("http") && link.contains(id), "{link}");
        }
    }
    // A status that was passed through meanwhile may be left out; none comes after the end.
    let before = if provider == "gitlab" { &["pending", "running"][..] } else { &["pending"] };
    let states: Vec<_> = heard.iter().map(|(_, body)| body["state"].as_str().unwrap()).collect();
    let (last, earlier) = states.split_last().unwrap();
    assert!(*last == "success" && earlier.iter().all(|state| before.contains(state)), "{states:?}");
}

#[test]
fn push_runs_on_a_server() {
    for provider in ["github", "gitlab", "gitea"] {
        push_runs_pipelines_and_sends_statuses(&Backend::Server, provider);
    }
}

#[test]
fn push_runs_in_the_cloud() {
    if let Some(cloud) = Backend::cloud() {
        push_runs_pipelines_and_sends_statuses(&cloud, "github");
    }
}
