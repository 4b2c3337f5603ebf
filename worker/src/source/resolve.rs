//! Resolves `--repo` to a repository and a commit.

use super::{
    git::{self, SourceError},
    local,
    network::HostPolicy,
    registry::{RegisteredSnapshot, SnapshotDetails, SnapshotKind, register},
    snapshot::{copy_refs, open_shadow_repository},
};
use std::path::Path;
use tidemill_core::execution::assignment::Source;
use tidemill_core::repository::{AddressError, Credentials, RepositoryAddress, canonical_name};

/// The revision of a repository to run; none given: the head of its default branch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Revision<'a> {
    /// A branch, or a tag if there is no such branch.
    pub branch: Option<&'a str>,
    /// A tag.
    pub tag: Option<&'a str>,
    /// A commit.
    pub commit: Option<&'a str>,
}

impl Revision<'_> {
    fn describe(&self) -> Option<String> {
        match (self.tag, self.branch) {
            (Some(tag), _) => Some(format!("tag `{tag}`")),
            (None, Some(branch)) => Some(format!("branch or tag `{branch}`")),
            (None, None) => None,
        }
    }
}

/// A repository with a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedCommit {
    /// The address or path of the repository, without credentials.
    pub repo: String,
    /// The branch, if known.
    pub branch: Option<String>,
    /// The tag, if the commit was named by one.
    pub tag: Option<String>,
    /// The default branch, if known.
    pub default_branch: Option<String>,
    /// The commit's full hash.
    pub commit: String,
    /// The source for workers.
    pub source: Source,
    /// The credentials in the address, for the worker. They must not be stored.
    pub credentials: Option<(RepositoryAddress, Credentials)>,
}

/// A revision of a repository, found.
struct FoundRevision {
    branch: Option<String>,
    tag: Option<String>,
    default_branch: Option<String>,
    commit: String,
}

/// The location of a repository, parsed from user input.
enum RepositoryLocation {
    Network(RepositoryAddress, Option<Credentials>),
    Disk(String),
}

