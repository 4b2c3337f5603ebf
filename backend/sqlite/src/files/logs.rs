//! Logs as files, one for each attempt, as raw bytes.
//!
//! What a crash leaves behind the last acknowledged byte needs no repair. A job prints each byte of an attempt once,
//! and its worker keeps what was not acknowledged and sends it again from there; another worker means another attempt
//! and so another file. Whatever part of an append reached the file before the crash is therefore a prefix of what
//! is sent next, and is rightly skipped as a repeat. (A file system must not let a file's size run ahead of its bytes
//! over a loss of power; ext4 in its ordered mode, XFS and btrfs do not.)
//!
//! Skipped bytes are acknowledged as much as appended ones, so they are synced first unless this process did so.

use super::directories::{make_directories, make_directory, sync_directory};
use crate::blocking::blocking;
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
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

/// Files that are kept open for the next append.
const MAX_OPEN_FILES: usize = 64;

/// Names an attempt.
type AttemptKey = (JobId, u32);

/// Logs below a directory.
#[derive(Debug)]
pub struct FileLogs {
    root: Arc<Path>,
    open: Mutex<OpenLogs>,
}

/// Open files by attempt, with when they were last used.
#[derive(Debug, Default)]
struct OpenLogs {
    uses: u64,
    files: HashMap<AttemptKey, (u64, Arc<OpenLog>)>,
}

#[derive(Debug)]
struct OpenLog {
    file: File,
    /// Bytes that this process knows to be on the disk.
    synced: AtomicU64,
}

impl FileLogs {
    /// Logs below `root`, which is made if it is not there.
    pub fn open(root: &Path) -> Result<Self> {
        make_directory(root)?;
        Ok(Self { root: root.into(), open: Mutex::default() })
    }

    fn known(&self, attempt: AttemptKey) -> Option<Arc<OpenLog>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.uses += 1;
        let now = open.uses;
        let (used, log) = open.files.get_mut(&attempt)?;
        *used = now;
        Some(Arc::clone(log))
    }

    fn keep(&self, attempt: AttemptKey, log: Arc<OpenLog>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = open.files.iter().min_by_key(|(_, (used, _))| *used).map(|(attempt, _)| *attempt);
        if let Some(oldest) = oldest.filter(|_| open.files.len() >= MAX_OPEN_FILES) {
            open.files.remove(&oldest);
        }
        let now = open.uses;
        open.files.insert(attempt, (now, log));
    }
}

/// The file of an attempt. The last digits of a UUIDv7 are random, so they spread jobs over directories.
fn path(root: &Path, (job, attempt): AttemptKey) -> PathBuf {
    let id = job.to_string();
    let spread = &id[id.len() - 2..];
    root.join(spread).join(format!("{id}.{attempt}.log"))
}

/// Opens the file of an attempt, made durably if it is not there.
fn open(root: &Path, attempt: AttemptKey) -> io::Result<OpenLog> {
    let path = path(root, attempt);
    let directory = path.parent().unwrap_or(root);
    make_directories(root, directory)?;
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
    if file.metadata()?.len() == 0 {
        sync_directory(directory)?;
    }
    Ok(OpenLog { file, synced: AtomicU64::new(0) })
}

/// Appends under the file's lock, which other processes respect too. `None`: there is a gap before `offset`.
fn append(log: &OpenLog, offset: u64, bytes: &[u8]) -> io::Result<Result<u64, u64>> {
    log.file.lock()?;
    let outcome = append_locked(log, offset, bytes);
    let unlocked = log.file.unlock();
    outcome.and_then(|stored| unlocked.map(|()| stored))
}

fn append_locked(log: &OpenLog, offset: u64, bytes: &[u8]) -> io::Result<Result<u64, u64>> {
    let stored = log.file.metadata()?.len();
    let Some(known) = stored.checked_sub(offset) else { return Ok(Err(stored)) };
    let new = usize::try_from(known).ok().and_then(|known| bytes.get(known..)).unwrap_or_default();
    let length = stored + new.len() as u64;
    if log.synced.load(Ordering::Relaxed) < length {
        let written = log.file.write_all_at(new, stored).and_then(|()| log.file.sync_data());
        if let Err(error) = written {
            // After a sync that failed the kernel may take what it could not write for written: what was not
            // acknowledged must go, so that it is written again. If even that fails, the first error says enough.
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
        let known = self.known((job, attempt));
        let root = Arc::clone(&self.root);
        let bytes = Bytes::copy_from_slice(bytes);
        let (log, outcome) = blocking("storing log bytes", move || {
            let failed = |error| Error::io(format!("storing the log of job {job}"), error);
            let log = match known {
                Some(log) => log,
                None => Arc::new(open(&root, (job, attempt)).map_err(failed)?),
            };
            let outcome = append(&log, offset, &bytes).map_err(failed)?;
            Ok((log, outcome))
        })
        .await?;
        self.keep((job, attempt), log);
        outcome.map_err(|stored| {
            Error::Conflict(format!(
                "the log of attempt {attempt} of job {job} has {stored} bytes, so none can be added at {offset}; \
                 send from {stored} on"
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
}

fn read(path: &Path, offset: u64, limit: usize) -> io::Result<(Bytes, u64)> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Bytes::new(), 0)),
        opened => opened?,
    };
    let stored = file.metadata()?.len();
    let there = usize::try_from(stored.saturating_sub(offset)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; there.min(limit)];
    file.read_exact_at(&mut bytes, offset)?;
    Ok((Bytes::from(bytes), stored))
}
