//! Objects of the same content are stored once: each is a hard link to one file, which `.content/` names by its hash.
//!
//! The name in `.content/` only serves to find the file. If it is missing, or a process ends between two of these steps, an object is
//! stored a second time, and nothing else changes.

use super::directories::create_directories;
use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};
use uuid::Uuid;

/// Objects below this size are not worth a second name.
const MIN_SIZE: u64 = 16 << 10;
/// Length of a hash in hex.
const SHA256_LEN: usize = 64;
const BLOCK_SIZE: usize = 64 << 10;
/// A key cannot have this name.
const DIRECTORY: &str = ".content";

/// Returns the name of the file with this content.
fn content_path(root: &Path, sha256: &str) -> PathBuf {
    root.join(DIRECTORY).join(sha256.get(..2).unwrap_or_default()).join(sha256)
}

/// Replaces the new, complete file by another link to a file with the same bytes, if there is one. All bytes are compared: an object
/// must not depend on a file that was damaged meanwhile. Returns whether it was replaced.
pub fn share(root: &Path, new: &Path, sha256: &str) -> io::Result<bool> {
    let known = content_path(root, sha256);
    if fs::metadata(new)?.len() < MIN_SIZE || !has_same_bytes(&known, new)? {
        return Ok(false);
    }
    let link = new.with_file_name(Uuid::now_v7().to_string());
    // It fails if the file was removed meanwhile, has too many links, or the file system has none: the new file stays.
    let is_shared = fs::hard_link(&known, &link).and_then(|()| fs::rename(&link, new)).is_ok();
    if !is_shared {
        drop(fs::remove_file(&link));
    }
    Ok(is_shared)
}

/// Removes names of contents that no object has, which processes left that ended between two steps; one directory of 256 at a time.
pub fn tidy(root: &Path, shard: u8) -> io::Result<()> {
    let entries = match fs::read_dir(root.join(DIRECTORY).join(format!("{shard:02x}"))) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        // A name of another length was given before the last step.
        let is_name = path.file_name().is_some_and(|name| name.len() == SHA256_LEN);
        let has_object = fs::metadata(&path).is_ok_and(|metadata| metadata.nlink() > 1);
        if !(is_name && has_object)
            && let Err(error) = fs::remove_file(&path)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error);
        }
    }
    Ok(())
}

/// Gives a stored object its name by content, in place of an earlier one.
pub fn register(root: &Path, object: &Path, sha256: &str) -> io::Result<()> {
    if fs::metadata(object)?.len() < MIN_SIZE {
        return Ok(());
    }
    let name = content_path(root, sha256);
    create_directories(root, name.parent().unwrap_or(root))?;
    let link = name.with_file_name(Uuid::now_v7().to_string());
    // Without it, the content is stored again next time.
    drop(fs::hard_link(object, &link).and_then(|()| fs::rename(&link, &name)));
    // It is left if the rename failed, or if both were names of the same file.
    drop(fs::remove_file(&link));
    Ok(())
}

/// Removes the name by content of an object that was removed, if no other object has this content.
pub fn unregister(root: &Path, sha256: &str) -> io::Result<()> {
    let name = content_path(root, sha256);
    match fs::metadata(&name) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // An object that is linked at this moment keeps the file, which only loses this name.
        Ok(metadata) if metadata.nlink() <= 1 => match fs::remove_file(&name) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
        found => found.map(drop),
    }
}

fn has_same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    let mut one = match File::open(one) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    let mut other = File::open(other)?;
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; BLOCK_SIZE], vec![0; BLOCK_SIZE]);
    loop {
        let read = one.read(&mut left)?;
        if read == 0 {
            return Ok(true);
        }
        match other.read_exact(&mut right[..read]) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
            compared => compared?,
        }
        if left[..read] != right[..read] {
            return Ok(false);
        }
    }
}
