//! The files of a repository, as the readers of pipeline files see them.

use super::elsewhere::{IncludeSources, NoSources};
use std::io;

/// Why a file of the repository cannot be read, or its files cannot be listed. The text follows "cannot be read: ".
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is none at this path.
    #[error("there is no such file")]
    Missing,
    /// It is a directory, a link or something else.
    #[error("not a file")]
    NotAFile,
    /// The path leads out of the repository.
    #[error("outside of the repository")]
    Outside,
    /// The path itself cannot be looked up.
    #[error("the path is too long or has control characters")]
    Path,
    /// It is larger than the limit.
    #[error("it has more than {0} bytes")]
    TooLarge(usize),
    /// It and the files that were read before are larger than the limit.
    #[error("the pipeline files of this commit and their includes have more than {0} bytes in total")]
    TooLargeTogether(usize),
    /// There are more files than the limit.
    #[error("there are more than {0} files")]
    TooMany(usize),
    /// Files cannot be listed here.
    #[error("only single files are known here")]
    NotListed,
    /// A job without sources starts a pipeline from them.
    #[error("the execution has no sources")]
    NoSources,
    /// The file system fails.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What holds the repository fails; the text names the causes.
    #[error("{0}")]
    Repository(String),
}

/// Reads a file of the repository by its path.
pub type ReadFile<'a> = dyn Fn(&str) -> Result<String, FileError> + 'a;

/// The files of a repository, at one commit or in a working directory.
pub trait RepositoryFiles {
    /// Returns the text of a file by its path from the root.
    ///
    /// # Errors
    /// Returns why the file cannot be read.
    fn read(&self, path: &str) -> Result<String, FileError>;

    /// Returns the paths of the files in a directory and below it; an empty path is the root.
    ///
    /// # Errors
    /// Returns why the files cannot be listed.
    fn list(&self, directory: &str) -> Result<Vec<String>, FileError>;

    /// Returns how files from elsewhere are read.
    fn elsewhere(&self) -> &dyn IncludeSources {
        &NoSources
    }
}

/// Files that can only be read.
impl<F: Fn(&str) -> Result<String, FileError>> RepositoryFiles for F {
    fn read(&self, path: &str) -> Result<String, FileError> {
        self(path)
    }

    fn list(&self, _: &str) -> Result<Vec<String>, FileError> {
        Err(FileError::NotListed)
    }
}
