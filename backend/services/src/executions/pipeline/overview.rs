//! What the UI's first page shows: the latest executions of each repository, and what runs and waits.

use super::service::PipelineExecutionService;
use crate::{error::Result, ports::ExecutionRecord};
use tidemill_core::api::{Approval, AwaitedApproval, ListQuery, Overview};
use tidemill_core::execution::status::ExecutionStatus;

/// Maximum number of live executions of each status.
const MAX_LIVE: u32 = 50;
/// Maximum number of executions whose jobs are read for approvals that they wait for.
const MAX_CHECKED: usize = 20;

impl PipelineExecutionService {
    /// Returns the overview of all repositories, or of one.
    pub async fn overview(&self, repo: Option<&str>) -> Result<Overview> {
        let live = async |status| {
            let query = ListQuery {
                repo: repo.map(str::to_owned),
                status: Some(status),
                limit: Some(MAX_LIVE),
                ..ListQuery::default()
            };
            self.context.stores.records.executions(&query).await.map(|(executions, _)| executions)
        };
        let (repositories, running, pending) = tokio::try_join!(
            self.context.activities(repo),
            live(ExecutionStatus::Running),
            live(ExecutionStatus::Pending)
        )?;
        let mut approvals = Vec::new();
        let with_approvals =
            pending.iter().chain(&running).filter(|execution| !execution.spec.approvals.is_empty());
        for execution in with_approvals.take(MAX_CHECKED) {
            let view = self.view(execution.spec.id, None, 0).await?;
            let Some(view) = view.view else { continue };
            let is_awaited = |approval: Option<Approval>| approval == Some(Approval::Awaited);
            let jobs: Vec<String> = if is_awaited(view.approval) {
                Vec::new()
            } else {
                let jobs =
                    view.jobs.iter().filter(|job| is_awaited(job.approval) && !job.status.is_terminal());
                jobs.map(|job| job.job_name.clone()).collect()
            };
            if is_awaited(view.approval) || !jobs.is_empty() {
                approvals.push(AwaitedApproval { execution: view.execution, jobs });
            }
        }
        let summaries =
            |executions: &[ExecutionRecord]| executions.iter().map(ExecutionRecord::summary).collect();
        Ok(Overview { repositories, running: summaries(&running), pending: summaries(&pending), approvals })
    }
}
