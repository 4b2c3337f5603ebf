//! A job's workspace as a directory of this machine, which is there when the engine runs here.
//!
//! What runs in the container can change the workspace at any time, also on purpose: no path is resolved but beneath
//! the workspace (`openat2`), so that a link put into the way leads nowhere else.

use rustix::{
    fs::{
        AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid,
    },
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, BufWriter, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Component, Path, PathBuf},
};

/// `OVERLAYFS_SUPER_MAGIC` of linux/magic.h.
const OVERLAY: i64 = 0x794c_7630;
const BUFFER: usize = 256 * 1024;

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
        if overlay && rustix::fs::fstatfs(&root).ok()?.f_type as i64 != OVERLAY {
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

    fn find(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        self.open_beneath(path, flags | OFlags::NOFOLLOW, resolve).map_err(io::Error::from)
    }

    fn open_beneath(&self, path: &Path, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
        let path = if path == Path::new("") { Path::new(".") } else { path };
        rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    /// Lays `tar` in: over what is there, with its permissions, owners and times.
    pub fn unpack(&self, tar: impl Read) -> io::Result<()> {
        let mut directories = Vec::new();
        for entry in tar::Archive::new(tar).entries()? {
            let mut entry = entry?;
            let path = inside(&entry.path()?)?;
            let Some(name) = path.file_name() else { continue };
            let parent = self.directory(path.parent().unwrap_or(Path::new("")))?;
            let header = entry.header().clone();
            let kind = header.entry_type();
            if kind.is_dir() {
                directories.push((self.directory(&path)?, header));
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
                let mut writer = BufWriter::with_capacity(BUFFER, File::from(file));
                io::copy(&mut entry, &mut writer)?;
                writer.flush()?;
                dress(writer.get_ref(), &header)?;
            } else if kind.is_symlink() {
                let target = entry.link_name()?.unwrap_or_default();
                rustix::fs::symlinkat(&*target, &parent, name)?;
                let (owner, group) = owners(&header)?;
                allow_refusal(rustix::fs::chownat(&parent, name, owner, group, AtFlags::SYMLINK_NOFOLLOW))?;
            } else if kind.is_hard_link() {
                let target = inside(&entry.link_name()?.unwrap_or_default())?;
                let from = self.directory(target.parent().unwrap_or(Path::new("")))?;
                let old = target.file_name().unwrap_or_default();
                rustix::fs::linkat(&from, old, &parent, name, AtFlags::empty())?;
            }
        }
        // Last: a directory changes its time as it is filled, and may forbid to be.
        for (directory, header) in directories.iter().rev() {
            dress(directory, header)?;
        }
        Ok(())
    }

    /// The directory at `path`, made when missing.
    fn directory(&self, path: &Path) -> io::Result<OwnedFd> {
        // Links that stay in the workspace are followed, as they are by those who work in it.
        let open = || self.open_beneath(path, OFlags::RDONLY | OFlags::DIRECTORY, ResolveFlags::BENEATH);
        match open() {
            Err(Errno::NOENT) => {}
            other => return other.map_err(io::Error::from),
        }
        let Some(name) = path.file_name() else { return Err(Errno::NOENT.into()) };
        let parent = self.directory(path.parent().unwrap_or(Path::new("")))?;
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        open().map_err(io::Error::from)
    }
}

/// `path`, if it stays where it begins.
fn inside(path: &Path) -> io::Result<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => {
                let words = format!("`{}` leads out of the workspace", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, words));
            }
        }
    }
    Ok(clean)
}

/// Gives a file or directory the permissions, owners and time that `header` says.
fn dress(file: impl AsFd, header: &tar::Header) -> io::Result<()> {
    let (owner, group) = owners(header)?;
    // Before the permissions: a change of owners clears set-id bits.
    allow_refusal(rustix::fs::fchown(&file, owner, group))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(header.mode()? & 0o7777))?;
    let modified = Timespec { tv_sec: i64::try_from(header.mtime()?).unwrap_or(0), tv_nsec: 0 };
    let unchanged = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let times = Timestamps { last_access: unchanged, last_modification: modified };
    Ok(rustix::fs::futimens(&file, &times)?)
}

fn owners(header: &tar::Header) -> io::Result<(Option<Uid>, Option<Gid>)> {
    let id = |value: u64| u32::try_from(value).map_err(io::Error::other);
    Ok((Some(Uid::from_raw(id(header.uid()?)?)), Some(Gid::from_raw(id(header.gid()?)?))))
}

/// Only root may give files to others; who is not root keeps them.
fn allow_refusal(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Err(Errno::PERM) => Ok(()),
        other => other.map_err(io::Error::from),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::HostWorkspace;
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
    fn a_tar_replaces_files_and_keeps_their_permissions_and_times() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("a"), "old and longer").unwrap();
        let host = HostWorkspace::open(place.path(), false).unwrap();
        host.unpack(&tar_of("./a")[..]).unwrap();
        host.unpack(&tar_of("deep/er/a")[..]).unwrap();
        for name in ["a", "deep/er/a"] {
            let meta = fs::metadata(place.path().join(name)).unwrap();
            assert_eq!(fs::read(place.path().join(name)).unwrap(), b"new");
            assert_eq!((meta.permissions().mode() & 0o7777, meta.mtime()), (0o755, 1000));
        }
    }

    #[test]
    fn nothing_is_written_outside() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("a"), "old").unwrap();
        let place = tempfile::tempdir().unwrap();
        symlink(outside.path(), place.path().join("out")).unwrap();
        symlink(outside.path().join("a"), place.path().join("link")).unwrap();
        fs::create_dir(place.path().join("real")).unwrap();
        symlink("real", place.path().join("near")).unwrap();
        let host = HostWorkspace::open(place.path(), false).unwrap();
        for name in ["out/a", "../a", "/a"] {
            assert!(host.unpack(&tar_of(name)[..]).is_err(), "{name}");
        }
        host.unpack(&tar_of("link")[..]).unwrap();
        host.unpack(&tar_of("near/a")[..]).unwrap();
        assert_eq!(fs::read(outside.path().join("a")).unwrap(), b"old");
        assert_eq!(fs::read(place.path().join("link")).unwrap(), b"new");
        assert!(place.path().join("real/a").exists(), "a link that stays inside is followed");
        assert!(host.stat(Path::new("out/a")).is_err() && host.read(Path::new("out/a")).is_err());
    }

    #[test]
    fn a_directory_that_is_no_overlay_is_not_taken_for_one() {
        let place = tempfile::tempdir().unwrap();
        assert!(HostWorkspace::open(place.path(), true).is_none());
        assert!(HostWorkspace::open(&place.path().join("none"), false).is_none());
    }
}
