//! The deployment's keys for secrets, in a file that only its owner can read.

use crate::blocking::blocking;
use async_trait::async_trait;
use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use tidemill_services::error::{Error, Result};
use tidemill_services::ports::{Key, KeyStore, Keys};
use uuid::Uuid;

/// Keys in a file, in the format of [`Keys::read`]. The file is created with mode 0600 at the first use.
#[derive(Debug)]
pub struct FileKeyStore {
    path: PathBuf,
}

impl FileKeyStore {
    /// Creates a store for the file at `path`.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

#[async_trait]
impl KeyStore for FileKeyStore {
    async fn keys(&self) -> Result<Keys> {
        let path = self.path.clone();
        blocking("reading the key of secrets", move || {
            if let Some(keys) = read(&path)? {
                return Ok(keys);
            }
            create(&path)?;
            read(&path)?
                .ok_or_else(|| Error::storage("creating the key of secrets", "the file was removed again"))
        })
        .await
    }
}

fn read(path: &Path) -> Result<Option<Keys>> {
    let operation = || format!("reading the key of secrets from {}", path.display());
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(operation(), error)),
    };
    let mode = file.metadata().map_err(|error| Error::io(operation(), error))?.mode();
    if mode & 0o077 != 0 {
        let message = format!(
            "other users can read the file (mode {:o}); run: chmod 600 {}",
            mode & 0o777,
            path.display()
        );
        return Err(Error::storage(operation(), message));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| Error::io(operation(), error))?;
    let keys = Keys::parse(&text);
    keys.map(Some)
        .map_err(|error| Error::storage(operation(), format!("{error}; restore the file from a backup")))
}

/// Creates the file atomically. If several processes do so, the first one wins: a hard link does not replace a file.
fn create(path: &Path) -> Result<()> {
    let operation = || format!("creating the key of secrets in {}", path.display());
    let key = Key::random().map_err(|error| Error::storage(operation(), error))?;
    let temporary = path.with_extension(format!("{}.tmp", Uuid::new_v4().simple()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(Keys::from(key).to_text().as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| match fs::hard_link(&temporary, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        });
    drop(fs::remove_file(&temporary));
    // The key must be durable before a secret is sealed with it.
    let synced = written.and_then(|()| match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    });
    synced.map_err(|error| Error::io(operation(), error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::FileKeyStore;
    use std::{fs, os::unix::fs::PermissionsExt};
    use tidemill_services::ports::KeyStore;

    #[tokio::test]
    async fn key_file_is_created_once_with_owner_permissions() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret.key");
        let keys = FileKeyStore::new(path.clone()).keys().await.unwrap();
        assert!(FileKeyStore::new(path.clone()).keys().await.unwrap() == keys);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = FileKeyStore::new(path.clone()).keys().await.unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "AAAA").unwrap();
        assert!(FileKeyStore::new(path).keys().await.unwrap_err().to_string().contains("3 bytes"));
    }
}
