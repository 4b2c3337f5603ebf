//! Entries of the audit log about executions and jobs, with the repository they are of.

use crate::{access::caller::Caller, services::Services};
use tidemill_core::ids::{ExecutionId, JobId};

impl Services {
    /// Records that `caller` did `action` to an execution.
    pub(in crate::http) async fn audit_execution(
        &self,
        caller: &Caller,
        action: &str,
        id: ExecutionId,
        outcome: &str,
    ) {
        let repo = self.pipelines.repo(id).await.ok();
        self.audit.record(caller, action, id, repo.as_deref(), outcome).await;
    }

    /// Records that `caller` did `action` to a job.
    pub(super) async fn audit_job(&self, caller: &Caller, action: &str, id: JobId, outcome: &str) {
        let repo = self.jobs.repo(id).await.ok();
        self.audit.record(caller, action, id, repo.as_deref(), outcome).await;
    }
}
