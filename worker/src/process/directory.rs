//! The directories of one job: its workspace, its home, its temporary files, and what its supervisor writes.

use crate::workspace::{FileOwner, remove_tree};
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};
use tokio_util::task::TaskTracker;

/// The mode of directories that only their owner can enter.
const PRIVATE_MODE: u32 = 0o700;
/// The mode of a directory of the worker that the user of jobs can enter, but not list.
pub(super) const ENTERED_MODE: u32 = 0o711;

/// The directories of a job. They are removed in the background when this is dropped.
#[derive(Debug)]
pub(super) struct JobDirectory {
    path: PathBuf,
    tasks: TaskTracker,
}

impl JobDirectory {
    /// Creates the directories at `path`. Only the worker's user can enter them, until [`open_to`](Self::open_to).
    pub fn create(path: PathBuf, tasks: TaskTracker) -> io::Result<Self> {
        let make = |path: &Path| fs::DirBuilder::new().mode(PRIVATE_MODE).create(path);
        // What exists already is not this job's to remove.
        make(&path)?;
        let directory = Self { path, tasks };
        directory.parts().iter().try_for_each(|path| make(path))?;
        Ok(directory)
    }

    /// Gives the directories to `owner`, whose processes start now. Until then the worker works in them by path, so that no other
    /// process of that user may replace what is there. The one with all of them stays the worker's.
    pub fn open_to(&self, owner: FileOwner) -> io::Result<()> {
        self.parts().iter().try_for_each(|path| owner.give_path(path))?;
        let mode = if owner == FileOwner::Worker { PRIVATE_MODE } else { ENTERED_MODE };
        fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))
    }

    fn parts(&self) -> [PathBuf; 4] {
        [self.workspace(), self.home(), self.temporary(), self.run()]
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

/// Removes the directory at `path`. Other processes of its job's user may run.
pub(super) fn remove(path: &Path) {
    // No process can enter it by its path any more.
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
        drop(fs::set_permissions(path, fs::Permissions::from_mode(PRIVATE_MODE)));
    }
    match remove_tree(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => tracing::warn!(
            %error,
            path = %path.display(),
            "the files of a job cannot be removed; if they belong to another user, a worker that runs as root removes them"
        ),
        _ => {}
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
        let directory = JobDirectory::create(path.clone(), tasks.clone()).unwrap();
        for path in [directory.path().to_owned(), directory.home(), directory.temporary(), directory.run()] {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o7777, 0o700);
        }
        directory.open_to(FileOwner::Worker).unwrap();
        assert_eq!(fs::metadata(directory.path()).unwrap().mode() & 0o7777, 0o700);
        let locked = directory.workspace().join("a/b");
        fs::create_dir_all(&locked).unwrap();
        fs::write(locked.join("c"), "").unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o0)).unwrap();
        fs::set_permissions(directory.workspace(), fs::Permissions::from_mode(0o500)).unwrap();
        assert!(JobDirectory::create(path.clone(), TaskTracker::new()).is_err());
        drop(directory);
        tasks.close();
        tasks.wait().await;
        assert!(!path.exists());
        remove(&path);
    }

    #[tokio::test]
    async fn directories_belong_to_the_worker_until_the_job_starts() {
        let own = rustix::process::geteuid().as_raw();
        if own != 0 {
            eprintln!("skipped: only root can give files to another user");
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let tasks = TaskTracker::new();
        let directory = JobDirectory::create(base.path().join("0"), tasks.clone()).unwrap();
        let parts = directory.parts();
        let owner_and_mode = |path: &std::path::Path| {
            let metadata = fs::metadata(path).unwrap();
            (metadata.uid(), metadata.mode() & 0o7777)
        };
        for path in [directory.path()].into_iter().chain(parts.iter().map(|part| &**part)) {
            assert_eq!(owner_and_mode(path), (own, 0o700), "{}", path.display());
        }
        directory.open_to(FileOwner::User { uid: 4711, gid: 4712 }).unwrap();
        assert_eq!(owner_and_mode(directory.path()), (own, 0o711), "the job cannot rename what is in it");
        for path in &parts {
            assert_eq!(owner_and_mode(path), (4711, 0o700), "{}", path.display());
        }
        drop(directory);
        tasks.close();
        tasks.wait().await;
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }
}
