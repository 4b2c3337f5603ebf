//! Sources on their way from a disk to a worker that does not see it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;
use std::fs;
use support::{
    Backend, Place,
    git::{GitServer, git},
    job, kind, text,
};

const SHOW: &str = r#"
name: show
stages: [a]
jobs:
  show: { stage: a, image: "IMAGE", script: ["cat source.txt", "grep -c . large.txt"] }
"#;

/// A place on a server whose repository has a large file, too.
fn place() -> Place {
    let place = Backend::Server.place(SHOW);
    let lines: Vec<String> =
        (0..40_000_u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_string()).collect();
    fs::write(place.repo().join("large.txt"), lines.join("\n")).unwrap();
    git(&place.repo(), &["add", "-A"]);
    git(&place.repo(), &["commit", "-q", "-m", "large"]);
    place
}

/// A git server that is the repository's `origin`. It is registered, as its host is this machine.
fn served(place: &Place) -> GitServer {
    let server = GitServer::of(&place.repo());
    let added = place.tidemill(&["repo", "add", &server.url, "--provider", "gitea"]);
    assert_eq!(added.status.code(), Some(0), "{added:?}");
    server
}

/// The sizes of the uploads that the server keeps.
fn uploads(place: &Place) -> Vec<u64> {
    let kept = fs::read_dir(place.dir.path().join("server/artifacts/sources"));
    kept.map_or_else(|_| Vec::new(), |all| all.map(|one| one.unwrap().metadata().unwrap().len()).collect())
}

#[test]
fn working_tree_is_uploaded_once() {
    let place = place();
    fs::write(place.repo().join("source.txt"), "uncommitted\n").unwrap();
    let run = place.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert!(text(&run.stderr).contains("uploaded "), "{run:?}");
    assert!(place.log("show").contains("\nuncommitted\n"), "{}", place.log("show"));
    let again = place.tidemill(&["run"]);
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    assert!(!text(&again.stderr).contains("uploaded "), "{again:?}");
    assert_eq!((place.executions().len(), uploads(&place).len()), (2, 1));
}

#[test]
fn commits_of_the_origin_are_not_uploaded() {
    let place = place();
    let server = served(&place);
    let run = place.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!(uploads(&place), [] as [u64; 0]);

    fs::write(place.repo().join("source.txt"), "mine alone\n").unwrap();
    let run = place.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert!(place.log("show").contains("\nmine alone\n"), "{}", place.log("show"));
    let sizes = uploads(&place);
    assert!(matches!(sizes[..], [size] if size < 10_000), "the large file stays where it is: {sizes:?}");
    assert_eq!(place.latest()["execution"]["repo"], server.url.as_str());
}

#[test]
fn unreachable_origin_error_suggests_upload_all() {
    let place = place();
    drop(served(&place));
    fs::write(place.repo().join("source.txt"), "mine alone\n").unwrap();
    let run = place.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let view = place.latest();
    assert_eq!(kind(&view, "show"), "source_unavailable", "{view:#}");
    let words = job(&view, "show")["failure_reason"]["message"].as_str().unwrap();
    assert!(words.contains("run with --upload-all"), "{words}");
    let run = place.tidemill(&["run", "--upload-all"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert!(place.log("show").contains("\nmine alone\n"), "{}", place.log("show"));
}
