//! Removes cached sources by age, number and size, and when the disk fills. Sources in use stay.

use super::{
    mirror::{MIRRORS_DIR, UPLOADS_DIR, repack},
    registry,
    tree::TREES_DIR,
};
use crate::store::{FileLock, time_since_use};
use std::{
    cmp::Reverse,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const DAY: Duration = Duration::from_secs(24 * 3600);
const GIB: u64 = 1 << 30;
/// Age at which the rest of an interrupted checkout, and locks without a directory, are removed.
const LEFTOVER_AGE: Duration = Duration::from_secs(60);
/// Suffixes of the files and directories of one entry.
const SUFFIXES: [&str; 9] =
    [".git", ".gone", ".lock", ".new.json", ".new", ".size", ".used", ".json", ".index"];

/// Retention of cached sources that are not in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Maximum number of trees.
    pub trees: usize,
    /// How long unused trees and uploads are kept.
    pub age: Duration,
    /// How long unused mirrors are kept.
    pub mirror_age: Duration,
    /// Maximum total size in bytes.
    pub bytes: u64,
    /// Minimum free space of the disk in bytes.
    pub free_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { trees: 20, age: 14 * DAY, mirror_age: 90 * DAY, bytes: 50 * GIB, free_bytes: GIB }
    }
}

/// Kinds of entries, in ascending order of the cost to recreate them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Tree,
    Upload,
    Mirror,
}

impl Kind {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Tree, TREES_DIR), (Self::Upload, UPLOADS_DIR), (Self::Mirror, MIRRORS_DIR)];
}

/// A tree, an upload or a mirror in the cache.
#[derive(Debug)]
struct CachedEntry {
    kind: Kind,
    home: PathBuf,
    key: String,
    unused: Duration,
    bytes: u64,
}

impl CachedEntry {
    fn path(&self, suffix: &str) -> PathBuf {
        self.home.join(format!("{}{suffix}", self.key))
    }

    fn directory(&self) -> PathBuf {
        if self.kind == Kind::Tree { self.path("") } else { self.path(".git") }
    }

    /// Takes both locks, unless the entry is in use.
    fn lock(&self) -> Option<[FileLock; 2]> {
        Some([
            FileLock::try_exclusive(&self.path(".used")).ok()?,
            FileLock::try_exclusive(&self.path(".lock")).ok()?,
        ])
    }

    /// Removes the entry unless it is in use, and returns whether it is removed.
    fn remove(&self) -> bool {
        let Some(_locks) = self.lock() else { return false };
        // Renamed first, so that a partly removed directory is not taken for a complete entry.
        let removed = self.path(".gone");
        let _ = fs::rename(self.directory(), &removed);
        for path in [removed, self.path(".new")] {
            let _ = fs::remove_dir_all(path);
        }
        for suffix in [".json", ".new.json", ".index", ".size", ".lock", ".used"] {
            let _ = fs::remove_file(self.path(suffix));
        }
        !self.directory().exists()
    }

    /// Removes the rest of interrupted work, and repacks a mirror.
    fn tidy(&self) {
        let (unfinished, removed) = (self.path(".new"), self.path(".gone"));
        if self.kind != Kind::Tree || unfinished.exists() || removed.exists() {
            let Some(_locks) = self.lock() else { return };
            let _ = fs::remove_dir_all(unfinished);
            let _ = fs::remove_dir_all(removed);
            if self.kind == Kind::Mirror {
                repack(&self.directory());
            }
        }
    }
}

/// Removes the sources below `cache` that exceed `retention`.
pub fn prune(cache: &Path, retention: &Retention) {
    registry::prune(cache);
    let mut entries: Vec<CachedEntry> =
        Kind::ALL.iter().flat_map(|(kind, home)| list(*kind, &cache.join(home))).collect();
    // Least recently used first.
    entries.sort_by_key(|entry| Reverse(entry.unused));
    entries.retain(|entry| {
        if !entry.directory().exists() {
            if entry.unused > LEFTOVER_AGE {
                entry.remove();
            }
            return false;
        }
        let age = if entry.kind == Kind::Mirror { retention.mirror_age } else { retention.age };
        entry.tidy();
        !(entry.unused > age && entry.remove())
    });
    let mut trees = entries.iter().filter(|entry| entry.kind == Kind::Tree).count();
    entries.retain(|entry| {
        let is_removed = entry.kind == Kind::Tree && trees > retention.trees && entry.remove();
        trees -= usize::from(is_removed);
        !is_removed
    });
    // A stable sort: the order within a kind stays.
    entries.sort_by_key(|entry| entry.kind);
    let mut bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
    for entry in &entries {
        if bytes <= retention.bytes && free(cache).is_none_or(|free| free >= retention.free_bytes) {
            break;
        }
        if entry.remove() {
            bytes = bytes.saturating_sub(entry.bytes);
        }
    }
}

