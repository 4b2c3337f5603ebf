//! Fuzz targets: properties that hold for any bytes unpacked as an artifact, parsed as a test report, or read from a commit.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a panic reports a failure to the fuzzer, and the sandbox must exist"
)]

use crate::{
    artifact::{Matcher, Selection, pack::Packer},
    source::git::listing::{self, Paths, Records},
    test_reports::junit,
    workspace::{FileOwner, HostWorkspace, PermissionPolicy},
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
    pipeline::{FileError, MAX_FILES, assemble},
};
use tokio::sync::mpsc;

const BLOCK: usize = 512;
/// Flags in the first byte, which select how the others are processed.
const UNCHANGED: u8 = 1;
const USER_DOWNLOAD: u8 = 2;
const REPACKED: u8 = 4;

/// Unpacks `bytes` (after the first, which contains flags) next to a directory that must not change. Panics if that changes, if
/// anything but files, directories and links is created, or if more bytes are written than the tar has.
pub fn artifact(bytes: &[u8]) {
    let Some((flags, bytes)) = bytes.split_first() else { return };
    let mut tar = bytes.to_vec();
    if flags & UNCHANGED == 0 {
        set_checksums(&mut tar);
    }
    if flags & REPACKED != 0 {
        let Some(repacked) = repacked(&tar) else { return };
        tar = repacked;
    }
    let policy = if flags & USER_DOWNLOAD == 0 {
        PermissionPolicy::Owned(FileOwner::Worker)
    } else {
        PermissionPolicy::Permissions
    };
    let sandbox = Sandbox::new();
    let workspace = sandbox.0.path().join("workspace");
    let unpacked =
        HostWorkspace::open(&workspace, false).map(|workspace| workspace.unpack(tar.as_slice(), policy));
    sandbox.assert_unchanged();
    let mut written = 0;
    check_unpacked(&workspace, policy, &mut written);
    assert!(
        written <= tar.len() as u64,
        "{written} bytes were written for a tar of {}: {unpacked:?}",
        tar.len()
    );
}

/// Parses `bytes` as a test report. Panics if a case has more text than the input, or an error is located outside of it.
pub fn junit(bytes: &[u8]) {
    let mut cases = Vec::new();
    let errors = junit::parse(bytes, |case| cases.push(case));
    // Each byte that is not UTF-8 becomes three bytes.
    let max_len = bytes.len() * 3;
    for case in &cases {
        let names = [Some(&case.suite), Some(&case.name), case.file.as_ref(), Some(&case.message)];
        assert!(names.into_iter().flatten().all(|text| text.len() <= max_len), "{case:?}");
    }
    let lines = bytes.split(|byte| *byte == b'\n').count();
    assert!(errors.iter().all(|error| error.line <= lines && error.column <= max_len + 1), "{errors:?}");
}

