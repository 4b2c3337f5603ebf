//! Removes directories that jobs wrote: of any depth, with any modes, and while processes may still change them.

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags},
    io::Errno,
};
use std::{
    ffi::{CStr, CString},
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    time::{Duration, Instant},
};

/// How long a removal may take: processes that add files meanwhile must not make it endless.
const MAX_REMOVAL_TIME: Duration = Duration::from_secs(1800);
/// Attempts to find a name that is free.
const MAX_NAMES: u32 = 1000;

/// The rights of an owner to list, enter and change a directory.
const OWNER_RIGHTS: Mode = Mode::RWXU;

/// Removes the file or directory at `path`, with all that is below it; links are not followed.
///
/// A directory that is not empty moves up before it is removed, so that neither memory nor the stack grows with the depth of the
/// tree: the standard library's function overflows the stack of its thread, which ends the worker.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let name = CString::new(path.as_os_str().as_bytes())?;
    let root = match open_directory(rustix::fs::CWD, &name, flags) {
        Ok(root) => root,
        Err(Errno::NOTDIR | Errno::LOOP) => return std::fs::remove_file(path),
        Err(error) => return Err(error.into()),
    };
    let mut removal = Removal { root, moved: 0, progress: 0, failure: None, start: Instant::now() };
    loop {
        let before = removal.progress;
        removal.failure = None;
        removal.remove_below_root()?;
        match std::fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && removal.progress > before => {}
            Err(error) => return Err(removal.failure.map_or(error, io::Error::from)),
            Ok(()) => return Ok(()),
        }
    }
}

struct Removal {
    root: OwnedFd,
    /// Directories that were moved up.
    moved: u64,
    /// Entries that were removed or moved.
    progress: u64,
    /// Why the first entry that stays could not be removed.
    failure: Option<Errno>,
    start: Instant,
}

impl Removal {
    /// Removes the entries of the root, after it has moved there what is not empty in them.
    fn remove_below_root(&mut self) -> io::Result<()> {
        for entry in Dir::read_from(&self.root)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_self_or_parent(name) || self.remove_entry(None, name) {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match open_directory(&self.root, name, flags) {
                Ok(directory) => {
                    self.empty(&directory)?;
                    self.remove_entry(None, name);
                }
                Err(Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => self.fail(error),
            }
        }
        Ok(())
    }

    /// Removes what is in `directory`, or moves it to the root.
    fn empty(&mut self, directory: &OwnedFd) -> io::Result<()> {
        for entry in Dir::read_from(directory)? {
            if self.start.elapsed() > MAX_REMOVAL_TIME {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "files are still added to it"));
            }
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.fail(error);
                    break;
                }
            };
            let name = entry.file_name();
            if !is_self_or_parent(name) && !self.remove_entry(Some(directory), name) {
                self.move_up(directory, name);
            }
        }
        Ok(())
    }

    /// Removes an entry of `directory`, or of the root; returns whether it is gone. It is not if it is a directory with entries.
    fn remove_entry(&mut self, directory: Option<&OwnedFd>, name: &CStr) -> bool {
        let directory = directory.unwrap_or(&self.root);
        let removed = match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            // What Linux and POSIX say of a directory.
            Err(error @ (Errno::ISDIR | Errno::PERM)) => {
                match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
                    Err(Errno::NOTDIR) => Err(error),
                    other => other,
                }
            }
            other => other,
        };
        match removed {
            Ok(()) => self.progress += 1,
            Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) => return false,
            Err(error) => {
                self.fail(error);
                // A directory that cannot be removed may have entries that can.
                return false;
            }
        }
        true
    }

    /// Moves a directory to the root.
    fn move_up(&mut self, directory: &OwnedFd, name: &CStr) {
        // Its new parent changes it, so its mode must allow that.
        if let Err(error) = unlock(directory, name) {
            self.fail(error);
        }
        for _ in 0..MAX_NAMES {
            self.moved += 1;
            let target = format!("moved-{}", self.moved);
            match rustix::fs::renameat(directory, name, &self.root, &target) {
                Ok(()) => self.progress += 1,
                // Another entry has this name.
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => continue,
                Err(error) => self.fail(error),
            }
            return;
        }
    }

    fn fail(&mut self, error: Errno) {
        self.failure.get_or_insert(error);
    }
}

