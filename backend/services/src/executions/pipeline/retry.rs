//! Retries executions: starts a new one in which successful jobs are carried over.

use super::{
    create::CreateOptions,
    group::Group,
    identity::digest,
    service::PipelineExecutionService,
    spec::{required_labels, timeout},
};
use crate::{
    context::service_context::job_of,
    error::{Error, Result},
    executions::{
        assignment::shares_image, budget, idempotency_keys::CallerKey, planning::plan_of, request_texts,
    },
    ports::{ExecutionSpec, Node, ParentLink},
    storage::artifacts::has_carried_artifacts,
};
use std::collections::BTreeMap;
use tidemill_core::execution::status::{ExecutionStatus, JobStatus};
use tidemill_core::{
    api::{ExecuteReply, ExecuteRequest, RetryRequest, Trigger},
    ids::{ExecutionId, JobId},
    pipeline::When,
    plan::Plan,
    repository::canonical_name,
    scheduler::CarriedJob,
};

impl PipelineExecutionService {
    /// Starts a new execution of the same pipeline and commit as an ended one, in which successful jobs are carried over.
    pub async fn retry(
        &self,
        id: ExecutionId,
        request: RetryRequest,
        key: Option<CallerKey>,
    ) -> Result<ExecuteReply> {
        request_texts::check_requester(request.requested_by.as_deref())?;
        request_texts::check_jobs("jobs", &request.jobs)?;
        let mut old = self.context.execution(id).await?;
        if !old.state.status.is_terminal() {
            return Err(Error::Conflict(format!(
                "execution {id} has not ended; wait for its end, or cancel it first"
            )));
        }
        let repo = old.spec.repo.clone();
        self.source_policy.readmit(&self.context, &repo, &mut old.spec.source).await?;
        if !request.jobs.is_empty() {
            old.spec.facts.jobs.from.clone_from(&request.jobs);
        }
        let plan = move || {
            let planned = plan_of(&old.spec);
            (old, planned)
        };
        let (old, planned) = self.context.compute("planning an execution", plan).await?;
        let (file, plan) = planned?;
        budget::check(&plan, old.spec.task.file_bytes() as u64, self.allowance())?;
        let is_manual =
            |name: &String| plan.jobs.iter().any(|job| job.when == When::Manual && job.has_name(name));
        if let Some(name) = request.approve.iter().find(|name| !is_manual(name)) {
            return Err(Error::Invalid(format!(
                "execution {id} has no job `{name}` that waits for an approval"
            )));
        }
        let carried = if request.all || old.state.unplanned {
            BTreeMap::new()
        } else {
            let selects_jobs = !request.approve.is_empty() || !request.jobs.is_empty();
            let mut carried = self.jobs_to_carry_over(id, plan.jobs.len(), selects_jobs).await?;
            let again = plan.with_dependents(&request.jobs);
            carried.retain(|name, _| !again.contains(name.as_str()));
            carried
        };
        let identity = digest(&(id, request.all, &request.jobs, &request.approve))?;
        let key = key.map(|key| key.of_repository(&old.spec.repo)).transpose()?;
        let spec = ExecutionSpec {
            id: self.context.stores.ids.execution(),
            trigger: Trigger::Retry,
            requested_by: request.requested_by,
            retry_of: Some(id),
            created_at: self.context.now(),
            plan_digest: plan.digest(),
            held: false,
            approvals: Vec::new(),
            demands: required_labels(&plan),
            group: None,
            // No job waits for a retry of a child.
            parent: old.spec.parent.map(|parent| ParentLink { gate: None, ..parent }),
            deadline: file.as_ref().and_then(|file| timeout(file, self.context.now())),
            ..old.spec
        };
        let group = match &file {
            Some(file) => Group::of(file, &spec)?,
            None => None,
        };
        // A retry counts as an approval, so the execution is not held again.
        let group = self.group_of_child(group, spec.parent.as_ref()).await?;
        let approved = request.approve;
        let options = CreateOptions { key, request: identity, group, hold: false, approved, is_child: false };
        let reply = Box::pin(self.create(plan, spec, carried, options)).await?;
        // The jobs run again, so their dead letters need no attention.
        if let Err(error) = self.context.remove_dead_letters(id).await {
            tracing::warn!(execution = %id, %error, "cannot remove the dead letters of a retried execution; dismiss them");
        }
        Ok(reply)
    }

