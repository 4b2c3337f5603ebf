//! What the UI's first page shows: the latest executions of each repository, and what runs and waits.

use super::service::PipelineExecutionService;
use crate::{
    access::{caller::Caller, protections::approval_of_job},
    error::Result,
    ports::{ExecutionRecord, Node},
};
use futures_util::future::try_join_all;
use tidemill_core::api::{AwaitedApproval, AwaitedJob, ListQuery, Overview};
use tidemill_core::execution::status::ExecutionStatus;

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
        let awaited = self.context.awaited_approvals(execution).await?;
        if awaited.is_empty() {
            return Ok(None);
        }
        let waiting: Vec<_> =
            awaited.iter().filter_map(|one| Some((one.job.as_ref()?, one.gate.as_ref()))).collect();
        let jobs = if waiting.is_empty() {
            Vec::new()
        } else {
            self.awaited_jobs(execution, waiting, caller).await?
        };
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
}
