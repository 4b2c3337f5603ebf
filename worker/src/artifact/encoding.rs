//! Decodes stored artifacts.

use super::tar_writer::{BUFFER_SIZE, Chunks, MAX_QUEUED_CHUNKS};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::io::{self, Read};
use tidemill_core::api::ArtifactEncoding;
use tokio::sync::mpsc;
use tokio_util::io::{StreamReader, SyncIoBridge};

/// The message about an artifact of a newer version.
pub const UNKNOWN_ENCODING: &str =
    "it is stored in a way that this version does not know; use a newer version of Tidemill";

/// The largest window of a compressed tar, as a power of two: it is the memory that reading takes, and more than writers use.
const MAX_WINDOW_LOG: u32 = 23;

/// Returns a reader of the tar that is stored as `reader` in this encoding. A compressed tar has at most `unpacked_size` bytes;
/// the reader ends with an error after them, however much follows.
pub fn decoded<'a>(
    reader: impl Read + Send + 'a,
    encoding: ArtifactEncoding,
    unpacked_size: u64,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    match encoding {
        ArtifactEncoding::Identity => Ok(Box::new(reader)),
        ArtifactEncoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(reader)?;
            decoder.window_log_max(MAX_WINDOW_LOG)?;
            Ok(Box::new(Bounded { reader: decoder, remaining: unpacked_size }))
        }
        ArtifactEncoding::Unknown => Err(io::Error::other(UNKNOWN_ENCODING)),
    }
}

/// Decodes a stream like [`decoded`].
pub(super) fn decoded_stream(chunks: Chunks, encoding: ArtifactEncoding, unpacked_size: u64) -> Chunks {
    if encoding == ArtifactEncoding::Identity {
        return chunks;
    }
    let (sender, receiver) = mpsc::channel(MAX_QUEUED_CHUNKS);
    let stored = SyncIoBridge::new(StreamReader::new(chunks));
    tokio::task::spawn_blocking(move || {
        let decoding = decoded(stored, encoding, unpacked_size).and_then(|mut tar| {
            loop {
                let mut chunk = Vec::with_capacity(BUFFER_SIZE);
                let count = (&mut tar).take(BUFFER_SIZE as u64).read_to_end(&mut chunk)?;
                // The receiver is gone if the transfer failed.
                if count == 0 || sender.blocking_send(Ok(Bytes::from(chunk))).is_err() {
                    return Ok(());
                }
            }
        });
        if let Err(error) = decoding {
            let _ = sender.blocking_send(Err(error));
        }
    });
    stream::unfold(receiver, |mut chunks| async { Some((chunks.recv().await?, chunks)) }).boxed()
}

/// A reader that fails after a number of bytes.
struct Bounded<R> {
    reader: R,
    remaining: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.remaining = self
            .remaining
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::other("it is larger than its record says; store it again"))?;
        Ok(count)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{ArtifactEncoding, Bytes, StreamExt, decoded, decoded_stream, stream};
    use std::io::{self, Read};

    #[tokio::test(flavor = "multi_thread")]
    async fn compressed_tar_is_read_up_to_its_recorded_size() {
        let tar = vec![7; 1 << 20];
        let stored = zstd::bulk::compress(&tar, 1).unwrap();
        let read = |size| {
            let mut bytes = Vec::new();
            let mut reader = decoded(&stored[..], ArtifactEncoding::Zstd, size).unwrap();
            reader.read_to_end(&mut bytes).map(|_| bytes)
        };
        assert_eq!(read(1 << 20).unwrap(), tar);
        assert!(read((1 << 20) - 1).is_err(), "a bomb is not unpacked");
        assert!(decoded(&stored[..], ArtifactEncoding::Unknown, 0).is_err());
        let chunks = |size| {
            let parts: Vec<_> = stored.chunks(10).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
            decoded_stream(stream::iter(parts).boxed(), ArtifactEncoding::Zstd, size)
        };
        let all: Vec<io::Result<Bytes>> = chunks(1 << 20).collect().await;
        let all: Vec<u8> = all.into_iter().flat_map(|part| part.unwrap().to_vec()).collect();
        assert_eq!(all, tar);
        assert!(chunks(100).any(async |part| part.is_err()).await);
    }
}
