//! What anyone may see of an execution of a public repository.

use super::{ExecutionSummary, ExecutionView};
use crate::execution::failure::{FailureKind, FailureReason};

impl ExecutionSummary {
    /// Returns the execution without what only members of the repository may see: values of inputs, addresses of people, and
    /// executions of other repositories.
    #[must_use]
    pub fn for_anyone(mut self) -> Self {
        self.inputs.clear();
        self.requested_by = None;
        self.parent = None;
        // `Name <address>`, or an address alone.
        let name = |author: String| author.split('<').next().unwrap_or_default().trim().to_owned();
        let author = self.commit_details.author.map(name);
        self.commit_details.author = author.filter(|name| !name.is_empty() && !name.contains('@'));
        self
    }
}

/// Replaces the message of a failure that names a worker.
fn hide_worker(failure: &mut Option<FailureReason>) {
    if let Some(failure) = failure.as_mut().filter(|failure| failure.kind == FailureKind::GivenBack) {
        "the worker gave the job back".clone_into(&mut failure.message);
    }
}

impl ExecutionView {
    /// Returns the execution without what only members of the repository may see, such as workers and their labels.
    #[must_use]
    pub fn for_anyone(self) -> Self {
        let mut view = Self {
            execution: self.execution.for_anyone(),
            includes: Vec::new(),
            cost_usd: None,
            caller_may_run: false,
            // Who pinned it, and why.
            pin: None,
            ..self
        };
        for job in &mut view.jobs {
            job.runs_on.clear();
            job.unserved_labels.clear();
            job.waits_for_place = None;
            job.approvals = None;
            job.caller_approval = None;
            job.child = None;
            // Its name and address may have values of variables.
            job.environment = None;
            hide_worker(&mut job.failure_reason);
            for attempt in &mut job.attempts {
                attempt.worker = None;
                hide_worker(&mut attempt.failure);
            }
        }
        view
    }
}
