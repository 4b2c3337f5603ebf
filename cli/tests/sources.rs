//! Where sources come from: what is named on the command line, and what of that is kept.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../../worker/tests/support/http_git.rs"]
mod http_git;
mod support;

use http_git::{HttpGit, Manners};
use std::{
    fs,
    path::{Path, PathBuf},
};
use support::{Backend, Place, finish, git::git, text};

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

/// A bare clone of the place's repository, ready to be served as files.
fn bare(place: &Place) -> PathBuf {
    let bare = place.dir.path().join("served/mill.git");
    git(&place.repo(), &["clone", "-q", "--bare", ".", &bare.to_string_lossy()]);
    git(&bare, &["update-server-info"]);
    bare
}

/// The files below `dir` that have `text` in them.
fn holding(dir: &Path, text: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && !path.is_symlink() {
            holding(&path, text, found);
        } else if fs::read(&path)
            .is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
        {
            found.push(path);
        }
    }
}

#[test]
fn password_in_an_address_is_used_and_not_stored() {
    let mut place = Place::new(SHOW);
    place.logs = true;
    bare(&place);
    let manners = Manners { authorization: Some(BASIC.into()), ..Manners::default() };
    let server = HttpGit::start(&place.dir.path().join("served"), |_| manners);
    let url = format!("http://jo:{PASSWORD}@127.0.0.1:{}/mill.git", server.port);
    let run = place.tidemill(&["run", "--repo", &url]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let shown = text(&run.stdout) + &text(&run.stderr) + &place.log("show") + &place.latest().to_string();
    assert!(place.log("show").contains("from the repository"), "{shown}");
    assert_eq!(place.latest()["execution"]["repo"], server.url("mill.git"));
    let mut found = Vec::new();
    for secret in [PASSWORD, ENCODED] {
        assert!(!shown.contains(secret), "{shown}");
        holding(place.dir.path(), secret, &mut found);
    }
    assert_eq!(found, [] as [PathBuf; 0]);
}

#[test]
fn password_in_an_address_is_rejected_for_a_server() {
    let place = Backend::Server.place(SHOW);
    let run = place.tidemill(&["run", "--repo", &format!("https://jo:{PASSWORD}@git.example.org/mill.git")]);
    let shown = text(&run.stderr);
    assert_eq!(run.status.code(), Some(2), "{run:?}");
    assert!(shown.contains("credential helper") && !shown.contains(PASSWORD), "{shown}");
    let run = place.tidemill(&["run", "--repo", "/srv/git/mill.git"]);
    assert_eq!(run.status.code(), Some(2), "{run:?}");
    assert!(text(&run.stderr).contains("directory"), "{run:?}");
    assert!(place.executions().is_empty());
}

#[test]
fn directory_on_this_machine_runs_and_can_be_retried() {
    let place = Place::new(SHOW);
    let bare = bare(&place).display().to_string();
    for named in [bare.clone(), format!("file://{bare}")] {
        let run = place.tidemill(&["run", "--repo", &named, "--branch", "main", "--force"]);
        assert_eq!(run.status.code(), Some(0), "{run:?}");
        assert!(place.log("show").contains("from the repository"), "{}", place.log("show"));
        assert_eq!(place.latest()["execution"]["repo"], bare.as_str());
    }
    fs::remove_dir_all(place.data.join("worker/cache/trees")).unwrap();
    let again = place.of_latest(&["retry", "--all", "--repo", &bare]);
    assert_eq!(again.status.code(), Some(0), "{again:?}");
}

/// Git is told to take every directory for somebody else's.
#[test]
fn git_configuration_of_another_users_directory_runs_nothing() {
    let place = Place::new(SHOW);
    let marker = place.dir.path().join("ran");
    for key in ["core.fsmonitor", "core.sshCommand", "filter.x.clean"] {
        git(&place.repo(), &["config", key, &format!("touch {}", marker.display())]);
    }
    fs::write(place.repo().join(".gitattributes"), "* filter=x\n").unwrap();
    let foreign = |words: &[&str]| {
        let mut command = place.command(words);
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
    let repo = place.repo().display().to_string();
    for words in [&["run"][..], &["run", "--repo", &repo], &["secret", "list"]] {
        let refused = foreign(words);
        assert_eq!(refused.status.code(), Some(2), "{words:?}: {refused:?}");
        let shown = text(&refused.stderr);
        assert!(shown.contains("git config --global --add safe.directory"), "{words:?}: {shown}");
    }
    assert_eq!(foreign(&["check"]).status.code(), Some(0));
    assert_eq!(foreign(&["plan"]).status.code(), Some(0));
    assert!(!marker.exists());
}
