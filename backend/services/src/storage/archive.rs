//! Reads stored archives as a stream: one file of one, or the entries of several. An archive is never unpacked to memory or disk.

mod entries;
mod reply;

use crate::ports::ByteStream;
use entries::{Entries, EntryHead};
use reply::{CHUNK_SIZE, ChunkWriter, Pace, PacedReader, reply};
use std::{
    cell::RefCell,
    io::{self, BufReader, ErrorKind, Read, Write},
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tar::Builder;
use tidemill_core::api::ArtifactEncoding;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, oneshot},
    task::spawn_blocking,
};
use tokio_util::io::{StreamReader, SyncIoBridge};

/// log2 of the maximum decompression window: the memory that reading takes.
const MAX_WINDOW_LOG: u32 = 23;
/// Time limit of the search for a file in an archive.
const MAX_SEARCH_TIME: Duration = Duration::from_secs(20);

/// What a read of archives holds until it ends.
pub struct OpenRead {
    /// One permit for each archive that may be decoded at the same time.
    pub turns: Arc<Semaphore>,
    /// Dropped when nothing is read any more.
    pub held: Box<dyn Send>,
}

/// How an archive is stored.
pub struct StoredArchive {
    /// The stored bytes.
    pub bytes: ByteStream,
    /// Their encoding.
    pub encoding: ArtifactEncoding,
    /// Number of bytes of the tar, for a compressed one.
    pub unpacked_size: u64,
}

/// Why a file of an archive cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ReadFailure {
    /// There is no file with this path.
    #[error("there is no such file")]
    NoFile,
    /// The file is larger than the limit.
    #[error("the file has {0} bytes")]
    TooLarge(u64),
    /// The search took too long.
    #[error("the file was not found in time")]
    TimedOut,
    /// The archive cannot be read.
    #[error(transparent)]
    Io(io::Error),
}

/// A file of an archive.
pub struct FoundFile {
    /// Its size.
    pub size: u64,
    /// Its bytes.
    pub bytes: ByteStream,
}

impl StoredArchive {
    fn into_entries(self, pace: &Rc<RefCell<Pace>>) -> io::Result<Entries<PacedReader<Box<dyn Read>>>> {
        let reader = self.into_reader()?;
        Ok(Entries::new(PacedReader { reader, pace: pace.clone() }))
    }

    fn into_reader(self) -> io::Result<Box<dyn Read>> {
        let stored = BufReader::with_capacity(CHUNK_SIZE, SyncIoBridge::new(StreamReader::new(self.bytes)));
        match self.encoding {
            ArtifactEncoding::Identity => Ok(Box::new(stored)),
            ArtifactEncoding::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(stored)?;
                decoder.window_log_max(MAX_WINDOW_LOG)?;
                // More than recorded is not read; the tar then ends too early, which is an error.
                Ok(Box::new(decoder.take(self.unpacked_size)))
            }
            ArtifactEncoding::Unknown => {
                Err(io::Error::new(ErrorKind::Unsupported, "the archive's encoding is unknown"))
            }
        }
    }

    /// Searches for the file at `path` with at most `max` bytes.
    pub async fn find(self, path: String, max: u64, open: OpenRead) -> Result<FoundFile, ReadFailure> {
        let (sender, body) = reply();
        let (found_sender, found) = oneshot::channel();
        let runtime = Handle::current();
        spawn_blocking(move || {
            let OpenRead { turns, held: _held } = open;
            sender.run(turns, runtime, |pace| {
                let mut found_sender = Some(found_sender);
                match (send_file(self, &path, max, &mut found_sender, pace), found_sender) {
                    // The client learns from the status that there is no file ..
                    (Err(failure), Some(found)) => drop(found.send(Err(failure))),
                    // .. and from an incomplete reply that the rest of one cannot be read.
                    (Err(failure), None) => return Err(io::Error::other(failure)),
                    (Ok(()), _) => {}
                }
                Ok(())
            });
        });
        // If the task panicked, the sender is gone.
        let size = found.await.map_err(|error| ReadFailure::Io(io::Error::other(error)))??;
        Ok(FoundFile { size, bytes: body.into_stream() })
    }
}

/// Sends the size of the file at `path` to `found`, and its bytes to the client.
fn send_file(
    archive: StoredArchive,
    path: &str,
    max: u64,
    found: &mut Option<oneshot::Sender<Result<u64, ReadFailure>>>,
    pace: &Rc<RefCell<Pace>>,
) -> Result<(), ReadFailure> {
    pace.borrow_mut().set_time_limit(Some(MAX_SEARCH_TIME));
    let mut entries = archive.into_entries(pace).map_err(ReadFailure::Io)?;
    while let Some(EntryHead { header, path: name, size, .. }) = entries.next_entry().map_err(read_failure)? {
        if !header.entry_type().is_file() || name != path.as_bytes() {
            continue;
        }
        if size > max {
            return Err(ReadFailure::TooLarge(size));
        }
        pace.borrow_mut().set_time_limit(None);
        if let Some(found) = found.take()
            && found.send(Ok(size)).is_err()
        {
            return Ok(());
        }
        let mut chunks = ChunkWriter::new(pace);
        let copied = io::copy(&mut entries, &mut chunks).and_then(|_| chunks.flush());
        return copied.map_err(ReadFailure::Io);
    }
    Err(ReadFailure::NoFile)
}

