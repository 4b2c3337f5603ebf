//! The data directory: created on first use and checked, and the address of the server that uses it.

use crate::{
    env_vars,
    failure::{Failure, Outcome},
};
use rustix::fs::{Access, access};
use std::{
    fs::{self, DirBuilder},
    io::{ErrorKind, Read},
    os::unix::fs::DirBuilderExt,
    path::Path,
};

/// Creates the data directory if it is missing. Fails if it cannot be used.
pub fn prepare(path: &Path) -> Outcome {
    let unusable = |reason: &str| {
        Failure::system(format!(
            "the data directory {} cannot be used: {reason}; choose another with --data-dir or {}",
            path.display(),
            env_vars::DATA_DIR
        ))
    };
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => return Err(unusable("it is not a directory")),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
            created.map_err(|error| unusable(&error.to_string()))?;
            // A directory inside of a repository is not part of its sources.
            fs::write(path.join(".gitignore"), "*\n").map_err(|error| unusable(&error.to_string()))?;
        }
        Err(error) => return Err(unusable(&error.to_string())),
    }
    access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| unusable(&format!("this user may not write to it ({error})")))
}

/// Name of the file with the address of the server that uses a data directory.
const ADDRESS_FILE: &str = "address";
/// Maximum length of an address in bytes.
const MAX_ADDRESS_LEN: u64 = 2048;

/// Records the address of a server that uses the data directory at `path`, for commands beside it.
pub fn record_address(path: &Path, url: &str) -> std::io::Result<()> {
    fs::write(path.join(ADDRESS_FILE), url)
}

/// Returns the recorded address of a server, which may have ended.
pub fn recorded_address(path: &Path) -> Option<String> {
    let mut url = String::new();
    fs::File::open(path.join(ADDRESS_FILE)).ok()?.take(MAX_ADDRESS_LEN).read_to_string(&mut url).ok()?;
    (url.starts_with("http://") || url.starts_with("https://")).then_some(url)
}

/// Removes the recorded address when the server ends.
pub fn remove_address(path: &Path) {
    // Without a record there is nothing to remove.
    let _ = fs::remove_file(path.join(ADDRESS_FILE));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{prepare, record_address, recorded_address, remove_address};
    use std::fs;

    #[test]
    fn unusable_directory_is_named_with_the_reason_and_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for (path, reason) in
            [(file.clone(), "it is not a directory"), (file.join("below"), "Not a directory")]
        {
            let message = prepare(&path).unwrap_err().message;
            assert!(message.contains(reason) && message.contains("TIDEMILL_DATA_DIR"), "{message}");
            assert!(message.contains(&path.display().to_string()), "{message}");
        }
    }

    #[test]
    fn new_directory_is_ignored_by_git() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a b/new");
        prepare(&path).unwrap();
        assert_eq!(fs::read_to_string(path.join(".gitignore")).unwrap(), "*\n");
        prepare(&path).unwrap();
    }

    #[test]
    fn address_is_recorded_until_the_server_ends() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(recorded_address(dir.path()), None);
        record_address(dir.path(), "http://127.0.0.1:7600").unwrap();
        assert_eq!(recorded_address(dir.path()).as_deref(), Some("http://127.0.0.1:7600"));
        remove_address(dir.path());
        assert_eq!(recorded_address(dir.path()), None);
        record_address(dir.path(), "not an address").unwrap();
        assert_eq!(recorded_address(dir.path()), None);
    }
}
