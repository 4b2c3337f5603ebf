//! Logs as files, one for each attempt.
//!
//! A file may be longer than what was acknowledged: the machine stopped between the append and the reply. Such bytes
//! are the beginning of what the worker sends again under the same lease, so they are skipped as a repeat; and when the
//! attempt is lost instead, they were really printed and belong to its log.

use super::database::make_directory;
use crate::{
    error::{Error, Result},
    ports::Logs,
};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tidemill_core::ids::JobId;

/// Files of running attempts that are kept open.
const KEPT_OPEN: usize = 64;

/// A file, and who writes to it: one at a time.
type Open = Arc<Mutex<File>>;

/// Logs below a directory.
#[derive(Debug)]
pub struct FileLogs {
    root: PathBuf,
    open: Mutex<VecDeque<(PathBuf, Open)>>,
}

impl FileLogs {
    /// The logs below `root`, which is made if it is not there.
    pub fn open(root: &Path) -> Result<Self> {
        make_directory(root)?;
        Ok(Self { root: root.to_owned(), open: Mutex::default() })
    }

    /// Jobs are spread over 256 directories by the random end of their ids; the beginning is the time.
    fn path(&self, job: JobId, attempt: u32) -> PathBuf {
        let spread = format!("{:02x}", job.0.as_bytes()[15]);
        self.root.join(spread).join(format!("{job}.{attempt}.log"))
    }

    fn kept(&self, path: &Path) -> Option<Open> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().find(|(known, _)| known == path).map(|(_, file)| file.clone())
    }

    fn keep(&self, path: &Path, file: File) -> Open {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = open.iter().find(|(known, _)| known == path) {
            return known.clone();
        }
        let file = Arc::new(Mutex::new(file));
        open.truncate(KEPT_OPEN - 1);
        open.push_front((path.to_owned(), file.clone()));
        file
    }
}

fn create(path: &Path) -> std::io::Result<File> {
    let directory = path.parent().unwrap_or(path);
    fs::create_dir_all(directory)?;
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    File::open(directory)?.sync_all()?;
    Ok(file)
}

fn append(file: &File, offset: u64, bytes: &[u8]) -> std::io::Result<Result<u64, u64>> {
    let stored = file.metadata()?.len();
    if offset > stored {
        return Ok(Err(stored));
    }
    let known = usize::try_from(stored - offset).unwrap_or(usize::MAX);
    if let Some(fresh) = bytes.get(known..).filter(|fresh| !fresh.is_empty()) {
        file.write_all_at(fresh, stored)?;
    }
    // Even when all was there: its first sender may have died before it was synced.
    file.sync_data()?;
    Ok(Ok(stored.max(offset + bytes.len() as u64)))
}

#[async_trait]
impl Logs for FileLogs {
    async fn append(&self, job: JobId, attempt: u32, offset: u64, bytes: &[u8]) -> Result<u64> {
        const DOING: &str = "storing a log";
        let path = self.path(job, attempt);
        let file = match self.kept(&path) {
            Some(file) => file,
            None => self.keep(&path, create(&path).map_err(|error| Error::io(DOING, error))?),
        };
        let bytes = bytes.to_vec();
        let done = tokio::task::spawn_blocking(move || {
            append(&file.lock().unwrap_or_else(PoisonError::into_inner), offset, &bytes)
        });
        let done = done.await.map_err(|error| Error::storage(DOING, error))?;
        done.map_err(|error| Error::io(DOING, error))?.map_err(|stored| {
            Error::Conflict(format!(
                "the log of job {job} has {stored} bytes; bytes from {offset} on leave a gap"
            ))
        })
    }

    async fn read(&self, job: JobId, attempt: u32, offset: u64, limit: usize) -> Result<(Bytes, u64)> {
        const DOING: &str = "reading a log";
        let path = self.path(job, attempt);
        let read = tokio::task::spawn_blocking(move || {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Bytes::new(), 0)),
                Err(error) => return Err(error),
            };
            let stored = file.metadata()?.len();
            let length = stored.saturating_sub(offset).min(limit as u64);
            let mut bytes = BytesMut::zeroed(usize::try_from(length).unwrap_or(limit));
            file.read_exact_at(&mut bytes, offset)?;
            Ok((bytes.freeze(), stored))
        });
        let read = read.await.map_err(|error| Error::storage(DOING, error))?;
        read.map_err(|error| Error::io(DOING, error))
    }
}
