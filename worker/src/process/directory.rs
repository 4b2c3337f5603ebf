//! The directories of one job: its workspace, its home, its temporary files, and what its supervisor writes.

use crate::workspace::FileOwner;
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};
use tokio_util::task::TaskTracker;

/// The directories of a job. They are removed in the background when this is dropped.
#[derive(Debug)]
pub(super) struct JobDirectory {
    path: PathBuf,
    tasks: TaskTracker,
}

impl JobDirectory {
    /// Creates the directories at `path` for `owner`, who alone can enter them.
    pub fn create(path: PathBuf, owner: FileOwner, tasks: TaskTracker) -> io::Result<Self> {
        let make = |path: &Path| {
            fs::DirBuilder::new().mode(0o700).create(path)?;
            owner.give_path(path)
        };
        // What exists already is not this job's to remove.
        make(&path)?;
        let directory = Self { path, tasks };
        for path in [directory.workspace(), directory.home(), directory.temporary(), directory.run()] {
            make(&path)?;
        }
        Ok(directory)
    }

    /// The directory of the job's sources.
    pub fn workspace(&self) -> PathBuf {
        self.path.join("workspace")
    }

    /// The home directory of the job.
    pub fn home(&self) -> PathBuf {
        self.path.join("home")
    }

    /// The directory of the job's temporary files.
    pub fn temporary(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// The directory of the job's scripts, secrets and summary.
    pub fn run(&self) -> PathBuf {
        self.path.join("run")
    }

    /// The directory with all of them.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for JobDirectory {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        self.tasks.spawn_blocking(move || remove(&path));
    }
}

/// Removes the directory at `path`, also if a job took away the right to change a part of it.
pub(super) fn remove(path: &Path) {
    let removed = match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open(path);
            fs::remove_dir_all(path)
        }
        other => other,
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => tracing::warn!(
            %error,
            path = %path.display(),
            "the files of a job cannot be removed; if they belong to another user, a worker that runs as root removes them"
        ),
        _ => {}
    }
}

/// Gives this user all rights to the directories below `path`, as far as they belong to it. Nothing of the job runs any more.
fn open(path: &Path) {
    let mut pending = vec![path.to_owned()];
    while let Some(directory) = pending.pop() {
        drop(fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)));
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        pending.extend(
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{JobDirectory, remove};
    use crate::workspace::FileOwner;
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt},
    };
    use tokio_util::task::TaskTracker;

    #[tokio::test]
    async fn directories_are_private_and_removed_whatever_their_modes() {
        let base = tempfile::tempdir().unwrap();
        let tasks = TaskTracker::new();
        let path = base.path().join("0");
        let directory = JobDirectory::create(path.clone(), FileOwner::Worker, tasks.clone()).unwrap();
        for path in [directory.path().to_owned(), directory.home(), directory.temporary(), directory.run()] {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o7777, 0o700);
        }
        let locked = directory.workspace().join("a/b");
        fs::create_dir_all(&locked).unwrap();
        fs::write(locked.join("c"), "").unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o0)).unwrap();
        fs::set_permissions(directory.workspace(), fs::Permissions::from_mode(0o500)).unwrap();
        assert!(JobDirectory::create(path.clone(), FileOwner::Worker, TaskTracker::new()).is_err());
        drop(directory);
        tasks.close();
        tasks.wait().await;
        assert!(!path.exists());
        remove(&path);
    }
}
