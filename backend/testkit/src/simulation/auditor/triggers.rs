//! Checks of the executions that schedules and webhooks start.

use super::{acknowledgements::Auditor, trigger_log::TriggerLog};
use crate::simulation::git_server::CommitFiles;
use tidemill_core::ids::{ExecutionId, JobId};

impl Auditor {
    /// A worker reports the files that it found.
    pub fn files_reported(&self, job: JobId, found: &CommitFiles) {
        let now = self.world.now();
        let execution = self.execution_of(job);
        let mut knowledge = self.lock();
        let triggered = &mut knowledge.triggers;
        if triggered.branch_discoveries.contains(&execution) {
            triggered.reported_schedules.entry(execution).or_default().push(found.cron);
            if found.cron.is_some() {
                triggered.first_reported.get_or_insert(now);
            }
        }
    }

    /// A report of found files was acknowledged.
    pub fn files_acknowledged(&self, job: JobId, found: &CommitFiles) {
        let now = self.world.now();
        let execution = self.execution_of(job);
        let mut knowledge = self.lock();
        let triggered = &mut knowledge.triggers;
        if triggered.branch_discoveries.contains(&execution) && triggered.newest_discovery <= Some(execution)
        {
            triggered.newest_discovery = Some(execution);
            triggered.no_schedule_since = found.cron.is_none().then_some(now);
        }
        if triggered.schedule_discoveries.contains(&execution) && found.cron.is_some() {
            self.counts.count("schedule started");
            triggered.with_schedule.insert(execution);
        }
    }

    /// A pull request's webhook was acknowledged.
    pub fn webhook_acknowledged(&self, commit: &str) {
        self.counts.count("pull request from a fork");
        self.lock().triggers.acknowledged_webhooks.push(commit.to_owned());
    }

    /// Checks the schedules that are stored without faults, or at the end.
    pub fn check_schedules(&self, stored: &[&str]) {
        let knowledge = self.lock();
        let triggered = &knowledge.triggers;
        let Some(newest) = triggered.newest_discovery else { return };
        // Later reports without an acknowledgement may be stored or not.
        let reported: Vec<Option<&str>> = triggered
            .reported_schedules
            .range(newest..)
            .flat_map(|(_, crons)| crons.iter().copied())
            .collect();
        let is_valid = match stored {
            [] => reported.contains(&None),
            [one] => reported.iter().flatten().any(|cron| one.contains(&format!("\"cron\":\"{cron}\""))),
            _ => false,
        };
        drop(knowledge);
        if !is_valid {
            self.report_violation(format!(
                "7: schedules {reported:?} were reported last, and {stored:?} are stored"
            ));
        }
    }

    /// Checks the triggers at the end of a run.
    pub(super) fn check_triggers(&self, triggered: &TriggerLog) {
        if triggered.started < triggered.with_schedule.len() as u64 {
            let (expected, started) = (triggered.with_schedule.len(), triggered.started);
            self.report_violation(format!(
                "16: {started} of {expected} executions of schedules were started"
            ));
        }
        for commit in &triggered.acknowledged_webhooks {
            match triggered.pull_requests.get(commit) {
                Some((1, started)) if *started <= 1 => {}
                other => {
                    self.report_violation(format!("5: the pull request's commit {commit} started {other:?}"));
                }
            }
        }
    }

    fn execution_of(&self, job: JobId) -> ExecutionId {
        let knowledge = self.lock();
        let execution = knowledge.executions.keys().find(|id| JobId::of(**id, 0) == job);
        execution.copied().unwrap_or(ExecutionId(uuid::Uuid::nil()))
    }
}
