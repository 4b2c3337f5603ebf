//! Checks of each commit.

use super::{
    acknowledgements::Auditor,
    known::{CancelReason, LeaseSpan},
    rules,
};
use crate::memory::{Change, Observer};
use crate::simulation::{pipelines::labels_of, stores::node_label};
use tidemill_core::execution::{
    failure::FailureKind,
    status::{ExecutionStatus, JobStatus},
};
use tidemill_core::pipeline::labels::matches;
use tidemill_core::{
    ids::{ExecutionId, JobId},
    pipeline::When,
};
use tidemill_services::ports::{ExecutionRecord, Node, NodeBody};

impl Auditor {
    fn execution_created(&self, record: &ExecutionRecord, nodes: &[Node]) {
        let spec = &record.spec;
        let (id, name) = (spec.id, &spec.pipeline_name);
        self.world.record_event(format_args!("execution {id} #{} of {name}", record.run_number));
        if spec.group.as_ref().is_some_and(|position| position.after.is_some()) {
            self.counts.count("execution waits in its group");
        }
        let mut knowledge = self.lock();
        let mut violation = knowledge.add_execution(record, self.world.now());
        for node in nodes.iter().filter(|node| node.state.status() == Some(JobStatus::Skipped)) {
            self.counts.count("job skipped at creation");
            let why = knowledge.skip_violation(node.key, nodes);
            violation = violation.or(why.map(|why| format!("{why}: {} was skipped", node_label(node.key))));
        }
        drop(knowledge);
        if let Some(message) = violation {
            self.report_violation(message);
        }
    }

    fn job_changed(&self, old: &Node, new: &Node, nodes: &dyn Fn(ExecutionId) -> Vec<Node>) {
        let (NodeBody::Job(before), NodeBody::Job(after)) = (&old.state.body, &new.state.body) else {
            return;
        };
        let (before, after) = (&before.job, &after.job);
        let label = node_label(new.key);
        let job = JobId::of(new.key.execution, new.key.ix);
        if before == after {
            return;
        }
        if before.status != after.status {
            self.world.record_event(format_args!("{label} {} -> {}", before.status, after.status));
        }
        if before.status.is_terminal() {
            self.report_violation(format!("1: {label} was {} and became {}", before.status, after.status));
        }
        let mut knowledge = self.lock();
        if before.status != after.status
            && let Some(group) = knowledge.place_violation(new.key, after.status)
        {
            drop(knowledge);
            return self.report_violation(format!("17: {label} is one too many in group {group}"));
        }
        if after.status == JobStatus::Queued
            && before.status == JobStatus::Pending
            && new.spec.concurrency.is_some()
        {
            self.counts.count("job got a place in its group");
        }
        let commits = knowledge.commits;
        if before.lease.as_ref().map(|lease| lease.token) != after.lease.as_ref().map(|lease| lease.token) {
            let spans = knowledge.leases.entry(job).or_default();
            if let Some(last) = spans.last_mut() {
                last.ended.get_or_insert(commits);
            }
            if let Some(lease) = &after.lease {
                let is_reused = spans.iter().any(|span| span.token == lease.token);
                spans.push(LeaseSpan { token: lease.token, ended: None });
                if is_reused || before.lease.is_some() {
                    drop(knowledge);
                    return self.report_violation(format!(
                        "2: {label} got a lease while another was valid, or the same token again"
                    ));
                }
            }
        }
        if after.attempt > before.attempt {
            let mut canceled = knowledge.canceled.contains(&new.key.execution);
            if canceled && knowledge.jobs(new.key.execution) > self.max_jobs_per_request as usize {
                // The cancel reaches its jobs after the reply; a claim gives no attempt away before it has looked.
                knowledge.late_attempts.insert((job, after.attempt));
                self.counts.count("attempt recorded after an acknowledged cancel");
                canceled = false;
            }
            canceled |= knowledge.acknowledged_job_cancels.contains(&job);
            let worker = after.lease.as_ref().map(|lease| lease.worker.clone()).unwrap_or_default();
            let early = knowledge.start_violation(new.key, &nodes(new.key.execution));
            let labels = knowledge.required_labels(new.key);
            drop(knowledge);
            match new.spec.when {
                When::OnFailure => self.counts.count("`on_failure` job ran"),
                When::Always => self.counts.count("`always` job ran"),
                When::Manual => self.counts.count("manual job ran"),
                When::OnSuccess => {}
            }
            if labels.as_ref().is_some_and(|labels| !labels.is_empty()) {
                self.counts.count("job with labels ran");
            }
            if canceled {
                self.report_violation(format!(
                    "8: attempt {} of {label} began after an acknowledged cancel",
                    after.attempt
                ));
            }
            if after.attempt != before.attempt + 1 || before.status != JobStatus::Queued {
                self.report_violation(format!(
                    "3: {label} began attempt {} from {}",
                    after.attempt, before.status
                ));
            }
            if let Some(why) = early {
                self.report_violation(format!("{why}: attempt {} of {label} began", after.attempt));
            }
            let number = worker.trim_start_matches('w').parse().unwrap_or(usize::MAX);
            if labels.is_some_and(|labels| !matches(&labels, &labels_of(number))) {
                self.report_violation(format!(
                    "13: {label} was assigned to {worker}, which lacks its labels"
                ));
            }
            return;
        }
        if before.status == JobStatus::Pending
            && after.status == JobStatus::Skipped
            && let Some(why) = knowledge.skip_violation(new.key, &nodes(new.key.execution))
        {
            drop(knowledge);
            return self.report_violation(format!("{why}: {label} was skipped"));
        }
        if after.failure.as_ref().is_some_and(|reason| reason.kind == FailureKind::NotApproved) {
            self.counts.count("manual job not approved");
        }
        let is_requested = knowledge.is_cancel_requested(new.key);
        if after.status == JobStatus::Canceled && !is_requested {
            drop(knowledge);
            return self.report_violation(format!("8: {label} was canceled without a request"));
        }
        drop(knowledge);
        let ended = before.lease.is_some() && after.lease.is_none();
        let is_requeued = after.status == JobStatus::Queued;
        let is_recorded = after.attempts.iter().any(|attempt| attempt.attempt == before.attempt);
        if ended && is_requeued && !is_recorded {
            self.report_violation(format!("4: attempt {} of {label} is not recorded", before.attempt));
        }
    }

