//! Checks at the end of a run.

use super::{
    acknowledgements::Auditor,
    known::{CreatedExecution, Knowledge},
};
use crate::simulation::{
    output::attempt_output,
    stores::{SharedStores, node_label},
};
use std::collections::BTreeSet;
use tidemill_core::execution::{failure::FailureKind, status::JobStatus, transition::JobState};
use tidemill_core::{
    ids::{ExecutionId, JobId},
    pipeline::When,
};
use tidemill_services::ports::{Node, NodeBody};

/// Maximum delay of an execution's end after its timeout and after the end of faults, in milliseconds.
const MAX_DELAY_MS: i64 = 10 * 60_000;

impl Auditor {
    /// Checks the stores at the end of a run.
    pub async fn check_end(&self, shared: &SharedStores) {
        let (schedules, _) = shared.documents.list("schedule", "", None, 10).await.unwrap_or_default();
        self.check_schedules(&schedules.iter().map(|one| one.value.as_str()).collect::<Vec<_>>());
        let knowledge = std::mem::take(&mut *self.lock());
        for ((_, pipeline), numbers) in &knowledge.run_numbers {
            let last = numbers.last().copied().unwrap_or(0);
            if last != numbers.len() as u64 {
                self.report_violation(format!("5: run numbers of {pipeline} are {numbers:?}"));
            }
        }
        for (key, id) in &knowledge.executions_by_key {
            match shared.records.execution(*id).await {
                Ok(Some(execution)) if execution.state.status.is_terminal() => {}
                other => {
                    let status = other.ok().flatten().map(|execution| execution.state.status);
                    self.report_violation(format!("4, 7: execution {id} of {key} has not ended: {status:?}"));
                }
            }
        }
        let mut dead = BTreeSet::new();
        let (letters, _) = shared.records.dead_letters(None, usize::MAX - 1).await.unwrap_or_default();
        dead.extend(letters.iter().map(|letter| (letter.execution, letter.ix)));
        for (id, made) in &knowledge.executions {
            self.check_execution(*id, made, &knowledge);
            for node in shared.records.all_nodes(*id).await.unwrap_or_default() {
                self.check_job(&node, &knowledge, &dead);
                self.check_when(&node, made, &knowledge);
            }
        }
        self.check_triggers(&knowledge.triggers);
        for ((job, attempt), bytes) in &knowledge.log_sizes {
            let read = shared.logs.read(*job, *attempt, 0, usize::MAX).await;
            let (stored, _) = read.unwrap_or_default();
            let expected = attempt_output(*job, *attempt, 0, stored.len() as u64);
            if (stored.len() as u64) < *bytes || stored != expected {
                let length = stored.len();
                self.report_violation(format!(
                    "7: of {bytes} log bytes of {job} attempt {attempt}, {length} are stored, or their content differs"
                ));
            }
        }
        for (id, (job, sha256)) in &knowledge.artifacts {
            let record = shared.records.artifact(*id).await.unwrap_or_default();
            let info = shared.objects.info(&format!("artifacts/{job}/{id}")).await.unwrap_or_default();
            let stored = info.and_then(|info| info.sha256);
            if record.is_none_or(|record| record.sha256 != *sha256) || stored.as_ref() != Some(sha256) {
                self.report_violation(format!("7: artifact {id} of {job} is not stored as acknowledged"));
            }
        }
    }

    fn check_execution(&self, id: ExecutionId, made: &CreatedExecution, knowledge: &Knowledge) {
        if !made.status.is_terminal() {
            self.report_violation(format!("4: execution {id} has not ended: {}", made.status));
        }
        let until =
            made.timeout_ms.map(|ms| (made.created_at + ms).max(knowledge.faults_stopped_at) + MAX_DELAY_MS);
        if until.is_some_and(|until| made.ended_at > until) {
            self.report_violation(format!("14: execution {id} exceeded its timeout"));
        }
    }

    /// Checks the promises of `when`.
    fn check_when(&self, node: &Node, made: &CreatedExecution, knowledge: &Knowledge) {
        let (NodeBody::Job(item), Some(plan)) = (&node.state.body, &made.plan) else { return };
        let when = plan.jobs.get(node.key.ix as usize).map(|job| job.when);
        let is_requested = knowledge.is_cancel_requested(node.key);
        let is_undeliverable =
            item.job.failure.as_ref().map(|reason| reason.kind) == Some(FailureKind::Undeliverable);
        if when == Some(When::Always) && !is_requested && item.job.attempt == 0 && !is_undeliverable {
            self.report_violation(format!(
                "15: {} is an `always` job, and ended {} without an attempt",
                node_label(node.key),
                item.job.status
            ));
        }
    }

    fn check_job(&self, node: &Node, knowledge: &Knowledge, dead: &BTreeSet<(ExecutionId, u32)>) {
        let NodeBody::Job(item) = &node.state.body else { return };
        let state: &JobState = &item.job;
        let label = node_label(node.key);
        if !state.status.is_terminal() {
            self.report_violation(format!("4: {label} is {} at the end", state.status));
        }
        if node.due_at.is_some() {
            self.report_violation(format!("4: {label} has ended and is still due"));
        }
        let job = JobId::of(node.key.execution, node.key.ix);
        for ((_, attempt), failure) in knowledge.acknowledged_ends.range((job, 0)..=(job, u32::MAX)) {
            let is_as_acknowledged = if *attempt == state.attempt {
                match failure {
                    None => state.status == JobStatus::Success,
                    Some(_) => state.status != JobStatus::Success,
                }
            } else {
                let recorded = state.attempts.iter().find(|one| one.attempt == *attempt);
                let kind = recorded.and_then(|one| one.failure.as_ref()).map(|reason| reason.kind);
                failure.is_some() && (kind == *failure || kind.is_none())
            };
            if !is_as_acknowledged {
                self.report_violation(format!(
                    "7: {label} attempt {attempt} was acknowledged as {failure:?}; it is {}",
                    state.status
                ));
            }
        }
        let has_dead_letter_failure =
            state.failure.as_ref().is_some_and(|reason| reason.kind.is_dead_letter());
        let is_dead =
            state.status == JobStatus::Failed && has_dead_letter_failure && item.carried_from.is_none();
        let retried = knowledge.executions_by_key.contains_key(&format!("retry-{}", node.key.execution));
        if is_dead != dead.contains(&(node.key.execution, node.key.ix)) && !retried {
            self.report_violation(format!(
                "{label} ended {}, and is a dead letter: {}",
                state.status, !is_dead
            ));
        }
    }
}
