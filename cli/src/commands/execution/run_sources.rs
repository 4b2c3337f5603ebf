//! The sources of a run: a snapshot of the current directory, or the repository of `--repo`.

use crate::{
    args::Run,
    failure::{Failure, Outcome, Rejection},
    output,
    pipeline::elsewhere::Elsewhere,
    settings::{Settings, data_dir},
    view::format,
};
use rustix::fs::statvfs;
use std::path::Path;
use tidemill_core::execution::assignment::{CheckoutRefs, Source};
use tidemill_core::execution::discovery::PipelineFile;
use tidemill_core::gitlab;
use tidemill_core::pipeline::{IncludeSources, NoSources};
use tidemill_core::repository::{AddressError, AddressPolicy, Credentials, RepositoryAddress};
use tidemill_worker::source::{
    self, DiscoveryResult, GitlabValues, HostPolicy, ResolvedCommit, Revision, SourceError, SourceErrorKind,
    SourcePack, UploadPlan,
};
use tokio::task::JoinHandle;

/// With fewer free bytes, the disk is the likely reason for a failure of git.
const LOW_SPACE: u64 = 16 << 20;

/// The sources of a run, and their description in the execution's record.
pub struct RunSources {
    /// The repository's address or directory.
    pub repo: String,
    /// Branch, if known.
    pub branch: Option<String>,
    /// Tag, if the commit was named by one.
    pub tag: Option<String>,
    /// The default branch, if known.
    pub default_branch: Option<String>,
    /// Commit hash.
    pub commit: Option<String>,
    /// Whether the sources have uncommitted changes.
    pub dirty: bool,
    /// With `--repo`: what the commit has; `None` if only workers can fetch it.
    pub commit_files: Option<DiscoveryResult>,
    /// How workers fetch the sources.
    pub source: Source,
    /// Pack to upload before workers of a deployment can use `source`.
    pub pack: Option<SourcePack>,
    /// Credentials from the address, only for the worker in this process.
    pub sign_in: Option<(RepositoryAddress, Credentials)>,
}

/// The search for the sources of a run, on another thread: git takes longer for that than all else that comes before the first
/// container.
pub enum SourceSearch {
    /// Goes on.
    Running(JoinHandle<Outcome<RunSources>>),
    /// Has ended.
    Ended(Box<RunSources>),
}

impl SourceSearch {
    /// Returns the sources if they have been waited for.
    pub fn found(&self) -> Option<&RunSources> {
        match self {
            Self::Running(_) => None,
            Self::Ended(sources) => Some(sources),
        }
    }

    /// Waits for the sources.
    pub async fn finish(self) -> Outcome<RunSources> {
        match self {
            Self::Running(task) => task.await.map_err(|error| Failure::system(error.to_string()))?,
            Self::Ended(sources) => Ok(*sources),
        }
    }
}

/// Begins to look for the sources of a run.
pub fn start_search(settings: &Settings, args: &Run) -> Outcome<SourceSearch> {
    let data_dir = settings.data_dir()?;
    data_dir::prepare(data_dir)?;
    let cache = data_dir.join("worker").join("cache");
    let repo = args.repo.clone();
    let (branch, tag, commit) = (args.branch.clone(), args.tag.clone(), args.commit.clone());
    let (is_remote, upload_all) = (settings.is_remote(), args.upload_all);
    if is_remote && let Some(repo) = &repo {
        check_repo_for_servers(repo)?;
    }
    let elsewhere = Elsewhere::new(&args.include, settings.data_dir().ok());
    Ok(SourceSearch::Running(tokio::task::spawn_blocking(move || match repo {
        None => snapshot(&cache, is_remote, upload_all),
        Some(repo) => {
            // The user may connect to any host.
            let policy = HostPolicy::new(AddressPolicy::unrestricted());
            let revision =
                Revision { branch: branch.as_deref(), tag: tag.as_deref(), commit: commit.as_deref() };
            let ResolvedCommit { repo, branch, tag, default_branch, commit, source, credentials: sign_in } =
                source::resolve(&repo, revision, (&cache, &policy))
                    .map_err(|error| failure(&error, &cache))?;
            let refs = checkout_refs(tag.clone(), default_branch.clone());
            let values = GitlabValues::default();
            let read = read_commit((&repo, &source, &refs), &values, &policy, (&cache, &elsewhere));
            let commit_files = match read {
                Ok(commit) => Some(commit),
                // Workers may reach a host that this machine does not.
                Err(_) if is_remote => None,
                Err(error) => return Err(failure(&error, &cache)),
            };
            let (commit, dirty, pack) = (Some(commit), false, None);
            Ok(RunSources {
                repo,
                branch,
                tag,
                default_branch,
                commit,
                dirty,
                commit_files,
                source,
                pack,
                sign_in,
            })
        }
    })))
}

