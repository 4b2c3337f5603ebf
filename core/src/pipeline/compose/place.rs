//! The places that included files come from, and reading them.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest, Sha256};

use super::elsewhere::{GitSource, IncludeError, IncludeSources, MAX_INCLUDED_REPOSITORIES, RepositoryRefs};
use super::files::{FileError, RepositoryFiles};
use super::versions;
use crate::pipeline::finding::{Finding, FindingLocation, quoted};
use crate::pipeline::yaml::limits::MAX_FILE_BYTES;
use crate::repository::includes::PinnedInclude;
use crate::repository::{RepositoryAddress, Scheme};
use crate::text::without_byte_order_mark;

/// Where a file comes from.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// The repository whose pipeline is read.
    Repository,
    /// Another git repository.
    Git(Rc<GitPlace>),
    /// The web; the path is the address.
    Remote,
    /// The operator's directory of templates.
    Template,
}

/// A git repository at a commit.
#[derive(Debug)]
pub(crate) struct GitPlace {
    source: GitSource,
    /// The name and the version, as the pipeline writes them.
    label: String,
    reference: Option<String>,
    commit: String,
}

/// A version of a git repository.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Version<'a> {
    /// A branch, a tag or a commit; absent: the default branch.
    Reference(Option<&'a str>),
    /// The version of a component.
    Component(&'a str),
}

/// A file that is included.
#[derive(Debug, Clone)]
pub(crate) struct IncludedFile {
    pub(crate) place: Place,
    /// Its path, address or name.
    pub(crate) path: String,
}

impl IncludedFile {
    pub(crate) fn local(path: impl Into<String>) -> Self {
        Self { place: Place::Repository, path: path.into() }
    }

    /// Returns what identifies it among all files.
    pub(crate) fn key(&self) -> String {
        let Self { place, path } = self;
        match place {
            Place::Repository => format!("local {path}"),
            Place::Git(git) => {
                format!("git {} {} {} {path}", git.source.is_public, git.source.address, git.commit)
            }
            Place::Remote => format!("remote {path}"),
            Place::Template => format!("template {path}"),
        }
    }

    /// Returns its name for messages, without the query of an address.
    pub(crate) fn label(&self) -> String {
        let Self { place, path } = self;
        match place {
            Place::Repository => path.clone(),
            Place::Git(git) => format!("{}:{path}", git.label),
            Place::Remote => without_query(path).to_owned(),
            Place::Template => format!("template {path}"),
        }
    }
}

impl Place {
    /// Whether what it includes must be readable for everyone.
    pub(crate) fn is_public(&self) -> bool {
        match self {
            Self::Repository | Self::Template => false,
            Self::Git(git) => git.source.is_public,
            Self::Remote => true,
        }
    }

    /// Whether it is a repository, whose files can include each other.
    pub(crate) const fn is_repository(&self) -> bool {
        matches!(self, Self::Repository | Self::Git(_))
    }
}

/// Why a file cannot be included.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// A file of the repository.
    Local(FileError),
    Elsewhere(IncludeError),
}

impl From<IncludeError> for Unreadable {
    fn from(error: IncludeError) -> Self {
        Self::Elsewhere(error)
    }
}

impl Unreadable {
    /// Returns the only finding about an include that failed.
    pub(crate) fn finding(&self, label: &str, location: FindingLocation) -> Finding {
        let (why, help) = match self {
            Self::Local(error) => {
                (error.to_string(), Some("paths are relative to the root of the repository".to_owned()))
            }
            Self::Elsewhere(error) => (error.to_string(), error.help()),
        };
        let message = format!("{} cannot be read: {why}", quoted(label));
        Finding::error("include-unreadable", location, message).maybe_help(help)
    }
}

/// Reads included files, and records the versions of those from elsewhere.
pub(crate) struct IncludeReader<'a> {
    files: &'a dyn RepositoryFiles,
    /// The repositories that files are included from.
    repositories: HashSet<GitSource>,
    /// The refs of each repository, or why there are none.
    refs: HashMap<GitSource, Result<Rc<RepositoryRefs>, IncludeError>>,
    /// The files from elsewhere that were read.
    pub(crate) pinned: Vec<PinnedInclude>,
}

impl<'a> IncludeReader<'a> {
    pub(crate) fn new(files: &'a dyn RepositoryFiles) -> Self {
        Self { files, repositories: HashSet::new(), refs: HashMap::new(), pinned: Vec::new() }
    }

