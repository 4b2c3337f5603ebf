//! Checks and restores backups.

use super::{
    manifest::{BackupEntry, Manifest, ManifestFile},
    repository::BackupRepository,
    write::DATABASE_PATH,
};
use crate::{
    blocking::blocking,
    files::directories::{create_directory, sync_directory},
    sqlite::{UNCHECKED_SUFFIX, check_copy},
};
use serde::Serialize;
use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};
use tidemill_services::error::{Error, Result};

/// What a restore or a check did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// The backup.
    pub backup: BackupEntry,
    /// Number of files.
    pub files: u64,
    /// Number of bytes.
    pub bytes: u64,
}

/// Reads all chunks of a backup (`None`: the newest one), and checks their digests.
pub async fn verify(repository: &BackupRepository, id: Option<&str>) -> Result<RestoreReport> {
    let entry = repository.find(id).await?;
    let manifest = repository.manifest(&entry).await?;
    for file in &manifest.files {
        let mut size = 0;
        for chunk in &file.chunks {
            size += repository.chunk(chunk).await?.len() as u64;
        }
        check_size(file, size)?;
    }
    Ok(report(entry, &manifest))
}

/// Restores a backup (`None`: the newest one) into a directory that does not exist or is empty. The database comes first, and gets its
/// name last: a server starts neither on a part of a backup nor while it is restored.
pub async fn restore(
    repository: &BackupRepository,
    id: Option<&str>,
    target: &Path,
) -> Result<RestoreReport> {
    let entry = repository.find(id).await?;
    let manifest = repository.manifest(&entry).await?;
    let directory = target.to_owned();
    blocking("preparing the data directory", move || prepare(&directory)).await?;
    let is_database = |file: &&ManifestFile| file.path == DATABASE_PATH;
    let database = manifest
        .files
        .iter()
        .find(is_database)
        .ok_or_else(|| Error::Damaged(format!("backup {} has no records", entry.id)))?;
    let unchecked = format!("{DATABASE_PATH}{UNCHECKED_SUFFIX}");
    restore_file(repository, target, database, &unchecked).await?;
    for file in manifest.files.iter().filter(|file| !is_database(file)) {
        restore_file(repository, target, file, &file.path).await?;
    }
    let (from, to, transactions) =
        (target.join(&unchecked), target.join(DATABASE_PATH), manifest.transactions);
    blocking("checking the restored records", move || {
        check_copy(&from, transactions)?;
        let renamed = fs::rename(&from, &to).and_then(|()| sync_directory(to.parent().unwrap_or(&to)));
        renamed.map_err(|error| Error::io(format!("creating {}", to.display()), error))
    })
    .await?;
    Ok(report(entry, &manifest))
}

fn report(backup: BackupEntry, manifest: &Manifest) -> RestoreReport {
    RestoreReport { backup, files: manifest.files.len() as u64, bytes: manifest.bytes() }
}

async fn restore_file(
    repository: &BackupRepository,
    target: &Path,
    file: &ManifestFile,
    name: &str,
) -> Result<()> {
    // Checked before the name of the database is replaced.
    file.relative_path()?;
    let path = target.join(name);
    let failed = |error| Error::io(format!("writing {}", path.display()), error);
    if let Some(parent) = path.parent() {
        create_directory(parent)?;
    }
    let mut written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    let mut size = 0;
    for chunk in &file.chunks {
        let bytes = repository.chunk(chunk).await?;
        size += bytes.len() as u64;
        written = blocking("writing a restored file", move || {
            written.write_all(&bytes).map_err(|error| Error::io("writing a restored file", error))?;
            Ok(written)
        })
        .await?;
    }
    check_size(file, size)?;
    blocking("writing a restored file", move || {
        written.sync_all().map_err(|error| Error::io("writing a restored file", error))
    })
    .await
}

fn check_size(file: &ManifestFile, size: u64) -> Result<()> {
    if size == file.size {
        return Ok(());
    }
    Err(Error::Damaged(format!("{} has {size} bytes in the backup instead of {}", file.path, file.size)))
}

/// Creates the target, and returns an error if there is something in it.
fn prepare(target: &Path) -> Result<()> {
    create_directory(target)?;
    let mut entries =
        fs::read_dir(target).map_err(|error| Error::io(format!("reading {}", target.display()), error))?;
    if entries.next().is_some() {
        return Err(Error::Invalid(format!(
            "{} is not empty: a backup is restored into a new directory, so that nothing is overwritten; move what is there away",
            target.display()
        )));
    }
    Ok(())
}
