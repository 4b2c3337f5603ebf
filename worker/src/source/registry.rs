//! Registry of the snapshots that `tidemill run` passes to workers of its own data directory. A request refers to a
//! snapshot by an unguessable id, never by a path: the record of an id is below the cache, where only this user can
//! write.

use super::git::SourceError;
use crate::store::time_since_use;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tidemill_core::execution::assignment::Source;

/// How long a snapshot can be used after its last registration.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);
/// The directory of snapshots, below the cache.
pub const SNAPSHOTS_DIR: &str = "snapshots";
/// Length in bytes of the HMAC key from which ids are computed.
const KEY_LEN: usize = 32;
/// Maximum size of a record in bytes.
const MAX_RECORD: u64 = 1 << 20;

/// The stored record of a snapshot.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SnapshotRecord {
    /// The repository of the snapshot.
    repository: String,
    /// Name of the git directory below `snapshots`.
    objects: String,
    /// What its repository looks like.
    details: SnapshotDetails,
}

/// What the repository of a snapshot looks like, besides its files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SnapshotDetails {
    /// What the files of the snapshot are.
    pub kind: SnapshotKind,
    /// The address of its remote `origin`, without a password.
    pub origin: Option<String>,
    /// Its default branch.
    pub default_branch: Option<String>,
    /// Another usual default branch that it has, for comparisons with it.
    pub main_branch: Option<String>,
    /// Digest of its tags and of its default branch.
    pub refs: String,
    /// The directory of its LFS objects.
    pub lfs: Option<PathBuf>,
    /// Submodules whose files are in the snapshot.
    pub submodules: Vec<SubmoduleDetails>,
    /// Settings of git that decide how files on disk differ from those of the commit.
    pub settings: Vec<(String, String)>,
    /// Files in which git does not look for changes.
    pub hidden: HiddenFiles,
    /// A commit of what is staged, if that differs from the commit.
    pub staged: Option<String>,
}

/// Tracked files in which git does not look for changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HiddenFiles {
    /// Those that a sparse checkout leaves out (`skip-worktree`).
    pub skipped: Vec<String>,
    /// Those that the user takes for unchanged (`assume-unchanged`).
    pub assumed: Vec<String>,
}

/// What the files of a snapshot are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotKind {
    /// The files of a commit.
    #[default]
    Commit,
    /// The files on disk, in a repository with a commit.
    WorkTree,
    /// The files on disk, in a repository without a commit.
    Unborn,
    /// The files on disk, without a repository.
    Directory,
}

/// A submodule that is checked out on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmoduleDetails {
    /// Its path, relative to the top of the working tree.
    pub path: PathBuf,
    /// Its git directory below `snapshots`.
    pub objects: String,
    /// The branch that is checked out.
    pub branch: Option<String>,
    /// The commit that is checked out.
    pub commit: String,
    /// The address of its remote `origin`, without a password.
    pub origin: Option<String>,
}

/// A snapshot to register.
#[derive(Debug, Clone, Copy)]
pub struct RegisteredSnapshot<'a> {
    /// The name of its repository.
    pub repository: &'a str,
    /// The git directory with its objects, directly below the cache's `snapshots`.
    pub objects: &'a Path,
    /// The branch, for the job's variables.
    pub branch: Option<&'a str>,
    /// Full hash of its commit.
    pub commit: &'a str,
    /// Hash of its tree, if that differs from the commit's.
    pub tree: Option<&'a str>,
    /// What its repository looks like.
    pub details: &'a SnapshotDetails,
}

/// Registers a snapshot below `cache` and returns its source for workers. The same snapshot has the same id.
pub fn register(cache: &Path, snapshot: RegisteredSnapshot<'_>) -> Result<Source, SourceError> {
    let failed = |error: io::Error| {
        SourceError::new(format!("the snapshot cannot be registered for workers: {error}"))
    };
    let directory = registry_directory(cache);
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(failed)?;
    let name =
        snapshot.objects.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let RegisteredSnapshot { repository, branch, commit, tree, details, .. } = snapshot;
    let description = serde_json::to_string(details).map_err(|error| SourceError::new(error.to_string()))?;
    let key = key(&directory).map_err(failed)?;
    let mut mac =
        Hmac::<Sha256>::new_from_slice(&key).map_err(|error| SourceError::new(error.to_string()))?;
    for part in
        [repository, &name, branch.unwrap_or_default(), commit, tree.unwrap_or_default(), &description]
    {
        mac.update(&part.len().to_le_bytes());
        mac.update(part.as_bytes());
    }
    let id = HEXLOWER.encode(&mac.finalize().into_bytes());
    let path = directory.join(format!("{id}.json"));
    if let Ok(existing) = File::options().write(true).open(&path) {
        existing.set_modified(SystemTime::now()).map_err(failed)?;
    } else {
        let record =
            SnapshotRecord { repository: repository.to_owned(), objects: name, details: details.clone() };
        let text = serde_json::to_vec(&record).map_err(|error| SourceError::new(error.to_string()))?;
        write(&directory, &path, &text).map_err(failed)?;
    }
    Ok(Source::Snapshot {
        snapshot: id,
        repository: repository.to_owned(),
        branch: branch.map(str::to_owned),
        commit: commit.to_owned(),
        tree: tree.map(str::to_owned),
    })
}

