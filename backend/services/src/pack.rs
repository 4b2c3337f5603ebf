//! Compressed JSON, the stored form of large values: it bounds what a request stores, and DynamoDB bills writes by the KiB.
//!
//! The first byte names the encoding. A reader supports the encodings of all earlier versions.

use crate::error::{Error, Result};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, Read};

/// Uncompressed.
const PLAIN: u8 = 0;
/// zstd without a dictionary.
const ZSTD: u8 = 1;
/// zstd with the first dictionary.
const ZSTD_DICTIONARY_1: u8 = 2;

/// Sample of records. It is part of the stored format: never change it; add another encoding instead.
const DICTIONARY_1: &[u8] = include_bytes!("dictionary-1.json");

/// Maximum size of a decompressed value, in bytes; larger than any item.
const MAX_UNPACKED_SIZE: u64 = 64 << 20;
const COMPRESSION_LEVEL: i32 = 3;

/// Encodes `value` as JSON and compresses it if that makes it smaller.
pub fn pack<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let text =
        serde_json::to_vec(value).map_err(|error| Error::storage("writing a record as JSON", error))?;
    let failed = |error: io::Error| Error::storage("compressing a record", error);
    let mut small = zstd::bulk::Compressor::with_dictionary(COMPRESSION_LEVEL, DICTIONARY_1)
        .and_then(|mut compressor| compressor.compress(&text))
        .map_err(failed)?;
    let encoding = if small.len() < text.len() { ZSTD_DICTIONARY_1 } else { PLAIN };
    let mut packed = if encoding == PLAIN { text } else { std::mem::take(&mut small) };
    packed.insert(0, encoding);
    Ok(packed)
}

/// Compresses `bytes` without a dictionary, for large values and logs.
pub fn pack_bytes(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut packed = vec![ZSTD];
    let mut stream = zstd::stream::read::Encoder::new(bytes, COMPRESSION_LEVEL)
        .map_err(|error| Error::storage("compressing bytes", error))?;
    stream.read_to_end(&mut packed).map_err(|error| Error::storage("compressing bytes", error))?;
    Ok(packed)
}

/// Decompresses bytes. Returns an error if they are damaged, too large, or in an unknown encoding.
pub fn unpack_bytes(packed: &[u8]) -> Result<Vec<u8>> {
    let damaged = |error: io::Error| Error::storage("decompressing a stored value", error);
    let unknown = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the encoding is unknown; a newer version of Tidemill wrote it",
        )
    };
    let (encoding, rest) =
        packed.split_first().ok_or_else(|| damaged(io::ErrorKind::UnexpectedEof.into()))?;
    let mut bytes = Vec::new();
    match *encoding {
        PLAIN => bytes.extend_from_slice(rest),
        ZSTD => {
            let decoder = zstd::stream::read::Decoder::new(rest).map_err(damaged)?;
            decoder.take(MAX_UNPACKED_SIZE + 1).read_to_end(&mut bytes).map_err(damaged)?;
        }
        ZSTD_DICTIONARY_1 => {
            let decoder =
                zstd::stream::read::Decoder::with_dictionary(rest, DICTIONARY_1).map_err(damaged)?;
            decoder.take(MAX_UNPACKED_SIZE + 1).read_to_end(&mut bytes).map_err(damaged)?;
        }
        _ => return Err(damaged(unknown())),
    }
    if bytes.len() as u64 > MAX_UNPACKED_SIZE {
        let message = format!("it decompresses to more than {MAX_UNPACKED_SIZE} bytes");
        return Err(damaged(io::Error::new(io::ErrorKind::InvalidData, message)));
    }
    Ok(bytes)
}

/// Decompresses and decodes a value.
pub fn unpack<T: DeserializeOwned>(packed: &[u8]) -> Result<T> {
    serde_json::from_slice(&unpack_bytes(packed)?)
        .map_err(|error| Error::storage("reading a record's JSON", error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{MAX_UNPACKED_SIZE, ZSTD, pack, pack_bytes, unpack, unpack_bytes};

    #[test]
    fn pack_round_trips() {
        for text in ["", "x", &"state".repeat(100), &"\u{1F30A}".repeat(30_000)] {
            let packed = pack(&text).unwrap();
            assert!(packed.len() <= text.len() + 3);
            assert_eq!(unpack::<String>(&packed).unwrap(), *text);
            assert_eq!(unpack_bytes(&pack_bytes(text.as_bytes()).unwrap()).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn decompression_bomb_returns_error() {
        let bomb =
            zstd::encode_all(std::io::Read::take(std::io::repeat(0), MAX_UNPACKED_SIZE + 1), 1).unwrap();
        assert!(unpack_bytes(&[&[ZSTD], bomb.as_slice()].concat()).is_err());
    }

    #[test]
    fn unreadable_value_returns_error() {
        for damaged in [&[][..], &[9, 1], &[1, 2, 3], &[2, 0x28, 0xb5, 0x2f, 0xfd], b"\0{"] {
            assert!(unpack::<u32>(damaged).is_err(), "{damaged:?}");
        }
    }
}
