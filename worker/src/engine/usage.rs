//! Disk usage of containers and workspaces.

use super::manager::DockerManager;
use crate::workspace::HostWorkspace;
use bollard::query_parameters::InspectContainerOptions;
use rustix::fs::{FileType, Mode};
use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A path longer than this is replaced by an open directory: the kernel accepts 4096 bytes, of which a name has at most 255.
const MAX_PATH_PART: usize = 2048;

impl DockerManager {
    /// Returns a path on each disk of this machine that holds containers or workspaces; none if the engine is elsewhere.
    pub(crate) async fn disks(&self) -> Vec<PathBuf> {
        let find = async {
            if !self.is_local {
                return Vec::new();
            }
            let root = self.docker.info().await.ok().and_then(|info| info.docker_root_dir);
            let mut disks: Vec<(u64, PathBuf)> = Vec::new();
            for path in root.map(PathBuf::from).into_iter().chain([self.store.work()]) {
                let Ok(stat) = rustix::fs::stat(&path) else { continue };
                if !disks.iter().any(|(device, _)| *device == stat.st_dev) {
                    disks.push((stat.st_dev, path));
                }
            }
            disks.into_iter().map(|(_, path)| path).collect()
        };
        self.disks.get_or_init(|| find).await.clone()
    }

    /// Returns the bytes that a container wrote outside of its workspace, as counted by the engine.
    pub(crate) async fn written_bytes(&self, container: &str) -> Option<u64> {
        let options = InspectContainerOptions { size: true };
        let inspected = self.docker.inspect_container(container, Some(options)).await.ok()?;
        u64::try_from(inspected.size_rw?).ok()
    }

    /// Returns the bytes of a workspace that is a plain volume; 0 if it is not accessible from here. Stops counting soon after
    /// `max`.
    pub(crate) async fn volume_bytes(&self, container: &str, max: u64) -> u64 {
        if !self.is_local {
            return 0;
        }
        let mount = self.workspace_mount(container).await;
        let Some(path) = mount.and_then(|mount| mount.source).map(PathBuf::from) else { return 0 };
        let measuring = tokio::task::spawn_blocking(move || disk_usage(&path, max));
        measuring.await.ok().and_then(Result::ok).unwrap_or(0)
    }
}

/// A directory that a measurement has open.
#[derive(Debug)]
struct OpenDirectory {
    directory: HostWorkspace,
    /// The mode that it gets again once all below it is counted.
    closed_mode: Option<Mode>,
}

impl OpenDirectory {
    /// Opens the directory at `path`. One that its owner, this user, has closed is open meanwhile: what is in it counts, too.
    fn open(base: &HostWorkspace, path: &Path) -> io::Result<Self> {
        match base.subdirectory(path) {
            // Without the right to enter it, its names are known, but not what they are.
            Ok(directory) if directory.stat(Path::new("")).is_ok() => {
                return Ok(Self { directory, closed_mode: None });
            }
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            _ => {}
        }
        let (directory, mode) = base.open_closed(path)?;
        Ok(Self { directory, closed_mode: Some(mode) })
    }
}

impl Drop for OpenDirectory {
    fn drop(&mut self) {
        if let Some(mode) = self.closed_mode
            && let Err(error) = self.directory.restore_mode(mode | Mode::RUSR | Mode::XUSR, mode)
        {
            tracing::debug!(%error, "a directory that was measured keeps its mode");
        }
    }
}

/// Returns the bytes on the disk of everything below `root`. Stops counting once they exceed `max`. A file with several hard
/// links counts once; symbolic links are not followed.
pub(crate) fn disk_usage(root: &Path, max: u64) -> io::Result<u64> {
    let mut linked = HashSet::new();
    let mut sum = 0_u64;
    let root = OpenDirectory { directory: HostWorkspace::directory_at(root)?, closed_mode: None };
    let mut pending = vec![(Arc::new(root), PathBuf::new())];
    while let Some((base, path)) = pending.pop() {
        // The job may change files meanwhile.
        let Ok(stat) = base.directory.stat(&path) else { continue };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            // Files at paths longer than the kernel accepts must count, too.
            let is_long = path.as_os_str().len() > MAX_PATH_PART;
            let is_closed = !Mode::from_raw_mode(stat.st_mode).contains(Mode::RUSR | Mode::XUSR);
            let (base, path) = if is_long || is_closed {
                match OpenDirectory::open(&base.directory, &path) {
                    Ok(opened) => (Arc::new(opened), PathBuf::new()),
                    Err(_) => (base, path),
                }
            } else {
                (base, path)
            };
            let names = base.directory.list(&path).unwrap_or_default();
            pending.extend(names.into_iter().map(|name| (base.clone(), path.join(name))));
        } else if stat.st_nlink > 1 && !linked.insert((stat.st_dev, stat.st_ino)) {
            continue;
        }
        sum = sum.saturating_add(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512));
        if sum > max {
            break;
        }
    }
    Ok(sum)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::disk_usage;
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn disk_usage_counts_blocks_once_and_stops_early() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("deep")).unwrap();
        fs::write(directory.path().join("deep/a"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(directory.path().join("deep/a"), directory.path().join("b")).unwrap();
        std::os::unix::fs::symlink("/", directory.path().join("out")).unwrap();
        let sparse = fs::File::create(directory.path().join("sparse")).unwrap();
        sparse.set_len(1 << 40).unwrap();
        let all = disk_usage(directory.path(), u64::MAX).unwrap();
        assert!((1 << 20..3 << 20).contains(&all), "{all}");
        assert!(disk_usage(directory.path(), 10).unwrap() > 10);
        assert!(disk_usage(&directory.path().join("none"), 10).is_err());
    }

    #[test]
    fn disk_usage_counts_overlong_paths() {
        let directory = tempfile::tempdir().unwrap();
        // The directories are moved into each other, so that no path in a system call is too long.
        let part = format!("{}/", "d".repeat(200)).repeat(15);
        let (inner, outer) = (directory.path().join("inner"), directory.path().join("outer"));
        fs::create_dir_all(inner.join(&part)).unwrap();
        fs::write(inner.join(&part).join("a"), vec![1; 1 << 20]).unwrap();
        fs::create_dir_all(outer.join(&part)).unwrap();
        fs::rename(&inner, outer.join(&part).join("inner")).unwrap();
        let all = disk_usage(directory.path(), u64::MAX).unwrap();
        assert!(all >= 1 << 20, "{all}");
        let removed = std::process::Command::new("rm").arg("-rf").arg(&outer).status().unwrap();
        assert!(removed.success());
    }

    #[test]
    fn disk_usage_counts_what_a_job_hides_and_leaves_its_modes() {
        let directory = tempfile::tempdir().unwrap();
        let hidden = directory.path().join("hidden");
        let named = hidden.join("named");
        fs::create_dir_all(named.join("deep")).unwrap();
        fs::write(named.join("deep/a"), vec![1; 1 << 20]).unwrap();
        let modes = [(named.join("deep"), 0o400), (named, 0o200), (hidden, 0o0)];
        for (path, mode) in &modes {
            fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        // Root sees everything without that.
        let all = disk_usage(directory.path(), u64::MAX).unwrap();
        assert!(all >= 1 << 20, "{all}");
        for (path, mode) in modes.iter().rev() {
            let is_of = fs::metadata(path).unwrap().permissions().mode() & 0o7777;
            assert_eq!(is_of, *mode, "{}", path.display());
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
        }
    }
}
