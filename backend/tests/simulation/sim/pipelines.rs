//! Pipelines by chance.

use std::fmt::Write as _;

/// A pipeline file of this name.
pub fn made(rng: &mut fastrand::Rng, name: &str) -> String {
    let mut file = format!("name: {name}\n");
    if rng.u32(..4) == 0 {
        file += "concurrency: { group: '${pipeline}', cancel_superseded: true }\n";
    }
    // Now and then so many jobs that one end is told in several batches.
    let wide = rng.u32(..200) == 0;
    let stages = rng.usize(1..=3);
    let _ =
        writeln!(file, "stages: [{}]", (0..stages).map(|s| format!("s{s}")).collect::<Vec<_>>().join(", "));
    file += "jobs:\n";
    let mut before: Vec<(String, usize)> = Vec::new();
    let mut number = 0;
    for stage in 0..stages {
        let jobs = if wide { 60 } else { rng.usize(1..=3) };
        for _ in 0..jobs {
            number += 1;
            let job = format!("j{number}");
            let _ = write!(file, "  {job}: {{ stage: s{stage}, image: i, script: x");
            if !before.is_empty() && rng.bool() && !wide {
                let needs: Vec<&str> = before
                    .iter()
                    .filter(|(_, of)| *of <= stage)
                    .filter(|_| rng.u32(..3) == 0)
                    .map(|(name, _)| name.as_str())
                    .collect();
                let _ = write!(file, ", needs: [{}]", needs.join(", "));
            }
            match rng.u32(..6) {
                0 => file += ", retry: 1",
                1 => file += ", retry: { max: 2, when: [worker_lost, script_failed] }",
                2 => file += ", allow_failure: true",
                3 if !wide => file += ", matrix: { m: [a, b] }",
                4 => file += ", artifacts: { paths: [out] }",
                _ => {}
            }
            file += " }\n";
            before.push((job, stage));
        }
    }
    file
}
