//! Reports about the pull of an image, for a job's log and its phase.

use bollard::models::CreateImageInfo;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Time between two lines about downloaded bytes.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// Time between two reports of the bytes.
const BYTES_INTERVAL: Duration = Duration::from_secs(2);
/// Maximum number of layers whose bytes are counted; an image has at most 127.
const MAX_LAYERS: usize = 256;

/// A report about a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullReport {
    /// A line for the job's log, with its end.
    Line(String),
    /// The bytes of all layers so far: `12.5 of 80.0 MiB`.
    Bytes(String),
}

/// Turns the engine's reports about a pull, which come many times a second, into few.
#[derive(Debug)]
pub struct PullProgress {
    /// Downloaded and total bytes of each layer.
    layers: HashMap<String, (u64, u64)>,
    last_line: Instant,
    last_bytes: Option<Instant>,
    is_unpacking: bool,
}

impl PullProgress {
    /// Starts at `now`.
    pub fn new(now: Instant) -> Self {
        Self { layers: HashMap::new(), last_line: now, last_bytes: None, is_unpacking: false }
    }

    /// Returns the reports that follow from one of the engine at `now`: lines for what has ended, and from time to time the bytes
    /// of what runs.
    pub fn reports(&mut self, info: CreateImageInfo, now: Instant) -> Vec<PullReport> {
        let Some(status) = info.status else { return Vec::new() };
        let is_complete = status.ends_with("complete");
        if let Some(layer) = info.id.as_ref().filter(|_| is_complete).and_then(|id| self.layers.get_mut(id)) {
            layer.0 = layer.1;
        }
        if info.progress_detail.is_none() || is_complete {
            let line = info.id.map_or(format!("{status}\n"), |id| format!("{id}: {status}\n"));
            return vec![PullReport::Line(line)];
        }
        let bytes = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let detail = info.progress_detail.unwrap_or_default();
        match (status.as_str(), bytes(detail.current), info.id) {
            ("Downloading", Some(done), Some(id)) => {
                if self.layers.len() < MAX_LAYERS || self.layers.contains_key(&id) {
                    self.layers.insert(id, (done, bytes(detail.total).unwrap_or(0).max(done)));
                }
                self.downloading(now)
            }
            ("Extracting", ..) => self.unpacking(),
            _ => Vec::new(),
        }
    }

    fn downloading(&mut self, now: Instant) -> Vec<PullReport> {
        let mut reports = Vec::new();
        let (done, total) = self.sums();
        if self.last_bytes.is_none_or(|last| now.duration_since(last) >= BYTES_INTERVAL) {
            self.last_bytes = Some(now);
            self.is_unpacking = false;
            reports.push(PullReport::Bytes(format!("{} of {} MiB", mebibytes(done), mebibytes(total))));
        }
        if now.duration_since(self.last_line) >= LINE_INTERVAL {
            self.last_line = now;
            reports.push(PullReport::Line(format!("Downloaded {} of {} MiB\n", done >> 20, total >> 20)));
        }
        reports
    }

    /// Reports once that all layers are downloaded, and the engine unpacks them.
    fn unpacking(&mut self) -> Vec<PullReport> {
        let (done, total) = self.sums();
        if done < total || std::mem::replace(&mut self.is_unpacking, true) {
            return Vec::new();
        }
        vec![PullReport::Bytes(format!("{} MiB, unpacking", mebibytes(total)))]
    }

    /// Returns the downloaded and the total bytes of all layers.
    fn sums(&self) -> (u64, u64) {
        let sum = |part: fn(&(u64, u64)) -> u64| self.layers.values().map(part).fold(0, u64::saturating_add);
        (sum(|layer| layer.0), sum(|layer| layer.1))
    }
}

/// Formats a number of bytes in MiB with one decimal place.
fn mebibytes(bytes: u64) -> String {
    format!("{}.{}", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20)
}

#[cfg(test)]
mod tests {
    use super::{BYTES_INTERVAL, LINE_INTERVAL, PullProgress, PullReport};
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

    fn line(text: &str) -> PullReport {
        PullReport::Line(text.to_owned())
    }

    fn bytes(text: &str) -> PullReport {
        PullReport::Bytes(text.to_owned())
    }

    #[test]
    fn long_download_reports_its_bytes_every_few_seconds() {
        const MIB: i64 = 1 << 20;
        let start = Instant::now();
        let mut progress = PullProgress::new(start);
        let mut at = |time: Duration, report: CreateImageInfo| progress.reports(report, start + time);
        let soon = Duration::from_secs(1);
        assert_eq!(
            at(Duration::ZERO, report("1.0", "Pulling from team/app", None)),
            [line("1.0: Pulling from team/app\n")]
        );
        assert_eq!(at(soon, report("a", "Downloading", Some((MIB / 2, 8 * MIB)))), [bytes("0.5 of 8.0 MiB")]);
        assert_eq!(at(soon, report("b", "Downloading", Some((MIB, 4 * MIB)))), []);
        assert_eq!(
            at(soon + BYTES_INTERVAL, report("b", "Downloading", Some((2 * MIB, 4 * MIB)))),
            [bytes("2.5 of 12.0 MiB")]
        );
        let later = LINE_INTERVAL + soon;
        assert_eq!(
            at(later, report("b", "Downloading", Some((3 * MIB, 4 * MIB)))),
            [bytes("3.5 of 12.0 MiB"), line("Downloaded 3 of 12 MiB\n")]
        );
        assert_eq!(at(later, report("b", "Extracting", Some((1, 2)))), [], "a layer is still downloaded");
        for id in ["a", "b"] {
            let done = report(id, "Download complete", Some((0, 0)));
            assert_eq!(at(later, done), [line(&format!("{id}: Download complete\n"))]);
        }
        assert_eq!(at(later, report("a", "Extracting", Some((1, 2)))), [bytes("12.0 MiB, unpacking")]);
        assert_eq!(at(later, report("a", "Extracting", Some((2, 2)))), []);
        assert_eq!(at(later, report("a", "Pull complete", Some((0, 0)))), [line("a: Pull complete\n")]);
    }

    #[test]
    fn layers_without_a_size_and_negative_numbers_are_not_counted_wrongly() {
        let start = Instant::now();
        let mut progress = PullProgress::new(start);
        assert_eq!(progress.reports(report("a", "Downloading", Some((-1, 5))), start), []);
        let unknown = progress.reports(report("a", "Downloading", Some((1 << 20, -1))), start);
        assert_eq!(unknown, [bytes("1.0 of 1.0 MiB")]);
        for number in 0..1000 {
            progress.reports(report(&number.to_string(), "Downloading", Some((i64::MAX, i64::MAX))), start);
        }
        assert!(progress.layers.len() <= super::MAX_LAYERS);
    }
}
