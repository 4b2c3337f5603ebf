//! Checks of each commit.

use super::{
    acknowledgements::Auditor,
    known::{CancelReason, Span},
    rules,
};
use crate::memory::{Change, Observer};
use crate::simulation::{pipelines::labels_of, stores::short};
use tidemill_core::execution::{
    failure::FailureKind,
    status::{ExecutionStatus, JobStatus},
};
use tidemill_core::pipeline::labels::fits;
use tidemill_core::{
    ids::{ExecutionId, JobId},
    pipeline::When,
};
use tidemill_services::ports::{ExecutionRecord, Node, NodeBody};

impl Auditor {
    fn made(&self, record: &ExecutionRecord, nodes: &[Node]) {
        let spec = &record.spec;
        let (id, name) = (spec.id, &spec.pipeline_name);
        self.world.event(format_args!("execution {id} #{} of {name}", record.run_number));
        if spec.group.as_ref().is_some_and(|position| position.after.is_some()) {
            self.tally.count("execution waits in its group");
        }
        let mut known = self.lock();
        let mut violation = known.made(record, self.world.now());
        for node in nodes.iter().filter(|node| node.state.status() == Some(JobStatus::Skipped)) {
            self.tally.count("job skipped at creation");
            let why = known.wrongly_skipped(node.key, nodes);
            violation = violation.or(why.map(|why| format!("{why}: {} was skipped", short(node.key))));
        }
        drop(known);
        if let Some(message) = violation {
            self.broken(message);
        }
    }

    fn job_changed(&self, old: &Node, new: &Node, nodes: &dyn Fn(ExecutionId) -> Vec<Node>) {
        let (NodeBody::Job(was), NodeBody::Job(is)) = (&old.state.body, &new.state.body) else { return };
        let (was, is) = (&was.job, &is.job);
        let at = short(new.key);
        let job = JobId::of(new.key.execution, new.key.ix);
        if was == is {
            return;
        }
        if was.status != is.status {
            self.world.event(format_args!("{at} {} -> {}", was.status, is.status));
        }
        if was.status.is_terminal() {
            self.broken(format!("1: {at} was {} and became {}", was.status, is.status));
        }
        let mut known = self.lock();
        let commits = known.commits;
        if was.lease.as_ref().map(|lease| lease.token) != is.lease.as_ref().map(|lease| lease.token) {
            let spans = known.leases.entry(job).or_default();
            if let Some(last) = spans.last_mut() {
                last.ended.get_or_insert(commits);
            }
            if let Some(lease) = &is.lease {
                let is_reused = spans.iter().any(|span| span.token == lease.token);
                spans.push(Span { token: lease.token, ended: None });
                if is_reused || was.lease.is_some() {
                    drop(known);
                    return self.broken(format!(
                        "2: {at} got a lease while another was valid, or the same token again"
                    ));
                }
            }
        }
        if is.attempt > was.attempt {
            let canceled = known.canceled.contains(&new.key.execution) || known.jobs_canceled.contains(&job);
            let worker = is.lease.as_ref().map(|lease| lease.worker.clone()).unwrap_or_default();
            let early = known.too_early(new.key, &nodes(new.key.execution));
            let labels = known.demands(new.key);
            drop(known);
            match new.spec.when {
                When::OnFailure => self.tally.count("`on_failure` job ran"),
                When::Always => self.tally.count("`always` job ran"),
                When::Manual => self.tally.count("manual job ran"),
                When::OnSuccess => {}
            }
            if labels.as_ref().is_some_and(|labels| !labels.is_empty()) {
                self.tally.count("job with labels ran");
            }
            if canceled {
                self.broken(format!("8: attempt {} of {at} began after an acknowledged cancel", is.attempt));
            }
            if is.attempt != was.attempt + 1 || was.status != JobStatus::Queued {
                self.broken(format!("3: {at} began attempt {} from {}", is.attempt, was.status));
            }
            if let Some(why) = early {
                self.broken(format!("{why}: attempt {} of {at} began", is.attempt));
            }
            let number = worker.trim_start_matches('w').parse().unwrap_or(usize::MAX);
            if labels.is_some_and(|labels| !fits(&labels, &labels_of(number))) {
                self.broken(format!("13: {at} was assigned to {worker}, which lacks its labels"));
            }
            return;
        }
        if was.status == JobStatus::Pending
            && is.status == JobStatus::Skipped
            && let Some(why) = known.wrongly_skipped(new.key, &nodes(new.key.execution))
        {
            drop(known);
            return self.broken(format!("{why}: {at} was skipped"));
        }
        if is.failure.as_ref().is_some_and(|reason| reason.kind == FailureKind::NotApproved) {
            self.tally.count("manual job not approved");
        }
        let is_requested = known.cancels_job_of(new.key);
        if is.status == JobStatus::Canceled && !is_requested {
            drop(known);
            return self.broken(format!("8: {at} was canceled without a request"));
        }
        drop(known);
        let ended = was.lease.is_some() && is.lease.is_none();
        let is_requeued = is.status == JobStatus::Queued;
        let is_recorded = is.attempts.iter().any(|attempt| attempt.attempt == was.attempt);
        if ended && is_requeued && !is_recorded {
            self.broken(format!("4: attempt {} of {at} is not recorded", was.attempt));
        }
    }

    fn execution_changed(&self, old: &ExecutionRecord, new: &ExecutionRecord, nodes: &[Node]) {
        let (was, is) = (old.state.status, new.state.status);
        if was.is_terminal() {
            self.broken(format!("6: execution {} was {was} and was written again", old.spec.id));
        }
        if was != is {
            self.world.event(format_args!("execution {} {was} -> {is}", old.spec.id));
        }
        let mut known = self.lock();
        let now = self.world.now();
        let mut violation = None;
        if new.state.cancel_requested && !old.state.cancel_requested {
            match known.why_canceled(new, now) {
                Ok(why) => {
                    self.tally.count(why.event());
                    known.cancel(new.spec.id, why);
                }
                Err(message) => violation = Some(message),
            }
        }
        if is.is_terminal() {
            known.over += 1;
            let timed_out = known.end(new.spec.id, is, now) == Some(CancelReason::TimedOut);
            let expected =
                match rules::final_status(known.made.get(&new.spec.id), nodes, new.state.cancel_requested) {
                    Some(ExecutionStatus::Canceled) if timed_out => Some(ExecutionStatus::Failed),
                    other => other,
                };
            if expected != Some(is) {
                let number = if timed_out { 14 } else { 6 };
                let message =
                    format!("{number}: execution {} ended {is}; expected {expected:?}", new.spec.id);
                violation.get_or_insert(message);
            }
        }
        drop(known);
        if let Some(message) = violation {
            self.broken(message);
        }
    }
}

impl Observer for Auditor {
    fn committed(&self, changes: &[Change<'_>], nodes: &dyn Fn(ExecutionId) -> Vec<Node>) {
        self.lock().commits += 1;
        for change in changes {
            match change {
                Change::Made(record) => self.made(record, &nodes(record.spec.id)),
                Change::Execution { old, new } => self.execution_changed(old, new, &nodes(new.spec.id)),
                Change::Node { old, new } => self.job_changed(old, new, nodes),
            }
        }
    }
}
