//! What must hold of any bytes that are unpacked as an artifact, read as a test report, or read of a commit; the fuzzers look for
//! some of which it does not.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a panic is how a fuzzer learns of a failure, and a place to unpack in has to be there"
)]

use crate::{
    artifact::pack::{Packer, globs},
    source::git::listing::{self, Paths, Records},
    test_reports::junit,
    workspace::{HostWorkspace, PermissionPolicy},
};
use std::{
    cell::Cell,
    fs,
    ops::ControlFlow,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};
use tidemill_core::{
    gitlab,
    pipeline::{MAX_FILES, assemble},
};
use tokio::sync::mpsc;

const BLOCK: usize = 512;
/// Bits of the first byte, which says what is done with the others.
const UNCHANGED: u8 = 1;
const USER_DOWNLOAD: u8 = 2;
const REPACKED: u8 = 4;

/// Unpacks `bytes` (after the first, which says how) beside a directory that must not change, and panics when it does, when
/// anything but files, directories and links was made, or when more was written than the tar has.
pub fn artifact(bytes: &[u8]) {
    let Some((how, bytes)) = bytes.split_first() else { return };
    let mut tar = bytes.to_vec();
    if how & UNCHANGED == 0 {
        give_checksums(&mut tar);
    }
    if how & REPACKED != 0 {
        let Some(repacked) = repacked(&tar) else { return };
        tar = repacked;
    }
    let keep =
        if how & USER_DOWNLOAD == 0 { PermissionPolicy::Everything } else { PermissionPolicy::Permissions };
    let sandbox = Sandbox::new();
    let place = sandbox.0.path().join("place");
    let laid = HostWorkspace::open(&place, false).map(|place| place.unpack(tar.as_slice(), keep));
    sandbox.is_as_it_was();
    let mut written = 0;
    look(&place, keep, &mut written);
    assert!(written <= tar.len() as u64, "{written} bytes were written for a tar of {}: {laid:?}", tar.len());
}

/// Reads `bytes` as a test report, and panics when a case has more than was there, or a mistake is elsewhere.
pub fn junit(bytes: &[u8]) {
    let mut cases = Vec::new();
    let mistakes = junit::read(bytes, |case| cases.push(case));
    // Each byte that is not UTF-8 becomes three.
    let most = bytes.len() * 3;
    for case in &cases {
        let names = [Some(&case.suite), Some(&case.name), case.file.as_ref(), Some(&case.message)];
        assert!(names.into_iter().flatten().all(|text| text.len() <= most), "{case:?}");
    }
    let lines = bytes.split(|byte| *byte == b'\n').count();
    assert!(
        mistakes.iter().all(|mistake| mistake.line <= lines && mistake.column <= most + 1),
        "{mistakes:?}"
    );
}

