//! Hostile artifacts: whatever a tar contains, nothing outside of the target directory is created or changed.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};
use tar::{EntryType, Header};
use tidemill_worker::workspace::{FileOwner, HostWorkspace, PermissionPolicy};

struct UnpackFixture(tempfile::TempDir);

impl UnpackFixture {
    /// Creates a workspace `in` with a link `out` to its sibling directory `outside`, which has a file `a` with the text `old`.
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("in")).unwrap();
        fs::create_dir(root.path().join("outside")).unwrap();
        fs::write(root.path().join("outside/a"), "old").unwrap();
        symlink("../outside", root.path().join("in/out")).unwrap();
        symlink("../outside/a", root.path().join("in/link")).unwrap();
        Self(root)
    }

    fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.0.path().join("in").join(below)
    }

    /// Unpacks in both ways, and checks each time that nothing changed outside.
    fn unpack(&self, tar: &[u8]) -> io::Result<()> {
        let host = HostWorkspace::open(&self.path(""), false).unwrap();
        let user = HostWorkspace::directory_at(&self.path("")).unwrap();
        let as_host = host.unpack(tar, PermissionPolicy::Owned(FileOwner::Worker));
        self.assert_outside_unchanged();
        let as_user = user.unpack(tar, PermissionPolicy::Permissions);
        self.assert_outside_unchanged();
        assert_eq!(as_host.is_ok(), as_user.is_ok(), "{as_host:?}, {as_user:?}");
        as_host
    }

    fn rejects(&self, tar: &[u8], expected: &str) {
        let message = self.unpack(tar).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }

    fn assert_outside_unchanged(&self) {
        let outside = self.0.path().join("outside");
        let meta = fs::metadata(outside.join("a")).unwrap();
        assert_eq!(fs::read(outside.join("a")).unwrap(), b"old");
        assert_eq!((meta.nlink(), meta.mode() & 0o7000), (1, 0));
        assert_eq!(
            (fs::read_dir(&outside).unwrap().count(), fs::read_dir(self.0.path()).unwrap().count()),
            (1, 2)
        );
    }
}

/// Creates a header of a hostile tar: the library would reject some of these names.
fn header(kind: EntryType, name: &[u8], link: &[u8], size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_mtime(1000);
    header.set_uid(fs::metadata("/proc/self").unwrap().uid().into());
    header.set_gid(fs::metadata("/proc/self").unwrap().gid().into());
    header.set_size(size);
    let gnu = header.as_gnu_mut().unwrap();
    gnu.name[..name.len()].copy_from_slice(name);
    gnu.linkname[..link.len()].copy_from_slice(link);
    header.set_cksum();
    header
}

fn entry(tar: &mut Vec<u8>, kind: EntryType, name: &[u8], link: &[u8], bytes: &[u8]) {
    tar.write_all(header(kind, name, link, bytes.len() as u64).as_bytes()).unwrap();
    tar.write_all(bytes).unwrap();
    tar.resize(tar.len().next_multiple_of(512), 0);
}

fn tar_of(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (kind, name, link) in entries {
        let bytes: &[u8] = if kind.is_file() { b"new" } else { b"" };
        entry(&mut tar, *kind, name.as_bytes(), link.as_bytes(), bytes);
    }
    tar
}

use EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};

#[test]
fn absolute_paths_and_parent_paths_are_rejected() {
    for name in ["../outside/a", "d/../../outside/b", "/tmp/tidemill-was-here", "..", "/"] {
        for kind in [Regular, Directory, Symlink] {
            UnpackFixture::new().rejects(&tar_of(&[(kind, name, "x")]), "leads out of the workspace");
        }
    }
    assert!(!Path::new("/tmp/tidemill-was-here").exists());
}

