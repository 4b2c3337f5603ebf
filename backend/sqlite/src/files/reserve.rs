//! Space on the disk: what is kept for the records when it is full, so that what ends for want of space can be said to have ended, and
//! below what new work is refused, so that it does not come to that.
//!
//! From much space to none: below [`DiskReserve::low`] no execution is started and nothing is uploaded; below a quarter of that no log and no
//! artifact gets any more, and each such job ends as `disk_full`; when even the records cannot be written, the reserve, a file, is removed,
//! and they are written in the space that became free. It is made again as soon as there is space.

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
use tidemill_services::services::{Disk, DiskState};

/// Bytes that are kept: a full transaction of the records, their log and its index take less.
pub const RESERVE_SIZE: usize = 8 << 20;
/// A spent reserve is tried to be made again at most this often.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// How long what the file system says of its space is believed.
const FREE_SPACE_TTL: Duration = Duration::from_millis(250);
/// The space below which new work is refused, unless it is set: this, or a twentieth of a small file system.
const DEFAULT_MIN_FREE_SPACE: u64 = 256 << 20;

/// The space of a data directory.
#[derive(Debug)]
pub struct DiskReserve {
    path: PathBuf,
    /// Set by the operator.
    low: Option<u64>,
    state: Mutex<ReserveState>,
}

#[derive(Debug)]
struct ReserveState {
    /// When it was last tried to be made again; `None`: it is there.
    spent: Option<Instant>,
    space: DiskSpace,
    looked: Instant,
}

/// What the file system says.
#[derive(Debug, Clone, Copy)]
struct DiskSpace {
    free: u64,
    low: u64,
}

impl DiskSpace {
    /// What is below it is for the records alone.
    const fn critical(self) -> u64 {
        self.low / 4
    }
}

impl DiskReserve {
    /// The reserve at `path`, made if there is space for it. New work is refused below `low` free bytes.
    #[must_use]
    pub fn open(path: PathBuf, low: Option<u64>) -> Self {
        let there = fs::metadata(&path).is_ok_and(|meta| meta.len() == RESERVE_SIZE as u64);
        let made = there || make(&path).is_ok();
        let state = ReserveState {
            spent: (!made).then(Instant::now),
            space: space(&path, low),
            looked: Instant::now(),
        };
        Self { path, low, state: Mutex::new(state) }
    }

    /// Gives the space free.
    pub fn spend(&self) {
        let mut state = self.locked();
        if state.spent.is_none() {
            tracing::error!(
                path = %self.path.display(),
                "the disk is full: its reserve is used for the records, and nothing else is stored until there is space"
            );
        }
        state.spent = Some(Instant::now());
        drop(fs::remove_file(&self.path));
    }

    /// An error while what is left is for the records alone.
    pub fn check(&self, doing: &str) -> Result<()> {
        let state = self.current();
        let stored = state.spent.is_none() && state.space.free >= state.space.critical();
        if stored { Ok(()) } else { Err(Error::DiskFull(doing.to_owned())) }
    }

    /// An error while there is too little space to begin anything.
    pub fn check_new(&self, doing: &str) -> Result<()> {
        let state = self.current();
        let begun = state.spent.is_none() && state.space.free >= state.space.low;
        if begun { Ok(()) } else { Err(Error::DiskFull(doing.to_owned())) }
    }

    fn locked(&self) -> MutexGuard<'_, ReserveState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state as it is now; a spent reserve is made again if there is space.
    fn current(&self) -> MutexGuard<'_, ReserveState> {
        let mut state = self.locked();
        if state.looked.elapsed() > FREE_SPACE_TTL {
            state.space = space(&self.path, self.low);
            state.looked = Instant::now();
        }
        if state.spent.is_some_and(|since| since.elapsed() > RETRY_INTERVAL) {
            let room = state.space.free >= RESERVE_SIZE as u64 + state.space.critical();
            if room && make(&self.path).is_ok() {
                tracing::info!(path = %self.path.display(), "there is space again, and the reserve is made");
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
        DiskState {
            free_bytes: state.space.free,
            low_bytes: state.space.low,
            reserve_bytes: RESERVE_SIZE as u64,
            is_reserve_spent: state.spent.is_some(),
        }
    }
}

/// What is free where `path` is, and how much should be.
fn space(path: &Path, low: Option<u64>) -> DiskSpace {
    let directory = path.parent().unwrap_or(path);
    match rustix::fs::statvfs(directory) {
        Ok(found) => DiskSpace {
            free: found.f_bavail.saturating_mul(found.f_frsize),
            low: low.unwrap_or_else(|| {
                DEFAULT_MIN_FREE_SPACE.min(found.f_blocks.saturating_mul(found.f_frsize) / 20)
            }),
        },
        Err(error) => {
            tracing::debug!(%error, "the file system does not say how much space there is");
            DiskSpace { free: u64::MAX, low: 0 }
        }
    }
}

/// Written, as a file that is only made longer takes no space; no more open to others than the store's files are.
fn make(path: &PathBuf) -> io::Result<()> {
    let created = File::options().create(true).truncate(true).write(true).mode(0o600).open(path);
    let made = created.and_then(|mut file| {
        let zeros = [0; 8 << 10];
        for _ in 0..RESERVE_SIZE / zeros.len() {
            file.write_all(&zeros)?;
        }
        file.sync_all()
    });
    if made.is_err() {
        drop(fs::remove_file(path));
    }
    made
}

/// A store that takes nothing while the reserve is spent.
#[derive(Debug)]
pub struct DiskGuarded<T> {
    /// The store.
    pub store: T,
    /// The reserve.
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
}

#[async_trait]
impl<T: Objects> Objects for DiskGuarded<T> {
    async fn put_checked(&self, key: &str, sha256: Option<&str>, bytes: ByteStream) -> Result<ObjectInfo> {
        self.reserve.check_new("storing an artifact")?;
        let reserve = self.reserve.clone();
        // However much it is, it ends before the records have no space.
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

    async fn put_place(&self, key: &str, sum: Option<&ContentChecksum>) -> Result<UploadTarget> {
        self.store.put_place(key, sum).await
    }

    async fn get_address(&self, key: &str) -> Result<Option<String>> {
        self.store.get_address(key).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{DiskReserve, RESERVE_SIZE, RETRY_INTERVAL};
    use std::{fs, os::unix::fs::PermissionsExt, thread::sleep, time::Duration};
    use tidemill_services::services::Disk;

    #[test]
    fn low_disk_rejects_new_work_before_running_jobs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("reserve");
        let free = DiskReserve::open(path.clone(), Some(0)).state().free_bytes;
        let little = DiskReserve::open(path.clone(), Some(free.saturating_mul(2)));
        assert!(little.check_new("testing").is_err());
        little.check("testing").unwrap();
        let none = DiskReserve::open(path, Some(free.saturating_mul(8)));
        assert!(none.check("testing").is_err());
    }

    #[test]
    fn used_reserve_is_recreated() {
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
