//! Reads files of a workspace in the worker.

use super::{
    ArtifactTransfer, blocking,
    encoding::decoded,
    failure::{TransferError, with_retries},
    hashing::HashingReader,
    selection::Selection,
    tar_writer::{BUFFER_SIZE, MAX_QUEUED_CHUNKS},
    verify_hash,
};
use crate::engine::WorkspaceMount;
use data_encoding::HEXLOWER;
use futures_util::stream;
use sha2::{Digest, Sha256};
use std::io::{self, BufReader, Read};
use tidemill_core::execution::{assignment::ArtifactSource, failure::FailureReason};
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

    /// Returns the text of the file at `path` in `artifact`, which has at most `max` bytes; `None` if it has no such file.
    pub async fn read_file(
        &self,
        artifact: &ArtifactSource,
        path: &str,
        max: u64,
    ) -> Result<Option<String>, FailureReason> {
        let read = with_retries(|| self.read_file_once(artifact, path, max)).await;
        let what = format!("{path} in the artifact of `{}` could not be read", artifact.from_job);
        read.map_err(|error| error.into_reason(&what))
    }

    async fn read_file_once(
        &self,
        artifact: &ArtifactSource,
        path: &str,
        max: u64,
    ) -> Result<Option<String>, TransferError> {
        let bytes = SyncIoBridge::new(StreamReader::new(self.bytes(artifact).await?));
        let (encoding, unpacked_size) = (artifact.encoding, artifact.unpacked_size);
        let path = path.to_owned();
        let task = blocking(move || {
            let mut bytes = HashingReader { bytes, hash: Sha256::new() };
            let stored = BufReader::with_capacity(BUFFER_SIZE, &mut bytes);
            let mut tar = decoded(stored, encoding, unpacked_size)?;
            let found = find_file(&mut tar, &path, max)?;
            // The hash includes the bytes after the file.
            io::copy(&mut tar, &mut io::sink())?;
            drop(tar);
            io::copy(&mut bytes, &mut io::sink())?;
            Ok((found, HEXLOWER.encode(&bytes.hash.finalize())))
        });
        let (found, actual) = task.await?;
        verify_hash(&actual, artifact)?;
        Ok(found)
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

/// Returns the text of a file in a tar.
fn find_file(tar: impl Read, path: &str, max: u64) -> io::Result<Option<String>> {
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries()? {
        let entry = entry?;
        let name = entry.path_bytes().into_owned();
        let name = name.strip_prefix(b"./").unwrap_or(&name);
        if name != path.as_bytes() || !entry.header().entry_type().is_file() {
            continue;
        }
        if entry.size() > max {
            return Err(io::Error::other(format!("it has {} bytes; the limit is {max}", entry.size())));
        }
        let mut content = Vec::new();
        entry.take(max).read_to_end(&mut content)?;
        return Ok(Some(String::from_utf8_lossy(&content).into_owned()));
    }
    Ok(None)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::find_file;

    #[test]
    fn file_in_a_tar_is_found_by_its_path_and_within_its_limit() {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, text) in [("other/child.yml", "no"), ("out/child.yml", "name: c\n")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        let bytes = tar.into_inner().unwrap();
        assert_eq!(find_file(&bytes[..], "out/child.yml", 100).unwrap().as_deref(), Some("name: c\n"));
        assert_eq!(find_file(&bytes[..], "child.yml", 100).unwrap(), None);
        assert!(find_file(&bytes[..], "out/child.yml", 3).unwrap_err().to_string().contains("limit"));
    }
}
