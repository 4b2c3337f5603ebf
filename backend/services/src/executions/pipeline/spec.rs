//! Parts of an execution's spec that follow from its file and plan.

use crate::ports::{Deadline, LabelRequirement};
use tidemill_core::{pipeline::Pipeline, plan::Plan, time::Timestamp};

/// What the jobs of a plan demand of their workers, where they do; neighbors that demand the same are one entry.
pub(super) fn demands(plan: &Plan) -> Vec<LabelRequirement> {
    let mut demands: Vec<LabelRequirement> = Vec::new();
    for (ix, job) in (0..).zip(&plan.jobs).filter(|(_, job)| !job.runs_on.is_empty()) {
        match demands.last_mut() {
            Some(last) if last.to + 1 == ix && last.labels == job.runs_on => last.to = ix,
            _ => demands.push(LabelRequirement { from: ix, to: ix, labels: job.runs_on.clone() }),
        }
    }
    demands
}

/// When an execution that begins `now` is canceled, if its pipeline says so.
pub(super) fn timeout(file: &Pipeline, now: Timestamp) -> Option<Deadline> {
    let ms = i64::try_from(file.timeout_s?.saturating_mul(1000)).unwrap_or(i64::MAX);
    Some(Deadline { at: now.plus_ms(ms), is_timeout: true })
}
