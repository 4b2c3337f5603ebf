//! Removes what is kept of sources: by age, by number, by size, and when the disk fills. What is in use stays.

use super::{
    mirror::{MIRRORS_DIR, UPLOADS_DIR, tidy},
    registry,
    tree::TREES_DIR,
};
use crate::store::{FileLock, unused_for};
use std::{
    cmp::Reverse,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const DAY: Duration = Duration::from_secs(24 * 3600);
const GIB: u64 = 1 << 30;
/// What a checkout left that did not come to its end, or nothing but locks, goes after this time.
const LEFTOVER_AGE: Duration = Duration::from_secs(60);
/// What names beside a directory say of it.
const SUFFIXES: [&str; 6] = [".git", ".gone", ".lock", ".new", ".size", ".used"];

/// What is kept of sources that nobody uses just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// How many trees.
    pub trees: usize,
    /// For how long trees, and what was uploaded, without use.
    pub age: Duration,
    /// For how long mirrors of repositories without use.
    pub mirror_age: Duration,
    /// How many bytes in all.
    pub bytes: u64,
    /// Only as long as so many bytes of the disk are free.
    pub free_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { trees: 20, age: 14 * DAY, mirror_age: 90 * DAY, bytes: 50 * GIB, free_bytes: GIB }
    }
}

/// Kinds of what is kept, those first that cost least to get again.
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

/// Something that is kept.
#[derive(Debug)]
struct CachedEntry {
    kind: Kind,
    home: PathBuf,
    key: String,
    unused: Duration,
    bytes: u64,
}

impl CachedEntry {
    fn at(&self, suffix: &str) -> PathBuf {
        self.home.join(format!("{}{suffix}", self.key))
    }

    fn directory(&self) -> PathBuf {
        if self.kind == Kind::Tree { self.at("") } else { self.at(".git") }
    }

    /// The locks of what nobody uses.
    fn lock(&self) -> Option<[FileLock; 2]> {
        Some([FileLock::try_now(&self.at(".used")).ok()?, FileLock::try_now(&self.at(".lock")).ok()?])
    }

    /// Removes it, unless somebody uses it; whether it is gone.
    fn remove(&self) -> bool {
        let Some(_alone) = self.lock() else { return false };
        // A directory that is half gone must not be taken for a whole one.
        let gone = self.at(".gone");
        let _ = fs::rename(self.directory(), &gone);
        for path in [gone, self.at(".new")] {
            let _ = fs::remove_dir_all(path);
        }
        for suffix in [".size", ".lock", ".used"] {
            let _ = fs::remove_file(self.at(suffix));
        }
        !self.directory().exists()
    }

    /// Removes what was not finished; and puts a mirror's packs together.
    fn tidy(&self) {
        let (unfinished, gone) = (self.at(".new"), self.at(".gone"));
        if self.kind != Kind::Tree || unfinished.exists() || gone.exists() {
            let Some(_alone) = self.lock() else { return };
            let _ = fs::remove_dir_all(unfinished);
            let _ = fs::remove_dir_all(gone);
            if self.kind == Kind::Mirror {
                tidy(&self.directory());
            }
        }
    }
}

/// Removes what `retention` does not keep of the sources below `cache`.
pub fn prune(cache: &Path, retention: &Retention) {
    registry::prune(cache);
    let mut kept: Vec<CachedEntry> =
        Kind::ALL.iter().flat_map(|(kind, home)| list(*kind, &cache.join(home))).collect();
    // What was used longest ago goes first.
    kept.sort_by_key(|one| Reverse(one.unused));
    kept.retain(|one| {
        if !one.directory().exists() {
            if one.unused > LEFTOVER_AGE {
                one.remove();
            }
            return false;
        }
        let age = if one.kind == Kind::Mirror { retention.mirror_age } else { retention.age };
        one.tidy();
        !(one.unused > age && one.remove())
    });
    let mut trees = kept.iter().filter(|one| one.kind == Kind::Tree).count();
    kept.retain(|one| {
        let goes = one.kind == Kind::Tree && trees > retention.trees && one.remove();
        trees -= usize::from(goes);
        !goes
    });
    // A stable sort: within a kind the order stays.
    kept.sort_by_key(|one| one.kind);
    let mut bytes: u64 = kept.iter().map(|one| one.bytes).sum();
    for one in &kept {
        if bytes <= retention.bytes && free(cache).is_none_or(|free| free >= retention.free_bytes) {
            break;
        }
        if one.remove() {
            bytes = bytes.saturating_sub(one.bytes);
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
    let kept = keys.into_iter().filter_map(|key| {
        let mut one = CachedEntry { kind, home: home.to_owned(), key, unused: Duration::ZERO, bytes: 0 };
        // Without a mark it is from before there was one, or nobody used it yet.
        one.unused = [one.at(".used"), one.directory(), one.at(".lock"), one.at(".new"), one.at(".gone")]
            .iter()
            .find_map(|path| unused_for(path))?;
        let noted = fs::read_to_string(one.at(".size")).ok().and_then(|text| text.parse().ok());
        one.bytes = noted.unwrap_or_else(|| size(&one.directory()));
        Some(one)
    });
    kept.collect()
}

/// The bytes of all files below `directory`.
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

/// The free bytes of the disk that `path` is on.
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

    /// Something that was used so long ago.
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
        let _in_use = FileLock::try_share(&trees.join("t0.used")).unwrap();
        prune(cache.path(), &Retention { trees: 5, ..NO_LIMIT });
        let kept = |number: u64| trees.join(format!("t{number}")).exists();
        assert_eq!([0, 1, 2, 3, 4].map(kept), [true, false, false, false, true]);
        aged(&trees, "t5", DAY + Duration::from_secs(1));
        prune(cache.path(), &NO_LIMIT);
        assert!(!kept(5) && kept(6));
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
        // A disk that is never as free as that: all that is not in use goes.
        let _in_use = FileLock::try_share(&trees.join("c.used")).unwrap();
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
        let _building = FileLock::try_share(&trees.join("building.used")).unwrap();
        prune(cache.path(), &NO_LIMIT);
        assert_eq!(names(&trees), ["building.new", "building.used"]);
    }
}
