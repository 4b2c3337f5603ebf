//! What was fetched for includes, on disk: refs of repositories, and files of the web by their hashes. Commits are in mirrors.
//! Nothing in it is trusted more than its source: the reader checks hashes again, and refs are used only without a connection.

use crate::store::create_private_directory;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    time::SystemTime,
};
use tidemill_core::pipeline::{MAX_FILE_BYTES, RepositoryRefs};

/// Maximum number of stored files; beyond it, the oldest are removed.
const MAX_FILES: usize = 400;

/// The stored files of one data directory. A file that cannot be read or written is only fetched again.
#[derive(Debug)]
pub struct StoredFiles {
    directory: PathBuf,
}

impl StoredFiles {
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Returns the refs of a repository as they were last seen.
    pub fn refs(&self, repository: &str) -> Option<RepositoryRefs> {
        let text = self.read(&format!("refs-{}", hash(repository)))?;
        let mut refs = RepositoryRefs::default();
        for line in text.lines() {
            let (hash, name) = line.split_once(' ')?;
            match name.split_at_checked(1)? {
                ("b", branch) => drop(refs.branches.insert(branch.to_owned(), hash.to_owned())),
                ("t", tag) => drop(refs.tags.insert(tag.to_owned(), hash.to_owned())),
                _ => refs.head = Some(hash.to_owned()),
            }
        }
        Some(refs)
    }

    pub fn set_refs(&self, repository: &str, refs: &RepositoryRefs) {
        let head = refs.head.iter().map(|hash| format!("{hash} h\n"));
        let branches = refs.branches.iter().map(|(name, hash)| format!("{hash} b{name}\n"));
        let tags = refs.tags.iter().map(|(name, hash)| format!("{hash} t{name}\n"));
        let text: String = head.chain(branches).chain(tags).collect();
        self.write(&format!("refs-{}", hash(repository)), &text);
    }

    /// Returns the content with a SHA-256 in hex.
    pub fn content(&self, sha256: &str) -> Option<String> {
        self.read(&format!("sha256-{sha256}")).filter(|text| hash(text) == sha256)
    }

    /// Returns the content that an address last had.
    pub fn content_of(&self, url: &str) -> Option<String> {
        self.content(&self.read(&format!("url-{}", hash(url)))?)
    }

    pub fn set_content(&self, url: &str, text: &str) {
        let sha256 = hash(text);
        self.write(&format!("sha256-{sha256}"), text);
        self.write(&format!("url-{}", hash(url)), &sha256);
    }

    fn read(&self, name: &str) -> Option<String> {
        let path = self.directory.join(name);
        let text = fs::read_to_string(&path).ok()?;
        // What is used stays.
        let _ =
            fs::File::options().append(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(text)
    }

    fn write(&self, name: &str, text: &str) {
        if text.len() > MAX_FILE_BYTES {
            return;
        }
        let write = || -> io::Result<()> {
            create_private_directory(&self.directory)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
            file.write_all(text.as_bytes())?;
            file.persist(self.directory.join(name)).map_err(|error| error.error)?;
            self.remove_oldest()
        };
        if let Err(error) = write() {
            tracing::debug!(%error, directory = %self.directory.display(), "an included file could not be stored");
        }
    }

    fn remove_oldest(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)?.flatten() {
            files.push((entry.metadata()?.modified()?, entry.path()));
        }
        if files.len() > MAX_FILES {
            files.sort();
            for (_, path) in files.iter().take(files.len() - MAX_FILES) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn hash(text: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{MAX_FILES, RepositoryRefs, StoredFiles, hash};
    use std::fs;

    #[test]
    fn stored_files_are_found_again_and_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let stored = StoredFiles::new(directory.path().join("includes"));
        assert_eq!((stored.refs("a"), stored.content_of("https://h/a")), (None, None));
        let refs = RepositoryRefs {
            head: Some("1".repeat(40)),
            branches: [("main".to_owned(), "1".repeat(40))].into(),
            tags: [("v 1".to_owned(), "2".repeat(40))].into(),
        };
        stored.set_refs("a", &refs);
        stored.set_content("https://h/a", "text");
        assert_eq!(
            (stored.refs("a"), stored.content_of("https://h/a").as_deref()),
            (Some(refs), Some("text"))
        );
        // Changed content is not used.
        let path = directory.path().join("includes").join(format!("sha256-{}", hash("text")));
        fs::write(path, "other").unwrap();
        assert_eq!(stored.content_of("https://h/a"), None);
        for number in 0..MAX_FILES {
            stored.set_content(&format!("https://h/{number}"), &number.to_string());
        }
        assert!(fs::read_dir(directory.path().join("includes")).unwrap().count() <= MAX_FILES);
    }
}
