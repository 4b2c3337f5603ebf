//! The reply that an archive is read for: its reader takes turns with others, and stops when nobody reads the reply any more.

use crate::ports::ByteStream;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::{
    cell::RefCell,
    io::{self, ErrorKind, Read, Write},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    runtime::Handle,
    sync::{
        OwnedSemaphorePermit, Semaphore,
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::timeout,
};

/// Size of a chunk that is passed on.
pub const CHUNK_SIZE: usize = 64 << 10;
/// Maximum number of chunks that wait for a client.
const MAX_QUEUED_CHUNKS: usize = 4;
/// The longest that a client takes none of the waiting chunks.
const MAX_STALL: Duration = Duration::from_secs(60);
/// How long an archive is read before those that wait get their turn.
const TURN: Duration = Duration::from_millis(50);

/// The reading end of a reply.
pub struct ReplyBody {
    chunks: mpsc::Receiver<Bytes>,
    end: oneshot::Receiver<io::Result<()>>,
}

/// The writing end of a reply, for the thread that reads the archive.
pub struct ReplySender {
    chunks: mpsc::Sender<Bytes>,
    end: oneshot::Sender<io::Result<()>>,
}

/// Returns both ends of a reply.
pub fn reply() -> (ReplySender, ReplyBody) {
    let (sender, chunks) = mpsc::channel(MAX_QUEUED_CHUNKS);
    let (end_sender, end) = oneshot::channel();
    (ReplySender { chunks: sender, end: end_sender }, ReplyBody { chunks, end })
}

impl ReplySender {
    /// Runs `read` on this thread, which may block, and ends the reply with its result. At most as many archives are read at the same
    /// time as there are `turns`; one that waits for its client is none of them.
    pub fn run(
        self,
        turns: Arc<Semaphore>,
        runtime: Handle,
        read: impl FnOnce(&Rc<RefCell<Pace>>) -> io::Result<()>,
    ) {
        let Self { chunks, end } = self;
        let now = Instant::now();
        let pace = Pace { chunks, turns, held: None, turn_ends: now, runtime, until: None };
        // The client may be gone.
        drop(end.send(read(&Rc::new(RefCell::new(pace)))));
    }
}

impl ReplyBody {
    /// Returns the bytes. An archive that cannot be read to its end is an error of the stream, so that a client notices.
    pub fn into_stream(self) -> ByteStream {
        let next = |(mut chunks, end): (mpsc::Receiver<Bytes>, Option<oneshot::Receiver<_>>)| async move {
            if let Some(chunk) = chunks.recv().await {
                return Some((Ok(chunk), (chunks, end)));
            }
            // If the thread panicked, there is no end.
            let end = end?.await.unwrap_or_else(|error| Err(io::Error::other(error)));
            end.err().map(|error| (Err(error), (chunks, None)))
        };
        stream::unfold((self.chunks, Some(self.end)), next).boxed()
    }
}

/// When the reader of an archive may go on.
pub struct Pace {
    chunks: mpsc::Sender<Bytes>,
    turns: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
    turn_ends: Instant,
    runtime: Handle,
    until: Option<Instant>,
}

impl Pace {
    /// Sets, or removes, the time limit for reading.
    pub fn set_time_limit(&mut self, limit: Option<Duration>) {
        self.until = limit.map(|limit| Instant::now() + limit);
    }

    /// Waits for a turn; returns an error if the client is gone or the time is over. Waiting does not count.
    fn check(&mut self) -> io::Result<()> {
        if self.chunks.is_closed() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if self.until.is_some_and(|until| Instant::now() >= until) {
            return Err(ErrorKind::TimedOut.into());
        }
        if self.held.is_none() || Instant::now() >= self.turn_ends {
            self.held = None;
            let asked = Instant::now();
            // The semaphore is never closed.
            self.held = self.runtime.block_on(self.turns.clone().acquire_owned()).ok();
            self.until = self.until.map(|until| until + asked.elapsed());
            self.turn_ends = Instant::now() + TURN;
        }
        Ok(())
    }

    fn send(&mut self, chunk: Bytes) -> io::Result<()> {
        let chunk = match self.chunks.try_send(chunk) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return Err(ErrorKind::BrokenPipe.into()),
            Err(TrySendError::Full(chunk)) => chunk,
        };
        self.held = None;
        let chunks = &self.chunks;
        let sent = self.runtime.block_on(async { timeout(MAX_STALL, chunks.send(chunk)).await });
        match sent {
            Ok(sent) => sent.map_err(|_| ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::Error::new(ErrorKind::TimedOut, "the client does not read the reply")),
        }
    }
}

/// A reader that waits for its turns.
pub struct PacedReader<R> {
    pub reader: R,
    pub pace: Rc<RefCell<Pace>>,
}

impl<R: Read> Read for PacedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pace.borrow_mut().check()?;
        self.reader.read(buffer)
    }
}

/// Passes written bytes on in chunks; waits while the client is slower.
pub struct ChunkWriter {
    chunk: Vec<u8>,
    pace: Rc<RefCell<Pace>>,
}

impl ChunkWriter {
    pub fn new(pace: &Rc<RefCell<Pace>>) -> Self {
        Self { chunk: Vec::with_capacity(CHUNK_SIZE), pace: pace.clone() }
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
        self.pace.borrow_mut().send(chunk)
    }
}
