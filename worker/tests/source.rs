//! Fetches and uploads sources with a git server on the loopback.

use crate::support::git_server::{GitServer, git, output};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};
use tidemill_core::execution::{
    assignment::{CheckoutRefs, Source},
    discovery::Discovery,
};
use tidemill_core::pipeline::NoSources;
use tidemill_core::repository::AddressPolicy;
use tidemill_worker::source::{
    HostPolicy, Revision, SourceError, UploadPlan, discover, materialize, plan_upload, snapshot,
};

fn no_upload(upload: &str) -> Result<File, SourceError> {
    Err(SourceError::new(format!("unexpected request for upload {upload}")))
}

/// Permits all hosts, like a local run.
fn unrestricted() -> HostPolicy {
    HostPolicy::new(AddressPolicy::unrestricted())
}

fn resolve(url: &str, branch: Option<&str>, commit: Option<&str>) -> Result<Source, SourceError> {
    let cache = tempfile::tempdir().unwrap();
    let resolved = tidemill_worker::source::resolve(
        url,
        Revision { branch, commit, tag: None },
        (cache.path(), &unrestricted()),
    );
    resolved.map(|resolved| resolved.source)
}

fn text(source: &Source, cache: &Path) -> String {
    let tree = materialize(source, cache, &unrestricted(), &no_upload).unwrap().unwrap();
    fs::read_to_string(tree.path.join("mill.txt")).unwrap()
}

/// Returns the only mirror in `cache`.
fn mirror(cache: &Path) -> PathBuf {
    let repos = fs::read_dir(cache.join("repos")).unwrap().map(|entry| entry.unwrap().path());
    let mirrors: Vec<PathBuf> =
        repos.filter(|path| path.extension().is_some_and(|suffix| suffix == "git")).collect();
    assert_eq!(mirrors.len(), 1, "{mirrors:?}");
    mirrors[0].clone()
}

#[test]
fn later_fetches_get_only_new_objects() {
    let mut server = GitServer::start();
    let cache = tempfile::tempdir().unwrap();
    let first = resolve(&server.url, None, None).unwrap();
    let Source::Git { branch, .. } = &first else { panic!("{first:?}") };
    assert_eq!(branch.as_deref(), Some("main"), "the default branch is found");
    assert_eq!(text(&first, cache.path()), "one");

    let second_commit = server.commit("two");
    let second = resolve(&server.url, Some("main"), None).unwrap();
    assert!(matches!(&second, Source::Git { commit, .. } if *commit == second_commit), "{second:?}");
    assert_eq!(text(&second, cache.path()), "two");
    let packed = output(&mirror(cache.path()), &["count-objects", "-v"]);
    assert!(packed.contains("count: 6") || packed.contains("in-pack: 6"), "only two commits: {packed}");

    // Fetched commits are available without the server, even if their trees were removed.
    server.stop();
    fs::remove_dir_all(cache.path().join("trees")).unwrap();
    assert_eq!(text(&first, cache.path()), "one");
    assert_eq!(text(&second, cache.path()), "two");
}

#[test]
fn missing_commit_and_repository_are_errors() {
    let server = GitServer::start();
    let cache = tempfile::tempdir().unwrap();
    let error = resolve(&server.url, Some("nowhere"), None).unwrap_err().to_string();
    assert!(error.contains("no branch or tag `nowhere`"), "{error}");
    let error = resolve(&server.url, None, Some("abc123")).unwrap_err().to_string();
    assert!(error.contains("not a full commit hash"), "{error}");
    let missing = resolve(&server.url, None, Some(&"12".repeat(20)));
    let error =
        materialize(&missing.unwrap(), cache.path(), &unrestricted(), &no_upload).unwrap_err().to_string();
    assert!(error.contains("no commit"), "{error}");
    let unreachable = resolve("git://127.0.0.1:1/mill.git", None, None).unwrap_err().to_string();
    assert!(unreachable.contains("git:"), "{unreachable}");
}

