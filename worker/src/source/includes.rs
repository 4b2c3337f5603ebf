//! Reads the files that pipelines include from elsewhere: other git repositories, the web, and the operator's templates.
//!
//! The author of the pipeline file chooses them and is not trusted: a worker contacts public hosts and that of the repository
//! only, with no credential but the one of the repository itself.

mod origin;
mod stored;
mod web;

use super::{
    bounds::{Limits, OperationBounds},
    error::SourceErrorKind,
    git::{
        self, SourceError,
        commit_files::{READ_LIMITS, list_files},
        objects::FileReader,
        process::size_of,
    },
    mirror::{ObjectRepository, WantedRefs, mirror_with_commit},
    network::{GitSetUp, HostPolicy, Remote},
};
pub use origin::own_repository;
use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use stored::StoredFiles;
use tidemill_core::execution::assignment::CheckoutRefs;
use tidemill_core::pipeline::{GitSource, IncludeError, IncludeSources, MAX_FILE_BYTES, RepositoryRefs};
use tidemill_core::repository::RepositoryAddress;

/// Maximum duration of fetching all files of one commit from elsewhere.
const MAX_TOTAL_TIME: Duration = Duration::from_secs(5 * 60);
/// Maximum size of the mirrors of all repositories together that the files of one commit are included from.
const MAX_REPOSITORIES_BYTES: u64 = 2 << 30;
/// Maximum number of branches and tags of such a repository.
const MAX_REFS: usize = 50_000;
/// Maximum number of commits that are kept open, each with two git processes.
const MAX_OPEN_COMMITS: usize = 8;

/// What included files from elsewhere may be read with.
#[derive(Debug, Clone)]
pub struct IncludeAccess {
    /// The hosts that may be contacted, with the credential of the repository.
    pub policy: HostPolicy,
    /// Whose git settings and other credentials apply.
    pub set_up: GitSetUp,
    /// The address of the repository that includes the files.
    pub repository: Option<RepositoryAddress>,
    /// Whether its host may have a private address.
    pub private_host: bool,
    /// The directory of fetched files.
    pub cache: PathBuf,
    /// The operator's directory of templates.
    pub templates: Option<PathBuf>,
    /// Whether only what was fetched before is used.
    pub offline: bool,
}

/// Reads included files from elsewhere, each repository and file at most once.
#[derive(Debug)]
pub struct IncludeFetcher {
    access: IncludeAccess,
    stored: StoredFiles,
    /// When the first file was fetched.
    started: OnceCell<Instant>,
    commits: RefCell<HashMap<(GitSource, String), OpenCommit>>,
    /// The sizes of the mirrors.
    sizes: RefCell<HashMap<GitSource, u64>>,
}

/// A commit that was fetched.
#[derive(Debug)]
struct OpenCommit {
    objects: ObjectRepository,
    reader: FileReader,
}

impl IncludeFetcher {
    /// Creates a reader that contacts nothing until a file is needed.
    #[must_use]
    pub fn new(access: IncludeAccess) -> Self {
        let stored = StoredFiles::new(access.cache.join("includes"));
        let (commits, sizes) = (RefCell::default(), RefCell::default());
        Self { access, stored, started: OnceCell::new(), commits, sizes }
    }

    /// Runs `work`, which contacts the server of a repository, within the time and the bytes that are left.
    fn fetch<T>(
        &self,
        source: &GitSource,
        work: impl FnOnce() -> Result<T, SourceError>,
    ) -> Result<T, IncludeError> {
        let bounds = OperationBounds::current();
        let left = self.time_left()?;
        let sizes = self.sizes.borrow();
        let of_others: u64 = sizes.iter().filter(|(known, _)| *known != source).map(|(_, size)| size).sum();
        drop(sizes);
        let max_bytes = MAX_REPOSITORIES_BYTES.saturating_sub(of_others);
        let limits = Limits {
            operation: bounds.limits.operation.min(left),
            silence: bounds.limits.silence.min(left),
            repository_bytes: bounds.limits.repository_bytes.min(max_bytes),
            ..bounds.limits.clone()
        };
        bounds.with_limits(limits).scope(work).map_err(|error| self.include_error(&error))
    }

    fn time_left(&self) -> Result<Duration, IncludeError> {
        let started = self.started.get_or_init(Instant::now);
        MAX_TOTAL_TIME.checked_sub(started.elapsed()).ok_or(IncludeError::TimedOut)
    }

    fn include_error(&self, error: &SourceError) -> IncludeError {
        match error.kind() {
            SourceErrorKind::Canceled => IncludeError::Canceled,
            _ if self.access.offline => IncludeError::Offline,
            SourceErrorKind::TimedOut => IncludeError::TimedOut,
            SourceErrorKind::Unavailable | SourceErrorKind::TooLarge | SourceErrorKind::DiskFull => {
                IncludeError::Unavailable(error.to_string())
            }
        }
    }

    fn remote(&self, source: &GitSource) -> Result<Remote, IncludeError> {
        let IncludeAccess { policy, set_up, repository, private_host, offline, .. } = &self.access;
        let own = repository.as_ref().is_some_and(|own| own.origin() == source.address.origin());
        let policy = if source.is_public { policy.without_credentials() } else { policy.clone() };
        let remote = policy
            .remote(&source.address.to_git_url(), *private_host && own)
            .map_err(|error| IncludeError::Unavailable(error.to_string()))?;
        // What everyone must be able to read is read without the user's credentials, too.
        let set_up = if source.is_public { GitSetUp::None } else { *set_up };
        Ok(remote.for_include(set_up, *offline))
    }

