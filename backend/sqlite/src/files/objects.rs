//! Objects as files.
//!
//! An object is one file: its bytes, then a trailer with their number and hash. So there is one rename that makes
//! it, whole, and `info` need not read it.

use super::directories::{make_directories, make_directory, sync_directory};
use crate::blocking::blocking;
use async_trait::async_trait;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::{StreamExt, stream};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread::ScopedJoinHandle,
    time::Duration,
};
use tidemill_core::api::ContentChecksum;
use tidemill_services::error::{Error, Result};
use tidemill_services::ports::{ByteStream, ObjectInfo, Objects, UploadTarget};
use tokio::sync::mpsc;
use uuid::Uuid;

/// Bytes that are handed over at once.
const CHUNK_SIZE: usize = 512 * 1024;
/// Chunks that wait to be written, at most.
const MAX_QUEUED_CHUNKS: usize = 8;
/// After so many bytes what was written is sent on its way to the disk, while more comes.
const SYNC_INTERVAL_BYTES: u64 = 16 * 1024 * 1024;
/// What an unfinished put left is removed when it is older than this.
const STALE_FILE_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// How often a put makes its directory again when a delete removes it as empty at the same time.
const MAX_ATTEMPTS: u32 = 100;

const MAGIC: &[u8; 8] = b"tmobj\0\0\x01";
const HASH_LEN: usize = 32;
const TRAILER_LEN: usize = MAGIC.len() + size_of::<u64>() + HASH_LEN;

/// Objects below a directory.
#[derive(Debug)]
pub struct FileObjects {
    root: Arc<Path>,
    unfinished: PathBuf,
}

impl FileObjects {
    /// Objects below `root`, which is made if it is not there.
    pub fn open(root: &Path) -> Result<Self> {
        // Not a name that a key can have.
        let unfinished = root.join(".unfinished");
        make_directory(&unfinished)?;
        remove_leftovers(&unfinished)
            .map_err(|error| Error::io(format!("cleaning {}", unfinished.display()), error))?;
        Ok(Self { root: root.into(), unfinished })
    }

    /// The file of `key`. Its suffix cannot be part of a key, so `a` and `a/b` do not clash.
    fn path(&self, key: &str) -> Result<PathBuf> {
        let good = |part: &str| {
            (1..=200).contains(&part.len())
                && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        };
        if key.len() <= 1000 && key.split('/').all(good) {
            Ok(self.root.join(format!("{key}.object")))
        } else {
            Err(Error::Invalid(format!("`{key}` is no object key: parts of a-z, 0-9 and -, joined by /")))
        }
    }
}

fn remove_leftovers(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // Another process may end its put, or clean here too, at the same time.
        let old = entry
            .metadata()
            .and_then(|meta| meta.modified())
            .is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > STALE_FILE_AGE));
        if old
            && let Err(error) = fs::remove_file(entry.path())
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error);
        }
    }
    Ok(())
}

/// What a put's stream hands to its writing thread. Without an `End` the put was broken off.
enum PutChunk {
    Bytes(Vec<Bytes>),
    End,
}

#[async_trait]
impl Objects for FileObjects {
    async fn put_checked(
        &self,
        key: &str,
        wanted: Option<&str>,
        mut bytes: ByteStream,
    ) -> Result<ObjectInfo> {
        let path = self.path(key)?;
        let root = Arc::clone(&self.root);
        let unfinished = TemporaryFile(self.unfinished.join(Uuid::now_v7().to_string()));
        let (pieces, waiting) = mpsc::channel(MAX_QUEUED_CHUNKS);
        let doing = format!("storing object {key}");
        let wanted = wanted.map(str::to_owned);
        let stored = blocking(doing.clone(), move || {
            let stored = store(&root, &path, &unfinished, wanted.as_deref(), waiting);
            stored.map_err(|error| Error::io(doing, error))?
        });
        let fed = async move {
            let mut gathered = Vec::new();
            let mut size = 0;
            while let Some(next) = bytes.next().await {
                let next = next.map_err(|error| match error.kind() {
                    ErrorKind::StorageFull => Error::io(format!("storing object {key}"), error),
                    _ => {
                        Error::Invalid(format!("the bytes of the object broke off before their end: {error}"))
                    }
                })?;
                size += next.len();
                gathered.push(next);
                if size >= CHUNK_SIZE {
                    size = 0;
                    if pieces.send(PutChunk::Bytes(std::mem::take(&mut gathered))).await.is_err() {
                        // The writing thread failed, and says why.
                        return Ok(());
                    }
                }
            }
            // The same holds here.
            drop(pieces.send(PutChunk::Bytes(gathered)).await);
            drop(pieces.send(PutChunk::End).await);
            Ok(())
        };
        let (fed, stored) = tokio::join!(fed, stored);
        fed?;
        stored
    }

