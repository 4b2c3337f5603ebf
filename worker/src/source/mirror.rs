//! Bare repositories on this machine from which trees are checked out: mirrors of remote repositories, and uploads.
//!
//! A mirror has two locks: readers share `KEY.used`, so that it is not removed; the writer holds `KEY.lock`. They are taken in
//! this order.

use super::{
    bounds::{OperationBounds, lock_exclusive, lock_shared},
    error::SourceErrorKind,
    git::{self, SourceError, process::ProcessLimits},
    network::Remote,
    upload::{self, Download},
};
use crate::store::{FileLock, short_hash};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use tidemill_core::execution::assignment::CheckoutRefs;

/// The directory of mirrors, below the cache.
pub const MIRRORS_DIR: &str = "repos";
/// The directory of uploads, below the cache.
pub const UPLOADS_DIR: &str = "uploads";
/// A disk with less free space than this counts as full.
const MIN_FREE_BYTES: u64 = 8 << 20;
/// A mirror with more packs than this is repacked.
const MAX_PACKS: usize = 50;

/// A repository on this machine, which is not removed while this exists.
#[derive(Debug)]
pub struct ObjectRepository {
    /// Its git directory.
    pub path: PathBuf,
    writing: Option<FileLock>,
    /// Prevents the removal of the repository.
    _in_use: Option<FileLock>,
    /// The mirror that holds the base of an upload; prevents its removal.
    _base: Option<Box<Self>>,
}

impl ObjectRepository {
    /// Opens the bare repository for `name` in `home`, locked for writing; creates it if it does not exist.
    fn open(name: &str, cache: &Path, home: &str) -> Result<Self, SourceError> {
        let path = cache.join(home).join(format!("{}.git", short_hash(&[name])));
        let in_use = lock_shared(&path.with_extension("used"))?;
        in_use.touch();
        let writing = lock_exclusive(&path.with_extension("lock"))?;
        if !path.exists() {
            // Renamed when complete, so that an interrupted `git init` leaves no broken repository.
            let building = path.with_extension("new");
            let _ = fs::remove_dir_all(&building);
            git::run(git::command().args(["init", "--quiet", "--bare", "--template="]).arg(&building))?;
            fs::rename(&building, &path)
                .map_err(|error| SourceError::io("the source cache cannot be written", &error))?;
        }
        Ok(Self { path, writing: Some(writing), _in_use: Some(in_use), _base: None })
    }

    /// Opens the repository of a local snapshot; nothing is fetched into it.
    pub const fn of_snapshot(path: PathBuf) -> Self {
        Self { path, writing: None, _in_use: None, _base: None }
    }

    /// Releases the write lock.
    fn unlocked(mut self) -> Self {
        self.writing = None;
        self
    }

    fn has(&self, commit: &str) -> bool {
        has(&self.path, commit)
    }

    /// Fetches `refspecs` from `remote`. The files that a failed fetch leaves are removed.
    pub fn fetch(&self, remote: &Remote, refspecs: &[&str]) -> Result<(), SourceError> {
        let packs = self.path.join("objects/pack");
        let limit = OperationBounds::current().limits.repository_bytes;
        let limits = ProcessLimits {
            network: true,
            directory_limit: Some((&packs, limit)),
            ..ProcessLimits::default()
        };
        let _writing = match &self.writing {
            Some(_) => None,
            None => Some(lock_exclusive(&self.path.with_extension("lock"))?),
        };
        let mut command = remote.network_command()?;
        let connection = remote.connect(&mut command)?;
        command.arg("--git-dir").arg(&self.path);
        command.args(["fetch", "--progress", "--force", "--no-auto-maintenance", "--", &connection.url]);
        command.args(refspecs);
        remove_partial(&self.path);
        git::run_limited(&mut command, limits).map(drop).map_err(|error| {
            let error = detect_disk_full(connection.explain(error), &self.path);
            remove_partial(&self.path);
            error
        })
    }
}

/// Changes the error to "disk full" if the disk is full, as git's own message is not reliable.
pub fn detect_disk_full(error: SourceError, path: &Path) -> SourceError {
    let is_full = error.kind() == SourceErrorKind::Unavailable
        && rustix::fs::statvfs(path)
            .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < MIN_FREE_BYTES);
    if is_full {
        return SourceError::of(SourceErrorKind::DiskFull, format!("the worker's disk is full: {error}"));
    }
    error
}

