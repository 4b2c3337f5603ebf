//! What one job may use at most, as the operator of a worker says in its `worker.toml`, and the watch over what no kernel limits.

use crate::{
    engine::{DockerManager, WorkspaceMount},
    job::dispatch::Event,
    workspace::HostWorkspace,
};
use rustix::fs::FileType;
use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tidemill_core::execution::{
    assignment::Resources,
    failure::{FailureKind, FailureReason},
};
use tokio::{sync::mpsc, task::JoinHandle};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// How often the free space of the disks is looked at while a job runs.
const FREE_SPACE_INTERVAL: Duration = Duration::from_secs(2);
/// The longest time between two measurements of what a job has on the disk.
const MAX_MEASURE_INTERVAL: Duration = Duration::from_secs(60);
/// From here on a path is begun anew: the kernel takes 4096 bytes, of which a name has at most 255.
const MAX_PATH_PART: usize = 2048;
/// Measuring takes at most this part of the time.
const MEASURE_TIME_DIVISOR: u32 = 20;

/// What one job may use at most.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Memory; `None`: what the machine has for jobs.
    pub memory_bytes: Option<u64>,
    /// Processors; `None`: those of the machine.
    pub cpus: Option<f64>,
    /// Processes and threads at the same time, in each of its containers.
    pub pids: u32,
    /// Open files of each process; 0: as the engine has it.
    pub open_files: u32,
    /// Memory in `/dev/shm`.
    pub shm_bytes: u64,
    /// Bytes of its log.
    pub log_bytes: u64,
    /// Bytes of its artifacts, packed.
    pub artifact_bytes: u64,
    /// Bytes of each of its caches, packed.
    pub cache_bytes: u64,
    /// Bytes on the disk: in its workspace, and elsewhere in its container.
    pub workspace_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: None,
            cpus: None,
            pids: 4096,
            open_files: 0,
            shm_bytes: 64 * MIB,
            log_bytes: 512 * MIB,
            artifact_bytes: 5 * GIB,
            cache_bytes: 5 * GIB,
            workspace_bytes: 50 * GIB,
        }
    }
}

impl Limits {
    /// What a container gets of a job that asks for `resources`: the most where it asks for nothing. Jobs that ask for more are
    /// not let in.
    pub(crate) fn of(&self, resources: Resources) -> Resources {
        let smaller = |asked: u64, most: u64| asked.min(most);
        Resources {
            memory_bytes: match (resources.memory_bytes, self.memory_bytes) {
                (Some(asked), Some(most)) => Some(smaller(asked, most)),
                (asked, most) => asked.or(most),
            },
            cpus: match (resources.cpus, self.cpus) {
                (Some(asked), Some(most)) => Some(asked.min(most)),
                (asked, most) => asked.or(most),
            },
        }
    }

    pub(crate) fn log_reason(&self) -> FailureReason {
        let words = format!(
            "the log is longer than {}, the most that this worker takes; write what is long into a file and keep it as an artifact",
            size(self.log_bytes)
        );
        FailureReason::new(FailureKind::LogLimit, words)
    }

    fn workspace_reason(&self) -> FailureReason {
        let words = format!(
            "the job has more than {} on the disk, the most that this worker gives to one; make it leave less there, or use a worker \
             with a larger `workspace`",
            size(self.workspace_bytes)
        );
        FailureReason::new(FailureKind::WorkspaceLimit, words)
    }
}

/// `bytes` in the largest unit that divides it.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0 => "0 bytes".to_owned(),
        _ if bytes.is_multiple_of(GIB) => format!("{} GiB", bytes / GIB),
        _ if bytes.is_multiple_of(MIB) => format!("{} MiB", bytes / MIB),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

/// Says that something has more bytes than it may; carried through I/O code as an error's cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has more than {}, the most that is taken", size(*max))]
pub(crate) struct SizeLimitExceeded {
    pub max: u64,
}

impl From<SizeLimitExceeded> for io::Error {
    fn from(error: SizeLimitExceeded) -> Self {
        Self::new(io::ErrorKind::FileTooLarge, error)
    }
}

/// The watch over a job's disk; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct DiskWatch(JoinHandle<()>);

impl Drop for DiskWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl DiskWatch {
    /// Watches what the container of `workspace` has on the disk from now on, and tells `events` once it is too much.
    pub fn start(
        engine: &Arc<DockerManager>,
        workspace: &WorkspaceMount,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        let (engine, container, upper) =
            (engine.clone(), workspace.container.clone(), workspace.upper.clone());
        Self(tokio::spawn(async move {
            watch(&engine, &container, upper).await;
            let _ = events.send(Event::LimitExceeded(engine.limits().workspace_reason()));
        }))
    }
}

/// Returns once the container has more on the disk than it may.
///
/// No file system that engines commonly use can limit a directory, so it is measured: a little after the start, so that short
/// jobs do not pay for it; when the disks lost so much space since that it may be too much; and every minute, as others may have
/// given space back meanwhile.
async fn watch(engine: &DockerManager, container: &str, upper: Option<PathBuf>) {
    let max = engine.limits().workspace_bytes;
    tokio::time::sleep(FREE_SPACE_INTERVAL).await;
    let disks = engine.disks().await;
    let mut last: Option<Measurement> = None;
    loop {
        let now = used(&disks);
        if let Some(last) = &last
            && last.holds(now, max)
        {
            tokio::time::sleep(FREE_SPACE_INTERVAL.max(last.took * MEASURE_TIME_DIVISOR)).await;
            continue;
        }
        let begun = Instant::now();
        let outside = engine.written_bytes(container).await.unwrap_or(0);
        let left = max.saturating_sub(outside);
        let inside = match upper.clone() {
            Some(upper) => {
                let measuring = tokio::task::spawn_blocking(move || disk_usage(&upper, left));
                measuring.await.ok().and_then(Result::ok).unwrap_or(0)
            }
            None => engine.volume_bytes(container, left).await,
        };
        let bytes = outside.saturating_add(inside);
        if bytes > max {
            return;
        }
        last = Some(Measurement { bytes, used: now, at: Instant::now(), took: begun.elapsed() });
    }
}

