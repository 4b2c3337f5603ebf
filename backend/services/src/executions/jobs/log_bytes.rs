//! Log bytes of reports.

use crate::error::{Error, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::io::Read;
use tidemill_core::api::LogBytes;

/// Maximum number of log bytes of one report, decompressed.
const MAX_LOG_BYTES: u32 = 8 << 20;
/// log2 of the maximum decompression window, which equals the maximum size. Otherwise a few bytes could make the server allocate
/// 128 MiB.
const MAX_WINDOW_LOG: u32 = 23;

/// Decodes the log of a report, and returns its offset and bytes.
pub fn unpack(log: &LogBytes) -> Result<(u64, Vec<u8>)> {
    let invalid = |what: &str| Error::Invalid(format!("the report's log {what}"));
    if log.length > MAX_LOG_BYTES {
        return Err(invalid(&format!("has {} bytes; a report carries at most {MAX_LOG_BYTES}", log.length)));
    }
    let packed =
        STANDARD.decode(&log.zstd_base64).map_err(|error| invalid(&format!("is not base64: {error}")))?;
    let mut bytes = Vec::new();
    zstd::stream::read::Decoder::new(packed.as_slice())
        .and_then(|mut decoder| {
            decoder.window_log_max(MAX_WINDOW_LOG)?;
            decoder.take(u64::from(log.length) + 1).read_to_end(&mut bytes)
        })
        .map_err(|error| invalid(&format!("is not zstd: {error}")))?;
    if bytes.len() != log.length as usize {
        return Err(invalid(&format!(
            "does not decompress to the {} bytes that the report names",
            log.length
        )));
    }
    Ok((log.offset, bytes))
}

/// Encodes the beginning of a log for a report.
pub fn pack(text: &str) -> Result<LogBytes> {
    let packed = zstd::bulk::compress(text.as_bytes(), 1)
        .map_err(|error| Error::storage("compressing a log", error))?;
    let length = u32::try_from(text.len()).map_err(|error| Error::storage("compressing a log", error))?;
    Ok(LogBytes { offset: 0, length, zstd_base64: STANDARD.encode(packed), marks: Vec::new() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{LogBytes, MAX_LOG_BYTES, STANDARD, pack, unpack};
    use base64::Engine as _;

    fn log(packed: &[u8], length: u32) -> LogBytes {
        LogBytes { offset: 7, length, zstd_base64: STANDARD.encode(packed), marks: Vec::new() }
    }

    #[test]
    fn packed_log_is_unpacked() {
        assert_eq!(unpack(&pack("why\n").unwrap()).unwrap(), (0, b"why\n".to_vec()));
    }

    #[test]
    fn log_with_other_length_or_damage_is_rejected() {
        let packed = zstd::encode_all(&[b'x'; 1000][..], 1).unwrap();
        assert_eq!(unpack(&log(&packed, 1000)).unwrap(), (7, vec![b'x'; 1000]));
        for (packed, length) in [
            (packed.as_slice(), 999),
            (&packed, 1001),
            (&packed, MAX_LOG_BYTES + 1),
            (&packed[..packed.len() - 1], 1000),
            (b"no zstd", 7),
            (b"", 1),
        ] {
            assert!(unpack(&log(packed, length)).is_err(), "{length} of {packed:?}");
        }
        assert!(
            unpack(&LogBytes { offset: 0, length: 1, zstd_base64: "%".into(), marks: Vec::new() }).is_err()
        );
        let bomb = zstd::encode_all(&vec![0; 64 << 20][..], 19).unwrap();
        assert!(bomb.len() < 16 << 10 && unpack(&log(&bomb, MAX_LOG_BYTES)).is_err());
    }

    #[test]
    fn log_with_large_window_is_rejected() {
        // A frame's header alone: its window is 128 MiB. An empty last block follows.
        let header = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x00];
        assert_eq!(zstd::decode_all(&header[..]).unwrap(), b"", "the frame is valid");
        assert!(unpack(&log(&header, 0)).is_err());
        let largest = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3, 0x01, 0x00, 0x00];
        assert_eq!(unpack(&log(&largest, 0)).unwrap().1, b"");
    }
}
