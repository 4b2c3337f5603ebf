//! Read-only trees of sources, laid out once and shared by all jobs that need them.

use super::git::{self, SourceError};
use crate::store::{FileLock, short_hash};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tidemill_core::assignment::Source;

/// How many commits of history a workspace's repository has.
const DEPTH: &str = "--depth=20";
/// Trees that are kept at most, and for how long without use.
const MOST_TREES: usize = 20;
const LONGEST_UNUSED: Duration = Duration::from_secs(14 * 24 * 3600);

/// The directory that holds the tree of `source`, with a usable `.git`; `None` when there are no sources. It must
/// not be written to: every job of the same sources shares it.
pub fn materialise(source: &Source, cache: &Path) -> Result<Option<PathBuf>, SourceError> {
    let Source::Git { url, branch, commit, tree } = source else { return Ok(None) };
    if !git::is_full_hash(commit) || tree.as_ref().is_some_and(|tree| !git::is_full_hash(tree)) {
        return Err(SourceError::new(format!("`{commit}` is not a full commit hash")));
    }
    let failed = |error: io::Error| SourceError::new(format!("the source cache cannot be written: {error}"));
    let key = short_hash(&[url, branch.as_deref().unwrap_or(""), commit, tree.as_deref().unwrap_or("")]);
    let home = cache.join("trees");
    let done = home.join(&key);
    if !done.join(".git").exists() {
        let _lock = FileLock::wait(&home.join(format!("{key}.lock"))).map_err(failed)?;
        if !done.join(".git").exists() {
            let objects = objects_of(url, branch.as_deref(), commit, cache)?;
            let building = home.join(format!("{key}.new"));
            let _ = fs::remove_dir_all(&building);
            fs::create_dir_all(&building).map_err(failed)?;
            lay_out(&objects, url, branch.as_deref(), commit, tree.as_deref(), &building)?;
            fs::rename(&building, &done).map_err(failed)?;
        }
    }
    // Its time of change tells the clean-up when it was last used.
    let _ =
        fs::File::options().create(true).truncate(true).write(true).open(home.join(format!("{key}.used")));
    Ok(Some(done))
}

/// A repository on this machine that has `commit`: the one at `url` itself, or a mirror of it.
fn objects_of(url: &str, branch: Option<&str>, commit: &str, cache: &Path) -> Result<PathBuf, SourceError> {
    let local = Path::new(url.strip_prefix("file://").unwrap_or(url));
    if local.is_dir() {
        let found = git::run(git::command().arg("-C").arg(local).args(["rev-parse", "--absolute-git-dir"]))?;
        let path = PathBuf::from(found.trim_end());
        if has(&path, commit) {
            return Ok(path);
        }
        return Err(SourceError::new(format!("{url} has no commit {commit}")));
    }
    let mirror = cache.join("repos").join(format!("{}.git", short_hash(&[url])));
    let _lock = FileLock::wait(&mirror.with_extension("lock"))
        .map_err(|error| SourceError::new(format!("the source cache cannot be written: {error}")))?;
    if !mirror.join("HEAD").exists() {
        git::run(git::command().args(["init", "--quiet", "--bare"]).arg(&mirror))?;
    }
    if has(&mirror, commit) {
        return Ok(mirror);
    }
    let fetch = |what: &[&str]| {
        git::run(git::at(&mirror).args(["fetch", "--quiet", "--force", "--", url]).args(what))
    };
    let named = branch.map(|branch| format!("refs/heads/{branch}:refs/heads/{branch}"));
    let tried = named.map_or_else(|| fetch(&[commit]), |name| fetch(&[&name]));
    if tried.is_ok() && has(&mirror, commit) {
        return Ok(mirror);
    }
    fetch(&["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"])?;
    if !has(&mirror, commit) {
        fetch(&[commit])
            .map_err(|error| SourceError::new(format!("{url} has no commit {commit} ({error})")))?;
    }
    Ok(mirror)
}

fn has(git_dir: &Path, commit: &str) -> bool {
    git::run(git::at(git_dir).args(["cat-file", "-e", &format!("{commit}^{{commit}}")])).is_ok()
}

fn lay_out(
    objects: &Path,
    url: &str,
    branch: Option<&str>,
    commit: &str,
    tree: Option<&str>,
    into: &Path,
) -> Result<(), SourceError> {
    let inside = || {
        let mut command = git::command();
        command.arg("-C").arg(into);
        command
    };
    git::run(inside().args(["init", "--quiet"]))?;
    let from = format!("file://{}", objects.display());
    git::run(inside().args(["fetch", "--quiet", "--no-tags", DEPTH, &from, commit]))?;
    match branch {
        Some(branch) => git::run(inside().args(["checkout", "--quiet", "-B", branch, commit]))?,
        None => git::run(inside().args(["checkout", "--quiet", "--detach", commit]))?,
    };
    if let Some(tree) = tree {
        // The snapshot's files lie on top of HEAD as uncommitted changes, as they do on disk.
        git::run(inside().args(["fetch", "--quiet", "--no-tags", &from, tree]))?;
        git::run(inside().args(["read-tree", "--reset", "-u", tree]))?;
        git::run(inside().args(["reset", "--quiet", "--mixed", commit]))?;
    }
    git::run(inside().args(["config", "remote.origin.url", url])).map(drop)
}

/// Removes trees that nobody used for long, and the least used beyond the number that is kept.
pub fn prune(cache: &Path) {
    let home = cache.join("trees");
    let Ok(entries) = fs::read_dir(&home) else { return };
    let mut trees: Vec<(SystemTime, String)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let key = name.strip_suffix(".used")?.to_owned();
            Some((entry.metadata().ok()?.modified().ok()?, key))
        })
        .collect();
    trees.sort();
    let over = trees.len().saturating_sub(MOST_TREES);
    for (at, (used, key)) in trees.iter().enumerate() {
        let unused = used.elapsed().unwrap_or_default();
        // A tree of the last hour may lie below a running job.
        let recent = unused < Duration::from_secs(3600);
        if unused > LONGEST_UNUSED || (at < over && !recent) {
            let _ = fs::remove_file(home.join(format!("{key}.used")));
            let _ = fs::remove_dir_all(home.join(key));
        }
    }
}