    async fn info(&self, key: &str) -> Result<Option<ObjectInfo>> {
        let path = self.path(key)?;
        let doing = format!("looking at object {key}");
        blocking(doing.clone(), move || Ok(open(&path, &doing)?.map(|(_, info)| info))).await
    }

    async fn get(&self, key: &str) -> Result<ByteStream> {
        let path = self.path(key)?;
        let doing = format!("reading object {key}");
        let found = blocking(doing.clone(), move || open(&path, &doing)).await?;
        let Some((file, info)) = found else {
            return Err(Error::NotFound(format!("there is no object {key}")));
        };
        let rest = file.take(info.size);
        Ok(stream::try_unfold(rest, |mut rest| async move {
            tokio::task::spawn_blocking(move || {
                let mut chunk =
                    Vec::with_capacity(CHUNK_SIZE.min(usize::try_from(rest.limit()).unwrap_or(CHUNK_SIZE)));
                rest.by_ref().take(CHUNK_SIZE as u64).read_to_end(&mut chunk)?;
                if !chunk.is_empty() {
                    return Ok(Some((Bytes::from(chunk), rest)));
                }
                // The trailer was there, so the file was cut since.
                if rest.limit() > 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(None) }
            })
            .await?
        })
        .boxed())
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        let root = Arc::clone(&self.root);
        let doing = format!("removing object {key}");
        blocking(doing.clone(), move || remove(&root, &path).map_err(|error| Error::io(doing, error))).await
    }

    async fn put_place(&self, _: &str, _: Option<&ContentChecksum>) -> Result<UploadTarget> {
        Ok(UploadTarget::Api)
    }

    async fn get_address(&self, _: &str) -> Result<Option<String>> {
        Ok(None)
    }
}

/// A file that is removed unless it was renamed to where it belongs.
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // Renamed, or never made; anything else is left to the next start's cleaning.
        drop(fs::remove_file(&self.0));
    }
}

/// A sync under way.
type SyncHandle<'scope> = ScopedJoinHandle<'scope, io::Result<()>>;

/// Writes what comes, and puts it into its place once it has ended, if it has the hash that is wanted; the inner error says that it
/// has not.
fn store(
    root: &Path,
    path: &Path,
    unfinished: &TemporaryFile,
    wanted: Option<&str>,
    mut pieces: mpsc::Receiver<PutChunk>,
) -> io::Result<Result<ObjectInfo>> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished.0)?;
    let mut hash = Sha256::new();
    let (mut size, mut synced) = (0_u64, 0_u64);
    std::thread::scope(|scope| {
        let mut syncing: Option<SyncHandle<'_>> = None;
        loop {
            match pieces.blocking_recv() {
                Some(PutChunk::Bytes(gathered)) => {
                    for bytes in gathered {
                        hash.update(&bytes);
                        file.write_all(&bytes)?;
                        size += bytes.len() as u64;
                    }
                }
                Some(PutChunk::End) => break,
                None => return Err(io::Error::new(ErrorKind::Interrupted, "the put was broken off")),
            }
            if size - synced >= SYNC_INTERVAL_BYTES && syncing.as_ref().is_none_or(SyncHandle::is_finished) {
                synced = size;
                let copy = file.try_clone()?;
                join(syncing.take())?;
                syncing = Some(scope.spawn(move || copy.sync_data()));
            }
        }
        join(syncing.take())
    })?;
    let hash = hash.finalize();
    let sha256 = HEXLOWER.encode(&hash);
    if let Some(wanted) = wanted.filter(|wanted| *wanted != sha256) {
        return Ok(Err(Error::other_bytes(&sha256, wanted)));
    }
    let mut trailer = Vec::with_capacity(TRAILER_LEN);
    trailer.extend_from_slice(MAGIC);
    trailer.extend_from_slice(&size.to_le_bytes());
    trailer.extend_from_slice(&hash);
    file.write_all(&trailer)?;
    file.sync_all()?;
    let directory = path.parent().unwrap_or(root);
    for tried in 1.. {
        make_directories(root, directory)?;
        match fs::rename(&unfinished.0, path).and_then(|()| sync_directory(directory)) {
            Err(error) if error.kind() == ErrorKind::NotFound && tried < MAX_ATTEMPTS => {}
            renamed => {
                renamed?;
                break;
            }
        }
    }
    Ok(Ok(ObjectInfo { size, sha256: Some(sha256) }))
}

