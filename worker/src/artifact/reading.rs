//! Reads files of a workspace in the worker.

use super::{
    ArtifactTransfer, blocking, failure::TransferError, hashing::HashingReader, selection::Selection,
    tar_writer::MAX_QUEUED_CHUNKS,
};
use crate::engine::WorkspaceMount;
use data_encoding::HEXLOWER;
use futures_util::stream;
use sha2::{Digest, Sha256};
use std::io::{self, Read};
use tidemill_core::execution::failure::FailureReason;
use tokio::sync::mpsc;
use tokio_util::io::{StreamReader, SyncIoBridge};

/// Maximum total size of files that are read, not stored, in bytes. A sparse file has any size.
const MAX_READ_BYTES: u64 = 1 << 30;

/// A file, directory or link in a workspace.
pub type WorkspaceEntry<'a> = tar::Entry<'a, Box<dyn Read + Send>>;

impl ArtifactTransfer {
    /// Calls `read` with each entry that matches `paths`, on a thread that may block. Returns the state and warnings.
    pub async fn read_files<T: Send + 'static>(
        &self,
        workspace: &WorkspaceMount,
        paths: &[String],
        mut state: T,
        read: fn(&mut T, &mut WorkspaceEntry<'_>) -> io::Result<()>,
    ) -> Result<(T, String), FailureReason> {
        let selection = Selection::from(paths);
        let (sender, chunks) = mpsc::channel(MAX_QUEUED_CHUNKS);
        let chunks = stream::unfold(chunks, |mut chunks| async { Some((chunks.recv().await?, chunks)) });
        let tar = SyncIoBridge::new(StreamReader::new(Box::pin(chunks)));
        let task = blocking(move || {
            let mut archive = tar::Archive::new(Box::new(tar) as Box<dyn Read + Send>);
            for entry in archive.entries()? {
                read(&mut state, &mut entry?)?;
            }
            Ok(state)
        });
        let (packed, state) =
            tokio::join!(self.pack(workspace, &selection, sender, (MAX_READ_BYTES, false)), task);
        let reason = |error: TransferError| error.into_reason("the files could not be read");
        Ok((state.map_err(reason)?, packed.map_err(reason)?.1))
    }

    /// Computes a hash of the names and contents of the files that match `paths`, independent of their times and owners.
    pub async fn hash_of_files(
        &self,
        workspace: &WorkspaceMount,
        paths: &[String],
    ) -> Result<String, FailureReason> {
        let (mut files, _) = self.read_files(workspace, paths, Vec::new(), hash_file).await?;
        files.sort();
        let mut hash = Sha256::new();
        for (name, content) in files {
            hash.update((name.len() as u64).to_be_bytes());
            hash.update(name);
            hash.update(content);
        }
        Ok(HEXLOWER.encode(&hash.finalize()))
    }
}

fn hash_file(files: &mut Vec<(Vec<u8>, [u8; 32])>, entry: &mut WorkspaceEntry<'_>) -> io::Result<()> {
    if entry.header().entry_type().is_file() {
        let name = entry.path_bytes().into_owned();
        let mut reader = HashingReader { bytes: entry, hash: Sha256::new() };
        io::copy(&mut reader, &mut io::sink())?;
        files.push((name, reader.hash.finalize().into()));
    }
    Ok(())
}
