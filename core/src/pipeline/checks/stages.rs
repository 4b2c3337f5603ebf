//! Checks `stages`, and the stage of each job.

use std::collections::{HashMap, HashSet};

use super::context::{FindingSink, KnownJob, job_label};
use crate::pipeline::finding::{Finding, FindingLocation, Path, PathPart, quoted};
use crate::pipeline::names;
use crate::pipeline::raw::field::Field;
use crate::pipeline::raw::records::{RawJob, RawPipeline};

/// Stages of a file without `stages`; those without jobs are removed.
pub(crate) const IMPLICIT_STAGES: [&str; 3] = ["build", "test", "deploy"];

/// Stage of a job without `stage`.
const IMPLICIT_STAGE: &str = "test";

/// Checks and returns `stages`; `None` if the key is absent or invalid.
pub(crate) fn stages(raw: &RawPipeline, findings: &mut FindingSink) -> Option<Vec<String>> {
    let path = Path::default().key("stages");
    let stages = &raw.stages.get()?.0;
    if stages.is_empty() {
        findings.push(
            Finding::value("empty-stages", &path, "`stages` is empty").help(
                "name at least one stage, or remove the key: build, test and deploy are there by default",
            ),
        );
        return None;
    }
    let mut first = HashMap::new();
    for (at, stage) in stages.iter().enumerate() {
        findings.check(names::check_name(&stage.0), || path.index(at));
        if let Some(first) = first.insert(stage.0.as_str(), at) {
            findings.push(
                Finding::value(
                    "duplicate-stage",
                    &path.index(at),
                    format!("the stage {} is listed twice", quoted(&stage.0)),
                )
                .help("remove one of the two")
                .related("first listed here", FindingLocation::Path(path.index(first), PathPart::Value)),
            );
        }
    }
    Some(stages.iter().map(|stage| stage.0.clone()).collect())
}

pub(crate) fn unused_stages(
    stages: &[&str],
    used: &HashSet<usize>,
    order: &HashMap<&str, usize>,
    findings: &mut FindingSink,
) {
    for (at, stage) in stages.iter().enumerate() {
        if order.get(stage) == Some(&at) && !used.contains(&at) {
            let path = Path::default().key("stages").index(at);
            findings.push(
                Finding::value("empty-stage", &path, format!("the stage {} has no jobs", quoted(stage)))
                    .help("remove it, or give a job this `stage`"),
            );
        }
    }
}

/// The stage that a job belongs to; `None` if it is unknown, which is reported.
pub(crate) fn job_stage<'a>(
    job: &KnownJob<'_>,
    raw: &'a RawJob,
    stages: &[&'a str],
    implicit: bool,
    findings: &mut FindingSink,
) -> Option<&'a str> {
    match &raw.stage {
        Field::Invalid => None,
        Field::Set(stage) => {
            if stages.contains(&stage.0.as_str()) {
                return Some(&stage.0);
            }
            let help =
                findings.suggestions.did_you_mean(&stage.0, stages.iter().copied()).unwrap_or_else(|| {
                    let list = stages.join(", ");
                    if implicit {
                        format!("without a `stages` list the stages are {list}; add one to name your own")
                    } else {
                        format!("the stages are {list}")
                    }
                });
            let path = job.path.key("stage");
            findings.push(
                Finding::value("unknown-stage", &path, format!("there is no stage {}", quoted(&stage.0)))
                    .help(help),
            );
            None
        }
        Field::Absent => {
            let chosen = match stages {
                [only] => Some(*only),
                _ => stages.iter().copied().find(|stage| *stage == IMPLICIT_STAGE),
            };
            if chosen.is_none() {
                findings.push(
                    Finding::key("missing-stage", &job.path, format!("{} has no `stage`", job_label(job)))
                        .help(format!("add `stage:` with one of {}", stages.join(", "))),
                );
            }
            chosen
        }
    }
}
