//! The cache of a worker's sources, which are fetched from git servers or downloaded from the Tidemill server.

use super::{
    bounds::OperationBounds,
    discovery::{DiscoveryResult, discover},
    error::SourceErrorKind,
    git::{
        SourceError,
        child::{ChildFiles, read_child_files},
        compared::RefSource,
        lfs_pointer::Pointer,
    },
    includes::{IncludeAccess, IncludeFetcher, own_repository},
    network::{GitSetUp, HostPolicy, Remote},
    prune::prune,
    settings::SourceSettings,
    tree::{Tree, TreeRequest, download_lfs, materialize_as, source_objects},
};
use crate::client::{ApiClient, ApiError, exponential, format_causes};
use crate::workspace::FileOwner;
use backon::Retryable;
use data_encoding::HEXLOWER;
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::Seek,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tidemill_core::api::path;
use tidemill_core::execution::{
    assignment::{Checkout, CheckoutRefs, Preparation, Source},
    discovery::{ChildRequest, Discovery},
    failure::{FailureKind, FailureReason},
    upload::UploadId,
};
use tokio::{io::AsyncWriteExt, runtime::Handle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Maximum attempts at one download.
const MAX_ATTEMPTS: usize = 5;

/// A disk with fewer free bytes counts as full.
const DISK_FULL_BYTES: u64 = 1 << 20;

/// A worker's cache of source trees; cheap to clone.
#[derive(Debug, Clone)]
pub struct SourceCache {
    cache: PathBuf,
    settings: Arc<SourceSettings>,
    server: Arc<OnceLock<ApiClient>>,
    host_policy: HostPolicy,
    pruning: Arc<AtomicBool>,
    tasks: TaskTracker,
}

impl SourceCache {
    /// Creates a cache in `cache` that fetches from hosts within `reach`.
    #[must_use]
    pub fn new(cache: PathBuf, host_policy: HostPolicy, settings: SourceSettings) -> Self {
        Self {
            cache,
            settings: Arc::new(settings),
            server: Arc::default(),
            host_policy,
            pruning: Arc::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Returns the policy on the hosts that may be contacted.
    #[must_use]
    pub fn host_policy(&self) -> &HostPolicy {
        &self.host_policy
    }

    /// Sets the server that stores uploads. Later calls have no effect.
    pub fn set_upload_server(&self, server: ApiClient) {
        let _ = self.server.set(server);
    }

    /// Returns the tree of `source` with the default checkout; see [`Self::checkout`].
    pub async fn tree(&self, source: &Source) -> Result<Option<Tree>, SourceError> {
        let (source, checkout, refs) = (source.clone(), Checkout::default(), CheckoutRefs::default());
        self.check_out(source, checkout, refs, (FileOwner::Worker, self.host_policy.clone())).await
    }

    /// Returns the tree of a job, whose files belong to `owner`, or `None` if the workspace starts empty. Dropping the future
    /// cancels the work: git and its child processes are killed, and locks are released.
    pub async fn checkout(&self, job: &Preparation, owner: FileOwner) -> Result<Option<Tree>, SourceError> {
        let reach = self.host_policy.with_credential(job.credential.clone());
        self.check_out(job.source.clone(), job.checkout.clone(), job.refs.clone(), (owner, reach)).await
    }

    /// Like [`Self::checkout`], with the failure of the job as the error.
    pub async fn checkout_for_job(
        &self,
        job: &Preparation,
        owner: FileOwner,
    ) -> Result<Option<Tree>, FailureReason> {
        self.checkout(job, owner).await.map_err(|error| {
            let kind = match error.failure_kind() {
                // The message of git is not parsed: whether the disk is full or its directory is gone is read from the disk.
                FailureKind::SourceUnavailable => match rustix::fs::statvfs(&self.cache) {
                    Err(_) => FailureKind::WorkerFailed,
                    Ok(disk) if disk.f_bavail.saturating_mul(disk.f_frsize) < DISK_FULL_BYTES => {
                        FailureKind::DiskFull
                    }
                    Ok(_) => FailureKind::SourceUnavailable,
                },
                other => other,
            };
            FailureReason::new(kind, format!("the sources could not be fetched: {error}"))
        })
    }

    async fn check_out(
        &self,
        source: Source,
        checkout: Checkout,
        refs: CheckoutRefs,
        (owner, reach): (FileOwner, HostPolicy),
    ) -> Result<Option<Tree>, SourceError> {
        let (this, runtime) = (self.clone(), Handle::current());
        let tree = self.run_blocking(move |cancel| {
            let download = |upload: &str| this.download_within(&runtime, &cancel, upload);
            let lfs = |remote: &Remote, pointers: &[Pointer], directory: &Path| {
                runtime.block_on(async {
                    tokio::select! {
                        done = download_lfs(remote, pointers, directory) => done,
                        () = tokio::time::sleep(this.settings.limits.operation) => {
                            Err(SourceError::of(SourceErrorKind::TimedOut, "the download of Git LFS took too long"))
                        }
                        () = cancel.cancelled() => {
                            Err(SourceError::of(SourceErrorKind::Canceled, "the download of Git LFS was canceled"))
                        }
                    }
                })
            };
            materialize_as(TreeRequest {
                source: &source,
                checkout: &checkout,
                refs: &refs,
                owner,
                cache: &this.cache,
                reach: &reach,
                download: &download,
                lfs: &lfs,
            })
        });
        let tree = tree.await?;
        if tree.as_ref().is_some_and(|tree| tree.is_new) {
            self.prune_later();
        }
        Ok(tree)
    }

    /// Reads the pipeline files and paths of a commit. Dropping the future cancels the work, as for [`Self::tree`].
    pub async fn discover(
        &self,
        job: &Preparation,
        request: &Discovery,
    ) -> Result<DiscoveryResult, SourceError> {
        let Source::Git { url, branch, commit, private_host, .. } = job.source.clone() else {
            return Err(SourceError::new("discovery needs a git repository as source"));
        };
        let reach = self.host_policy.with_credential(job.credential.clone());
        let remote = reach.remote(&url, private_host)?;
        let (cache, refs, request) = (self.cache.clone(), job.refs.clone(), request.clone());
        let (this, job) = (self.clone(), job.clone());
        let work = self.run_blocking(move |_| {
            let elsewhere = IncludeFetcher::new(this.include_access(&job, reach, GitSetUp::None));
            discover(&remote, (branch.as_deref(), &refs), &commit, &request, (&cache, &elsewhere))
        });
        let discovered = work.await;
        self.prune_later();
        discovered
    }

    /// Returns what pipeline files of the job may include from elsewhere; `reach` has the repository's credential.
    fn include_access(&self, job: &Preparation, reach: HostPolicy, set_up: GitSetUp) -> IncludeAccess {
        let (repository, private_host) = own_repository(&job.source, &self.cache);
        IncludeAccess {
            // The author of a fork must not read with the repository's credential.
            policy: if job.origin.is_fork { self.host_policy.without_credentials() } else { reach },
            set_up,
            repository,
            private_host,
            cache: self.cache.clone(),
            templates: self.settings.templates.clone(),
            offline: false,
        }
    }

    /// Reads the files of the pipeline that a job starts; `artifacts` are the texts of its files of artifacts.
    /// Dropping the future cancels the work, as for [`Self::tree`].
    pub async fn read_child(
        &self,
        job: &Preparation,
        mut request: ChildRequest,
        artifacts: Vec<String>,
    ) -> Result<ChildFiles, SourceError> {
        if let Some(event) = &mut request.event {
            // It is not sent with the facts.
            event.repo.clone_from(&job.origin.repository);
        }
        let (this, runtime, job) = (self.clone(), Handle::current(), job.clone());
        let reach = self.host_policy.with_credential(job.credential.clone());
        // Only the user of this machine can start a snapshot. A file that a job made includes nothing with their credentials, and neither
        // does one that such a file names.
        let is_made = !artifacts.is_empty() || request.is_of_artifact;
        let is_users_file = !is_made && matches!(job.source, Source::Snapshot { .. });
        let set_up = if is_users_file { GitSetUp::User } else { GitSetUp::None };
        let work = self.run_blocking(move |cancel| {
            let elsewhere = IncludeFetcher::new(this.include_access(&job, reach.clone(), set_up));
            let (commit, tree) = match &job.source {
                Source::None => return read_child_files(None, &request, &artifacts, &elsewhere),
                Source::Git { commit, .. } => (commit, None),
                Source::Snapshot { commit, tree, .. } | Source::Uploaded { commit, tree, .. } => {
                    (commit, tree.as_ref())
                }
            };
            let objects = source_objects(TreeRequest {
                source: &job.source,
                checkout: &job.checkout,
                refs: &job.refs,
                owner: FileOwner::Worker,
                cache: &this.cache,
                reach: &reach,
                download: &|upload| this.download_within(&runtime, &cancel, upload),
                lfs: &|_, _, _| Err(SourceError::new("pipeline files are not files of Git LFS")),
            })?;
            let tree = tree.unwrap_or(commit).as_str();
            let sources = (objects.path.as_path(), tree);
            let mut read = read_child_files(Some(sources), &request, &artifacts, &elsewhere)?;
            let remote = match &job.source {
                Source::Git { url, private_host, .. } => Some(reach.remote(url, *private_host)?),
                // An upload has no other refs: what changed since them is unknown.
                Source::Uploaded { .. } => return Ok(read),
                _ => None,
            };
            let refs = RefSource { objects: &objects, remote: remote.as_ref() };
            read.compared = refs.compare((commit.as_str(), tree), std::mem::take(&mut read.refs))?;
            Ok(read)
        });
        let read = work.await;
        self.prune_later();
        read
    }

    /// Waits until canceled work and its git processes have ended. No new work may start afterwards.
    pub async fn wait_until_idle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Returns the free space of the disk below which what is unused is removed, in bytes.
    pub fn min_free_bytes(&self) -> u64 {
        self.settings.retention.free_bytes
    }

    /// Removes cached sources that exceed the retention settings.
    pub fn prune(&self) {
        if !self.pruning.swap(true, Ordering::AcqRel) {
            let bounds = OperationBounds::new(self.settings.limits.clone(), CancellationToken::new());
            bounds.scope(|| prune(&self.cache, &self.settings.retention));
            self.pruning.store(false, Ordering::Release);
        }
    }

    fn prune_later(&self) {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.prune());
    }

    /// Runs `work`, which blocks, on a separate thread and within bounds. Dropping the future cancels it.
    async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(CancellationToken) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let cancel = CancellationToken::new();
        let bounds = OperationBounds::new(self.settings.limits.clone(), cancel.clone());
        let _cancel_on_drop = cancel.clone().drop_guard();
        let task = self.tasks.spawn_blocking(move || bounds.scope(|| work(cancel)));
        task.await.map_err(|error| SourceError::new(error.to_string()))?
    }

    /// Downloads an upload from a thread that may block.
    fn download_within(
        &self,
        runtime: &Handle,
        cancel: &CancellationToken,
        upload: &str,
    ) -> Result<File, SourceError> {
        runtime.block_on(async {
            tokio::select! {
                file = self.download(upload) => file,
                () = cancel.cancelled() => {
                    Err(SourceError::of(SourceErrorKind::Canceled, "the download of the upload was canceled"))
                }
            }
        })
    }

    /// Downloads an upload to an unnamed file.
    async fn download(&self, upload: &str) -> Result<File, SourceError> {
        let server = self.server.get().ok_or_else(|| {
            SourceError::new(
                "the sources were uploaded to a server, but this worker has no server connection yet",
            )
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
                let message = format!("upload {upload} broke off: {}", format_causes(&error));
                SourceError::io("the sources cannot be downloaded", &error).with_message(message)
            }
            DownloadError::TooLarge => {
                let message = format!(
                    "upload {upload} has more than {} bytes, the limit of this worker; raise TIDEMILL_GIT_MAX_SIZE on the worker",
                    self.settings.limits.repository_bytes
                );
                SourceError::of(SourceErrorKind::TooLarge, message)
            }
            DownloadError::WrongHash(actual) => SourceError::new(format!(
                "upload {upload} is corrupt: its SHA-256 is {actual}; start the run again, which uploads it again"
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
        let (mut hash, mut remaining) = (Sha256::new(), self.settings.limits.repository_bytes);
        while let Some(chunk) = bytes.try_next().await.map_err(DownloadError::Stream)? {
            remaining = remaining.checked_sub(chunk.len() as u64).ok_or(DownloadError::TooLarge)?;
            hash.update(&chunk);
            file.write_all(&chunk).await.map_err(DownloadError::Stream)?;
        }
        file.flush().await.map_err(DownloadError::Stream)?;
        let actual = HEXLOWER.encode(&hash.finalize());
        if !upload.parse::<UploadId>().is_ok_and(|upload| upload.content() == actual) {
            // Git must not read content that the sender did not upload.
            return Err(DownloadError::WrongHash(actual));
        }
        let mut file = file.into_std().await;
        file.rewind().map_err(DownloadError::Stream)?;
        Ok(file)
    }
}

/// The reason why a download failed.
enum DownloadError {
    Api(ApiError),
    /// The bytes have this SHA-256 instead of the expected one.
    WrongHash(String),
    Stream(std::io::Error),
    TooLarge,
}
