//! Finds what `--repo` names.

use super::{
    git::{self, SourceError},
    local,
    reach::HostPolicy,
    registry::{RegisteredSnapshot, register},
    snapshot::beside,
};
use std::path::Path;
use tidemill_core::execution::assignment::Source;
use tidemill_core::repository::{AddressError, Credentials, RepositoryAddress, canonical};

/// A repository at a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedCommit {
    /// The repository as a person knows it; it holds no password.
    pub repo: String,
    /// Branch, where one is known.
    pub branch: Option<String>,
    /// The commit's full hash.
    pub commit: String,
    /// What to tell workers.
    pub source: Source,
    /// What the address had in it: where the worker signs in, and with what. It is to be written nowhere.
    pub sign_in: Option<(RepositoryAddress, Credentials)>,
}

/// What a repository's address or path stands for, which a person wrote.
enum RepositoryLocation {
    Network(RepositoryAddress, Option<Credentials>),
    Disk(String),
}

fn place(text: &str) -> Result<RepositoryLocation, SourceError> {
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

/// The repository that somebody named, without credentials: an address, or the absolute path of a directory.
pub fn repository_named(text: &str) -> Result<String, SourceError> {
    match place(text) {
        Ok(RepositoryLocation::Network(address, _)) => Ok(address.to_git_url()),
        Ok(RepositoryLocation::Disk(path)) => {
            let found = Path::new(&path).canonicalize();
            Ok(found.map_or(path, |path| path.to_string_lossy().into_owned()))
        }
        // A name of one, as lists show it.
        Err(_) if tidemill_core::repository::RepositoryName::parse(text).is_ok() => Ok(text.to_owned()),
        Err(error) => Err(error),
    }
}

/// Where the sources of `text` at `branch` or `commit` are, for `--repo`: the head of its default branch when neither is given. What
/// a directory has is handed to workers of this data directory, below whose `cache` it is recorded.
pub fn resolve(
    text: &str,
    branch: Option<&str>,
    commit: Option<&str>,
    (cache, reach): (&Path, &HostPolicy),
) -> Result<ResolvedCommit, SourceError> {
    match place(text)? {
        RepositoryLocation::Network(address, credentials) => {
            if let Some(credentials) = &credentials {
                reach.sign_in(&address, credentials.clone());
            }
            let (branch, commit) = on_network(&address, branch, commit, reach)?;
            let url = address.to_git_url();
            let source = Source::Git {
                url: url.clone(),
                branch: branch.clone(),
                commit: commit.clone(),
                private_host: false,
            };
            let sign_in = credentials.map(|credentials| (address, credentials));
            Ok(ResolvedCommit { repo: url, branch, commit, source, sign_in })
        }
        RepositoryLocation::Disk(path) => on_disk(Path::new(&path), branch, commit, cache),
    }
}

fn on_network(
    address: &RepositoryAddress,
    branch: Option<&str>,
    commit: Option<&str>,
    reach: &HostPolicy,
) -> Result<(Option<String>, String), SourceError> {
    if let Some(commit) = commit {
        if !git::is_full_hash(commit) {
            return Err(SourceError::new(format!(
                "`{commit}` is not a full commit hash; a remote is asked by full hashes"
            )));
        }
        return Ok((branch.map(str::to_owned), commit.to_lowercase()));
    }
    let remote = reach.remote(&address.to_git_url(), false)?;
    let refs = remote.list_refs(&["--symref"], &[])?;
    let (mut head, mut found, mut peeled) = (None, None, None);
    for line in refs.lines() {
        let Some((value, name)) = line.split_once('\t') else { continue };
        if let Some(target) = value.strip_prefix("ref: refs/heads/") {
            if name == "HEAD" {
                head = Some(target.to_owned());
            }
            continue;
        }
        match branch {
            Some(branch) if name == format!("refs/heads/{branch}") => peeled = Some(value.to_owned()),
            Some(branch) if name == format!("refs/tags/{branch}^{{}}") => peeled = Some(value.to_owned()),
            Some(branch) if name == format!("refs/tags/{branch}") => found = Some(value.to_owned()),
            None if name == "HEAD" => found = Some(value.to_owned()),
            _ => {}
        }
    }
    let commit = peeled.or(found).ok_or_else(|| none_such(remote.url(), branch))?;
    Ok((branch.map(str::to_owned).or(head), commit))
}

fn none_such(repo: &str, branch: Option<&str>) -> SourceError {
    SourceError::new(match branch {
        Some(branch) => format!("{repo} has no branch or tag `{branch}`"),
        None => format!("{repo} has no commit yet"),
    })
}

fn on_disk(
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
            (Some(name.to_owned()), full.map_err(|_| none_such(&repo, branch))?)
        }
        (None, None) => {
            let full = commit_of("HEAD").map_err(|_| none_such(&repo, None))?;
            let head = local::git(&path, &["symbolic-ref", "--quiet", "--short", "HEAD"]);
            (head.ok().map(|name| name.trim().to_owned()), full)
        }
    };
    let (objects, _lock) = beside(&repo, Some(&common), cache)?;
    let name = canonical(&repo);
    let handed = RegisteredSnapshot {
        repository: &name,
        objects: &objects,
        branch: branch.as_deref(),
        commit: &commit,
        tree: None,
    };
    let source = register(cache, handed)?;
    Ok(ResolvedCommit { repo, branch, commit, source, sign_in: None })
}
