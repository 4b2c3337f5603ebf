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

    /// Moves the most recently used tree of this family that nobody uses to `building`, and its index to `index`. Returns its
    /// record, and its size in bytes.
    pub fn take_similar(&self, home: &Path, building: &Path, index: &Path) -> Option<(Self, u64)> {
        let mut candidates: Vec<(std::time::Duration, PathBuf, Self)> = Vec::new();
        for entry in fs::read_dir(home).ok()?.flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != SUFFIX) {
                continue;
            }
            let Ok(text) = fs::read(&path) else { continue };
            let Ok(record) = serde_json::from_slice::<Self>(&text) else { continue };
            if record.family == self.family && git::is_full_hash(&record.commit) {
                let unused = time_since_use(&path.with_extension("used")).unwrap_or_default();
                candidates.push((unused, path, record));
            }
        }
        candidates.sort_by_key(|(unused, ..)| *unused);
        for (_, path, record) in candidates {
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
