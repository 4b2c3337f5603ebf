//! Private repositories on a server: the credential of the registration reaches the worker, and nothing else.

use crate::http_git::{HttpGit, ServerOptions};
use crate::support::{TestEnv, binary, finish, git::git, image, serve_with, stop, text, wait_until};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Output, Stdio},
};

const TOKEN: &str = "token-of-the-private-repository";
const KEY: &str = "bGluZSBvZiB0aGUgcHJpdmF0ZSBrZXk";

/// A server with one worker, and a private repository, which is served over HTTP and by a program in place of `ssh`.
struct Fixture {
    env: TestEnv,
    server: Option<Child>,
    url: String,
    token: String,
    commit: String,
    http: HttpGit,
}

impl Fixture {
    fn new() -> Self {
        let pipeline = "\nname: private\njobs:\n  look: { image: \"IMAGE\", script: ['cat hidden.txt', 'git config -l 2>&1 || true'] }\n  \
             push: { image: \"IMAGE\", script: ['true'], checkout: { push: true } }\n";
        let mut env = TestEnv::new(pipeline);
        env.logs = true;
        env.lease_ttl_ms = 30_000;
        let root = env.dir.path().join("served");
        fs::create_dir(&root).unwrap();
        git(&root, &["init", "-q", "-b", "main", "work"]);
        fs::write(root.join("work/hidden.txt"), "content of the private repository\n").unwrap();
        git(&root.join("work"), &["add", "-A"]);
        git(&root.join("work"), &["commit", "-q", "-m", "one"]);
        git(&root, &["clone", "-q", "--bare", "work", "app.git"]);
        git(&root.join("app.git"), &["update-server-info"]);
        let commit = git(&root.join("work"), &["rev-parse", "HEAD"]);
        let authorization = Some(format!("Basic {}", STANDARD.encode(format!("ci:{TOKEN}"))));
        let http = HttpGit::start(&root, |_| ServerOptions { authorization, ..ServerOptions::default() });
        let ssh = format!(
            "#!/bin/sh\nfor word; do case $word in -oIdentityFile=*) key=${{word#*=}};; -oUserKnownHostsFile=*) \
             hosts=${{word#*=}};; esac; done\n[ \"$(stat -Lc %a \"$key\")\" = 600 ] && grep -q {KEY} \"$key\" && grep -q ed25519 \
             \"$hosts\" || {{ echo 'Permission denied (publickey).' >&2; exit 255; }}\nexec git upload-pack {}\n",
            root.join("app.git").display()
        );
        let bin = env.dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        fs::write(bin.join("ssh"), ssh).unwrap();
        fs::set_permissions(bin.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
        let data = env.dir.path().join("server");
        let (server, url) = serve_with(&env, &data, "1", |command| {
            command.env("PATH", path(&env));
        });
        let token = fs::read_to_string(data.join("token")).unwrap();
        Self { env, server: Some(server), url, token, commit, http }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = binary(&self.env, &self.env.data);
        command.env("TIDEMILL_SERVER", &self.url).env("TIDEMILL_TOKEN", &self.token);
        command.env("PATH", path(&self.env)).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn tidemill(&self, args: &[&str]) -> Output {
        finish(self.command(args).spawn().unwrap())
    }

    /// Runs the pipeline at the commit of the private repository and returns the exit code and what is shown.
    fn run(&self, repo: &str, more: &[&str]) -> (Option<i32>, String) {
        let args = ["run", "-f", ".pipelines/ci.yml", "--repo", repo, "--branch", "main", "--force"];
        let commit = ["--commit", self.commit.as_str()];
        let ran = self.tidemill(&[&args[..], &commit, more].concat());
        let logs = self.tidemill(&["logs", "look", "--repo", repo]);
        let shown = text(&ran.stdout) + &text(&ran.stderr) + &text(&logs.stdout) + &text(&logs.stderr);
        (ran.status.code(), shown)
    }

    fn succeeds(&self, args: &[&str]) -> String {
        let done = self.tidemill(args);
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        text(&done.stdout)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            stop(server);
        }
    }
}

fn path(env: &TestEnv) -> String {
    format!("{}:{}", env.dir.path().join("bin").display(), std::env::var("PATH").unwrap())
}

fn write(env: &TestEnv, name: &str, content: &str) -> String {
    let path = env.dir.path().join(name);
    fs::write(&path, content).unwrap();
    path.to_string_lossy().into_owned()
}

/// Returns the files of the server and its worker that contain `secret`.
fn stored(env: &TestEnv, secret: &str) -> String {
    let found = Command::new("grep")
        .args(["-rlaF", secret, "--exclude-dir=bin", "--exclude=*.key", "--exclude=*.token"])
        .arg(env.dir.path())
        .output()
        .unwrap();
    text(&found.stdout)
}

#[test]
fn token_of_a_registration_fetches_a_private_repository_and_is_stored_nowhere() {
    let fixture = Fixture::new();
    let repo = fixture.http.url("app.git");
    fixture.succeeds(&["repo", "add", &repo, "--provider", "gitea"]);
    let (code, shown) = fixture.run(&repo, &["look"]);
    assert_eq!(code, Some(1), "{shown}");

    let add = ["repo", "add", &repo, "--provider", "gitea", "--credential", "env:APP_TOKEN"];
    let user = ["--credential-user", "ci"];
    let mut add = fixture.command(&[&add[..], &user].concat());
    let added = finish(add.env("APP_TOKEN", TOKEN).spawn().unwrap());
    assert_eq!(added.status.code(), Some(0), "{added:?}");
    let listed = fixture.succeeds(&["repo", "list"]);
    assert!(listed.contains(", token\n") && !listed.contains(TOKEN), "{listed}");

    let (code, shown) = fixture.run(&repo, &["look"]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("\ncontent of the private repository\n") && !shown.contains(TOKEN), "{shown}");
    let (code, shown) = fixture.run(&repo, &["push"]);
    assert!(code != Some(0) && shown.contains("--allow-push"), "{shown}");
    assert_eq!(stored(&fixture.env, TOKEN), "", "the token is in these files");

    fixture.succeeds(&["repo", "remove", &repo]);
    fixture.succeeds(&["repo", "add", &repo, "--provider", "gitea"]);
    let (code, shown) = fixture.run(&repo, &["look"]);
    assert_eq!(code, Some(1), "what was fetched with the credential serves nobody without it: {shown}");
}

#[test]
fn private_project_is_included_by_the_worker_with_the_credential_of_the_registration() {
    let fixture = Fixture::new();
    let root = fixture.env.dir.path().join("served");
    git(&root, &["init", "-q", "-b", "main", "library"]);
    let job = format!("included:\n  image: {}\n  script: [echo from the private project]\n", image());
    let file = "include: { project: lib, ref: v1, file: ci.yml }\n";
    for (work, bare, name, text) in
        [("library", "lib.git", "ci.yml", job.as_str()), ("work", "app.git", ".gitlab-ci.yml", file)]
    {
        let work = root.join(work);
        fs::write(work.join(name), text).unwrap();
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-q", "-m", "two"]);
        git(&work, &["tag", "v1"]);
        git(&root, &["init", "-q", "--bare", "-b", "main", bare]);
        git(&work, &["push", "-q", &format!("../{bare}"), "main", "v1"]);
        git(&root.join(bare), &["update-server-info"]);
    }
    let lib = git(&root.join("library"), &["rev-parse", "HEAD"]);
    let repo = fixture.http.url("app.git");
    let add = ["repo", "add", &repo, "--provider", "gitlab", "--credential-user", "ci"];
    let mut add = fixture.command(&[&add[..], &["--credential", "env:APP_TOKEN"]].concat());
    assert!(finish(add.env("APP_TOKEN", TOKEN).spawn().unwrap()).status.success());
    fixture.succeeds(&["repo", "run", &repo, "--file", ".gitlab-ci.yml", "--branch", "main"]);
    let list = ["status", "--repo", &repo, "--status", "success", "--format", "json"];
    let is_done = || fixture.succeeds(&list).contains("\"pipeline_name\"");
    assert!(wait_until(is_done).is_ok(), "{}", fixture.succeeds(&["status", "--repo", &repo, "--all"]));
    let shown = fixture.succeeds(&["logs", "included", "--repo", &repo]);
    assert!(shown.contains("from the private project"), "{shown}");
    let report = fixture.succeeds(&["report", "--repo", &repo]);
    assert!(report.contains(&lib[..8]), "{report}");
    assert_eq!(stored(&fixture.env, TOKEN), "", "the token is in these files");
}

#[test]
fn ssh_key_of_a_registration_fetches_a_private_repository() {
    let fixture = Fixture::new();
    let repo = "git@git.example.org:team/app.git";
    let key = write(
        &fixture.env,
        "id.key",
        &format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{KEY}\n-----END OPENSSH PRIVATE KEY-----"),
    );
    let add = ["repo", "add", repo, "--provider", "gitea", "--credential", &key];
    let refused = fixture.tidemill(&add);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(text(&refused.stderr).contains("ssh-keyscan git.example.org"), "{refused:?}");
    let hosts = write(&fixture.env, "hosts", "git.example.org ssh-ed25519 AAAA\n");
    fixture.succeeds(&[&add[..], &["--known-hosts", &hosts]].concat());
    assert!(fixture.succeeds(&["repo", "list"]).contains(", SSH key\n"));
    let (code, shown) = fixture.run(repo, &["look"]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("\ncontent of the private repository\n"), "{shown}");
    assert_eq!(stored(&fixture.env, KEY), "", "the key is in these files");
}
