//! Repositories on this machine that objects are taken from: mirrors of those on git servers, and what was uploaded.
//!
//! A mirror has two locks: `KEY.used` is shared by all that read it, so that it is not removed; `KEY.lock` is held by who
//! writes to it. They are taken in this order.

use super::{
    bounds::{OperationBounds, lock_alone, lock_shared},
    error::SourceErrorKind,
    git::{self, SourceError, process::ProcessLimits},
    reach::Remote,
    upload::{self, Download},
};
use crate::store::{FileLock, short_hash};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where mirrors are kept, below the cache.
pub const MIRRORS_DIR: &str = "repos";
/// Where uploads are kept that build on no other repository.
pub const UPLOADS_DIR: &str = "uploads";
/// The least that has to be free on a disk that is not full.
const MIN_FREE_BYTES: u64 = 8 << 20;
/// More packs than this are put together.
const MAX_PACKS: usize = 50;

/// A repository on this machine, which is not removed while this lives.
#[derive(Debug)]
pub struct Objects {
    /// Its git directory.
    pub path: PathBuf,
    writing: Option<FileLock>,
    /// Keeps others from removing the repository.
    _in_use: Option<FileLock>,
    /// The mirror that has the objects which these build on; while it is held nobody removes it.
    _base: Option<Box<Self>>,
}

impl Objects {
    /// The bare repository that is kept for `name` in `home`, made if it is not there, and locked for writing.
    fn open(name: &str, cache: &Path, home: &str) -> Result<Self, SourceError> {
        let path = cache.join(home).join(format!("{}.git", short_hash(&[name])));
        let in_use = lock_shared(&path.with_extension("used"))?;
        in_use.touch();
        let writing = lock_alone(&path.with_extension("lock"))?;
        if !path.exists() {
            // One whose making is cut short must not be taken for a whole one.
            let building = path.with_extension("new");
            let _ = fs::remove_dir_all(&building);
            git::run(git::command().args(["init", "--quiet", "--bare", "--template="]).arg(&building))?;
            fs::rename(&building, &path)
                .map_err(|error| SourceError::io("the source cache cannot be written", &error))?;
        }
        Ok(Self { path, writing: Some(writing), _in_use: Some(in_use), _base: None })
    }

    /// The objects of a snapshot that was made on this machine; nothing is fetched into them.
    pub const fn of_snapshot(path: PathBuf) -> Self {
        Self { path, writing: None, _in_use: None, _base: None }
    }

    /// Lets others write to it.
    fn written(mut self) -> Self {
        self.writing = None;
        self
    }

    fn has(&self, commit: &str) -> bool {
        has(&self.path, commit)
    }

    /// Fetches `what` from `remote`. What a fetch leaves that fails is removed.
    pub fn fetch(&self, remote: &Remote, what: &[&str]) -> Result<(), SourceError> {
        let packs = self.path.join("objects/pack");
        let limit = OperationBounds::current().limits.repository_bytes;
        let watch =
            ProcessLimits { network: true, growth: Some((&packs, limit)), ..ProcessLimits::default() };
        let _writing = match &self.writing {
            Some(_) => None,
            None => Some(lock_alone(&self.path.with_extension("lock"))?),
        };
        let mut command = git::contacting(remote.url())?;
        let connection = remote.connect(&mut command)?;
        command.arg("--git-dir").arg(&self.path);
        command.args(["fetch", "--progress", "--force", "--no-auto-maintenance", "--", &connection.url]);
        command.args(what);
        remove_partial(&self.path);
        git::watched(&mut command, watch).map(drop).map_err(|error| {
            let error = explained(connection.explain(error), &self.path);
            remove_partial(&self.path);
            error
        })
    }
}

/// Says so where a failed operation found the disk full, as git's own words cannot be relied on.
pub fn explained(error: SourceError, at: &Path) -> SourceError {
    let is_full = error.kind() == SourceErrorKind::Unavailable
        && rustix::fs::statvfs(at)
            .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < MIN_FREE_BYTES);
    if is_full {
        return SourceError::of(SourceErrorKind::DiskFull, format!("the worker's disk is full: {error}"));
    }
    error
}

