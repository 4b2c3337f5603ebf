//! Git operations end in time and leave no processes, locks or files, whatever the git server does.

use crate::support::git_server::{
    GitServer, git, job_with, output, silent_server, slow_server, source, truncating_server,
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tidemill_core::execution::discovery::Discovery;
use tidemill_worker::{
    source::{HostPolicy, Limits, Retention, SourceCache, SourceErrorKind, SourceSettings},
    store::FileLock,
};

/// Far longer than any operation takes, even on a loaded machine.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

fn settings(silence: u64) -> SourceSettings {
    let limits = Limits { silence: Duration::from_secs(silence), ..Limits::default() };
    SourceSettings { limits, ..SourceSettings::default() }
}

fn any_commit() -> String {
    "12".repeat(20)
}

/// Returns the command lines of all processes that contain `text`.
fn processes(text: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(text)).collect()
}

async fn until(condition: &str, is_met: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_met() {
        assert!(started.elapsed() < TEST_TIMEOUT, "timeout: {condition}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Lists all files below `directory`.
fn files(directory: &Path) -> Vec<PathBuf> {
    let (mut files, mut directories) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    files
}

/// Lists the files that an interrupted git process leaves.
fn partial(cache: &Path) -> Vec<PathBuf> {
    let is_partial = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_lock = path.extension().is_some_and(|suffix| suffix == "lock")
            && path.parent().unwrap().file_name().unwrap() != "repos";
        name.starts_with("tmp_") || (is_lock && !path.starts_with(cache.join("trees")))
    };
    files(cache).into_iter().filter(is_partial).collect()
}

/// Returns the path of the write lock of the only mirror in `cache`.
fn mirror_lock(cache: &Path) -> PathBuf {
    let entries = fs::read_dir(cache.join("repos")).unwrap().flatten().map(|entry| entry.path());
    entries.into_iter().find(|path| path.extension().is_some_and(|suffix| suffix == "lock")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_server_fails_after_silence_limit() {
    for url in [silent_server(), slow_server()] {
        let cache = tempfile::tempdir().unwrap();
        let sources = SourceCache::new(cache.path().to_owned(), HostPolicy::default(), settings(2));
        let started = Instant::now();
        let error = sources.tree(&source(&url, &any_commit())).await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::TimedOut, "{error}");
        assert!(error.to_string().contains("the git server sent"), "{error}");
        assert!(started.elapsed() < TEST_TIMEOUT, "{:?}", started.elapsed());
        assert_eq!(processes(&url), [] as [String; 0]);
        assert_eq!(partial(cache.path()), [] as [PathBuf; 0]);
        // Listing a ref is limited as well.
        let request = Discovery { fetch_ref: Some("refs/heads/main".into()), ..Discovery::default() };
        let error = sources.discover(&job_with(&source(&url, "")), &request).await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::TimedOut, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_operation_times_out() {
    let url = slow_server();
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
    let url = silent_server();
    let cache = tempfile::tempdir().unwrap();
    let sources = SourceCache::new(cache.path().to_owned(), HostPolicy::default(), SourceSettings::default());
    for _ in 0..2 {
        let (sources, from) = (sources.clone(), source(&url, &any_commit()));
        let fetching = tokio::spawn(async move { sources.tree(&from).await });
        until("a fetch starts", || !processes(&url).is_empty()).await;
        assert!(FileLock::try_exclusive(&mirror_lock(cache.path())).is_err(), "the fetch holds the lock");
        let started = Instant::now();
        fetching.abort();
        until("the fetch ends", || processes(&url).is_empty()).await;
        until("the lock is free", || FileLock::try_exclusive(&mirror_lock(cache.path())).is_ok()).await;
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn job_that_waits_for_mirror_stops_waiting_when_canceled() {
    let url = silent_server();
    let cache = tempfile::tempdir().unwrap();
    let sources = SourceCache::new(cache.path().to_owned(), HostPolicy::default(), SourceSettings::default());
    let spawn = |commit: String| {
        let (sources, from) = (sources.clone(), source(&url, &commit));
        tokio::spawn(async move { sources.tree(&from).await })
    };
    let first = spawn(any_commit());
    until("a fetch starts", || !processes(&url).is_empty()).await;
    let second = spawn("34".repeat(20));
    let is_waiting = || fs::read_dir(cache.path().join("trees")).unwrap().count() >= 4;
    until("the second fetch waits", is_waiting).await;
    second.abort();
    first.abort();
    until("both fetches end", || processes(&url).is_empty()).await;
    until("the lock is free", || FileLock::try_exclusive(&mirror_lock(cache.path())).is_ok()).await;
}

/// Starts a server with a commit that has a file of `bytes` random bytes.
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
    let stopped = truncating_server(&server.url, 1_000_000);
    let error = sources.tree(&source(&stopped, &commit)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::TimedOut, "{error}");
    assert_eq!(partial(cache.path()), [] as [PathBuf; 0]);
    assert_eq!(processes(&stopped), [] as [String; 0]);

    // A killed worker also leaves locks and partial packs, which must not block the next fetch.
    let complete = truncating_server(&server.url, usize::MAX);
    sources.discover(&job_with(&source(&complete, &commit)), &Discovery::default()).await.unwrap();
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
    let tree = sources.tree(&source(&complete, &next)).await.unwrap().unwrap();
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
    let size: u64 = files(cache.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(size < 500_000, "{size} bytes remain");
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
    until("the retention limit is reached", || trees() <= 5).await;
    assert!(in_use.path.join("mill.txt").exists(), "a tree in use stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn tree_of_ten_million_paths_is_not_read_completely() {
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
    assert!(packed < 300_000, "the repository is small: {packed}");

    let (before, _) = memory();
    let limits = Limits { checkout_files: 50_000, ..Limits::default() };
    let sources = SourceCache::new(
        cache.path().to_owned(),
        HostPolicy::default(),
        SourceSettings { limits, ..SourceSettings::default() },
    );
    let from = source(&server.url, &commit);
    let request = Discovery { before: Some(commit.clone()), ..Discovery::default() };
    let result = sources.discover(&job_with(&from), &request).await.unwrap();
    assert_eq!((result.paths, result.files.len()), (None, 1), "the pipeline files are still found");
    let (_, peak) = memory();
    assert!(peak.saturating_sub(before) < 64 << 20, "memory grew from {before} to {peak} bytes");
    // It is not checked out either.
    let error = sources.tree(&from).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::TooLarge, "{error}");
}

/// Returns ten tree entries that differ only in their names.
fn ten(entry: &str) -> String {
    let entries: Vec<String> = (0..10).map(|name| format!("{entry}\t{name}\n")).collect();
    entries.concat()
}

/// Creates a tree of these entries in the format of `git ls-tree`, and returns its hash.
fn make_tree(work: &Path, entries: &str) -> String {
    let list = work.join("entries");
    fs::write(&list, entries).unwrap();
    let output = std::process::Command::new("git")
        .current_dir(work)
        .arg("mktree")
        .stdin(fs::File::open(&list).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Returns the current and the peak memory of this process in bytes.
fn memory() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
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
    let result = sources.discover(&job_with(&from), &Discovery::default()).await.unwrap();
    let bytes: usize = result.files.iter().map(|file| file.text.len()).sum();
    assert!((1 << 20..=4 << 20).contains(&bytes), "{bytes}");
    let diagnostics = result.diagnostics.concat();
    assert!(
        diagnostics.contains("above.yml") && diagnostics.contains("it has more than 1048576 bytes"),
        "{diagnostics}"
    );
    assert!(diagnostics.contains("19.yml cannot be read"), "{diagnostics}");
    assert!(!diagnostics.contains("link.yml") && result.files.iter().all(|file| !file.path.contains("link")));

    for number in 0..10_001 {
        fs::write(work.join(format!(".pipelines/{number}.txt")), "").unwrap();
    }
    git(&work, &["add", "-A"]);
    git(&work, &["commit", "-q", "-m", "many"]);
    git(&work, &["push", "-q", "../mill.git", "main"]);
    let commit = output(&work, &["rev-parse", "HEAD"]);
    let result =
        sources.discover(&job_with(&source(&server.url, &commit)), &Discovery::default()).await.unwrap();
    assert!(
        result.files.is_empty() && result.diagnostics[0].contains("more than 10000 entries"),
        "{:?}",
        result.diagnostics
    );
}
