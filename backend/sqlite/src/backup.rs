//! Backups of a data directory, made while the server runs.
//!
//! A backup is a manifest: the files of the data directory, each as a list of chunks. Chunks are named by the SHA-256 of their bytes, so
//! backups share what did not change. The database is copied first, by SQLite's online backup: every log and artifact that it names was
//! stored before it. Files that were removed meanwhile are missing, as they would be a moment later.

mod manifest;
mod read;
mod repository;
mod write;

pub use manifest::{BackupEntry, Manifest, ManifestFile};
pub use read::{RestoreReport, restore, verify};
pub use repository::BackupRepository;
pub use write::{BackupOptions, BackupReport, back_up};