#[test]
fn links_are_created_and_not_followed_outside() {
    for name in ["out/a", "out/new", "out/d/new", "made/a"] {
        let fixture = UnpackFixture::new();
        assert!(
            fixture.unpack(&tar_of(&[(Symlink, "made", "../outside"), (Regular, name, "")])).is_err(),
            "{name}"
        );
        assert!(
            fixture.unpack(&tar_of(&[(Symlink, "made", "../outside"), (Directory, name, "")])).is_err(),
            "{name}"
        );
    }
    let fixture = UnpackFixture::new();
    fixture
        .unpack(&tar_of(&[(Symlink, "made", "/etc/passwd"), (Regular, "made", ""), (Regular, "link", "")]))
        .unwrap();
    assert_eq!(fs::read(fixture.path("made")).unwrap(), b"new");
    assert!(!fs::symlink_metadata(fixture.path("link")).unwrap().is_symlink(), "the file replaces the link");
}

#[test]
fn hard_links_to_outside_are_rejected() {
    for target in ["../outside/a", "/etc/passwd", "out/a", "none", "hard"] {
        assert!(UnpackFixture::new().unpack(&tar_of(&[(Link, "hard", target)])).is_err(), "{target}");
    }
    let fixture = UnpackFixture::new();
    // A hard link to a symbolic link is another name of it: writing to it replaces it.
    fixture
        .unpack(&tar_of(&[(Link, "hard", "link"), (Regular, "hard", ""), (Link, "again", "hard")]))
        .unwrap();
    assert_eq!(fs::read(fixture.path("again")).unwrap(), b"new");
}

#[test]
fn special_files_are_not_created() {
    for kind in [Block, Char, Fifo, EntryType::new(b'Z')] {
        let fixture = UnpackFixture::new();
        fixture.rejects(
            &tar_of(&[(Regular, "before", ""), (kind, "odd", "")]),
            "is not a file, a directory or a link",
        );
        assert!(fixture.path("before").exists() && fs::symlink_metadata(fixture.path("odd")).is_err());
    }
}

#[test]
fn unpacked_files_have_no_set_id_bits() {
    let fixture = UnpackFixture::new();
    let mut set_id = header(Regular, b"program", b"", 0);
    set_id.set_mode(0o6755);
    set_id.set_cksum();
    HostWorkspace::directory_at(&fixture.path(""))
        .unwrap()
        .unpack(&set_id.as_bytes()[..], PermissionPolicy::Permissions)
        .unwrap();
    let meta = fs::metadata(fixture.path("program")).unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o755);
    // Files that pass from one container to another have none either.
    let host = HostWorkspace::open(&fixture.path(""), false).unwrap();
    host.unpack(&set_id.as_bytes()[..], PermissionPolicy::Owned(FileOwner::Worker)).unwrap();
    assert_eq!(fs::metadata(fixture.path("program")).unwrap().permissions().mode() & 0o7777, 0o755);
}

#[test]
fn files_for_the_caller_have_no_more_permissions_than_their_new_files() {
    let fixture = UnpackFixture::new();
    let mut open = header(Regular, b"open", b"", 0);
    open.set_mode(0o777);
    open.set_cksum();
    let directory = HostWorkspace::directory_at(&fixture.path("")).unwrap();
    directory.unpack(&open.as_bytes()[..], PermissionPolicy::Permissions).unwrap();
    fs::create_dir(fixture.path("own")).unwrap();
    let mode = |name: &str| fs::metadata(fixture.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("open"), mode("own"));
}

#[test]
fn sparse_bomb_is_rejected() {
    let fixture = UnpackFixture::new();
    let mut bomb = header(EntryType::GNUSparse, b"bomb", b"", 0);
    // A file of 8 TiB that consists of holes.
    bomb.as_gnu_mut().unwrap().set_real_size(8 << 40);
    bomb.set_cksum();
    fixture.rejects(bomb.as_bytes(), "is not a file, a directory or a link");
    let mut pax = Vec::new();
    entry(&mut pax, EntryType::XHeader, b"x", b"", b"22 GNU.sparse.major=1\n");
    entry(&mut pax, Regular, b"bomb", b"", b"");
    fixture.rejects(&pax, "sparse");
    assert!(!fixture.path("bomb").exists());
}

#[test]
fn name_of_gigabytes_is_rejected_without_reading_it() {
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
        let endless = header(kind, b"n", b"", 64 << 30);
        let tar = endless.as_bytes().chain(io::repeat(b'x'));
        let fixture = UnpackFixture::new();
        let host = HostWorkspace::open(&fixture.path(""), false).unwrap();
        let message = host.unpack(tar, PermissionPolicy::Owned(FileOwner::Worker)).unwrap_err().to_string();
        assert!(message.contains("an extended header of the tar has"), "{message}");
    }
}

