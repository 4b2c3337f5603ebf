//! Commands act on the repository that one stands in, or that `--repo` names, and on no other: on a server with two of them.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};
use support::{Place, git::git, json as printed, serve, stop, text};
use tidemill_core::{
    api::{ExecuteReply, path},
    ids::ExecutionId,
};
use tidemill_worker::client::{ApiClient, ApiError};

const ALPHA: &str = "https://git.example.org/team/alpha.git";
const BETA: &str = "ssh://git@git.example.org/team/beta";
const NONE: &str = "name: none\njobs:\n  j: { image: \"IMAGE\", script: [\"true\"] }\n";
const CI: &str = "name: ci\njobs:\n  unit: { image: busybox, script: [\"true\"] }\n  \
                  deploy: { image: busybox, script: [\"true\"], when: manual }\n";

/// A server whose jobs nobody runs, a checkout of each of two repositories, and a directory that is in none.
struct RepositoriesFixture {
    place: Place,
    server: Option<Child>,
    url: String,
    token: String,
    api: ApiClient,
    runtime: tokio::runtime::Runtime,
}

impl RepositoriesFixture {
    fn new() -> Self {
        let place = Place::new(NONE);
        let data = place.dir.path().join("server");
        let (server, url) = serve(&place, &data, "0");
        let token = fs::read_to_string(data.join("token")).unwrap();
        let world = Self {
            api: ApiClient::new(&url, &token),
            runtime: tokio::runtime::Runtime::new().unwrap(),
            server: Some(server),
            place,
            url,
            token,
        };
        for (name, origin) in [("alpha", ALPHA), ("beta", "git@git.example.org:team/beta.git")] {
            let dir = world.dir(name);
            fs::create_dir(&dir).unwrap();
            git(&dir, &["init", "-q"]);
            git(&dir, &["remote", "add", "origin", origin]);
        }
        fs::create_dir(world.dir("nowhere")).unwrap();
        world
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.place.dir.path().join(name)
    }

    fn post(&self, api: &ApiClient, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.runtime.block_on(api.post(path, body, Duration::from_secs(60)))
    }

    /// Starts a pipeline; its jobs stay queued.
    fn start(&self, repo: &str, pipeline: &str, branch: &str) -> ExecuteReply {
        let request = json!({
            "pipeline": CI.replace("name: ci", &format!("name: {pipeline}")), "repo": repo, "branch": branch,
            "source": { "kind": "none" }, "force": true, "requested_by": "ann",
        });
        serde_json::from_value(self.post(&self.api, path::EXECUTE, &request).unwrap()).unwrap()
    }

    /// Registers a repository and starts a discovery of its default branch; its job stays queued.
    fn discover(&self, repo: &str) -> ExecuteReply {
        let provider = json!({ "url": repo, "provider": "gitea", "default_branch": "main" });
        self.runtime.block_on(self.api.put_json::<_, Value>(path::REPOSITORIES, &provider)).unwrap();
        serde_json::from_value(self.post(&self.api, path::SYNC, &json!({ "repo": repo })).unwrap()).unwrap()
    }

    fn command(&self, dir: &Path, words: &[&str]) -> Command {
        let mut command = self.place.command(words);
        command.current_dir(dir).env("TIDEMILL_SERVER", &self.url).env("TIDEMILL_TOKEN", &self.token);
        command.stdin(Stdio::null());
        command
    }

    fn tidemill(&self, dir: &str, words: &[&str]) -> Output {
        self.command(&self.dir(dir), words).output().unwrap()
    }