/// What a job had on the disk when it was measured.
#[derive(Debug)]
struct Measurement {
    bytes: u64,
    /// The bytes in use on all disks then, if known.
    used: Option<u64>,
    at: Instant,
    took: Duration,
}

impl Measurement {
    /// Whether the job cannot have more than `max` bytes yet, with `used` bytes in use on all disks now.
    fn holds(&self, used: Option<u64>, max: u64) -> bool {
        // What is there is at most what was there and what all together wrote since, but for what others removed.
        match used.zip(self.used) {
            Some((now, then)) => {
                self.bytes.saturating_add(now.saturating_sub(then)) <= max
                    && self.at.elapsed() < MAX_MEASURE_INTERVAL
            }
            None => self.at.elapsed() < MAX_MEASURE_INTERVAL / 6,
        }
    }
}

/// The bytes in use on all of `disks`; `None` when they cannot be seen from here.
fn used(disks: &[PathBuf]) -> Option<u64> {
    let mut sum = 0_u64;
    for disk in disks {
        let stat = rustix::fs::statvfs(disk).ok()?;
        sum = sum.saturating_add(stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize));
    }
    (!disks.is_empty()).then_some(sum)
}

/// The bytes on the disk of all that is below `root`; as soon as they are more than `most`, what was counted until then. What is
/// linked several times counts once; links are not followed.
pub(crate) fn disk_usage(root: &Path, most: u64) -> io::Result<u64> {
    let mut linked = HashSet::new();
    let mut sum = 0_u64;
    let mut next = vec![(Arc::new(HostWorkspace::directory_at(root)?), PathBuf::new())];
    while let Some((here, path)) = next.pop() {
        // The job changes all of it meanwhile.
        let Ok(stat) = here.stat(&path) else { continue };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            let names = here.list(&path).unwrap_or_default();
            // Longer paths than the kernel takes would hide what is there.
            let (here, path) = if path.as_os_str().len() > MAX_PATH_PART {
                (Arc::new(here.below(&path)?), PathBuf::new())
            } else {
                (here, path)
            };
            next.extend(names.into_iter().map(|name| (here.clone(), path.join(name))));
        } else if stat.st_nlink > 1 && !linked.insert((stat.st_dev, stat.st_ino)) {
            continue;
        }
        sum = sum.saturating_add(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512));
        if sum > most {
            break;
        }
    }
    Ok(sum)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Limits, disk_usage, size};
    use std::fs;
    use tidemill_core::execution::assignment::Resources;

    #[test]
    fn requested_resources_win_within_limits() {
        let limits = Limits { memory_bytes: Some(100), cpus: Some(2.0), ..Limits::default() };
        let resources = |cpus, memory_bytes| Resources { cpus, memory_bytes };
        assert_eq!(limits.of(resources(None, None)), resources(Some(2.0), Some(100)));
        assert_eq!(limits.of(resources(Some(0.5), Some(60))), resources(Some(0.5), Some(60)));
        assert_eq!(Limits::default().of(resources(None, Some(60))), resources(None, Some(60)));
        assert_eq!(size(3 << 30), "3 GiB");
        assert_eq!(size(1536 << 10), "1536 KiB");
    }

    #[test]
    fn disk_usage_counts_blocks_once_and_stops_early() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("deep")).unwrap();
        fs::write(place.path().join("deep/a"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(place.path().join("deep/a"), place.path().join("b")).unwrap();
        std::os::unix::fs::symlink("/", place.path().join("out")).unwrap();
        let sparse = fs::File::create(place.path().join("sparse")).unwrap();
        sparse.set_len(1 << 40).unwrap();
        let all = disk_usage(place.path(), u64::MAX).unwrap();
        assert!((1 << 20..3 << 20).contains(&all), "{all}");
        assert!(disk_usage(place.path(), 10).unwrap() > 10);
        assert!(disk_usage(&place.path().join("none"), 10).is_err());
    }

    #[test]
    fn disk_usage_counts_overlong_paths() {
        let place = tempfile::tempdir().unwrap();
        // Moved into each other from within: no path that is named is long.
        let part = format!("{}/", "d".repeat(200)).repeat(15);
        let (inner, outer) = (place.path().join("inner"), place.path().join("outer"));
        fs::create_dir_all(inner.join(&part)).unwrap();
        fs::write(inner.join(&part).join("a"), vec![1; 1 << 20]).unwrap();
        fs::create_dir_all(outer.join(&part)).unwrap();
        fs::rename(&inner, outer.join(&part).join("inner")).unwrap();
        let all = disk_usage(place.path(), u64::MAX).unwrap();
        assert!(all >= 1 << 20, "{all}");
        let removed = std::process::Command::new("rm").arg("-rf").arg(&outer).status().unwrap();
        assert!(removed.success());
    }
}