fn list(kind: Kind, home: &Path) -> Vec<CachedEntry> {
    let names = fs::read_dir(home).into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let key = |name: String| {
        let key = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)).map(str::to_owned);
        key.unwrap_or(name)
    };
    let keys: BTreeSet<String> = names.map(key).collect();
    let entries = keys.into_iter().filter_map(|key| {
        let mut entry = CachedEntry { kind, home: home.to_owned(), key, unused: Duration::ZERO, bytes: 0 };
        // The lock file records the last use; without it, the age of another file counts.
        entry.unused = [
            entry.path(".used"),
            entry.directory(),
            entry.path(".lock"),
            entry.path(".new"),
            entry.path(".gone"),
        ]
        .iter()
        .find_map(|path| time_since_use(path))?;
        let recorded_size = fs::read_to_string(entry.path(".size")).ok().and_then(|text| text.parse().ok());
        entry.bytes = recorded_size.unwrap_or_else(|| size(&entry.directory()));
        Some(entry)
    });
    entries.collect()
}

/// Returns the total size of all files below `directory`.
fn size(directory: &Path) -> u64 {
    let (mut bytes, mut directories) = (0, vec![directory.to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                directories.push(entry.path());
            } else {
                bytes += meta.len();
            }
        }
    }
    bytes
}

/// Returns the free bytes of the disk that holds `path`.
fn free(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{DAY, Retention, prune};
    use crate::store::FileLock;
    use std::{
        fs::{self, File},
        path::Path,
        time::{Duration, SystemTime},
    };

    /// Creates an entry that was last used `age` ago.
    fn aged(home: &Path, directory: &str, age: Duration) {
        let key = directory.trim_end_matches(".git");
        fs::create_dir_all(home.join(directory)).unwrap();
        let mark = home.join(format!("{key}.used"));
        File::create(mark).unwrap().set_modified(SystemTime::now() - age).unwrap();
    }

    fn names(home: &Path) -> Vec<String> {
        let entries = fs::read_dir(home).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    const NO_LIMIT: Retention =
        Retention { trees: usize::MAX, age: DAY, mirror_age: DAY, bytes: u64::MAX, free_bytes: 0 };

    #[test]
    fn least_recently_used_trees_are_removed_unless_in_use() {
        let cache = tempfile::tempdir().unwrap();
        let trees = cache.path().join("trees");
        for number in 0..8 {
            aged(&trees, &format!("t{number}"), Duration::from_secs(1000 - number));
        }
        let _in_use = FileLock::try_shared(&trees.join("t0.used")).unwrap();
        prune(cache.path(), &Retention { trees: 5, ..NO_LIMIT });
        let exists = |number: u64| trees.join(format!("t{number}")).exists();
        assert_eq!([0, 1, 2, 3, 4].map(exists), [true, false, false, false, true]);
        aged(&trees, "t5", DAY + Duration::from_secs(1));
        prune(cache.path(), &NO_LIMIT);
        assert!(!exists(5) && exists(6));
        assert!(!names(&trees).iter().any(|name| name.starts_with("t5")), "{:?}", names(&trees));
    }

    #[test]
    fn unused_mirrors_and_uploads_are_removed_by_age() {
        let cache = tempfile::tempdir().unwrap();
        for home in ["repos", "uploads"].map(|name| cache.path().join(name)) {
            aged(&home, "old.git", DAY + Duration::from_secs(1));
            aged(&home, "new.git", Duration::ZERO);
            prune(cache.path(), &NO_LIMIT);
            assert!(!home.join("old.git").exists() && home.join("new.git").exists());
        }
    }

    #[test]
    fn trees_go_before_mirrors_when_space_is_short() {
        let cache = tempfile::tempdir().unwrap();
        let (trees, repos) = (cache.path().join("trees"), cache.path().join("repos"));
        aged(&repos, "m.git", Duration::from_secs(500));
        fs::write(repos.join("m.git/pack"), [0; 1000]).unwrap();
        for (name, age) in [("a", 30), ("b", 20), ("c", 10)] {
            aged(&trees, name, Duration::from_secs(age));
            fs::write(trees.join(format!("{name}.size")), "1000").unwrap();
        }
        prune(cache.path(), &Retention { bytes: 2500, ..NO_LIMIT });
        assert!(names(&trees).iter().all(|name| name.starts_with('c')), "{:?}", names(&trees));
        assert!(repos.join("m.git").exists());
        // The minimum is never reached, so everything that is not in use is removed.
        let _in_use = FileLock::try_shared(&trees.join("c.used")).unwrap();
        prune(cache.path(), &Retention { free_bytes: u64::MAX, ..NO_LIMIT });
        assert!(trees.join("c").exists() && !repos.join("m.git").exists());
    }

    #[test]
    fn unfinished_checkouts_are_removed_unless_being_built() {
        let cache = tempfile::tempdir().unwrap();
        let trees = cache.path().join("trees");
        for name in ["left.new", "half.gone", "building.new"] {
            fs::create_dir_all(trees.join(name)).unwrap();
        }
        let old = |name: &str, age| {
            File::create(trees.join(name)).unwrap().set_modified(SystemTime::now() - age).unwrap();
        };
        for key in ["left", "half", "building"] {
            old(&format!("{key}.used"), DAY / 2);
        }
        let _building = FileLock::try_shared(&trees.join("building.used")).unwrap();
        prune(cache.path(), &NO_LIMIT);
        assert_eq!(names(&trees), ["building.new", "building.used"]);
    }
}
