//! A worker's sources: cached, fetched from git servers, or downloaded from its server.

use super::{
    bounds::OperationBounds,
    discovery::{DiscoveryResult, discover},
    error::SourceErrorKind,
    git::SourceError,
    prune::prune,
    reach::HostPolicy,
    settings::SourceSettings,
    tree::{Tree, materialise},
};
use crate::client::{ApiClient, ApiError, causes, exponential};
use backon::Retryable;
use data_encoding::HEXLOWER;
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::Seek,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tidemill_core::api::path;
use tidemill_core::execution::{assignment::Source, discovery::Discovery, upload::UploadId};
use tokio::{io::AsyncWriteExt, runtime::Handle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Attempts at one download.
const MAX_ATTEMPTS: usize = 5;

/// Where a worker gets the trees of sources; cheap to clone.
#[derive(Debug, Clone)]
pub struct SourceCache {
    cache: PathBuf,
    settings: Arc<SourceSettings>,
    server: Arc<OnceLock<ApiClient>>,
    reach: HostPolicy,
    pruning: Arc<AtomicBool>,
    working: TaskTracker,
}

impl SourceCache {
    /// Sources that are kept below `cache`, from hosts within `reach`.
    #[must_use]
    pub fn new(cache: PathBuf, reach: HostPolicy, settings: SourceSettings) -> Self {
        Self {
            cache,
            settings: Arc::new(settings),
            server: Arc::default(),
            reach,
            pruning: Arc::default(),
            working: TaskTracker::new(),
        }
    }

    /// Which hosts are contacted.
    #[must_use]
    pub fn reach(&self) -> &HostPolicy {
        &self.reach
    }

    /// Names the server that has what was uploaded. The first one stays.
    pub fn take_uploads_from(&self, server: ApiClient) {
        let _ = self.server.set(server);
    }

    /// The tree of `source`; `None` when there are no sources. Once nobody waits for it any more, all that is done for it
    /// ends: git and what it started are killed, and locks come free.
    pub async fn tree(&self, source: &Source) -> Result<Option<Tree>, SourceError> {
        let (of, source, here) = (self.clone(), source.clone(), Handle::current());
        let tree = self.work(move |canceled| {
            let download = |upload: &str| {
                here.block_on(async {
                    tokio::select! {
                        file = of.download(upload) => file,
                        () = canceled.cancelled() => {
                            Err(SourceError::of(SourceErrorKind::Canceled, "the upload is not needed any more"))
                        }
                    }
                })
            };
            materialise(&source, &of.cache, &of.reach, &download)
        });
        let tree = tree.await?;
        if tree.as_ref().is_some_and(|tree| tree.is_new) {
            self.prune_later();
        }
        Ok(tree)
    }

    /// What a commit holds for the server. It ends as [`Self::tree`] does once nobody waits for it.
    pub async fn discover(
        &self,
        source: &Source,
        wanted: &Discovery,
    ) -> Result<DiscoveryResult, SourceError> {
        let Source::Git { url, branch, commit, private_host } = source.clone() else {
            return Err(SourceError::new("what a commit holds is only looked for in a git repository"));
        };
        let remote = self.reach.remote(&url, private_host)?;
        let (cache, wanted) = (self.cache.clone(), wanted.clone());
        self.work(move |_| discover(&remote, branch.as_deref(), &commit, &wanted, &cache)).await
    }

    /// Waits until the work that was canceled is over, and so its git processes. Nothing new is to be begun.
    pub async fn settle(&self) {
        self.working.close();
        self.working.wait().await;
    }

    /// Removes what is not to be kept.
    pub fn prune(&self) {
        if !self.pruning.swap(true, Ordering::AcqRel) {
            let bounds = OperationBounds::new(self.settings.limits.clone(), CancellationToken::new());
            bounds.hold(|| prune(&self.cache, &self.settings.retention));
            self.pruning.store(false, Ordering::Release);
        }
    }

    fn prune_later(&self) {
        let of = self.clone();
        tokio::task::spawn_blocking(move || of.prune());
    }

    /// Does `work`, which blocks, on a thread of its own and within bounds; it is canceled when nobody waits for it.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(CancellationToken) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let canceled = CancellationToken::new();
        let bounds = OperationBounds::new(self.settings.limits.clone(), canceled.clone());
        let _cancels = canceled.clone().drop_guard();
        let done = self.working.spawn_blocking(move || bounds.hold(|| work(canceled)));
        done.await.map_err(|error| SourceError::new(error.to_string()))?
    }

    /// What was uploaded under this name, in a file without a name.
    async fn download(&self, upload: &str) -> Result<File, SourceError> {
        let server = self.server.get().ok_or_else(|| {
            SourceError::new("the sources were uploaded to a server, and this worker works for none yet")
        })?;
        let pauses = exponential(Duration::from_millis(200), Duration::from_secs(5));
        let download = || self.try_download(server, upload);
        let file = download
            .retry(pauses.with_max_times(MAX_ATTEMPTS - 1))
            // The client retries API errors itself.
            .when(|error| matches!(error, DownloadError::Stream(_)))
            .await;
        file.map_err(|error| match error {
            DownloadError::Api(error) => SourceError::new(error.to_string()),
            DownloadError::Stream(error) => {
                let message = format!("upload {upload} broke off: {}", causes(&error));
                SourceError::io("the sources cannot be downloaded", &error).with_message(message)
            }
            DownloadError::TooLarge => {
                let message = format!(
                    "upload {upload} has more than {} bytes, this worker's limit; raise TIDEMILL_GIT_MAX_SIZE there",
                    self.settings.limits.repository_bytes
                );
                SourceError::of(SourceErrorKind::TooLarge, message)
            }
            DownloadError::WrongHash(got) => SourceError::new(format!(
                "upload {upload} is damaged: its bytes have the SHA-256 {got}; start the run again, which sends it anew"
            )),
        })
    }

    async fn try_download(&self, server: &ApiClient, upload: &str) -> Result<File, DownloadError> {
        let file = tempfile::tempfile_in(&self.cache).map_err(DownloadError::Stream)?;
        let mut file = tokio::fs::File::from_std(file);
        let bytes = server
            .get(&path::SOURCE_DOWNLOAD.replace("{uploadId}", upload))
            .await
            .map_err(DownloadError::Api)?;
        let mut bytes = std::pin::pin!(bytes);
        let (mut hash, mut left) = (Sha256::new(), self.settings.limits.repository_bytes);
        while let Some(chunk) = bytes.try_next().await.map_err(DownloadError::Stream)? {
            left = left.checked_sub(chunk.len() as u64).ok_or(DownloadError::TooLarge)?;
            hash.update(&chunk);
            file.write_all(&chunk).await.map_err(DownloadError::Stream)?;
        }
        file.flush().await.map_err(DownloadError::Stream)?;
        let got = HEXLOWER.encode(&hash.finalize());
        if !upload.parse::<UploadId>().is_ok_and(|upload| upload.content() == got) {
            // Git must not see what nobody meant to send.
            return Err(DownloadError::WrongHash(got));
        }
        let mut file = file.into_std().await;
        file.rewind().map_err(DownloadError::Stream)?;
        Ok(file)
    }
}

/// Why an upload could not be downloaded.
enum DownloadError {
    Api(ApiError),
    /// Bytes with this SHA-256.
    WrongHash(String),
    Stream(std::io::Error),
    TooLarge,
}
