//! Where backups are: a directory, or any other store of objects.

use super::manifest::{BackupEntry, BackupIndex, Manifest};
use crate::files::FileObjects;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::{fmt, path::Path, sync::Arc};
use tidemill_core::{api::is_sha256, ids::digest::sha256_hex};
use tidemill_services::{
    error::{Error, Result},
    pack::{pack_bytes, unpack_bytes},
    ports::Objects,
};

/// Maximum size of a stored object in bytes: a packed chunk or manifest.
const MAX_OBJECT_SIZE: usize = 256 << 20;

/// A repository of backups.
#[derive(Clone)]
pub struct BackupRepository {
    objects: Arc<dyn Objects>,
    /// Prefix of all keys, empty or ending with a slash.
    prefix: String,
}

impl fmt::Debug for BackupRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackupRepository").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl BackupRepository {
    /// Opens the repository in a directory, which is created if it does not exist.
    pub fn in_directory(path: &Path) -> Result<Self> {
        Ok(Self::in_objects(Arc::new(FileObjects::open(path)?), ""))
    }

    /// Opens the repository in a store of objects, below `prefix`.
    pub fn in_objects(objects: Arc<dyn Objects>, prefix: &str) -> Self {
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { objects, prefix }
    }

    /// Returns the backups, oldest first.
    pub async fn list(&self) -> Result<Vec<BackupEntry>> {
        let Some(bytes) = self.get(&self.index_key()).await? else { return Ok(Vec::new()) };
        let index: BackupIndex = serde_json::from_slice(&bytes)
            .map_err(|error| Error::Damaged(format!("the list of backups cannot be read: {error}")))?;
        Ok(index.backups)
    }

    /// Returns the backup named `id` (`None`: the newest one).
    pub async fn find(&self, id: Option<&str>) -> Result<BackupEntry> {
        let mut backups = self.list().await?;
        let found = match id {
            Some(id) => backups.into_iter().find(|entry| entry.id == id),
            None => backups.pop(),
        };
        found.ok_or_else(|| {
            Error::NotFound(id.map_or_else(
                || "there is no backup there".to_owned(),
                |id| format!("there is no backup {id} there; list them with `tidemill backup --list`"),
            ))
        })
    }

    /// Returns the manifest of a backup, whose digest is checked.
    pub async fn manifest(&self, entry: &BackupEntry) -> Result<Manifest> {
        let missing = || Error::Damaged(format!("the manifest of backup {} is missing", entry.id));
        let bytes = self.get(&self.manifest_key(&entry.id)).await?.ok_or_else(missing)?;
        if sha256_hex(&bytes) != entry.manifest_sha256 {
            return Err(Error::Damaged(format!("the manifest of backup {} is damaged", entry.id)));
        }
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| {
            Error::Damaged(format!("the manifest of backup {} is damaged: {error}", entry.id))
        })?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Adds a backup to the list, once all its chunks are stored.
    pub(super) async fn add(&self, entry: BackupEntry, manifest: &[u8]) -> Result<()> {
        self.put(&self.manifest_key(&entry.id), manifest).await?;
        let mut backups = self.list().await?;
        backups.push(entry);
        self.put_index(backups).await
    }

    /// Removes the manifest of a backup from the list.
    pub(super) async fn forget(&self, id: &str) -> Result<()> {
        let mut backups = self.list().await?;
        backups.retain(|entry| entry.id != id);
        self.put_index(backups).await?;
        self.objects.delete(&self.manifest_key(id)).await
    }

    async fn put_index(&self, backups: Vec<BackupEntry>) -> Result<()> {
        let text = serde_json::to_vec(&BackupIndex { backups })
            .map_err(|error| Error::storage("writing the list of backups", error))?;
        self.put(&self.index_key(), &text).await
    }

    /// Stores a chunk, and returns its name.
    pub(super) async fn put_chunk(&self, bytes: &[u8]) -> Result<String> {
        let name = sha256_hex(bytes);
        self.put(&self.chunk_key(&name), bytes).await?;
        Ok(name)
    }

    /// Whether a chunk is stored.
    pub(super) async fn has_chunk(&self, name: &str) -> Result<bool> {
        Ok(self.objects.info(&self.chunk_key(name)).await?.is_some())
    }

    /// Returns the bytes of a chunk, whose digest is checked.
    pub(super) async fn chunk(&self, name: &str) -> Result<Vec<u8>> {
        let damaged = |what: &str| Error::Damaged(format!("chunk {name} of the backup is {what}"));
        let bytes = self.get(&self.chunk_key(name)).await?.ok_or_else(|| damaged("missing"))?;
        if sha256_hex(&bytes) == name { Ok(bytes) } else { Err(damaged("damaged")) }
    }

    pub(super) async fn remove_chunk(&self, name: &str) -> Result<()> {
        if is_sha256(name) { self.objects.delete(&self.chunk_key(name)).await } else { Ok(()) }
    }

    async fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let packed = Bytes::from(pack_bytes(bytes)?);
        let sha256 = sha256_hex(&packed);
        let stream = stream::once(std::future::ready(Ok(packed))).boxed();
        self.objects.put_checked(key, Some(&sha256), stream).await.map(drop)
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let stream = match self.objects.get(key).await {
            Err(Error::NotFound(_)) => return Ok(None),
            stream => stream?,
        };
        let read = stream.try_fold(Vec::new(), |mut all, part| async move {
            if all.len() + part.len() > MAX_OBJECT_SIZE {
                return Err(std::io::Error::other("the object is too large for a backup"));
            }
            all.extend_from_slice(&part);
            Ok(all)
        });
        let packed = read.await.map_err(|error| Error::io("reading a backup", error))?;
        unpack_bytes(&packed).map(Some)
    }

    fn index_key(&self) -> String {
        format!("{}index", self.prefix)
    }

    fn manifest_key(&self, id: &str) -> String {
        format!("{}manifests/{id}", self.prefix)
    }

    fn chunk_key(&self, name: &str) -> String {
        format!("{}chunks/{}/{name}", self.prefix, name.get(..2).unwrap_or_default())
    }
}
