//! The owner of the files that are laid into a workspace: sources, artifacts and caches.

use rustix::{
    fs::{AtFlags, Gid, Mode, Uid},
    io::Errno,
};
use std::{
    fs, io,
    os::{
        fd::AsFd,
        unix::fs::{MetadataExt, PermissionsExt, lchown},
    },
    path::Path,
};

/// Who owns the files that are laid into a workspace. They must be writable by the user of the job's container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum FileOwner {
    /// The worker's own user: root in a container may write to any file.
    #[default]
    Worker,
    /// The user and group of the container.
    User {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
    },
    /// The worker's own user, with permissions for everyone: the worker does not know the container's user, or may not give
    /// files away.
    Everyone,
}

impl FileOwner {
    /// Returns what distinguishes a shared tree of this owner from the worker's own one.
    #[must_use]
    pub fn label(self) -> Option<String> {
        match self {
            Self::Worker => None,
            Self::User { uid, gid } => Some(format!("{uid}:{gid}")),
            Self::Everyone => Some("everyone".to_owned()),
        }
    }

    /// Gives an open file or directory to the owner. Returns the permissions that it must get, where `mode` are the intended ones.
    pub(super) fn give(self, file: impl AsFd, mode: Mode, is_directory: bool) -> io::Result<Mode> {
        match self {
            Self::Worker => Ok(mode),
            Self::User { uid, gid } => {
                match rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))) {
                    Ok(()) => Ok(mode),
                    Err(Errno::PERM) => Ok(open_to_everyone(mode, is_directory)),
                    Err(error) => Err(error.into()),
                }
            }
            Self::Everyone => Ok(open_to_everyone(mode, is_directory)),
        }
    }

    /// Gives the link `name` in `directory` to the owner.
    pub(super) fn give_link(self, directory: impl AsFd, name: &std::ffi::OsStr) -> io::Result<()> {
        let Self::User { uid, gid } = self else { return Ok(()) };
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        match rustix::fs::chownat(&directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW) {
            // Anyone can read a link, and replace it in a directory of their own.
            Err(Errno::PERM) => Ok(()),
            other => other.map_err(io::Error::from),
        }
    }

    /// Gives the file or directory at `path`, without what is in it, to the owner.
    pub fn give_path(self, path: &Path) -> io::Result<()> {
        give_entry(self, path, &fs::symlink_metadata(path)?)
    }

    /// Gives the directory at `root` and all below it to the owner. Nothing else may change the tree meanwhile.
    pub fn give_tree(self, root: &Path) -> io::Result<()> {
        if self == Self::Worker {
            return Ok(());
        }
        self.give_path(root)?;
        let mut pending = vec![root.to_owned()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                let metadata = entry.metadata()?;
                give_entry(self, &entry.path(), &metadata)?;
                if metadata.is_dir() {
                    pending.push(entry.path());
                }
            }
        }
        Ok(())
    }
}

/// Gives the file, directory or link at `path` to `owner`; links are not followed.
fn give_entry(owner: FileOwner, path: &Path, metadata: &fs::Metadata) -> io::Result<()> {
    if let FileOwner::User { uid, gid } = owner {
        // A change would touch the file, which git then reads again.
        if (metadata.uid(), metadata.gid()) == (uid, gid) {
            return Ok(());
        }
        match lchown(path, Some(uid), Some(gid)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            result => return result,
        }
    }
    if owner == FileOwner::Worker || metadata.is_symlink() {
        return Ok(());
    }
    let mode = open_to_everyone(Mode::from_raw_mode(metadata.permissions().mode()), metadata.is_dir());
    // As with the owner: a change would touch the file.
    if metadata.permissions().mode() & 0o7777 == mode.as_raw_mode() {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode.as_raw_mode()))
}

/// Adds to `mode` the permissions that everyone needs to change a file or directory.
fn open_to_everyone(mode: Mode, is_directory: bool) -> Mode {
    let execute = if is_directory || mode.as_raw_mode() & 0o111 != 0 { 0o111 } else { 0 };
    Mode::from_raw_mode((mode.as_raw_mode() & 0o7777) | 0o666 | execute)
}

/// Copies a tar with each of its entries given to this user and group.
pub fn copy_with_owner(tar: impl io::Read, to: impl io::Write, (uid, gid): (u32, u32)) -> io::Result<()> {
    let mut copy = tar::Builder::new(to);
    for entry in tar::Archive::new(tar).entries()?.raw(true) {
        let mut entry = entry?;
        let mut header = entry.header().clone();
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        header.set_cksum();
        copy.append(&header, &mut entry)?;
    }
    copy.finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{FileOwner, Mode, copy_with_owner, open_to_everyone};
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt, symlink},
        path::Path,
    };

    #[test]
    fn tree_is_given_away_or_opened_and_links_are_not_followed() {
        let outside = tempfile::NamedTempFile::new().unwrap();
        let before = outside.as_file().metadata().unwrap();
        let owner = FileOwner::User { uid: 4711, gid: 4712 };
        for owner in [owner, FileOwner::Everyone, FileOwner::Worker] {
            let tree = tempfile::tempdir().unwrap();
            let inner = tree.path().join("d/e");
            fs::create_dir_all(&inner).unwrap();
            let (file, program) = (inner.join("f"), inner.join("p"));
            for (path, mode) in [(&file, 0o444), (&program, 0o755)] {
                fs::write(path, "x").unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            }
            symlink(outside.path(), inner.join("link")).unwrap();
            owner.give_tree(tree.path()).unwrap();
            let get = |path: &Path| {
                let metadata = fs::symlink_metadata(path).unwrap();
                (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
            };
            let is_root = before.uid() == 0;
            match owner {
                FileOwner::User { uid, gid } if is_root => {
                    assert_eq!((get(&file), get(&program)), ((uid, gid, 0o444), (uid, gid, 0o755)));
                    assert_eq!((get(&inner).0, get(tree.path()).0), (uid, uid));
                    assert_eq!(get(&inner.join("link")).0, uid);
                }
                FileOwner::User { .. } | FileOwner::Everyone => {
                    assert_eq!((get(&file).2, get(&program).2, get(&inner).2), (0o666, 0o777, 0o777));
                }
                FileOwner::Worker => assert_eq!((get(&file).2, get(&program).2), (0o444, 0o755)),
            }
            let after = outside.as_file().metadata().unwrap();
            assert_eq!((after.uid(), after.mode()), (before.uid(), before.mode()), "the link was followed");
        }
    }

    #[test]
    fn permissions_for_everyone_keep_the_sticky_bit() {
        assert_eq!(open_to_everyone(Mode::from_raw_mode(0o1755), true).as_raw_mode(), 0o1777);
        assert_eq!(open_to_everyone(Mode::from_raw_mode(0o600), false).as_raw_mode(), 0o666);
    }

    #[test]
    fn copied_tar_differs_only_in_its_owners() {
        let mut builder = tar::Builder::new(Vec::new());
        let long = "d/".repeat(80) + "file";
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o640);
        builder.append_data(&mut header, &long, &b"abc"[..]).unwrap();
        let tar = builder.into_inner().unwrap();
        let mut copy = Vec::new();
        copy_with_owner(&tar[..], &mut copy, (7, 8)).unwrap();
        let mut archive = tar::Archive::new(&copy[..]);
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mode().unwrap()), (7, 8, 0o640));
        assert_eq!((entry.path().unwrap().to_str().unwrap(), entry.size()), (long.as_str(), 3));
    }
}
