//! Changes the tree of another commit, or of earlier files, into the wanted one: only files that differ are written.

use super::super::git::{self, SourceError, lfs_files::lfs_files};
use super::{
    checkout::{CheckedOut, TreeFiles, TreeSource},
    index::in_tree,
    measure::small_change,
    record::TreeRecord,
    sharing::set_up_again,
};
use crate::workspace::FileOwner;
use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// How the settings of submodules start in the configuration of a repository.
const SUBMODULE_SECTION: &str = "[submodule ";

impl TreeSource<'_> {
    /// Changes a tree of `previous`, which is at `into` and has `bytes`, to this one. Submodules and files of Git LFS stay as they
    /// are; where they differ, the tree is checked out anew.
    pub fn update(
        &self,
        previous: &TreeRecord,
        bytes: u64,
        into: &Path,
        index: &Path,
    ) -> Result<CheckedOut, SourceError> {
        let git_dir = into.join(".git");
        let (_, new) = self.compared(previous);
        let Some(changed) = self.changed_since(previous) else { return self.start_over(into, index) };
        if previous.uses_lfs && !lfs_files(in_tree(&git_dir, into), &changed)?.is_empty() {
            return self.start_over(into, index);
        }
        if previous.repository != self.repository_key() {
            let config = git_dir.join("config");
            let submodules = submodule_sections(&config)?;
            set_up_again(&self.repository(), &git_dir, &previous.commit)?;
            let mut file = File::options().append(true).open(&config).map_err(|error| failed(&error))?;
            file.write_all(submodules.as_bytes()).map_err(|error| failed(&error))?;
        }
        match self.files {
            TreeFiles::OnDisk(_) => {
                if self.request.owner != FileOwner::Worker {
                    // The files were given away after the index was written, and git takes them for changed ones. An error means
                    // that some are, which the next command finds.
                    let mut refresh = self.in_objects(into, index);
                    let _ = git::run(refresh.args(["update-index", "-q", "--refresh"]));
                }
                let mut command = self.in_objects(into, index);
                // The index has the old tree. With one tree, git keeps its cache of trees and skips equal directories.
                git::run(command.args(["read-tree", "-m", "-u", new]))?;
                if previous.commit != self.commit || previous.staged.as_deref() != self.staged {
                    self.write_index(&git_dir, into, index, true)?;
                }
            }
            TreeFiles::OfCommit => {
                git::run(in_tree(&git_dir, into).args(["read-tree", "-m", "-u", new]))?;
            }
            TreeFiles::None => {}
        }
        Ok(CheckedOut { bytes, can_be_changed: true, uses_lfs: previous.uses_lfs })
    }

    /// Whether a tree of `previous` differs little from this one.
    pub fn is_similar_to(&self, previous: &TreeRecord) -> bool {
        self.changed_since(previous).is_some()
    }

    /// Returns the paths that differ from those of `previous`; `None` if it must be checked out anew.
    fn changed_since(&self, previous: &TreeRecord) -> Option<Vec<u8>> {
        let apart: Vec<&Path> = self.submodules.iter().map(|submodule| submodule.path.as_path()).collect();
        small_change(self.objects, self.compared(previous), &apart).ok().flatten()
    }

    /// Returns the trees to compare: that of `previous`, and this one.
    fn compared<'a>(&'a self, previous: &'a TreeRecord) -> (&'a str, &'a str) {
        match self.files {
            TreeFiles::OnDisk(tree) => (&previous.tree, tree),
            _ => (&previous.commit, self.commit),
        }
    }

    /// Checks out anew into `into`.
    pub fn start_over(&self, into: &Path, index: &Path) -> Result<CheckedOut, SourceError> {
        fs::remove_dir_all(into).and_then(|()| fs::create_dir(into)).map_err(|error| failed(&error))?;
        drop(fs::remove_file(index));
        self.check_out(into, index)
    }
}

/// Returns the settings of submodules, which are the last ones of a configuration.
fn submodule_sections(config: &Path) -> Result<String, SourceError> {
    let text = fs::read_to_string(config).map_err(|error| failed(&error))?;
    let start = text.match_indices(SUBMODULE_SECTION).find(|(at, _)| *at == 0 || text[..*at].ends_with('\n'));
    Ok(start.map(|(at, _)| text[at..].to_owned()).unwrap_or_default())
}

fn failed(error: &io::Error) -> SourceError {
    SourceError::io("the source cache cannot be written", error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::submodule_sections;

    #[test]
    fn settings_of_submodules_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        let own = "[core]\n\tbare = false\n[remote \"origin\"]\n\turl = \"https://h/[submodule \"\n";
        let submodules = "[submodule \"lib\"]\n\tactive = true\n[submodule \"b\"]\n\tactive = true\n";
        std::fs::write(&config, own).unwrap();
        assert_eq!(submodule_sections(&config).unwrap(), "");
        std::fs::write(&config, format!("{own}{submodules}")).unwrap();
        assert_eq!(submodule_sections(&config).unwrap(), submodules);
    }
}
