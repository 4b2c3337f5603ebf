//! Checks of the executions that schedules and webhooks start.

use super::{acknowledgements::Auditor, trigger_log::TriggerLog};
use crate::simulation::git_server::Found;
use tidemill_core::ids::{ExecutionId, JobId};

impl Auditor {
    /// A worker reports the files that it found.
    pub fn tells(&self, job: JobId, found: &Found) {
        let now = self.world.now();
        let execution = self.execution_of(job);
        let mut knowledge = self.lock();
        let triggered = &mut knowledge.triggered;
        if triggered.branch_discoveries.contains(&execution) {
            triggered.registered.entry(execution).or_default().push(found.cron);
            if found.cron.is_some() {
                triggered.first_reported.get_or_insert(now);
            }
        }
    }

    /// A report of found files was acknowledged.
    pub fn told(&self, job: JobId, found: &Found) {
        let now = self.world.now();
        let execution = self.execution_of(job);
        let mut knowledge = self.lock();
        let triggered = &mut knowledge.triggered;
        if triggered.branch_discoveries.contains(&execution) && triggered.newest <= Some(execution) {
            triggered.newest = Some(execution);
            triggered.none_since = found.cron.is_none().then_some(now);
        }
        if triggered.schedule_discoveries.contains(&execution) && found.cron.is_some() {
            self.tally.count("schedule started");
            triggered.with_schedule.insert(execution);
        }
    }

    /// A pull request's webhook was acknowledged.
    pub fn delivered(&self, commit: &str) {
        self.tally.count("pull request from a fork");
        self.lock().triggered.delivered.push(commit.to_owned());
    }

    /// Checks the schedules that are stored without faults, or at the end.
    pub fn schedules(&self, stored: &[&str]) {
        let knowledge = self.lock();
        let triggered = &knowledge.triggered;
        let Some(newest) = triggered.newest else { return };
        // Later reports without an acknowledgement may be stored or not.
        let reported: Vec<Option<&str>> =
            triggered.registered.range(newest..).flat_map(|(_, crons)| crons.iter().copied()).collect();
        let is_valid = match stored {
            [] => reported.contains(&None),
            [one] => reported.iter().flatten().any(|cron| one.contains(&format!("\"cron\":\"{cron}\""))),
            _ => false,
        };
        drop(knowledge);
        if !is_valid {
            self.broken(format!("7: schedules {reported:?} were reported last, and {stored:?} are stored"));
        }
    }

    /// Checks the triggers at the end of a run.
    pub(super) fn judge_triggers(&self, triggered: &TriggerLog) {
        if triggered.started < triggered.with_schedule.len() as u64 {
            let (expected, started) = (triggered.with_schedule.len(), triggered.started);
            self.broken(format!("16: {started} of {expected} executions of schedules were started"));
        }
        for commit in &triggered.delivered {
            match triggered.pulls.get(commit) {
                Some((1, started)) if *started <= 1 => {}
                other => self.broken(format!("5: the pull request's commit {commit} started {other:?}")),
            }
        }
    }

    fn execution_of(&self, job: JobId) -> ExecutionId {
        let knowledge = self.lock();
        let execution = knowledge.made.keys().find(|id| JobId::of(**id, 0) == job);
        execution.copied().unwrap_or(ExecutionId(uuid::Uuid::nil()))
    }
}
