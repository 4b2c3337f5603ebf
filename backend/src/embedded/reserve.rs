//! Space that is kept for the records when the disk is full, so that what ends for want of space can be said to have
//! ended.
//!
//! The reserve is a file. When the records cannot be written for want of space it is removed, and until it can be made
//! again no log and no artifact gets any: each such job ends as `disk_full`, in the space that became free.

use crate::{
    error::{Error, Result},
    ports::{ByteStream, Logs, ObjectInfo, Objects, PutPlace},
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tidemill_core::{api::ContentSum, ids::JobId};

/// Bytes that are kept: a full transaction of the records, their log and its index take less.
pub const RESERVE: usize = 8 << 20;
/// A full disk is looked at again at most this often.
const PAUSE: Duration = Duration::from_secs(2);

/// The reserve of a data directory.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
    /// When it was last tried to be made again; `None`: it is there.
    spent: Mutex<Option<Instant>>,
}

impl Reserve {
    /// The reserve at `path`, made if there is space for it.
    #[must_use]
    pub fn open(path: PathBuf) -> Self {
        let there = fs::metadata(&path).is_ok_and(|meta| meta.len() == RESERVE as u64);
        let made = there || make(&path).is_ok();
        Self { path, spent: Mutex::new((!made).then(Instant::now)) }
    }

    /// Gives the space free.
    pub fn spend(&self) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.is_none() {
            tracing::warn!(path = %self.path.display(), "the disk is full: its reserve is used for the records");
        }
        *spent = Some(Instant::now());
        drop(fs::remove_file(&self.path));
    }

    /// An error while what is left is for the records alone.
    fn check(&self, doing: &str) -> Result<()> {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(since) = *spent else { return Ok(()) };
        if since.elapsed() > PAUSE {
            if make(&self.path).is_ok() {
                *spent = None;
                return Ok(());
            }
            *spent = Some(Instant::now());
        }
        Err(Error::DiskFull(doing.to_owned()))
    }
}

/// Written, as a file that is only made longer takes no space.
fn make(path: &PathBuf) -> io::Result<()> {
    let made = File::create(path).and_then(|mut file| {
        let zeros = [0; 8 << 10];
        for _ in 0..RESERVE / zeros.len() {
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
pub struct Frugal<T> {
    /// The store.
    pub store: T,
    /// The reserve.
    pub reserve: Arc<Reserve>,
}

#[async_trait]
impl<T: Logs> Logs for Frugal<T> {
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
impl<T: Objects> Objects for Frugal<T> {
    async fn put_checked(&self, key: &str, sha256: Option<&str>, bytes: ByteStream) -> Result<ObjectInfo> {
        self.reserve.check("storing an artifact")?;
        self.store.put_checked(key, sha256, bytes).await
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

    async fn put_place(&self, key: &str, sum: Option<&ContentSum>) -> Result<PutPlace> {
        self.store.put_place(key, sum).await
    }

    async fn get_address(&self, key: &str) -> Result<Option<String>> {
        self.store.get_address(key).await
    }
}
