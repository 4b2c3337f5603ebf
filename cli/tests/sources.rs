//! Sources from `--repo` and the current directory, and what of their addresses is stored.

use crate::http_git::{HttpGit, ServerOptions};
use crate::support::{Backend, TestEnv, finish, git::git, text};
use std::{
    fs,
    path::{Path, PathBuf},
};

const SHOW: &str = r#"
name: show
stages: [a]
jobs:
  show: { stage: a, image: "IMAGE", script: ["cat source.txt", "git config --list --show-origin || true"] }
"#;
const PASSWORD: &str = "swordfish-of-the-repository";
/// `jo:swordfish-of-the-repository`
const BASIC: &str = "Basic am86c3dvcmRmaXNoLW9mLXRoZS1yZXBvc2l0b3J5";
const ENCODED: &str = "am86c3dvcmRmaXNoLW9mLXRoZS1yZXBvc2l0b3J5";

/// Creates a bare clone of the repository that can be served as files.
fn bare_clone(env: &TestEnv) -> PathBuf {
    let bare = env.dir.path().join("served/mill.git");
    git(&env.repo(), &["clone", "-q", "--bare", ".", &bare.to_string_lossy()]);
    git(&bare, &["update-server-info"]);
    bare
}

/// Adds the files below `dir` that contain `text` to `found`.
fn find_files_containing(dir: &Path, text: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && !path.is_symlink() {
            find_files_containing(&path, text, found);
        } else if fs::read(&path)
            .is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
        {
            found.push(path);
        }
    }
}

#[test]
fn case_real_14_password_in_an_address_is_used_and_not_stored() {
    let mut env = TestEnv::new(SHOW);
    env.logs = true;
    bare_clone(&env);
    let behavior = ServerOptions { authorization: Some(BASIC.into()), ..ServerOptions::default() };
    let server = HttpGit::start(&env.dir.path().join("served"), |_| behavior);
    let url = format!("http://jo:{PASSWORD}@127.0.0.1:{}/mill.git", server.port);
    let run = env.tidemill(&["run", "--repo", &url]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let shown = text(&run.stdout) + &text(&run.stderr) + &env.log("show") + &env.latest().to_string();
    assert!(env.log("show").contains("from the repository"), "{shown}");
    assert_eq!(env.latest()["execution"]["repo"], server.url("mill.git"));
    let mut found = Vec::new();
    for secret in [PASSWORD, ENCODED] {
        assert!(!shown.contains(secret), "{shown}");
        find_files_containing(env.dir.path(), secret, &mut found);
    }
    assert_eq!(found, [] as [PathBuf; 0]);
}

#[test]
fn password_in_an_address_is_rejected_for_a_server() {
    let env = Backend::Server.test_env(SHOW);
    let run = env.tidemill(&["run", "--repo", &format!("https://jo:{PASSWORD}@git.example.org/mill.git")]);
    let shown = text(&run.stderr);
    assert_eq!(run.status.code(), Some(2), "{run:?}");
    assert!(shown.contains("credential helper") && !shown.contains(PASSWORD), "{shown}");
    let run = env.tidemill(&["run", "--repo", "/srv/git/mill.git"]);
    assert_eq!(run.status.code(), Some(2), "{run:?}");
    assert!(text(&run.stderr).contains("directory"), "{run:?}");
    assert!(env.executions().is_empty());
}

#[test]
fn directory_on_this_machine_runs_and_can_be_retried() {
    let env = TestEnv::new(SHOW);
    let bare = bare_clone(&env).display().to_string();
    for address in [bare.clone(), format!("file://{bare}")] {
        let run = env.tidemill(&["run", "--repo", &address, "--branch", "main", "--force"]);
        assert_eq!(run.status.code(), Some(0), "{run:?}");
        assert!(env.log("show").contains("from the repository"), "{}", env.log("show"));
        assert_eq!(env.latest()["execution"]["repo"], bare.as_str());
    }
    fs::remove_dir_all(env.data.join("worker/cache/trees")).unwrap();
    let again = env.on_latest(&["retry", "--all", "--repo", &bare]);
    assert_eq!(again.status.code(), Some(0), "{again:?}");
}

/// `GIT_TEST_ASSUME_DIFFERENT_OWNER` makes git treat every directory as owned by another user.
#[test]
fn git_configuration_of_another_users_directory_runs_nothing() {
    let env = TestEnv::new(SHOW);
    let marker = env.dir.path().join("ran");
    for key in ["core.fsmonitor", "core.sshCommand", "filter.x.clean"] {
        git(&env.repo(), &["config", key, &format!("touch {}", marker.display())]);
    }
    fs::write(env.repo().join(".gitattributes"), "* filter=x\n").unwrap();
    let foreign = |args: &[&str]| {
        let mut command = env.command(args);
        command.env("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.stdin(std::process::Stdio::null());
        finish(
            command
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap(),
        )
    };
    let repo = env.repo().display().to_string();
    for args in [&["run"][..], &["run", "--repo", &repo], &["secret", "list"]] {
        let output = foreign(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        let shown = text(&output.stderr);
        assert!(shown.contains("git config --global --add safe.directory"), "{args:?}: {shown}");
    }
    assert_eq!(foreign(&["check"]).status.code(), Some(0));
    assert_eq!(foreign(&["plan"]).status.code(), Some(0));
    assert!(!marker.exists());
}
