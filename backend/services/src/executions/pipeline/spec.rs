//! Parts of an execution's spec that are derived from its file and plan.

use crate::ports::{Deadline, LabelRequirement};
use tidemill_core::{pipeline::Pipeline, plan::Plan, time::Timestamp};

/// Returns the labels that jobs of a plan require; adjacent jobs with the same labels are one entry.
pub(super) fn required_labels(plan: &Plan) -> Vec<LabelRequirement> {
    let mut demands: Vec<LabelRequirement> = Vec::new();
    for (ix, job) in (0..).zip(&plan.jobs).filter(|(_, job)| !job.runs_on.is_empty()) {
        match demands.last_mut() {
            Some(last) if last.to + 1 == ix && last.labels == job.runs_on => last.to = ix,
            _ => demands.push(LabelRequirement { from: ix, to: ix, labels: job.runs_on.clone() }),
        }
    }
    demands
}

/// Returns the deadline of an execution that starts `now`, if its pipeline has a timeout.
pub(super) fn timeout(file: &Pipeline, now: Timestamp) -> Option<Deadline> {
    let ms = i64::try_from(file.timeout_s?.saturating_mul(1000)).unwrap_or(i64::MAX);
    Some(Deadline { at: now.plus_ms(ms), is_timeout: true })
}
