//! Starts executions that discover the pipelines of a commit.

use crate::{
    context::service_context::Context,
    error::Result,
    executions::{
        discovery_plan::plan,
        idempotency_keys::{IdempotencyKey, Key},
        pipeline::{create::CreateOptions, service::PipelineExecutionService},
        request_texts,
    },
    ports::{ExecutionSpec, ExecutionTask},
    repositories::record::Repository,
};
use indexmap::IndexMap;
use std::collections::BTreeMap;
use tidemill_core::api::ExecuteReply;
use tidemill_core::execution::{assignment::Source, discovery::Discovery, facts::Facts};

/// What a discovery is to look at.
#[derive(Debug, Clone, Default)]
pub(crate) struct DiscoveryStart {
    /// What is known of it; a commit that is not known is what the discovery's ref shows.
    pub facts: Facts,
    /// What to find out.
    pub discovery: Discovery,
    /// Who caused it.
    pub by: Option<String>,
}

/// Starts executions that look at commits.
pub(crate) async fn start_discovery(
    pipelines: &PipelineExecutionService,
    context: &Context,
    at: &Repository,
    start: DiscoveryStart,
    key: IdempotencyKey<'_>,
) -> Result<ExecuteReply> {
    let DiscoveryStart { facts, discovery, by } = start;
    let plan = plan(discovery.clone());
    let spec = ExecutionSpec {
        id: context.stores.ids.execution(),
        pipeline_name: plan.pipeline_name.clone(),
        repo: at.url.clone(),
        branch: facts.branch.clone(),
        commit: facts.commit.clone(),
        source: Source::Git {
            url: at.url.clone(),
            // A ref that is to be fetched says where the commit is; a pull request's branch may be of another repository.
            branch: facts.branch.clone().filter(|_| facts.pull_request.is_none()),
            commit: facts.commit.clone().unwrap_or_default(),
            // It is registered.
            private_host: true,
        },
        stages: plan.stages.clone(),
        task: ExecutionTask::DiscoverPipelines(discovery),
        plan_digest: plan.digest(),
        held: false,
        variables: IndexMap::new(),
        trigger: facts.trigger,
        facts,
        requested_by: by.map(|by| request_texts::clean(&by)),
        retry_of: None,
        created_at: context.now(),
        jobs: 0,
        end_node: 0,
        carried: Vec::new(),
        approvals: Vec::new(),
        demands: Vec::new(),
        group: None,
        deadline: None,
        trace: None,
    };
    // The key alone says what it is: whatever is found by it answers.
    let key = Key::of(&key)?;
    let request = key.name.clone();
    let options = CreateOptions { request, key: Some(key), group: None, hold: false, approved: Vec::new() };
    Box::pin(pipelines.create(plan, spec, BTreeMap::new(), options)).await
}
