//! Environments: lists them and their deployments, and stops them on request or when their time has come.

use crate::{
    access::{audit::AuditService, caller::Caller},
    context::{page::page_size, service_context::Context},
    error::{Error, Result},
    executions::{
        approvals::ApprovalService,
        deployments::{DOCUMENT_KIND, environment_key, parse_environment},
        idempotency_keys::{IdempotencyKey, RecordedKey},
        pipeline::service::PipelineExecutionService,
        planning::{plan_of, specs_of},
        request_texts,
    },
    ports::{DocumentKey, ExecutionRecord, ExecutionSpec, NodeKey, repository_key},
};
use std::sync::Arc;
use tidemill_core::execution::{
    facts::{Facts, JobSelection},
    status::JobStatus,
};
use tidemill_core::{
    api::{
        Deployment, EnvironmentList, EnvironmentQuery, ExecuteReply, RetryRequest, StopEnvironmentReply,
        StopEnvironmentRequest,
    },
    ids::{ExecutionId, JobId},
    pipeline::{EnvironmentAction, When},
    plan::PlannedJob,
    records::{EnvironmentRecord, StopRequest, StopStep},
    time::Timestamp,
};

/// Number of environments that one sweep processes; the next one continues.
const BATCH_LEN: usize = 100;
/// Maximum number of attempts of a conditional write.
const MAX_ATTEMPTS: u32 = 100;
/// Interval at which the process of one command looks again at an environment that only a server stops by itself.
const OWN_MACHINE_RECHECK_MS: i64 = 3_600_000;
/// Who stops an environment whose time has come.
const AUTO_STOP: &str = "auto stop";

/// Service for environments.
#[derive(Debug, Clone)]
pub struct EnvironmentService {
    context: Arc<Context>,
    pipelines: PipelineExecutionService,
    approvals: ApprovalService,
    audit: AuditService,
}

impl EnvironmentService {
    pub(crate) fn new(
        context: Arc<Context>,
        pipelines: PipelineExecutionService,
        approvals: ApprovalService,
        audit: AuditService,
    ) -> Self {
        Self { context, pipelines, approvals, audit }
    }

    /// Replaces the service that runs jobs again.
    pub(crate) fn with_pipelines(self, pipelines: PipelineExecutionService) -> Self {
        Self { pipelines, ..self }
    }

    /// Returns a page of the environments of a repository, ordered by name; with a `name`, that one with its deployments.
    pub async fn list(&self, query: EnvironmentQuery) -> Result<EnvironmentList> {
        if let Some(name) = &query.name {
            let found = self.context.environment(&query.repo, name).await?;
            let environments = found.iter().map(|(record, _)| record.view(true)).collect();
            return Ok(EnvironmentList { environments, next_cursor: None });
        }
        let limit = page_size(query.limit)? as usize;
        let prefix = environment_key(&query.repo, "").name;
        let after = query.cursor.as_ref().map(|cursor| format!("{prefix}{cursor}"));
        let documents = &self.context.stores.documents;
        let (page, more) = documents.list(DOCUMENT_KIND, &prefix, after.as_deref(), limit).await?;
        let records = page.iter().map(parse_environment).collect::<Result<Vec<_>>>()?;
        let next_cursor = records.last().filter(|_| more).map(|last| last.name.clone());
        Ok(EnvironmentList {
            environments: records.iter().map(|record| record.view(false)).collect(),
            next_cursor,
        })
    }