/// The refs that are fetched together with a commit.
#[derive(Debug, Clone, Copy)]
pub struct WantedRefs<'a> {
    /// The branch on which the commit is.
    pub branch: Option<&'a str>,
    /// Refs that the job's repository has.
    pub refs: &'a CheckoutRefs,
    /// A ref to try first, as the commit may be reachable from no other.
    pub reference: Option<&'a str>,
}

impl WantedRefs<'_> {
    fn branches(&self) -> BTreeSet<&str> {
        let refs = [self.branch, self.refs.default_branch.as_deref(), self.refs.target_branch.as_deref()];
        refs.into_iter().flatten().filter(|name| !name.is_empty()).collect()
    }

    fn check(&self) -> Result<(), SourceError> {
        let names = self.branches().into_iter().chain(self.reference).chain(self.refs.tag.as_deref());
        match names.into_iter().find(|name| !git::is_ref_name(name)) {
            Some(name) => {
                Err(SourceError::new(format!("`{name}` is not a valid name of a branch, tag or ref")))
            }
            None => Ok(()),
        }
    }

    /// Whether `mirror` has all of them, and the tag at `commit`.
    fn are_in(&self, mirror: &ObjectRepository, commit: &str) -> bool {
        let mut names: Vec<String> =
            self.branches().iter().map(|name| format!("refs/heads/{name}^{{commit}}")).collect();
        names.extend(self.refs.tag.as_ref().map(|tag| format!("refs/tags/{tag}^{{commit}}")));
        let tag = self.refs.tag.is_some();
        let Some(last) = names.last().cloned() else { return true };
        let exists = |name: &str| {
            let mut command = git::at(&mirror.path);
            git::run(command.args(["rev-parse", "--verify", "--quiet", "--end-of-options", name])).ok()
        };
        names.iter().all(|name| exists(name).is_some())
            && (!tag || exists(&last).is_some_and(|found| found.trim() == commit))
    }
}

/// Returns a mirror of `remote` that contains `commit`, which is fetched if needed, together with the wanted refs and the tags
/// of the repository.
pub fn mirror_with_commit(
    remote: &Remote,
    wanted: WantedRefs<'_>,
    commit: &str,
    cache: &Path,
) -> Result<ObjectRepository, SourceError> {
    wanted.check()?;
    let WantedRefs { branch, reference, .. } = wanted;
    let url = remote.url();
    let mirror = ObjectRepository::open(&remote.cache_name(), cache, MIRRORS_DIR)?;
    if mirror.has(commit) && wanted.are_in(&mirror, commit) {
        return Ok(mirror.unlocked());
    }
    let mut refspecs: Vec<String> =
        wanted.branches().iter().map(|name| format!("+refs/heads/{name}:refs/heads/{name}")).collect();
    if !refspecs.is_empty() || wanted.refs.tag.is_some() {
        refspecs.push("+refs/tags/*:refs/tags/*".to_owned());
        let refspecs: Vec<&str> = refspecs.iter().map(String::as_str).collect();
        let fetched = succeeded(mirror.fetch(remote, &refspecs));
        // A wanted branch that is gone keeps git from fetching the others.
        if matches!(fetched, Ok(false)) && refspecs.len() > 1 {
            for refspec in refspecs {
                if succeeded(mirror.fetch(remote, &[refspec])).is_err() {
                    break;
                }
            }
        }
        // The server may be gone: then the commit counts.
        if mirror.has(commit) {
            return Ok(mirror.unlocked());
        }
        fetched?;
    }
    if let Some(reference) = reference
        && succeeded(mirror.fetch(remote, &[reference]))?
        && mirror.has(commit)
    {
        return Ok(mirror.unlocked());
    }
    if let Some(branch) = branch
        && succeeded(mirror.fetch(remote, &[&format!("refs/heads/{branch}:refs/heads/{branch}")]))?
        && mirror.has(commit)
    {
        return Ok(mirror.unlocked());
    }
    // Most servers serve any reachable commit by hash; from the rest, all refs are fetched.
    if succeeded(mirror.fetch(remote, &[commit]))? && mirror.has(commit) {
        return Ok(mirror.unlocked());
    }
    mirror.fetch(remote, &["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"])?;
    if mirror.has(commit) {
        return Ok(mirror.unlocked());
    }
    Err(SourceError::new(format!("{url} has no commit {commit}")))
}