/// Returns the git directory with the objects of a snapshot of this repository, and what the repository looks like.
pub fn find(
    cache: &Path,
    snapshot: &str,
    repository: &str,
) -> Result<(PathBuf, SnapshotDetails), SourceError> {
    let unknown = || {
        SourceError::new(
            "this worker has no such snapshot: it has expired or belongs to another data directory; start the \
             run again",
        )
    };
    let is_id =
        snapshot.len() == 64 && snapshot.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_id {
        return Err(unknown());
    }
    let mut text = Vec::new();
    let file =
        File::open(registry_directory(cache).join(format!("{snapshot}.json"))).map_err(|_| unknown())?;
    file.take(MAX_RECORD).read_to_end(&mut text).map_err(|_| unknown())?;
    let record: SnapshotRecord = serde_json::from_slice(&text).map_err(|_| unknown())?;
    let is_name =
        !record.objects.is_empty() && !record.objects.contains('/') && !record.objects.starts_with('.');
    let objects = cache.join(SNAPSHOTS_DIR).join(&record.objects);
    if record.repository != repository || !is_name || !objects.join("HEAD").is_file() {
        return Err(unknown());
    }
    Ok((objects, record.details))
}

/// Removes records that were not used for `RETENTION`.
pub fn prune(cache: &Path) {
    let Ok(entries) = fs::read_dir(registry_directory(cache)) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_record = path.extension().is_some_and(|extension| extension == "json" || extension == "new");
        if is_record && time_since_use(&path).is_some_and(|unused| unused > RETENTION) {
            let _ = fs::remove_file(path);
        }
    }
}

fn registry_directory(cache: &Path) -> PathBuf {
    cache.join("handed")
}

/// Returns the key of this data directory, which is created at its first use.
fn key(directory: &Path) -> io::Result<[u8; KEY_LEN]> {
    let path = directory.join("key");
    let mut key = [0_u8; KEY_LEN];
    match File::open(&path) {
        Ok(mut file) => {
            file.read_exact(&mut key)?;
            return Ok(key);
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let new = temporary(directory)?;
    new.1.write_new(&key)?;
    // Another process may have created the key first; then that key is used.
    let linked = fs::hard_link(&new.0, &path);
    fs::remove_file(&new.0)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(&path)?.read_exact(&mut key)?;
    Ok(key)
}

fn write(directory: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let new = temporary(directory)?;
    new.1.write_new(text)?;
    fs::rename(&new.0, path)
}

/// A file that only this user can read.
struct PrivateFile(File);

impl PrivateFile {
    fn write_new(mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

fn temporary(directory: &Path) -> io::Result<(PathBuf, PrivateFile)> {
    let path = directory.join(format!("{}.new", uuid::Uuid::new_v4().simple()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    Ok((path, PrivateFile(file)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{RETENTION, RegisteredSnapshot, SnapshotDetails, find, prune, register, registry_directory};
    use std::{
        fs::{self, File},
        os::unix::fs::PermissionsExt,
        path::Path,
        time::{Duration, SystemTime},
    };
    use tidemill_core::execution::assignment::Source;

    fn id_of(cache: &Path, repository: &str, commit: &str) -> String {
        let objects = cache.join("snapshots/a.git");
        fs::create_dir_all(&objects).unwrap();
        fs::write(objects.join("HEAD"), "x").unwrap();
        let handed = RegisteredSnapshot {
            repository,
            objects: &objects,
            branch: None,
            commit,
            tree: None,
            details: &SnapshotDetails::default(),
        };
        match register(cache, handed).unwrap() {
            Source::Snapshot { snapshot, .. } => snapshot,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn snapshot_is_found_by_its_id_and_repository_only() {
        let (cache, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let id = id_of(cache.path(), "host/app", "c1");
        assert_eq!(find(cache.path(), &id, "host/app").unwrap().0, cache.path().join("snapshots/a.git"));
        assert_eq!(id, id_of(cache.path(), "host/app", "c1"), "the same snapshot has the same id");
        assert_ne!(id, id_of(cache.path(), "host/app", "c2"));
        assert_ne!(id, id_of(other.path(), "host/app", "c1"), "another data directory has other ids");
        assert!(
            find(cache.path(), &id, "host/other").is_err() && find(other.path(), &id, "host/app").is_err()
        );
        for wrong in ["", "../key", &id[1..], &"0".repeat(64), &id.to_uppercase(), "/etc/passwd"] {
            assert!(find(cache.path(), wrong, "host/app").is_err(), "{wrong}");
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&registry_directory(cache.path())), 0o700);
        assert!(
            fs::read_dir(registry_directory(cache.path()))
                .unwrap()
                .all(|entry| mode(&entry.unwrap().path()) == 0o600)
        );
    }

    #[test]
    fn unused_snapshot_record_is_removed() {
        let cache = tempfile::tempdir().unwrap();
        let (old, new) = (id_of(cache.path(), "host/app", "c1"), id_of(cache.path(), "host/app", "c2"));
        let path = registry_directory(cache.path()).join(format!("{old}.json"));
        let long_ago = SystemTime::now() - RETENTION - Duration::from_secs(1);
        File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
        prune(cache.path());
        assert!(
            find(cache.path(), &old, "host/app").is_err() && find(cache.path(), &new, "host/app").is_ok()
        );
        assert!(registry_directory(cache.path()).join("key").exists());
    }
}