/// Sends a snapshot of `work` to a worker and checks it out there. Returns the source, the tree and the number of bytes sent.
fn sent(work: &Path, all: bool, sender: &Path, worker: &Path) -> (Source, PathBuf, u64) {
    let (source, pack) = match plan_upload(&snapshot(work, sender).unwrap(), all).unwrap() {
        UploadPlan::Fetch(source) => (source, None),
        UploadPlan::Upload(pack) => {
            let written = pack.write().unwrap();
            assert_eq!(pack.previous_name().as_ref(), Some(&written.name), "the name is recorded");
            (pack.source_for(&written.name), Some(written.file))
        }
    };
    let size = pack.as_ref().map_or(0, |pack| pack.metadata().unwrap().len());
    let tree =
        materialize(&source, worker, &unrestricted(), &|_| Ok(pack.as_ref().unwrap().try_clone().unwrap()))
            .unwrap();
    (source, tree.unwrap().path.clone(), size)
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..bytes).map(|_| next()).collect()
}

#[test]
fn only_objects_missing_at_the_origin_are_uploaded() {
    let server = GitServer::start();
    let (sender, worker) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(server.dir.path().join("work/large"), noise(200_000)).unwrap();
    server.commit("large");
    let clone = server.dir.path().join("clone");
    git(server.dir.path(), &["clone", "-q", &server.url, "clone"]);

    let (source, tree, size) = sent(&clone, false, sender.path(), worker.path());
    assert!(matches!(source, Source::Git { ref url, .. } if *url == server.url), "{source:?}");
    assert_eq!((size, fs::read_to_string(tree.join("mill.txt")).unwrap().as_str()), (0, "large"));

    // Unpushed commits and uncommitted changes.
    fs::write(clone.join("mill.txt"), "mine").unwrap();
    git(&clone, &["commit", "-q", "-a", "-m", "mine"]);
    fs::write(clone.join("mill.txt"), "dirty").unwrap();
    fs::write(clone.join("new.txt"), "new").unwrap();
    let (source, tree, size) = sent(&clone, false, sender.path(), worker.path());
    let base = output(&clone, &["rev-parse", "origin/main"]);
    assert!(
        matches!(&source, Source::Uploaded { base: Some(of), url: Some(url), .. } if *of == base && *url == server.url),
        "{source:?}"
    );
    assert!(size < 10_000, "the large file is at the origin: {size}");
    assert_eq!(fs::read_to_string(tree.join("mill.txt")).unwrap(), "dirty");
    assert_eq!(output(&tree, &["status", "--porcelain"]), "M mill.txt\n?? new.txt");
    assert_eq!(output(&tree, &["log", "--format=%s"]), "mine\nlarge\none");

    // The upload is named by its content, and is not downloaded again even if its tree was removed.
    let UploadPlan::Upload(again) = plan_upload(&snapshot(&clone, sender.path()).unwrap(), false).unwrap()
    else {
        panic!("there is something to upload")
    };
    assert_eq!(again.source_for(&again.previous_name().unwrap()), source);
    fs::remove_dir_all(&tree).unwrap();
    materialize(&source, worker.path(), &unrestricted(), &no_upload).unwrap().unwrap();
}

#[test]
fn everything_up_to_the_history_depth_is_uploaded_without_an_origin() {
    let dir = tempfile::tempdir().unwrap();
    let (sender, worker) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    git(dir.path(), &["init", "-q", "-b", "main", "work"]);
    let work = dir.path().join("work");
    for number in 1..=55 {
        fs::write(work.join("mill.txt"), number.to_string()).unwrap();
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-q", "-m", &number.to_string()]);
    }
    fs::write(work.join("mill.txt"), "dirty").unwrap();
    let (source, tree, _) = sent(&work, false, sender.path(), worker.path());
    assert!(matches!(source, Source::Uploaded { url: None, base: None, .. }), "{source:?}");
    assert_eq!(fs::read_to_string(tree.join("mill.txt")).unwrap(), "dirty");
    assert_eq!(output(&tree, &["rev-list", "--count", "HEAD"]), "50");
    assert_eq!(output(&tree, &["status", "--porcelain"]), "M mill.txt");

    // A shallow clone has less history, and a plain directory none; both are uploaded completely.
    let from = format!("file://{}", work.display());
    git(dir.path(), &["clone", "-q", "--depth=2", &from, "shallow"]);
    let (_, tree, _) = sent(&dir.path().join("shallow"), false, sender.path(), worker.path());
    assert_eq!(output(&tree, &["rev-list", "--count", "HEAD"]), "2");
    fs::write(dir.path().join("shallow/mill.txt"), "dirty, too").unwrap();
    let (_, tree, _) = sent(&dir.path().join("shallow"), false, sender.path(), worker.path());
    assert_eq!(fs::read_to_string(tree.join("mill.txt")).unwrap(), "dirty, too");
    let plain = dir.path().join("plain");
    fs::create_dir(&plain).unwrap();
    fs::write(plain.join("mill.txt"), "plain").unwrap();
    let (_, tree, _) = sent(&plain, false, sender.path(), worker.path());
    assert_eq!(fs::read_to_string(tree.join("mill.txt")).unwrap(), "plain");
}

