//! Lines of a job's log about the pull of an image.

use bollard::models::CreateImageInfo;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Time between two lines about downloaded bytes.
const INTERVAL: Duration = Duration::from_secs(5);
/// Maximum number of layers whose bytes are counted; an image has at most 127.
const MAX_LAYERS: usize = 256;

/// Turns the engine's reports about a pull, which come many times a second, into few lines.
#[derive(Debug)]
pub struct PullProgress {
    /// Downloaded and total bytes of each layer.
    layers: HashMap<String, (u64, u64)>,
    last_line: Instant,
}

impl PullProgress {
    /// Starts at `now`.
    pub fn new(now: Instant) -> Self {
        Self { layers: HashMap::new(), last_line: now }
    }

    /// Returns the line that follows from a report at `now`, if any: for what has ended, and from time to time for what runs.
    pub fn line(&mut self, info: CreateImageInfo, now: Instant) -> Option<String> {
        let status = info.status?;
        let detail = info.progress_detail;
        let is_running = detail.is_some() && !status.ends_with("complete");
        if !is_running {
            return Some(info.id.map_or(format!("{status}\n"), |id| format!("{id}: {status}\n")));
        }
        let bytes = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let detail = detail.filter(|_| status == "Downloading")?;
        let (done, total) = (bytes(detail.current)?, bytes(detail.total).unwrap_or(0));
        if let Some(id) = info.id.filter(|id| self.layers.len() < MAX_LAYERS || self.layers.contains_key(id))
        {
            self.layers.insert(id, (done, total));
        }
        if now.duration_since(self.last_line) < INTERVAL {
            return None;
        }
        self.last_line = now;
        let sum =
            |part: fn(&(u64, u64)) -> u64| self.layers.values().map(part).fold(0, u64::saturating_add) >> 20;
        Some(format!("Downloaded {} of {} MiB\n", sum(|layer| layer.0), sum(|layer| layer.1)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{INTERVAL, PullProgress};
    use bollard::models::{CreateImageInfo, ProgressDetail};
    use std::time::{Duration, Instant};

    fn report(id: &str, status: &str, bytes: Option<(i64, i64)>) -> CreateImageInfo {
        CreateImageInfo {
            id: Some(id.into()),
            status: Some(status.into()),
            progress_detail: bytes
                .map(|(current, total)| ProgressDetail { current: Some(current), total: Some(total) }),
            ..CreateImageInfo::default()
        }
    }

    #[test]
    fn long_download_has_a_line_every_few_seconds() {
        let start = Instant::now();
        let mut progress = PullProgress::new(start);
        let mut line = |seconds: u64, report: CreateImageInfo| {
            progress.line(report, start + Duration::from_secs(seconds))
        };
        assert_eq!(
            line(0, report("1.0", "Pulling from team/app", None)).unwrap(),
            "1.0: Pulling from team/app\n"
        );
        assert_eq!(line(1, report("a", "Downloading", Some((1 << 20, 8 << 20)))), None);
        let later = INTERVAL.as_secs();
        let shown = line(later, report("b", "Downloading", Some((2 << 20, 4 << 20)))).unwrap();
        assert_eq!(shown, "Downloaded 3 of 12 MiB\n");
        assert_eq!(line(later + 1, report("a", "Downloading", Some((8 << 20, 8 << 20)))), None);
        assert_eq!(line(later * 3, report("a", "Extracting", Some((1, 2)))), None);
        assert_eq!(
            line(later * 3, report("a", "Pull complete", Some((0, 0)))).unwrap(),
            "a: Pull complete\n"
        );
    }
}
