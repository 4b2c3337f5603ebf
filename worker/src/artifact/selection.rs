//! Which files of a workspace are packed.

use crate::workspace::HostWorkspace;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use std::path::{Path, PathBuf};

/// The name of the directory of git's own files, which are never untracked.
const GIT_DIR: &str = ".git";

/// The files to pack.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Globs of files and directories.
    pub paths: Vec<String>,
    /// Globs of files and directories that are left out.
    pub exclude: Vec<String>,
    /// Whether all files that are not part of the sources are packed, too.
    pub untracked: bool,
    /// The directory of the sources on this machine; `None` if the job has none.
    pub sources: Option<PathBuf>,
}

impl From<&[String]> for Selection {
    fn from(paths: &[String]) -> Self {
        Self { paths: paths.to_vec(), ..Self::default() }
    }
}

/// How an artifact is shown and kept.
#[derive(Debug, Clone, Default)]
pub struct ArtifactLabels {
    /// The name that the job gives it.
    pub name: Option<String>,
    /// The title under which it is shown with the execution.
    pub expose_as: Option<String>,
    /// Seconds after which it may be deleted.
    pub expire_in_s: Option<u64>,
}

/// A compiled selection.
#[derive(Debug)]
pub struct Matcher {
    included: GlobSet,
    excluded: GlobSet,
    /// Files that are not in these sources match, too.
    untracked: Option<UntrackedFiles>,
}

#[derive(Debug)]
struct UntrackedFiles {
    sources: Option<HostWorkspace>,
}

impl Matcher {
    /// Compiles the globs of `selection`, without its untracked files.
    pub fn of_paths(selection: &Selection) -> Result<Self, globset::Error> {
        let (included, excluded) = (compile_globs(&selection.paths)?, compile_globs(&selection.exclude)?);
        Ok(Self { included, excluded, untracked: None })
    }

    /// Compiles a matcher of the untracked files. Opens the directory of the sources.
    pub fn of_untracked(selection: &Selection) -> std::io::Result<Self> {
        let sources = selection.sources.as_deref().map(HostWorkspace::directory_at).transpose()?;
        let compiled = Self::of_paths(selection).map_err(std::io::Error::other)?;
        Ok(Self { untracked: Some(UntrackedFiles { sources }), ..compiled })
    }

    /// Whether the file or directory at `path` is packed.
    pub fn matches(&self, path: &Path, is_directory: bool) -> bool {
        if path == Path::new("") || covers(&self.excluded, path) {
            return false;
        }
        let is_untracked = |files: &UntrackedFiles| !is_directory && files.contains(path);
        covers(&self.included, path) || self.untracked.as_ref().is_some_and(is_untracked)
    }

    /// Whether nothing below the directory at `path` can match.
    pub fn skips(&self, path: &Path) -> bool {
        self.untracked.is_some() && path == Path::new(GIT_DIR)
    }
}

impl UntrackedFiles {
    fn contains(&self, path: &Path) -> bool {
        // Resolved beneath the sources without following links, which may lead anywhere.
        let is_source = |sources: &HostWorkspace| sources.stat(path).is_ok();
        !path.starts_with(GIT_DIR) && !self.sources.as_ref().is_some_and(is_source)
    }
}

/// Compiles `patterns` into a glob set.
pub fn compile_globs(patterns: &[String]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let pattern = pattern.trim_start_matches("./").trim_end_matches('/');
        set.add(GlobBuilder::new(pattern).literal_separator(true).build()?);
    }
    set.build()
}

/// Whether a glob matches the path or a directory that it is in.
fn covers(set: &GlobSet, path: &Path) -> bool {
    path.ancestors().any(|part| part != Path::new("") && set.is_match(part))
}
