//! Random pipelines.

use std::fmt::Write as _;
use tidemill_core::pipeline::labels::Labels;

/// An exit code that some jobs allow, and one that none allows.
pub const EXIT_CODES: [i32; 2] = [75, 1];
/// Labels that some jobs require; at least one worker has them.
const RUNS_ON_LABELS: [&str; 3] = ["gpu: true", "arch: arm64", "arch: arm64, gpu: true"];

/// Returns the labels of a worker.
pub fn labels_of(worker: usize) -> Labels {
    let labels: &[(&str, &str)] = match worker {
        0 => &[("gpu", "false")],
        1 => &[("gpu", "true")],
        _ => &[("arch", "arm64"), ("gpu", "true")],
    };
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Properties of all jobs of a pipeline.
#[allow(clippy::struct_excessive_bools, reason = "each is chosen on its own")]
struct Kind {
    /// Whether a stage has so many jobs that one arrival takes several batches.
    wide: bool,
    /// Whether jobs may be manual.
    manual: bool,
    /// Whether all jobs are `on_failure`, so that none can run.
    idle: bool,
    /// Whether some jobs are in concurrency groups.
    limited: bool,
}

/// The key of a group whose executions run in order.
pub const ORDERED_GROUP: &str = "concurrency: { group: line, cancel_superseded: false }\n";

/// Returns the key of a random group, or `None`.
pub fn random_group(rng: &mut fastrand::Rng) -> Option<&'static str> {
    match rng.u32(..16) {
        0..3 => Some("concurrency: { group: '${pipeline}', cancel_superseded: true }\n"),
        3..8 => Some(ORDERED_GROUP),
        // Supersedes in a group whose other executions run in order; a group's pipelines may differ.
        8 => Some("concurrency: { group: line, cancel_superseded: true }\n"),
        _ => None,
    }
}

/// Creates a pipeline file with this name, these keys, and random jobs.
pub fn random_pipeline(rng: &mut fastrand::Rng, name: &str, keys: &str) -> String {
    let mut file = format!("name: {name}\n{keys}");
    if rng.u32(..6) == 0 {
        let _ = writeln!(file, "timeout: {}s", rng.u32(20..240));
    }
    let kind = Kind {
        limited: rng.clone().u32(..3) == 0,
        wide: rng.u32(..200) == 0,
        manual: rng.u32(..4) == 0,
        idle: rng.u32(..40) == 0,
    };
    let stages = rng.usize(1..=3);
    let _ =
        writeln!(file, "stages: [{}]", (0..stages).map(|s| format!("s{s}")).collect::<Vec<_>>().join(", "));
    file += "jobs:\n";
    let mut before: Vec<(String, usize)> = Vec::new();
    for stage in 0..stages {
        let jobs = if kind.wide { 60 } else { rng.usize(1..=3) };
        for _ in 0..jobs {
            let job = format!("j{}", before.len() + 1);
            let _ = write!(file, "  {job}: {{ stage: s{stage}, image: i, script: x");
            job_keys(&mut file, rng, &kind, stage, &before);
            file += " }\n";
            before.push((job, stage));
        }
    }
    file
}

fn job_keys(
    file: &mut String,
    rng: &mut fastrand::Rng,
    kind: &Kind,
    stage: usize,
    before: &[(String, usize)],
) {
    if !before.is_empty() && rng.bool() && !kind.wide {
        let needs: Vec<&str> = before
            .iter()
            .filter(|(_, of)| *of <= stage)
            .filter(|_| rng.u32(..3) == 0)
            .map(|(name, _)| name.as_str())
            .collect();
        let _ = write!(file, ", needs: [{}]", needs.join(", "));
    }
    match rng.u32(..7) {
        0 => *file += ", retry: 1",
        1 => *file += ", retry: { max: 2, when: [worker_lost, script_failed] }",
        2 => *file += ", allow_failure: true",
        3 => {
            let _ = write!(file, ", allow_failure: {{ exit_codes: [{}] }}", EXIT_CODES[0]);
        }
        4 if !kind.wide => *file += ", matrix: { m: [a, b] }",
        5 => *file += ", artifacts: { paths: [out] }",
        _ => {}
    }
    match rng.u32(..12) {
        _ if kind.idle => *file += ", when: on_failure",
        0 => *file += ", when: on_failure",
        1 => *file += ", when: always",
        2..6 if kind.manual && !kind.wide => *file += ", when: manual",
        _ => {}
    }
    if rng.u32(..8) == 0 {
        let _ = write!(file, ", runs_on: {{ {} }}", RUNS_ON_LABELS[rng.usize(..RUNS_ON_LABELS.len())]);
    }
    if kind.limited && !kind.wide {
        // The other keys are the same without it.
        match rng.clone().u32(..6) {
            0 => *file += ", concurrency: lab",
            1 => *file += ", concurrency: { group: lab, limit: 2 }",
            2 => *file += ", concurrency: { group: 'lab-${branch}' }",
            _ => {}
        }
    }
}
