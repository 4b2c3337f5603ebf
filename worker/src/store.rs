//! The directories of a worker, and the locks with which several processes share them.

use crate::{error::WorkerError, workspace::remove_tree};
use data_encoding::HEXLOWER;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// The mode of all directories of a worker: other users of the machine must not run or read files of jobs.
const PRIVATE_DIR_MODE: u32 = 0o700;

/// The mode of lock files.
const PRIVATE_FILE_MODE: u32 = 0o600;

/// A lock on a file, held until it is dropped.
#[derive(Debug)]
pub struct FileLock(File);

impl FileLock {
    /// Waits for the exclusive lock on `path`.
    pub fn wait(path: &Path) -> io::Result<Self> {
        Self::acquire(path, FlockOperation::LockExclusive)
    }

    /// Takes the exclusive lock on `path`; fails if another process holds a lock.
    pub fn try_exclusive(path: &Path) -> io::Result<Self> {
        Self::acquire(path, FlockOperation::NonBlockingLockExclusive)
    }

    /// Takes a shared lock on `path`; fails if another process holds the exclusive lock.
    pub fn try_shared(path: &Path) -> io::Result<Self> {
        let lock = Self::acquire(path, FlockOperation::NonBlockingLockShared)?;
        // A holder of the exclusive lock may have removed the file.
        let locked_inode = lock.0.metadata()?.ino();
        if fs::metadata(path).is_ok_and(|current| current.ino() == locked_inode) {
            return Ok(lock);
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Records that the locked resource was just used; see [`time_since_use`].
    pub fn touch(&self) {
        // If the time cannot be set, the resource only looks older than it is.
        let _ = self.0.set_modified(SystemTime::now());
    }

    fn acquire(path: &Path, operation: FlockOperation) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            create_private_directory(parent)?;
        }
        let file =
            File::options().create(true).truncate(false).write(true).mode(PRIVATE_FILE_MODE).open(path)?;
        flock(&file, operation)?;
        Ok(Self(file))
    }
}

/// Returns the time since the file at `path` was touched.
#[must_use]
pub fn time_since_use(path: &Path) -> Option<Duration> {
    fs::metadata(path).ok()?.modified().ok()?.elapsed().ok()
}

/// The directories of one worker process.
#[derive(Debug, Clone)]
pub struct WorkerDirs {
    root: PathBuf,
    worker: String,
}

impl WorkerDirs {
    /// Creates the directories of `worker` below `root` if they are missing, and locks them.
    pub fn open(root: &Path, worker: &str) -> Result<(Self, FileLock), WorkerError> {
        let failed =
            |error: io::Error| WorkerError::DataDir { path: root.to_owned(), message: error.to_string() };
        create_private_directory(root).map_err(failed)?;
        let root = fs::canonicalize(root).map_err(failed)?;
        let store = Self { root, worker: worker.to_owned() };
        make_private(&store.root).map_err(failed)?;
        create_private_directory(&store.cache()).map_err(failed)?;
        create_private_directory(&store.work()).map_err(failed)?;
        // An earlier version or another program may have left them open. Deeper directories are then unreachable.
        for directory in [store.root.clone(), store.cache(), store.root.join("work")] {
            make_private(&directory).map_err(failed)?;
            for entry in fs::read_dir(&directory).map_err(failed)?.flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    let is_of_worker = directory.ends_with("work");
                    match make_private(&entry.path()) {
                        // Another worker is removing it, or a worker that ran as another user left it.
                        Err(error) if is_of_worker || error.kind() == io::ErrorKind::NotFound => {
                            tracing::debug!(%error, "the mode of a worker's directory was not changed");
                        }
                        result => result.map_err(failed)?,
                    }
                }
            }
        }
        let lock = FileLock::try_exclusive(&store.lock_of(worker)).map_err(failed)?;
        Ok((store, lock))
    }

    /// Returns the directory of caches, shared by all workers of the data directory.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// Returns this worker's working directory.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.root.join("work").join(&self.worker)
    }

    /// Returns the data directory as used in labels of containers.
    #[must_use]
    pub fn label(&self) -> String {
        self.root.to_string_lossy().into_owned()
    }

    /// Whether the process of `worker` is running.
    #[must_use]
    pub fn is_alive(&self, worker: &str) -> bool {
        let path = self.lock_of(worker);
        path.exists() && FileLock::try_exclusive(&path).is_err()
    }

    /// Waits until the process of `worker` has ended.
    pub fn wait_for_end(&self, worker: &str) -> io::Result<()> {
        FileLock::wait(&self.lock_of(worker)).map(drop)
    }

    /// Returns the working directory of `worker`.
    #[must_use]
    pub fn work_of(&self, worker: &str) -> PathBuf {
        self.root.join("work").join(worker)
    }

    /// Returns the other workers with directories whose processes have ended.
    #[must_use]
    pub fn ended_workers(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.root.join("work")).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let workers = names.map(|name| name.strip_suffix(".lock").unwrap_or(&name).to_owned());
        workers.filter(|worker| *worker != self.worker && !self.is_alive(worker)).collect()
    }

    /// Removes the directories of workers whose processes have ended.
    pub fn remove_ended_workers(&self) {
        for worker in self.ended_workers() {
            // Files that a container wrote as root may stay until a worker with enough rights removes them.
            let _ = remove_tree(&self.work_of(&worker));
            let _ = fs::remove_file(self.lock_of(&worker));
        }
    }

    /// Removes this worker's own directories. Its lock is released when the process ends.
    pub fn remove_own(&self) {
        let _ = remove_tree(&self.work());
        let _ = fs::remove_file(self.lock_of(&self.worker));
    }

    fn lock_of(&self, worker: &str) -> PathBuf {
        self.root.join("work").join(format!("{worker}.lock"))
    }
}

