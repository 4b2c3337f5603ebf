//! Disk usage of containers and workspaces.

use super::manager::DockerManager;
use crate::workspace::HostWorkspace;
use bollard::query_parameters::InspectContainerOptions;
use rustix::fs::FileType;
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

/// Returns the bytes on the disk of everything below `root`. Stops counting once they exceed `max`. A file with several hard
/// links counts once; symbolic links are not followed.
pub(crate) fn disk_usage(root: &Path, max: u64) -> io::Result<u64> {
    let mut linked = HashSet::new();
    let mut sum = 0_u64;
    let mut pending = vec![(Arc::new(HostWorkspace::directory_at(root)?), PathBuf::new())];
    while let Some((base, path)) = pending.pop() {
        // The job may change files meanwhile.
        let Ok(stat) = base.stat(&path) else { continue };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            let names = base.list(&path).unwrap_or_default();
            // Files at paths longer than the kernel accepts must count, too.
            let (base, path) = if path.as_os_str().len() > MAX_PATH_PART {
                (Arc::new(base.subdirectory(&path)?), PathBuf::new())
            } else {
                (base, path)
            };
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
    use std::fs;

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
}
