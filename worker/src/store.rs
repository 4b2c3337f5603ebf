//! Where a worker keeps things, and the locks that let several processes share them.

use crate::error::WorkerError;
use data_encoding::HEXLOWER;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// The mode of all directories of a worker: what jobs leave must not be run, or read, by others on the machine.
const PRIVATE_MODE: u32 = 0o700;

/// The mode of the files by which workers tell each other what is in use.
const PRIVATE_FILE: u32 = 0o600;

/// A lock on a file, held until it is dropped.
#[derive(Debug)]
pub struct FileLock(File);

impl FileLock {
    /// The lock on `path`, waited for.
    pub fn wait(path: &Path) -> io::Result<Self> {
        Self::with(path, FlockOperation::LockExclusive)
    }

    /// The lock on `path`, or an error when somebody else holds it.
    pub fn try_now(path: &Path) -> io::Result<Self> {
        Self::with(path, FlockOperation::NonBlockingLockExclusive)
    }

    /// A lock on `path` that others may share, or an error when somebody has it alone; whoever wants it alone must wait.
    pub fn try_share(path: &Path) -> io::Result<Self> {
        let lock = Self::with(path, FlockOperation::NonBlockingLockShared)?;
        // Whoever had it alone may have removed the file.
        let locked = lock.0.metadata()?.ino();
        if fs::metadata(path).is_ok_and(|there| there.ino() == locked) {
            return Ok(lock);
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Notes that what the lock is for was used just now; see [`unused_for`].
    pub fn touch(&self) {
        // A time that cannot be set makes it look older than it is.
        let _ = self.0.set_modified(SystemTime::now());
    }

    fn with(path: &Path, operation: FlockOperation) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            private_directory(parent)?;
        }
        let file = File::options().create(true).truncate(false).write(true).mode(PRIVATE_FILE).open(path)?;
        flock(&file, operation)?;
        Ok(Self(file))
    }
}

/// How long ago the file at `path` was touched.
#[must_use]
pub fn unused_for(path: &Path) -> Option<Duration> {
    fs::metadata(path).ok()?.modified().ok()?.elapsed().ok()
}

/// The directories of one worker process.
#[derive(Debug, Clone)]
pub struct WorkerDirs {
    root: PathBuf,
    worker: String,
}

impl WorkerDirs {
    /// The directories of worker `worker` below `root`; made when missing.
    pub fn open(root: &Path, worker: &str) -> Result<(Self, FileLock), WorkerError> {
        let failed =
            |error: io::Error| WorkerError::DataDir { path: root.to_owned(), message: error.to_string() };
        private_directory(root).map_err(failed)?;
        let root = fs::canonicalize(root).map_err(failed)?;
        let store = Self { root, worker: worker.to_owned() };
        make_private(&store.root).map_err(failed)?;
        private_directory(&store.cache()).map_err(failed)?;
        private_directory(&store.work()).map_err(failed)?;
        // What an earlier version, or somebody else, left open. What is deeper cannot be reached through these.
        for directory in [store.root.clone(), store.cache(), store.root.join("work")] {
            make_private(&directory).map_err(failed)?;
            for entry in fs::read_dir(&directory).map_err(failed)?.flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    let is_of_worker = directory.ends_with("work");
                    match make_private(&entry.path()) {
                        // Another worker removes its own just now, or one that ran as somebody else left it.
                        Err(error) if is_of_worker || error.kind() == io::ErrorKind::NotFound => {
                            tracing::debug!(%error, "a worker's directory is left as it is");
                        }
                        done => done.map_err(failed)?,
                    }
                }
            }
        }
        let lock = FileLock::try_now(&store.lock_of(worker)).map_err(failed)?;
        Ok((store, lock))
    }

    /// Caches, shared by all workers of the data directory.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// This worker's working directories.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.root.join("work").join(&self.worker)
    }

    /// The data directory, as the labels of containers name it.
    #[must_use]
    pub fn label(&self) -> String {
        self.root.to_string_lossy().into_owned()
    }

    /// Whether the process of `worker` is still there.
    #[must_use]
    pub fn is_alive(&self, worker: &str) -> bool {
        let path = self.lock_of(worker);
        path.exists() && FileLock::try_now(&path).is_err()
    }

    /// Waits until the process of `worker` is no more.
    pub fn wait_for_end(&self, worker: &str) -> io::Result<()> {
        FileLock::wait(&self.lock_of(worker)).map(drop)
    }

    /// Removes what dead workers left below the data directory.
    pub fn remove_dead(&self) {
        let Ok(entries) = fs::read_dir(self.root.join("work")) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let worker = name.strip_suffix(".lock").unwrap_or(&name);
            if worker != self.worker && !self.is_alive(worker) {
                // What a container wrote as root may stay until a worker with the rights comes by.
                let _ = fs::remove_dir_all(self.root.join("work").join(worker));
                let _ = fs::remove_file(self.lock_of(worker));
            }
        }
    }

    /// Removes this worker's own directories; its lock goes with the process.
    pub fn remove_own(&self) {
        let _ = fs::remove_dir_all(self.work());
        let _ = fs::remove_file(self.lock_of(&self.worker));
    }

    fn lock_of(&self, worker: &str) -> PathBuf {
        self.root.join("work").join(format!("{worker}.lock"))
    }
}

