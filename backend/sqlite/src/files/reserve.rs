//! Disk space: thresholds below which work is rejected, and space reserved for the records, so that jobs that end because
//! the disk is full can still be recorded.
//!
//! As free space decreases: below [`DiskReserve::low`], no execution starts and no upload is accepted; below a quarter of
//! it, no log or artifact bytes are stored, and jobs that produce them end as `disk_full`; when even the records cannot be
//! written, the reserve file is deleted and its space is used for them. It is recreated when there is space again.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tidemill_core::{api::ContentChecksum, ids::JobId};
use tidemill_services::error::{Error, Result};
use tidemill_services::ports::{ByteStream, Logs, ObjectInfo, Objects, UploadTarget};
use tidemill_services::{Disk, DiskState};

/// Size of the reserve in bytes: more than the largest transaction with its write-ahead log and the log's index.
pub const RESERVE_SIZE: usize = 8 << 20;
/// Minimum interval between attempts to recreate a spent reserve.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// How long the measured free space is cached.
const FREE_SPACE_TTL: Duration = Duration::from_millis(250);
/// Default threshold below which new work is rejected: this, or a twentieth of a small file system.
const DEFAULT_MIN_FREE_SPACE: u64 = 256 << 20;

/// The disk space of a data directory.
#[derive(Debug)]
pub struct DiskReserve {
    path: PathBuf,
    /// Threshold for new work, if the operator set one.
    low: Option<u64>,
    state: Mutex<ReserveState>,
}

#[derive(Debug)]
struct ReserveState {
    /// When recreating the reserve was last tried; `None` if the reserve exists.
    spent: Option<Instant>,
    space: DiskSpace,
    /// When `space` was measured.
    measured_at: Instant,
}

/// Free space, and the threshold for new work.
#[derive(Debug, Clone, Copy)]
struct DiskSpace {
    free: u64,
    low: u64,
}

impl DiskSpace {
    /// Free space below this is for the records only.
    const fn critical(self) -> u64 {
        self.low / 4
    }
}

impl DiskReserve {
    /// Opens the reserve at `path`, and creates it if there is space. New work is rejected below `low` free bytes.
    #[must_use]
    pub fn open(path: PathBuf, low: Option<u64>) -> Self {
        let available = exists(&path) || create(&path).is_ok();
        let state = ReserveState {
            spent: (!available).then(Instant::now),
            space: space(&path, low),
            measured_at: Instant::now(),
        };
        Self { path, low, state: Mutex::new(state) }
    }

    /// Returns the state of the disk without creating the reserve at `path`: on a full disk its space is in use for the records.
    #[must_use]
    pub fn inspect(path: &Path, low: Option<u64>) -> DiskState {
        let space = space(path, low);
        let is_reserve_spent = !exists(path) && !fits(space);
        state_of(space, is_reserve_spent)
    }

    /// Deletes the reserve, so that its space can be used for the records.
    pub fn spend(&self) {
        let mut state = self.lock();
        if state.spent.is_none() {
            tracing::error!(
                path = %self.path.display(),
                "the disk is full: the reserve is used for the records, and nothing else is stored until there is space"
            );
        }
        state.spent = Some(Instant::now());
        drop(fs::remove_file(&self.path));
    }

    /// Returns an error while the remaining space is for the records only.
    pub fn check(&self, operation: &str) -> Result<()> {
        let state = self.current();
        let has_space = state.spent.is_none() && state.space.free >= state.space.critical();
        if has_space { Ok(()) } else { Err(Error::DiskFull(operation.to_owned())) }
    }

    /// Returns an error while there is too little space for new work.
    pub fn check_new(&self, operation: &str) -> Result<()> {
        let state = self.current();
        let has_space = state.spent.is_none() && state.space.free >= state.space.low;
        if has_space { Ok(()) } else { Err(Error::DiskFull(operation.to_owned())) }
    }

    fn lock(&self) -> MutexGuard<'_, ReserveState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Updates and returns the state; recreates a spent reserve if there is space.
    fn current(&self) -> MutexGuard<'_, ReserveState> {
        let mut state = self.lock();
        if state.measured_at.elapsed() > FREE_SPACE_TTL {
            state.space = space(&self.path, self.low);
            state.measured_at = Instant::now();
        }
        if state.spent.is_some_and(|since| since.elapsed() > RETRY_INTERVAL) {
            if fits(state.space) && create(&self.path).is_ok() {
                tracing::info!(path = %self.path.display(), "there is space again; the reserve was recreated");
                state.spent = None;
                state.space = space(&self.path, self.low);
            } else {
                state.spent = Some(Instant::now());
            }
        }
        state
    }
}

impl Disk for DiskReserve {
    fn state(&self) -> DiskState {
        let state = self.current();
        state_of(state.space, state.spent.is_some())
    }
}

const fn state_of(space: DiskSpace, is_reserve_spent: bool) -> DiskState {
    DiskState {
        free_bytes: space.free,
        low_bytes: space.low,
        reserve_bytes: RESERVE_SIZE as u64,
        is_reserve_spent,
    }
}

