//! The stored formats of backups.

use serde::{Deserialize, Serialize};
use std::path::{Component, Path, PathBuf};
use tidemill_core::{api::is_sha256, time::Timestamp};
use tidemill_services::error::{Error, Result};

/// The format that this version writes and reads.
pub const FORMAT: u32 = 1;

/// The list of the backups in a repository, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupIndex {
    /// The backups.
    pub backups: Vec<BackupEntry>,
}

/// A backup in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupEntry {
    /// Its name.
    pub id: String,
    /// When it began.
    pub created_at: Timestamp,
    /// SHA-256 of its manifest, in hex.
    pub manifest_sha256: String,
    /// Number of its files.
    pub files: u64,
    /// Number of bytes of its files.
    pub bytes: u64,
    /// Number of transactions in its records.
    pub transactions: u64,
}

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub format: u32,
    /// Version of Tidemill that wrote it.
    pub version: String,
    /// When the backup began.
    pub created_at: Timestamp,
    /// Number of transactions in the records.
    pub transactions: u64,
    /// The files, in the order of their paths.
    pub files: Vec<ManifestFile>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Path in the data directory.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// When it was changed, in nanoseconds since the epoch: a file with the same size and time is not read again.
    pub modified_ns: i64,
    /// SHA-256 of the bytes of each chunk, in hex.
    pub chunks: Vec<String>,
}

impl Manifest {
    /// Returns the number of bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Returns an error for a manifest that this version cannot restore, or that would write outside of a directory.
    pub fn check(&self) -> Result<()> {
        if self.format != FORMAT {
            return Err(Error::Invalid(format!(
                "the backup has format {}, and this version reads {FORMAT}: restore it with tidemill {}",
                self.format, self.version
            )));
        }
        for file in &self.files {
            file.relative_path()?;
            if !file.chunks.iter().all(|chunk| is_sha256(chunk)) {
                return Err(Error::Damaged(format!("the manifest of {} names an invalid chunk", file.path)));
            }
        }
        Ok(())
    }
}

impl ManifestFile {
    /// Returns its path, which stays within a directory.
    pub fn relative_path(&self) -> Result<PathBuf> {
        let path = Path::new(&self.path);
        let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        if is_plain && !self.path.is_empty() {
            return Ok(path.to_owned());
        }
        Err(Error::Damaged(format!("the backup has an invalid path: {:?}", self.path)))
    }
}

#[cfg(test)]
mod tests {
    use super::{FORMAT, Manifest, ManifestFile};
    use tidemill_core::time::Timestamp;

    fn manifest(format: u32, path: &str, chunk: &str) -> Manifest {
        let file =
            ManifestFile { path: path.into(), size: 1, modified_ns: 0, chunks: vec![chunk.to_owned()] };
        Manifest { format, version: "1".into(), created_at: Timestamp(0), transactions: 0, files: vec![file] }
    }

    #[test]
    fn manifest_stays_in_its_directory() {
        let chunk = "ab".repeat(32);
        assert!(manifest(FORMAT, "logs/0/a.log", &chunk).check().is_ok());
        for path in ["", "/etc/passwd", "../token", "logs/../../token", "./token"] {
            assert!(manifest(FORMAT, path, &chunk).check().is_err(), "{path}");
        }
        assert!(manifest(FORMAT, "token", "../x").check().is_err());
        assert!(manifest(FORMAT + 1, "token", &chunk).check().is_err());
    }
}