    /// Stops an environment: starts the job that its deployment names under `on_stop`, or records that it is stopped if there is none.
    /// Repeated requests start one job.
    pub async fn stop(&self, request: StopEnvironmentRequest) -> Result<StopEnvironmentReply> {
        let StopEnvironmentRequest { repo, name, requested_by } = request;
        request_texts::check_requester(requested_by.as_deref())?;
        for _ in 0..MAX_ATTEMPTS {
            let found = self.context.environment(&repo, &name).await?;
            let (record, version) =
                found.ok_or_else(|| Error::NotFound(format!("{repo} has no environment `{name}`")))?;
            match record.stop_step() {
                StopStep::AlreadyStopped => return Ok(stopped(false)),
                StopStep::Stopping(stop) => {
                    let execution = self.context.execution(stop.execution_id).await?;
                    return Ok(stopping(false, &stop.job_name, attached_reply(&execution)));
                }
                StopStep::Deploying(deployment) => {
                    return Err(Error::Conflict(format!(
                        "job `{}` of execution {} is deploying to environment `{name}`; wait for its end, or cancel it first",
                        deployment.job_name, deployment.execution_id
                    )));
                }
                StopStep::Mark => {
                    let marked = EnvironmentRecord {
                        marked_stopped_at: Some(self.context.now()),
                        stop_failure: None,
                        ..record.clone()
                    };
                    if self.context.put_environment(&marked, Some(version)).await? {
                        return Ok(stopped(true));
                    }
                }
                StopStep::RunJob(deployment, job) => {
                    return self.run_stop_job(&record, deployment, job, requested_by).await;
                }
            }
        }
        Err(Error::Conflict(format!("environment `{name}` changes too fast to be stopped; try again")))
    }

    async fn run_stop_job(
        &self,
        record: &EnvironmentRecord,
        deployment: &Deployment,
        job: &str,
        requested_by: Option<String>,
    ) -> Result<StopEnvironmentReply> {
        if let Some(execution) = self.pending_stop(record, deployment).await? {
            return Ok(stopping(false, job, attached_reply(&execution)));
        }
        let number = record.next_stop_number();
        let (name, execution) = self.start_stop_job(record, deployment, job, (number, requested_by)).await?;
        let stop = StopRequest { deployment: deployment.job_id, execution: execution.execution_id, number };
        // After a crash before this write, the next request has the same number and finds the same execution.
        let requested = |known: Option<&EnvironmentRecord>| {
            let known = known.filter(|known| known.next_stop_number() <= number)?;
            Some(EnvironmentRecord { stop: Some(stop.clone()), stop_failure: None, ..known.clone() })
        };
        self.context.change_environment(&record.repo, &record.name, requested).await?;
        Ok(stopping(!execution.attached, &name, execution))
    }

    /// Returns the live execution of an earlier request to stop the same deployment whose job has not ended.
    async fn pending_stop(
        &self,
        record: &EnvironmentRecord,
        deployment: &Deployment,
    ) -> Result<Option<ExecutionRecord>> {
        let Some(stop) = record.stop.as_ref().filter(|stop| stop.deployment == deployment.job_id) else {
            return Ok(None);
        };
        let has_ended = record.deployments.iter().any(|one| {
            one.action == EnvironmentAction::Stop
                && one.execution_id == stop.execution
                && one.status.is_terminal()
        });
        let execution = self.context.stores.records.execution(stop.execution).await?;
        Ok(execution.filter(|execution| !has_ended && !execution.state.status.is_terminal()))
    }

