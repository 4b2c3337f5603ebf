//! End to end: a push to a git server on this machine, a webhook with a provider's published body, the execution, and the commit
//! statuses sent to the provider's API.

mod git_server;
mod provider;

use crate::support::{Backend, TestEnv, text, wait_until};
use git_server::GitServer;
use provider::Provider;
use serde_json::Value;
use std::{fs, process::Command, time::Instant};

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

fn git(env: &TestEnv, args: &[&str]) -> String {
    let identity = ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"];
    let output = Command::new("git").current_dir(env.repo()).args(identity).args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout).trim().to_owned() + &text(&output.stderr)
}

/// Returns the provider's published example of a push to a branch.
fn published_push(provider: &str) -> Value {
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
    let env = on.test_env(PIPELINE);
    let deployment = env.deployment.clone().unwrap();
    let server = GitServer::start(&env.dir.path().join("served"));
    let api = Provider::start();
    let (secret, token) = (env.dir.path().join("secret"), env.dir.path().join("token"));
    fs::write(&secret, SECRET).unwrap();
    fs::write(&token, "the-status-token").unwrap();
    let added = env.tidemill(&[
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

    // `origin` is the repository that is pushed to, so that commands select its executions.
    git(&env, &["remote", "add", "origin", &server.url]);
    // A webhook with a wrong signature is rejected.
    server.install_hook(&webhook, provider, "another secret", &published_push(provider));
    let rejected = git(&env, &["push", "-q", "origin", "main"]);
    assert!(rejected.contains("401"), "{rejected}");

    fs::write(env.repo().join("source.txt"), "pushed just now\n").unwrap();
    git(&env, &["commit", "-aqm", "second"]);
    let after = git(&env, &["rev-parse", "HEAD"]);
    server.install_hook(&webhook, provider, SECRET, &published_push(provider));
    let start = Instant::now();
    let accepted = git(&env, &["push", "-q", "origin", "main"]);
    assert!(accepted.contains("202"), "{accepted}");

    let view = env.wait_for("the pushed commit's pipeline ends", crate::support::has_ended);
    let ended = start.elapsed();
    assert_eq!(
        (&view["execution"]["status"], &view["execution"]["commit"]),
        (&"SUCCESS".into(), &after.as_str().into()),
        "{view:#}"
    );
    assert_eq!(view["execution"]["trigger"], "push");
    assert_eq!(view["jobs"].as_array().unwrap().len(), 1, "no file in docs/ changed: {view:#}");
    let log = env.log("show");
    assert!(log.contains("pushed just now\n") && log.contains(&format!("main is at {after}\n")), "{log}");
    assert_eq!(env.executions().len(), 1);

    wait_until(|| api.requests().last().is_some_and(|(_, body)| body["state"] == "success")).unwrap();
    println!("{provider}: ended {ended:?} after the push, commit status sent {:?} after it", start.elapsed());
    let requests = api.requests();
    let header = match provider {
        "github" => "authorization: Bearer the-status-token",
        "gitea" => "authorization: token the-status-token",
        _ => "private-token: the-status-token",
    };
    let id = view["execution"]["id"].as_str().unwrap();
    for (head, body) in &requests {
        assert!(head.starts_with("POST ") && head.contains(&format!("/statuses/{after} ")), "{head}");
        assert!(head.contains(header), "{head}");
        let context = if provider == "gitlab" { &body["name"] } else { &body["context"] };
        // Pipelines of tests have a unique suffix.
        assert!(context.as_str().unwrap().starts_with("tidemill/pushed"), "{body}");
        if let Some(link) = body["target_url"].as_str() {
            assert!(link.starts_with("http") && link.contains(id), "{link}");
        }
    }
    // Intermediate statuses may be skipped; none follows the final one.
    let before = if provider == "gitlab" { &["pending", "running"][..] } else { &["pending"] };
    let states: Vec<_> = requests.iter().map(|(_, body)| body["state"].as_str().unwrap()).collect();
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

#[test]
fn case_everyday_32_push_that_skips_starts_nothing_and_says_so() {
    let pipeline = PIPELINE
        .replace("push: { branches: [main] }", "push: { branches: [main], tags: [\"v*\"] }")
        .replace("cat source.txt", "echo \"title: $CI_COMMIT_TITLE\"");
    let env = Backend::Server.test_env(&pipeline);
    let deployment = env.deployment.clone().unwrap();
    let server = GitServer::start(&env.dir.path().join("served"));
    let secret = env.dir.path().join("secret");
    fs::write(&secret, SECRET).unwrap();
    let secret = secret.to_str().unwrap();
    let added = env.tidemill(&["repo", "add", &server.url, "--provider", "github", "--secret-file", secret]);
    assert_eq!(added.status.code(), Some(0), "{added:?}");
    git(&env, &["remote", "add", "origin", &server.url]);
    let webhook = format!("{}/api/webhook/github", deployment.server);
    server.install_hook(&webhook, "github", SECRET, &published_push("github"));
    let discoveries = || {
        let listed = ["status", "--all", "--all-repositories", "--pipeline", "discover", "--format", "json"];
        env.json(&listed).as_array().unwrap().clone()
    };
    let ended = |count: usize| {
        wait_until(|| {
            let all = discoveries();
            all.len() == count && all.iter().all(|one| one["end_time"].is_string())
        })
        .unwrap_or_else(|()| panic!("{:?}", discoveries()));
    };

    git(&env, &["commit", "-q", "--allow-empty", "-m", "bump [skip ci]"]);
    let accepted = git(&env, &["push", "-q", "origin", "main"]);
    assert!(accepted.contains("202"), "{accepted}");
    ended(1);
    let id = discoveries()[0]["id"].as_str().unwrap().to_owned();
    let view = env.json(&["status", &id, "--format", "json"]);
    let job = view["jobs"][0]["job_name"].as_str().unwrap();
    let log = text(&env.tidemill(&["logs", &id, job]).stdout);
    assert!(log.contains("[skip ci]") && log.contains("nothing is started for this push"), "{log}");
    assert!(env.executions().is_empty(), "{:?}", env.executions());

    // A tag on the same commit is not skipped, and neither is the next push.
    git(&env, &["tag", "v1"]);
    git(&env, &["push", "-q", "origin", "v1"]);
    ended(2);
    assert_eq!(env.executions().len(), 1);
    git(&env, &["commit", "-q", "--allow-empty", "-m", "plain"]);
    git(&env, &["push", "-q", "origin", "main"]);
    ended(3);
    assert_eq!(env.executions().len(), 2);
    env.wait_for("the pipeline ends", crate::support::has_ended);
}