    fn execution_changed(&self, old: &ExecutionRecord, new: &ExecutionRecord, nodes: &[Node]) {
        let (before, after) = (old.state.status, new.state.status);
        if before.is_terminal() {
            self.report_violation(format!("6: execution {} was {before} and was written again", old.spec.id));
        }
        if before != after {
            self.world.record_event(format_args!("execution {} {before} -> {after}", old.spec.id));
        }
        let mut knowledge = self.lock();
        let now = self.world.now();
        let mut violation = None;
        if new.state.cancel_requested && !old.state.cancel_requested {
            match knowledge.cancel_reason(new, now) {
                Ok(why) => {
                    self.counts.count(why.event());
                    knowledge.cancel(new.spec.id, why);
                }
                Err(message) => violation = Some(message),
            }
        }
        if after.is_terminal() {
            knowledge.ended_executions += 1;
            let timed_out = knowledge.end(new.spec.id, after, now) == Some(CancelReason::TimedOut);
            let expected = match rules::final_status(
                knowledge.executions.get(&new.spec.id),
                nodes,
                new.state.cancel_requested,
            ) {
                Some(ExecutionStatus::Canceled) if timed_out => Some(ExecutionStatus::Failed),
                other => other,
            };
            if expected != Some(after) {
                let number = if timed_out { 14 } else { 6 };
                let message =
                    format!("{number}: execution {} ended {after}; expected {expected:?}", new.spec.id);
                violation.get_or_insert(message);
            }
        }
        drop(knowledge);
        if let Some(message) = violation {
            self.report_violation(message);
        }
    }
}

impl Observer for Auditor {
    fn committed(&self, changes: &[Change<'_>], nodes: &dyn Fn(ExecutionId) -> Vec<Node>) {
        self.lock().commits += 1;
        for change in changes {
            match change {
                Change::Created(record) => self.execution_created(record, &nodes(record.spec.id)),
                Change::Execution { old, new } => self.execution_changed(old, new, &nodes(new.spec.id)),
                Change::Node { old, new } => self.job_changed(old, new, nodes),
            }
        }
    }
}