/// Parses `bytes` (after the first, which is the size of the chunks) as git's listings of a commit's trees and objects, and as
/// its pipeline files, separated by NULs, which include each other by their numbers. Panics if the chunk size changes the result,
/// or if more is stored or more files are read than the limits allow.
pub fn discovery(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else { return };
    let size = usize::from(*size).max(1);
    let whole = records(bytes, bytes.len().max(1));
    assert_eq!(records(bytes, size), whole, "chunks of {size} bytes change the result");
    let (max_count, max_bytes) = (size, size * 8);
    let mut paths = Paths::new(max_count, max_bytes);
    for chunk in bytes.chunks(size) {
        if paths.push(chunk).is_break() {
            break;
        }
    }
    if let Some(paths) = paths.into_paths() {
        assert!(paths.len() <= max_count && paths.iter().map(String::len).sum::<usize>() <= max_bytes);
    }
    for record in &whole {
        if let Some(entry) = listing::parse_entry(record) {
            assert!(!entry.path.is_empty() && record.ends_with(entry.path));
        }
        if let Some(object) = std::str::from_utf8(record).ok().and_then(listing::parse_object_header) {
            assert!(object.hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
    }
    let files: Vec<&str> =
        bytes.split(|byte| *byte == 0).filter_map(|file| std::str::from_utf8(file).ok()).collect();
    let Some(first) = files.first() else { return };
    let reads = Cell::new(0_usize);
    let read = |path: &str| {
        reads.set(reads.get() + 1);
        let index = path.trim_end_matches(".yml").parse::<usize>().ok();
        let file = index.and_then(|index| files.get(index));
        file.map(|file| (*file).to_owned()).ok_or(FileError::Missing)
    };
    let _ = assemble("0.yml", first, &read);
    assert!(reads.get() < MAX_FILES, "{} files were read", reads.get());
    reads.set(0);
    let _ =
        gitlab::translate(".gitlab-ci.yml", first, &read, &gitlab::TranslateOptions::for_pipeline("name"));
    assert!(reads.get() <= gitlab::MAX_INCLUDES, "{} files were read", reads.get());
}

/// Parses the records of `bytes` in chunks of `size`.
fn records(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
    let (mut records, mut parsed) = (Records::default(), Vec::new());
    for chunk in bytes.chunks(size) {
        let flow = records.push(chunk, &mut |record| {
            parsed.push(record.to_vec());
            ControlFlow::Continue(())
        });
        if flow.is_break() {
            break;
        }
    }
    parsed
}

/// A directory to unpack in, with links out of it, and a directory that must not be reached.
struct Sandbox(tempfile::TempDir);

impl Sandbox {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory is created");
        let create = || {
            fs::create_dir(root.path().join("outside"))?;
            fs::write(root.path().join("outside/a"), "old")?;
            fs::create_dir_all(root.path().join("workspace/d"))?;
            symlink("../outside", root.path().join("workspace/out"))?;
            symlink("../outside/a", root.path().join("workspace/link"))?;
            symlink("d", root.path().join("workspace/near"))
        };
        create().expect("the sandbox is created");
        Self(root)
    }

    fn assert_unchanged(&self) {
        let names = |path: &Path| {
            let entries = fs::read_dir(path).expect("the directory is readable");
            entries
                .filter_map(|entry| Some(entry.ok()?.file_name()))
                .collect::<std::collections::BTreeSet<_>>()
        };
        let outside = self.0.path().join("outside");
        assert_eq!(names(self.0.path()).len(), 2, "something was created next to the workspace");
        assert_eq!(names(&outside).len(), 1, "something was created outside");
        let meta = fs::metadata(outside.join("a")).expect("the file outside exists");
        assert_eq!(fs::read(outside.join("a")).expect("the file outside is readable"), b"old");
        assert_eq!((meta.nlink(), meta.mode() & 0o7000), (1, 0), "the file outside was linked or changed");
    }
}

fn check_unpacked(directory: &Path, policy: PermissionPolicy, written: &mut u64) {
    // The tar may contain directories that cannot be read or removed.
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let kind = meta.file_type();
        assert!(kind.is_file() || kind.is_dir() || kind.is_symlink(), "{} is a special file", path.display());
        if policy == PermissionPolicy::Permissions && !kind.is_symlink() {
            assert_eq!(meta.mode() & 0o7000, 0, "{} has setuid, setgid or sticky bits", path.display());
        }
        if kind.is_dir() {
            check_unpacked(&path, policy, written);
        } else if kind.is_file() && meta.nlink() == 1 {
            *written += meta.len();
        }
    }
}

/// Packs a tar of an engine again as an artifact; `None` if the tar is invalid.
fn repacked(tar: &[u8]) -> Option<Vec<u8>> {
    let (sender, mut chunks) = mpsc::channel(16);
    let matcher = Matcher::of_paths(&Selection::from(&["**".to_owned()][..])).expect("the pattern is valid");
    let mut packer = Packer::new(sender, None);
    packer.add_tar(tar, "", &matcher).ok()?;
    let packed = packer.finish().ok()?;
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.blocking_recv() {
        bytes.extend_from_slice(&chunk.ok()?);
    }
    assert_eq!(packed.sent.size, bytes.len() as u64, "the size of the artifact differs from the bytes sent");
    let entries = ::tar::Archive::new(bytes.as_slice()).entries().ok()?.count();
    assert!(
        entries >= packed.files.len(),
        "{} files are listed, but the tar has {entries} entries",
        packed.files.len()
    );
    Some(bytes)
}

/// Sets the correct checksum of each header, so that the fuzzer need not guess it.
fn set_checksums(tar: &mut [u8]) {
    let mut offset = 0;
    while let Some(block) = tar.get_mut(offset..offset + BLOCK) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let mut header = ::tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        let size = header.entry_size().ok().and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        let blocks = size.min(tar.len()).div_ceil(BLOCK);
        offset += BLOCK + blocks * BLOCK;
    }
}