/// A sync that failed may not be reported by the next one, so each one's outcome counts.
fn join(thread: Option<SyncHandle<'_>>) -> io::Result<()> {
    match thread.map(SyncHandle::join) {
        None => Ok(()),
        Some(outcome) => outcome.unwrap_or_else(|_| Err(io::Error::other("the syncing thread panicked"))),
    }
}

/// The file of an object and what its trailer says; `None` when there is none.
fn open(path: &Path, doing: &str) -> Result<Option<(File, ObjectInfo)>> {
    let read = || {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let damaged = || io::Error::new(ErrorKind::InvalidData, format!("{} is damaged", path.display()));
        let size = length.checked_sub(TRAILER_LEN as u64).ok_or_else(damaged)?;
        let mut trailer = [0; TRAILER_LEN];
        file.read_exact_at(&mut trailer, size)?;
        let (head, hash) = trailer.split_at(TRAILER_LEN - HASH_LEN);
        if head != [MAGIC.as_slice(), size.to_le_bytes().as_slice()].concat() {
            return Err(damaged());
        }
        Ok((file, ObjectInfo { size, sha256: Some(HEXLOWER.encode(hash)) }))
    };
    match read() {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(doing, error)),
    }
}

/// Removes a file, and the directories that it leaves empty.
fn remove(root: &Path, path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        removed => removed?,
    }
    let mut kept = path.parent().unwrap_or(root);
    // Fails on the first that is not empty.
    while kept != root && fs::remove_dir(kept).is_ok() {
        kept = kept.parent().unwrap_or(root);
    }
    match sync_directory(kept) {
        // Another delete removed it just now, and syncs what is above.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        synced => synced,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{FileObjects, STALE_FILE_AGE};
    use bytes::Bytes;
    use futures_util::{StreamExt, stream};
    use std::{
        fs::{self, File},
        time::{Duration, SystemTime},
    };
    use tidemill_services::ports::Objects;

    #[test]
    fn leftovers_are_removed_once_they_are_old() {
        let directory = tempfile::tempdir().unwrap();
        drop(FileObjects::open(directory.path()).unwrap());
        let unfinished = directory.path().join(".unfinished");
        File::create(unfinished.join("young")).unwrap();
        let old = File::create(unfinished.join("old")).unwrap();
        old.set_modified(SystemTime::now() - STALE_FILE_AGE - Duration::from_secs(60)).unwrap();
        drop(FileObjects::open(directory.path()).unwrap());
        let left: Vec<_> =
            fs::read_dir(&unfinished).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["young"]);
    }

    #[tokio::test]
    async fn deletes_and_puts_leave_no_residue() {
        let directory = tempfile::tempdir().unwrap();
        let objects = FileObjects::open(directory.path()).unwrap();
        let bytes = stream::iter([Ok(Bytes::from_static(b"x"))]).boxed();
        objects.put("a/b/c", bytes).await.unwrap();
        assert_eq!(fs::read_dir(directory.path().join(".unfinished")).unwrap().count(), 0);
        objects.delete("a/b/c").await.unwrap();
        assert!(!directory.path().join("a").exists());
    }

    #[tokio::test]
    async fn truncated_object_returns_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let objects = FileObjects::open(directory.path()).unwrap();
        let bytes = stream::iter([Ok(Bytes::from(vec![1; 1000]))]).boxed();
        objects.put("a", bytes).await.unwrap();
        let file = File::options().write(true).open(directory.path().join("a.object")).unwrap();
        file.set_len(500).unwrap();
        for error in [objects.info("a").await.map(drop), objects.get("a").await.map(drop)] {
            assert!(error.unwrap_err().to_string().contains("is damaged"));
        }
    }
}
