//! What a checkout will hold: its size within the limits, its submodules, and whether files are in Git LFS.

use super::super::{
    bounds::OperationBounds,
    error::SourceErrorKind,
    git::{
        self, SourceError,
        listing::{Records, parse_entry},
        process::ProcessLimits,
    },
};
use std::{ffi::OsStr, ops::ControlFlow, os::unix::ffi::OsStrExt, path::Path};

/// Assumed disk block size in bytes: a file occupies at least one block.
const DISK_BLOCK_SIZE: u64 = 4096;
/// Maximum size of an attributes file that is read.
const MAX_ATTRIBUTES: usize = 1 << 20;
/// Maximum number of records of changes (two for each changed file) with which a tree is changed into another one.
const MAX_CHANGES: usize = 4000;
/// Maximum number of submodules of one repository.
const MAX_SUBMODULES: usize = 500;

/// What a tree holds.
#[derive(Debug, Default)]
pub struct TreeContents {
    /// The approximate size of its files in bytes.
    pub bytes: u64,
    /// The submodules: path and commit.
    pub submodules: Vec<(String, String)>,
    /// Whether attributes name the filter of Git LFS.
    pub uses_lfs: bool,
    /// Whether there are attributes at all.
    pub has_attributes: bool,
}

/// Returns the paths of the entries of the tree `old` that differ in `new`, each followed by a NUL byte, if they are few, and if
/// none decides how others are checked out, as attributes and submodules do, or is in one of the directories `apart`.
pub fn small_change(
    objects: &Path,
    (old, new): (&str, &str),
    apart: &[&Path],
) -> Result<Option<Vec<u8>>, SourceError> {
    let mut paths = Vec::new();
    if old == new {
        return Ok(Some(paths));
    }
    let mut command = git::at(objects);
    command.args(["diff-tree", "-r", "-z", "--raw", "--no-renames", old, new]);
    let (mut records, mut count) = (Records::default(), 0);
    let is_small = git::stream(&mut command, ProcessLimits::default(), &mut |bytes| {
        records.push(bytes, &mut |record| {
            count += 1;
            let is_special = if record.starts_with(b":") {
                memchr::memmem::find(&record[..record.len().min(15)], b"160000").is_some()
            } else {
                paths.extend_from_slice(record);
                paths.push(0);
                let path = Path::new(OsStr::from_bytes(record));
                record.ends_with(b".gitattributes")
                    || record.ends_with(b".gitmodules")
                    || apart.iter().any(|directory| path.starts_with(directory))
            };
            if is_special || count > MAX_CHANGES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    })?;
    Ok(is_small.then_some(paths))
}

/// Returns what `tree` of the repository holds, or an error if its files exceed the limits of this worker.
pub fn measure(objects: &Path, tree: &str) -> Result<TreeContents, SourceError> {
    let limits = OperationBounds::current().limits;
    let mut contents = TreeContents::default();
    let mut attributes = Vec::new();
    let (mut records, mut files) = (Records::default(), 0_u64);
    let mut list = git::at(objects);
    list.args(["ls-tree", "-r", "-z", "-l", "--full-tree", tree]);
    let is_complete = git::stream(&mut list, ProcessLimits::default(), &mut |piece| {
        records.push(piece, &mut |record| {
            let Some(entry) = parse_entry(record) else { return ControlFlow::Break(()) };
            if record.starts_with(b"160000 ") {
                let commit = record.split(|byte| *byte == b' ').nth(2).unwrap_or_default();
                contents.submodules.push((
                    String::from_utf8_lossy(entry.path).into_owned(),
                    String::from_utf8_lossy(commit).into_owned(),
                ));
                return if contents.submodules.len() > MAX_SUBMODULES {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                };
            }
            if entry.is_file && (entry.path == b".gitattributes" || entry.path.ends_with(b"/.gitattributes"))
            {
                attributes.push(String::from_utf8_lossy(entry.path).into_owned());
            }
            files += 1;
            contents.bytes = contents.bytes.saturating_add(
                entry.size.unwrap_or(0).next_multiple_of(DISK_BLOCK_SIZE).max(DISK_BLOCK_SIZE),
            );
            if files > limits.checkout_files || contents.bytes > limits.checkout_bytes {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })
    })?;
    if !is_complete {
        let message = format!(
            "the commit has more than {} files, more than {} bytes of files or more than {MAX_SUBMODULES} submodules, the \
             limits of this worker; raise TIDEMILL_CHECKOUT_MAX_FILES or TIDEMILL_CHECKOUT_MAX_SIZE on the worker",
            limits.checkout_files, limits.checkout_bytes
        );
        return Err(SourceError::of(SourceErrorKind::TooLarge, message));
    }
    contents.has_attributes = !attributes.is_empty();
    for path in attributes {
        let mut text = Vec::new();
        git::stream(
            git::at(objects).args(["cat-file", "blob", &format!("{tree}:{path}")]),
            ProcessLimits::default(),
            &mut |piece| {
                text.extend_from_slice(piece);
                if text.len() > MAX_ATTRIBUTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        )?;
        if memchr::memmem::find(&text, b"filter=lfs").is_some() {
            contents.uses_lfs = true;
            break;
        }
    }
    Ok(contents)
}