    /// What a command says that must be refused as bad usage.
    fn refused(&self, dir: &str, words: &[&str]) -> String {
        let output = self.tidemill(dir, words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {output:?}");
        text(&output.stderr)
    }

    fn done(&self, dir: &str, words: &[&str]) -> String {
        let output = self.tidemill(dir, words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
        text(&output.stdout)
    }

    fn view(&self, id: ExecutionId) -> Value {
        printed(&self.tidemill("nowhere", &["status", "--json", "--execution", &id.to_string()]))
    }

    fn status(&self, id: ExecutionId) -> String {
        self.view(id)["execution"]["status"].as_str().unwrap().to_owned()
    }

    fn is_approved(&self, id: ExecutionId) -> bool {
        support::job(&self.view(id), "deploy")["approval"] == "given"
    }
}

impl Drop for RepositoriesFixture {
    fn drop(&mut self) {
        if let Some(server) = self.server.take().filter(|_| !std::thread::panicking()) {
            stop(server);
        }
    }
}

#[test]
fn commands_without_an_id_act_on_the_current_repository() {
    let world = RepositoriesFixture::new();
    let alpha = world.start(ALPHA, "ci", "main");
    // The newest of all is another repository's.
    let beta = world.start(BETA, "ci", "main");
    assert_eq!((alpha.run_number, beta.run_number), (1, 1), "each repository counts for itself");

    for (dir, repo, id) in [("alpha", ALPHA, alpha.execution_id), ("beta", BETA, beta.execution_id)] {
        let list = printed(&world.tidemill(dir, &["status", "--json"]));
        let ids: Vec<&Value> = list.as_array().unwrap().iter().map(|of| &of["id"]).collect();
        assert_eq!(ids, [&json!(id)], "{list:#}");
        assert!(world.done(dir, &["status"]).contains(repo));
        let one = world.done(dir, &["status", "--run", "1"]);
        assert!(one.contains(&format!("ci #1 of {repo}")), "{one}");
        let report = printed(&world.tidemill(dir, &["report", "--format", "json"]));
        assert_eq!((&report["execution"]["id"], &report["execution"]["repo"]), (&json!(id), &json!(repo)));
        assert!(world.done(dir, &["report"]).contains(repo));
        assert!(world.done(dir, &["report", "--cost"]).contains(&format!("ci #1 of {repo}")));
        let artifacts = printed(&world.tidemill(dir, &["artifacts", "--json"]));
        assert_eq!(artifacts["execution"]["id"], json!(id));
        assert!(world.done(dir, &["artifacts"]).contains(&format!("ci #1 of {repo}")));
        let logs = world.tidemill(dir, &["logs", "--job", "unit"]);
        assert_eq!(logs.status.code(), Some(0), "{logs:?}");
        assert!(text(&logs.stderr).contains(&format!("`unit` in ci #1 of {repo}")), "{logs:?}");
    }

    let said = world.done("alpha", &["approve", "--job", "deploy"]);
    assert_eq!(said, format!("job `deploy` of ci #1 of {ALPHA}: approved\n"));
    assert!(world.is_approved(alpha.execution_id) && !world.is_approved(beta.execution_id));
    let said = world.done("alpha", &["cancel"]);
    assert_eq!(said, format!("ci #1 of {ALPHA}: canceled\n"));
    let said = world.done("alpha", &["cancel"]);
    assert!(said.contains("already ended: CANCELED"), "{said}");
    assert_eq!(world.status(alpha.execution_id), "CANCELED");
    assert_ne!(world.status(beta.execution_id), "CANCELED");
    // What waits for an approval in another repository is none of this one's.
    let said = world.refused("alpha", &["approve", "--job", "deploy"]);
    assert!(said.contains("too late") || said.contains("over"), "{said}");
    assert!(!world.is_approved(beta.execution_id));
    let watched = world.tidemill("alpha", &["watch"]);
    assert_eq!(watched.status.code(), Some(130), "{watched:?}");
    assert!(text(&watched.stdout).starts_with(&format!("ci #1 of {ALPHA}\n")), "{watched:?}");

    // A retry goes on, as nobody runs its jobs: it is enough that it begins.
    let mut retry = world.command(&world.dir("alpha"), &["retry"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(retry.stdout.as_mut().unwrap()), &mut line)
        .unwrap();
    assert!(line.starts_with(&format!("ci #1 of {ALPHA}: retried as #2 (")), "{line}");
    retry.kill().unwrap();
    retry.wait().unwrap();
    let list = printed(&world.tidemill("beta", &["status", "--json"]));
    assert_eq!(list.as_array().unwrap().len(), 1, "{list:#}");
}

#[test]
fn repo_argument_accepts_every_form_of_an_address() {
    let world = RepositoriesFixture::new();
    let alpha = world.start(ALPHA, "ci", "main");
    world.start(BETA, "ci", "main");
    for dir in ["nowhere", "beta"] {
        for repo in ["git@git.example.org:team/alpha", "ssh://git@git.example.org/team/alpha.git", ALPHA] {
            let list = printed(&world.tidemill(dir, &["status", "--json", "--repo", repo]));
            assert_eq!((list.as_array().unwrap().len(), &list[0]["id"]), (1, &json!(alpha.execution_id)));
        }
    }
    let said = world.done("beta", &["cancel", "--repo", "git@git.example.org:team/alpha"]);
    assert_eq!(said, format!("ci #1 of {ALPHA}: canceled\n"));
}

#[test]
fn commands_outside_of_a_repository_fail_and_list_executions() {
    let world = RepositoriesFixture::new();
    let alpha = world.start(ALPHA, "ci", "main");
    let beta = world.start(BETA, "ci", "topic");
    for command in ["report", "status", "logs", "cancel", "approve", "retry", "artifacts", "watch"] {
        let said = world.refused("nowhere", &[command]);
        for (of, repo, branch) in [(&alpha, ALPHA, "main"), (&beta, BETA, "topic")] {
            let line = said.lines().find(|line| line.contains(&of.execution_id.to_string()));
            let line = line.unwrap_or_else(|| panic!("{command}: {said}"));
            for part in [repo, branch, "ci #1", "by ann"] {
                assert!(line.contains(part), "{command}: {line}");
            }
        }
        assert!(said.contains("not in a repository") && said.contains("--repo"), "{command}: {said}");
    }
    assert!(world.refused("nowhere", &["dead-letters", "--retry"]).contains("--all-repositories"));
    assert_ne!(world.status(alpha.execution_id), "CANCELED");
    assert_ne!(world.status(beta.execution_id), "CANCELED");
    let all = printed(&world.tidemill("nowhere", &["status", "--json", "--all-repositories"]));
    assert_eq!(all.as_array().unwrap().len(), 2);
    // A repository without executions has nothing to act on, whatever others have.
    git(&world.dir("nowhere"), &["init", "-q"]);
    for command in ["report", "logs", "cancel", "approve", "retry", "artifacts", "watch"] {
        let said = world.refused("nowhere", &[command]);
        assert!(said.contains("no matching execution of") && said.contains(ALPHA), "{command}: {said}");
    }
    assert_eq!(printed(&world.tidemill("nowhere", &["status", "--json"])), json!([]));
}

#[test]
fn execution_of_another_repository_is_changed_only_with_repo_argument() {
    let world = RepositoriesFixture::new();
    world.start(ALPHA, "ci", "main");
    let beta = world.start(BETA, "ci", "main");
    let id = beta.execution_id.to_string();
    let report = world.done("alpha", &["report", "--execution", &id]);
    assert!(report.contains(BETA), "{report}");
    for words in [&["cancel"][..], &["approve", "--job", "deploy"], &["retry"]] {
        let words = [words, &["--execution", &id]].concat();
        let said = world.refused("alpha", &words);
        assert!(
            said.contains(&format!("ci #1 of {BETA}"))
                && said.contains(ALPHA)
                && said.contains("nothing was changed")
                && said.contains(&format!("--repo '{BETA}'")),
            "{said}"
        );
        let said = world.refused("nowhere", &[&words[..], &["--repo", ALPHA]].concat());
        assert!(said.contains("not of https://git.example.org/team/alpha.git"), "{said}");
    }
    assert!(!world.is_approved(beta.execution_id));
    assert_ne!(world.status(beta.execution_id), "CANCELED");
    world.done(
        "alpha",
        &["approve", "--execution", &id, "--job", "deploy", "--repo", "git.example.org:team/beta"],
    );
    assert!(world.is_approved(beta.execution_id));
    // Where one stands in no repository, the id says enough.
    world.done("nowhere", &["cancel", "--execution", &id]);
    assert_eq!(world.status(beta.execution_id), "CANCELED");
}

#[test]
fn ambiguous_selection_fails_and_lists_executions() {
    let world = RepositoriesFixture::new();
    let first = world.start(ALPHA, "ci", "main");
    let second = world.start(ALPHA, "ci", "topic");
    // A discovery is selected only by its name.
    let discovery = world.discover(ALPHA);
    for words in
        [&["cancel"][..], &["approve"], &["approve", "--job", "deploy"], &["watch"], &["watch", "--cancel"]]
    {
        let said = world.refused("alpha", words);
        assert!(said.contains("several executions match"), "{said}");
        assert!(!said.contains(&discovery.execution_id.to_string()), "{said}");
        for of in [&first, &second] {
            let line = said.lines().find(|line| line.contains(&of.execution_id.to_string())).unwrap();
            assert!(line.contains(ALPHA) && line.contains(&format!("ci #{}", of.run_number)), "{line}");
        }
    }
    assert_ne!(world.status(first.execution_id), "CANCELED");
    assert_ne!(world.status(second.execution_id), "CANCELED");
    // Of one pipeline the newest is meant when nothing is changed.
    assert!(world.done("alpha", &["report"]).contains("ci #2"));
    let said = world.done("alpha", &["cancel", "--branch", "main"]);
    assert_eq!(said, format!("ci #1 of {ALPHA}: canceled\n"));
    let said = world.done("alpha", &["approve"]);
    assert_eq!(said, format!("job `deploy` of ci #2 of {ALPHA}: approved\n"));

    world.start(ALPHA, "nightly", "main");
    for command in ["report", "logs", "artifacts", "retry", "cancel", "watch"] {
        let said = world.refused("alpha", &[command]);
        assert!(said.contains("ci #2") && said.contains("nightly #1"), "{command}: {said}");
    }
    let said = world.refused("alpha", &["report", "--run", "1"]);
    assert!(said.contains("ci #1") && said.contains("nightly #1"), "{said}");
    assert!(world.done("alpha", &["report", "--pipeline", "nightly"]).contains("nightly #1"));
    assert!(world.done("alpha", &["report", "--run", "2"]).contains("ci #2"));
}

#[test]
fn directories_without_an_origin_are_separate_repositories() {
    let world = RepositoriesFixture::new();
    for name in ["one", "two"] {
        fs::create_dir_all(world.dir(name).join("below")).unwrap();
        git(&world.dir(name), &["init", "-q"]);
    }
    let path = |name: &str| world.dir(name).canonicalize().unwrap().to_string_lossy().into_owned();
    let one = world.start(&path("one"), "ci", "main");
    world.start(&path("two"), "ci", "main");
    for dir in ["one", "one/below"] {
        let report = printed(&world.tidemill(dir, &["report", "--format", "json"]));
        assert_eq!(report["execution"]["id"], json!(one.execution_id), "{dir}");
    }
    let report = printed(&world.tidemill("two", &["report", "--format", "json", "--repo", "../one"]));
    assert_eq!(report["execution"]["id"], json!(one.execution_id));
}

#[test]
fn server_rejects_a_change_to_an_unexpected_repository() {
    let world = RepositoriesFixture::new();
    let beta = world.start(BETA, "ci", "main");
    let view = world.view(beta.execution_id);
    let job = support::job(&view, "deploy")["id"].as_str().unwrap();
    let id = beta.execution_id.to_string();
    let paths = [
        path::CANCEL_EXECUTION.replace("{executionId}", &id),
        path::RETRY.replace("{executionId}", &id),
        path::APPROVE_EXECUTION.replace("{executionId}", &id),
        path::APPROVE_JOB.replace("{jobId}", job),
        path::CANCEL_JOB.replace("{jobId}", job),
        path::DISMISS.replace("{jobId}", job),
    ];
    for path in &paths {
        let refused =
            world.post(&world.api, &format!("{path}?repo=git.example.org%2Fteam%2Falpha"), &json!({}));
        let Err(ApiError::Refused { status: 409, message, .. }) = refused else {
            panic!("{path}: {refused:?}")
        };
        assert!(message.contains("nothing was changed") && message.contains(BETA), "{message}");
    }
    assert_eq!(world.view(beta.execution_id), view, "nothing changed");
    let approve = format!("{}?repo=git.example.org%2Fteam%2Fbeta", paths[3]);
    assert_eq!(world.post(&world.api, &approve, &json!({})).unwrap(), json!({ "approved": true }));
}

#[test]
fn created_token_cannot_name_another_requester() {
    let world = RepositoriesFixture::new();
    let made = world.done("nowhere", &["token", "create", "--name", "bot", "--scope", "run"]);
    let api = ApiClient::new(&world.url, made.trim());
    let request = json!({
        "pipeline": CI, "repo": ALPHA, "source": { "kind": "none" }, "requested_by": "the director",
    });
    let started = world.post(&api, path::EXECUTE, &request).unwrap();
    let id = started["execution_id"].as_str().unwrap();
    let list = printed(&world.tidemill("alpha", &["status", "--json"]));
    assert_eq!((&list[0]["id"], &list[0]["requested_by"]), (&json!(id), &json!("bot")));
    assert!(world.done("alpha", &["cancel"]).contains("canceled"));
    let retry = path::RETRY.replace("{executionId}", id);
    world.post(&api, &retry, &json!({ "requested_by": "the director" })).unwrap();
    let list = printed(&world.tidemill("alpha", &["status", "--json"]));
    assert_eq!(list[0]["requested_by"], "bot", "{list:#}");
    // The deployment's own token says on whose behalf it asks.
    world.start(ALPHA, "ci", "main");
    let list = printed(&world.tidemill("alpha", &["status", "--json"]));
    assert_eq!(list[0]["requested_by"], "ann", "{list:#}");
}

#[test]
fn control_characters_and_long_names_return_422() {
    let world = RepositoriesFixture::new();
    let good = json!({ "pipeline": CI, "repo": ALPHA, "source": { "kind": "none" } });
    let long = "x".repeat(5_000);
    for field in ["repo", "branch", "commit", "tag", "default_branch", "file", "requested_by"] {
        for value in ["a\u{1b}]0;title\u{7}", "a\nb", "a\u{9b}2J", "a\u{202e}b", &long] {
            let mut request = good.clone();
            request[field] = json!(value);
            let refused = world.post(&world.api, path::EXECUTE, &request);
            let Err(ApiError::Refused { status, message, .. }) = refused else {
                panic!("{field}: {refused:?}")
            };
            assert_eq!(status, 422, "{field}: {message}");
            assert!(message.contains(field) && !message.contains(char::is_control), "{message}");
        }
    }
    let git = json!({ "kind": "git", "url": ALPHA, "branch": "a\u{1b}c", "commit": "0000000", "tree": null });
    let mut request = good.clone();
    request["source"] = git;
    let refused = world.post(&world.api, path::EXECUTE, &request);
    assert!(matches!(refused, Err(ApiError::Refused { status: 422, .. })), "{refused:?}");
    assert_eq!(printed(&world.tidemill("alpha", &["status", "--json"])), json!([]));
}
