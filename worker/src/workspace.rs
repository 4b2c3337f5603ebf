//! A job's workspace as a directory of this machine, if the engine runs on it.
//!
//! Processes in the container can change the workspace at any time, possibly with malicious intent. So paths are resolved only
//! beneath the workspace (`openat2`), and no link can lead out of it.

mod entry;
mod owner;
mod removal;

pub use entry::{MODE_MASK, PermissionPolicy};
pub use owner::{FileOwner, copy_with_owner};
pub use removal::remove_tree;

use entry::{TarExtensions, invalid, normalize_path};
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, BufWriter, Read, Write},
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

/// `OVERLAYFS_SUPER_MAGIC` of linux/magic.h.
const OVERLAYFS_MAGIC: i64 = 0x794c_7630;
const BUFFER_SIZE: usize = 256 * 1024;

/// An open workspace.
#[derive(Debug)]
pub struct HostWorkspace {
    root: OwnedFd,
}

impl HostWorkspace {
    /// Opens the workspace at `path`, or returns `None` if it is not accessible. With `overlay`, it must be an overlay mount.
    #[must_use]
    pub fn open(path: &Path, overlay: bool) -> Option<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let root = rustix::fs::open(path, flags, Mode::empty()).ok()?;
        // The engine may have mounted it in its own mount namespace.
        #[allow(clippy::unnecessary_cast, reason = "the type differs between architectures")]
        if overlay && rustix::fs::fstatfs(&root).ok()?.f_type as i64 != OVERLAYFS_MAGIC {
            return None;
        }
        let workspace = Self { root };
        // Older kernels and emulated ones have no `openat2`.
        workspace.stat(Path::new("")).ok()?;
        Some(workspace)
    }

    /// Returns the metadata of `path`; does not follow a link.
    pub fn stat(&self, path: &Path) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(self.open_no_follow(path, OFlags::PATH)?)?)
    }

    /// Returns the target of the link at `path`.
    pub fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let target = rustix::fs::readlinkat(self.open_no_follow(path, OFlags::PATH)?, "", Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    /// Opens the regular file at `path`.
    pub fn read(&self, path: &Path) -> io::Result<(File, Stat)> {
        // Non-blocking, as opening a FIFO would block.
        let file = self.open_no_follow(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no longer a regular file"));
        }
        Ok((File::from(file), stat))
    }

    /// Lists the names in the directory at `path`.
    pub fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(self.open_no_follow(path, OFlags::RDONLY | OFlags::DIRECTORY)?)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        Ok(names)
    }

    /// Opens the directory at `path` as a workspace.
    pub fn subdirectory(&self, path: &Path) -> io::Result<Self> {
        Ok(Self { root: self.open_no_follow(path, OFlags::RDONLY | OFlags::DIRECTORY)? })
    }

    /// Opens the directory at `path`, which this user owns and whose mode keeps it out, and lets it in. Returns the former mode.
    pub fn open_closed(&self, path: &Path) -> io::Result<(Self, Mode)> {
        let file = self.open_no_follow(path, OFlags::PATH | OFlags::DIRECTORY)?;
        let stat = rustix::fs::fstat(&file)?;
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mode = Mode::from_raw_mode(stat.st_mode) & Mode::all();
        removal::change_mode(&file, mode | Mode::RUSR | Mode::XUSR)?;
        // What is open as a path cannot be listed.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(&file, ".", flags, Mode::empty())?;
        Ok((Self { root }, mode))
    }

    /// Changes the mode of the workspace's own directory, unless it is not `expected` any more.
    pub fn restore_mode(&self, expected: Mode, mode: Mode) -> io::Result<()> {
        let current = Mode::from_raw_mode(rustix::fs::fstat(&self.root)?.st_mode) & Mode::all();
        if current == expected { Ok(rustix::fs::fchmod(&self.root, mode)?) } else { Ok(()) }
    }

    fn open_no_follow(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        self.open_beneath(path, flags | OFlags::NOFOLLOW, resolve).map_err(io::Error::from)
    }

    fn open_beneath(&self, path: &Path, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
        let path = if path == Path::new("") { Path::new(".") } else { path };
        rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    /// Opens the directory at `path` for [`Self::unpack`]; works on kernels without `openat2`, too.
    pub fn directory_at(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        Ok(Self { root: rustix::fs::open(path, flags, Mode::empty())? })
    }

    /// Returns the path of the first file or link in `tar` that exists already, if any.
    pub fn first_existing(&self, tar: impl Read) -> io::Result<Option<PathBuf>> {
        for entry in tar::Archive::new(tar).entries()? {
            let entry = entry?;
            let path = entry.path()?.into_owned();
            if entry.header().entry_type().is_dir() {
                continue;
            }
            match rustix::fs::statat(&self.root, &path, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => return Ok(Some(path)),
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Unpacks `tar` over the existing files, with its times, and with permissions and owners according to `keep`.
    ///
    /// Changes nothing outside of the workspace, and creates only files, directories and links. The memory used does
    /// not depend on the sizes in the tar.
    pub fn unpack(&self, tar: impl Read, keep: PermissionPolicy) -> io::Result<()> {
        let owner = match keep {
            PermissionPolicy::Owned(owner) => owner,
            PermissionPolicy::Permissions => FileOwner::Worker,
        };
        let mut directories = Vec::new();
        let mut extensions = TarExtensions::default();
        for entry in tar::Archive::new(tar).entries()?.raw(true) {
            let mut entry = entry?;
            if extensions.consume(&mut entry)? {
                continue;
            }
            let extension = std::mem::take(&mut extensions);
            let header = entry.header();
            let path = normalize_path(&extension.path(header)?)?;
            let Some(name) = path.file_name() else { continue };
            let (kind, attributes) = (header.entry_type(), extension.attributes(header, keep)?);
            let target = extension.link(header)?;
            if !(kind.is_dir() || kind.is_file() || kind.is_symlink() || kind.is_hard_link()) {
                return Err(invalid(format!(
                    "`{}` is not a file, a directory or a link; such entries are not unpacked",
                    path.display()
                )));
            }
            let parent = self.open_directory(path.parent().unwrap_or(Path::new("")), owner)?;
            if kind.is_dir() {
                self.open_directory(&path, owner)?;
                directories.push((path, attributes));
                continue;
            }
            match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            if kind.is_file() {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o600))?;
                let mut writer = BufWriter::with_capacity(BUFFER_SIZE, File::from(file));
                let size = entry.size();
                if io::copy(&mut entry, &mut writer)? != size {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                writer.flush()?;
                attributes.apply(writer.get_ref())?;
            } else if kind.is_symlink() {
                rustix::fs::symlinkat(&*target, &parent, name)?;
                owner.give_link(&parent, name)?;
            } else {
                let target = normalize_path(&target)?;
                let from = self.open_directory(target.parent().unwrap_or(Path::new("")), owner)?;
                let old = target.file_name().unwrap_or_default();
                rustix::fs::linkat(&from, old, &parent, name, AtFlags::empty())?;
            }
        }
        if !extensions.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Last, as adding files changes a directory's time, and its permissions may forbid it. Directories are
        // reopened, as there may be more of them than a process may have open files.
        directories.sort_by(|(first, _), (second, _)| second.cmp(first));
        for (path, attributes) in &directories {
            attributes.apply(self.open_directory(path, owner)?)?;
        }
        Ok(())
    }

    /// Opens the directory at `path`, and creates it for `owner` if it does not exist.
    fn open_directory(&self, path: &Path, owner: FileOwner) -> io::Result<OwnedFd> {
        // Links that stay in the workspace are followed, as in the container.
        let follow =
            |path: &Path| self.open_beneath(path, OFlags::RDONLY | OFlags::DIRECTORY, ResolveFlags::BENEATH);
        match follow(path) {
            Err(Errno::NOENT | Errno::NOSYS) => {}
            other => return other.map_err(io::Error::from),
        }
        // Iterative rather than recursive, as a path may have thousands of components.
        let mut current = self.root.try_clone()?;
        let mut prefix = PathBuf::new();
        for part in path.components() {
            prefix.push(part);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let name = part.as_os_str();
            let open = || rustix::fs::openat(&current, name, flags, Mode::empty());
            let mode = Mode::from_raw_mode(0o755);
            let next = match open() {
                Err(Errno::NOENT) => match rustix::fs::mkdirat(&current, name, mode) {
                    Ok(()) => {
                        let created = open()?;
                        rustix::fs::fchmod(&created, owner.give(&created, mode, true)?)?;
                        Ok(created)
                    }
                    Err(Errno::EXIST) => open(),
                    Err(error) => Err(error),
                },
                other => other,
            };
            current = match next {
                Err(Errno::LOOP | Errno::NOTDIR) => follow(&prefix),
                other => other,
            }?;
        }
        Ok(current)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{FileOwner, HostWorkspace, PermissionPolicy};
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt, symlink},
        path::Path,
    };

    fn entry(builder: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        header.set_mtime(1000);
        header.set_uid(fs::metadata("/proc/self").unwrap().uid().into());
        header.set_gid(fs::metadata("/proc/self").unwrap().gid().into());
        // Set as raw bytes, as the library rejects names that lead out of the directory.
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, bytes).unwrap();
    }

    fn tar_of(name: &str) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        entry(&mut builder, name, b"new");
        builder.into_inner().unwrap()
    }

    #[test]
    fn tar_replaces_files_with_its_permissions_and_times() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), "old and longer").unwrap();
        let host = HostWorkspace::open(directory.path(), false).unwrap();
        host.unpack(&tar_of("./a")[..], PermissionPolicy::Owned(FileOwner::Worker)).unwrap();
        host.unpack(&tar_of("deep/er/a")[..], PermissionPolicy::Owned(FileOwner::Worker)).unwrap();
        for name in ["a", "deep/er/a"] {
            let meta = fs::metadata(directory.path().join(name)).unwrap();
            assert_eq!(fs::read(directory.path().join(name)).unwrap(), b"new");
            assert_eq!((meta.permissions().mode() & 0o7777, meta.mtime()), (0o755, 1000));
        }
    }

    #[test]
    fn unpacked_files_and_their_new_parents_are_writable_by_the_owner() {
        let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
        for owner in [FileOwner::User { uid: 4711, gid: 4712 }, FileOwner::Everyone] {
            let directory = tempfile::tempdir().unwrap();
            let host = HostWorkspace::open(directory.path(), false).unwrap();
            host.unpack(&tar_of("deep/er/a")[..], PermissionPolicy::Owned(owner)).unwrap();
            for name in ["deep", "deep/er", "deep/er/a"] {
                let meta = fs::metadata(directory.path().join(name)).unwrap();
                if is_root && owner != FileOwner::Everyone {
                    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (4711, 4712, 0o755), "{name}");
                } else {
                    assert_eq!(meta.mode() & 0o7777, 0o777, "{name}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_written_outside_the_workspace() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("a"), "old").unwrap();
        let directory = tempfile::tempdir().unwrap();
        symlink(outside.path(), directory.path().join("out")).unwrap();
        symlink(outside.path().join("a"), directory.path().join("link")).unwrap();
        fs::create_dir(directory.path().join("real")).unwrap();
        symlink("real", directory.path().join("near")).unwrap();
        let host = HostWorkspace::open(directory.path(), false).unwrap();
        for name in ["out/a", "../a", "/a"] {
            assert!(
                host.unpack(&tar_of(name)[..], PermissionPolicy::Owned(FileOwner::Worker)).is_err(),
                "{name}"
            );
        }
        host.unpack(&tar_of("link")[..], PermissionPolicy::Owned(FileOwner::Worker)).unwrap();
        host.unpack(&tar_of("near/a")[..], PermissionPolicy::Owned(FileOwner::Worker)).unwrap();
        assert_eq!(fs::read(outside.path().join("a")).unwrap(), b"old");
        assert_eq!(fs::read(directory.path().join("link")).unwrap(), b"new");
        assert!(directory.path().join("real/a").exists(), "a link that stays inside is followed");
        assert!(host.stat(Path::new("out/a")).is_err() && host.read(Path::new("out/a")).is_err());
    }

    #[test]
    fn plain_directory_is_not_accepted_as_overlay() {
        let directory = tempfile::tempdir().unwrap();
        assert!(HostWorkspace::open(directory.path(), true).is_none());
        assert!(HostWorkspace::open(&directory.path().join("none"), false).is_none());
    }
}
