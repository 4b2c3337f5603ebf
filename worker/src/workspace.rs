//! A job's workspace as a directory of this machine, which is there when the engine runs here.
//!
//! What runs in the container can change the workspace at any time, also on purpose: no path is resolved but beneath
//! the workspace (`openat2`), so that a link put into the way leads nowhere else.

mod entry;

pub use entry::{MODE_MASK, PermissionPolicy};

use entry::{TarExtensions, allow_refusal, inside, invalid};
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
    /// The workspace at `path`, which with `overlay` must be a mounted one; `None`: it cannot be used from here.
    #[must_use]
    pub fn open(path: &Path, overlay: bool) -> Option<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let root = rustix::fs::open(path, flags, Mode::empty()).ok()?;
        // An engine may have mounted it where only itself sees it.
        #[allow(clippy::unnecessary_cast, reason = "the type differs between architectures")]
        if overlay && rustix::fs::fstatfs(&root).ok()?.f_type as i64 != OVERLAYFS_MAGIC {
            return None;
        }
        let workspace = Self { root };
        // Older kernels, and those that only resemble one, have no `openat2`.
        workspace.stat(Path::new("")).ok()?;
        Some(workspace)
    }

    /// What is at `path`, a link not being followed.
    pub fn stat(&self, path: &Path) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(self.find(path, OFlags::PATH)?)?)
    }

    /// Where the link at `path` points to.
    pub fn link(&self, path: &Path) -> io::Result<PathBuf> {
        let target = rustix::fs::readlinkat(self.find(path, OFlags::PATH)?, "", Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    /// The regular file at `path`.
    pub fn read(&self, path: &Path) -> io::Result<(File, Stat)> {
        // A pipe would else be waited for.
        let file = self.find(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file any more"));
        }
        Ok((File::from(file), stat))
    }

    /// The names in the directory at `path`.
    pub fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(self.find(path, OFlags::RDONLY | OFlags::DIRECTORY)?)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        Ok(names)
    }

    /// The directory at `path` as one of its own.
    pub fn below(&self, path: &Path) -> io::Result<Self> {
        Ok(Self { root: self.find(path, OFlags::RDONLY | OFlags::DIRECTORY)? })
    }

    fn find(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        self.open_beneath(path, flags | OFlags::NOFOLLOW, resolve).map_err(io::Error::from)
    }

    fn open_beneath(&self, path: &Path, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
        let path = if path == Path::new("") { Path::new(".") } else { path };
        rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    /// The directory at `path`, as a place to unpack into; it works on kernels that have no `openat2`, too.
    pub fn directory_at(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        Ok(Self { root: rustix::fs::open(path, flags, Mode::empty())? })
    }

    /// Lays `tar` in: over what is there, with its times, and of its permissions and owners what `keep` says.
    ///
    /// Nothing is made or changed but beneath the workspace, and nothing but files, directories and links is made. What
    /// it takes of memory does not grow with the sizes that the tar names.
    pub fn unpack(&self, tar: impl Read, keep: PermissionPolicy) -> io::Result<()> {
        let mut directories = Vec::new();
        let mut extensions = TarExtensions::default();
        for entry in tar::Archive::new(tar).entries()?.raw(true) {
            let mut entry = entry?;
            if extensions.take(&mut entry)? {
                continue;
            }
            let named = std::mem::take(&mut extensions);
            let header = entry.header();
            let path = inside(&named.path(header)?)?;
            let Some(name) = path.file_name() else { continue };
            let (kind, dress) = (header.entry_type(), named.dress(header, keep)?);
            let target = named.link(header)?;
            if !(kind.is_dir() || kind.is_file() || kind.is_symlink() || kind.is_hard_link()) {
                return Err(invalid(format!(
                    "`{}` is neither a file nor a directory nor a link: such entries are not unpacked",
                    path.display()
                )));
            }
            let parent = self.directory(path.parent().unwrap_or(Path::new("")))?;
            if kind.is_dir() {
                self.directory(&path)?;
                directories.push((path, dress));
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
                dress.put_on(writer.get_ref())?;
            } else if kind.is_symlink() {
                rustix::fs::symlinkat(&*target, &parent, name)?;
                if keep == PermissionPolicy::Everything {
                    let (owner, group) = dress.owners;
                    allow_refusal(rustix::fs::chownat(
                        &parent,
                        name,
                        owner,
                        group,
                        AtFlags::SYMLINK_NOFOLLOW,
                    ))?;
                }
            } else {
                let target = inside(&target)?;
                let from = self.directory(target.parent().unwrap_or(Path::new("")))?;
                let old = target.file_name().unwrap_or_default();
                rustix::fs::linkat(&from, old, &parent, name, AtFlags::empty())?;
            }
        }
        if !extensions.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Last: a directory changes its time as it is filled, and may forbid to be. Not held open meanwhile: there may be
        // more of them than a process may have open files.
        directories.sort_by(|(one, _), (other, _)| other.cmp(one));
        for (path, dress) in &directories {
            dress.put_on(self.directory(path)?)?;
        }
        Ok(())
    }

    /// The directory at `path`, made when missing.
    fn directory(&self, path: &Path) -> io::Result<OwnedFd> {
        // Links that stay in the workspace are followed, as they are by those who work in it.
        let follow =
            |path: &Path| self.open_beneath(path, OFlags::RDONLY | OFlags::DIRECTORY, ResolveFlags::BENEATH);
        match follow(path) {
            Err(Errno::NOENT | Errno::NOSYS) => {}
            other => return other.map_err(io::Error::from),
        }
        // Part by part, and not by recursion: a path may have thousands of them.
        let mut at = self.root.try_clone()?;
        let mut so_far = PathBuf::new();
        for part in path.components() {
            so_far.push(part);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let name = part.as_os_str();
            let open = || rustix::fs::openat(&at, name, flags, Mode::empty());
            let next = match open() {
                Err(Errno::NOENT) => match rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => open(),
                    Err(error) => Err(error),
                },
                other => other,
            };
            at = match next {
                Err(Errno::LOOP | Errno::NOTDIR) => follow(&so_far),
                other => other,
            }?;
        }
        Ok(at)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{HostWorkspace, PermissionPolicy};
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
        // Set as raw bytes: the library itself refuses names that lead out.
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
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("a"), "old and longer").unwrap();
        let host = HostWorkspace::open(place.path(), false).unwrap();
        host.unpack(&tar_of("./a")[..], PermissionPolicy::Everything).unwrap();
        host.unpack(&tar_of("deep/er/a")[..], PermissionPolicy::Everything).unwrap();
        for name in ["a", "deep/er/a"] {
            let meta = fs::metadata(place.path().join(name)).unwrap();
            assert_eq!(fs::read(place.path().join(name)).unwrap(), b"new");
            assert_eq!((meta.permissions().mode() & 0o7777, meta.mtime()), (0o755, 1000));
        }
    }

    #[test]
    fn nothing_is_written_outside_the_workspace() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("a"), "old").unwrap();
        let place = tempfile::tempdir().unwrap();
        symlink(outside.path(), place.path().join("out")).unwrap();
        symlink(outside.path().join("a"), place.path().join("link")).unwrap();
        fs::create_dir(place.path().join("real")).unwrap();
        symlink("real", place.path().join("near")).unwrap();
        let host = HostWorkspace::open(place.path(), false).unwrap();
        for name in ["out/a", "../a", "/a"] {
            assert!(host.unpack(&tar_of(name)[..], PermissionPolicy::Everything).is_err(), "{name}");
        }
        host.unpack(&tar_of("link")[..], PermissionPolicy::Everything).unwrap();
        host.unpack(&tar_of("near/a")[..], PermissionPolicy::Everything).unwrap();
        assert_eq!(fs::read(outside.path().join("a")).unwrap(), b"old");
        assert_eq!(fs::read(place.path().join("link")).unwrap(), b"new");
        assert!(place.path().join("real/a").exists(), "a link that stays inside is followed");
        assert!(host.stat(Path::new("out/a")).is_err() && host.read(Path::new("out/a")).is_err());
    }

    #[test]
    fn plain_directory_is_not_accepted_as_overlay() {
        let place = tempfile::tempdir().unwrap();
        assert!(HostWorkspace::open(place.path(), true).is_none());
        assert!(HostWorkspace::open(&place.path().join("none"), false).is_none());
    }
}