fn parse_location(text: &str) -> Result<RepositoryLocation, SourceError> {
    let invalid = |error: AddressError| SourceError::new(error.to_string());
    match tidemill_core::repository::local_path(text) {
        Ok(Some(path)) => return Ok(RepositoryLocation::Disk(path)),
        // Here, on the machine of the directory, `..` has one meaning.
        Err(AddressError::DotSegment) => {
            let path = Path::new(text.get(7..).filter(|_| !text.starts_with('/')).unwrap_or(text));
            if let Ok(path) = path.canonicalize() {
                return Ok(RepositoryLocation::Disk(path.to_string_lossy().into_owned()));
            }
        }
        _ => {}
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

/// Resolves the repository `text` at `revision`. A directory is registered below `cache` for workers of this data directory.
pub fn resolve(
    text: &str,
    revision: Revision<'_>,
    (cache, reach): (&Path, &HostPolicy),
) -> Result<ResolvedCommit, SourceError> {
    match parse_location(text)? {
        RepositoryLocation::Network(address, credentials) => {
            if let Some(credentials) = &credentials {
                reach.set_credentials(&address, credentials.clone());
            }
            let FoundRevision { branch, tag, default_branch, commit } =
                resolve_remote(&address, revision, reach)?;
            let url = address.to_git_url();
            let source = Source::Git {
                url: url.clone(),
                branch: branch.clone(),
                commit: commit.clone(),
                private_host: false,
                has_credential: false,
            };
            let credentials = credentials.map(|credentials| (address, credentials));
            Ok(ResolvedCommit { repo: url, branch, tag, default_branch, commit, source, credentials })
        }
        RepositoryLocation::Disk(path) => resolve_local(Path::new(&path), revision, cache),
    }
}

fn resolve_remote(
    address: &RepositoryAddress,
    revision: Revision<'_>,
    reach: &HostPolicy,
) -> Result<FoundRevision, SourceError> {
    let Revision { branch, tag, commit } = revision;
    if let Some(commit) = commit
        && !git::is_full_hash(commit)
    {
        return Err(SourceError::new(format!(
            "`{commit}` is not a full commit hash, which a remote repository requires"
        )));
    }
    let remote = reach.remote(&address.to_git_url(), false)?;
    let refs = match (remote.list_refs(&["--symref"], &[]), commit) {
        (Ok(refs), _) => refs,
        // A commit can be fetched later, from a server that is not reachable now.
        (Err(_), Some(_)) => String::new(),
        (Err(error), None) => return Err(error),
    };
    let (mut default_branch, mut head) = (None, None);
    let (mut of_branch, mut of_tag, mut tag_object) = (None, None, None);
    let tag_name = tag.or(branch);
    for line in refs.lines() {
        let Some((value, name)) = line.split_once('\t') else { continue };
        if let Some(target) = value.strip_prefix("ref: refs/heads/") {
            if name == "HEAD" {
                default_branch = Some(target.to_owned());
            }
        } else if name == "HEAD" {
            head = Some(value.to_owned());
        } else if tag.is_none() && branch.is_some_and(|branch| name == format!("refs/heads/{branch}")) {
            of_branch = Some(value.to_owned());
        } else if tag_name.is_some_and(|tag| name == format!("refs/tags/{tag}^{{}}")) {
            of_tag = Some(value.to_owned());
        } else if tag_name.is_some_and(|tag| name == format!("refs/tags/{tag}")) {
            tag_object = Some(value.to_owned());
        }
    }
    let of_tag = of_tag.or(tag_object);
    if let Some(commit) = commit {
        let (branch, tag) = (branch.map(str::to_owned), tag.map(str::to_owned));
        return Ok(FoundRevision { branch, tag, default_branch, commit: commit.to_lowercase() });
    }
    let unknown = || unknown_ref(remote.url(), revision);
    match (tag_name, of_branch, of_tag) {
        (None, ..) => {
            let branch = default_branch.clone();
            Ok(FoundRevision { branch, tag: None, default_branch, commit: head.ok_or_else(unknown)? })
        }
        (Some(name), Some(commit), _) => {
            Ok(FoundRevision { branch: Some(name.to_owned()), tag: None, default_branch, commit })
        }
        (Some(name), None, Some(commit)) => {
            Ok(FoundRevision { branch: None, tag: Some(name.to_owned()), default_branch, commit })
        }
        (Some(_), None, None) => Err(unknown()),
    }
}

fn unknown_ref(repo: &str, revision: Revision<'_>) -> SourceError {
    SourceError::new(match revision.describe() {
        Some(name) => format!("{repo} has no {name}"),
        None => format!("{repo} has no commit yet"),
    })
}

fn resolve_local(path: &Path, revision: Revision<'_>, cache: &Path) -> Result<ResolvedCommit, SourceError> {
    let path = path
        .canonicalize()
        .map_err(|error| SourceError::new(format!("{} cannot be read: {error}", path.display())))?;
    let repo = path.to_string_lossy().into_owned();
    let common = local::common_directory(&path)?;
    let verify =
        |name: &str| local::git(&path, &["rev-parse", "--verify", "--quiet", "--end-of-options", name]);
    let commit_of = |name: &str| verify(&format!("{name}^{{commit}}")).map(|hash| hash.trim().to_owned());
    let head = local::git(&path, &["symbolic-ref", "--quiet", "--short", "HEAD"]);
    let head = head.ok().map(|name| name.trim().to_owned());
    let Revision { branch, tag, commit } = revision;
    let unknown = || unknown_ref(&repo, revision);
    let (branch, tag, commit) = match (commit, tag, branch) {
        (Some(commit), tag, branch) => {
            let full = commit_of(commit)
                .map_err(|error| SourceError::new(format!("{repo} has no commit `{commit}`: {error}")))?;
            (branch.map(str::to_owned), tag.map(str::to_owned), full)
        }
        (None, Some(tag), _) => {
            let full = commit_of(&format!("refs/tags/{tag}")).map_err(|_| unknown())?;
            (None, Some(tag.to_owned()), full)
        }
        (None, None, Some(name)) => {
            if let Ok(full) = commit_of(&format!("refs/heads/{name}")) {
                (Some(name.to_owned()), None, full)
            } else {
                let full = commit_of(&format!("refs/tags/{name}")).map_err(|_| unknown())?;
                (None, Some(name.to_owned()), full)
            }
        }
        (None, None, None) => (head.clone(), None, commit_of("HEAD").map_err(|_| unknown())?),
    };
    let (objects, _lock) = open_shadow_repository(&repo, Some(&common), cache)?;
    let mut details = SnapshotDetails {
        kind: SnapshotKind::Commit,
        origin: Some(format!("file://{repo}")),
        lfs: Some(common.join("lfs/objects")),
        ..SnapshotDetails::default()
    };
    copy_refs(&common, &objects, branch.as_deref().or(head.as_deref()), &mut details)?;
    // As in a clone of it, the branch that is checked out there is the default branch.
    let is_branch = |name: &String| commit_of(&format!("refs/heads/{name}")).is_ok();
    details.default_branch = head.filter(is_branch).or(details.default_branch);
    let name = canonical_name(&repo);
    let snapshot = RegisteredSnapshot {
        repository: &name,
        objects: &objects,
        branch: branch.as_deref(),
        commit: &commit,
        tree: None,
        details: &details,
    };
    let source = register(cache, snapshot)?;
    let default_branch = details.default_branch;
    Ok(ResolvedCommit { repo, branch, tag, default_branch, commit, source, credentials: None })
}
