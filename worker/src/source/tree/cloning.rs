//! Clones of trees: where files can share blocks, as on XFS and Btrfs, a tree that jobs use is cloned and changed into a similar one,
//! of which only the files that differ take up space.

use super::{
    checkout::{CheckedOut, TreeSource},
    index::refresh_index,
    record::TreeRecord,
};
use crate::{source::git, store::FileLock};
use std::{
    fs::{self, File, FileTimes, Metadata},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, chown, lchown, symlink},
    path::Path,
};

/// Creates the tree of `source` at `building` as a changed clone of a tree of the family of `record`. `None`, with nothing at `building`: there is no similar tree, or the file
/// system cannot clone files.
pub fn clone_similar(
    source: &TreeSource<'_>,
    record: &TreeRecord,
    home: &Path,
    building: &Path,
    index: &Path,
) -> Option<CheckedOut> {
    for (path, previous) in record.similar(home) {
        let Ok(_in_use) = FileLock::try_shared(&path.with_extension("used")) else { continue };
        // Another worker may have changed it into another tree before.
        if !path.exists() || !source.is_similar_to(&previous) {
            continue;
        }
        let size = fs::read_to_string(path.with_extension("size")).ok();
        let bytes = size.and_then(|text| text.parse().ok()).unwrap_or_default();
        let copied_index = match fs::copy(path.with_extension("index"), index) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        let cloned = copied_index.and_then(|()| clone_tree(&path.with_extension(""), building));
        let updated = cloned.ok().and_then(|()| {
            recognize_files(source, building, index);
            source.update(&previous, bytes, building, index).ok()
        });
        if updated.is_none() {
            drop(fs::remove_dir_all(building));
            drop(fs::remove_file(index));
        }
        return updated;
    }
    None
}

/// Makes git recognize the files of a clone, whose inodes its indexes do not have. An error means that some files differ from the
/// index.
fn recognize_files(source: &TreeSource<'_>, into: &Path, index: &Path) {
    if index.exists() {
        drop(git::run(source.in_objects(into, index).args(["update-index", "-q", "--refresh"])));
    }
    drop(refresh_index(&into.join(".git"), into));
}

/// Clones the directory `from` to `to`, which does not exist: files share their blocks, and packs are linked.
fn clone_tree(from: &Path, to: &Path) -> io::Result<()> {
    let mut pending = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = pending.pop() {
        let metadata = fs::symlink_metadata(&from)?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            fs::create_dir(&to)?;
            give(&to, &metadata)?;
            fs::set_permissions(&to, metadata.permissions())?;
            for entry in fs::read_dir(&from)? {
                let name = entry?.file_name();
                pending.push((from.join(&name), to.join(&name)));
            }
        } else if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
            give(&to, &metadata)?;
        } else if from.parent().is_some_and(|parent| parent.ends_with(".git/objects/pack")) {
            fs::hard_link(&from, &to)?;
        } else {
            clone_file(&from, &to, &metadata)?;
        }
    }
    Ok(())
}

fn clone_file(from: &Path, to: &Path, metadata: &Metadata) -> io::Result<()> {
    let clone = File::options().write(true).create_new(true).mode(0o600).open(to)?;
    rustix::fs::ioctl_ficlone(&clone, File::open(from)?)?;
    if let Ok(own) = clone.metadata()
        && (own.uid(), own.gid()) != (metadata.uid(), metadata.gid())
    {
        chown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    }
    clone.set_permissions(metadata.permissions())?;
    clone.set_times(FileTimes::new().set_modified(metadata.modified()?))
}

/// Gives a new directory or link to the owner of the one that it was made after.
fn give(path: &Path, metadata: &Metadata) -> io::Result<()> {
    let own = fs::symlink_metadata(path)?;
    if (own.uid(), own.gid()) == (metadata.uid(), metadata.gid()) {
        return Ok(());
    }
    lchown(path, Some(metadata.uid()), Some(metadata.gid()))
}
