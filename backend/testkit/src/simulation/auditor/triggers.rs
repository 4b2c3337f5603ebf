//! What schedules and webhooks made.

use super::{Auditor, SKEW_MS};
use crate::simulation::forge::Found;
use std::collections::{BTreeMap, BTreeSet};
use tidemill_core::{
    api::Trigger,
    ids::{ExecutionId, JobId},
};
use tidemill_services::ports::{ExecutionSpec, ExecutionTask};

const MINUTE_MS: i64 = 60_000;

/// What was made of what happened outside.
#[derive(Default)]
pub struct TriggerLog {
    /// When a worker told of a schedule first.
    first_told: Option<i64>,
    /// Executions that a schedule made: they look at the branch, and start what they find.
    looks: u64,
    started: u64,
    /// Of those that look, how many were told that it starts.
    told: BTreeSet<ExecutionId>,
    is_look_of_schedule: BTreeSet<ExecutionId>,
    is_look_at_branch: BTreeSet<ExecutionId>,
    /// Of each pull request's commit: executions that look at it, and those that were started.
    pulls: BTreeMap<String, (u64, u64)>,
    delivered: Vec<String>,
    /// Schedules that were told, by the execution that looked; and the newest of those of which that was acknowledged.
    registered: BTreeMap<ExecutionId, Vec<Option<&'static str>>>,
    newest: Option<ExecutionId>,
    /// Since when the newest says that there is none.
    none_since: Option<i64>,
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
                (super::ms(self.looks) > came)
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

impl Auditor {
    /// A worker tells what it found.
    pub fn tells(&self, job: JobId, found: &Found) {
        let now = self.world.now();
        let execution = self.execution_of(job);
        let mut known = self.lock();
        let triggered = &mut known.triggered;
        if triggered.is_look_at_branch.contains(&execution) {
            triggered.registered.entry(execution).or_default().push(found.cron);
            if found.cron.is_some() {
                triggered.first_told.get_or_insert(now);
            }
        }
    }

    /// That was acknowledged.
    pub fn told(&self, job: JobId, found: &Found) {
        let now = self.world.now();
        let execution = self.execution_of(job);
        let mut known = self.lock();
        let triggered = &mut known.triggered;
        if triggered.is_look_at_branch.contains(&execution) && triggered.newest <= Some(execution) {
            triggered.newest = Some(execution);
            triggered.none_since = found.cron.is_none().then_some(now);
        }
        if triggered.is_look_of_schedule.contains(&execution) && found.cron.is_some() {
            self.tally.count("schedule came");
            triggered.told.insert(execution);
        }
    }

    /// A pull request's webhook was acknowledged.
    pub fn delivered(&self, commit: &str) {
        self.tally.count("pull request from a fork");
        self.lock().triggered.delivered.push(commit.to_owned());
    }

    /// These are stored when it is quiet, or at the end.
    pub fn schedules(&self, stored: &[&str]) {
        let known = self.lock();
        let triggered = &known.triggered;
        let Some(newest) = triggered.newest else { return };
        // What was told later, and not acknowledged, may be there or not.
        let told: Vec<Option<&str>> =
            triggered.registered.range(newest..).flat_map(|(_, crons)| crons.iter().copied()).collect();
        let fits = match stored {
            [] => told.contains(&None),
            [one] => told.iter().flatten().any(|cron| one.contains(&format!("\"cron\":\"{cron}\""))),
            _ => false,
        };
        drop(known);
        if !fits {
            self.broken(format!("7: schedules {told:?} were told last, and {stored:?} are stored"));
        }
    }

    /// What must hold of triggers at the end of a run.
    pub(super) fn judge_triggers(&self, triggered: &TriggerLog) {
        if triggered.started < triggered.told.len() as u64 {
            let (told, started) = (triggered.told.len(), triggered.started);
            self.broken(format!("16: {started} of {told} executions that a schedule was to start were"));
        }
        for commit in &triggered.delivered {
            match triggered.pulls.get(commit) {
                Some((1, started)) if *started <= 1 => {}
                other => self.broken(format!("5: the pull request's commit {commit} made {other:?}")),
            }
        }
    }

    fn execution_of(&self, job: JobId) -> ExecutionId {
        let known = self.lock();
        let of = known.made.keys().find(|id| JobId::of(**id, 0) == job);
        of.copied().unwrap_or(ExecutionId(uuid::Uuid::nil()))
    }
}
