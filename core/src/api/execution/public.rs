//! What anyone may see of an execution of a public repository.

use super::{ExecutionSummary, ExecutionView};

impl ExecutionSummary {
    /// Returns the execution without what only members of the repository may see: values of inputs, addresses of people, and
    /// executions of other repositories.
    #[must_use]
    pub fn for_anyone(mut self) -> Self {
        self.inputs.clear();
        self.requested_by = None;
        self.parent = None;
        // `Name <address>`
        let name = |author: String| author.split('<').next().unwrap_or_default().trim().to_owned();
        self.commit_details.author = self.commit_details.author.map(name);
        self
    }
}

impl ExecutionView {
    /// Returns the execution without what only members of the repository may see, such as workers and their labels.
    #[must_use]
    pub fn for_anyone(self) -> Self {
        let mut view = Self { execution: self.execution.for_anyone(), includes: Vec::new(), ..self };
        for job in &mut view.jobs {
            job.runs_on.clear();
            job.waits_for_place = None;
            job.child = None;
            for attempt in &mut job.attempts {
                attempt.worker = None;
            }
        }
        view
    }
}
