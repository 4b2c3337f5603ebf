//! Objects as files.
//!
//! An object is one file: its bytes, then a trailer with their number and hash. So a single rename publishes it
//! atomically, and `info` reads only the trailer.

use super::content;
use super::directories::{create_directories, create_directory, sync_directory};
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
use tidemill_services::ports::{ByteStream, ObjectInfo, Objects, UploadTarget, check_object_key};
use tokio::sync::mpsc;
use uuid::Uuid;

/// Bytes that are passed to the writing thread or to the reader at once.
const CHUNK_SIZE: usize = 512 * 1024;
/// Maximum number of chunks that wait to be written.
const MAX_QUEUED_CHUNKS: usize = 8;
/// Number of bytes after which a sync starts in the background, while more bytes are written.
const SYNC_INTERVAL_BYTES: u64 = 16 * 1024 * 1024;
/// Age at which a file of an unfinished put is removed.
const STALE_FILE_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Maximum number of times that a put creates its directory when concurrent deletes remove it as empty.
const MAX_ATTEMPTS: u32 = 100;

const MAGIC: &[u8; 8] = b"tmobj\0\0\x01";
const HASH_LEN: usize = 32;
const TRAILER_LEN: usize = MAGIC.len() + size_of::<u64>() + HASH_LEN;

/// Objects in a directory.
#[derive(Debug)]
pub struct FileObjects {
    root: Arc<Path>,
    unfinished: PathBuf,
    /// Whether objects of the same content are stored once.
    shares_content: bool,
}

impl FileObjects {
    /// Opens the objects in `root`, which is created if it does not exist.
    pub fn open(root: &Path) -> Result<Self> {
        // A key cannot have this name.
        let unfinished = root.join(".unfinished");
        create_directory(&unfinished)?;
        remove_stale_files(&unfinished)
            .map_err(|error| Error::io(format!("cleaning {}", unfinished.display()), error))?;
        Ok(Self { root: root.into(), unfinished, shares_content: false })
    }

    /// Opens the objects in `root` as [`Self::open`] does, and stores those of the same content once.
    pub fn open_shared(root: &Path) -> Result<Self> {
        let objects = Self::open(root)?;
        let [.., shard] = Uuid::new_v4().into_bytes();
        content::tidy(root, shard)
            .map_err(|error| Error::io(format!("cleaning {}", root.display()), error))?;
        Ok(Self { shares_content: true, ..objects })
    }

    /// Returns the path of `key`. Its suffix cannot be part of a key, so `a` and `a/b` do not clash.
    fn path(&self, key: &str) -> Result<PathBuf> {
        check_object_key(key)?;
        Ok(self.root.join(format!("{key}.object")))
    }
}

