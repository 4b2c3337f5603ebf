//! What an entry of a tar says of itself: its path, where a link leads, permissions, owners and time.
//!
//! Names that do not fit into a header stand in entries of their own before it. They are read here rather than by the tar
//! library, which reads them whole whatever size they claim, and writes the holes of sparse files out as zeros: a tar of
//! one KiB would fill a disk.

use rustix::{
    fs::{Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid},
    io::Errno,
};
use std::{
    borrow::Cow,
    ffi::{OsStr, OsString},
    io::{self, Read},
    os::{
        fd::AsFd,
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Component, Path, PathBuf},
};

/// The most bytes of what describes one entry. Linux takes paths of 4 KiB; the rest is for attributes, which are skipped.
const MAX_EXTENSION_SIZE: u64 = 1 << 20;

/// The bits of a mode that are kept: not those by which a file runs with the rights of whoever it belongs to, as files get about
/// and are seen from outside of containers.
pub const MODE_MASK: u32 = 0o1777;

/// What a file keeps of its permissions and owners as it is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PermissionPolicy {
    /// All: what one container left is laid before another.
    Everything,
    /// Only the permission bits: the files are to be the caller's own, and run with nobody else's rights.
    Permissions,
}

/// What was said of the next entry before it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct TarExtensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<u64>,
}

/// What a file is given once it is filled.
#[derive(Debug)]
pub(super) struct FileAttributes {
    pub owners: (Option<Uid>, Option<Gid>),
    mode: Mode,
    modified: i64,
}

/// An error that says what is wrong with a tar.
pub(super) fn invalid(words: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, words.into())
}

impl TarExtensions {
    /// Whether nothing was said of an entry that is yet to come.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes what `entry` says of the entry after it; `false`: it is one that stands for itself.
    pub fn take(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> io::Result<bool> {
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() {
            self.path = Some(described(entry)?);
        } else if kind.is_gnu_longlink() {
            self.link = Some(described(entry)?);
        } else if kind.is_pax_local_extensions() {
            let records = described(entry)?;
            self.records(&records)?;
        } else {
            // What is said of all entries is a comment or the commit that `git archive` packed.
            return Ok(kind.is_pax_global_extensions());
        }
        Ok(true)
    }

    /// Reads records of the form `LENGTH KEY=VALUE\n`, in which values may hold anything.
    fn records(&mut self, mut records: &[u8]) -> io::Result<()> {
        let malformed = || invalid("an extended header of the tar is malformed");
        while !records.is_empty() {
            let space = records.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
            let length: usize = std::str::from_utf8(&records[..space])
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(malformed)?;
            let record = records.get(space + 1..length).and_then(|record| record.strip_suffix(b"\n"));
            let record = record.ok_or_else(malformed)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            let number = || {
                let text = std::str::from_utf8(value).ok()?;
                text.split('.').next()?.parse::<u64>().ok()
            };
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"uid" => self.uid = Some(number().ok_or_else(malformed)?),
                b"gid" => self.gid = Some(number().ok_or_else(malformed)?),
                // A time before 1970 is left out.
                b"mtime" => self.mtime = number(),
                // The raw reading does not know of it, and would take a file's bytes for entries.
                b"size" => {
                    return Err(invalid("the tar has a size in an extended header, which is not read"));
                }
                _ if key.starts_with(b"GNU.sparse.") => {
                    return Err(invalid("the tar has a sparse file: pack it as a plain one"));
                }
                _ => {}
            }
            records = &records[length..];
        }
        Ok(())
    }

    /// The path of the entry with this header.
    pub fn path<'a>(&'a self, header: &'a tar::Header) -> io::Result<Cow<'a, Path>> {
        match &self.path {
            Some(path) => Ok(Cow::Borrowed(Path::new(OsStr::from_bytes(plain(path))))),
            None => header.path(),
        }
    }

    /// Where the link with this header leads; empty for what is none.
    pub fn link(&self, header: &tar::Header) -> io::Result<PathBuf> {
        match &self.link {
            Some(link) => Ok(PathBuf::from(OsString::from_vec(plain(link).to_vec()))),
            None => Ok(header.link_name()?.unwrap_or_default().into_owned()),
        }
    }

    /// Permissions, owners and time of the entry with this header.
    pub fn dress(&self, header: &tar::Header, keep: PermissionPolicy) -> io::Result<FileAttributes> {
        let id =
            |value: u64| u32::try_from(value).map_err(|_| invalid(format!("{value} is the id of nobody")));
        let owners = match keep {
            PermissionPolicy::Everything => {
                let uid = id(self.uid.map_or_else(|| header.uid(), Ok)?)?;
                let gid = id(self.gid.map_or_else(|| header.gid(), Ok)?)?;
                (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            }
            PermissionPolicy::Permissions => (None, None),
        };
        let bits = if keep == PermissionPolicy::Everything { MODE_MASK } else { 0o777 };
        let modified = self.mtime.map_or_else(|| header.mtime(), Ok)?;
        Ok(FileAttributes {
            owners,
            mode: Mode::from_raw_mode(header.mode()? & bits),
            modified: i64::try_from(modified).unwrap_or(0),
        })
    }
}

impl FileAttributes {
    /// Gives a file or directory what it is to have.
    pub fn put_on(&self, file: impl AsFd) -> io::Result<()> {
        let (owner, group) = self.owners;
        if owner.is_some() || group.is_some() {
            // Before the permissions: a change of owners clears set-id bits.
            allow_refusal(rustix::fs::fchown(&file, owner, group))?;
        }
        rustix::fs::fchmod(&file, self.mode)?;
        let modified = Timespec { tv_sec: self.modified, tv_nsec: 0 };
        let unchanged = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let times = Timestamps { last_access: unchanged, last_modification: modified };
        Ok(rustix::fs::futimens(&file, &times)?)
    }
}

/// The bytes of an entry that describes the next one.
fn described(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Vec<u8>> {
    let size = entry.size();
    if size > MAX_EXTENSION_SIZE {
        return Err(invalid(format!(
            "{size} bytes of the tar describe a single entry; {MAX_EXTENSION_SIZE} are the most"
        )));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    if bytes.len() as u64 != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// A name without the zero at its end.
fn plain(name: &[u8]) -> &[u8] {
    name.strip_suffix(b"\0").unwrap_or(name)
}

/// `path`, if it stays where it begins.
pub(super) fn inside(path: &Path) -> io::Result<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => {
                return Err(invalid(format!("`{}` leads out of the workspace", path.display())));
            }
        }
    }
    Ok(clean)
}

/// Only root may give files to others; who is not root keeps them.
pub(super) fn allow_refusal(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Err(Errno::PERM) => Ok(()),
        other => other.map_err(io::Error::from),
    }
}