    pub(crate) fn sources(&self) -> &'a dyn IncludeSources {
        self.files.elsewhere()
    }

    /// Returns the place of a repository at a version; `name` is that of the repository for messages.
    pub(crate) fn git(
        &mut self,
        source: GitSource,
        name: &str,
        version: Version<'_>,
    ) -> Result<Place, IncludeError> {
        let written = match version {
            Version::Reference(reference) => reference,
            Version::Component(version) => Some(version),
        };
        if self.repositories.len() >= MAX_INCLUDED_REPOSITORIES && !self.repositories.contains(&source) {
            return Err(IncludeError::TooManyRepositories);
        }
        self.repositories.insert(source.clone());
        let commit = if let Some(hash) = written.filter(|text| versions::is_full_hash(text)) {
            hash.to_ascii_lowercase()
        } else {
            let refs = self.refs(&source)?;
            let found = match version {
                Version::Reference(reference) => versions::of_reference(&refs, reference),
                Version::Component(version) => versions::of_component(&refs, version),
            };
            let missing = || match written {
                Some(reference) => {
                    let (repository, reference) = (name.to_owned(), reference.to_owned());
                    IncludeError::NoReference { repository, reference }
                }
                None => IncludeError::Empty(name.to_owned()),
            };
            found.ok_or_else(missing)?.to_owned()
        };
        let label = written.map_or_else(|| name.to_owned(), |reference| format!("{name}@{reference}"));
        let reference = written.filter(|text| !text.eq_ignore_ascii_case(&commit)).map(str::to_owned);
        Ok(Place::Git(Rc::new(GitPlace { source, label, reference, commit })))
    }

    fn refs(&mut self, source: &GitSource) -> Result<Rc<RepositoryRefs>, IncludeError> {
        if let Some(known) = self.refs.get(source) {
            return known.clone();
        }
        let refs = self.sources().refs(source).map(Rc::new);
        self.refs.insert(source.clone(), refs.clone());
        refs
    }

    /// Returns the text of a file. `integrity`: the hash that a file of the web must have.
    pub(crate) fn read(
        &mut self,
        file: &IncludedFile,
        integrity: Option<&[u8]>,
    ) -> Result<String, Unreadable> {
        let IncludedFile { place, path } = file;
        let sources = self.sources();
        let text = match place {
            Place::Repository => self.files.read(path).map_err(Unreadable::Local)?,
            Place::Git(git) => sources.read(&git.source, &git.commit, path)?,
            Place::Remote => {
                let hash = integrity.map(|hash| HEXLOWER.encode(hash));
                sources.download(path, hash.as_deref())?
            }
            Place::Template => sources.template(path)?,
        };
        if text.len() > MAX_FILE_BYTES {
            return Err(match place {
                Place::Repository => Unreadable::Local(FileError::TooLarge(MAX_FILE_BYTES)),
                _ => IncludeError::TooLarge.into(),
            });
        }
        let sha256 = match place {
            Place::Repository | Place::Git(_) => String::new(),
            Place::Remote | Place::Template => {
                let hash = Sha256::digest(text.as_bytes());
                if integrity.is_some_and(|expected| expected != hash.as_slice()) {
                    return Err(IncludeError::Integrity(BASE64.encode(&hash)).into());
                }
                HEXLOWER.encode(&hash)
            }
        };
        self.pin(file, sha256);
        Ok(without_byte_order_mark(&text).to_owned())
    }

    fn pin(&mut self, file: &IncludedFile, sha256: String) {
        let path = file.path.clone();
        let pinned = match &file.place {
            Place::Repository => return,
            Place::Git(git) => PinnedInclude::Git {
                url: git.source.address.to_git_url(),
                reference: git.reference.clone(),
                commit: git.commit.clone(),
                file: path,
            },
            Place::Remote => PinnedInclude::Remote { url: without_query(&path).to_owned(), sha256 },
            Place::Template => PinnedInclude::Template { name: path, sha256 },
        };
        if !self.pinned.contains(&pinned) {
            self.pinned.push(pinned);
        }
    }

    /// Returns the paths of the files in a directory of a repository and below it.
    pub(crate) fn list(&self, place: &Place, directory: &str) -> Result<Vec<String>, Unreadable> {
        match place {
            Place::Git(git) => Ok(self.sources().list(&git.source, &git.commit, directory)?),
            Place::Repository | Place::Remote | Place::Template => {
                self.files.list(directory).map_err(Unreadable::Local)
            }
        }
    }
}

/// Returns an error if files must not be included from a repository with this address.
pub(crate) fn check_address(
    address: &RepositoryAddress,
    own: Option<&RepositoryAddress>,
) -> Result<(), &'static str> {
    let is_secure = matches!(address.scheme(), Scheme::Https | Scheme::Ssh);
    if is_secure || own.is_some_and(|own| own.origin() == address.origin()) {
        return Ok(());
    }
    Err("the address of a repository that files are included from begins with https:// or ssh://")
}

/// Returns an address without its query, which may hold a secret.
pub(crate) fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}