/// A mirror of `remote` on this machine that has `commit`.
/// `reference` is fetched where the commit may be reachable from nothing else.
pub fn objects_of(
    remote: &Remote,
    branch: Option<&str>,
    reference: Option<&str>,
    commit: &str,
    cache: &Path,
) -> Result<Objects, SourceError> {
    for name in [branch, reference].into_iter().flatten() {
        if !git::is_ref_name(name) {
            return Err(SourceError::new(format!("`{name}` is no name of a branch, a tag or a ref")));
        }
    }
    let url = remote.url();
    let mirror = Objects::open(url, cache, MIRRORS_DIR)?;
    if mirror.has(commit) {
        return Ok(mirror.written());
    }
    if let Some(reference) = reference
        && attempt(mirror.fetch(remote, &[reference]))?
        && mirror.has(commit)
    {
        return Ok(mirror.written());
    }
    if let Some(branch) = branch
        && attempt(mirror.fetch(remote, &[&format!("refs/heads/{branch}:refs/heads/{branch}")]))?
        && mirror.has(commit)
    {
        return Ok(mirror.written());
    }
    // Most servers give any commit that a ref reaches; of others all has to be fetched.
    if attempt(mirror.fetch(remote, &[commit]))? && mirror.has(commit) {
        return Ok(mirror.written());
    }
    mirror.fetch(remote, &["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"])?;
    if mirror.has(commit) {
        return Ok(mirror.written());
    }
    Err(SourceError::new(format!("{url} has no commit {commit}")))
}

/// Whether a fetch succeeded; one that another way may still help is no error. What would go the same way again is one.
fn attempt(fetched: Result<(), SourceError>) -> Result<bool, SourceError> {
    match fetched {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == SourceErrorKind::Unavailable => Ok(false),
        Err(error) => Err(error),
    }
}

/// A repository on this machine that has all that was uploaded. It is the upload's own: what it builds on is found beside it,
/// and nothing of an upload is written where other sources come from.
pub fn objects_of_upload(
    upload: &str,
    from: Option<(&Remote, &str)>,
    wanted: &[&str],
    cache: &Path,
    download: Download<'_>,
) -> Result<Objects, SourceError> {
    let base = match from {
        Some((remote, base)) => Some(objects_of(remote, None, None, base, cache).map_err(|error| {
            let words = format!(
                "the uploaded sources build on commit {base} of {}, which could not be fetched: {error}; push it where \
                 workers can fetch it, or run with --upload-all",
                remote.url()
            );
            error.with_message(words)
        })?),
        None => None,
    };
    let place = from.map_or("", |(remote, _)| remote.url());
    let repo = Objects::open(&format!("upload {upload} on {place}"), cache, UPLOADS_DIR)?;
    if let Some(mirror) = &base {
        let alternates = format!("{}\n", mirror.path.join("objects").display());
        fs::write(repo.path.join("objects/info/alternates"), alternates)
            .map_err(|error| SourceError::io("the source cache cannot be written", &error))?;
    }
    let lacking = |object: &&&str| git::run(git::at(&repo.path).args(["cat-file", "-e", object])).is_err();
    if wanted.iter().any(|object| lacking(&object)) {
        upload::unpack(download(upload)?, &repo.path, from.is_none())
            .map_err(|error| explained(error, &repo.path))?;
        if let Some(object) = wanted.iter().find(lacking) {
            return Err(SourceError::new(format!(
                "upload {upload} does not hold {object}; start the run again"
            )));
        }
    }
    Ok(Objects { _base: base.map(Box::new), ..repo.written() })
}

fn has(git_dir: &Path, commit: &str) -> bool {
    git::run(git::at(git_dir).args(["cat-file", "-e", &format!("{commit}^{{commit}}")])).is_ok()
}

/// Removes what a git process that was killed leaves in a repository that nobody else writes to: its locks, and parts of
/// packs.
fn remove_partial(repo: &Path) {
    let remove = |directory: &Path, is_left: &dyn Fn(&str) -> bool| {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(is_left) {
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

/// Puts the packs of a mirror together that are many, as each fetch makes one; who calls this has its locks.
pub fn tidy(repo: &Path) {
    let packs = fs::read_dir(repo.join("objects/pack")).into_iter().flatten().flatten();
    let is_pack = |entry: &fs::DirEntry| entry.path().extension().is_some_and(|suffix| suffix == "pack");
    if packs.filter(is_pack).count() > MAX_PACKS
        && let Err(error) = git::run(git::at(repo).args(["repack", "-d", "--quiet", "--geometric=2"]))
    {
        remove_partial(repo);
        tracing::debug!(%error, repository = %repo.display(), "packs stay as they are");
    }
}
