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
        assignment::shares_image,
        budget,
        idempotency_keys::{CallerKey, RecordedKey},
        planning::plan_of,
        request_texts,
    },
    ports::{ExecutionRecord, ExecutionSpec, Node, ParentLink},
    storage::artifacts::{has_carried_artifacts, needs_artifacts},
};
use futures_util::future::try_join_all;
use std::collections::BTreeMap;
use tidemill_core::execution::{
    facts::JobSelection,
    status::{ExecutionStatus, JobStatus},
};
use tidemill_core::{
    api::{ExecuteReply, ExecuteRequest, RetryRequest, Trigger},
    ids::{ExecutionId, JobId},
    pipeline::{Pipeline, When},
    plan::{Plan, PlannedJob},
    repository::canonical_name,
    scheduler::CarriedJob,
};

/// Maximum number of jobs that are needed and did not succeed if a retry leaves them out: executions are stored with their names.
const MAX_LEFT_OUT: usize = 500;
/// Number of jobs whose artifacts are looked up at the same time.
const CONCURRENT_READS: usize = 32;

impl PipelineExecutionService {
    /// Starts a new execution of the same pipeline and commit as an ended one, in which successful jobs are carried over.
    pub async fn retry(
        &self,
        id: ExecutionId,
        request: RetryRequest,
        key: Option<CallerKey>,
    ) -> Result<ExecuteReply> {
        let repo = self.repo(id).await?;
        let key = key.map(|key| key.of_repository(&repo)).transpose()?;
        self.retry_recorded(id, request, key).await
    }

