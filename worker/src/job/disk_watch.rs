//! Enforces the limit of a job's disk usage, which the kernel does not.

use super::dispatcher::Event;
use crate::{
    engine::{DockerManager, disk_usage},
    policy::Limits,
};
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinHandle};

/// Time between two checks of the free space of the disks while a job runs.
const FREE_SPACE_INTERVAL: Duration = Duration::from_secs(2);
/// The longest time between two measurements of a job's disk usage.
const MAX_MEASURE_INTERVAL: Duration = Duration::from_secs(60);
/// Measuring takes at most this fraction of the time.
const MEASURE_TIME_DIVISOR: u32 = 20;

/// A task that checks a job's disk usage. It ends when this is dropped.
#[derive(Debug)]
pub struct DiskWatch(JoinHandle<()>);

impl Drop for DiskWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The disks to which a job writes.
pub trait JobDisk: Send + Sync + 'static {
    /// Returns a path on each of them; none if they are not accessible from here.
    fn disks(&self) -> impl Future<Output = Vec<PathBuf>> + Send;

    /// Returns the bytes that the job uses; stops counting soon after `max`.
    fn used(&self, max: u64) -> impl Future<Output = u64> + Send;
}

/// The disks to which a container writes.
#[derive(Debug)]
pub struct ContainerDisk {
    /// The engine.
    pub engine: Arc<DockerManager>,
    /// The container's id.
    pub container: String,
    /// The upper layer of its workspace.
    pub upper: Option<PathBuf>,
}

impl JobDisk for ContainerDisk {
    async fn disks(&self) -> Vec<PathBuf> {
        self.engine.disks().await
    }

    async fn used(&self, max: u64) -> u64 {
        let outside = self.engine.written_bytes(&self.container).await.unwrap_or(0);
        let allowed = max.saturating_sub(outside);
        let inside = match self.upper.clone() {
            Some(upper) => directory_bytes(upper, allowed).await,
            None => self.engine.volume_bytes(&self.container, allowed).await,
        };
        outside.saturating_add(inside)
    }
}

/// Returns the bytes of a directory; stops counting soon after `max`.
pub async fn directory_bytes(path: PathBuf, max: u64) -> u64 {
    let measuring = tokio::task::spawn_blocking(move || disk_usage(&path, max));
    measuring.await.ok().and_then(Result::ok).unwrap_or(0)
}

impl DiskWatch {
    /// Starts to check the disk usage of a job, and sends an event once it exceeds the limit.
    pub fn start(disk: impl JobDisk, limits: Limits, events: mpsc::UnboundedSender<Event>) -> Self {
        Self(tokio::spawn(async move {
            wait_for_excess(&disk, limits.workspace_bytes).await;
            let _ = events.send(Event::LimitExceeded(limits.workspace_limit_failure()));
        }))
    }
}

/// Returns once the job's disk usage exceeds the limit.
///
/// No file system that engines commonly use can limit a directory, so its size is measured: a little after the start, so that
/// short jobs are not slowed down; when the disks lost so much free space since that the limit may be exceeded; and every
/// minute, as other processes may have freed space meanwhile.
async fn wait_for_excess(disk: &impl JobDisk, max: u64) {
    tokio::time::sleep(FREE_SPACE_INTERVAL).await;
    let disks = disk.disks().await;
    let mut last: Option<Measurement> = None;
    loop {
        let now = used_bytes(&disks);
        if let Some(last) = &last
            && last.rules_out_excess(now, max)
        {
            tokio::time::sleep(FREE_SPACE_INTERVAL.max(last.took * MEASURE_TIME_DIVISOR)).await;
            continue;
        }
        let started = Instant::now();
        let bytes = disk.used(max).await;
        if bytes > max {
            return;
        }
        last = Some(Measurement { bytes, used: now, at: Instant::now(), took: started.elapsed() });
    }
}

/// A measurement of a job's disk usage.
#[derive(Debug)]
struct Measurement {
    bytes: u64,
    /// Bytes in use on all disks at that time, if known.
    used: Option<u64>,
    at: Instant,
    took: Duration,
}

impl Measurement {
    /// Whether the job's disk usage cannot exceed `max` yet, given the bytes now in use on all disks.
    fn rules_out_excess(&self, used: Option<u64>, max: u64) -> bool {
        // The usage grew by at most what all processes wrote since, apart from what others removed.
        match used.zip(self.used) {
            Some((now, then)) => {
                self.bytes.saturating_add(now.saturating_sub(then)) <= max
                    && self.at.elapsed() < MAX_MEASURE_INTERVAL
            }
            None => self.at.elapsed() < MAX_MEASURE_INTERVAL / 6,
        }
    }
}

/// Returns the bytes in use on all `disks`; `None` if they are not accessible from here.
fn used_bytes(disks: &[PathBuf]) -> Option<u64> {
    let mut sum = 0_u64;
    for disk in disks {
        let stat = rustix::fs::statvfs(disk).ok()?;
        sum = sum.saturating_add(stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize));
    }
    (!disks.is_empty()).then_some(sum)
}
