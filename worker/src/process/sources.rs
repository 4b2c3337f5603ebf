//! Copies the shared tree of sources into the workspace of a job.

use crate::workspace::FileOwner;
use std::{
    fs::{self, File, FileTimes},
    io,
    os::unix::fs::symlink,
    path::Path,
};
use tokio_util::sync::CancellationToken;

/// Copies all below `from` into the directory `to`, with modes and times, for `owner`. On file systems that can, the files share
/// their blocks. Stops with an error once `canceled` is cancelled.
pub(super) fn copy_tree(
    from: &Path,
    to: &Path,
    owner: FileOwner,
    canceled: &CancellationToken,
) -> io::Result<()> {
    let mut pending = vec![(from.to_owned(), to.to_owned())];
    // Their modes may forbid to add files, and adding files changes their times.
    let mut directories = Vec::new();
    while let Some((from, to)) = pending.pop() {
        if canceled.is_cancelled() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "the sources are not needed any more"));
        }
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let (metadata, target) = (entry.metadata()?, to.join(entry.file_name()));
            if metadata.is_dir() {
                fs::create_dir(&target)?;
                directories.push((target.clone(), metadata));
                pending.push((entry.path(), target));
            } else if metadata.is_symlink() {
                symlink(fs::read_link(entry.path())?, &target)?;
                owner.give_path(&target)?;
            } else {
                fs::copy(entry.path(), &target)?;
                owner.give_path(&target)?;
                let times = FileTimes::new().set_modified(metadata.modified()?);
                // Only what compares times notices that they could not be set, and then does more than it must.
                drop(File::open(&target).and_then(|file| file.set_times(times)));
            }
        }
    }
    for (directory, metadata) in directories.iter().rev() {
        fs::set_permissions(directory, metadata.permissions())?;
        owner.give_path(directory)?;
        let times = FileTimes::new().set_modified(metadata.modified()?);
        drop(File::open(directory).and_then(|file| file.set_times(times)));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::copy_tree;
    use crate::workspace::FileOwner;
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    };
    use tokio_util::sync::CancellationToken;

    #[test]
    fn copy_has_files_links_modes_and_times() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let inner = from.path().join("d/e");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("program"), "x").unwrap();
        fs::set_permissions(inner.join("program"), fs::Permissions::from_mode(0o555)).unwrap();
        symlink("/nowhere", inner.join("link")).unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o555)).unwrap();
        let canceled = CancellationToken::new();
        copy_tree(from.path(), to.path(), FileOwner::Worker, &canceled).unwrap();
        let copied = to.path().join("d/e");
        let (old, new) =
            (fs::metadata(inner.join("program")).unwrap(), fs::metadata(copied.join("program")).unwrap());
        assert_eq!((new.mode(), new.mtime(), new.len()), (old.mode(), old.mtime(), 1));
        assert_ne!(new.ino(), old.ino(), "the shared tree must not change");
        assert_eq!(fs::read_link(copied.join("link")).unwrap().to_str(), Some("/nowhere"));
        assert_eq!(fs::metadata(&copied).unwrap().mode() & 0o777, 0o555);
        for directory in [&inner, &copied] {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
        }
        canceled.cancel();
        let other = tempfile::tempdir().unwrap();
        assert!(copy_tree(from.path(), other.path(), FileOwner::Worker, &canceled).is_err());
    }
}
