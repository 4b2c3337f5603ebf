//! Fuzzes the parsing of reported and stored logs.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tidemill_core::{
    api::{LogBytes, LogContent},
    ids::{ExecutionId, JobId},
};
use tidemill_services::pack::unpack_bytes;
use tidemill_services::ports::Logs;
use tidemill_services::unpack_log;
use tidemill_sqlite::FileLogs;
use uuid::Uuid;

/// Maximum size of an unpacked stored value.
const MAX_STORED_SIZE: usize = 64 << 20;
/// Maximum length of an append or a read of a stored log.
const MAX_PART_LEN: usize = 64;

/// Parses `bytes` as a reported or a stored log; the first byte selects which. Panics if a log unpacks to another length than
/// it declares, or if a stored log does not return each byte once.
pub fn log(bytes: &[u8]) {
    let Some((mode, rest)) = bytes.split_first() else { return };
    match mode % 4 {
        0 => report(rest, true),
        1 => report(rest, false),
        2 => {
            if let Ok(unpacked) = unpack_bytes(rest) {
                assert!(unpacked.len() <= MAX_STORED_SIZE);
            }
        }
        _ => stored(rest),
    }
}

/// Checks a report's log: its length, and then compressed data or the text that should be its base64 form.
fn report(bytes: &[u8], encode: bool) {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return };
    let length = u32::from_le_bytes(*length);
    let text = String::from_utf8_lossy(rest);
    let packed = if encode { STANDARD.encode(rest) } else { text.into_owned() };
    for content in
        [LogContent::Zstd(packed.clone()), LogContent::Gzip(packed.clone()), LogContent::Plain(packed)]
    {
        let log = LogBytes { offset: u64::from(length), length, content, marks: Vec::new() };
        if let Ok((offset, unpacked)) = unpack_log(&log) {
            assert_eq!((offset, unpacked.len()), (u64::from(length), length as usize));
        }
    }
}

/// Checks a stored log against a list of bytes; three input bytes encode one operation.
fn stored(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut logs = FileLogs::open(directory.path()).unwrap();
    let job = JobId::of(ExecutionId(Uuid::nil()), 1);
    let mut model: Vec<u8> = Vec::new();
    for step in bytes.chunks_exact(3).take(64) {
        let (at, length) = (usize::from(step[1]) * 4, usize::from(step[2]) % MAX_PART_LEN);
        match step[0] % 4 {
            0 | 1 => {
                // A repeated append has the same bytes as the first one, as from a worker.
                let part: Vec<u8> =
                    (at..at + length).map(|position| u8::try_from(position % 251).unwrap()).collect();
                let stored = runtime.block_on(logs.append(job, 1, at as u64, &part));
                assert_eq!(stored.is_ok(), at <= model.len(), "only a gap is an error");
                if let Ok(stored) = stored {
                    model.extend(part.iter().skip(model.len() - at));
                    assert_eq!(stored, model.len() as u64);
                }
            }
            2 => {
                let (part, end) = runtime.block_on(logs.read(job, 1, at as u64, length)).unwrap();
                assert_eq!(end, model.len() as u64);
                assert_eq!(part, model.iter().skip(at).take(length).copied().collect::<Vec<u8>>());
            }
            _ => logs = FileLogs::open(directory.path()).unwrap(),
        }
    }
    let far = u64::MAX - bytes.len() as u64;
    assert!(runtime.block_on(logs.append(job, 1, far, b"x")).is_err());
    assert!(runtime.block_on(logs.read(job, 1, far, usize::MAX)).unwrap().0.is_empty());
}
