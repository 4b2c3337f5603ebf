//! Makes a backup.

use super::{
    manifest::{BackupEntry, FORMAT, Manifest, ManifestFile},
    repository::BackupRepository,
};
use crate::{blocking::blocking, open::records_path, sqlite::snapshot};
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use tidemill_core::{ids::digest::sha256_hex, time::Timestamp};
use tidemill_services::error::{Error, Result};

/// Size of the chunks of the database, of which a few pages change.
const DATABASE_CHUNK: usize = 256 << 10;
/// Size of the chunks of other files.
const FILE_CHUNK: usize = 8 << 20;
/// Name of the copy of the database while a backup is made, and of the lock, in the data directory.
const COPY_NAME: &str = "backup.db";
const LOCK_NAME: &str = "backup.lock";
/// Path of the database in a backup.
pub(super) const DATABASE_PATH: &str = "tidemill.db";
/// Path of the key that opens the secrets.
const KEY_PATH: &str = "secret.key";

/// Options of a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupOptions {
    /// Leaves out the key that opens the secrets.
    pub without_key: bool,
    /// How many backups are kept; older ones are removed. `None`: all.
    pub keep: Option<usize>,
}

/// What a backup did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    /// The backup.
    pub backup: BackupEntry,
    /// Number of bytes that were not stored before.
    pub new_bytes: u64,
    /// Number of chunks that were not stored before.
    pub new_chunks: u64,
    /// Names of the backups that were removed.
    pub removed: Vec<String>,
}

/// Makes a backup of the data directory, which a server may be using. `now` and `version` are recorded.
pub async fn back_up(
    data_dir: &Path,
    repository: &BackupRepository,
    options: &BackupOptions,
    (now, version): (Timestamp, &str),
) -> Result<BackupReport> {
    let lock = data_dir.join(LOCK_NAME);
    let _lock = blocking("locking the data directory for a backup", move || take_lock(&lock)).await?;
    let copy = TemporaryCopy(data_dir.join(COPY_NAME));
    let (source, target) = (records_path(data_dir), copy.0.clone());
    let transactions = blocking("copying the records", move || snapshot(&source, &target)).await?;
    let before = match repository.list().await?.last() {
        Some(entry) => Some(repository.manifest(entry).await?),
        None => None,
    };
    let mut writer = ChunkWriter::new(repository, before);
    let mut files = vec![writer.add(&copy.0, DATABASE_PATH, DATABASE_CHUNK).await?];
    let root = data_dir.to_owned();
    let without_key = options.without_key;
    for path in blocking("listing the data directory", move || paths(&root, without_key)).await? {
        let name = path.to_string_lossy().into_owned();
        files.push(writer.add(&data_dir.join(&path), &name, FILE_CHUNK).await?);
    }
    let ChunkWriter { new_bytes, new_chunks, .. } = writer;
    let mut files: Vec<ManifestFile> = files.into_iter().flatten().collect();
    files.sort_by(|one, other| one.path.cmp(&other.path));
    let manifest =
        Manifest { format: FORMAT, version: version.to_owned(), created_at: now, transactions, files };
    let text = serde_json::to_vec(&manifest).map_err(|error| Error::storage("writing a manifest", error))?;
    let backup = BackupEntry {
        id: format!("{:013}-{}", now.0.max(0), sha256_hex(&text).get(..8).unwrap_or_default()),
        created_at: now,
        manifest_sha256: sha256_hex(&text),
        files: manifest.files.len() as u64,
        bytes: manifest.bytes(),
        transactions,
    };
    repository.add(backup.clone(), &text).await?;
    let removed = match options.keep {
        Some(keep) => prune(repository, keep.max(1)).await?,
        None => Vec::new(),
    };
    Ok(BackupReport { backup, new_bytes, new_chunks, removed })
}

/// Removes all but the newest `keep` backups, and the chunks that only they have.
async fn prune(repository: &BackupRepository, keep: usize) -> Result<Vec<String>> {
    let backups = repository.list().await?;
    let (old, kept) = backups.split_at(backups.len().saturating_sub(keep));
    let mut needed = HashSet::new();
    for entry in kept {
        let manifest = repository.manifest(entry).await?;
        needed.extend(manifest.files.into_iter().flat_map(|file| file.chunks));
    }
    for entry in old {
        let chunks: HashSet<String> =
            repository.manifest(entry).await?.files.into_iter().flat_map(|file| file.chunks).collect();
        // The backup leaves the list first: none in it ever lacks a chunk.
        repository.forget(&entry.id).await?;
        for chunk in chunks.difference(&needed) {
            repository.remove_chunk(chunk).await?;
        }
    }
    Ok(old.iter().map(|entry| entry.id.clone()).collect())
}