/// Whether the reserve exists.
fn exists(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.len() == RESERVE_SIZE as u64)
}

/// Whether there is space for the reserve besides that of the records.
const fn fits(space: DiskSpace) -> bool {
    space.free >= RESERVE_SIZE as u64 + space.critical()
}

/// Measures the free space of the file system of `path`.
fn space(path: &Path, low: Option<u64>) -> DiskSpace {
    let directory = path.parent().unwrap_or(path);
    match rustix::fs::statvfs(directory) {
        Ok(stats) => DiskSpace {
            free: stats.f_bavail.saturating_mul(stats.f_frsize),
            low: low.unwrap_or_else(|| {
                DEFAULT_MIN_FREE_SPACE.min(stats.f_blocks.saturating_mul(stats.f_frsize) / 20)
            }),
        },
        Err(error) => {
            tracing::debug!(%error, "cannot read the free space of the file system");
            DiskSpace { free: u64::MAX, low: 0 }
        }
    }
}

/// Creates the reserve with mode 0600. Its bytes are written, since a sparse file occupies no space.
fn create(path: &PathBuf) -> io::Result<()> {
    let opened = File::options().create(true).truncate(true).write(true).mode(0o600).open(path);
    let written = opened.and_then(|mut file| {
        let zeros = [0; 8 << 10];
        for _ in 0..RESERVE_SIZE / zeros.len() {
            file.write_all(&zeros)?;
        }
        file.sync_all()
    });
    if written.is_err() {
        drop(fs::remove_file(path));
    }
    written
}

/// A store that rejects writes while the disk is full.
#[derive(Debug)]
pub struct DiskGuarded<T> {
    /// The inner store.
    pub store: T,
    /// The disk state.
    pub reserve: Arc<DiskReserve>,
}

#[async_trait]
impl<T: Logs> Logs for DiskGuarded<T> {
    async fn append(&self, job: JobId, attempt: u32, offset: u64, bytes: &[u8]) -> Result<u64> {
        self.reserve.check("storing log bytes")?;
        self.store.append(job, attempt, offset, bytes).await
    }

    async fn read(&self, job: JobId, attempt: u32, offset: u64, limit: usize) -> Result<(Bytes, u64)> {
        self.store.read(job, attempt, offset, limit).await
    }

    async fn finish(&self, job: JobId, attempt: u32) -> Result<()> {
        self.store.finish(job, attempt).await
    }

    async fn remove(&self, job: JobId, attempt: u32) -> Result<()> {
        self.store.remove(job, attempt).await
    }
}

#[async_trait]
impl<T: Objects> Objects for DiskGuarded<T> {
    async fn put_checked(&self, key: &str, sha256: Option<&str>, bytes: ByteStream) -> Result<ObjectInfo> {
        self.reserve.check_new("storing an artifact")?;
        let reserve = self.reserve.clone();
        // The upload fails before it uses the space of the records.
        let checked = bytes.map(move |chunk| {
            let chunk = chunk?;
            let full = |_| io::Error::from(io::ErrorKind::StorageFull);
            reserve.check("storing an artifact").map_err(full).map(|()| chunk)
        });
        self.store.put_checked(key, sha256, Box::pin(checked)).await
    }

    async fn info(&self, key: &str) -> Result<Option<ObjectInfo>> {
        self.store.info(key).await
    }

    async fn get(&self, key: &str) -> Result<ByteStream> {
        self.store.get(key).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.store.delete(key).await
    }

    async fn upload_target(&self, key: &str, sum: Option<&ContentChecksum>) -> Result<UploadTarget> {
        self.store.upload_target(key, sum).await
    }

    async fn download_url(&self, key: &str) -> Result<Option<String>> {
        self.store.download_url(key).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{DiskReserve, RESERVE_SIZE, RETRY_INTERVAL};
    use std::{fs, os::unix::fs::PermissionsExt, thread::sleep, time::Duration};
    use tidemill_services::Disk;

    #[test]
    fn low_disk_rejects_new_work_before_running_jobs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("reserve");
        let free = DiskReserve::open(path.clone(), Some(0)).state().free_bytes;
        let low = DiskReserve::open(path.clone(), Some(free.saturating_mul(2)));
        assert!(low.check_new("testing").is_err());
        low.check("testing").unwrap();
        let critical = DiskReserve::open(path, Some(free.saturating_mul(8)));
        assert!(critical.check("testing").is_err());
    }

    #[test]
    fn spent_reserve_is_recreated() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("reserve");
        let reserve = DiskReserve::open(path.clone(), Some(0));
        reserve.check_new("testing").unwrap();
        reserve.spend();
        assert!(!path.exists());
        assert!(reserve.check("testing").is_err() && reserve.state().is_reserve_spent);
        sleep(RETRY_INTERVAL + Duration::from_millis(100));
        assert!(!reserve.state().is_reserve_spent);
        let reserved = fs::metadata(path).unwrap();
        assert_eq!((reserved.len(), reserved.permissions().mode() & 0o777), (RESERVE_SIZE as u64, 0o600));
        reserve.check_new("testing").unwrap();
    }
}
