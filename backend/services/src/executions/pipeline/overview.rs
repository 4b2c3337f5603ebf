//! What the UI's first page shows: the latest executions of each repository, and what runs and waits.

use super::service::PipelineExecutionService;
use crate::{
    error::Result,
    ports::{ApprovalGate, ExecutionRecord, Node},
};
use futures_util::future::try_join_all;
use tidemill_core::api::{AwaitedApproval, ExecutionSummary, ListQuery, Overview};
use tidemill_core::execution::status::{ExecutionStatus, JobStatus};
use tidemill_core::records::{failed_discoveries, is_last_discovery};
use tidemill_core::scheduler::condition_holds;

/// Maximum number of executions of each status.
const MAX_OF_STATUS: u32 = 50;
/// Maximum number of executions whose jobs are read for approvals that they wait for.
const MAX_CHECKED: usize = 20;
/// Number of executions whose jobs are read at the same time.
const CHECKED_AT_ONCE: usize = 5;

impl PipelineExecutionService {
    /// Returns the overview of all repositories, or of one.
    pub async fn overview(&self, repo: Option<&str>) -> Result<Overview> {
        let newest = async |status| {
            let query = ListQuery {
                repo: repo.map(str::to_owned),
                status: Some(status),
                limit: Some(MAX_OF_STATUS),
                ..ListQuery::default()
            };
            self.context.stores.records.executions(&query).await.map(|(executions, _)| executions)
        };
        let (repositories, running, pending, failed) = tokio::try_join!(
            self.context.activities(repo),
            newest(ExecutionStatus::Running),
            newest(ExecutionStatus::Pending),
            newest(ExecutionStatus::Failed)
        )?;
        let failed = failed_discoveries(&failed, self.context.now());
        let failed_discoveries = try_join_all(failed.into_iter().map(|one| self.last_discovery(one))).await?;
        let failed_discoveries = failed_discoveries.into_iter().flatten().collect();
        let with_approvals: Vec<&ExecutionRecord> = pending
            .iter()
            .chain(&running)
            .filter(|execution| !execution.spec.approvals.is_empty())
            .take(MAX_CHECKED)
            .collect();
        let mut approvals = Vec::new();
        for batch in with_approvals.chunks(CHECKED_AT_ONCE) {
            let checks = batch.iter().map(|execution| Box::pin(self.awaited_approval(execution)));
            approvals.extend(try_join_all(checks).await?.into_iter().flatten());
        }
        let summaries =
            |executions: &[ExecutionRecord]| executions.iter().map(ExecutionRecord::summary).collect();
        let (running, pending) = (summaries(&running), summaries(&pending));
        Ok(Overview { repositories, running, pending, approvals, failed_discoveries })
    }

    /// Returns a failed discovery if it is the last one of its branch.
    async fn last_discovery(&self, failed: &ExecutionRecord) -> Result<Option<ExecutionSummary>> {
        let query = ListQuery {
            repo: Some(failed.spec.repo.clone()),
            branch: failed.spec.branch.clone(),
            limit: Some(MAX_OF_STATUS),
            ..ListQuery::default()
        };
        let (newest, _) = self.context.stores.records.executions(&query).await?;
        Ok(is_last_discovery(failed, &newest).then(|| failed.summary()))
    }

    /// Returns the approval that a live execution waits for, if any.
    async fn awaited_approval(&self, execution: &ExecutionRecord) -> Result<Option<AwaitedApproval>> {
        let id = execution.spec.id;
        let approvals = &execution.spec.approvals;
        let ixs: Vec<u32> =
            approvals.iter().flat_map(|approval| [Some(approval.gate), approval.job]).flatten().collect();
        let nodes = self.context.stores.records.nodes(id, &ixs).await?;
        let node = |ix: u32| nodes.iter().find(|node| node.key.ix == ix);
        // A gate fails if the approval came too late.
        let is_awaited = |approval: &ApprovalGate| {
            node(approval.gate).is_none_or(|gate| gate.waits_for > 0 && gate.failed == 0)
        };
        let awaited: Vec<&ApprovalGate> = approvals.iter().filter(|approval| is_awaited(approval)).collect();
        let mut jobs = Vec::new();
        if !awaited.iter().any(|approval| approval.job.is_none()) {
            let waiting: Vec<&Node> = awaited.iter().filter_map(|approval| node(approval.job?)).collect();
            for job in waiting {
                if self.can_be_approved(job).await? {
                    jobs.push(job.spec.name.clone());
                }
            }
            if jobs.is_empty() {
                return Ok(None);
            }
        }
        Ok(Some(AwaitedApproval { execution: execution.summary(), jobs }))
    }

    /// Whether a manual job has not ended, and its condition on outputs, if it has one, holds.
    async fn can_be_approved(&self, job: &Node) -> Result<bool> {
        if job.state.status().is_none_or(JobStatus::is_terminal) {
            return Ok(false);
        }
        let planned = self.context.spec(job.key.execution, job.key.ix).await?.planned;
        if planned.condition.is_none() {
            return Ok(true);
        }
        let read = self.context.deciding_nodes(job.key.execution, &[&planned]).await?;
        Ok(condition_holds(&planned, &read) == Some(true))
    }
}
