//! Log bytes of reports.

use crate::error::{Error, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::read::MultiGzDecoder;
use std::io::Read;
use tidemill_core::api::{LogBytes, LogContent};

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
    let decode =
        |text: &String| STANDARD.decode(text).map_err(|error| invalid(&format!("is not base64: {error}")));
    // One byte more shows that there are too many.
    let limit = u64::from(log.length) + 1;
    let mut bytes = Vec::new();
    match &log.content {
        LogContent::Zstd(text) => {
            let packed = decode(text)?;
            zstd::stream::read::Decoder::new(packed.as_slice())
                .and_then(|mut decoder| {
                    decoder.window_log_max(MAX_WINDOW_LOG)?;
                    decoder.take(limit).read_to_end(&mut bytes)
                })
                .map_err(|error| invalid(&format!("is not zstd: {error}")))?;
        }
        LogContent::Gzip(text) => {
            let packed = decode(text)?;
            MultiGzDecoder::new(packed.as_slice())
                .take(limit)
                .read_to_end(&mut bytes)
                .map_err(|error| invalid(&format!("is not gzip: {error}")))?;
        }
        LogContent::Plain(text) => bytes = decode(text)?,
        LogContent::Text(text) => bytes = text.clone().into_bytes(),
    }
    if bytes.len() != log.length as usize {
        return Err(invalid(&format!("does not have the {} bytes that the report names", log.length)));
    }
    Ok((log.offset, bytes))
}

/// Encodes the beginning of a log for a report.
pub fn pack(text: &str) -> Result<LogBytes> {
    let packed = zstd::bulk::compress(text.as_bytes(), 1)
        .map_err(|error| Error::storage("compressing a log", error))?;
    let length = u32::try_from(text.len()).map_err(|error| Error::storage("compressing a log", error))?;
    Ok(LogBytes { offset: 0, length, content: LogContent::Zstd(STANDARD.encode(packed)), marks: Vec::new() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{LogBytes, LogContent, MAX_LOG_BYTES, STANDARD, pack, unpack};
    use base64::Engine as _;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write as _;

    fn log(packed: &[u8], length: u32) -> LogBytes {
        LogBytes { offset: 7, length, content: LogContent::Zstd(STANDARD.encode(packed)), marks: Vec::new() }
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
        for content in
            [LogContent::Zstd("%".into()), LogContent::Gzip("%".into()), LogContent::Plain("%".into())]
        {
            assert!(unpack(&LogBytes { offset: 0, length: 1, content, marks: Vec::new() }).is_err());
        }
        let bomb = zstd::encode_all(&vec![0; 64 << 20][..], 19).unwrap();
        assert!(bomb.len() < 16 << 10 && unpack(&log(&bomb, MAX_LOG_BYTES)).is_err());
    }

    fn gzipped(bytes: &[u8]) -> String {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        STANDARD.encode(encoder.finish().unwrap())
    }

    #[test]
    fn log_is_accepted_plain_and_compressed() {
        let text = "grüße\n";
        let packed = zstd::encode_all(text.as_bytes(), 1).unwrap();
        for content in [
            LogContent::Zstd(STANDARD.encode(packed)),
            LogContent::Gzip(gzipped(text.as_bytes())),
            LogContent::Plain(STANDARD.encode(text)),
            LogContent::Text(text.into()),
        ] {
            let log = LogBytes { offset: 3, length: 8, content, marks: Vec::new() };
            assert_eq!(unpack(&log).unwrap(), (3, text.as_bytes().to_vec()), "{log:?}");
            let json = serde_json::to_string(&log).unwrap();
            assert_eq!(serde_json::from_str::<LogBytes>(&json).unwrap(), log, "{json}");
            assert!(unpack(&LogBytes { length: 7, ..log.clone() }).is_err(), "it has more bytes");
            assert!(unpack(&LogBytes { length: 9, ..log }).is_err(), "it has fewer bytes");
        }
    }

    #[test]
    fn gzip_log_is_bounded_by_its_length() {
        let bomb = gzipped(&vec![0; 32 << 20]);
        assert!(bomb.len() < 64 << 10);
        let log = LogBytes { offset: 0, length: 1, content: LogContent::Gzip(bomb), marks: Vec::new() };
        assert!(unpack(&log).is_err());
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
