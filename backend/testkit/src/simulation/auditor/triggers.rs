//! Checks of what schedules and webhooks start.

use super::{acknowledgements::Auditor, trigger_log::TriggerLog};
use crate::simulation::forge::Found;
use tidemill_core::ids::{ExecutionId, JobId};

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
