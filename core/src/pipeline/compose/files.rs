//! The files of a repository, as the readers of pipeline files see them.

use super::elsewhere::{IncludeSources, NoSources};

/// Reads a file of the repository by its path. An error message follows "cannot be read: ".
pub type ReadFile<'a> = dyn Fn(&str) -> Result<String, String> + 'a;

/// The files of a repository, at one commit or in a working directory.
pub trait RepositoryFiles {
    /// Returns the text of a file by its path from the root.
    ///
    /// # Errors
    /// Returns a message that follows "cannot be read: ".
    fn read(&self, path: &str) -> Result<String, String>;

    /// Returns the paths of the files in a directory and below it; an empty path is the root.
    ///
    /// # Errors
    /// Returns a message that follows "cannot be listed: ".
    fn list(&self, directory: &str) -> Result<Vec<String>, String>;

    /// Returns how files from elsewhere are read.
    fn elsewhere(&self) -> &dyn IncludeSources {
        &NoSources
    }
}

/// Files that can only be read.
impl<F: Fn(&str) -> Result<String, String>> RepositoryFiles for F {
    fn read(&self, path: &str) -> Result<String, String> {
        self(path)
    }

    fn list(&self, _: &str) -> Result<Vec<String>, String> {
        Err("only single files are known here".to_owned())
    }
}
