//! Decides whether the files on disk differ from a commit, as `git status` would: a file in another form, such as with other
//! line endings or with its content instead of a pointer of Git LFS, is unchanged. No filter of the user's machine runs.

use super::{
    super::git::{self, SourceError, lfs_pointer::Pointer, listing::Records, process::ProcessLimits},
    work_tree::WorkTreeFiles,
};
use sha2::{Digest, Sha256};
use std::{
    collections::{HashMap, HashSet},
    fs,
    ops::ControlFlow,
    os::unix::ffi::OsStrExt,
    path::Path,
};

/// Files larger than this that are not in LFS are compared by their bytes.
const MAX_TEXT: usize = 16 << 20;
/// The remembered comparisons of a repository: the hashes of two blobs, and whether they are the same file in two forms.
const COMPARISONS_FILE: &str = "tidemill-comparisons";

/// Returns whether `tree`, the files on disk, has changes to `head`, the tree of the commit. Repositories in it are not
/// compared, and neither are files in which git does not look for changes. With `ignores_modes`, a file that only became
/// executable, or no longer is, has not changed.
pub fn differs(
    repository: &Path,
    (head, tree): (&str, &str),
    files: &WorkTreeFiles,
    ignores_modes: bool,
) -> Result<bool, SourceError> {
    if head == tree {
        return Ok(false);
    }
    let (nested, hidden) = (&files.nested, &files.hidden);
    let hidden: HashSet<&[u8]> = hidden.skipped.iter().chain(&hidden.assumed).map(String::as_bytes).collect();
    let mut command = git::at(repository);
    command.args(["diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", head, tree]);
    let mut records = Records::default();
    let mut pairs: Vec<(String, String)> = Vec::new();
    // Each change is two records: its description and its path.
    let (mut description, mut is_changed) = (None::<Vec<u8>>, false);
    git::stream(&mut command, ProcessLimits::default(), &mut |bytes| {
        records.push(bytes, &mut |record| {
            let Some(change) = description.take() else {
                description = Some(record.to_vec());
                return ControlFlow::Continue(());
            };
            if hidden.contains(record) {
                return ControlFlow::Continue(());
            }
            let path = Path::new(std::ffi::OsStr::from_bytes(record));
            if nested.iter().any(|inner| inner.recorded.is_some() && path.starts_with(&inner.path)) {
                return ControlFlow::Continue(());
            }
            let text = String::from_utf8_lossy(&change).into_owned();
            let fields: Vec<&str> = text.trim_start_matches(':').split(' ').collect();
            match fields.as_slice() {
                [old_mode, new_mode, old, new, "M"]
                    if old_mode.starts_with("100")
                        && (old_mode == new_mode || (ignores_modes && new_mode.starts_with("100"))) =>
                {
                    if old != new {
                        pairs.push(((*old).to_owned(), (*new).to_owned()));
                    }
                    ControlFlow::Continue(())
                }
                _ => {
                    is_changed = true;
                    ControlFlow::Break(())
                }
            }
        })
    })?;
    if is_changed {
        return Ok(true);
    }
    any_differs(repository, &pairs)
}

fn any_differs(repository: &Path, pairs: &[(String, String)]) -> Result<bool, SourceError> {
    let path = repository.join(COMPARISONS_FILE);
    let remembered = fs::read_to_string(&path).unwrap_or_default();
    let known: HashMap<&str, bool> = remembered
        .lines()
        .filter_map(|line| line.rsplit_once(' ').map(|(pair, same)| (pair, same == "same")))
        .collect();
    // Only the current comparisons are kept, so that the file does not grow.
    let mut lines = String::new();
    let mut differs = false;
    for (old, new) in pairs {
        let pair = format!("{old} {new}");
        let same = match known.get(pair.as_str()) {
            Some(same) => *same,
            None => is_same_file(repository, old, new)?,
        };
        lines.extend([pair.as_str(), if same { " same\n" } else { " changed\n" }]);
        differs |= !same;
        if differs {
            break;
        }
    }
    if lines != remembered {
        // Without it, the files are only compared again.
        let _ = fs::write(&path, lines);
    }
    Ok(differs)
}

/// Whether the blob `disk` is the blob `committed` in the form that it has on disk.
fn is_same_file(repository: &Path, committed: &str, disk: &str) -> Result<bool, SourceError> {
    let old = blob(repository, committed)?;
    if let Some(pointer) = old.as_deref().and_then(Pointer::parse) {
        return Ok(content_hash(repository, disk)? == (pointer.hash, pointer.size));
    }
    let (Some(old), Some(new)) = (old, blob(repository, disk)?) else { return Ok(false) };
    Ok(without_carriage_returns(&old) == without_carriage_returns(&new))
}

/// Returns the content of a blob, or `None` if it is large.
fn blob(repository: &Path, hash: &str) -> Result<Option<Vec<u8>>, SourceError> {
    let mut bytes = Vec::new();
    let complete = read_blob(repository, hash, &mut |piece| {
        bytes.extend_from_slice(piece);
        if bytes.len() > MAX_TEXT { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(complete.then_some(bytes))
}

/// Returns the SHA-256 of a blob's content in hex, and its size.
fn content_hash(repository: &Path, hash: &str) -> Result<(String, u64), SourceError> {
    let (mut digest, mut size) = (Sha256::new(), 0);
    read_blob(repository, hash, &mut |piece| {
        digest.update(piece);
        size += piece.len() as u64;
        ControlFlow::Continue(())
    })?;
    Ok((data_encoding::HEXLOWER.encode(&digest.finalize()), size))
}

fn read_blob(
    repository: &Path,
    hash: &str,
    sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<bool, SourceError> {
    git::stream(git::at(repository).args(["cat-file", "blob", hash]), ProcessLimits::default(), sink)
}

fn without_carriage_returns(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for (at, byte) in text.iter().enumerate() {
        if *byte != b'\r' || text.get(at + 1) != Some(&b'\n') {
            out.push(*byte);
        }
    }
    out
}
