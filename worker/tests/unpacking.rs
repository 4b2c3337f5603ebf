//! Artifacts that nobody packed by mistake: whatever a tar holds, nothing outside of its place is made or changed.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

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
use tidemill_worker::workspace::{HostWorkspace, PermissionPolicy};

struct UnpackFixture(tempfile::TempDir);

impl UnpackFixture {
    /// A workspace `in`, with a link `out` to a directory `outside` beside it, in which the file `a` is `old`.
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

    /// Unpacks in both ways, and sees each time that nothing is outside.
    fn unpack(&self, tar: &[u8]) -> io::Result<()> {
        let host = HostWorkspace::open(&self.path(""), false).unwrap();
        let user = HostWorkspace::directory_at(&self.path("")).unwrap();
        let laid = host.unpack(tar, PermissionPolicy::Everything);
        self.is_untouched();
        let fetched = user.unpack(tar, PermissionPolicy::Permissions);
        self.is_untouched();
        assert_eq!(laid.is_ok(), fetched.is_ok(), "{laid:?}, {fetched:?}");
        laid
    }

    fn refuses(&self, tar: &[u8], why: &str) {
        let words = self.unpack(tar).unwrap_err().to_string();
        assert!(words.contains(why), "{words}");
    }

    fn is_untouched(&self) {
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

/// A header as a hostile tar has it: the library would refuse some of these names.
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
fn absolute_paths_and_parent_paths_are_refused() {
    for name in ["../outside/a", "d/../../outside/b", "/tmp/tidemill-was-here", "..", "/"] {
        for kind in [Regular, Directory, Symlink] {
            UnpackFixture::new().refuses(&tar_of(&[(kind, name, "x")]), "leads out of the workspace");
        }
    }
    assert!(!Path::new("/tmp/tidemill-was-here").exists());
}

#[test]
fn links_are_created_and_not_followed_outside() {
    for name in ["out/a", "out/new", "out/d/new", "made/a"] {
        let place = UnpackFixture::new();
        assert!(
            place.unpack(&tar_of(&[(Symlink, "made", "../outside"), (Regular, name, "")])).is_err(),
            "{name}"
        );
        assert!(
            place.unpack(&tar_of(&[(Symlink, "made", "../outside"), (Directory, name, "")])).is_err(),
            "{name}"
        );
    }
    let place = UnpackFixture::new();
    place
        .unpack(&tar_of(&[(Symlink, "made", "/etc/passwd"), (Regular, "made", ""), (Regular, "link", "")]))
        .unwrap();
    assert_eq!(fs::read(place.path("made")).unwrap(), b"new");
    assert!(
        !fs::symlink_metadata(place.path("link")).unwrap().is_symlink(),
        "it stands in the place of the link"
    );
}

#[test]
fn hard_links_to_outside_are_refused() {
    for target in ["../outside/a", "/etc/passwd", "out/a", "none", "hard"] {
        assert!(UnpackFixture::new().unpack(&tar_of(&[(Link, "hard", target)])).is_err(), "{target}");
    }
    let place = UnpackFixture::new();
    // One to a link is a second name of the link: writing to it replaces it.
    place.unpack(&tar_of(&[(Link, "hard", "link"), (Regular, "hard", ""), (Link, "again", "hard")])).unwrap();
    assert_eq!(fs::read(place.path("again")).unwrap(), b"new");
}

#[test]
fn special_files_are_not_created() {
    for kind in [Block, Char, Fifo, EntryType::new(b'Z')] {
        let place = UnpackFixture::new();
        place.refuses(
            &tar_of(&[(Regular, "before", ""), (kind, "odd", "")]),
            "neither a file nor a directory",
        );
        assert!(place.path("before").exists() && fs::symlink_metadata(place.path("odd")).is_err());
    }
}

#[test]
fn unpacked_files_have_no_set_id_bits() {
    let place = UnpackFixture::new();
    let mut set_id = header(Regular, b"program", b"", 0);
    set_id.set_mode(0o6755);
    set_id.set_cksum();
    HostWorkspace::directory_at(&place.path(""))
        .unwrap()
        .unpack(&set_id.as_bytes()[..], PermissionPolicy::Permissions)
        .unwrap();
    let meta = fs::metadata(place.path("program")).unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o755);
    // Nor does what goes from one container to another.
    let host = HostWorkspace::open(&place.path(""), false).unwrap();
    host.unpack(&set_id.as_bytes()[..], PermissionPolicy::Everything).unwrap();
    assert_eq!(fs::metadata(place.path("program")).unwrap().permissions().mode() & 0o7777, 0o755);
}

#[test]
fn sparse_bomb_is_refused() {
    let place = UnpackFixture::new();
    let mut bomb = header(EntryType::GNUSparse, b"bomb", b"", 0);
    // A file of 8 TiB without a byte in it.
    bomb.as_gnu_mut().unwrap().set_real_size(8 << 40);
    bomb.set_cksum();
    place.refuses(bomb.as_bytes(), "neither a file");
    let mut pax = Vec::new();
    entry(&mut pax, EntryType::XHeader, b"x", b"", b"22 GNU.sparse.major=1\n");
    entry(&mut pax, Regular, b"bomb", b"", b"");
    place.refuses(&pax, "sparse");
    assert!(!place.path("bomb").exists());
}

#[test]
fn name_of_gigabytes_is_refused_unread() {
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
        let endless = header(kind, b"n", b"", 64 << 30);
        let tar = endless.as_bytes().chain(io::repeat(b'x'));
        let place = UnpackFixture::new();
        let host = HostWorkspace::open(&place.path(""), false).unwrap();
        let words = host.unpack(tar, PermissionPolicy::Everything).unwrap_err().to_string();
        assert!(words.contains("describe a single entry"), "{words}");
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
        let place = UnpackFixture::new();
        place.unpack(&tar).unwrap();
        let name = if long { PathBuf::from("d/".repeat(200)).join(odd) } else { odd.into() };
        assert_eq!(fs::read(place.path(name)).unwrap(), b"new");
    }
    let mut pax = Vec::new();
    entry(&mut pax, EntryType::XGlobalHeader, b"g", b"", b"13 comment=c\n");
    entry(&mut pax, EntryType::XHeader, b"x", b"", b"17 path=one\ntwo/f\n");
    entry(&mut pax, Regular, b"short", b"", b"new");
    let place = UnpackFixture::new();
    assert!(place.unpack(&pax).is_err(), "a length that is wrong is malformed");
    let pax = String::from_utf8(pax).unwrap().replacen("17 path", "18 path", 1);
    place.unpack(pax.as_bytes()).unwrap();
    assert_eq!(fs::read(place.path("one\ntwo/f")).unwrap(), b"new");
}