/// Stores the chunks of files, each once.
struct ChunkWriter<'a> {
    repository: &'a BackupRepository,
    /// The files of the previous backup, by their paths.
    before: BTreeMap<String, ManifestFile>,
    /// Chunks that are stored.
    stored: HashSet<String>,
    new_bytes: u64,
    new_chunks: u64,
}

impl<'a> ChunkWriter<'a> {
    fn new(repository: &'a BackupRepository, before: Option<Manifest>) -> Self {
        let files = before.into_iter().flat_map(|manifest| manifest.files);
        let before: BTreeMap<_, _> = files.map(|file| (file.path.clone(), file)).collect();
        let stored = before.values().flat_map(|file| file.chunks.iter().cloned()).collect();
        Self { repository, before, stored, new_bytes: 0, new_chunks: 0 }
    }

    /// Adds a file; `None`: it was removed.
    async fn add(&mut self, path: &Path, name: &str, chunk_size: usize) -> Result<Option<ManifestFile>> {
        let failed = |error| Error::io(format!("reading {}", path.display()), error);
        let opening = path.to_owned();
        let opened = blocking("reading a file for a backup", move || {
            match File::open(&opening).and_then(|file| Ok((file.metadata()?, file))) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                opened => {
                    let (metadata, file) =
                        opened.map_err(|error| Error::io(format!("reading {}", opening.display()), error))?;
                    Ok(Some((file, metadata.len(), metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec())))
                }
            }
        });
        let Some((mut file, size, modified_ns)) = opened.await? else { return Ok(None) };
        // The copy of the database is a new file each time.
        let known = self.before.get(name).filter(|_| name != DATABASE_PATH);
        if let Some(known) = known.filter(|known| known.size == size && known.modified_ns == modified_ns) {
            return Ok(Some(known.clone()));
        }
        // A log may grow meanwhile: what comes after its size is for the next backup.
        let (mut rest, mut chunks) = (size, Vec::new());
        while rest > 0 {
            let length = usize::try_from(rest).unwrap_or(chunk_size).min(chunk_size);
            let (same, bytes) = blocking("reading a file for a backup", move || {
                let mut bytes = vec![0; length];
                let read = file.read_exact(&mut bytes);
                Ok((file, read.map(|()| bytes)))
            })
            .await?;
            file = same;
            let bytes = match bytes {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                bytes => bytes.map_err(failed)?,
            };
            rest -= bytes.len() as u64;
            chunks.push(self.put(&bytes).await?);
        }
        Ok(Some(ManifestFile { path: name.to_owned(), size: size - rest, modified_ns, chunks }))
    }

    async fn put(&mut self, bytes: &[u8]) -> Result<String> {
        let name = sha256_hex(bytes);
        if self.stored.contains(&name) {
            return Ok(name);
        }
        if !self.repository.has_chunk(&name).await? {
            self.repository.put_chunk(bytes).await?;
            self.new_bytes += bytes.len() as u64;
            self.new_chunks += 1;
        }
        self.stored.insert(name.clone());
        Ok(name)
    }
}

/// A file that is removed on drop.
struct TemporaryCopy(PathBuf);

impl Drop for TemporaryCopy {
    fn drop(&mut self) {
        // If it stays, the next backup replaces it.
        drop(fs::remove_file(&self.0));
    }
}

fn take_lock(path: &Path) -> Result<File> {
    let failed = |error| Error::io(format!("locking {}", path.display()), error);
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err(Error::Conflict("another backup of this data directory is being made".into()))
        }
        Err(fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Returns the paths of the files to back up besides the database.
fn paths(root: &Path, without_key: bool) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for name in ["token", KEY_PATH] {
        if root.join(name).is_file() && !(without_key && name == KEY_PATH) {
            paths.push(PathBuf::from(name));
        }
    }
    for name in ["logs", "artifacts"] {
        add_files(root, Path::new(name), &mut paths)
            .map_err(|error| Error::io(format!("listing {}", root.join(name).display()), error))?;
    }
    Ok(paths)
}

fn add_files(root: &Path, directory: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(root.join(directory)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path = directory.join(entry.file_name());
        let kind = entry.file_type()?;
        // Uploads that are not complete begin with a dot.
        if kind.is_dir() && !entry.file_name().to_string_lossy().starts_with('.') {
            add_files(root, &path, paths)?;
        } else if kind.is_file() {
            paths.push(path);
        }
    }
    Ok(())
}
