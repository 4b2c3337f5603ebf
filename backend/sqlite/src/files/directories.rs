//! Durable directories.

use std::{
    fs::{DirBuilder, File},
    io::{self, ErrorKind},
    os::unix::fs::DirBuilderExt,
    path::Path,
};
use tidemill_services::error::{Error, Result};

/// Makes a directory that only its owner can look into, and what is missing above it, unless it is there.
pub fn make_directory(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| Error::io(format!("making the directory {}", path.display()), error))
}

/// Makes the directories from below `root` to `path` that are missing, durably.
pub fn make_directories(root: &Path, path: &Path) -> io::Result<()> {
    if path == root || path.is_dir() {
        return Ok(());
    }
    let above = path.parent().unwrap_or(root);
    make_directories(root, above)?;
    match DirBuilder::new().mode(0o700).create(path) {
        // Whoever made it may not have synced it yet.
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => sync_directory(above),
    }
}

/// Makes the names in a directory durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