/// Creates the directory at `path` and its parents if they are missing, inaccessible to other users.
pub fn create_private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(PRIVATE_DIR_MODE).create(path)
}

/// Makes the directory at `path` inaccessible to other users; it must belong to this user.
fn make_private(path: &Path) -> io::Result<()> {
    // Through a descriptor, so that the checked directory is the one that is changed.
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&directory)?;
    let own_uid = rustix::process::geteuid().as_raw();
    if stat.st_uid != own_uid {
        let message = format!(
            "{} belongs to the user {}, but this process runs as the user {own_uid}: its owner could change what jobs run; remove \
             it, or use another data directory",
            path.display(),
            stat.st_uid
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    if stat.st_mode & 0o7777 != PRIVATE_DIR_MODE {
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(PRIVATE_DIR_MODE))?;
    }
    Ok(())
}

/// Returns a hash of `parts`, 16 hex digits long.
#[must_use]
pub fn short_hash(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    HEXLOWER.encode(&hash.finalize()[..8])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::WorkerDirs;
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, chown},
        path::Path,
        process::Command,
    };

    const NOBODY_UID: u32 = 65_534;

    fn nobody_can(command: &str) -> bool {
        let mut shell = Command::new("setpriv");
        shell
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", command])
            .current_dir("/");
        shell.output().unwrap().status.success()
    }

    fn is_root() -> bool {
        let is_root =
            rustix::process::geteuid().is_root() && Command::new("setpriv").arg("--version").output().is_ok();
        if !is_root {
            eprintln!("skipped: only root can change its user");
        }
        is_root
    }

    #[test]
    fn worker_directories_are_private() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let root = directory.path().join("worker");
        for path in ["cache/trees/t", "cache/artifacts", "work/old/0/upper"] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        let program = root.join("work/old/0/upper/program");
        fs::copy("/bin/true", &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
        let commands = [
            format!("ls {}", root.display()),
            format!("cat {}", program.display()),
            program.display().to_string(),
            format!("ls {}/cache/trees", root.display()),
        ];
        if is_root() {
            for command in &commands {
                assert!(nobody_can(command), "before: {command}");
            }
        }
        let (store, _lock) = WorkerDirs::open(&root, "new").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        for path in ["", "cache", "work", "cache/trees", "cache/artifacts", "work/old", "work/new"] {
            assert_eq!(mode(&root.join(path)), 0o700, "{path}");
        }
        assert_eq!(mode(&store.work()), 0o700);
        assert_eq!(mode(&root.join("work/new.lock")), 0o600);
        if is_root() {
            for command in &commands {
                assert!(!nobody_can(command), "{command}");
            }
        }
    }

    #[test]
    fn directory_of_another_user_is_rejected() {
        if !is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        for foreign in ["", "cache"] {
            let root = directory.path().join(format!("worker-{foreign}"));
            fs::create_dir_all(root.join(foreign)).unwrap();
            chown(root.join(foreign), Some(NOBODY_UID), Some(NOBODY_UID)).unwrap();
            let error = WorkerDirs::open(&root, "new").unwrap_err().to_string();
            assert!(error.contains("belongs to the user 65534"), "{error}");
        }
    }
}
