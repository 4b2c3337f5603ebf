//! The files of a working tree that differ from a commit, as conditions on changes see them. No filter that git is set up with runs
//! for Git LFS: its program may be missing, and git would then list nothing.

use super::super::{
    git::{
        self, SourceError,
        lfs_files::lfs_files,
        lfs_pointer::{MAX_POINTER, Pointer},
        listing::Records,
        process::ProcessLimits,
    },
    local,
};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    ops::ControlFlow,
    path::Path,
    process::Command,
};

/// Settings that make git compare files of Git LFS as they are on disk.
const WITHOUT_LFS: [&str; 6] =
    ["-c", "filter.lfs.process=", "-c", "filter.lfs.clean=", "-c", "filter.lfs.required=false"];
/// Maximum number of files of Git LFS whose content is compared; others count as changed.
const MAX_COMPARED: usize = 1000;

/// Returns the paths of the working tree at `top` that differ from the commit `base`, with untracked files. The content of a file
/// of Git LFS does not differ from its pointer.
pub fn changed_files(top: &Path, base: &str) -> Result<BTreeSet<String>, SourceError> {
    let options = ["--name-only", "--no-renames", "-z", base, "--"];
    let mut diff = local::command(top);
    let listed = paths(diff.args(WITHOUT_LFS).arg("diff").args(options));
    // Another filter may be required whose program is missing. Without content, git takes a file for changed whose size or time
    // is another one.
    let mut changed = listed.or_else(|error| {
        let mut by_time = local::command(top);
        paths(by_time.args(WITHOUT_LFS).arg("diff-index").args(options)).map_err(|_| error)
    })?;
    let listed: Vec<u8> = changed.iter().flat_map(|path| path.bytes().chain([0])).collect();
    for path in lfs_files(local::command(top), &listed)?.into_iter().take(MAX_COMPARED) {
        if has_content_of_pointer(top, base, &path)? {
            changed.remove(&path);
        }
    }
    let mut untracked = local::command(top);
    changed.extend(paths(untracked.args(["ls-files", "-z", "--others", "--exclude-standard"]))?);
    Ok(changed)
}

/// Returns the NUL-terminated paths that `command` prints. Pipeline files cannot name paths that are not UTF-8.
fn paths(command: &mut Command) -> Result<BTreeSet<String>, SourceError> {
    let mut all = BTreeSet::new();
    let mut records = Records::default();
    git::stream(command, ProcessLimits::default(), &mut |bytes| {
        records.push(bytes, &mut |record| {
            all.insert(String::from_utf8_lossy(record).into_owned());
            ControlFlow::Continue(())
        })
    })?;
    Ok(all)
}

/// Whether the file on disk is the content of the pointer in the commit.
fn has_content_of_pointer(top: &Path, base: &str, path: &str) -> Result<bool, SourceError> {
    let mut blob = Vec::new();
    let mut command = local::command(top);
    command.args(["cat-file", "blob", &format!("{base}:{path}")]);
    let read = git::stream(&mut command, ProcessLimits::default(), &mut |bytes| {
        blob.extend_from_slice(bytes);
        if blob.len() > MAX_POINTER { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    // A new file is not in the commit.
    let Some(pointer) = read.is_ok().then(|| Pointer::parse(&blob)).flatten() else { return Ok(false) };
    let file = top.join(path);
    if !file.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() == pointer.size) {
        return Ok(false);
    }
    let hash =
        hash_of(&file).map_err(|error| SourceError::io(&format!("`{path}` cannot be read"), &error))?;
    Ok(hash == pointer.hash)
}

/// Returns the SHA-256 of a file in hex.
fn hash_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; 256 << 10]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(data_encoding::HEXLOWER.encode(&digest.finalize())),
            read => digest.update(&buffer[..read]),
        }
    }
}
