//! The files through which the kernel shows control groups.

use std::{
    fmt::Debug,
    fs, io,
    path::{Path, PathBuf},
};

/// The files of control groups: those of the kernel, or in tests a tree that follows its rules.
pub(in crate::process) trait GroupFiles: Debug {
    /// Creates the group at `directory`.
    fn create(&self, directory: &Path) -> io::Result<()>;

    /// Removes the group at `directory`; fails with `ResourceBusy` while it has processes or groups.
    fn remove(&self, directory: &Path) -> io::Result<()>;

    /// Writes to a file of a group.
    fn write(&self, file: &Path, text: &str) -> io::Result<()>;

    /// Reads a file of a group.
    fn read(&self, file: &Path) -> io::Result<String>;

    /// Whether a group has this file.
    fn exists(&self, file: &Path) -> bool;

    /// Returns the directory of the group that this process is in.
    fn own_group(&self) -> Option<PathBuf>;
}

/// The kernel's files.
#[derive(Debug, Clone, Copy)]
pub(in crate::process) struct Kernel;

impl GroupFiles for Kernel {
    fn create(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir(directory)
    }

    fn remove(&self, directory: &Path) -> io::Result<()> {
        fs::remove_dir(directory)
    }

    fn write(&self, file: &Path, text: &str) -> io::Result<()> {
        // Without creating one: where the path is no group, nothing may be left there.
        let mut file = fs::OpenOptions::new().write(true).open(file)?;
        io::Write::write_all(&mut file, text.as_bytes())
    }

    fn read(&self, file: &Path) -> io::Result<String> {
        fs::read_to_string(file)
    }

    fn exists(&self, file: &Path) -> bool {
        file.exists()
    }

    fn own_group(&self) -> Option<PathBuf> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        group_directory(&mounts, &groups)
    }
}

/// Returns the directory of a group from the files `mountinfo` and `cgroup` of a process.
pub(super) fn group_directory(mounts: &str, groups: &str) -> Option<PathBuf> {
    let group = Path::new(groups.lines().find_map(|line| line.strip_prefix("0::"))?);
    mounts.lines().find_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let below = group.strip_prefix(root).ok().filter(|_| system.starts_with("cgroup2 "))?;
        Some(Path::new(point).join(below))
    })
}