/// Returns false for a failed fetch after which another refspec may succeed, and other failures as errors.
fn succeeded(result: Result<(), SourceError>) -> Result<bool, SourceError> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == SourceErrorKind::Unavailable => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns a repository that contains the upload's objects. Each upload has its own repository, which uses the base's mirror as
/// alternate, so that an upload never writes to a repository that other sources use.
pub fn upload_repository(
    upload: &str,
    from: Option<(&Remote, &str)>,
    required: &[&str],
    cache: &Path,
    download: Download<'_>,
) -> Result<ObjectRepository, SourceError> {
    let refs = CheckoutRefs::default();
    let no_refs = WantedRefs { branch: None, refs: &refs, reference: None };
    let base = match from {
        Some((remote, base)) => Some(mirror_with_commit(remote, no_refs, base, cache).map_err(|error| {
            let message = format!(
                "the uploaded sources build on commit {base} of {}, which could not be fetched: {error}; push the commit to where \
                 workers can fetch it, or run with --upload-all",
                remote.url()
            );
            error.with_message(message)
        })?),
        None => None,
    };
    let base_name = from.map_or_else(String::new, |(remote, _)| remote.cache_name());
    let repo = ObjectRepository::open(&format!("upload {upload} on {base_name}"), cache, UPLOADS_DIR)?;
    if let Some(mirror) = &base {
        let alternates = format!("{}\n", mirror.path.join("objects").display());
        fs::write(repo.path.join("objects/info/alternates"), alternates)
            .map_err(|error| SourceError::io("the source cache cannot be written", &error))?;
    }
    let is_missing = |object: &&&str| git::run(git::at(&repo.path).args(["cat-file", "-e", object])).is_err();
    if required.iter().any(|object| is_missing(&object)) {
        upload::unpack(download(upload)?, &repo.path, from.is_none())
            .map_err(|error| detect_disk_full(error, &repo.path))?;
        if let Some(object) = required.iter().find(is_missing) {
            return Err(SourceError::new(format!(
                "upload {upload} lacks the object {object}; start the run again"
            )));
        }
    }
    Ok(ObjectRepository { _base: base.map(Box::new), ..repo.unlocked() })
}

fn has(git_dir: &Path, commit: &str) -> bool {
    git::run(git::at(git_dir).args(["cat-file", "-e", &format!("{commit}^{{commit}}")])).is_ok()
}

/// Removes the locks and partial packs that a killed git process left. The caller holds the repository's write lock.
fn remove_partial(repo: &Path) {
    let remove = |directory: &Path, is_leftover: &dyn Fn(&str) -> bool| {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(is_leftover) {
                let path = entry.path();
                // `tmp_objdir-*` are directories.
                let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
            }
        }
    };
    let is_lock = |name: &str| Path::new(name).extension().is_some_and(|suffix| suffix == "lock");
    remove(repo, &is_lock);
    remove(&repo.join("objects"), &|name| name.starts_with("tmp_"));
    remove(&repo.join("objects/pack"), &|name| name.starts_with("tmp_") || name.starts_with(".tmp-"));
    let mut directories = vec![repo.join("refs")];
    while let Some(directory) = directories.pop() {
        remove(&directory, &is_lock);
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        directories.extend(below.map(|entry| entry.path()));
    }
}

/// Repacks a mirror with many packs, as each fetch adds one. The caller holds both locks.
pub fn repack(repo: &Path) {
    let packs = fs::read_dir(repo.join("objects/pack")).into_iter().flatten().flatten();
    let is_pack = |entry: &fs::DirEntry| entry.path().extension().is_some_and(|suffix| suffix == "pack");
    if packs.filter(is_pack).count() > MAX_PACKS
        && let Err(error) = git::run(git::at(repo).args(["repack", "-d", "--quiet", "--geometric=2"]))
    {
        remove_partial(repo);
        tracing::debug!(%error, repository = %repo.display(), "could not repack the mirror");
    }
}
