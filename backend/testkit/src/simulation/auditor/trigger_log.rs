//! What schedules and webhooks started, and what workers found for them.

use crate::simulation::time::{SKEW_MS, ms};
use std::collections::{BTreeMap, BTreeSet};
use tidemill_core::{api::Trigger, ids::ExecutionId};
use tidemill_services::ports::{ExecutionSpec, ExecutionTask};

const MINUTE_MS: i64 = 60_000;

/// What was made of what happened outside.
#[derive(Default)]
pub struct TriggerLog {
    /// When a worker told of a schedule first.
    pub(super) first_told: Option<i64>,
    /// Executions that a schedule made: they look at the branch, and start what they find.
    pub(super) looks: u64,
    pub(super) started: u64,
    /// Of those that look, how many were told that it starts.
    pub(super) told: BTreeSet<ExecutionId>,
    pub(super) is_look_of_schedule: BTreeSet<ExecutionId>,
    pub(super) is_look_at_branch: BTreeSet<ExecutionId>,
    /// Of each pull request's commit: executions that look at it, and those that were started.
    pub(super) pulls: BTreeMap<String, (u64, u64)>,
    pub(super) delivered: Vec<String>,
    /// Schedules that were told, by the execution that looked; and the newest of those of which that was acknowledged.
    pub(super) registered: BTreeMap<ExecutionId, Vec<Option<&'static str>>>,
    pub(super) newest: Option<ExecutionId>,
    /// Since when the newest says that there is none.
    pub(super) none_since: Option<i64>,
}

impl TriggerLog {
    /// An execution was made; what is wrong with that.
    pub fn made(&mut self, spec: &ExecutionSpec, now: i64) -> Option<String> {
        let looks = matches!(spec.task, ExecutionTask::DiscoverPipelines(_));
        if spec.retry_of.is_some() {
            return None;
        }
        match spec.trigger {
            Trigger::Schedule if looks => {
                self.is_look_of_schedule.insert(spec.id);
                self.looks += 1;
                if self.none_since.is_some_and(|since| now > since + MINUTE_MS) {
                    return Some("16: a schedule came that was taken away".into());
                }
                let came = self.first_told.map_or(0, |first| {
                    (now + SKEW_MS).div_euclid(MINUTE_MS) - (first - SKEW_MS).div_euclid(MINUTE_MS)
                });
                (ms(self.looks) > came)
                    .then(|| format!("16: a schedule came {came} times at most and started {}", self.looks))
            }
            Trigger::Schedule => {
                self.started += 1;
                (self.started > self.looks)
                    .then(|| format!("16: a schedule came {} times and started {}", self.looks, self.started))
            }
            Trigger::PullRequest => {
                let commit = spec.commit.clone().unwrap_or_default();
                let (seen, started) = self.pulls.entry(commit.clone()).or_default();
                *if looks { &mut *seen } else { &mut *started } += 1;
                let twice = *seen > 1 || *started > 1;
                twice.then(|| format!("5: one pull request's commit {commit} started twice"))
            }
            _ => {
                if looks {
                    self.is_look_at_branch.insert(spec.id);
                }
                None
            }
        }
    }
}
