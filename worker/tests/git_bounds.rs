//! Git operations end in time and leave nothing, whatever the server at the other end does.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use support::git_server::{GitServer, dripping, git, output, silent, stopping};
use tidemill_core::execution::{assignment::Source, discovery::Discovery};
use tidemill_worker::{
    source::{HostPolicy, Limits, Retention, SourceCache, SourceErrorKind, SourceSettings},
    store::FileLock,
};

/// Far longer than what is to happen takes, on a machine with much else to do.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

fn settings(silence: u64) -> SourceSettings {
    let limits = Limits { silence: Duration::from_secs(silence), ..Limits::default() };
    SourceSettings { limits, ..SourceSettings::default() }
}

fn source(url: &str, commit: &str) -> Source {
    Source::Git {
        url: url.to_owned(),
        branch: Some("main".into()),
        commit: commit.to_owned(),
        private_host: true,
    }
}

fn any_commit() -> String {
    "12".repeat(20)
}

/// The command lines of all processes that name `words`.
fn processes(words: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(words)).collect()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < TEST_TIMEOUT, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// All files below `directory`.
fn files(directory: &Path) -> Vec<PathBuf> {
    let (mut found, mut directories) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { directories.push(path) } else { found.push(path) }
        }
    }
    found
}

/// What git leaves that was ended in the middle.
fn partial(cache: &Path) -> Vec<PathBuf> {
    let is_partial = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_lock = path.extension().is_some_and(|suffix| suffix == "lock")
            && path.parent().unwrap().file_name().unwrap() != "repos";
        name.starts_with("tmp_") || (is_lock && !path.starts_with(cache.join("trees")))
    };
    files(cache).into_iter().filter(is_partial).collect()
}