#[test]
fn path_of_thousands_of_parts_is_created_or_refused() {
    // As long as the system takes, and longer.
    for (parts, is_made) in [(2000, true), (3000, false), (400_000, false)] {
        let mut tar = Vec::new();
        entry(&mut tar, EntryType::GNULongName, b"././@LongLink", b"", &b"d/".repeat(parts));
        entry(&mut tar, Directory, b"short", b"", b"");
        let place = UnpackFixture::new();
        assert_eq!(place.unpack(&tar).is_ok(), is_made, "{parts}");
    }
}

#[test]
fn last_entry_of_a_name_wins() {
    let place = UnpackFixture::new();
    let mut tar = tar_of(&[(Symlink, "a", "b"), (Regular, "b", ""), (Regular, "a", "")]);
    entry(&mut tar, Regular, b"a", b"", b"newest");
    place.unpack(&tar).unwrap();
    assert_eq!(
        (fs::read(place.path("a")).unwrap(), fs::read(place.path("b")).unwrap()),
        (b"newest".to_vec(), b"new".to_vec())
    );
    // A directory that has something in it is not removed for a file.
    assert!(
        place.unpack(&tar_of(&[(Directory, "d", ""), (Regular, "d/f", ""), (Regular, "d", "")])).is_err()
    );
}

#[test]
fn truncated_tar_is_an_error() {
    let mut whole = tar_of(&[(Directory, "d", ""), (Regular, "d/f", "")]);
    entry(&mut whole, EntryType::GNULongName, b"././@LongLink", b"", &[b'x'; 120]);
    entry(&mut whole, Regular, b"short", b"", &[b'y'; 600]);
    let end_of_bytes = whole.len() - 424;
    for length in 0..end_of_bytes {
        let place = UnpackFixture::new();
        let is_between = length % 512 == 0 && [0, 512, 1536].contains(&length);
        assert_eq!(place.unpack(&whole[..length]).is_ok(), is_between, "{length}");
    }
}
