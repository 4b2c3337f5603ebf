//! Executions that schedules and webhooks started, and the files that workers reported for them.

use crate::simulation::time::{SKEW_MS, to_millis};
use std::collections::{BTreeMap, BTreeSet};
use tidemill_core::{api::Trigger, ids::ExecutionId};
use tidemill_services::ports::{ExecutionSpec, ExecutionTask};

const MINUTE_MS: i64 = 60_000;

/// The executions of schedules and pull requests.
#[derive(Default)]
pub struct TriggerLog {
    /// When a worker first reported a schedule.
    pub(super) first_reported: Option<i64>,
    /// Executions that a schedule started: discoveries of the branch, and the pipelines that they start.
    pub(super) discoveries: u64,
    pub(super) started: u64,
    /// Discoveries of a schedule for which a worker reported the schedule.
    pub(super) with_schedule: BTreeSet<ExecutionId>,
    pub(super) schedule_discoveries: BTreeSet<ExecutionId>,
    pub(super) branch_discoveries: BTreeSet<ExecutionId>,
    /// For each pull request's commit: the numbers of discoveries and of started executions.
    pub(super) pull_requests: BTreeMap<String, (u64, u64)>,
    pub(super) acknowledged_webhooks: Vec<String>,
    /// Reported schedules by discovery, and the newest discovery whose report was acknowledged.
    pub(super) reported_schedules: BTreeMap<ExecutionId, Vec<Option<&'static str>>>,
    pub(super) newest_discovery: Option<ExecutionId>,
    /// Since when the newest discovery has no schedule.
    pub(super) no_schedule_since: Option<i64>,
}

impl TriggerLog {
    /// Records a new execution; returns a violation.
    pub fn add_execution(&mut self, spec: &ExecutionSpec, now: i64) -> Option<String> {
        let is_discovery = matches!(spec.task, ExecutionTask::DiscoverPipelines(_));
        if spec.retry_of.is_some() {
            return None;
        }
        match spec.trigger {
            Trigger::Schedule if is_discovery => {
                self.schedule_discoveries.insert(spec.id);
                self.discoveries += 1;
                if self.no_schedule_since.is_some_and(|since| now > since + MINUTE_MS) {
                    return Some("16: a removed schedule started an execution".into());
                }
                let due_times = self.first_reported.map_or(0, |first| {
                    (now + SKEW_MS).div_euclid(MINUTE_MS) - (first - SKEW_MS).div_euclid(MINUTE_MS)
                });
                (to_millis(self.discoveries) > due_times).then(|| {
                    format!(
                        "16: a schedule was due at most {due_times} times and started {} discoveries",
                        self.discoveries
                    )
                })
            }
            Trigger::Schedule => {
                self.started += 1;
                (self.started > self.discoveries).then(|| {
                    format!(
                        "16: {} discoveries of a schedule started {} executions",
                        self.discoveries, self.started
                    )
                })
            }
            Trigger::PullRequest => {
                let commit = spec.commit.clone().unwrap_or_default();
                let (discoveries, started) = self.pull_requests.entry(commit.clone()).or_default();
                *if is_discovery { &mut *discoveries } else { &mut *started } += 1;
                let twice = *discoveries > 1 || *started > 1;
                twice.then(|| format!("5: one pull request's commit {commit} started twice"))
            }
            _ => {
                if is_discovery {
                    self.branch_discoveries.insert(spec.id);
                }
                None
            }
        }
    }
}
