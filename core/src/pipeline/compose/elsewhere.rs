//! The port through which files are included from elsewhere: other git repositories, the web, and the operator's templates.

use std::collections::BTreeMap;

use crate::pipeline::yaml::limits::MAX_FILE_BYTES;
use crate::repository::RepositoryAddress;

/// Maximum number of git repositories that one pipeline includes files from.
pub const MAX_INCLUDED_REPOSITORIES: usize = 20;

/// A git repository that files are included from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GitSource {
    /// Its address.
    pub address: RepositoryAddress,
    /// Whether it must be readable for everyone: it is named by a file of the web, and gets no credential.
    pub is_public: bool,
}

/// The refs of a git repository, each with the hash of its commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepositoryRefs {
    /// The commit of the default branch.
    pub head: Option<String>,
    /// Branches by name.
    pub branches: BTreeMap<String, String>,
    /// Tags by name; for annotated ones, the commit that they point to.
    pub tags: BTreeMap<String, String>,
}

/// Why a file from elsewhere cannot be included. Messages follow "cannot be read: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IncludeError {
    /// Only files of the repository are known.
    #[error("files from elsewhere are not known here")]
    NotKnown,
    /// The repository's own server is not known.
    #[error(
        "the git server of this repository is not known: it has no remote `origin` with a network address"
    )]
    NoServer,
    /// Nothing may be fetched, and nothing is in the cache.
    #[error("it is not in the cache, and `--offline` fetches nothing")]
    Offline,
    /// The server could not be reached, or refused. The text has no credential.
    #[error("{0}")]
    Unavailable(String),
    /// The server took too long, or all includes together did.
    #[error("fetching it took too long")]
    TimedOut,
    /// The operation was canceled.
    #[error("it was canceled")]
    Canceled,
    /// The repository has no such branch, tag, commit or version.
    #[error("{repository} has no branch, tag or version `{reference}`")]
    NoReference {
        /// The repository.
        repository: String,
        /// What was named.
        reference: String,
    },
    /// The repository has no commit.
    #[error("{0} has no commit yet")]
    Empty(String),
    /// There is no such file.
    #[error("there is no such file")]
    NoFile,
    /// The component has neither of its files.
    #[error("the repository has neither {0}.yml nor {0}/template.yml")]
    NoComponent(String),
    /// The file is too large.
    #[error("it has more than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    /// The file is not UTF-8.
    #[error("it is not UTF-8 text")]
    NotText,
    /// The content has another hash than the pipeline names.
    #[error("its content has the SHA-256 sha256-{0}, and not the one of `integrity`")]
    Integrity(String),
    /// A pipeline includes files from too many repositories.
    #[error("a pipeline includes files from at most {MAX_INCLUDED_REPOSITORIES} repositories")]
    TooManyRepositories,
    /// The operator has no directory of templates.
    #[error("there is no directory of templates on this machine")]
    NoTemplates,
    /// The directory of templates has no such file.
    #[error("the directory of templates has no such file")]
    NoTemplate {
        /// The file that is missing.
        path: String,
    },
}

impl IncludeError {
    /// Returns what to do.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::NotKnown | Self::Empty(_) | Self::Canceled => return None,
            Self::NoServer => {
                "run it in a clone of the repository, or include the file by its address".to_owned()
            }
            Self::Offline => "run the command once without `--offline`, with a connection".to_owned(),
            Self::Unavailable(_) | Self::TimedOut => {
                "a worker uses the credential of the repository, `tidemill` on your machine uses your own git set-up; without \
                 a connection, `--offline` uses what was fetched before"
                    .to_owned()
            }
            Self::NoReference { .. } => "name a branch, a tag or the full hash of a commit".to_owned(),
            Self::NoFile => "paths are those of the other repository, from its top".to_owned(),
            Self::NoComponent(_) => "the last part of the address is the name of the component".to_owned(),
            Self::TooLarge | Self::NotText => "include a pipeline file".to_owned(),
            Self::Integrity(_) => {
                "look at what changed there; if it is right, write the new hash".to_owned()
            }
            Self::TooManyRepositories => "put shared files into fewer repositories".to_owned(),
            Self::NoTemplates => "the operator sets `templates` in `[includes]` of worker.toml, and puts the file into that \
                                  directory; with `tidemill` on your machine, `--templates DIR` does the same"
                .to_owned(),
            Self::NoTemplate { path } => format!("put it there as {path}"),
        };
        Some(text)
    }
}

/// Reads files from elsewhere. All of it is bounded in size and time.
pub trait IncludeSources {
    /// Returns the address of the repository whose pipeline is read, if it has one on a network.
    fn repository(&self) -> Option<&RepositoryAddress>;

    /// Returns the refs of a repository.
    ///
    /// # Errors
    /// Returns an error if the repository cannot be reached with the credential that is for it.
    fn refs(&self, source: &GitSource) -> Result<RepositoryRefs, IncludeError>;

    /// Returns the text of a file at a commit, which is given by its full hash.
    ///
    /// # Errors
    /// Returns [`IncludeError::NoFile`] if the commit has no such file.
    fn read(&self, source: &GitSource, commit: &str, path: &str) -> Result<String, IncludeError>;

    /// Returns the paths of the files at a commit in a directory and below it; an empty path is the root.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn list(&self, source: &GitSource, commit: &str, directory: &str) -> Result<Vec<String>, IncludeError>;

    /// Returns the content at an address, which begins with `https://`. `sha256`: the hash in hex that it must have, if that is
    /// known; the caller checks it.
    ///
    /// # Errors
    /// Returns an error if the server cannot be reached.
    fn download(&self, url: &str, sha256: Option<&str>) -> Result<String, IncludeError>;

    /// Returns a template of the operator by its relative path.
    ///
    /// # Errors
    /// Returns an error if there is none.
    fn template(&self, name: &str) -> Result<String, IncludeError>;
}

/// No sources: only files of the repository are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoSources;

impl IncludeSources for NoSources {
    fn repository(&self) -> Option<&RepositoryAddress> {
        None
    }

    fn refs(&self, _: &GitSource) -> Result<RepositoryRefs, IncludeError> {
        Err(IncludeError::NotKnown)
    }

    fn read(&self, _: &GitSource, _: &str, _: &str) -> Result<String, IncludeError> {
        Err(IncludeError::NotKnown)
    }

    fn list(&self, _: &GitSource, _: &str, _: &str) -> Result<Vec<String>, IncludeError> {
        Err(IncludeError::NotKnown)
    }

    fn download(&self, _: &str, _: Option<&str>) -> Result<String, IncludeError> {
        Err(IncludeError::NotKnown)
    }

    fn template(&self, _: &str) -> Result<String, IncludeError> {
        Err(IncludeError::NotKnown)
    }
}