/// Opens a directory, and gives its owner, if this user is it, all rights to it.
fn open_directory(parent: impl AsFd, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let open = || rustix::fs::openat(&parent, name, flags, Mode::empty());
    match open() {
        Err(Errno::ACCESS) => {}
        Ok(directory) => {
            let mode = Mode::from_raw_mode(rustix::fs::fstat(&directory)?.st_mode);
            if !mode.contains(OWNER_RIGHTS) {
                // What needs them fails otherwise.
                let _ = rustix::fs::fchmod(&directory, (mode & Mode::all()) | OWNER_RIGHTS);
            }
            return Ok(directory);
        }
        Err(error) => return Err(error),
    }
    unlock(&parent, name)?;
    open()
}

/// Gives its owner all rights to a directory.
fn unlock(parent: impl AsFd, name: &CStr) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    let mode = Mode::from_raw_mode(stat.st_mode);
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory || mode.contains(OWNER_RIGHTS) {
        return Ok(());
    }
    change_mode(&file, (mode & Mode::all()) | OWNER_RIGHTS)
}

/// Changes the mode of a file that is open as a path only.
pub(super) fn change_mode(file: &OwnedFd, mode: Mode) -> Result<(), Errno> {
    rustix::fs::chmod(format!("/proc/self/fd/{}", file.as_raw_fd()), mode)
}

fn is_self_or_parent(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::remove_tree;
    use rustix::fs::{Mode, OFlags, mkdirat, openat};
    use std::{
        ffi::OsStr,
        fs, io,
        os::unix::{
            ffi::OsStrExt,
            fs::{PermissionsExt, symlink},
        },
        path::Path,
    };

    /// Creates directories in each other, and a file in each hundredth.
    fn create_deep(path: &Path, depth: u32) {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        fs::create_dir(path).unwrap();
        let mut current = rustix::fs::open(path, flags, Mode::empty()).unwrap();
        for level in 0..depth {
            let mode = Mode::from_raw_mode(0o755);
            mkdirat(&current, "d", mode).unwrap();
            if level % 100 == 0 {
                drop(openat(&current, "file", OFlags::CREATE | OFlags::WRONLY, mode).unwrap());
            }
            current = openat(&current, "d", flags, Mode::empty()).unwrap();
        }
    }

    #[test]
    fn tree_deeper_than_a_stack_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep");
        // Some disks take milliseconds for each.
        create_deep(&path, 2000);
        let removing = path.clone();
        let small = std::thread::Builder::new().stack_size(128 << 10);
        small.spawn(move || remove_tree(&removing)).unwrap().join().unwrap().unwrap();
        assert!(!path.exists());
        assert_eq!(remove_tree(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn modes_and_names_do_not_matter_and_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (outside, path) = (directory.path().join("outside"), directory.path().join("tree"));
        fs::create_dir_all(outside.join("kept")).unwrap();
        fs::create_dir_all(path.join("locked/in/deep")).unwrap();
        fs::create_dir_all(path.join("moved-1/moved-2")).unwrap();
        for name in [&b"-rf"[..], b"\xff\xfe", b"a\nb", b"moved-3"] {
            let inner = path.join("moved-1").join(OsStr::from_bytes(name));
            fs::create_dir_all(inner.join("x/y")).unwrap();
            fs::write(inner.join("file"), "").unwrap();
        }
        fs::write(path.join("moved-4"), "").unwrap();
        symlink(&outside, path.join("locked/link")).unwrap();
        symlink(&outside, path.join("link")).unwrap();
        for (name, mode) in [("locked/in", 0o0), ("locked", 0o500), ("moved-1", 0o100)] {
            fs::set_permissions(path.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        remove_tree(&path).unwrap();
        assert!(!path.exists() && outside.join("kept").exists());
        symlink(&outside, &path).unwrap();
        remove_tree(&path).unwrap();
        assert!(path.symlink_metadata().is_err() && outside.join("kept").exists());
    }
}
