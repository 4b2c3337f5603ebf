//! The deployment's key in a file that only its owner can read.

use super::files::blocking;
use crate::{
    error::{Error, Result},
    ports::{Key, KeyStore},
};
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The key in a file; made with mode 0600 when it is first asked for.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    /// The key in the file at `path`.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

#[async_trait]
impl KeyStore for KeyFile {
    async fn key(&self) -> Result<Key> {
        let path = self.path.clone();
        blocking("reading the key of secrets", move || {
            if let Some(key) = read(&path)? {
                return Ok(key);
            }
            make(&path)?;
            read(&path)?.ok_or_else(|| Error::storage("making the key of secrets", "it is gone again"))
        })
        .await
    }
}

fn read(path: &Path) -> Result<Option<Key>> {
    let doing = || format!("reading the key of secrets from {}", path.display());
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(doing(), error)),
    };
    let mode = fs::metadata(path).map_err(|error| Error::io(doing(), error))?.mode();
    if mode & 0o077 != 0 {
        let words =
            format!("others may read it (mode {:o}); run: chmod 600 {}", mode & 0o777, path.display());
        return Err(Error::storage(doing(), words));
    }
    let bytes = STANDARD.decode(text.trim()).map_err(|error| Error::storage(doing(), error))?;
    let key = <[u8; 32]>::try_from(bytes).map_err(|bytes| {
        Error::storage(doing(), format!("it has {} bytes, not 32; put the right file back", bytes.len()))
    })?;
    Ok(Some(Key(key)))
}

/// Whole or not at all, and the first of several processes wins: linking does not replace.
fn make(path: &Path) -> Result<()> {
    let doing = || format!("making the key of secrets in {}", path.display());
    let mut key = [0_u8; 32];
    getrandom::fill(&mut key).map_err(|error| Error::storage(doing(), error))?;
    let aside = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)
        .and_then(|mut file| {
            file.write_all(STANDARD.encode(key).as_bytes())?;
            file.sync_data()
        })
        .and_then(|()| match fs::hard_link(&aside, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        });
    drop(fs::remove_file(&aside));
    written.map_err(|error| Error::io(doing(), error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::KeyFile;
    use crate::ports::KeyStore;
    use std::{fs, os::unix::fs::PermissionsExt};

    #[tokio::test]
    async fn the_key_is_made_once_and_must_be_its_owners_alone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("secret.key");
        let key = KeyFile::new(path.clone()).key().await.unwrap();
        assert!(KeyFile::new(path.clone()).key().await.unwrap() == key);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = KeyFile::new(path.clone()).key().await.unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "AAAA").unwrap();
        assert!(KeyFile::new(path).key().await.unwrap_err().to_string().contains("3 bytes"));
    }
}