/// The lock of the one mirror in `cache`, as who fetches takes it.
fn mirror_lock(cache: &Path) -> PathBuf {
    let entries = fs::read_dir(cache.join("repos")).unwrap().flatten().map(|entry| entry.path());
    entries.into_iter().find(|path| path.extension().is_some_and(|suffix| suffix == "lock")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_server_fails_after_silence_limit() {
    for url in [silent(), dripping()] {
        let cache = tempfile::tempdir().unwrap();
        let sources = SourceCache::new(cache.path().to_owned(), HostPolicy::default(), settings(2));
        let begun = Instant::now();
        let error = sources.tree(&source(&url, &any_commit())).await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::TimedOut, "{error}");
        assert!(error.to_string().contains("the git server sent"), "{error}");
        assert!(begun.elapsed() < TEST_TIMEOUT, "{:?}", begun.elapsed());
        assert_eq!(processes(&url), [] as [String; 0]);
        assert_eq!(partial(cache.path()), [] as [PathBuf; 0]);
        // Nor does a look at a ref wait for ever.
        let wanted = Discovery { fetch_ref: Some("refs/heads/main".into()), ..Discovery::default() };
        let error = sources.discover(&source(&url, ""), &wanted).await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::TimedOut, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_operation_times_out() {
    let url = dripping();
    let cache = tempfile::tempdir().unwrap();
    let limits = Limits { operation: Duration::from_secs(1), ..Limits::default() };
    let sources = SourceCache::new(
        cache.path().to_owned(),
        HostPolicy::default(),
        SourceSettings { limits, ..SourceSettings::default() },
    );
    let error = sources.tree(&source(&url, &any_commit())).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::TimedOut, "{error}");
    assert!(error.to_string().contains("longer than 1 s"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn canceled_fetch_leaves_no_process_and_frees_mirror() {
    let url = silent();
    let cache = tempfile::tempdir().unwrap();
    let sources = SourceCache::new(cache.path().to_owned(), HostPolicy::default(), SourceSettings::default());
    for _ in 0..2 {
        let (of, from) = (sources.clone(), source(&url, &any_commit()));
        let fetching = tokio::spawn(async move { of.tree(&from).await });
        until("a fetch begins", || !processes(&url).is_empty()).await;
        assert!(FileLock::try_now(&mirror_lock(cache.path())).is_err(), "who fetches has the lock");
        let begun = Instant::now();
        fetching.abort();
        until("the fetch ends", || processes(&url).is_empty()).await;
        until("the lock is free", || FileLock::try_now(&mirror_lock(cache.path())).is_ok()).await;
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn job_that_waits_for_mirror_stops_waiting_when_canceled() {
    let url = silent();
    let cache = tempfile::tempdir().unwrap();
    let sources = SourceCache::new(cache.path().to_owned(), HostPolicy::default(), SourceSettings::default());
    let spawn = |commit: String| {
        let (of, from) = (sources.clone(), source(&url, &commit));
        tokio::spawn(async move { of.tree(&from).await })
    };
    let first = spawn(any_commit());
    until("a fetch begins", || !processes(&url).is_empty()).await;
    let second = spawn("34".repeat(20));
    let waits = || fs::read_dir(cache.path().join("trees")).unwrap().count() >= 4;
    until("a second one waits", waits).await;
    second.abort();
    first.abort();
    until("both end", || processes(&url).is_empty()).await;
    until("the lock is free", || FileLock::try_now(&mirror_lock(cache.path())).is_ok()).await;
}

/// A server whose one commit has a file of so many random bytes.
fn server_with(bytes: usize) -> (GitServer, String) {
    let server = GitServer::start();
    let mut noise = vec![0; bytes];
    let mut state = 1_u64;
    for byte in &mut noise {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = state.to_be_bytes()[0];
    }
    fs::write(server.dir.path().join("work/noise"), noise).unwrap();
    let commit = server.commit("noise");
    (server, commit)
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_stops_within_pack_leaves_nothing_and_next_fetch_succeeds() {
    let (server, commit) = server_with(2_000_000);
    let cache = tempfile::tempdir().unwrap();
    let sources = SourceCache::new(cache.path().to_owned(), HostPolicy::default(), settings(2));
    let stopped = stopping(&server.url, 1_000_000);
    let error = sources.tree(&source(&stopped, &commit)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::TimedOut, "{error}");
    assert_eq!(partial(cache.path()), [] as [PathBuf; 0]);
    assert_eq!(processes(&stopped), [] as [String; 0]);

    // A worker that was killed in the middle leaves its locks and parts of packs, too; they are in nobody's way.
    let whole = stopping(&server.url, usize::MAX);
    sources.discover(&source(&whole, &commit), &Discovery::default()).await.unwrap();
    let next = server.commit("next");
    let repos = fs::read_dir(cache.path().join("repos")).unwrap().flatten().map(|entry| entry.path());
    for repo in repos.filter(|path| path.extension().is_some_and(|suffix| suffix == "git")) {
        for name in [
            "HEAD.lock",
            "shallow.lock",
            "packed-refs.lock",
            "refs/heads/main.lock",
            "objects/pack/tmp_pack_x",
        ] {
            fs::create_dir_all(repo.join(name).parent().unwrap()).unwrap();
            fs::write(repo.join(name), "").unwrap();
        }
    }
    let tree = sources.tree(&source(&whole, &next)).await.unwrap().unwrap();
    assert_eq!(fs::read_to_string(tree.path.join("mill.txt")).unwrap(), "next");
}

#[tokio::test(flavor = "multi_thread")]
async fn repository_above_size_limit_is_rejected_while_it_is_fetched() {
    let (server, commit) = server_with(3_000_000);
    let cache = tempfile::tempdir().unwrap();
    let limits = Limits { repository_bytes: 500_000, ..Limits::default() };
    let sources = SourceCache::new(
        cache.path().to_owned(),
        HostPolicy::default(),
        SourceSettings { limits, ..SourceSettings::default() },
    );
    let error = sources.tree(&source(&server.url, &commit)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::TooLarge, "{error}");
    let kept: u64 = files(cache.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(kept < 500_000, "{kept} bytes are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn checkout_above_its_limits_is_rejected_and_leaves_nothing() {
    let (server, commit) = server_with(100_000);
    for limits in [
        Limits { checkout_files: 1, ..Limits::default() },
        Limits { checkout_bytes: 50_000, ..Limits::default() },
    ] {
        let cache = tempfile::tempdir().unwrap();
        let settings = SourceSettings { limits, ..SourceSettings::default() };
        let sources = SourceCache::new(cache.path().to_owned(), HostPolicy::default(), settings);
        let error = sources.tree(&source(&server.url, &commit)).await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::TooLarge, "{error}");
        let trees = fs::read_dir(cache.path().join("trees")).unwrap().flatten();
        assert_eq!(trees.filter(|entry| entry.path().is_dir()).count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn number_of_checkouts_stays_bounded_over_many_commits() {
    let server = GitServer::start();
    let cache = tempfile::tempdir().unwrap();
    let retention = Retention { trees: 5, ..Retention::default() };
    let sources = SourceCache::new(
        cache.path().to_owned(),
        HostPolicy::default(),
        SourceSettings { retention, ..SourceSettings::default() },
    );
    let trees = || {
        let entries = fs::read_dir(cache.path().join("trees")).unwrap().flatten();
        entries.filter(|entry| entry.path().is_dir()).count()
    };
    let first = server.commit("first");
    let in_use = sources.tree(&source(&server.url, &first)).await.unwrap().unwrap();
    for number in 0..15 {
        let commit = server.commit(&format!("commit {number}"));
        drop(sources.tree(&source(&server.url, &commit)).await.unwrap());
        until("checkouts are removed", || trees() <= 6).await;
    }
    until("no more are kept than are to be", || trees() <= 5).await;
    assert!(in_use.path.join("mill.txt").exists(), "what is in use stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn tree_of_ten_million_paths_is_not_read_whole() {
    let server = GitServer::start();
    let cache = tempfile::tempdir().unwrap();
    let work = server.dir.path().join("work");
    fs::write(work.join("leaf"), "x").unwrap();
    let blob = output(&work, &["hash-object", "-w", "leaf"]);
    let mut tree = make_tree(&work, &ten(&format!("100644 blob {blob}")));
    for _ in 0..6 {
        tree = make_tree(&work, &ten(&format!("040000 tree {tree}")));
    }
    let pipeline = "name: one\njobs: { j: { image: i, script: x } }\n";
    fs::write(work.join("one.yml"), pipeline).unwrap();
    let file = output(&work, &["hash-object", "-w", "one.yml"]);
    let folder = make_tree(&work, &format!("100644 blob {file}\tone.yml\n"));
    let top = make_tree(&work, &format!("040000 tree {folder}\t.pipelines\n040000 tree {tree}\tmany\n"));
    let commit = output(&work, &["commit-tree", "-m", "many", &top]);
    git(&work, &["update-ref", "refs/heads/main", &commit]);
    git(&work, &["push", "-q", "--force", "../mill.git", "main"]);
    let packed: u64 =
        files(&work.join(".git/objects")).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(packed < 300_000, "a small repository: {packed}");

    let (before, _) = memory();
    let limits = Limits { checkout_files: 50_000, ..Limits::default() };
    let sources = SourceCache::new(
        cache.path().to_owned(),
        HostPolicy::default(),
        SourceSettings { limits, ..SourceSettings::default() },
    );
    let from = source(&server.url, &commit);
    let wanted = Discovery { before: Some(commit.clone()), ..Discovery::default() };
    let found = sources.discover(&from, &wanted).await.unwrap();
    assert_eq!((found.paths, found.files.len()), (None, 1), "all else is found as ever");
    let (_, peak) = memory();
    assert!(peak.saturating_sub(before) < 64 << 20, "memory grew from {before} to {peak} bytes");
    // Nor is it laid out.
    let error = sources.tree(&from).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::TooLarge, "{error}");
}

/// Ten entries of a tree that are all the same but for their names.
fn ten(entry: &str) -> String {
    let entries: Vec<String> = (0..10).map(|name| format!("{entry}\t{name}\n")).collect();
    entries.concat()
}

/// A tree of these entries, as `git ls-tree` would show them; its hash.
fn make_tree(work: &Path, entries: &str) -> String {
    let list = work.join("entries");
    fs::write(&list, entries).unwrap();
    let made = std::process::Command::new("git")
        .current_dir(work)
        .arg("mktree")
        .stdin(fs::File::open(&list).unwrap())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

/// The memory of this process: now, and the most so far.
fn memory() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    };
    (of("VmRSS:"), of("VmHWM:"))
}

#[tokio::test(flavor = "multi_thread")]
async fn pipeline_files_and_includes_are_read_within_limits() {
    let server = GitServer::start();
    let cache = tempfile::tempdir().unwrap();
    let work = server.dir.path().join("work");
    fs::create_dir_all(work.join(".pipelines")).unwrap();
    let job = "jobs: { j: { image: i, script: x } }\n";
    let large = format!("# {}\n{job}", "x".repeat(900 << 10));
    for number in 0..20 {
        fs::write(work.join(format!(".pipelines/{number:02}.yml")), format!("name: n{number}\n{large}"))
            .unwrap();
    }
    fs::write(work.join(".pipelines/above.yml"), "x".repeat((1 << 20) + 1)).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", work.join(".pipelines/link.yml")).unwrap();
    git(&work, &["add", "-A"]);
    git(&work, &["commit", "-q", "-m", "large"]);
    git(&work, &["push", "-q", "../mill.git", "main"]);
    let commit = output(&work, &["rev-parse", "HEAD"]);
    let sources = SourceCache::new(cache.path().to_owned(), HostPolicy::default(), SourceSettings::default());
    let from = source(&server.url, &commit);
    let found = sources.discover(&from, &Discovery::default()).await.unwrap();
    let bytes: usize = found.files.iter().map(|file| file.text.len()).sum();
    assert!((1 << 20..=4 << 20).contains(&bytes), "{bytes}");
    let mistakes = found.mistakes.concat();
    assert!(mistakes.contains("above.yml") && mistakes.contains("1048576 is the limit"), "{mistakes}");
    assert!(mistakes.contains("19.yml cannot be read"), "{mistakes}");
    assert!(!mistakes.contains("link.yml") && found.files.iter().all(|file| !file.path.contains("link")));

    for number in 0..10_001 {
        fs::write(work.join(format!(".pipelines/{number}.txt")), "").unwrap();
    }
    git(&work, &["add", "-A"]);
    git(&work, &["commit", "-q", "-m", "many"]);
    git(&work, &["push", "-q", "../mill.git", "main"]);
    let commit = output(&work, &["rev-parse", "HEAD"]);
    let found = sources.discover(&source(&server.url, &commit), &Discovery::default()).await.unwrap();
    assert!(
        found.files.is_empty() && found.mistakes[0].contains("more than 10000 entries"),
        "{:?}",
        found.mistakes
    );
}
