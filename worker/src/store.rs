//! Where a worker keeps things, and the locks that let several processes share them.

use crate::error::WorkerError;
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

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
            fs::create_dir_all(parent)?;
        }
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
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
pub struct Store {
    root: PathBuf,
    worker: String,
}

impl Store {
    /// The directories of worker `worker` below `root`; made when missing.
    pub fn open(root: &Path, worker: &str) -> Result<(Self, FileLock), WorkerError> {
        let failed =
            |error: io::Error| WorkerError::DataDir { path: root.to_owned(), message: error.to_string() };
        fs::create_dir_all(root).map_err(failed)?;
        let root = fs::canonicalize(root).map_err(failed)?;
        let store = Self { root, worker: worker.to_owned() };
        fs::create_dir_all(store.cache()).map_err(failed)?;
        fs::create_dir_all(store.work()).map_err(failed)?;
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

/// 16 hex digits that stand for `parts`.
#[must_use]
pub fn short_hash(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hex(&hash.finalize()[..8])
}

/// `bytes` as lower-case hex digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })
}
