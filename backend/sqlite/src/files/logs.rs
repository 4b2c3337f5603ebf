//! Logs as files of raw bytes, one per attempt.
//!
//! Bytes after the last acknowledged one that a crash leaves need no repair. A job prints each byte of an attempt once;
//! its worker keeps the bytes that are not acknowledged and sends them again from there; another worker runs another
//! attempt, which has another file. So the part of an append that reached the file before the crash is a prefix of the
//! next append and is skipped as a repetition. (This requires a file system whose file sizes do not get ahead of the
//! data in a power failure, such as ext4 in ordered mode, XFS and btrfs.)
//!
//! Skipped bytes are acknowledged like appended ones, so they are synced first unless this process has done so.

use super::directories::{create_directories, create_directory, sync_directory};
use crate::blocking::blocking;
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tidemill_core::ids::JobId;
use tidemill_services::error::{Error, Result};
use tidemill_services::ports::Logs;

/// Maximum number of files that stay open for the next append.
const MAX_OPEN_FILES: usize = 64;

/// Identifies an attempt.
type AttemptKey = (JobId, u32);

/// Logs in a directory.
#[derive(Debug)]
pub struct FileLogs {
    root: Arc<Path>,
    open: Mutex<OpenLogs>,
}

/// Open files by attempt, with the time of their last use, counted in uses.
#[derive(Debug, Default)]
struct OpenLogs {
    uses: u64,
    files: HashMap<AttemptKey, (u64, Arc<OpenLog>)>,
}

#[derive(Debug)]
struct OpenLog {
    file: File,
    /// Number of bytes that this process knows to be on disk.
    synced: AtomicU64,
}

impl FileLogs {
    /// Opens the logs in `root`, which is created if it does not exist.
    pub fn open(root: &Path) -> Result<Self> {
        create_directory(root)?;
        Ok(Self { root: root.into(), open: Mutex::default() })
    }

    fn cached(&self, attempt: AttemptKey) -> Option<Arc<OpenLog>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.uses += 1;
        let now = open.uses;
        let (used, log) = open.files.get_mut(&attempt)?;
        *used = now;
        Some(Arc::clone(log))
    }

    fn cache(&self, attempt: AttemptKey, log: Arc<OpenLog>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = open.files.iter().min_by_key(|(_, (used, _))| *used).map(|(attempt, _)| *attempt);
        if let Some(oldest) = oldest.filter(|_| open.files.len() >= MAX_OPEN_FILES) {
            open.files.remove(&oldest);
        }
        let now = open.uses;
        open.files.insert(attempt, (now, log));
    }
}

/// Returns the path of an attempt's file. The last digits of a UUIDv7 are random, so they distribute jobs over directories.
fn path(root: &Path, (job, attempt): AttemptKey) -> PathBuf {
    let id = job.to_string();
    let shard = &id[id.len() - 2..];
    root.join(shard).join(format!("{id}.{attempt}.log"))
}

/// Opens the file of an attempt, and creates it durably if it does not exist.
fn open(root: &Path, attempt: AttemptKey) -> io::Result<OpenLog> {
    let path = path(root, attempt);
    let directory = path.parent().unwrap_or(root);
    create_directories(root, directory)?;
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
    if file.metadata()?.len() == 0 {
        sync_directory(directory)?;
    }
    Ok(OpenLog { file, synced: AtomicU64::new(0) })
}

/// Appends under the file's lock, which other processes use too, and returns the number of stored bytes. The inner
/// error is that number if there is a gap before `offset`.
fn append(log: &OpenLog, offset: u64, bytes: &[u8]) -> io::Result<Result<u64, u64>> {
    log.file.lock()?;
    let outcome = append_locked(log, offset, bytes);
    let unlocked = log.file.unlock();
    outcome.and_then(|stored| unlocked.map(|()| stored))
}

fn append_locked(log: &OpenLog, offset: u64, bytes: &[u8]) -> io::Result<Result<u64, u64>> {
    let stored = log.file.metadata()?.len();
    let Some(repeated) = stored.checked_sub(offset) else { return Ok(Err(stored)) };
    let new = usize::try_from(repeated).ok().and_then(|repeated| bytes.get(repeated..)).unwrap_or_default();
    let length = stored + new.len() as u64;
    if log.synced.load(Ordering::Relaxed) < length {
        let written = log.file.write_all_at(new, stored).and_then(|()| log.file.sync_data());
        if let Err(error) = written {
            // After a failed sync the kernel may mark unwritten pages as clean, so the unacknowledged bytes are removed
            // to be written again. If that fails too, the first error is the one to return.
            drop(log.file.set_len(stored));
            return Err(error);
        }
        log.synced.store(length, Ordering::Relaxed);
    }
    Ok(Ok(length))
}

#[async_trait]
impl Logs for FileLogs {
    async fn append(&self, job: JobId, attempt: u32, offset: u64, bytes: &[u8]) -> Result<u64> {
        let cached = self.cached((job, attempt));
        let root = Arc::clone(&self.root);
        let bytes = Bytes::copy_from_slice(bytes);
        let (log, outcome) = blocking("storing log bytes", move || {
            let failed = |error| Error::io(format!("storing the log of job {job}"), error);
            let log = match cached {
                Some(log) => log,
                None => Arc::new(open(&root, (job, attempt)).map_err(failed)?),
            };
            let outcome = append(&log, offset, &bytes).map_err(failed)?;
            Ok((log, outcome))
        })
        .await?;
        self.cache((job, attempt), log);
        outcome.map_err(|stored| {
            Error::Conflict(format!(
                "the log of attempt {attempt} of job {job} has {stored} bytes, so an append at {offset} would leave a \
                 gap; send the bytes from {stored} on"
            ))
        })
    }

    async fn read(&self, job: JobId, attempt: u32, offset: u64, limit: usize) -> Result<(Bytes, u64)> {
        let path = path(&self.root, (job, attempt));
        blocking("reading log bytes", move || {
            read(&path, offset, limit)
                .map_err(|error| Error::io(format!("reading the log of job {job}"), error))
        })
        .await
    }

    async fn finish(&self, _: JobId, _: u32) -> Result<()> {
        Ok(())
    }

    async fn remove(&self, job: JobId, attempt: u32) -> Result<()> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).files.remove(&(job, attempt));
        let path = path(&self.root, (job, attempt));
        blocking("removing a log", move || match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io(format!("removing the log of job {job}"), error))
            }
            _ => Ok(()),
        })
        .await
    }
}

fn read(path: &Path, offset: u64, limit: usize) -> io::Result<(Bytes, u64)> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Bytes::new(), 0)),
        opened => opened?,
    };
    let stored = file.metadata()?.len();
    let available = usize::try_from(stored.saturating_sub(offset)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; available.min(limit)];
    file.read_exact_at(&mut bytes, offset)?;
    Ok((Bytes::from(bytes), stored))
}