fn remove_stale_files(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // Another process may finish its put, or clean up too, at the same time.
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

/// A message to the writing thread of a put. A channel that closes without an `End` means an aborted put.
enum PutChunk {
    Bytes(Vec<Bytes>),
    End,
}

#[async_trait]
impl Objects for FileObjects {
    async fn put_checked(
        &self,
        key: &str,
        expected_sha256: Option<&str>,
        mut bytes: ByteStream,
    ) -> Result<ObjectInfo> {
        let path = self.path(key)?;
        let (root, shares_content) = (Arc::clone(&self.root), self.shares_content);
        let unfinished = TemporaryFile(self.unfinished.join(Uuid::now_v7().to_string()));
        let (chunks, received_chunks) = mpsc::channel(MAX_QUEUED_CHUNKS);
        let operation = format!("storing object {key}");
        let expected_sha256 = expected_sha256.map(str::to_owned);
        let stored = blocking(operation.clone(), move || {
            let publish = |sha256: &str| {
                if shares_content {
                    publish_shared(&root, &path, &unfinished, sha256)
                } else {
                    publish(&root, &path, &unfinished)
                }
            };
            let stored = store(&unfinished, expected_sha256.as_deref(), received_chunks, publish);
            stored.map_err(|error| Error::io(operation, error))?
        });
        let sent = async move {
            let mut chunk = Vec::new();
            let mut size = 0;
            while let Some(next) = bytes.next().await {
                let next = next.map_err(|error| match error.kind() {
                    ErrorKind::StorageFull => Error::io(format!("storing object {key}"), error),
                    _ => Error::upload_interrupted(&error),
                })?;
                size += next.len();
                chunk.push(next);
                if size >= CHUNK_SIZE {
                    size = 0;
                    if chunks.send(PutChunk::Bytes(std::mem::take(&mut chunk))).await.is_err() {
                        // The writing thread failed and returns the error.
                        return Ok(());
                    }
                }
            }
            // As above, the writing thread returns its error.
            drop(chunks.send(PutChunk::Bytes(chunk)).await);
            drop(chunks.send(PutChunk::End).await);
            Ok(())
        };
        let (sent, stored) = tokio::join!(sent, stored);
        sent?;
        stored
    }

    async fn info(&self, key: &str) -> Result<Option<ObjectInfo>> {
        let path = self.path(key)?;
        let operation = format!("reading the size of object {key}");
        blocking(operation.clone(), move || Ok(open(&path, &operation)?.map(|(_, info)| info))).await
    }

    async fn get(&self, key: &str) -> Result<ByteStream> {
        let path = self.path(key)?;
        let operation = format!("reading object {key}");
        let opened = blocking(operation.clone(), move || open(&path, &operation)).await?;
        let Some((file, info)) = opened else {
            return Err(Error::object_not_found(key));
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
                // The trailer was read, so the file has been truncated since.
                if rest.limit() > 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(None) }
            })
            .await?
        })
        .boxed())
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        let (root, shares_content) = (Arc::clone(&self.root), self.shares_content);
        let operation = format!("removing object {key}");
        blocking(operation.clone(), move || {
            let content = content_of(&path).filter(|_| shares_content);
            let removed = remove(&root, &path).and_then(|()| match content {
                Some(sha256) => content::unregister(&root, &sha256),
                None => Ok(()),
            });
            removed.map_err(|error| Error::io(operation, error))
        })
        .await
    }

    async fn upload_target(&self, _: &str, _: Option<&ContentChecksum>) -> Result<UploadTarget> {
        Ok(UploadTarget::Api)
    }

    async fn download_url(&self, _: &str) -> Result<Option<String>> {
        Ok(None)
    }
}

/// A temporary file that is removed on drop unless it was renamed.
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // It fails if the file was renamed or never created; the cleanup at the next start handles other failures.
        drop(fs::remove_file(&self.0));
    }
}

/// A running sync.
type SyncHandle<'scope> = ScopedJoinHandle<'scope, io::Result<()>>;

