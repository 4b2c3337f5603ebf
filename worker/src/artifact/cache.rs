//! A local cache of artifacts by hash, which avoids repeated downloads.

use crate::store::create_private_directory;
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tempfile::NamedTempFile;

/// Maximum size of the cache in bytes; the least recently used files are removed first.
const MAX_SIZE: u64 = 2 << 30;
/// Age at which unfinished files are removed.
const MAX_SPOOL_AGE: Duration = Duration::from_secs(24 * 60 * 60);
const FILE_EXTENSION: &str = "tar";

/// A directory of tars, named by their SHA-256; workers share it.
#[derive(Debug, Clone)]
pub struct ArtifactCache {
    directory: PathBuf,
    max_size: u64,
}

impl ArtifactCache {
    /// Creates a cache in `directory`, which is created when first needed.
    #[must_use]
    pub const fn new(directory: PathBuf) -> Self {
        Self { directory, max_size: MAX_SIZE }
    }

    /// Creates a temporary file, which [`Self::keep`] adds to the cache.
    pub fn spool(&self) -> io::Result<NamedTempFile> {
        create_private_directory(&self.directory)?;
        tempfile::Builder::new().prefix("spool-").tempfile_in(&self.directory)
    }

    /// Returns the tar with this hash, if it is cached.
    #[must_use]
    pub fn get(&self, sha256: &str) -> Option<File> {
        let file = File::options().read(true).write(true).open(self.path(sha256)?).ok()?;
        // If this fails, the file is only removed earlier.
        let _ = file.set_modified(SystemTime::now());
        Some(file)
    }

    /// Adds `spool`, whose content has this hash, to the cache, and returns the file, rewound.
    pub fn keep(&self, spool: NamedTempFile, sha256: &str) -> io::Result<File> {
        let file = spool.reopen()?;
        if let Some(path) = self.path(sha256) {
            spool.persist(path).map_err(|error| error.error)?;
            // An oversized cache is still correct.
            let _ = self.trim();
        }
        Ok(file)
    }

    fn path(&self, sha256: &str) -> Option<PathBuf> {
        // The hash comes from a server and must not be used as a path unchecked.
        let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then(|| self.directory.join(sha256).with_extension(FILE_EXTENSION))
    }

    fn trim(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            // Another worker may have removed it meanwhile.
            let Ok(meta) = entry.metadata() else { continue };
            let path = entry.path();
            let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if path.extension() == Some(Path::new(FILE_EXTENSION).as_os_str()) {
                files.push((used, meta.len(), path));
            } else if used.elapsed().is_ok_and(|age| age > MAX_SPOOL_AGE) {
                let _ = fs::remove_file(path);
            }
        }
        files.sort();
        let mut size: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, bytes, path) in files {
            if size <= self.max_size {
                break;
            }
            // An open file stays readable.
            let _ = fs::remove_file(path);
            size -= bytes;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::ArtifactCache;
    use std::io::{Read, Write};

    fn hash(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    #[test]
    fn least_recently_used_artifact_is_removed_first() {
        let directory = tempfile::tempdir().unwrap();
        let cache = ArtifactCache { directory: directory.path().join("artifacts"), max_size: 2 };
        for digit in ['1', '2'] {
            let mut spool = cache.spool().unwrap();
            spool.write_all(b"x").unwrap();
            cache.keep(spool, &hash(digit)).unwrap();
        }
        assert!(cache.get(&hash('1')).is_some());
        let mut spool = cache.spool().unwrap();
        spool.write_all(b"y").unwrap();
        let mut read = String::new();
        cache.keep(spool, &hash('3')).unwrap().read_to_string(&mut read).unwrap();
        assert_eq!(read, "y");
        assert!(cache.get(&hash('1')).is_some() && cache.get(&hash('3')).is_some());
        assert!(cache.get(&hash('2')).is_none());
    }

    #[test]
    fn invalid_hash_names_no_file() {
        let cache = ArtifactCache::new("/etc".into());
        assert!(cache.get("passwd").is_none() && cache.get("../../etc/passwd").is_none());
    }
}
