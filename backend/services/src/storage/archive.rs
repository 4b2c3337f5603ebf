//! Reads stored archives as a stream: one file of one, or the entries of several. An archive is never unpacked to memory or disk.

use crate::ports::ByteStream;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::{
    io::{self, BufReader, ErrorKind, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tar::{Archive, Builder, Entry};
use tidemill_core::api::ArtifactEncoding;
use tokio::sync::{mpsc, oneshot};
use tokio_util::io::{StreamReader, SyncIoBridge};

/// log2 of the maximum decompression window: the memory that reading takes.
const MAX_WINDOW_LOG: u32 = 23;
/// Size of a chunk that is passed on.
const CHUNK_SIZE: usize = 64 << 10;
/// Maximum number of chunks that wait for a client.
const MAX_QUEUED_CHUNKS: usize = 4;
/// Time limit of the search for a file in an archive.
const MAX_SEARCH_TIME: Duration = Duration::from_secs(20);

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

    /// Searches for the file at `path` with at most `max` bytes. `held` is dropped when nothing is read any more.
    pub async fn find(
        self,
        path: String,
        max: u64,
        held: impl Send + 'static,
    ) -> Result<FoundFile, ReadFailure> {
        let (sender, chunks) = mpsc::channel(MAX_QUEUED_CHUNKS);
        let (found_sender, found) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let _held = held;
            let mut chunks = ChunkWriter::new(sender);
            let mut found_sender = Some(found_sender);
            let sent = send_file(self, &path, max, &mut found_sender, &mut chunks);
            match (sent, found_sender) {
                // The client learns from the status that there is no file ..
                (Err(failure), Some(found)) => drop(found.send(Err(failure))),
                // .. and from an incomplete reply that the rest of one cannot be read.
                (Err(failure), None) => chunks.fail(io::Error::other(failure)),
                (Ok(()), _) => {}
            }
        });
        // If the task panicked, the sender is gone.
        let size = found.await.map_err(|error| ReadFailure::Io(io::Error::other(error)))??;
        Ok(FoundFile { size, bytes: into_stream(chunks) })
    }
}

/// Sends the size of the file at `path` to `found`, and its bytes to `chunks`.
fn send_file(
    archive: StoredArchive,
    path: &str,
    max: u64,
    found: &mut Option<oneshot::Sender<Result<u64, ReadFailure>>>,
    chunks: &mut ChunkWriter,
) -> Result<(), ReadFailure> {
    let is_found = Arc::new(AtomicBool::new(false));
    let reader = archive.into_reader().map_err(ReadFailure::Io)?;
    let until = Instant::now() + MAX_SEARCH_TIME;
    let mut archive = Archive::new(TimedReader { reader, until, is_unlimited: is_found.clone() });
    for entry in archive.entries().map_err(read_failure)? {
        let mut entry = entry.map_err(read_failure)?;
        if !entry.header().entry_type().is_file() || name(&entry) != path.as_bytes() {
            continue;
        }
        let size = entry.size();
        if size > max {
            return Err(ReadFailure::TooLarge(size));
        }
        is_found.store(true, Ordering::Relaxed);
        if let Some(found) = found.take()
            && found.send(Ok(size)).is_err()
        {
            return Ok(());
        }
        let copied = io::copy(&mut entry, chunks).and_then(|_| chunks.flush());
        return copied.map_err(ReadFailure::Io);
    }
    Err(ReadFailure::NoFile)
}

fn read_failure(error: io::Error) -> ReadFailure {
    if error.kind() == ErrorKind::TimedOut { ReadFailure::TimedOut } else { ReadFailure::Io(error) }
}

/// Returns the path of an entry without `./` before it.
fn name<R: Read>(entry: &Entry<'_, R>) -> Vec<u8> {
    let name = entry.path_bytes();
    name.strip_prefix(b"./").unwrap_or(&name).to_vec()
}

/// Returns one tar with the entries of all archives, each below its directory. `open` returns the next archive.
pub fn joined(
    mut open: impl FnMut() -> Option<io::Result<(String, StoredArchive)>> + Send + 'static,
    held: impl Send + 'static,
) -> ByteStream {
    let (sender, chunks) = mpsc::channel(MAX_QUEUED_CHUNKS);
    tokio::task::spawn_blocking(move || {
        let _held = held;
        let mut builder = Builder::new(ChunkWriter::new(sender));
        let mut join = || {
            while let Some(next) = open() {
                let (directory, archive) = next?;
                add_archive(&mut builder, &directory, archive)?;
            }
            builder.finish()?;
            builder.get_mut().flush()
        };
        if let Err(error) = join() {
            builder.get_mut().fail(error);
        }
    });
    into_stream(chunks)
}

fn add_archive(
    builder: &mut Builder<ChunkWriter>,
    directory: &str,
    archive: StoredArchive,
) -> io::Result<()> {
    let mut archive = Archive::new(archive.into_reader()?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let below = |path: &[u8]| format!("{directory}/{}", String::from_utf8_lossy(path));
        let path = below(&name(&entry));
        if path.split('/').any(|part| part == "..") {
            continue;
        }
        let mut header = entry.header().clone();
        let kind = header.entry_type();
        if kind.is_symlink() || kind.is_hard_link() {
            let target = entry.link_name_bytes().unwrap_or_default().into_owned();
            let target = if kind.is_hard_link() {
                below(&target)
            } else {
                String::from_utf8_lossy(&target).into_owned()
            };
            builder.append_link(&mut header, path, target)?;
        } else if kind.is_file() || kind.is_dir() {
            // A large file's size is in an extended header, which the entry takes into account.
            header.set_size(entry.size());
            builder.append_data(&mut header, path, &mut entry)?;
        }
    }
    Ok(())
}

fn into_stream(chunks: mpsc::Receiver<io::Result<Bytes>>) -> ByteStream {
    stream::unfold(chunks, |mut chunks| async { Some((chunks.recv().await?, chunks)) }).boxed()
}

/// A reader that fails when its time is over.
struct TimedReader<R> {
    reader: R,
    until: Instant,
    is_unlimited: Arc<AtomicBool>,
}

impl<R: Read> Read for TimedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if Instant::now() >= self.until && !self.is_unlimited.load(Ordering::Relaxed) {
            return Err(ErrorKind::TimedOut.into());
        }
        self.reader.read(buffer)
    }
}

/// Passes written bytes on in chunks; waits while the client is slower.
struct ChunkWriter {
    chunk: Vec<u8>,
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl ChunkWriter {
    fn new(sender: mpsc::Sender<io::Result<Bytes>>) -> Self {
        Self { chunk: Vec::with_capacity(CHUNK_SIZE), sender }
    }

    /// Ends the stream with an error, unless the client is gone.
    fn fail(&mut self, error: io::Error) {
        self.chunk.clear();
        drop(self.sender.blocking_send(Err(error)));
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK_SIZE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_SIZE)));
        self.sender.blocking_send(Ok(chunk)).map_err(|_| ErrorKind::BrokenPipe.into())
    }
}
