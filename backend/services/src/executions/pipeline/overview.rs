//! What the UI's first page shows: the latest executions of each repository, and what runs and waits.

use super::service::PipelineExecutionService;
use crate::{
    access::{caller::Caller, protections::approval_of_job},
    error::Result,
    ports::{ApprovalGate, ExecutionRecord, Node},
};
use futures_util::future::try_join_all;
use tidemill_core::api::{AwaitedApproval, AwaitedJob, ListQuery, Overview};
use tidemill_core::execution::status::{ExecutionStatus, JobStatus};
use tidemill_core::scheduler::condition_holds;

/// Maximum number of executions of each status.
const MAX_OF_STATUS: u32 = 50;
/// Maximum number of executions whose jobs are read for approvals that they wait for.
const MAX_CHECKED: usize = 20;
/// Number of executions whose jobs are read at the same time.
const CHECKED_AT_ONCE: usize = 5;

impl PipelineExecutionService {
    /// Returns the overview of all repositories, or of one, and what `caller` may approve.
    pub async fn overview(&self, repo: Option<&str>, caller: Option<&Caller>) -> Result<Overview> {
        let newest = async |status| {
            let query = ListQuery {
                repo: repo.map(str::to_owned),
                status: Some(status),
                limit: Some(MAX_OF_STATUS),
                ..ListQuery::default()
            };
            self.context.stores.records.executions(&query).await.map(|(executions, _)| executions)
        };
        let (repositories, running, pending) = tokio::try_join!(
            self.context.activities(repo),
            newest(ExecutionStatus::Running),
            newest(ExecutionStatus::Pending)
        )?;
        let live = running.iter().chain(&pending);
        let failed_discoveries = self.context.failed_discoveries(repo, live).await?;
        let is_visible =
            |execution: &ExecutionRecord| caller.is_none_or(|caller| caller.can_read(&execution.spec.repo));
        let with_approvals: Vec<&ExecutionRecord> = pending
            .iter()
            .chain(&running)
            .filter(|execution| !execution.spec.approvals.is_empty() && is_visible(execution))
            .take(MAX_CHECKED)
            .collect();
        let mut approvals = Vec::new();
        for batch in with_approvals.chunks(CHECKED_AT_ONCE) {
            let checks = batch.iter().map(|execution| Box::pin(self.awaited_approval(execution, caller)));
            approvals.extend(try_join_all(checks).await?.into_iter().flatten());
        }
        let summaries =
            |executions: &[ExecutionRecord]| executions.iter().map(ExecutionRecord::summary).collect();
        let (running, pending) = (summaries(&running), summaries(&pending));
        Ok(Overview { repositories, running, pending, approvals, failed_discoveries })
    }

    /// Returns the approval that a live execution waits for, if any.
    async fn awaited_approval(
        &self,
        execution: &ExecutionRecord,
        caller: Option<&Caller>,
    ) -> Result<Option<AwaitedApproval>> {
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
            let mut waiting = Vec::new();
            for approval in awaited {
                if let Some(job) = approval.job.and_then(node)
                    && self.can_be_approved(job).await?
                {
                    waiting.push((job, node(approval.gate)));
                }
            }
            if waiting.is_empty() {
                return Ok(None);
            }
            jobs = self.awaited_jobs(execution, waiting, caller).await?;
        }
        let caller_may_run = caller.is_some_and(|caller| caller.may_run_in(&execution.spec.repo));
        Ok(Some(AwaitedApproval { execution: execution.summary(), jobs, caller_may_run }))
    }

    /// Returns jobs that wait for an approval, each given with its gate, with what is missing.
    async fn awaited_jobs(
        &self,
        execution: &ExecutionRecord,
        waiting: Vec<(&Node, Option<&Node>)>,
        caller: Option<&Caller>,
    ) -> Result<Vec<AwaitedJob>> {
        let mut environments = Vec::with_capacity(waiting.len());
        for (job, _) in &waiting {
            environments.push(self.context.environment_name(execution, job).await?);
        }
        let is_protected = environments.iter().any(Option::is_some);
        let repo = &execution.spec.repo;
        let rules = if is_protected { self.context.protections_of(repo).await? } else { Vec::new() };
        let jobs = waiting.into_iter().zip(environments).map(|((job, gate), environment)| {
            let of_job = (rules.as_slice(), environment.as_deref());
            let (approvals, caller_approval) = approval_of_job(execution, gate, of_job, caller);
            AwaitedJob { name: job.spec.name.clone(), approvals, caller_approval }
        });
        Ok(jobs.collect())
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
