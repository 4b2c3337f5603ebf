//! Starts executions that discover the pipelines of a commit.

use super::{create::CreateOptions, service::PipelineExecutionService};
use crate::{
    context::service_context::Context,
    error::Result,
    executions::{
        discovery_plan::plan,
        idempotency_keys::{IdempotencyKey, RecordedKey},
        request_texts,
    },
    ports::{ExecutionSpec, ExecutionTask, ParentLink},
    repositories::record::Repository,
};
use indexmap::IndexMap;
use std::collections::BTreeMap;
use tidemill_core::api::ExecuteReply;
use tidemill_core::execution::{assignment::Source, discovery::Discovery, facts::Facts};
use tidemill_core::trace::context::job_context;

/// Parameters of a discovery.
#[derive(Debug, Clone, Default)]
pub(crate) struct DiscoveryStart {
    /// Facts of the commit. Without a commit, the discovery uses the one that its ref points to.
    pub facts: Facts,
    /// What to discover.
    pub discovery: Discovery,
    /// Who caused it, if known.
    pub requested_by: Option<String>,
    /// Id of the person or token that caused it, if known.
    pub started_by: Option<String>,
    /// The job that starts it.
    pub parent: Option<ParentLink>,
}

/// Starts an execution that discovers the pipelines of a commit.
pub(crate) async fn start_discovery(
    pipelines: &PipelineExecutionService,
    context: &Context,
    at: &Repository,
    start: DiscoveryStart,
    key: IdempotencyKey<'_>,
) -> Result<ExecuteReply> {
    let key = RecordedKey::of(&key)?;
    // The key alone identifies the request, so the execution found under it always matches.
    let request = key.name.clone();
    start_discovery_for(pipelines, context, at, start, (key, request)).await
}

/// Like [`start_discovery`], with a key of any kind, and the identity of the request that has it.
pub(crate) async fn start_discovery_for(
    pipelines: &PipelineExecutionService,
    context: &Context,
    at: &Repository,
    start: DiscoveryStart,
    (key, request): (RecordedKey, String),
) -> Result<ExecuteReply> {
    let DiscoveryStart { facts, discovery, requested_by: by, started_by, parent } = start;
    let is_child = parent.is_some();
    let plan = plan(discovery.clone());
    let trace = match &parent {
        Some(ParentLink { execution, job, .. }) => {
            let above = context.cached_execution(*execution).await?;
            Some(job_context(*execution, above.spec.trace.as_deref(), *job).to_string())
        }
        None => None,
    };
    let spec = ExecutionSpec {
        id: context.stores.ids.execution(),
        pipeline_name: plan.pipeline_name.clone(),
        repo: at.url.clone(),
        branch: facts.branch.clone(),
        commit: facts.commit.clone(),
        source: Source::Git {
            url: at.url.clone(),
            // The fetch ref locates the commit; the branch of a pull request may be in another repository.
            branch: facts.branch.clone().filter(|_| facts.pull_request.is_none()),
            commit: facts.commit.clone().unwrap_or_default(),
            // Registered repositories may be on a private host.
            private_host: true,
            has_credential: at.has_credential(),
        },
        stages: plan.stages.clone(),
        task: ExecutionTask::DiscoverPipelines(Box::new(discovery)),
        plan_digest: plan.digest(),
        held: false,
        variables: facts.variables,
        trigger: facts.trigger,
        facts: Facts { variables: IndexMap::new(), ..facts },
        requested_by: by.map(|by| request_texts::sanitize_name(&by)),
        started_by,
        retry_of: None,
        created_at: context.now(),
        jobs: 0,
        end_node: 0,
        carried: Vec::new(),
        approved: Vec::new(),
        approvals: Vec::new(),
        demands: Vec::new(),
        group: None,
        deadline: None,
        trace,
        parent,
    };
    let (group, approved) = (None, Vec::new());
    let options =
        CreateOptions { request, key: Some(key), group, hold: false, approved, is_child, reuses: None };
    Box::pin(pipelines.create(plan, spec, BTreeMap::new(), options)).await
}
