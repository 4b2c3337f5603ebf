//! Resolves `--repo` to a repository and a commit.

use super::{
    git::{self, SourceError},
    local,
    network::HostPolicy,
    registry::{RegisteredSnapshot, register},
    snapshot::open_shadow_repository,
};
use std::path::Path;
use tidemill_core::execution::assignment::Source;
use tidemill_core::repository::{AddressError, Credentials, RepositoryAddress, canonical_name};

/// A repository with a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedCommit {
    /// The address or path of the repository, without credentials.
    pub repo: String,
    /// The branch, if known.
    pub branch: Option<String>,
    /// The commit's full hash.
    pub commit: String,
    /// The source for workers.
    pub source: Source,
    /// The credentials in the address, for the worker. They must not be stored.
    pub credentials: Option<(RepositoryAddress, Credentials)>,
}

/// The location of a repository, parsed from user input.
enum RepositoryLocation {
    Network(RepositoryAddress, Option<Credentials>),
    Disk(String),
}

fn parse_location(text: &str) -> Result<RepositoryLocation, SourceError> {
    let invalid = |error: AddressError| SourceError::new(error.to_string());
    if let Ok(Some(path)) = tidemill_core::repository::local_path(text) {
        return Ok(RepositoryLocation::Disk(path));
    }
    match RepositoryAddress::parse_with_credentials(text) {
        Ok((address, credentials)) => Ok(RepositoryLocation::Network(address, credentials)),
        Err(_) if Path::new(text).is_dir() => Ok(RepositoryLocation::Disk(text.to_owned())),
        Err(error) => Err(invalid(error)),
    }
}

/// Normalizes a repository from user input: returns its address without credentials, or an absolute path.
pub fn normalize_repository(text: &str) -> Result<String, SourceError> {
    match parse_location(text) {
        Ok(RepositoryLocation::Network(address, _)) => Ok(address.to_git_url()),
        Ok(RepositoryLocation::Disk(path)) => {
            let absolute = Path::new(&path).canonicalize();
            Ok(absolute.map_or(path, |path| path.to_string_lossy().into_owned()))
        }
        // A repository name, as lists show it.
        Err(_) if tidemill_core::repository::RepositoryName::parse(text).is_ok() => Ok(text.to_owned()),
        Err(error) => Err(error),
    }
}

/// Resolves the repository `text` at `branch` or `commit`, by default at the head of its default branch. A directory is
/// registered below `cache` for workers of this data directory.
pub fn resolve(
    text: &str,
    branch: Option<&str>,
    commit: Option<&str>,
    (cache, reach): (&Path, &HostPolicy),
) -> Result<ResolvedCommit, SourceError> {
    match parse_location(text)? {
        RepositoryLocation::Network(address, credentials) => {
            if let Some(credentials) = &credentials {
                reach.set_credentials(&address, credentials.clone());
            }
            let (branch, commit) = resolve_remote(&address, branch, commit, reach)?;
            let url = address.to_git_url();
            let source = Source::Git {
                url: url.clone(),
                branch: branch.clone(),
                commit: commit.clone(),
                private_host: false,
            };
            let sign_in = credentials.map(|credentials| (address, credentials));
            Ok(ResolvedCommit { repo: url, branch, commit, source, credentials: sign_in })
        }
        RepositoryLocation::Disk(path) => resolve_local(Path::new(&path), branch, commit, cache),
    }
}

fn resolve_remote(
    address: &RepositoryAddress,
    branch: Option<&str>,
    commit: Option<&str>,
    reach: &HostPolicy,
) -> Result<(Option<String>, String), SourceError> {
    if let Some(commit) = commit {
        if !git::is_full_hash(commit) {
            return Err(SourceError::new(format!(
                "`{commit}` is not a full commit hash, which a remote repository requires"
            )));
        }
        return Ok((branch.map(str::to_owned), commit.to_lowercase()));
    }
    let remote = reach.remote(&address.to_git_url(), false)?;
    let refs = remote.list_refs(&["--symref"], &[])?;
    let (mut head, mut tag, mut tip) = (None, None, None);
    for line in refs.lines() {
        let Some((value, name)) = line.split_once('\t') else { continue };
        if let Some(target) = value.strip_prefix("ref: refs/heads/") {
            if name == "HEAD" {
                head = Some(target.to_owned());
            }
            continue;
        }
        match branch {
            Some(branch) if name == format!("refs/heads/{branch}") => tip = Some(value.to_owned()),
            Some(branch) if name == format!("refs/tags/{branch}^{{}}") => tip = Some(value.to_owned()),
            Some(branch) if name == format!("refs/tags/{branch}") => tag = Some(value.to_owned()),
            None if name == "HEAD" => tip = Some(value.to_owned()),
            _ => {}
        }
    }
    let commit = tip.or(tag).ok_or_else(|| unknown_ref(remote.url(), branch))?;
    Ok((branch.map(str::to_owned).or(head), commit))
}

fn unknown_ref(repo: &str, branch: Option<&str>) -> SourceError {
    SourceError::new(match branch {
        Some(branch) => format!("{repo} has no branch or tag `{branch}`"),
        None => format!("{repo} has no commit yet"),
    })
}

fn resolve_local(
    path: &Path,
    branch: Option<&str>,
    commit: Option<&str>,
    cache: &Path,
) -> Result<ResolvedCommit, SourceError> {
    let path = path
        .canonicalize()
        .map_err(|error| SourceError::new(format!("{} cannot be read: {error}", path.display())))?;
    let repo = path.to_string_lossy().into_owned();
    let common = local::common_directory(&path)?;
    let verify =
        |name: &str| local::git(&path, &["rev-parse", "--verify", "--quiet", "--end-of-options", name]);
    let commit_of = |name: &str| verify(&format!("{name}^{{commit}}")).map(|hash| hash.trim().to_owned());
    let (branch, commit) = match (commit, branch) {
        (Some(commit), branch) => {
            let full = commit_of(commit)
                .map_err(|error| SourceError::new(format!("{repo} has no commit `{commit}`: {error}")))?;
            (branch.map(str::to_owned), full)
        }
        (None, Some(name)) => {
            let full =
                commit_of(&format!("refs/heads/{name}")).or_else(|_| commit_of(&format!("refs/tags/{name}")));
            (Some(name.to_owned()), full.map_err(|_| unknown_ref(&repo, branch))?)
        }
        (None, None) => {
            let full = commit_of("HEAD").map_err(|_| unknown_ref(&repo, None))?;
            let head = local::git(&path, &["symbolic-ref", "--quiet", "--short", "HEAD"]);
            (head.ok().map(|name| name.trim().to_owned()), full)
        }
    };
    let (objects, _lock) = open_shadow_repository(&repo, Some(&common), cache)?;
    let name = canonical_name(&repo);
    let snapshot = RegisteredSnapshot {
        repository: &name,
        objects: &objects,
        branch: branch.as_deref(),
        commit: &commit,
        tree: None,
    };
    let source = register(cache, snapshot)?;
    Ok(ResolvedCommit { repo, branch, commit, source, credentials: None })
}