    /// Calls `read` with a commit, which is fetched if needed.
    fn with_commit<T>(
        &self,
        source: &GitSource,
        commit: &str,
        read: impl FnOnce(&mut OpenCommit) -> Result<T, IncludeError>,
    ) -> Result<T, IncludeError> {
        let key = (source.clone(), commit.to_owned());
        let mut commits = self.commits.borrow_mut();
        if let Some(open) = commits.get_mut(&key) {
            return read(open);
        }
        let remote = self.remote(source)?;
        let refs = CheckoutRefs::default();
        let wanted = WantedRefs { branch: None, refs: &refs, reference: None };
        let objects =
            self.fetch(source, || mirror_with_commit(&remote, wanted, commit, &self.access.cache))?;
        let size = size_of(&objects.path.join("objects/pack"));
        self.sizes.borrow_mut().insert(source.clone(), size);
        let reader = FileReader::new(&objects.path, commit, READ_LIMITS);
        if commits.len() >= MAX_OPEN_COMMITS {
            commits.clear();
        }
        read(commits.entry(key).or_insert(OpenCommit { objects, reader }))
    }
}

impl IncludeSources for IncludeFetcher {
    fn repository(&self) -> Option<&RepositoryAddress> {
        self.access.repository.as_ref()
    }

    fn refs(&self, source: &GitSource) -> Result<RepositoryRefs, IncludeError> {
        let remote = self.remote(source)?;
        let name = remote.cache_name();
        if self.access.offline {
            return self.stored.refs(&name).ok_or(IncludeError::Offline);
        }
        let lines = self.fetch(source, || remote.list_refs(&[], &["HEAD", "refs/heads/*", "refs/tags/*"]))?;
        let refs = parse_refs(&lines).ok_or_else(|| {
            IncludeError::Unavailable(format!("the repository has more than {MAX_REFS} branches and tags"))
        })?;
        self.stored.set_refs(&name, &refs);
        Ok(refs)
    }

    fn read(&self, source: &GitSource, commit: &str, path: &str) -> Result<String, IncludeError> {
        self.with_commit(source, commit, |open| {
            if !open.reader.is_file(path) {
                return Err(IncludeError::NoFile);
            }
            open.reader.read(path).map_err(|error| IncludeError::Unavailable(error.to_string()))
        })
    }

    fn list(&self, source: &GitSource, commit: &str, directory: &str) -> Result<Vec<String>, IncludeError> {
        self.with_commit(source, commit, |open| {
            list_files(&open.objects.path, commit, directory, READ_LIMITS)
                .map_err(|error| self.include_error(&error))
        })
    }

    fn download(&self, url: &str, sha256: Option<&str>) -> Result<String, IncludeError> {
        let known = match sha256 {
            Some(hash) => self.stored.content(hash),
            None if self.access.offline => self.stored.content_of(url),
            None => None,
        };
        if let Some(text) = known {
            return Ok(text);
        }
        if self.access.offline {
            return Err(IncludeError::Offline);
        }
        let access = self.access.policy.web_access(url).map_err(|error| self.include_error(&error))?;
        let bytes = web::download(&access, self.time_left()?)?;
        let text = String::from_utf8(bytes).map_err(|_| IncludeError::NotText)?;
        self.stored.set_content(url, &text);
        Ok(text)
    }

    fn template(&self, name: &str) -> Result<String, IncludeError> {
        let directory = self.access.templates.as_deref().ok_or(IncludeError::NoTemplates)?;
        read_template(directory, name)
    }
}

/// Returns the text of a template. Links must not lead out of the directory.
fn read_template(directory: &Path, name: &str) -> Result<String, IncludeError> {
    let path = directory.join(name);
    let missing = || IncludeError::NoTemplate { path: path.display().to_string() };
    let root = directory.canonicalize().map_err(|_| missing())?;
    let resolved = path.canonicalize().map_err(|_| missing())?;
    if !resolved.starts_with(&root) || !resolved.is_file() {
        return Err(missing());
    }
    let failed = |error: std::io::Error| IncludeError::Unavailable(error.to_string());
    let mut bytes = Vec::new();
    let file = fs::File::open(&resolved).map_err(failed)?;
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(IncludeError::TooLarge);
    }
    String::from_utf8(bytes).map_err(|_| IncludeError::NotText)
}

/// Parses the lines of `git ls-remote`; `None` if there are too many.
fn parse_refs(lines: &str) -> Option<RepositoryRefs> {
    let mut refs = RepositoryRefs::default();
    for line in lines.lines() {
        let Some((hash, name)) = line.split_once('\t').filter(|(hash, _)| git::is_full_hash(hash)) else {
            continue;
        };
        if name == "HEAD" {
            refs.head = Some(hash.to_owned());
        } else if let Some(branch) = name.strip_prefix("refs/heads/") {
            refs.branches.insert(branch.to_owned(), hash.to_owned());
        } else if let Some(tag) = name.strip_prefix("refs/tags/") {
            // The line of what an annotated tag points to follows that of the tag.
            refs.tags.insert(tag.strip_suffix("^{}").unwrap_or(tag).to_owned(), hash.to_owned());
        }
        if refs.branches.len() + refs.tags.len() > MAX_REFS {
            return None;
        }
    }
    Some(refs)
}

#[cfg(test)]
mod tests;
