//! Connects the repository of a submodule with that of its parent, as `git submodule` does.

use super::super::git::SourceError;
use super::{
    repository::{RepositorySpec, quoted},
    submodules::SubmoduleEntry,
};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Where a submodule goes.
pub struct SubmoduleLocation<'a> {
    /// The git directory of its parent.
    pub parent: &'a Path,
    /// Its working tree.
    pub work_tree: &'a Path,
    /// Its path in its parent.
    pub path: &'a str,
    /// What `.gitmodules` says of it.
    pub entry: &'a SubmoduleEntry,
    /// Its address.
    pub url: Option<&'a str>,
}

impl SubmoduleLocation<'_> {
    /// Sets up the repository below the parent's git directory, connects both, and returns its git directory.
    pub fn set_up(&self, spec: &RepositorySpec<'_>) -> Result<PathBuf, SourceError> {
        let failed = |error: io::Error| SourceError::io("the source cache cannot be written", &error);
        let name = &self.entry.name;
        let git_dir = self.parent.join("modules").join(name);
        fs::create_dir_all(git_dir.parent().unwrap_or(self.parent)).map_err(failed)?;
        // From `PARENT/modules/NAME` to the working tree, and back.
        let parent_tree = work_tree_of(self.parent).map_err(failed)?;
        let up = |count: usize| "../".repeat(count);
        let name_depth = Path::new(name).components().count() + 1;
        let work_tree = format!("{}{parent_tree}/{}", up(name_depth), self.path);
        let path_depth = Path::new(self.path).components().count();
        let back = if parent_tree == ".." {
            format!("{}.git/modules/{name}", up(path_depth))
        } else {
            let parent_file = fs::read_to_string(self.parent_git_file()).map_err(failed)?;
            let parent_dir = parent_file.trim().strip_prefix("gitdir: ").unwrap_or_default().to_owned();
            format!("{}{parent_dir}/modules/{name}", up(path_depth))
        };
        RepositorySpec { work_tree: Some(&work_tree), ..*spec }.set_up(&git_dir)?;
        fs::create_dir_all(self.work_tree).map_err(failed)?;
        fs::write(self.work_tree.join(".git"), format!("gitdir: {back}\n")).map_err(failed)?;
        let mut config = File::options().append(true).open(self.parent.join("config")).map_err(failed)?;
        let url = self.url.unwrap_or(&self.entry.url);
        write!(config, "[submodule {}]\n\tactive = true\n\turl = {}\n", quoted(name), quoted(url))
            .map_err(failed)?;
        Ok(git_dir)
    }

    /// Returns the `.git` file of the parent, which is a submodule itself.
    fn parent_git_file(&self) -> PathBuf {
        let depth = Path::new(self.path).components().count();
        self.work_tree.ancestors().nth(depth).unwrap_or(self.work_tree).join(".git")
    }
}

/// Returns the working tree of a git directory, relative to it.
fn work_tree_of(git_dir: &Path) -> io::Result<String> {
    let config = fs::read_to_string(git_dir.join("config"))?;
    let line = config.lines().find_map(|line| line.trim().strip_prefix("worktree = "));
    Ok(line.map_or_else(|| "..".to_owned(), |path| path.trim_matches('"').to_owned()))
}
