//! A worker's way to sources: what it has, what it fetches, and what was uploaded to its server.

use super::{
    discovery::{Found, discover},
    git::SourceError,
    tree::{Tree, materialise},
};
use crate::{
    client::{ApiClient, ApiError, BackOff, causes},
    store::hex,
};
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::Seek,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tidemill_core::{api::path, assignment::Source, discovery::Discovery};
use tokio::{io::AsyncWriteExt, runtime::Handle};

/// Tries of one download.
const MOST_TRIES: u32 = 5;

/// Where a worker gets the trees of sources; cheap to clone.
#[derive(Debug, Clone)]
pub struct Sources {
    cache: PathBuf,
    server: Arc<OnceLock<ApiClient>>,
}

impl Sources {
    /// Sources that are kept below `cache`.
    #[must_use]
    pub fn new(cache: PathBuf) -> Self {
        Self { cache, server: Arc::default() }
    }

    /// Names the server that has what was uploaded. The first one stays.
    pub fn take_uploads_from(&self, server: ApiClient) {
        let _ = self.server.set(server);
    }

    /// The tree of `source`; `None` when there are no sources.
    pub async fn tree(&self, source: &Source) -> Result<Option<Tree>, SourceError> {
        let (of, source, here) = (self.clone(), source.clone(), Handle::current());
        let laid_out = tokio::task::spawn_blocking(move || {
            materialise(&source, &of.cache, &|upload| here.block_on(of.download(upload)))
        });
        laid_out.await.map_err(|error| SourceError::new(error.to_string()))?
    }

    /// What a commit holds for the server.
    pub async fn discover(&self, source: &Source, wanted: &Discovery) -> Result<Found, SourceError> {
        let Source::Git { url, branch, commit, .. } = source.clone() else {
            return Err(SourceError::new("what a commit holds is only looked for in a git repository"));
        };
        let (cache, wanted) = (self.cache.clone(), wanted.clone());
        let found =
            tokio::task::spawn_blocking(move || discover(&url, branch.as_deref(), &commit, &wanted, &cache));
        found.await.map_err(|error| SourceError::new(error.to_string()))?
    }

    /// What was uploaded under this name, in a file without a name.
    async fn download(&self, upload: &str) -> Result<File, SourceError> {
        let server = self.server.get().ok_or_else(|| {
            SourceError::new("the sources were uploaded to a server, and this worker works for none yet")
        })?;
        let mut pauses = BackOff::new(Duration::from_millis(200), Duration::from_secs(5));
        for tried in 1.. {
            match self.try_download(server, upload).await {
                Ok(file) => return Ok(file),
                // The client tried it often enough.
                Err(Broken::Api(error)) => return Err(SourceError::new(error.to_string())),
                Err(Broken::Stream(error)) if tried >= MOST_TRIES => {
                    return Err(SourceError::new(format!("upload {upload} broke off: {}", causes(&error))));
                }
                Err(Broken::OtherBytes(got)) => {
                    return Err(SourceError::new(format!(
                        "upload {upload} is damaged: its bytes have the SHA-256 {got}; start the run again, which sends it anew"
                    )));
                }
                Err(Broken::Stream(_)) => tokio::time::sleep(pauses.pause()).await,
            }
        }
        Err(SourceError::new(format!("upload {upload} cannot be had")))
    }

    async fn try_download(&self, server: &ApiClient, upload: &str) -> Result<File, Broken> {
        let file = tempfile::tempfile_in(&self.cache).map_err(Broken::Stream)?;
        let mut file = tokio::fs::File::from_std(file);
        let bytes =
            server.get(&path::SOURCE_DOWNLOAD.replace("{uploadId}", upload)).await.map_err(Broken::Api)?;
        let mut bytes = std::pin::pin!(bytes);
        let mut hash = Sha256::new();
        while let Some(chunk) = bytes.try_next().await.map_err(Broken::Stream)? {
            hash.update(&chunk);
            file.write_all(&chunk).await.map_err(Broken::Stream)?;
        }
        file.flush().await.map_err(Broken::Stream)?;
        let got = hex(&hash.finalize());
        if got != upload {
            // Git must not see what nobody meant to send.
            return Err(Broken::OtherBytes(got));
        }
        let mut file = file.into_std().await;
        file.rewind().map_err(Broken::Stream)?;
        Ok(file)
    }
}

enum Broken {
    Api(ApiError),
    /// Bytes with this SHA-256.
    OtherBytes(String),
    Stream(std::io::Error),
}
