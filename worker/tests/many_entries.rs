//! Unpacks an artifact of many entries: 150,000, or what `TIDEMILL_TEST_ENTRIES` says; `make large-artifact` takes a million. It is the only test of its binary, as it measures the memory of the process.
#![allow(clippy::unwrap_used, missing_docs)]

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    env, fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
};
use tar::{EntryType, Header};
use tidemill_worker::workspace::{FileOwner, HostWorkspace, PermissionPolicy};

fn header(kind: EntryType) -> Header {
    let owner = fs::metadata("/proc/self").unwrap();
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_mtime(1000);
    header.set_uid(owner.uid().into());
    header.set_gid(owner.gid().into());
    header.set_size(0);
    header
}

/// A tar that is generated while it is read.
struct GeneratedTar<F> {
    next: u32,
    count: u32,
    header: F,
    block: io::Cursor<Vec<u8>>,
}

impl<F: Fn(u32) -> Header> Read for GeneratedTar<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.block.read(buffer)?;
        if read > 0 || self.next == self.count {
            return Ok(read);
        }
        self.block = io::Cursor::new((self.header)(self.next).as_bytes().to_vec());
        self.next += 1;
        self.block.read(buffer)
    }
}

/// Returns the peak memory of this process in KiB.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Default number of entries: enough that memory kept for each of them would exceed the limit.
const ENTRIES: u32 = 150_000;

#[test]
fn many_entries_take_bounded_memory_and_open_files() {
    let entries = env::var("TIDEMILL_TEST_ENTRIES").map_or(ENTRIES, |text| text.parse().unwrap());
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(256), maximum: limit.maximum }).unwrap();
    let before = peak_memory();
    let base = [header(EntryType::Directory), header(EntryType::Regular)];
    let header_of = |index: u32| {
        // More directories than can be open at once, between files whose names repeat.
        let is_directory = index.is_multiple_of(200);
        let mut header = base[usize::from(!is_directory)].clone();
        let name = if is_directory { format!("d/{index}") } else { format!("f/{}", index % 1000) };
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        header
    };
    let directory = tempfile::tempdir().unwrap();
    let host = HostWorkspace::open(directory.path(), false).unwrap();
    let tar = GeneratedTar { next: 0, count: entries, header: header_of, block: io::Cursor::default() };
    host.unpack(tar, PermissionPolicy::Owned(FileOwner::Worker)).unwrap();
    assert_eq!(fs::read_dir(directory.path().join("d")).unwrap().count(), entries.div_ceil(200) as usize);
    assert_eq!(fs::read_dir(directory.path().join("f")).unwrap().count(), 995);
    let grown = peak_memory() - before;
    // Less than 75 bytes for each of a million entries, and at least room for buffers.
    let most = u64::from(entries) * 75 / 1024;
    println!("{grown} KiB, limit {most} KiB");
    assert!(grown < most, "{grown} KiB");
}