fn checkout_refs(tag: Option<String>, default_branch: Option<String>) -> CheckoutRefs {
    CheckoutRefs { tag, default_branch, target_branch: None }
}

/// Reads what the commit of `source` has.
fn read_commit(
    (repo, source, refs): (&str, &Source, &CheckoutRefs),
    values: &GitlabValues,
    policy: &HostPolicy,
    (cache, elsewhere): (&Path, &Elsewhere),
) -> Result<DiscoveryResult, SourceError> {
    let includes = match RepositoryAddress::parse(repo) {
        Ok(address) => elsewhere.of_repository(Some(address), policy.clone()),
        Err(_) => elsewhere.of_working_tree(Path::new(repo)),
    };
    let includes: &dyn IncludeSources = match &includes {
        Some(fetcher) => fetcher,
        None => &NoSources,
    };
    source::read_resolved(source, refs, values, policy, (cache, includes))
}

/// Reads the GitLab file of the commit of `--repo` again with what is set for it, which was not known when the commit was found.
/// `None` if the commit has pipeline files of Tidemill, for which nothing of this matters, or if its files are not known.
pub async fn read_gitlab_file(
    settings: &Settings,
    args: &Run,
    sources: &RunSources,
    values: GitlabValues,
) -> Outcome<Option<DiscoveryResult>> {
    let is_gitlab = |file: &PipelineFile| gitlab::FILE_NAMES.contains(&file.path.as_str());
    if !sources.commit_files.as_ref().is_some_and(|commit| commit.files.iter().all(is_gitlab)) {
        return Ok(None);
    }
    let cache = settings.data_dir()?.join("worker").join("cache");
    let elsewhere = Elsewhere::new(&args.include, settings.data_dir().ok());
    let (repo, source) = (sources.repo.clone(), sources.source.clone());
    let refs = checkout_refs(sources.tag.clone(), sources.default_branch.clone());
    let result = tokio::task::spawn_blocking(move || {
        let policy = HostPolicy::new(AddressPolicy::unrestricted());
        let read = read_commit((&repo, &source, &refs), &values, &policy, (&cache, &elsewhere));
        read.map(Some).map_err(|error| failure(&error, &cache))
    });
    result.await.map_err(|error| Failure::system(error.to_string()))?
}

/// Takes a snapshot of the current directory.
fn snapshot(cache: &Path, is_remote: bool, upload_all: bool) -> Outcome<RunSources> {
    let directory = std::env::current_dir()?;
    let snapshot = source::snapshot(&directory, cache).map_err(|error| failure(&error, cache))?;
    let (source, pack) = if is_remote {
        match source::plan_upload(&snapshot, upload_all).map_err(|error| failure(&error, cache))? {
            UploadPlan::Fetch(source) => (source, None),
            // The upload determines the source.
            UploadPlan::Upload(pack) => (Source::None, Some(pack)),
        }
    } else {
        (snapshot.source, None)
    };
    let (repo, branch) = (snapshot.repo, snapshot.branch);
    let commit = Some(snapshot.commit).filter(|_| snapshot.has_commit);
    Ok(RunSources {
        repo,
        branch,
        tag: None,
        default_branch: None,
        commit,
        dirty: snapshot.dirty,
        commit_files: None,
        source,
        pack,
        sign_in: None,
    })
}

/// Rejects repositories that the workers of a server cannot fetch: directories, and addresses with credentials.
fn check_repo_for_servers(repo: &str) -> Outcome {
    let is_directory = !repo.contains("://") && Path::new(repo).is_dir();
    match RepositoryAddress::parse_with_credentials(repo) {
        Err(_) if is_directory => Err(local_directory_error()),
        Err(AddressError::LocalPath) => Err(local_directory_error()),
        Ok((_, None)) => Ok(()),
        Ok((address, Some(_))) => Err(Failure::usage(format!(
            "--repo contains credentials, which the server would store: use --repo {address}, and give the server's \
             workers an SSH key or a git credential helper for this host"
        ))),
        Err(error) => Err(Failure::usage(format!("--repo: {error}"))),
    }
}

fn local_directory_error() -> Failure {
    Failure::usage(
        "--repo is a directory, which the server's workers cannot read: to upload it, run the command in it without --repo",
    )
}

/// Converts the failure to find sources, which are kept in `cache`.
fn failure(error: &SourceError, cache: &Path) -> Failure {
    let message = output::printable_lines(&error.to_string());
    if error.kind() == SourceErrorKind::DiskFull {
        return Failure { rejection: Some(Rejection::NoSpace), ..Failure::system(message) };
    }
    // Git reports a full disk only as text, and frees what it has written.
    let free = statvfs(cache).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    if free < LOW_SPACE {
        return Failure::system(format!(
            "{message}; the disk of {} has only {} left",
            cache.display(),
            format::size(free)
        ));
    }
    Failure::usage(message)
}