    /// Like [`Self::retry`], with a key of any kind.
    pub(crate) async fn retry_recorded(
        &self,
        id: ExecutionId,
        request: RetryRequest,
        key: Option<RecordedKey>,
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
        if request.alone {
            if request.jobs.is_empty() || request.all {
                return Err(Error::Invalid(
                    "`alone` needs the names of the jobs to run under `jobs`, and no `all`".into(),
                ));
            }
            old.spec.facts.jobs = JobSelection { only: request.jobs.clone(), ..JobSelection::default() };
        } else if !request.jobs.is_empty() {
            old.spec.facts.jobs.from.clone_from(&request.jobs);
        }
        let (mut old, (mut file, mut plan)) = self.plan_again(old).await?;
        let new_id = self.context.stores.ids.execution();
        let mut alone = None;
        if request.alone {
            let nodes = self.context.stores.records.all_nodes(id).await?;
            let mut carried = self.successful_jobs(id, &nodes, new_id).await?;
            carried.retain(|name, _| {
                plan.jobs.iter().any(|job| job.name == *name && !is_requested(job, &request))
            });
            old.spec.facts.jobs.without = jobs_to_leave_out(&plan, &carried, &request)?;
            if !old.spec.facts.jobs.without.is_empty() {
                (old, (file, plan)) = self.plan_again(old).await?;
            }
            alone = Some(carried);
        }
        budget::check(&plan, old.spec.task.file_bytes() as u64, self.allowance())?;
        let is_manual =
            |name: &String| plan.jobs.iter().any(|job| job.when == When::Manual && job.has_name(name));
        if let Some(name) = request.approve.iter().find(|name| !is_manual(name)) {
            return Err(Error::Invalid(format!(
                "execution {id} has no job `{name}` that waits for an approval"
            )));
        }
        let carried = if let Some(carried) = alone {
            carried
        } else if request.all || old.state.unplanned {
            BTreeMap::new()
        } else {
            let selects_jobs = !request.approve.is_empty() || !request.jobs.is_empty();
            let mut carried = self.jobs_to_carry_over(id, plan.jobs.len(), selects_jobs, new_id).await?;
            let again = plan.with_dependents(&request.jobs);
            carried.retain(|name, _| !again.contains(name.as_str()));
            carried
        };
        let identity = digest(&(id, request.all, request.alone, &request.jobs, &request.approve))?;
        let (mut approved, requested) = (request.approve, &request.jobs);
        if request.alone {
            let manual = plan.jobs.iter().filter(|job| job.when == When::Manual);
            let manual = manual.filter(|job| requested.iter().any(|name| job.has_name(name)));
            approved.extend(manual.map(|job| job.name.clone()));
        }
        let spec = ExecutionSpec {
            id: new_id,
            trigger: Trigger::Retry,
            requested_by: request.requested_by,
            started_by: request.started_by,
            retry_of: Some(id),
            created_at: self.context.now(),
            plan_digest: plan.digest(),
            held: false,
            approved: Vec::new(),
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
        // A part of an execution does not cancel whole ones.
        let group = group.filter(|group| !(request.alone && group.cancel_superseded));
        // A retry counts as an approval, so the execution is not held again.
        let group = self.group_of_child(group, spec.parent.as_ref()).await?;
        let options = CreateOptions {
            key,
            request: identity,
            group,
            hold: false,
            approved,
            is_child: false,
            reuses: None,
        };
        let reply = Box::pin(self.create(plan, spec, carried, options)).await?;
        // The jobs run again, so their dead letters need no attention.
        if let Err(error) = self.context.remove_dead_letters(id).await {
            tracing::warn!(execution = %id, %error, "cannot remove the dead letters of a retried execution; dismiss them");
        }
        Ok(reply)
    }

    /// Plans the jobs of an execution that is retried.
    async fn plan_again(&self, old: ExecutionRecord) -> Result<(ExecutionRecord, (Option<Pipeline>, Plan))> {
        let plan = move || {
            let planned = plan_of(&old.spec);
            (old, planned)
        };
        let (old, planned) = self.context.compute("planning an execution", plan).await?;
        Ok((old, planned?))
    }

    /// Returns the jobs that the retry `by` of an execution with `jobs` jobs carries over. Returns an error if the retry has nothing to
    /// run.
    async fn jobs_to_carry_over(
        &self,
        id: ExecutionId,
        jobs: usize,
        selects_jobs: bool,
        by: ExecutionId,
    ) -> Result<BTreeMap<String, CarriedJob>> {
        let nodes = self.context.stores.records.all_nodes(id).await?;
        let carried = self.successful_jobs(id, &nodes, by).await?;
        if !selects_jobs && carried.len() == jobs {
            return Err(Error::Invalid(format!(
                "every job of execution {id} succeeded; to run them all again, retry with `all` (`tidemill retry --all`)"
            )));
        }
        // Jobs that were skipped without a failure would be skipped again.
        let tolerated = |node: &Node| node.state.status() == Some(JobStatus::Skipped) && node.is_tolerated();
        let is_remaining = |node: &&Node| node.spec.job.is_some() && !carried.contains_key(&node.spec.name);
        if !selects_jobs && nodes.iter().filter(is_remaining).all(tolerated) {
            return Err(Error::Invalid(format!(
                "the remaining jobs of execution {id} were not needed or not approved; to run one, name it under `approve`, or \
                 retry with `all` (`tidemill retry --all`)"
            )));
        }
        Ok(carried)
    }

    /// Returns the jobs of an ended execution whose results a new execution `by` reuses: the successful ones, except those that the
    /// request begins with and their dependents.
    pub(super) async fn jobs_to_reuse(
        &self,
        id: ExecutionId,
        request: &ExecuteRequest,
        plan: &Plan,
        by: ExecutionId,
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
        let mut carried = self.successful_jobs(id, &nodes, by).await?;
        let again = plan.with_dependents(&request.from);
        carried.retain(|name, _| !again.contains(name.as_str()));
        Ok(carried)
    }

    /// Returns the successful jobs of an execution whose artifacts exist as long as the new execution `by` does, by name.
    async fn successful_jobs(
        &self,
        id: ExecutionId,
        nodes: &[Node],
        by: ExecutionId,
    ) -> Result<BTreeMap<String, CarriedJob>> {
        // From here on, retention keeps the artifacts that it has not begun to remove.
        let loses_artifacts = self.context.refer(id, by).await?.artifacts_removed;
        let specs = self.context.specs(id).await?;
        let execution = self.context.cached_execution(id).await?;
        let children = self.context.children(nodes).await?;
        let carried_job = async |node: &Node| {
            let Ok(item) = job_of(node) else { return Ok(None) };
            let Some(spec) = specs.get(node.key.ix as usize) else { return Ok(None) };
            let from: JobId = item.carried_from.unwrap_or(spec.id);
            let shares_image = shares_image(&execution, &specs, node.key.ix);
            let is_lost = loses_artifacts && from == spec.id && needs_artifacts(&spec.planned, shares_image);
            let has_failed_child = spec.planned.surroundings.waits_for_child()
                && item
                    .child
                    .and_then(|id| children.get(&id))
                    .is_none_or(|child| child.state.status != ExecutionStatus::Success);
            if item.job.status != JobStatus::Success
                || has_failed_child
                || is_lost
                || !has_carried_artifacts(&self.context, &spec.planned, shares_image, from).await?
            {
                return Ok(None);
            }
            let (_, attempt) = item.counted_attempt(from);
            let (log_bytes, state) = (item.log_bytes, item.job.clone());
            let job = CarriedJob { from, attempt, log_bytes, state, child: item.child };
            Ok(Some((node.spec.name.clone(), job)))
        };
        let mut carried = BTreeMap::new();
        for nodes in nodes.chunks(CONCURRENT_READS) {
            let jobs: Vec<Option<_>> = try_join_all(nodes.iter().map(carried_job)).await?;
            carried.extend(jobs.into_iter().flatten());
        }
        Ok(carried)
    }
}

fn is_requested(job: &PlannedJob, request: &RetryRequest) -> bool {
    request.jobs.iter().any(|name| job.has_name(name))
}

/// Returns the names of the jobs that a retry of some jobs alone leaves out: those that are neither requested nor carried over.
fn jobs_to_leave_out(
    plan: &Plan,
    carried: &BTreeMap<String, CarriedJob>,
    request: &RetryRequest,
) -> Result<Vec<String>> {
    let is_left_out = |job: &&PlannedJob| !is_requested(job, request) && !carried.contains_key(&job.name);
    let names: Vec<String> = plan.jobs.iter().filter(is_left_out).map(|job| job.name.clone()).collect();
    if names.len() > MAX_LEFT_OUT {
        return Err(Error::Invalid(format!(
            "{} jobs that are needed did not succeed, more than {MAX_LEFT_OUT}, the limit for a retry with `alone`; retry without it",
            names.len()
        )));
    }
    Ok(names)
}