#[test]
fn unfetchable_base_is_an_error_and_uploading_all_succeeds() {
    let mut server = GitServer::start();
    let (sender, worker) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    git(server.dir.path(), &["clone", "-q", &server.url, "clone"]);
    let clone = server.dir.path().join("clone");
    fs::write(clone.join("mill.txt"), "dirty").unwrap();
    server.stop();
    let UploadPlan::Upload(pack) = plan_upload(&snapshot(&clone, sender.path()).unwrap(), false).unwrap()
    else {
        panic!("there is something to upload")
    };
    let error = materialize(&pack.source_for(&"a".repeat(64)), worker.path(), &unrestricted(), &no_upload)
        .unwrap_err()
        .to_string();
    assert!(error.contains("--upload-all") && error.contains(&server.url), "{error}");
    let (source, tree, _) = sent(&clone, true, sender.path(), worker.path());
    assert!(matches!(source, Source::Uploaded { url: None, base: None, .. }), "{source:?}");
    assert_eq!(fs::read_to_string(tree.join("mill.txt")).unwrap(), "dirty");
}

#[test]
fn invalid_upload_is_an_error() {
    let worker = tempfile::tempdir().unwrap();
    let commit = "12".repeat(20);
    let source = Source::Uploaded {
        upload: "a".repeat(96),
        url: None,
        private_host: false,
        has_credential: false,
        base: None,
        branch: None,
        commit,
        tree: None,
    };
    let unpack_error = |bytes: &[u8]| {
        let file = worker.path().join("upload");
        fs::write(&file, bytes).unwrap();
        materialize(&source, worker.path(), &unrestricted(), &|_| Ok(File::open(&file).unwrap()))
            .unwrap_err()
            .to_string()
    };
    let message = unpack_error(b"tidemill source 9\n\nPACK");
    assert!(message.contains("`tidemill source 9`; update this worker"), "{message}");
    let message = unpack_error(b"nothing");
    assert!(message.contains("the header is missing"), "{message}");
    let message = unpack_error(b"tidemill source 1\n\nPACK");
    assert!(message.contains("git:"), "{message}");
}

#[test]
fn case_everyday_32_message_of_a_push_can_skip_it() {
    let server = GitServer::start();
    let cache = tempfile::tempdir().unwrap();
    fs::create_dir(server.dir.path().join("work/.pipelines")).unwrap();
    fs::write(server.dir.path().join("work/.pipelines/ci.yml"), "name: ci\n").unwrap();
    let remote = unrestricted().remote(&server.url, true).unwrap();
    let refs = CheckoutRefs::default();
    for (message, skips) in [("bump [skip ci]", true), ("[CI SKIP] typo", true), ("skip ci", false)] {
        let commit = server.commit(message);
        let read = |can_skip| {
            let request = Discovery { can_skip, ..Discovery::default() };
            discover(&remote, (Some("main"), &refs), &commit, &request, (cache.path(), &NoSources)).unwrap()
        };
        let push = read(true);
        assert_eq!((push.is_skipped, push.details.title()), (skips, Some(message)));
        assert_eq!(push.diagnostics.is_empty() && push.files.is_empty(), skips, "{message}");
        assert!(!read(false).is_skipped, "a tag on it is no push");
    }
}
