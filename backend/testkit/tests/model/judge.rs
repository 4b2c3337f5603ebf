//! Checks of each commit, implemented independently of the scheduler.

use super::{
    promise::Promise,
    protocol::Protocol,
    records::{Kind, Records},
    state::{Operation, OperationKind, OperationStage, State},
};
use tidemill_core::execution::status::{ExecutionStatus, JobStatus};
use tidemill_core::pipeline::When;

impl Protocol {
    fn needs_hold(&self, records: &Records, job: usize) -> bool {
        let plan = &self.shape.plan;
        let (mut ended, mut succeeded) = (true, true);
        for need in plan.artifact_sources(u32::try_from(job).unwrap()) {
            let (status, need) = (records.cells[need as usize].status, &plan.jobs[need as usize]);
            ended &= status.is_terminal();
            succeeded &= match status {
                JobStatus::Success => true,
                JobStatus::Failed => need.allow_failure,
                // Only an `on_failure` job is skipped without a failure.
                JobStatus::Skipped => need.when == When::OnFailure,
                _ => false,
            };
        }
        match plan.jobs[job].when {
            When::OnSuccess | When::Manual => succeeded,
            When::OnFailure => ended && !succeeded,
            When::Always => ended,
        }
    }

    /// Computes the final status independently of the scheduler; `None`: not all jobs have ended.
    fn final_status(&self, records: &Records) -> Option<ExecutionStatus> {
        let jobs = records.cells.iter().zip(&self.shape.specs).filter(|(cell, _)| cell.kind == Kind::Job);
        let (mut failed, mut other) = (false, false);
        for (cell, spec) in jobs {
            match cell.status {
                JobStatus::Success => {}
                JobStatus::Failed if spec.allow_failure => {}
                JobStatus::Skipped if spec.when == When::OnFailure => {}
                JobStatus::Failed => failed = true,
                JobStatus::Canceled | JobStatus::Skipped => other = true,
                _ => return None,
            }
        }
        Some(match (failed, other) {
            (false, false) => ExecutionStatus::Success,
            (true, _) if !records.cancel => ExecutionStatus::Failed,
            _ => ExecutionStatus::Canceled,
        })
    }

    /// Returns the promise that a commit breaks, if any.
    pub fn check_commit(&self, state: &State, before: &Records, op: &Operation) -> Option<Promise> {
        let after = &state.records;
        for (ix, (old, new)) in before.cells.iter().zip(&after.cells).enumerate() {
            if old.kind != Kind::Job {
                continue;
            }
            if old.status.is_terminal() && (new.status, new.attempt) != (old.status, old.attempt) {
                return Some(Promise::TerminalStays);
            }
            let was_valid = old.token > 0 && !old.run_out;
            if new.attempt > old.attempt {
                if was_valid {
                    return Some(Promise::OneLease);
                }
                if !self.needs_hold(before, ix) {
                    return Some(Promise::NeedsHold);
                }
                if state.cancel_acknowledged || state.canceled & 1 << ix != 0 {
                    return Some(Promise::CancelHolds);
                }
            }
            if let (OperationKind::Report { job, attempt, .. }, OperationStage::Main) = (op.kind, op.stage) {
                let is_reported_job = usize::from(job) == ix;
                let is_current_attempt = is_reported_job && attempt == old.attempt && old.token > 0;
                // A report may change another job only if that has no lease: it releases its dependents.
                let must_not_change = !is_current_attempt && (is_reported_job || old.token > 0);
                if must_not_change && (new.status, new.token) != (old.status, old.token) {
                    return Some(Promise::OneLease);
                }
            } else if was_valid && new.token == 0 {
                return Some(Promise::OneLease);
            }
            if old.status == JobStatus::Pending
                && new.status == JobStatus::Queued
                && !self.needs_hold(after, ix)
            {
                return Some(Promise::NeedsHold);
            }
        }
        if before.version != after.version {
            let has_ended = after.status.is_terminal();
            if before.status.is_terminal() || (has_ended && self.final_status(after) != Some(after.status)) {
                return Some(Promise::FinalStatus);
            }
        }
        (after.created > 1).then_some(Promise::OneExecution)
    }
}