/// Reads `bytes` (after the first, which says in what pieces) as what git prints of a commit's trees and objects, and as its
/// pipeline files, cut at NULs: each includes the others by their numbers. Panics when pieces make a difference, when more is
/// kept than the limits allow, or when more files are read than may be.
pub fn discovery(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else { return };
    let size = usize::from(*size).max(1);
    let whole = records(bytes, bytes.len().max(1));
    assert_eq!(records(bytes, size), whole, "pieces of {size} bytes make a difference");
    let (max_count, max_bytes) = (size, size * 8);
    let mut paths = Paths::new(max_count, max_bytes);
    for piece in bytes.chunks(size) {
        if paths.push(piece).is_break() {
            break;
        }
    }
    if let Some(paths) = paths.all() {
        assert!(paths.len() <= max_count && paths.iter().map(String::len).sum::<usize>() <= max_bytes);
    }
    for record in &whole {
        if let Some(entry) = listing::entry(record) {
            assert!(!entry.path.is_empty() && record.ends_with(entry.path));
        }
        if let Some(object) = std::str::from_utf8(record).ok().and_then(listing::object) {
            assert!(object.hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
    }
    let files: Vec<&str> =
        bytes.split(|byte| *byte == 0).filter_map(|file| std::str::from_utf8(file).ok()).collect();
    let Some(first) = files.first() else { return };
    let reads = Cell::new(0_usize);
    let read = |path: &str| {
        reads.set(reads.get() + 1);
        let number = path.trim_end_matches(".yml").parse::<usize>().ok();
        let file = number.and_then(|number| files.get(number));
        file.map(|file| (*file).to_owned()).ok_or_else(|| format!("there is no file {path}"))
    };
    let _ = assemble("0.yml", first, &read);
    assert!(reads.get() < MAX_FILES, "{} files were read", reads.get());
    reads.set(0);
    let _ = gitlab::translate(".gitlab-ci.yml", first, &read, &gitlab::TranslateOptions::of("name"));
    assert!(reads.get() < MAX_FILES, "{} files were read", reads.get());
}

/// The records of `bytes` that come in pieces of `size`.
fn records(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
    let (mut records, mut found) = (Records::default(), Vec::new());
    for piece in bytes.chunks(size) {
        let flow = records.push(piece, &mut |record| {
            found.push(record.to_vec());
            ControlFlow::Continue(())
        });
        if flow.is_break() {
            break;
        }
    }
    found
}

/// A place to unpack in, with ways out of it, and a place that nothing must reach.
struct Sandbox(tempfile::TempDir);

impl Sandbox {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory can be made");
        let made = || {
            fs::create_dir(root.path().join("outside"))?;
            fs::write(root.path().join("outside/a"), "old")?;
            fs::create_dir_all(root.path().join("place/d"))?;
            symlink("../outside", root.path().join("place/out"))?;
            symlink("../outside/a", root.path().join("place/link"))?;
            symlink("d", root.path().join("place/near"))
        };
        made().expect("a sandbox can be made");
        Self(root)
    }

    fn is_as_it_was(&self) {
        let names = |path: &Path| {
            let entries = fs::read_dir(path).expect("the directory can be listed");
            entries
                .filter_map(|entry| Some(entry.ok()?.file_name()))
                .collect::<std::collections::BTreeSet<_>>()
        };
        let outside = self.0.path().join("outside");
        assert_eq!(names(self.0.path()).len(), 2, "something is beside the place");
        assert_eq!(names(&outside).len(), 1, "something is outside");
        let meta = fs::metadata(outside.join("a")).expect("what is outside is still there");
        assert_eq!(fs::read(outside.join("a")).expect("it can be read"), b"old");
        assert_eq!((meta.nlink(), meta.mode() & 0o7000), (1, 0), "what is outside was linked or changed");
    }
}

fn look(directory: &Path, keep: PermissionPolicy, written: &mut u64) {
    // The tar may have forbidden its directories to be read, or to be removed.
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let kind = meta.file_type();
        assert!(kind.is_file() || kind.is_dir() || kind.is_symlink(), "{} is a special file", path.display());
        if keep == PermissionPolicy::Permissions && !kind.is_symlink() {
            assert_eq!(meta.mode() & 0o7000, 0, "{} runs with other rights", path.display());
        }
        if kind.is_dir() {
            look(&path, keep, written);
        } else if kind.is_file() && meta.nlink() == 1 {
            *written += meta.len();
        }
    }
}

/// The tar as it comes from an engine, packed again as an artifact; `None` for one that cannot be read.
fn repacked(tar: &[u8]) -> Option<Vec<u8>> {
    let (sender, mut chunks) = mpsc::channel(16);
    let set = globs(&["**".to_owned()]).expect("this pattern is one");
    let mut packer = Packer::new(sender, None);
    packer.add_tar(tar, "", &set).ok()?;
    let packed = packer.finish().ok()?;
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.blocking_recv() {
        bytes.extend_from_slice(&chunk.ok()?);
    }
    assert_eq!(packed.size, bytes.len() as u64, "the size of an artifact is what was sent");
    let entries = ::tar::Archive::new(bytes.as_slice()).entries().ok()?.count();
    assert!(entries >= packed.files.len(), "{} files are listed of {entries}", packed.files.len());
    Some(bytes)
}

/// Gives each header the checksum that it should have, so that a fuzzer need not guess it.
fn give_checksums(tar: &mut [u8]) {
    let mut at = 0;
    while let Some(block) = tar.get_mut(at..at + BLOCK) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let mut header = ::tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        let size = header.entry_size().ok().and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        let blocks = size.min(tar.len()).div_ceil(BLOCK);
        at += BLOCK + blocks * BLOCK;
    }
}