    /// Starts the job that stops an environment: approves it if its execution is live, otherwise runs it alone again. Returns its name
    /// and its execution.
    async fn start_stop_job(
        &self,
        record: &EnvironmentRecord,
        deployment: &Deployment,
        job: &str,
        (number, requested_by): (u32, Option<String>),
    ) -> Result<(String, ExecuteReply)> {
        let id = deployment.execution_id;
        let execution = self.context.execution(id).await?;
        let stops = |planned: &PlannedJob| {
            let environment = planned.surroundings.environment.as_ref();
            let is_own = environment
                .is_some_and(|own| own.action == EnvironmentAction::Stop && own.name == record.name);
            is_own && planned.has_name(job)
        };
        if execution.state.status.is_terminal() {
            let name = self.name_of_stop_job(&execution, stops).await?;
            let name = name.ok_or_else(|| no_stop_job(&execution, record, job))?;
            let request = RetryRequest {
                jobs: vec![name.clone()],
                alone: true,
                requested_by,
                ..RetryRequest::default()
            };
            let key = IdempotencyKey::EnvironmentStop {
                repo: &repository_key(&record.repo),
                name: &record.name,
                deployment: deployment.job_id,
                number,
            };
            let key = RecordedKey::of(&key)?;
            let reply = Box::pin(self.pipelines.retry_recorded(id, request, Some(key))).await?;
            return Ok((name, reply));
        }
        let specs = self.context.specs(id).await?;
        let found = (0..).zip(specs.iter()).find(|(_, spec)| stops(&spec.planned));
        let Some((ix, spec)) = found else {
            return Err(Error::Conflict(format!(
                "execution {id} has not ended, and job `{job}` does not take part in it; stop environment `{}` after its end",
                record.name
            )));
        };
        let node = self.context.node(NodeKey { execution: id, ix }).await?;
        let mut reply = attached_reply(&execution);
        match node.state.status() {
            Some(JobStatus::Pending) if spec.planned.when == When::Manual => {
                reply.attached = !self.approvals.approve_job(spec.id).await?.approved;
            }
            Some(status) if status.is_terminal() => {
                return Err(Error::Conflict(format!(
                    "execution {id} has not ended, and its job `{}` has; stop environment `{}` after its end",
                    spec.planned.name, record.name
                )));
            }
            // It runs without an approval.
            _ => {}
        }
        Ok((spec.planned.name.clone(), reply))
    }

    /// Returns the name of the job for which `stops` holds, also if it was not among those that the execution was asked for.
    async fn name_of_stop_job(
        &self,
        execution: &ExecutionRecord,
        stops: impl Fn(&PlannedJob) -> bool + Copy,
    ) -> Result<Option<String>> {
        let name = |planned: &PlannedJob| planned.name.clone();
        if execution.spec.facts.jobs.is_all() {
            let specs = self.context.specs(execution.spec.id).await?;
            return Ok(specs.iter().map(|spec| &spec.planned).find(|planned| stops(planned)).map(name));
        }
        let facts = Facts { jobs: JobSelection::default(), ..execution.spec.facts.clone() };
        let spec = ExecutionSpec { facts, ..execution.spec.clone() };
        let plan = move || plan_of(&spec).map(|(_, plan)| specs_of(spec.id, plan));
        let specs = self.context.compute("planning an execution", plan).await??;
        Ok(specs.iter().map(|spec| &spec.planned).find(|planned| stops(planned)).map(name))
    }

    /// Processes due environments: records how jobs ended whose reports could not, and stops environments whose time has come, except
    /// in the process of one command, which has no worker for other jobs. Returns the number of stopped ones.
    pub async fn run(&self) -> Result<usize> {
        let now = self.context.now();
        let mut count = 0;
        for due in self.context.stores.documents.due(DOCUMENT_KIND, now, BATCH_LEN).await? {
            // A failure of one environment does not affect the others.
            match self.process(&due.key, now).await {
                Ok(stopped) => {
                    self.context.backoff.succeeded(&due.key.name);
                    count += usize::from(stopped);
                }
                Err(error) => {
                    let retry_at = self.context.backoff.failed(&due.key.name, now);
                    tracing::warn!(environment = ?due.key.name, %error, %retry_at, "cannot process an environment; it is retried later");
                    self.context.postpone_if_due(&due.key, now, retry_at).await;
                }
            }
        }
        Ok(count)
    }