/// The directory at `path`, made when missing with those above it, and open to nobody else.
pub fn private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(PRIVATE_MODE).create(path)
}

/// Closes the directory at `path` to others; it must be this user's own.
fn make_private(path: &Path) -> io::Result<()> {
    // Not by its name again: what is changed is what was looked at.
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty())?;
    let found = rustix::fs::fstat(&directory)?;
    let own = rustix::process::geteuid().as_raw();
    if found.st_uid != own {
        let words = format!(
            "{} belongs to the user {}, and this process is the user {own}: whoever owns it decides what jobs run; remove it, or \
             use another data directory",
            path.display(),
            found.st_uid
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, words));
    }
    if found.st_mode & 0o7777 != PRIVATE_MODE {
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(PRIVATE_MODE))?;
    }
    Ok(())
}

/// 16 hex digits that stand for `parts`.
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

    fn is_root_here() -> bool {
        let is_root =
            rustix::process::geteuid().is_root() && Command::new("setpriv").arg("--version").output().is_ok();
        if !is_root {
            eprintln!("left out: only root can be somebody else");
        }
        is_root
    }

    #[test]
    fn worker_directories_are_private() {
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let root = place.path().join("worker");
        for directory in ["cache/trees/t", "cache/artifacts", "work/old/0/upper"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        let program = root.join("work/old/0/upper/program");
        fs::copy("/bin/true", &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
        let ways = [
            format!("ls {}", root.display()),
            format!("cat {}", program.display()),
            program.display().to_string(),
            format!("ls {}/cache/trees", root.display()),
        ];
        if is_root_here() {
            for way in &ways {
                assert!(nobody_can(way), "before: {way}");
            }
        }
        let (store, _lock) = WorkerDirs::open(&root, "new").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        for path in ["", "cache", "work", "cache/trees", "cache/artifacts", "work/old", "work/new"] {
            assert_eq!(mode(&root.join(path)), 0o700, "{path}");
        }
        assert_eq!(mode(&store.work()), 0o700);
        assert_eq!(mode(&root.join("work/new.lock")), 0o600);
        if is_root_here() {
            for way in &ways {
                assert!(!nobody_can(way), "{way}");
            }
        }
    }

    #[test]
    fn directory_of_another_user_is_rejected() {
        if !is_root_here() {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        for of_another in ["", "cache"] {
            let root = place.path().join(format!("worker-{of_another}"));
            fs::create_dir_all(root.join(of_another)).unwrap();
            chown(root.join(of_another), Some(NOBODY_UID), Some(NOBODY_UID)).unwrap();
            let refused = WorkerDirs::open(&root, "new").unwrap_err().to_string();
            assert!(refused.contains("belongs to the user 65534"), "{refused}");
        }
    }
}
