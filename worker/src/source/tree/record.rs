//! The records of complete trees, and the search for a tree that no job uses and that can be changed into a similar one, which
//! writes only the files that differ.

use super::super::git;
use crate::store::{FileLock, time_since_use};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The suffix of the records of trees. A tree is complete once it has one.
const SUFFIX: &str = "json";

/// What is known of a complete tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TreeRecord {
    /// Trees of one family differ only in what an update can change; empty: the tree cannot be changed.
    pub family: String,
    /// Identifies its repository.
    pub repository: String,
    /// Its commit.
    pub commit: String,
    /// The tree of its files; empty: that of the commit.
    pub tree: String,
    /// The commit of what is staged.
    pub staged: Option<String>,
    /// Whether content of Git LFS replaces pointers in it.
    pub uses_lfs: bool,
    /// Repositories of trees with the same key hold objects that others of the key may link; empty: none.
    pub objects: String,
    /// The commit that the repository has with its history, if objects can be linked.
    pub history: String,
}

/// A complete tree with objects to link.
pub struct LinkableTree {
    /// The path of its record, with which those of its other files begin.
    pub path: PathBuf,
    /// The commit whose history it has.
    pub commit: String,
}

impl TreeRecord {
    /// Whether the tree `key` is complete.
    pub fn exists(home: &Path, key: &str) -> bool {
        home.join(format!("{key}.{SUFFIX}")).exists() && home.join(key).is_dir()
    }

    /// Records that the tree `key` is complete.
    pub fn write(&self, home: &Path, key: &str) -> io::Result<()> {
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        let new = home.join(format!("{key}.new.{SUFFIX}"));
        fs::write(&new, text)?;
        fs::rename(new, home.join(format!("{key}.{SUFFIX}")))
    }

    /// Returns the trees whose objects have this key, the most recently used ones first.
    pub fn of_objects(home: &Path, objects: &str) -> Vec<LinkableTree> {
        let mut found: Vec<_> = Self::all(home)
            .filter(|(_, record)| record.objects == objects && git::is_full_hash(&record.history))
            .map(|(path, record)| {
                let unused = time_since_use(&path.with_extension("used")).unwrap_or_default();
                (unused, LinkableTree { path, commit: record.history })
            })
            .collect();
        found.sort_by_key(|(unused, _)| *unused);
        found.into_iter().map(|(_, tree)| tree).collect()
    }

    /// Returns the records of complete trees, with their paths.
    fn all(home: &Path) -> impl Iterator<Item = (PathBuf, Self)> {
        let entries = fs::read_dir(home).into_iter().flatten().flatten();
        entries.filter_map(|entry| {
            let path = entry.path();
            path.extension().filter(|extension| *extension == SUFFIX)?;
            let record = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
            Some((path, record))
        })
    }

    /// Returns the trees of this family with the paths of their records, the most recently used ones first.
    pub fn similar(&self, home: &Path) -> Vec<(PathBuf, Self)> {
        let mut found: Vec<_> = Self::all(home)
            .filter(|(_, record)| record.family == self.family && git::is_full_hash(&record.commit))
            .map(|(path, record)| {
                (time_since_use(&path.with_extension("used")).unwrap_or_default(), path, record)
            })
            .collect();
        found.sort_by_key(|(unused, ..)| *unused);
        found.into_iter().map(|(_, path, record)| (path, record)).collect()
    }

    /// Moves the most recently used tree of this family that nobody uses to `building`, and its index to `index`. Returns its
    /// record, and its size in bytes.
    pub fn take_similar(&self, home: &Path, building: &Path, index: &Path) -> Option<(Self, u64)> {
        for (path, record) in self.similar(home) {
            let Ok(_in_use) = FileLock::try_exclusive(&path.with_extension("used")) else { continue };
            let Ok(_lock) = FileLock::try_exclusive(&path.with_extension("lock")) else { continue };
            // Without its record, the tree counts as incomplete, whatever happens next.
            if fs::remove_file(&path).is_err() {
                continue;
            }
            if fs::rename(path.with_extension(""), building).is_ok() {
                let has_index = fs::rename(path.with_extension("index"), index).is_ok();
                if has_index || self.tree.is_empty() {
                    let size = fs::read_to_string(path.with_extension("size")).ok();
                    return Some((record, size.and_then(|text| text.parse().ok()).unwrap_or_default()));
                }
                let _ = fs::remove_dir_all(building);
            }
        }
        None
    }
}
