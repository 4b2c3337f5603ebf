//! Durable directories.

use std::{
    fs::{DirBuilder, File},
    io::{self, ErrorKind},
    os::unix::fs::DirBuilderExt,
    path::Path,
};
use tidemill_services::error::{Error, Result};

/// Creates a directory with mode 0700, and its missing parents.
pub fn create_directory(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| Error::io(format!("creating the directory {}", path.display()), error))
}

/// Creates the missing directories between `root` and `path`, durably.
pub fn create_directories(root: &Path, path: &Path) -> io::Result<()> {
    if path == root || path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(root);
    create_directories(root, parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        // Another thread or process that created it may not have synced it yet.
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => sync_directory(parent),
    }
}

/// Makes the entries of a directory durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
