//! The attributes of a tar entry: path, link target, permissions, owners and time.
//!
//! Names that do not fit into a header are in separate entries before it. They are parsed here and not by the tar
//! library, which reads them without a size limit and writes holes of sparse files as zeros: a tar of
//! one KiB could fill a disk.

use super::owner::FileOwner;
use rustix::fs::{Mode, Timespec, Timestamps, UTIME_OMIT};
use std::{
    borrow::Cow,
    ffi::{OsStr, OsString},
    fs,
    io::{self, Read},
    os::{
        fd::AsFd,
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Component, Path, PathBuf},
    sync::OnceLock,
};

/// Maximum size of an extended header in bytes. Linux paths have at most 4 KiB; the rest is for attributes, which are skipped.
const MAX_EXTENSION_SIZE: u64 = 1 << 20;

/// Mode bits that are kept: not set-user-ID and set-group-ID, as the files are also accessible outside of containers.
pub const MODE_MASK: u32 = 0o1777;

/// Which permissions and owners unpacked files get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PermissionPolicy {
    /// The tar's permissions, and this owner: for files that pass from one container to another. The tar's own owners would be
    /// users of another image.
    Owned(FileOwner),
    /// Only the permission bits that the caller's new files may have (`umask`): the files belong to the caller, and in a job's workspace
    /// everyone may change them.
    Permissions,
}

/// Attributes of the next entry from extended headers.
#[derive(Debug, Default, PartialEq)]
pub(super) struct TarExtensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    mtime: Option<u64>,
}

/// Attributes to set once a file is written.
#[derive(Debug)]
pub(super) struct FileAttributes {
    owner: FileOwner,
    is_directory: bool,
    mode: Mode,
    modified: i64,
}

/// Creates an error for an invalid tar.
pub(super) fn invalid(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

impl TarExtensions {
    /// Returns whether no attributes for a next entry were read.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads `entry` if it is an extended header of the next entry. Returns false if it is a regular entry.
    pub fn consume(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> io::Result<bool> {
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() {
            self.path = Some(read_extension(entry)?);
        } else if kind.is_gnu_longlink() {
            self.link = Some(read_extension(entry)?);
        } else if kind.is_pax_local_extensions() {
            let records = read_extension(entry)?;
            self.parse_records(&records)?;
        } else {
            // A global header contains a comment, or the commit from `git archive`.
            return Ok(kind.is_pax_global_extensions());
        }
        Ok(true)
    }

    /// Parses records of the form `LENGTH KEY=VALUE\n` with arbitrary values.
    fn parse_records(&mut self, mut records: &[u8]) -> io::Result<()> {
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
                // A time before 1970 is ignored.
                b"mtime" => self.mtime = number(),
                // Raw reading ignores this size and would parse a file's content as entries.
                b"size" => {
                    return Err(invalid(
                        "the tar has a file size in an extended header, which is not supported",
                    ));
                }
                _ if key.starts_with(b"GNU.sparse.") => {
                    return Err(invalid(
                        "the tar has a sparse file, which is not supported; pack it as a regular file",
                    ));
                }
                _ => {}
            }
            records = &records[length..];
        }
        Ok(())
    }

    /// Returns the path of the entry with this header.
    pub fn path<'a>(&'a self, header: &'a tar::Header) -> io::Result<Cow<'a, Path>> {
        match &self.path {
            Some(path) => Ok(Cow::Borrowed(Path::new(OsStr::from_bytes(without_nul(path))))),
            None => header.path(),
        }
    }

    /// Returns the link target of the entry with this header, or an empty path if it is not a link.
    pub fn link(&self, header: &tar::Header) -> io::Result<PathBuf> {
        match &self.link {
            Some(link) => Ok(PathBuf::from(OsString::from_vec(without_nul(link).to_vec()))),
            None => Ok(header.link_name()?.unwrap_or_default().into_owned()),
        }
    }

    /// Returns permissions, owner and time of the entry with this header.
    pub fn attributes(&self, header: &tar::Header, keep: PermissionPolicy) -> io::Result<FileAttributes> {
        let (owner, bits) = match keep {
            PermissionPolicy::Owned(owner) => (owner, MODE_MASK),
            PermissionPolicy::Permissions => (FileOwner::Worker, 0o777 & !umask()),
        };
        let modified = self.mtime.map_or_else(|| header.mtime(), Ok)?;
        Ok(FileAttributes {
            owner,
            is_directory: header.entry_type().is_dir(),
            mode: Mode::from_raw_mode(header.mode()? & bits),
            modified: i64::try_from(modified).unwrap_or(0),
        })
    }
}

impl FileAttributes {
    /// Sets the attributes of a file or directory.
    pub fn apply(&self, file: impl AsFd) -> io::Result<()> {
        // The owner before the permissions, as changing owners clears the set-ID bits.
        let mode = self.owner.give(&file, self.mode, self.is_directory)?;
        rustix::fs::fchmod(&file, mode)?;
        let modified = Timespec { tv_sec: self.modified, tv_nsec: 0 };
        let unchanged = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let times = Timestamps { last_access: unchanged, last_modification: modified };
        Ok(rustix::fs::futimens(&file, &times)?)
    }
}

/// Returns the permissions that new files of this process do not get. The system call for it would change them.
fn umask() -> u32 {
    const USUAL: u32 = 0o022;
    static UMASK: OnceLock<u32> = OnceLock::new();
    *UMASK.get_or_init(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        line.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).unwrap_or(USUAL)
    })
}

/// Reads the content of an extended header.
fn read_extension(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Vec<u8>> {
    let size = entry.size();
    if size > MAX_EXTENSION_SIZE {
        return Err(invalid(format!(
            "an extended header of the tar has {size} bytes; the limit is {MAX_EXTENSION_SIZE}"
        )));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    if bytes.len() as u64 != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// Returns a name without its terminating NUL.
fn without_nul(name: &[u8]) -> &[u8] {
    name.strip_suffix(b"\0").unwrap_or(name)
}

/// Normalizes `path`, or returns an error if it leads out of the workspace.
pub(super) fn normalize_path(path: &Path) -> io::Result<PathBuf> {
    let mut normalized = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => normalized.push(name),
            Component::CurDir => {}
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => {
                return Err(invalid(format!("`{}` leads out of the workspace", path.display())));
            }
        }
    }
    Ok(normalized)
}
