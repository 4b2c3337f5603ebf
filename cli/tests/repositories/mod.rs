//! Commands act only on the current repository or the one that `--repo` selects. The server has executions of two repositories.

mod checks;
mod choices;
mod hooks;

use crate::support::{TestEnv, git::git, json as printed, serve, stop, text};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};
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

/// A server without workers, checkouts of two repositories, and a directory outside of repositories.
struct RepositoriesFixture {
    env: TestEnv,
    server: Option<Child>,
    url: String,
    token: String,
    api: ApiClient,
    runtime: tokio::runtime::Runtime,
}

impl RepositoriesFixture {
    fn new() -> Self {
        let env = TestEnv::new(NONE);
        let data = env.dir.path().join("server");
        let (server, url) = serve(&env, &data, "0");
        let token = fs::read_to_string(data.join("token")).unwrap();
        let fixture = Self {
            api: ApiClient::new(&url, &token),
            runtime: tokio::runtime::Runtime::new().unwrap(),
            server: Some(server),
            env,
            url,
            token,
        };
        for (name, origin) in [("alpha", ALPHA), ("beta", "git@git.example.org:team/beta.git")] {
            let dir = fixture.dir(name);
            fs::create_dir(&dir).unwrap();
            git(&dir, &["init", "-q"]);
            git(&dir, &["remote", "add", "origin", origin]);
        }
        fs::create_dir(fixture.dir("nowhere")).unwrap();
        fixture
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.env.dir.path().join(name)
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

    fn command(&self, dir: &Path, args: &[&str]) -> Command {
        let mut command = self.env.command(args);
        command.current_dir(dir).env("TIDEMILL_SERVER", &self.url).env("TIDEMILL_TOKEN", &self.token);
        command.stdin(Stdio::null());
        command
    }

    fn tidemill(&self, dir: &str, args: &[&str]) -> Output {
        self.command(&self.dir(dir), args).output().unwrap()
    }

    /// Runs a command that must fail with a usage error, and returns its message.
    fn usage_error(&self, dir: &str, args: &[&str]) -> String {
        let output = self.tidemill(dir, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        text(&output.stderr)
    }

    /// Runs a command that must succeed, and returns its output.
    fn succeed(&self, dir: &str, args: &[&str]) -> String {
        let output = self.tidemill(dir, args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
        text(&output.stdout)
    }

    fn view(&self, id: ExecutionId) -> Value {
        printed(&self.tidemill("nowhere", &["status", "--format", "json", &id.to_string()]))
    }

    fn status(&self, id: ExecutionId) -> String {
        self.view(id)["execution"]["status"].as_str().unwrap().to_owned()
    }

    fn is_approved(&self, id: ExecutionId) -> bool {
        crate::support::job(&self.view(id), "deploy")["approval"] == "given"
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
fn case_real_02_commands_without_an_id_act_on_the_current_repository() {
    let fixture = RepositoriesFixture::new();
    let alpha = fixture.start(ALPHA, "ci", "main");
    // The newest execution belongs to the other repository.
    let beta = fixture.start(BETA, "ci", "main");
    assert_eq!((alpha.run_number, beta.run_number), (1, 1), "run numbers are counted per repository");

    for (dir, repo, id) in [("alpha", ALPHA, alpha.execution_id), ("beta", BETA, beta.execution_id)] {
        let list = printed(&fixture.tidemill(dir, &["status", "--format", "json"]));
        let ids: Vec<&Value> = list.as_array().unwrap().iter().map(|of| &of["id"]).collect();
        assert_eq!(ids, [&json!(id)], "{list:#}");
        assert!(fixture.succeed(dir, &["status"]).contains(repo));
        let one = fixture.succeed(dir, &["status", "1"]);
        assert!(one.contains(&format!("ci #1 of {repo}")), "{one}");
        let report = printed(&fixture.tidemill(dir, &["report", "--format", "json"]));
        assert_eq!((&report["execution"]["id"], &report["execution"]["repo"]), (&json!(id), &json!(repo)));
        assert!(fixture.succeed(dir, &["report"]).contains(repo));
        assert!(fixture.succeed(dir, &["report", "--cost"]).contains(&format!("ci #1 of {repo}")));
        let artifacts = printed(&fixture.tidemill(dir, &["artifacts", "--format", "json"]));
        assert_eq!(artifacts["execution"]["id"], json!(id));
        assert!(fixture.succeed(dir, &["artifacts"]).contains(&format!("ci #1 of {repo}")));
        let logs = fixture.tidemill(dir, &["logs", "unit"]);
        assert_eq!(logs.status.code(), Some(0), "{logs:?}");
        assert!(text(&logs.stderr).contains(&format!("`unit` in ci #1 of {repo}")), "{logs:?}");
    }

    let output = fixture.succeed("alpha", &["approve", "deploy"]);
    assert_eq!(output, format!("job `deploy` of ci #1 of {ALPHA}: approved\n"));
    assert!(fixture.is_approved(alpha.execution_id) && !fixture.is_approved(beta.execution_id));
    let output = fixture.succeed("alpha", &["cancel"]);
    assert_eq!(output, format!("ci #1 of {ALPHA}: canceled\n"));
    let output = fixture.succeed("alpha", &["cancel"]);
    assert!(output.contains("already ended: CANCELED"), "{output}");
    assert_eq!(fixture.status(alpha.execution_id), "CANCELED");
    assert_ne!(fixture.status(beta.execution_id), "CANCELED");
    // Jobs of another repository that await approval are not selected.
    let output = fixture.usage_error("alpha", &["approve", "deploy"]);
    assert!(output.contains("too late") || output.contains("over"), "{output}");
    assert!(!fixture.is_approved(beta.execution_id));
    let watched = fixture.tidemill("alpha", &["watch"]);
    assert_eq!(watched.status.code(), Some(130), "{watched:?}");
    assert!(text(&watched.stdout).starts_with(&format!("ci #1 of {ALPHA}\n")), "{watched:?}");

    // The retry does not end, because there are no workers: only its start is tested.
    let mut retry =
        fixture.command(&fixture.dir("alpha"), &["retry"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(retry.stdout.as_mut().unwrap()), &mut line)
        .unwrap();
    assert!(line.starts_with(&format!("ci #1 of {ALPHA}: retried as #2 (")), "{line}");
    retry.kill().unwrap();
    retry.wait().unwrap();
    let list = printed(&fixture.tidemill("beta", &["status", "--format", "json"]));
    assert_eq!(list.as_array().unwrap().len(), 1, "{list:#}");
}

#[test]
fn repo_argument_accepts_every_form_of_an_address() {
    let fixture = RepositoriesFixture::new();
    let alpha = fixture.start(ALPHA, "ci", "main");
    fixture.start(BETA, "ci", "main");
    for dir in ["nowhere", "beta"] {
        for repo in ["git@git.example.org:team/alpha", "ssh://git@git.example.org/team/alpha.git", ALPHA] {
            let list = printed(&fixture.tidemill(dir, &["status", "--format", "json", "--repo", repo]));
            assert_eq!((list.as_array().unwrap().len(), &list[0]["id"]), (1, &json!(alpha.execution_id)));
        }
    }
    let output = fixture.succeed("beta", &["cancel", "--repo", "git@git.example.org:team/alpha"]);
    assert_eq!(output, format!("ci #1 of {ALPHA}: canceled\n"));
}

#[test]
fn commands_outside_of_a_repository_fail_and_list_executions() {
    let fixture = RepositoriesFixture::new();
    let alpha = fixture.start(ALPHA, "ci", "main");
    let beta = fixture.start(BETA, "ci", "topic");
    for command in ["report", "status", "logs", "cancel", "approve", "retry", "artifacts", "watch"] {
        let output = fixture.usage_error("nowhere", &[command]);
        for (of, repo, branch) in [(&alpha, ALPHA, "main"), (&beta, BETA, "topic")] {
            let line = output.lines().find(|line| line.contains(&of.execution_id.to_string()));
            let line = line.unwrap_or_else(|| panic!("{command}: {output}"));
            for part in [repo, branch, "ci #1", "by ann"] {
                assert!(line.contains(part), "{command}: {line}");
            }
        }
        assert!(output.contains("not in a repository") && output.contains("--repo"), "{command}: {output}");
    }
    assert!(fixture.usage_error("nowhere", &["dead-letters", "--retry"]).contains("--all-repositories"));
    assert_ne!(fixture.status(alpha.execution_id), "CANCELED");
    assert_ne!(fixture.status(beta.execution_id), "CANCELED");
    let all = printed(&fixture.tidemill("nowhere", &["status", "--format", "json", "--all-repositories"]));
    assert_eq!(all.as_array().unwrap().len(), 2);
    // In a repository without executions, executions of other repositories are not selected.
    git(&fixture.dir("nowhere"), &["init", "-q"]);
    for command in ["report", "logs", "cancel", "approve", "retry", "artifacts", "watch"] {
        let output = fixture.usage_error("nowhere", &[command]);
        assert!(output.contains("no matching execution of") && output.contains(ALPHA), "{command}: {output}");
    }
    assert_eq!(printed(&fixture.tidemill("nowhere", &["status", "--format", "json"])), json!([]));
}

#[test]
fn case_real_02_execution_of_another_repository_is_changed_only_with_repo_argument() {
    let fixture = RepositoriesFixture::new();
    fixture.start(ALPHA, "ci", "main");
    let beta = fixture.start(BETA, "ci", "main");
    let id = beta.execution_id.to_string();
    let report = fixture.succeed("alpha", &["report", &id]);
    assert!(report.contains(BETA), "{report}");
    for args in [&["cancel", &id][..], &["approve", &id, "deploy"], &["retry", &id]] {
        let output = fixture.usage_error("alpha", args);
        assert!(
            output.contains(&format!("ci #1 of {BETA}"))
                && output.contains(ALPHA)
                && output.contains("nothing was changed")
                && output.contains(&format!("--repo {BETA}")),
            "{output}"
        );
        let output = fixture.usage_error("nowhere", &[args, &["--repo", ALPHA]].concat());
        assert!(output.contains("not of https://git.example.org/team/alpha.git"), "{output}");
    }
    assert!(!fixture.is_approved(beta.execution_id));
    assert_ne!(fixture.status(beta.execution_id), "CANCELED");
    fixture.succeed("alpha", &["approve", &id, "deploy", "--repo", "git.example.org:team/beta"]);
    assert!(fixture.is_approved(beta.execution_id));
    // Outside of repositories, the id is sufficient.
    fixture.succeed("nowhere", &["cancel", &id]);
    assert_eq!(fixture.status(beta.execution_id), "CANCELED");
}

#[test]
fn ambiguous_selection_fails_and_lists_executions() {
    let fixture = RepositoriesFixture::new();
    let first = fixture.start(ALPHA, "ci", "main");
    let second = fixture.start(ALPHA, "ci", "topic");
    // Discoveries are selected only by name.
    let discovery = fixture.discover(ALPHA);
    for args in [&["cancel"][..], &["approve"], &["approve", "deploy"], &["watch", "--cancel"]] {
        let output = fixture.usage_error("alpha", args);
        assert!(output.contains("several executions match"), "{output}");
        assert!(!output.contains(&discovery.execution_id.to_string()), "{output}");
        for of in [&first, &second] {
            let line = output.lines().find(|line| line.contains(&of.execution_id.to_string())).unwrap();
            assert!(line.contains(ALPHA) && line.contains(&format!("ci #{}", of.run_number)), "{line}");
        }
    }
    assert_ne!(fixture.status(first.execution_id), "CANCELED");
    assert_ne!(fixture.status(second.execution_id), "CANCELED");
    // Lists show discoveries only if asked for.
    let id = discovery.execution_id.to_string();
    assert!(!fixture.succeed("alpha", &["status"]).contains(&id));
    assert!(fixture.succeed("alpha", &["status", "--all"]).contains(&id));
    // Commands that change nothing select the newest execution.
    assert!(fixture.succeed("alpha", &["report"]).contains("ci #2"));
    let output = fixture.succeed("alpha", &["cancel", "--branch", "main"]);
    assert_eq!(output, format!("ci #1 of {ALPHA}: canceled\n"));
    let output = fixture.succeed("alpha", &["approve"]);
    assert_eq!(output, format!("job `deploy` of ci #2 of {ALPHA}: approved\n"));

    fixture.start(ALPHA, "nightly", "main");
    let output = fixture.usage_error("alpha", &["cancel"]);
    assert!(output.contains("ci #2") && output.contains("nightly #1"), "{output}");
    // What runs cannot be retried, and is no choice.
    fixture.succeed("alpha", &["cancel", "--pipeline", "nightly"]);
    let output = fixture.usage_error("alpha", &["retry"]);
    assert!(output.contains("ci #1") && output.contains("nightly #1"), "{output}");
    assert!(!output.contains("ci #2"), "{output}");
    for command in ["report", "artifacts"] {
        let output = fixture.succeed("alpha", &[command]);
        assert!(output.contains("nightly #1") && output.contains(ALPHA), "{command}: {output}");
    }
    let output = fixture.usage_error("alpha", &["report", "1"]);
    assert!(output.contains("ci #1") && output.contains("nightly #1"), "{output}");
    assert!(fixture.succeed("alpha", &["report", "--pipeline", "nightly"]).contains("nightly #1"));
    assert!(fixture.succeed("alpha", &["report", "2"]).contains("ci #2"));
}

#[test]
fn discovery_counts_only_if_it_is_named() {
    let fixture = RepositoriesFixture::new();
    let discovery = fixture.discover(ALPHA);
    for command in ["report", "artifacts", "cancel", "retry"] {
        let output = fixture.usage_error("alpha", &[command]);
        assert!(output.contains("no matching execution of "), "{command}: {output}");
    }
    let number = discovery.run_number.to_string();
    for args in [&["report", "--pipeline", "discover"][..], &["report", &number]] {
        assert!(fixture.succeed("alpha", args).contains("discover #"), "{args:?}");
    }
}

#[test]
fn start_of_an_id_selects_an_execution_and_an_ambiguous_one_is_refused() {
    let fixture = RepositoriesFixture::new();
    let first = fixture.start(ALPHA, "ci", "main").execution_id.to_string();
    let second = fixture.start(ALPHA, "ci", "topic").execution_id.to_string();
    let beta = fixture.start(BETA, "ci", "main").execution_id.to_string();
    let same = first.bytes().zip(second.bytes()).take_while(|(one, other)| one == other).count();
    assert!(same >= 4, "{first} {second}");
    let ambiguous = fixture.usage_error("alpha", &["report", &first[..same]]);
    assert!(ambiguous.contains(&first) && ambiguous.contains(&second), "{ambiguous}");
    for prefix in [&first[..=same], &first[..35], &first.to_uppercase()[..=same]] {
        let report = fixture.succeed("alpha", &["report", prefix]);
        assert!(report.contains(&first), "{prefix}: {report}");
    }
    let logs = fixture.tidemill("alpha", &["logs", &first[..=same], "unit"]);
    assert!(text(&logs.stderr).contains("`unit` in ci #1"), "{logs:?}");
    // The start of an id selects executions of other repositories, too, but they are not changed without consent.
    let of_beta = &beta[..35];
    assert!(fixture.succeed("alpha", &["report", of_beta]).contains(BETA));
    assert!(fixture.usage_error("alpha", &["cancel", of_beta]).contains("nothing was changed"));
    assert!(fixture.succeed("alpha", &["cancel", of_beta, "--yes"]).contains("ci #1 of ssh"));
    for unknown in ["ffff", "ffffffff-ffff-7fff-8fff-ffffffffffff"] {
        assert_eq!(fixture.tidemill("alpha", &["report", unknown]).status.code(), Some(2), "{unknown}");
    }
    for command in ["status", "watch"] {
        let message = fixture.usage_error("alpha", &[command, "01980000-xyz"]);
        assert!(message.contains("is not an execution: name it by its run number"), "{message}");
    }
    for command in ["logs", "report", "cancel", "approve", "retry", "artifacts"] {
        let message = fixture.usage_error("alpha", &[command, "nobody", "--branch", "main"]);
        assert!(message.contains("no job `nobody`; its jobs are `unit`, `deploy`"), "{command}: {message}");
    }
}

#[test]
fn argument_that_names_an_execution_and_a_job_is_refused() {
    let fixture = RepositoriesFixture::new();
    let pipeline = "name: ci\njobs:\n  1: { image: busybox, script: [\"true\"] }\n  face: { image: busybox, script: [\"true\"] }\n";
    let request = json!({ "pipeline": pipeline, "repo": ALPHA, "source": { "kind": "none" } });
    let started = fixture.post(&fixture.api, path::EXECUTE, &request).unwrap();
    let id = started["execution_id"].as_str().unwrap();
    let message = fixture.usage_error("alpha", &["cancel", "1"]);
    assert!(message.contains("names an execution and a job") && message.contains(id), "{message}");
    assert!(fixture.succeed("alpha", &["cancel", "face"]).contains("job `face` of ci #1"));
    assert!(fixture.succeed("alpha", &["cancel", "1", "1"]).contains("job `1` of ci #1"));
}

#[test]
fn selectors_narrow_every_command() {
    let fixture = RepositoriesFixture::new();
    fixture.start(ALPHA, "ci", "main");
    fixture.start(ALPHA, "ci", "topic");
    fixture.succeed("alpha", &["cancel", "1"]);
    for (selectors, number) in [
        (&["--status", "canceled"][..], 1),
        (&["--status", "PENDING"], 2),
        (&["--branch", "main"], 1),
        (&["--branch", "topic", "--pipeline", "ci"], 2),
    ] {
        let title = format!("ci #{number}");
        for command in ["report", "artifacts"] {
            let output = fixture.succeed("alpha", &[&[command], selectors].concat());
            assert!(output.contains(&title), "{command} {selectors:?}: {output}");
        }
        let list =
            printed(&fixture.tidemill("alpha", &[&["status", "--format", "json"], selectors].concat()));
        assert_eq!(list.as_array().unwrap().len(), 1, "{list:#}");
        assert_eq!(list[0]["run_number"], number, "{list:#}");
    }
    let message = fixture.usage_error("alpha", &["report", "1", "--status", "success"]);
    assert!(message.contains("no run #1"), "{message}");
    let newest = printed(&fixture.tidemill("alpha", &["status", "--format", "json"]))[0]["id"].clone();
    let message = fixture.usage_error("alpha", &["report", newest.as_str().unwrap(), "--branch", "main"]);
    assert!(message.contains("is not of branch main"), "{message}");
}

#[test]
fn directories_without_an_origin_are_separate_repositories() {
    let fixture = RepositoriesFixture::new();
    for name in ["one", "two"] {
        fs::create_dir_all(fixture.dir(name).join("below")).unwrap();
        git(&fixture.dir(name), &["init", "-q"]);
    }
    let path = |name: &str| fixture.dir(name).canonicalize().unwrap().to_string_lossy().into_owned();
    let one = fixture.start(&path("one"), "ci", "main");
    fixture.start(&path("two"), "ci", "main");
    for dir in ["one", "one/below"] {
        let report = printed(&fixture.tidemill(dir, &["report", "--format", "json"]));
        assert_eq!(report["execution"]["id"], json!(one.execution_id), "{dir}");
    }
    let report = printed(&fixture.tidemill("two", &["report", "--format", "json", "--repo", "../one"]));
    assert_eq!(report["execution"]["id"], json!(one.execution_id));
}

#[test]
fn server_rejects_a_change_to_an_unexpected_repository() {
    let fixture = RepositoriesFixture::new();
    let beta = fixture.start(BETA, "ci", "main");
    let view = fixture.view(beta.execution_id);
    let job = crate::support::job(&view, "deploy")["id"].as_str().unwrap();
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
        let rejected =
            fixture.post(&fixture.api, &format!("{path}?repo=git.example.org%2Fteam%2Falpha"), &json!({}));
        let Err(ApiError::Rejected { status: 409, message, .. }) = rejected else {
            panic!("{path}: {rejected:?}")
        };
        assert!(message.contains("nothing was changed") && message.contains(BETA), "{message}");
    }
    assert_eq!(fixture.view(beta.execution_id), view, "nothing changed");
    let approve = format!("{}?repo=git.example.org%2Fteam%2Fbeta", paths[3]);
    assert_eq!(fixture.post(&fixture.api, &approve, &json!({})).unwrap(), json!({ "approved": true }));
}

#[test]
fn created_token_cannot_name_another_requester() {
    let fixture = RepositoriesFixture::new();
    let created = fixture.succeed("nowhere", &["token", "create", "--name", "bot", "--scope", "run"]);
    let api = ApiClient::new(&fixture.url, created.trim());
    let request = json!({
        "pipeline": CI, "repo": ALPHA, "source": { "kind": "none" }, "requested_by": "the director",
    });
    let started = fixture.post(&api, path::EXECUTE, &request).unwrap();
    let id = started["execution_id"].as_str().unwrap();
    let list = printed(&fixture.tidemill("alpha", &["status", "--format", "json"]));
    assert_eq!((&list[0]["id"], &list[0]["requested_by"]), (&json!(id), &json!("bot")));
    assert!(fixture.succeed("alpha", &["cancel"]).contains("canceled"));
    let retry = path::RETRY.replace("{executionId}", id);
    fixture.post(&api, &retry, &json!({ "requested_by": "the director" })).unwrap();
    let list = printed(&fixture.tidemill("alpha", &["status", "--format", "json"]));
    assert_eq!(list[0]["requested_by"], "bot", "{list:#}");
    // The deployment's admin token may name the requester.
    fixture.start(ALPHA, "ci", "main");
    let list = printed(&fixture.tidemill("alpha", &["status", "--format", "json"]));
    assert_eq!(list[0]["requested_by"], "ann", "{list:#}");
}

#[test]
fn control_characters_and_long_names_return_422() {
    let fixture = RepositoriesFixture::new();
    let valid = json!({ "pipeline": CI, "repo": ALPHA, "source": { "kind": "none" } });
    let long = "x".repeat(5_000);
    for field in ["repo", "branch", "commit", "tag", "default_branch", "file", "requested_by"] {
        for value in ["a\u{1b}]0;title\u{7}", "a\nb", "a\u{9b}2J", "a\u{202e}b", &long] {
            let mut request = valid.clone();
            request[field] = json!(value);
            let rejected = fixture.post(&fixture.api, path::EXECUTE, &request);
            let Err(ApiError::Rejected { status, message, .. }) = rejected else {
                panic!("{field}: {rejected:?}")
            };
            assert_eq!(status, 422, "{field}: {message}");
            assert!(message.contains(field) && !message.contains(char::is_control), "{message}");
        }
    }
    let git = json!({ "kind": "git", "url": ALPHA, "branch": "a\u{1b}c", "commit": "0000000", "tree": null });
    let mut request = valid.clone();
    request["source"] = git;
    let rejected = fixture.post(&fixture.api, path::EXECUTE, &request);
    assert!(matches!(rejected, Err(ApiError::Rejected { status: 422, .. })), "{rejected:?}");
    assert_eq!(printed(&fixture.tidemill("alpha", &["status", "--format", "json"])), json!([]));
}
