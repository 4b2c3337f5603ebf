//! Sends a tar in chunks, compressed where that helps.

use crate::policy::SizeLimitExceeded;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::stream::BoxStream;
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use tempfile::NamedTempFile;
use tidemill_core::api::ArtifactEncoding;
use tokio::sync::mpsc;

/// Chunk size of a tar in bytes.
pub const BUFFER_SIZE: usize = 256 * 1024;
/// A tar of fewer bytes is not compressed.
const MIN_COMPRESSED_SIZE: usize = 16 * 1024;
/// The level of compression: a tar is packed faster than it is stored.
const ZSTD_LEVEL: i32 = 1;

/// Maximum number of unsent chunks of a tar.
pub const MAX_QUEUED_CHUNKS: usize = 16;

/// The chunks of a stored tar.
pub type Chunks = BoxStream<'static, io::Result<Bytes>>;

/// Sends the written bytes in chunks, and hashes them.
struct ChunkWriter {
    chunk: Vec<u8>,
    sender: mpsc::Sender<io::Result<Bytes>>,
    spool: Option<NamedTempFile>,
    hash: Sha256,
    size: u64,
}

/// Passes a tar on, compressed where that helps: if its beginning becomes smaller by a tenth.
pub struct TarWriter {
    encoder: TarEncoder,
    size: u64,
    max: u64,
}

enum TarEncoder {
    /// The beginning of the tar, until it is known whether it is compressed.
    Undecided(Vec<u8>, ChunkWriter),
    Plain(ChunkWriter),
    Compressed(Box<zstd::stream::write::Encoder<'static, ChunkWriter>>),
    /// An earlier write failed.
    Failed,
}

impl ChunkWriter {
    fn send(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::replace(&mut self.chunk, Vec::with_capacity(BUFFER_SIZE)));
        self.hash.update(&chunk);
        self.size += chunk.len() as u64;
        if let Some(spool) = &mut self.spool {
            spool.write_all(&chunk)?;
        }
        self.sender.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= BUFFER_SIZE {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TarEncoder {
    fn decide(beginning: &[u8], mut writer: ChunkWriter) -> io::Result<Self> {
        let helps = beginning.len() >= MIN_COMPRESSED_SIZE
            && zstd::bulk::compress(beginning, ZSTD_LEVEL)?.len() < beginning.len() / 10 * 9;
        if !helps {
            writer.write_all(beginning)?;
            return Ok(Self::Plain(writer));
        }
        let mut encoder = zstd::stream::write::Encoder::new(writer, ZSTD_LEVEL)?;
        encoder.write_all(beginning)?;
        Ok(Self::Compressed(Box::new(encoder)))
    }

    fn finish(self) -> io::Result<(ChunkWriter, ArtifactEncoding)> {
        match self {
            Self::Undecided(beginning, writer) => Self::decide(&beginning, writer)?.finish(),
            Self::Plain(writer) => Ok((writer, ArtifactEncoding::Identity)),
            Self::Compressed(encoder) => Ok((encoder.finish()?, ArtifactEncoding::Zstd)),
            Self::Failed => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// What was sent of a finished tar.
pub struct SentTar {
    /// Number of bytes that were sent.
    pub size: u64,
    /// Their SHA-256 in hex.
    pub sha256: String,
    /// A copy of them, if requested.
    pub spool: Option<NamedTempFile>,
    /// How the tar was sent.
    pub encoding: ArtifactEncoding,
    /// The tar's size in bytes.
    pub unpacked_size: u64,
}

impl TarWriter {
    /// Creates a writer that sends to `sender` and copies what it sends to `spool`. It blocks.
    pub fn new(sender: mpsc::Sender<io::Result<Bytes>>, spool: Option<NamedTempFile>) -> Self {
        let chunk = Vec::with_capacity(BUFFER_SIZE);
        let writer = ChunkWriter { chunk, sender, spool, hash: Sha256::new(), size: 0 };
        Self { encoder: TarEncoder::Plain(writer), size: 0, max: u64::MAX }
    }

    /// Limits the size of the tar to `max` bytes.
    pub fn set_max_size(&mut self, max: u64) {
        self.max = max;
    }

    /// Compresses the tar where that helps. To be called before anything is written.
    pub fn enable_compression(&mut self) {
        if let TarEncoder::Plain(writer) = std::mem::replace(&mut self.encoder, TarEncoder::Failed) {
            self.encoder = TarEncoder::Undecided(Vec::new(), writer);
        }
    }

    /// Sends the rest.
    pub fn finish(self) -> io::Result<SentTar> {
        let (mut writer, encoding) = self.encoder.finish()?;
        writer.send()?;
        let ChunkWriter { hash, size, spool, .. } = writer;
        let sha256 = HEXLOWER.encode(&hash.finalize());
        Ok(SentTar { size, sha256, spool, encoding, unpacked_size: self.size })
    }
}

impl Write for TarWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.size += bytes.len() as u64;
        if self.size > self.max {
            return Err(SizeLimitExceeded { max: self.max }.into());
        }
        match &mut self.encoder {
            TarEncoder::Undecided(beginning, _) => {
                beginning.extend_from_slice(bytes);
                if beginning.len() >= BUFFER_SIZE
                    && let TarEncoder::Undecided(beginning, writer) =
                        std::mem::replace(&mut self.encoder, TarEncoder::Failed)
                {
                    self.encoder = TarEncoder::decide(&beginning, writer)?;
                }
            }
            TarEncoder::Plain(writer) => writer.write_all(bytes)?,
            TarEncoder::Compressed(encoder) => encoder.write_all(bytes)?,
            TarEncoder::Failed => return Err(io::ErrorKind::BrokenPipe.into()),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