    /// Returns the jobs that a retry of an execution with `jobs` jobs carries over. Returns an error if the retry has nothing to run.
    async fn jobs_to_carry_over(
        &self,
        id: ExecutionId,
        jobs: usize,
        selects_jobs: bool,
    ) -> Result<BTreeMap<String, CarriedJob>> {
        let nodes = self.context.stores.records.all_nodes(id).await?;
        let carried = self.successful_jobs(id, &nodes).await?;
        if !selects_jobs && carried.len() == jobs {
            return Err(Error::Invalid(format!(
                "every job of execution {id} succeeded; to run them all again, retry with `all`"
            )));
        }
        // Jobs that were skipped without a failure would be skipped again.
        let tolerated = |node: &Node| node.state.status() == Some(JobStatus::Skipped) && node.is_tolerated();
        let is_remaining = |node: &&Node| node.spec.job.is_some() && !carried.contains_key(&node.spec.name);
        if !selects_jobs && nodes.iter().filter(is_remaining).all(tolerated) {
            return Err(Error::Invalid(format!(
                "the remaining jobs of execution {id} were not needed or not approved; to run one, name it under `approve`, or \
                 retry with `all`"
            )));
        }
        Ok(carried)
    }

    /// Returns the jobs of an ended execution whose results a new execution reuses: the successful ones, except those that the request
    /// begins with and their dependents.
    pub(super) async fn jobs_to_reuse(
        &self,
        id: ExecutionId,
        request: &ExecuteRequest,
        plan: &Plan,
    ) -> Result<BTreeMap<String, CarriedJob>> {
        let old = self.context.execution(id).await?;
        let is_same_repository = canonical_name(&old.spec.repo) == canonical_name(&request.repo);
        if !is_same_repository || old.spec.pipeline_name != plan.pipeline_name {
            return Err(Error::Invalid(format!(
                "results of execution {id} cannot be reused: it is not of this repository and pipeline"
            )));
        }
        if !old.state.status.is_terminal() || old.state.unplanned {
            return Err(Error::Conflict(format!("execution {id} has not ended; wait for its end")));
        }
        let nodes = self.context.stores.records.all_nodes(id).await?;
        let mut carried = self.successful_jobs(id, &nodes).await?;
        let again = plan.with_dependents(&request.from);
        carried.retain(|name, _| !again.contains(name.as_str()));
        Ok(carried)
    }

    /// Returns the successful jobs of an execution whose artifacts still exist, by name.
    async fn successful_jobs(&self, id: ExecutionId, nodes: &[Node]) -> Result<BTreeMap<String, CarriedJob>> {
        let specs = self.context.specs(id).await?;
        let execution = self.context.cached_execution(id).await?;
        let children = self.context.children(nodes).await?;
        let mut carried = BTreeMap::new();
        for node in nodes {
            let Ok(item) = job_of(node) else { continue };
            let Some(spec) = specs.get(node.key.ix as usize) else { continue };
            let from: JobId = item.carried_from.unwrap_or(spec.id);
            let shares_image = shares_image(&execution, &specs, node.key.ix);
            let has_failed_child = spec.planned.surroundings.waits_for_child()
                && item
                    .child
                    .and_then(|id| children.get(&id))
                    .is_none_or(|child| child.state.status != ExecutionStatus::Success);
            if item.job.status != JobStatus::Success
                || has_failed_child
                || !has_carried_artifacts(&self.context, &spec.planned, shares_image, from).await?
            {
                continue;
            }
            let attempt = if item.carried_from.is_some() { item.carried_attempt } else { item.job.attempt };
            let (log_bytes, state) = (item.log_bytes, item.job.clone());
            let job = CarriedJob { from, attempt, log_bytes, state, child: item.child };
            carried.insert(node.spec.name.clone(), job);
        }
        Ok(carried)
    }
}