/// Writes the received chunks and publishes the file with the hash of its bytes. The inner error is returned if they do not have the
/// expected hash.
fn store(
    unfinished: &TemporaryFile,
    expected_sha256: Option<&str>,
    mut chunks: mpsc::Receiver<PutChunk>,
    publish: impl FnOnce(&str) -> io::Result<()>,
) -> io::Result<Result<ObjectInfo>> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished.0)?;
    let mut hash = Sha256::new();
    let (mut size, mut synced) = (0_u64, 0_u64);
    std::thread::scope(|scope| {
        let mut syncing: Option<SyncHandle<'_>> = None;
        loop {
            match chunks.blocking_recv() {
                Some(PutChunk::Bytes(chunk)) => {
                    for bytes in chunk {
                        hash.update(&bytes);
                        file.write_all(&bytes)?;
                        size += bytes.len() as u64;
                    }
                }
                Some(PutChunk::End) => break,
                None => return Err(io::Error::new(ErrorKind::Interrupted, "the upload was aborted")),
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
    if let Some(expected) = expected_sha256.filter(|expected| *expected != sha256) {
        return Ok(Err(Error::checksum_mismatch(&sha256, expected)));
    }
    let mut trailer = Vec::with_capacity(TRAILER_LEN);
    trailer.extend_from_slice(MAGIC);
    trailer.extend_from_slice(&size.to_le_bytes());
    trailer.extend_from_slice(&hash);
    file.write_all(&trailer)?;
    file.sync_all()?;
    publish(&sha256)?;
    Ok(Ok(ObjectInfo { size, sha256: Some(sha256) }))
}

/// Renames a complete file to `path`, durably.
fn publish(root: &Path, path: &Path, unfinished: &TemporaryFile) -> io::Result<()> {
    let directory = path.parent().unwrap_or(root);
    for attempt in 1.. {
        create_directories(root, directory)?;
        match fs::rename(&unfinished.0, path).and_then(|()| sync_directory(directory)) {
            Err(error) if error.kind() == ErrorKind::NotFound && attempt < MAX_ATTEMPTS => {}
            renamed => return renamed,
        }
    }
    Ok(())
}

/// Publishes a complete file; if another object has the same content, as a link to that.
fn publish_shared(root: &Path, path: &Path, unfinished: &TemporaryFile, sha256: &str) -> io::Result<()> {
    let replaced = content_of(path);
    let is_shared = content::share(root, &unfinished.0, sha256)?;
    publish(root, path, unfinished)?;
    if !is_shared {
        content::register(root, path, sha256)?;
    }
    match replaced.filter(|replaced| replaced != sha256) {
        Some(replaced) => content::unregister(root, &replaced),
        None => Ok(()),
    }
}

/// Returns the hash of an object, if it exists and is whole.
fn content_of(path: &Path) -> Option<String> {
    open(path, "reading an object").ok().flatten().and_then(|(_, info)| info.sha256)
}

/// Waits for a sync. Each outcome counts, since the next sync may not report the failure of an earlier one.
fn join(thread: Option<SyncHandle<'_>>) -> io::Result<()> {
    match thread.map(SyncHandle::join) {
        None => Ok(()),
        Some(outcome) => outcome.unwrap_or_else(|_| Err(io::Error::other("the syncing thread panicked"))),
    }
}

/// Opens the file of an object and reads its trailer; `None` if there is no such object.
fn open(path: &Path, operation: &str) -> Result<Option<(File, ObjectInfo)>> {
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
        Ok(opened) => Ok(Some(opened)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(operation, error)),
    }
}

/// Removes a file, and the directories that become empty.
fn remove(root: &Path, path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        removed => removed?,
    }
    let mut directory = path.parent().unwrap_or(root);
    // `remove_dir` fails for the first directory that is not empty.
    while directory != root && fs::remove_dir(directory).is_ok() {
        directory = directory.parent().unwrap_or(root);
    }
    match sync_directory(directory) {
        // A concurrent delete has removed the directory, and syncs its parent.
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
        os::unix::fs::{FileExt, MetadataExt},
        path::Path,
        time::{Duration, SystemTime},
    };
    use tidemill_services::ports::Objects;

    #[test]
    fn only_stale_unfinished_files_are_removed() {
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

    async fn put(objects: &FileObjects, key: &str, bytes: &[u8]) {
        let bytes = stream::iter([Ok(Bytes::copy_from_slice(bytes))]).boxed();
        objects.put(key, bytes).await.unwrap();
    }

    /// Returns the number of bytes of all objects on disk, and the number of contents.
    fn stored(root: &Path) -> (u64, usize) {
        let mut files = std::collections::BTreeMap::new();
        let mut contents = 0;
        let mut directories = vec![root.to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let metadata = entry.metadata().unwrap();
                if metadata.is_dir() {
                    directories.push(entry.path());
                } else {
                    files.insert(metadata.ino(), metadata.len());
                    contents +=
                        usize::from(entry.path().components().any(|part| part.as_os_str() == ".content"));
                }
            }
        }
        (files.values().sum(), contents)
    }

    #[tokio::test]
    async fn identical_objects_are_stored_once() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let objects = FileObjects::open_shared(root).unwrap();
        let (one, other) = (vec![1; 100_000], vec![2; 100_000]);
        for key in ["a/1", "a/2", "b/1"] {
            put(&objects, key, &one).await;
        }
        let (bytes, contents) = stored(root);
        assert!(bytes < 110_000 && contents == 1, "{bytes} {contents}");
        // Replaced by itself, then by another content, and removed one after another.
        put(&objects, "a/2", &one).await;
        put(&objects, "a/2", &other).await;
        assert_eq!(stored(root).1, 2);
        objects.delete("a/1").await.unwrap();
        assert_eq!(objects.info("b/1").await.unwrap().unwrap().size, 100_000);
        put(&objects, "a/2", &one).await;
        assert_eq!(stored(root).1, 1, "no object has the other content");
        for key in ["a/2", "b/1"] {
            objects.delete(key).await.unwrap();
        }
        assert_eq!(stored(root), (0, 0));
        assert_eq!(fs::read_dir(root.join(".unfinished")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn damaged_content_is_not_shared() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let objects = FileObjects::open_shared(root).unwrap();
        let bytes = vec![1; 100_000];
        put(&objects, "a", &bytes).await;
        let file = File::options().write(true).open(root.join("a.object")).unwrap();
        file.write_all_at(b"damaged", 50_000).unwrap();
        put(&objects, "b", &bytes).await;
        put(&objects, "c", &bytes).await;
        let stored = |key: &str| fs::read(root.join(format!("{key}.object"))).unwrap();
        assert_eq!(stored("b")[..100_000], bytes);
        assert_eq!(stored("c")[..100_000], bytes);
        assert_ne!(stored("a"), stored("b"));
    }
}
