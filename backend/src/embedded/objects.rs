//! Objects as files: written aside, synced, then renamed to their place.

use super::database::make_directory;
use crate::{
    error::{Error, Result},
    ports::{ByteStream, ObjectInfo, Objects},
};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use sha2::{Digest, Sha256};
use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tokio::sync::mpsc;
use uuid::Uuid;

/// Bytes that one read takes.
const CHUNK: usize = 512 << 10;
/// Chunks that wait between the network and the disk.
const WAITING: usize = 16;
/// A file that was left aside for so long is nobody's any more.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// Objects below a directory: each has its bytes in one file and its size and hash in another beside it.
#[derive(Debug)]
pub struct FileObjects {
    root: PathBuf,
}

impl FileObjects {
    /// The objects below `root`, which is made if it is not there.
    pub fn open(root: &Path) -> Result<Self> {
        let aside = root.join("tmp");
        make_directory(&aside)?;
        let entries = fs::read_dir(&aside).map_err(|error| Error::io("looking for stale uploads", error))?;
        for entry in entries.flatten() {
            let written = entry.metadata().and_then(|of| of.modified()).unwrap_or_else(|_| SystemTime::now());
            if written.elapsed().is_ok_and(|age| age > STALE) {
                drop(fs::remove_file(entry.path()));
            }
        }
        Ok(Self { root: root.to_owned() })
    }

    fn path(&self, key: &str) -> Result<PathBuf> {
        let plain = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        if key.split('/').all(plain) {
            return Ok(self.root.join("objects").join(key));
        }
        Err(Error::Invalid(format!("`{key}` is no key of an object")))
    }
}

fn info_path(path: &Path) -> PathBuf {
    path.with_extension("info")
}

async fn blocking<T: Send + 'static>(
    doing: &str,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| Error::storage(doing, error))?;
    done.map_err(|error| Error::io(doing, error))
}

#[async_trait]
impl Objects for FileObjects {
    async fn put(&self, key: &str, mut bytes: ByteStream) -> Result<ObjectInfo> {
        const DOING: &str = "storing an object";
        let path = self.path(key)?;
        let aside = self.root.join("tmp").join(Uuid::now_v7().to_string());
        let (send, chunks) = mpsc::channel::<Bytes>(WAITING);
        let (to_write, to_place) = (aside.clone(), path.clone());
        let (whole, is_whole) = tokio::sync::oneshot::channel::<()>();
        let writer = tokio::task::spawn_blocking(move || {
            let stored = write(&to_write, chunks).and_then(|info| {
                // A stream that broke off leaves nothing.
                is_whole.blocking_recv().map_err(|_| std::io::Error::from(ErrorKind::UnexpectedEof))?;
                place(&to_write, &to_place, &info)?;
                Ok(info)
            });
            if stored.is_err() {
                drop(fs::remove_file(&to_write));
            }
            stored
        });
        let mut broken = None;
        while let Some(next) = bytes.next().await {
            match next {
                // A writer that is gone has failed, and says how below.
                Ok(chunk) => {
                    if send.send(chunk).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
        }
        drop(send);
        if broken.is_none() {
            // A writer that is gone has failed, and says how below.
            let _ = whole.send(());
        } else {
            drop(whole);
        }
        let stored = writer.await.map_err(|error| Error::storage(DOING, error))?;
        match broken {
            Some(error) => Err(Error::Invalid(format!("the upload broke off: {error}"))),
            None => stored.map_err(|error| Error::io(DOING, error)),
        }
    }

    async fn info(&self, key: &str) -> Result<Option<ObjectInfo>> {
        let path = info_path(&self.path(key)?);
        blocking("looking up an object", move || match fs::read_to_string(&path) {
            Ok(text) => Ok(parse_info(&text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    async fn get(&self, key: &str) -> Result<ByteStream> {
        let path = self.path(key)?;
        let open = move || match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let file = blocking("opening an object", open)
            .await?
            .ok_or_else(|| Error::NotFound(format!("there is no object `{key}`")))?;
        let chunks = stream::try_unfold(file, |mut file| async move {
            let read = tokio::task::spawn_blocking(move || {
                let mut chunk = BytesMut::zeroed(CHUNK);
                let length = file.read(&mut chunk)?;
                chunk.truncate(length);
                Ok::<_, std::io::Error>((chunk.freeze(), file))
            });
            let (chunk, file) = read.await.map_err(std::io::Error::other)??;
            Ok((!chunk.is_empty()).then_some((chunk, file)))
        });
        Ok(chunks.boxed())
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        blocking("removing an object", move || {
            for path in [info_path(&path), path] {
                match fs::remove_file(path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        })
        .await
    }
}

/// Writes the chunks to `path` and hashes them on the way; synced when it returns.
fn write(path: &Path, mut chunks: mpsc::Receiver<Bytes>) -> std::io::Result<ObjectInfo> {
    let mut file = File::create_new(path)?;
    let mut hash = Sha256::new();
    let mut size = 0_u64;
    while let Some(chunk) = chunks.blocking_recv() {
        hash.update(&chunk);
        file.write_all(&chunk)?;
        size += chunk.len() as u64;
    }
    file.sync_data()?;
    let sha256 = hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    Ok(ObjectInfo { size, sha256 })
}

/// Moves an object to its place. Its description comes last: without it there is no object.
fn place(from: &Path, to: &Path, info: &ObjectInfo) -> std::io::Result<()> {
    let directory = to.parent().unwrap_or(to);
    fs::create_dir_all(directory)?;
    fs::rename(from, to)?;
    let aside = from.with_extension("info");
    let mut described = File::create_new(&aside)?;
    described.write_all(format!("{} {}\n", info.size, info.sha256).as_bytes())?;
    described.sync_data()?;
    fs::rename(&aside, info_path(to))?;
    File::open(directory)?.sync_all()?;
    // The directory itself may be new.
    directory.parent().map_or(Ok(()), |above| File::open(above)?.sync_all())
}

fn parse_info(text: &str) -> Option<ObjectInfo> {
    let (size, sha256) = text.trim().split_once(' ')?;
    Some(ObjectInfo { size: size.parse().ok()?, sha256: sha256.to_owned() })
}