    async fn process(&self, key: &DocumentKey, now: Timestamp) -> Result<bool> {
        // The index of due documents may lag behind.
        let documents = &self.context.stores.documents;
        let Some(document) = documents.get(key).await? else { return Ok(false) };
        if document.due_at.is_none_or(|at| at > now) {
            return Ok(false);
        }
        let record = parse_environment(&document)?;
        for one in record.unsettled() {
            self.settle(&record, one).await?;
        }
        let Some((record, version)) = self.context.environment(&record.repo, &record.name).await? else {
            return Ok(false);
        };
        if record.auto_stop_at().is_none_or(|at| at > now) {
            // Moves the time at which it is due; another writer has done that.
            self.context.put_environment(&record, Some(version)).await?;
            return Ok(false);
        }
        if self.pipelines.is_on_own_machine() {
            let key = environment_key(&record.repo, &record.name);
            self.context.postpone_if_due(&key, now, now.plus_ms(OWN_MACHINE_RECHECK_MS)).await;
            return Ok(false);
        }
        self.stop_by_itself(&record).await
    }

    /// Records the end of a job that has ended.
    async fn settle(&self, record: &EnvironmentRecord, one: &Deployment) -> Result<()> {
        if let Some(node) = self.context.stores.records.job(one.job_id).await? {
            return self.context.record_deployment_end(node.key).await;
        }
        // Its execution was removed.
        let lost =
            Deployment { status: JobStatus::Canceled, end_time: Some(self.context.now()), ..one.clone() };
        let (repo, name) = (&record.repo, &record.name);
        self.context.change_environment(repo, name, |known| known?.with_deployment(lost.clone(), None)).await
    }

    /// Stops an environment whose time has come. If that can never succeed, this is recorded, and not tried again.
    async fn stop_by_itself(&self, record: &EnvironmentRecord) -> Result<bool> {
        let request = StopEnvironmentRequest {
            repo: record.repo.clone(),
            name: record.name.clone(),
            requested_by: Some(AUTO_STOP.to_owned()),
        };
        let (outcome, result) = match Box::pin(self.stop(request)).await {
            Ok(reply) if !reply.changed => return Ok(false),
            Ok(reply) => (stop_outcome(&reply), true),
            Err(error @ (Error::Invalid(_) | Error::NotFound(_) | Error::InvalidPipeline(_))) => {
                let why = error.report().message;
                let failed = |known: Option<&EnvironmentRecord>| {
                    let known = known?;
                    let current: JobId = known.current()?.job_id;
                    let stop_failure = Some((current, why.clone()));
                    Some(EnvironmentRecord { stop_failure, ..known.clone() })
                };
                self.context.change_environment(&record.repo, &record.name, failed).await?;
                (format!("failed: {why}"), false)
            }
            Err(error) => return Err(error),
        };
        let caller = Caller::internal(AUTO_STOP);
        self.audit.record(&caller, "environment.stop", &record.name, Some(&record.repo), &outcome).await;
        Ok(result)
    }
}

/// Describes for the audit log what a request to stop an environment did.
pub(crate) fn stop_outcome(reply: &StopEnvironmentReply) -> String {
    match &reply.execution {
        Some(ExecuteReply { execution_id, .. }) => format!("stopped by {execution_id}"),
        None => "done".to_owned(),
    }
}

fn no_stop_job(execution: &ExecutionRecord, record: &EnvironmentRecord, job: &str) -> Error {
    let id: ExecutionId = execution.spec.id;
    Error::Invalid(format!(
        "execution {id} has no job `{job}` that stops environment `{}`: its rules may exclude it; give it the rules of the job that deploys",
        record.name
    ))
}

fn stopped(changed: bool) -> StopEnvironmentReply {
    StopEnvironmentReply { changed, stopped: true, job_name: None, execution: None }
}

fn stopping(changed: bool, job: &str, execution: ExecuteReply) -> StopEnvironmentReply {
    StopEnvironmentReply {
        changed,
        stopped: false,
        job_name: Some(job.to_owned()),
        execution: Some(execution),
    }
}

fn attached_reply(execution: &ExecutionRecord) -> ExecuteReply {
    ExecuteReply {
        execution_id: execution.spec.id,
        repo: execution.spec.repo.clone(),
        run_number: execution.run_number,
        pipeline_name: execution.spec.pipeline_name.clone(),
        status: execution.state.status,
        attached: true,
    }
}
