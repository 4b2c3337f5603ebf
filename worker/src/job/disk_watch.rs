//! The watch over a job's disk usage, which no kernel limits.

use super::dispatch::Event;
use crate::engine::{DockerManager, WorkspaceMount, disk_usage};
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinHandle};

/// How often the free space of the disks is looked at while a job runs.
const FREE_SPACE_INTERVAL: Duration = Duration::from_secs(2);
/// The longest time between two measurements of what a job has on the disk.
const MAX_MEASURE_INTERVAL: Duration = Duration::from_secs(60);
/// Measuring takes at most this part of the time.
const MEASURE_TIME_DIVISOR: u32 = 20;

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
