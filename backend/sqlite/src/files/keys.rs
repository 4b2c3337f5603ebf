//! The deployment's keys in a file that only its owner can read.

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

/// Keys in a file, as [`Keys::read`] has them; it is made with mode 0600 when it is first asked for.
#[derive(Debug)]
pub struct FileKeyStore {
    path: PathBuf,
}

impl FileKeyStore {
    /// The keys in the file at `path`.
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
            make(&path)?;
            read(&path)?.ok_or_else(|| Error::storage("making the key of secrets", "it is gone again"))
        })
        .await
    }
}

fn read(path: &Path) -> Result<Option<Keys>> {
    let doing = || format!("reading the key of secrets from {}", path.display());
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(doing(), error)),
    };
    let mode = file.metadata().map_err(|error| Error::io(doing(), error))?.mode();
    if mode & 0o077 != 0 {
        let words =
            format!("others may read it (mode {:o}); run: chmod 600 {}", mode & 0o777, path.display());
        return Err(Error::storage(doing(), words));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| Error::io(doing(), error))?;
    let keys = Keys::read(&text);
    keys.map(Some).map_err(|wrong| Error::storage(doing(), format!("{wrong}; put the right file back")))
}

/// Whole or not at all, and the first of several processes wins: linking does not replace.
fn make(path: &Path) -> Result<()> {
    let doing = || format!("making the key of secrets in {}", path.display());
    let key = Key::random().map_err(|error| Error::storage(doing(), error))?;
    let aside = path.with_extension(format!("{}.tmp", Uuid::new_v4().simple()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&aside)
        .and_then(|mut file| {
            file.write_all(Keys::from(key).text().as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| match fs::hard_link(&aside, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        });
    drop(fs::remove_file(&aside));
    // What is sealed next must not outlive the key.
    let kept = written.and_then(|()| match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    });
    kept.map_err(|error| Error::io(doing(), error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::FileKeyStore;
    use std::{fs, os::unix::fs::PermissionsExt};
    use tidemill_services::ports::KeyStore;

    #[tokio::test]
    async fn key_file_is_created_once_with_owner_permissions() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("secret.key");
        let keys = FileKeyStore::new(path.clone()).keys().await.unwrap();
        assert!(FileKeyStore::new(path.clone()).keys().await.unwrap() == keys);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing is left aside");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = FileKeyStore::new(path.clone()).keys().await.unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "AAAA").unwrap();
        assert!(FileKeyStore::new(path).keys().await.unwrap_err().to_string().contains("3 bytes"));
    }
}
