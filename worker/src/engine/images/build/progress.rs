//! The progress of a build as lines of a log.

use super::messages::{StatusResponse, Timestamp, Vertex};
use std::collections::HashMap;

/// Maximum number of steps that are shown.
const MAX_STEPS: usize = 10_000;
/// Maximum length of a line that is held back until it ends.
const MAX_LINE_LEN: usize = 16 << 10;

/// Turns the changes that BuildKit reports into lines, each with the number of its step.
#[derive(Debug, Default)]
pub struct BuildProgress {
    /// The steps by their digests.
    steps: HashMap<String, Step>,
    /// The first step that failed: its name, and the error.
    failed: Option<(String, String)>,
}

#[derive(Debug)]
struct Step {
    number: usize,
    /// Whether it is complete.
    has_ended: bool,
    started: Option<Timestamp>,
    /// The beginning of a line.
    line: Vec<u8>,
}

impl BuildProgress {
    /// Returns the lines that follow from a change.
    pub fn lines(&mut self, change: StatusResponse) -> Vec<u8> {
        let mut out = Vec::new();
        for vertex in change.vertices {
            self.vertex(vertex, &mut out);
        }
        for log in change.logs {
            let Some(step) = self.steps.get_mut(&log.vertex) else { continue };
            let time = seconds(step.started, log.timestamp);
            for part in log.bytes.split_inclusive(|byte| *byte == b'\n') {
                step.line.extend_from_slice(part);
                if part.ends_with(b"\n") || step.line.len() > MAX_LINE_LEN {
                    step.flush(&time, &mut out);
                }
            }
        }
        out
    }

    fn vertex(&mut self, vertex: Vertex, out: &mut Vec<u8>) {
        let number = self.steps.len() + 1;
        if !self.steps.contains_key(&vertex.digest) {
            // A step that has not started may never run.
            if (vertex.started.is_none() && !vertex.cached && vertex.error.is_empty()) || number > MAX_STEPS {
                return;
            }
            out.extend_from_slice(format!("#{number} {}\n", vertex.name).as_bytes());
            let step = Step { number, has_ended: false, started: vertex.started, line: Vec::new() };
            self.steps.insert(vertex.digest.clone(), step);
        }
        let Some(step) = self.steps.get_mut(&vertex.digest).filter(|step| !step.has_ended) else { return };
        step.started = step.started.or(vertex.started);
        let number = step.number;
        if !vertex.error.is_empty() {
            step.has_ended = true;
            let time = seconds(step.started, vertex.completed);
            step.flush(&time, out);
            out.extend_from_slice(format!("#{number} ERROR: {}\n", vertex.error).as_bytes());
            // A build goes on without a cache that cannot be read.
            if !vertex.name.starts_with("importing cache manifest") {
                self.failed.get_or_insert((vertex.name, vertex.error));
            }
        } else if vertex.completed.is_some() {
            step.has_ended = true;
            let time = seconds(step.started, vertex.completed);
            step.flush(&time, out);
            if vertex.cached {
                out.extend_from_slice(format!("#{number} CACHED\n").as_bytes());
            } else {
                out.extend_from_slice(format!("#{number} DONE {time}s\n").as_bytes());
            }
        }
    }

    /// Returns the name and the error of the step that failed first.
    pub fn failed(&self) -> Option<(&str, &str)> {
        self.failed.as_ref().map(|(name, error)| (name.as_str(), error.as_str()))
    }
}

impl Step {
    /// Writes the line that has begun.
    fn flush(&mut self, time: &str, out: &mut Vec<u8>) {
        if self.line.is_empty() {
            return;
        }
        out.extend_from_slice(format!("#{} {time} ", self.number).as_bytes());
        out.append(&mut self.line);
        if !out.ends_with(b"\n") {
            out.push(b'\n');
        }
    }
}

/// Returns the seconds between two times.
fn seconds(from: Option<Timestamp>, to: Option<Timestamp>) -> String {
    let millis =
        |time: Timestamp| time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos / 1_000_000));
    let span = match (from, to) {
        (Some(from), Some(to)) => millis(to).saturating_sub(millis(from)).max(0),
        _ => 0,
    };
    format!("{}.{}", span / 1000, span % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::{BuildProgress, StatusResponse, Timestamp, Vertex};
    use crate::engine::images::build::messages::VertexLog;

    #[allow(clippy::unnecessary_wraps)] // As the fields are.
    fn at(millis: i64) -> Option<Timestamp> {
        let nanos = i32::try_from(millis % 1000).unwrap_or_default() * 1_000_000;
        Some(Timestamp { seconds: millis / 1000, nanos })
    }

    fn step(digest: &str) -> Vertex {
        Vertex {
            digest: digest.into(),
            name: format!("[2/2] RUN {digest}"),
            started: at(1000),
            ..Vertex::default()
        }
    }

    fn text(progress: &mut BuildProgress, vertices: Vec<Vertex>, logs: Vec<(&str, &str)>) -> String {
        let log = |(vertex, text): (&str, &str)| VertexLog {
            vertex: vertex.into(),
            timestamp: at(1200),
            bytes: text.into(),
        };
        let change = StatusResponse { vertices, logs: logs.into_iter().map(log).collect() };
        String::from_utf8_lossy(&progress.lines(change)).into_owned()
    }

    #[test]
    fn each_line_has_the_number_of_its_step() {
        let mut progress = BuildProgress::default();
        let waiting = Vertex { started: None, ..step("b") };
        assert_eq!(text(&mut progress, vec![waiting], vec![]), "");
        assert_eq!(
            text(&mut progress, vec![step("a")], vec![("a", "one\ntw")]),
            "#1 [2/2] RUN a\n#1 0.2 one\n"
        );
        assert_eq!(text(&mut progress, vec![], vec![("a", "o\n")]), "#1 0.2 two\n");
        let done = Vertex { completed: at(3450), ..step("a") };
        assert_eq!(text(&mut progress, vec![done.clone(), done], vec![]), "#1 DONE 2.4s\n");
        let cached = Vertex { cached: true, completed: at(1000), ..step("b") };
        assert_eq!(text(&mut progress, vec![cached], vec![]), "#2 [2/2] RUN b\n#2 CACHED\n");
        assert_eq!(progress.failed(), None);
        let failed = Vertex { error: "exit code: 7".into(), ..step("c") };
        assert_eq!(text(&mut progress, vec![failed], vec![]), "#3 [2/2] RUN c\n#3 ERROR: exit code: 7\n");
        assert_eq!(progress.failed(), Some(("[2/2] RUN c", "exit code: 7")));
    }
}