#[test]
fn names_of_any_length_and_bytes_are_preserved() {
    let odd = OsStr::from_bytes(b"odd\xff\x80\n");
    for long in [false, true] {
        let mut tar = Vec::new();
        if long {
            let name = [b"d/".repeat(200).as_slice(), odd.as_bytes(), b"\0"].concat();
            entry(&mut tar, EntryType::GNULongName, b"././@LongLink", b"", &name);
            entry(&mut tar, Regular, b"short", b"", b"new");
        } else {
            entry(&mut tar, Regular, odd.as_bytes(), b"", b"new");
        }
        let fixture = UnpackFixture::new();
        fixture.unpack(&tar).unwrap();
        let name = if long { PathBuf::from("d/".repeat(200)).join(odd) } else { odd.into() };
        assert_eq!(fs::read(fixture.path(name)).unwrap(), b"new");
    }
    let mut pax = Vec::new();
    entry(&mut pax, EntryType::XGlobalHeader, b"g", b"", b"13 comment=c\n");
    entry(&mut pax, EntryType::XHeader, b"x", b"", b"17 path=one\ntwo/f\n");
    entry(&mut pax, Regular, b"short", b"", b"new");
    let fixture = UnpackFixture::new();
    assert!(fixture.unpack(&pax).is_err(), "a wrong length is malformed");
    let pax = String::from_utf8(pax).unwrap().replacen("17 path", "18 path", 1);
    fixture.unpack(pax.as_bytes()).unwrap();
    assert_eq!(fs::read(fixture.path("one\ntwo/f")).unwrap(), b"new");
}

#[test]
fn path_of_thousands_of_components_is_created_or_rejected() {
    // Within the system's limit, and longer.
    for (parts, is_created) in [(2000, true), (3000, false), (400_000, false)] {
        let mut tar = Vec::new();
        entry(&mut tar, EntryType::GNULongName, b"././@LongLink", b"", &b"d/".repeat(parts));
        entry(&mut tar, Directory, b"short", b"", b"");
        let fixture = UnpackFixture::new();
        assert_eq!(fixture.unpack(&tar).is_ok(), is_created, "{parts}");
    }
}

#[test]
fn last_entry_of_a_name_takes_precedence() {
    let fixture = UnpackFixture::new();
    let mut tar = tar_of(&[(Symlink, "a", "b"), (Regular, "b", ""), (Regular, "a", "")]);
    entry(&mut tar, Regular, b"a", b"", b"newest");
    fixture.unpack(&tar).unwrap();
    assert_eq!(
        (fs::read(fixture.path("a")).unwrap(), fs::read(fixture.path("b")).unwrap()),
        (b"newest".to_vec(), b"new".to_vec())
    );
    // A directory that is not empty is not replaced by a file.
    assert!(
        fixture.unpack(&tar_of(&[(Directory, "d", ""), (Regular, "d/f", ""), (Regular, "d", "")])).is_err()
    );
}

#[test]
fn truncated_tar_is_an_error() {
    const THREADS: usize = 8;
    let mut complete = tar_of(&[(Directory, "d", ""), (Regular, "d/f", "")]);
    entry(&mut complete, EntryType::GNULongName, b"././@LongLink", b"", &[b'x'; 120]);
    entry(&mut complete, Regular, b"short", b"", &[b'y'; 600]);
    let end_of_bytes = complete.len() - 424;
    let check = |length: usize| {
        let fixture = UnpackFixture::new();
        let is_between = length.is_multiple_of(512) && [0, 512, 1536].contains(&length);
        assert_eq!(fixture.unpack(&complete[..length]).is_ok(), is_between, "{length}");
    };
    // Side by side, as unpacking mostly waits for the disk.
    std::thread::scope(|scope| {
        for first in 0..THREADS {
            scope.spawn(move || (first..end_of_bytes).step_by(THREADS).for_each(check));
        }
    });
}