fn read_failure(error: io::Error) -> ReadFailure {
    if error.kind() == ErrorKind::TimedOut { ReadFailure::TimedOut } else { ReadFailure::Io(error) }
}

/// Returns one tar with the entries of all archives, each below its directory. `next` returns the next archive.
pub fn joined(
    mut next: impl FnMut() -> Option<io::Result<(String, StoredArchive)>> + Send + 'static,
    open: OpenRead,
) -> ByteStream {
    let (sender, body) = reply();
    let runtime = Handle::current();
    spawn_blocking(move || {
        let OpenRead { turns, held: _held } = open;
        sender.run(turns, runtime, |pace| {
            let mut builder = Builder::new(ChunkWriter::new(pace));
            while let Some(next) = next() {
                let (directory, archive) = next?;
                add_archive(&mut builder, &directory, archive.into_entries(pace)?)?;
            }
            builder.finish()?;
            builder.get_mut().flush()
        });
    });
    body.into_stream()
}

fn add_archive<R: Read>(
    builder: &mut Builder<ChunkWriter>,
    directory: &str,
    mut entries: Entries<R>,
) -> io::Result<()> {
    while let Some(EntryHead { mut header, path, target, size }) = entries.next_entry()? {
        let below = |path: &[u8]| format!("{directory}/{}", String::from_utf8_lossy(path));
        let leads_out = |path: &str| path.split('/').any(|part| part == "..");
        let path = below(&path);
        let kind = header.entry_type();
        let target = if kind.is_hard_link() {
            // A path in the archive, as of any other entry.
            below(target.strip_prefix(b"./").unwrap_or(&target))
        } else {
            String::from_utf8_lossy(&target).into_owned()
        };
        if leads_out(&path) || (kind.is_hard_link() && leads_out(&target)) {
            continue;
        }
        if kind.is_symlink() || kind.is_hard_link() {
            builder.append_link(&mut header, path, target)?;
        } else if kind.is_file() || kind.is_dir() {
            // A large file's size is in an extended header.
            header.set_size(size);
            builder.append_data(&mut header, path, &mut entries)?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{FoundFile, OpenRead, StoredArchive};
    use bytes::Bytes;
    use futures_util::{StreamExt, TryStreamExt, stream};
    use std::{iter, sync::Arc, time::Duration};
    use tar::{Builder, EntryType, Header};
    use tidemill_core::api::ArtifactEncoding;
    use tokio::{
        sync::{Semaphore, oneshot},
        time::timeout,
    };

    const MAX_TEST_TIME: Duration = Duration::from_secs(15);

    fn archive(chunks: impl Iterator<Item = Bytes> + Send + 'static) -> StoredArchive {
        let bytes = stream::iter(chunks.map(Ok)).boxed();
        StoredArchive { bytes, encoding: ArtifactEncoding::Identity, unpacked_size: 0 }
    }

    fn header(size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(size);
        header.set_path("other").unwrap();
        header.set_cksum();
        header
    }

    async fn find(turns: &Arc<Semaphore>, size: usize) -> FoundFile {
        let mut builder = Builder::new(Vec::new());
        let data = vec![7_u8; size];
        builder.append_data(&mut header(size as u64), "./file", &*data).unwrap();
        let tar = Bytes::from(builder.into_inner().unwrap());
        let open = OpenRead { turns: turns.clone(), held: Box::new(()) };
        archive(iter::once(tar)).find("file".into(), u64::MAX, open).await.unwrap()
    }

    #[tokio::test]
    async fn client_that_does_not_read_has_no_turn() {
        let turns = Arc::new(Semaphore::new(1));
        let slow = find(&turns, 1_000_000).await;
        let other = timeout(MAX_TEST_TIME, find(&turns, 10)).await.unwrap();
        let chunks: Vec<Bytes> = other.bytes.try_collect().await.unwrap();
        assert_eq!(chunks.concat(), [7; 10]);
        let chunks: Vec<Bytes> = slow.bytes.try_collect().await.unwrap();
        assert_eq!(chunks.concat().len(), 1_000_000, "and the slow one goes on");
    }

    #[tokio::test]
    async fn search_ends_with_its_client() {
        let head = Bytes::copy_from_slice(header(u64::from(u32::MAX) << 20).as_bytes());
        let endless = archive(iter::once(head).chain(iter::repeat(Bytes::from_static(&[7; 4096]))));
        let (held, ended) = oneshot::channel::<()>();
        let open = OpenRead { turns: Arc::new(Semaphore::new(1)), held: Box::new(held) };
        let search = timeout(Duration::from_millis(1), endless.find("file".into(), u64::MAX, open)).await;
        assert!(search.is_err(), "it is still searched");
        timeout(MAX_TEST_TIME, ended).await.unwrap().unwrap_err();
    }

    #[tokio::test]
    async fn endless_name_is_an_error() {
        let mut head = header(1 << 40);
        head.set_entry_type(EntryType::GNULongName);
        head.set_cksum();
        let head = Bytes::copy_from_slice(head.as_bytes());
        let endless = archive(iter::once(head).chain(iter::repeat(Bytes::from_static(&[7; 4096]))));
        let open = OpenRead { turns: Arc::new(Semaphore::new(1)), held: Box::new(()) };
        let found = timeout(MAX_TEST_TIME, endless.find("file".into(), u64::MAX, open)).await.unwrap();
        assert!(found.err().unwrap().to_string().contains("too long"));
    }
}
