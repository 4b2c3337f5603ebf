//! Files that a commit includes from other repositories of its git server, read by a worker.

use crate::http_git::{HttpGit, ServerOptions};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use std::{env, fs, path::Path, process::Command, sync::Arc};
use tidemill_core::execution::{
    assignment::Preparation,
    discovery::{ChildRequest, Discovery},
    facts::{ExternalVariables, Facts, Trigger},
};
use tidemill_core::repository::AddressPolicy;
use tidemill_core::repository::credential::{RepositoryCredential, SourceCredential};
use tidemill_core::repository::includes::PinnedInclude;
use tidemill_worker::source::{DiscoveryResult, HostPolicy, SourceCache, SourceSettings, snapshot};

const TOKEN: &str = "token-of-the-test";

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=T", "-c", "user.email=t@example.invalid"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Commits `files` to `NAME.git` in `root`, tagged `tag`; returns the commit.
fn commit(root: &Path, name: &str, tag: &str, files: &[(&str, &str)]) -> String {
    let (work, bare) = (root.join(format!("{name}.work")), root.join(format!("{name}.git")));
    if !work.exists() {
        git(root, &["init", "-q", "-b", "main", &format!("{name}.work")]);
        git(root, &["init", "-q", "--bare", "-b", "main", &format!("{name}.git")]);
    }
    for (path, text) in files {
        let path = work.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    git(&work, &["add", "-A"]);
    git(&work, &["commit", "-q", "--allow-empty", "-m", tag]);
    git(&work, &["tag", "-a", "-m", tag, tag]);
    git(&work, &["push", "-q", &bare.to_string_lossy(), "main", "--tags"]);
    git(&bare, &["update-server-info"]);
    git(&work, &["rev-parse", "HEAD"])
}

struct Bench {
    root: tempfile::TempDir,
    cache: tempfile::TempDir,
    server: HttpGit,
    lib: String,
}

const LIB_FILE: &str = "include: inner.yml\nlib: { image: x, script: x }\n";

impl Bench {
    /// Starts a server with a repository `lib`, and maybe a required token.
    fn new(token: Option<&str>) -> Self {
        let (root, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let inner = ("inner.yml", "inner: { image: x, script: x }\n");
        let lib = commit(root.path(), "lib", "v1", &[("ci.yml", LIB_FILE), inner]);
        commit(root.path(), "lib", "v2", &[("ci.yml", "later: { image: x, script: x }\n")]);
        let authorization = token.map(|token| format!("Basic {}", STANDARD.encode(format!("ci:{token}"))));
        let server =
            HttpGit::start(root.path(), |_| ServerOptions { authorization, ..ServerOptions::default() });
        Self { root, cache, server, lib }
    }

    /// Reads a commit of `app` with these files.
    async fn discover(&self, tag: &str, files: &[(&str, &str)], job: JobOptions<'_>) -> DiscoveryResult {
        let commit = commit(self.root.path(), "app", tag, files);
        let url = self.server.url("app.git");
        let JobOptions { token, is_fork, templates } = job;
        let credential = token.map(|token| {
            let credential = RepositoryCredential::Token { user: "ci".into(), token: token.into() };
            Arc::new(SourceCredential { url: url.clone(), credential, may_push: false })
        });
        let id = || uuid::Uuid::now_v7().to_string();
        let source =
            json!({ "kind": "git", "url": url, "branch": "main", "commit": commit, "private_host": true });
        let job = json!({ "job_id": id(), "execution_id": id(), "image": "i", "source": source,
            "origin": { "repository": "127.0.0.1/app", "is_fork": is_fork } });
        let job = Preparation { credential, ..serde_json::from_value(job).unwrap() };
        let settings =
            SourceSettings { templates: templates.map(Path::to_owned), ..SourceSettings::default() };
        let sources = SourceCache::new(self.cache.path().to_owned(), HostPolicy::default(), settings);
        let request = Discovery { external: ExternalVariables::default(), ..Discovery::default() };
        sources.discover(&job, &request).await.unwrap()
    }
}

#[derive(Default, Clone, Copy)]
struct JobOptions<'a> {
    token: Option<&'a str>,
    is_fork: bool,
    templates: Option<&'a Path>,
}

#[tokio::test(flavor = "multi_thread")]
async fn project_and_native_include_are_read_with_the_credential_and_pinned() {
    let bench = Bench::new(Some(TOKEN));
    let options = JobOptions { token: Some(TOKEN), ..JobOptions::default() };
    let text = "include: { project: lib, ref: v1, file: ci.yml }\nown: { image: x, script: x }\n";
    let result = bench.discover("one", &[(".gitlab-ci.yml", text)], options).await;
    assert_eq!(result.diagnostics, Vec::<String>::new());
    let [file] = &result.files[..] else { panic!("{result:?}") };
    assert!(["inner:", "lib:", "own:"].iter().all(|job| file.text.contains(job)), "{}", file.text);
    let pinned = |path: &str| PinnedInclude::Git {
        url: bench.server.url("lib.git"),
        reference: Some("v1".to_owned()),
        commit: bench.lib.clone(),
        file: path.to_owned(),
    };
    assert_eq!(file.includes, [pinned("ci.yml"), pinned("inner.yml")]);
    // A commit that is in the cache is not fetched again.
    let before = bench.server.request_count();
    let text = text.replace("ref: v1", &format!("ref: '{}'", bench.lib));
    let result = bench.discover("two", &[(".gitlab-ci.yml", &text)], options).await;
    assert_eq!(result.diagnostics, Vec::<String>::new());
    let requests = bench.server.requests.lock().unwrap()[before..].concat();
    assert!(!requests.contains("lib.git"), "{requests}");
    let native = format!(
        "name: native\ninclude: {{ git: '{}', ref: v1, file: native.yml, with: {{ name: made }} }}\n",
        bench.server.url("lib.git")
    );
    let declared =
        "inputs: { name: { type: string } }\njobs:\n  $[[ inputs.name ]]: { image: x, script: x }\n";
    git(&bench.root.path().join("lib.work"), &["tag", "-d", "v1"]);
    git(&bench.root.path().join("lib.git"), &["tag", "-d", "v1"]);
    let lib = commit(bench.root.path(), "lib", "v1", &[("native.yml", declared)]);
    let result = bench.discover("three", &[(".pipelines/ci.yml", &native)], options).await;
    assert_eq!(result.diagnostics, Vec::<String>::new());
    assert!(result.files[0].text.contains("made:"), "{:?}", result.files);
    // The tag has moved: each discovery resolves it.
    assert_eq!(result.files[0].includes[0].version(), lib);
}

#[tokio::test(flavor = "multi_thread")]
async fn fork_gets_no_credential_and_nothing_that_was_fetched_with_one() {
    let bench = Bench::new(Some(TOKEN));
    let options = JobOptions { token: Some(TOKEN), ..JobOptions::default() };
    let text = |reference: &str| format!("include: {{ project: lib, ref: '{reference}', file: ci.yml }}\n");
    let result = bench.discover("one", &[(".gitlab-ci.yml", &text(&bench.lib))], options).await;
    assert_eq!(result.diagnostics, Vec::<String>::new());
    for (tag, reference) in [("two", bench.lib.as_str()), ("three", "v1")] {
        let fork = JobOptions { is_fork: true, ..options };
        let result = bench.discover(tag, &[(".gitlab-ci.yml", &text(reference))], fork).await;
        let [message] = &result.diagnostics[..] else { panic!("{result:?}") };
        assert!(message.contains("cannot be read") && result.files.is_empty(), "{message}");
        assert_eq!(message.matches("error[").count(), 1, "{message}");
        assert!(!message.contains(TOKEN) && !message.contains(&STANDARD.encode(format!("ci:{TOKEN}"))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn public_repository_is_included_without_a_credential() {
    let bench = Bench::new(None);
    let text = "include: { project: lib, ref: v1, file: ci.yml }\n";
    let fork = JobOptions { is_fork: true, ..JobOptions::default() };
    let result = bench.discover("one", &[(".gitlab-ci.yml", text)], fork).await;
    assert_eq!((result.diagnostics, result.files.len()), (Vec::new(), 1));
}

/// Returns what reads the child of a local run with this `child.yml`, whose origin is on the server of `bench`, and a job of the run.
fn local_run(bench: &Bench, text: &str) -> (SourceCache, Preparation) {
    commit(bench.root.path(), "app", "one", &[("child.yml", text)]);
    let work = bench.root.path().join("app.work");
    git(&work, &["remote", "add", "origin", &bench.server.url("app.git")]);
    let source = snapshot(&work, bench.cache.path()).unwrap().source;
    let id = || uuid::Uuid::now_v7().to_string();
    let job = json!({ "job_id": id(), "execution_id": id(), "image": "i", "source": source });
    let policy = HostPolicy::new(AddressPolicy::unrestricted());
    let sources = SourceCache::new(bench.cache.path().to_owned(), policy, SourceSettings::default());
    (sources, serde_json::from_value(job).unwrap())
}

/// Returns the request for `child.yml`, which is an artifact of the job `make` if `is_artifact`.
fn child_request(is_artifact: bool) -> ChildRequest {
    let artifact_of = is_artifact.then_some("make");
    let pipeline = json!({ "files": ["child.yml"], "is_gitlab": true, "artifact_of": artifact_of });
    ChildRequest {
        pipeline: serde_json::from_value(pipeline).unwrap(),
        name: "child".to_owned(),
        ..ChildRequest::default()
    }
}

const CHILD: &str = "include: { project: lib, ref: v1, file: ci.yml }\n";

#[tokio::test(flavor = "multi_thread")]
async fn child_of_a_local_run_includes_files_of_the_server_of_its_origin() {
    let bench = Bench::new(None);
    let (sources, job) = local_run(&bench, CHILD);
    // The file is one of the sources, or one that another job made.
    for artifacts in [Vec::new(), vec![CHILD.to_owned()]] {
        let child = sources.read_child(&job, child_request(!artifacts.is_empty()), artifacts).await.unwrap();
        assert!(child.text.as_ref().is_ok_and(|text| text.contains("lib:")), "{child:?}");
        assert_eq!(child.includes[0].version(), bench.lib);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditional_include_of_a_child_is_decided_for_its_event() {
    let bench = Bench::new(None);
    // The job of the included file is another one on each branch.
    let child = "include: { project: lib, ref: v2, file: ci.yml, \
                 rules: [{ if: '$CI_COMMIT_BRANCH == \"main\"', exists: [child.yml] }] }\nlater: { script: own }\n";
    let (sources, job) = local_run(&bench, child);
    for (branch, image) in [("main", "image: x"), ("topic", "image: ruby:3.1")] {
        let event =
            Facts { trigger: Trigger::ParentPipeline, branch: Some(branch.to_owned()), ..Facts::default() };
        let request = ChildRequest { event: Some(Box::new(event)), ..child_request(false) };
        let child = sources.read_child(&job, request, Vec::new()).await.unwrap();
        assert!(child.text.as_ref().is_ok_and(|text| text.contains(image)), "{branch}: {child:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_users_own_file_includes_with_the_users_credential() {
    const NAME: &str = "includes::only_a_users_own_file_includes_with_the_users_credential";
    const HAS_SETTINGS: &str = "TEST_HAS_GIT_SETTINGS_OF_A_USER";
    if env::var_os(HAS_SETTINGS).is_none() {
        // The settings of a user come from the environment of the process, so another one tests with them.
        let home = tempfile::tempdir().unwrap();
        let settings = home.path().join("settings");
        let credential = STANDARD.encode(format!("ci:{TOKEN}"));
        fs::write(&settings, format!("[http]\n\textraHeader = \"Authorization: Basic {credential}\"\n"))
            .unwrap();
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env("GIT_CONFIG_GLOBAL", &settings)
            .env_remove("TIDEMILL_GIT_CONFIG")
            .env(HAS_SETTINGS, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
        return;
    }
    let bench = Bench::new(Some(TOKEN));
    let (sources, job) = local_run(&bench, CHILD);
    // The user's own file, one that a job made, and one of the sources that such a file names.
    for (artifacts, is_of_artifact, is_read) in
        [(Vec::new(), false, true), (vec![CHILD.to_owned()], false, false), (Vec::new(), true, false)]
    {
        let request = ChildRequest { is_of_artifact, ..child_request(!artifacts.is_empty()) };
        let child = sources.read_child(&job, request, artifacts).await.unwrap();
        assert_eq!(child.text.is_ok(), is_read, "{child:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_private_hosts_are_not_contacted() {
    let bench = Bench::new(None);
    let other = Bench::new(None);
    for (tag, include, message) in [
        (
            "a",
            format!("{{ git: '{}', file: ci.yml }}", other.server.url("lib.git")),
            "begins with https:// or ssh://",
        ),
        (
            "b",
            format!("{{ git: 'https://127.0.0.1:{}/lib.git', file: ci.yml }}", other.server.port),
            "private, local or reserved",
        ),
        (
            "c",
            "{ git: 'https://169.254.169.254/lib.git', file: ci.yml }".to_owned(),
            "private, local or reserved",
        ),
        (
            "d",
            "{ git: 'ssh://git@localhost/lib.git', file: ci.yml }".to_owned(),
            "private, local or reserved",
        ),
    ] {
        let text = format!("name: top\ninclude: {include}\n");
        let result = bench.discover(tag, &[(".pipelines/ci.yml", &text)], JobOptions::default()).await;
        let [found] = &result.diagnostics[..] else { panic!("{result:?}") };
        assert!(found.contains(message) && found.matches("error[").count() == 1, "{found}");
    }
    assert_eq!(other.server.request_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_ref_file_and_template_are_one_error_each() {
    let bench = Bench::new(None);
    let templates = tempfile::tempdir().unwrap();
    fs::write(templates.path().join("Go.yml"), "go: { image: x, script: x }\n").unwrap();
    let options = JobOptions { templates: Some(templates.path()), ..JobOptions::default() };
    for (tag, include, message) in [
        ("a", "{ project: lib, ref: v9, file: ci.yml }", "lib has no branch, tag or version `v9`"),
        ("b", "{ project: lib, file: none.yml }", "`lib:none.yml` cannot be read: there is no such file"),
        ("c", "{ project: gone, file: ci.yml }", "`gone` cannot be read"),
        ("d", "{ template: Rust.yml }", "the directory of templates has no such file"),
    ] {
        let text = format!("include: [{include}]\nj: {{ extends: .gone }}\n");
        let result = bench.discover(tag, &[(".gitlab-ci.yml", &text)], options).await;
        let [found] = &result.diagnostics[..] else { panic!("{result:?}") };
        assert!(found.contains(message) && found.matches("error[").count() == 1, "{found}");
    }
    let text = "include: [{ template: Go.yml }]\n";
    let result = bench.discover("e", &[(".gitlab-ci.yml", text)], options).await;
    assert!(matches!(&result.files[0].includes[..], [PinnedInclude::Template { .. }]), "{result:?}");
}
