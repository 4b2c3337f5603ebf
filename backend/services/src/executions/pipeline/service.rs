//! The service for executions, and its read operations.

use crate::{
    access::{caller::Caller, variables::VariableService},
    context::service_context::Context,
    error::{Error, Result},
    executions::{
        children::{ChildStatuses, revision_of_children},
        job_groups::JobWait,
        planning::recorded_plan_of,
        view,
    },
    ports::{ExecutionRecord, ExecutionSnapshot, Node},
    repositories::source_policy::SourcePolicy,
    storage::workers::WorkerService,
};
use std::{collections::HashMap, sync::Arc};
use tidemill_core::execution::cost::Usage;
use tidemill_core::{
    access::Scope,
    api::{ExcludedJobList, ExecutionView, PipelineFileView},
    ids::ExecutionId,
    trace::{
        context::execution_context,
        spans::{Span, execution_spans},
    },
};

/// A view of an execution with its revision.
#[derive(Debug, Clone)]
pub struct VersionedView {
    /// Number that changes with every change of the view.
    pub revision: u64,
    /// The view; `None` if the caller knows this revision.
    pub view: Option<ExecutionView>,
}

/// The records that a view shows.
pub(super) struct ViewedRecords {
    pub execution: ExecutionRecord,
    pub nodes: Vec<Node>,
    pub children: HashMap<ExecutionId, ExecutionRecord>,
}

/// Service for executions.
#[derive(Debug, Clone)]
pub struct PipelineExecutionService {
    pub(super) context: Arc<Context>,
    pub(super) source_policy: Arc<SourcePolicy>,
    /// The variables of executions.
    pub(crate) variables: VariableService,
}

impl PipelineExecutionService {
    pub(crate) fn new(context: Arc<Context>, variables: VariableService) -> Self {
        Self { context, source_policy: Arc::default(), variables }
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Whether this is the process of one command, which runs only the jobs of that command.
    pub(crate) fn is_on_own_machine(&self) -> bool {
        self.source_policy.snapshots
    }

    /// Replaces the policy for sources of requests.
    pub(crate) fn with_source_policy(self, policy: SourcePolicy) -> Self {
        Self { source_policy: Arc::new(policy), ..self }
    }

    /// Returns the revision of an execution's view, and what the view is made of unless the revision is `known`. `statuses` has those of
    /// children that have ended.
    pub(super) async fn current(
        &self,
        id: ExecutionId,
        known: Option<u64>,
        statuses: &mut ChildStatuses,
    ) -> Result<(u64, Option<ViewedRecords>)> {
        // The view has the statuses of children, which change without a change of their parent.
        let of_children = match known {
            Some(_) => self.context.children_revision(id, statuses).await?,
            None => 0,
        };
        let snapshot =
            self.context.stores.records.snapshot(id, known.map(|known| known ^ of_children)).await?;
        let ExecutionSnapshot { revision, content } =
            snapshot.ok_or_else(|| Error::NotFound(format!("there is no execution {id}")))?;
        let Some((execution, nodes)) = content else { return Ok((revision ^ of_children, None)) };
        let children = self.context.children(&nodes).await?;
        let shown: ChildStatuses = children.iter().map(|(id, child)| (*id, child.state.status)).collect();
        let revision = revision ^ revision_of_children(&nodes, &shown);
        Ok((revision, Some(ViewedRecords { execution, nodes, children })))
    }

    /// Returns an execution with its jobs. If its revision is `known`, waits for another one for at most `wait_ms`.
    pub async fn view(&self, id: ExecutionId, known: Option<u64>, wait_ms: u64) -> Result<VersionedView> {
        self.view_for(None, id, known, wait_ms).await
    }

    /// Like [`Self::view`], and the view says what `caller` may do. That is no part of its revision: who changes roles or rules sees
    /// the effect with the next change of the execution.
    pub async fn view_for(
        &self,
        caller: Option<&Caller>,
        id: ExecutionId,
        known: Option<u64>,
        wait_ms: u64,
    ) -> Result<VersionedView> {
        let mut hold = self.context.held_reply(if known.is_some() { wait_ms } else { 0 });
        let mut statuses = ChildStatuses::default();
        loop {
            let (revision, content) = self.current(id, known, &mut statuses).await?;
            if let Some(ViewedRecords { execution, nodes, children }) = content {
                let specs = self.context.specs(id).await?;
                let mut view = view::execution(&execution, &nodes, &specs, &children);
                self.context.add_approvals(&execution, &nodes, &mut view, caller).await?;
                view.caller_may_run = caller.is_some_and(|caller| caller.may_run_in(&execution.spec.repo));
                if !execution.state.status.is_terminal() {
                    let mut waits = self.context.place_waits(&execution.spec, &nodes).await?;
                    for job in &mut view.jobs {
                        match waits.remove(&job.id.ix()) {
                            Some(JobWait::Until(at)) => job.not_before = Some(at),
                            Some(JobWait::Place(wait)) => job.waits_for_place = Some(wait),
                            None => {}
                        }
                    }
                    WorkerService::new(self.context.clone()).add_unserved_labels(&mut view.jobs).await?;
                }
                return Ok(VersionedView { revision, view: Some(view) });
            }
            if !hold.changed().await {
                return Ok(VersionedView { revision, view: None });
            }
        }
    }

    /// Returns the spans of an execution; none before its end.
    pub async fn spans(&self, id: ExecutionId) -> Result<Vec<Span>> {
        let trace = self.context.cached_execution(id).await?.spec.trace.clone();
        if !execution_context(id, trace.as_deref()).sampled {
            return Ok(Vec::new());
        }
        let view = self.view(id, None, 0).await?.view;
        Ok(view.map(|view| execution_spans(&view, trace.as_deref())).unwrap_or_default())
    }

    /// Returns the pipeline file of an execution, as it was planned. Values of the repository's variables are only for those who may
    /// start executions, who read them in the list of variables as well.
    pub async fn pipeline_file(&self, id: ExecutionId, caller: &Caller) -> Result<PipelineFileView> {
        view::pipeline_file(&self.context.cached_execution(id).await?.spec, caller.has_scope(Scope::Run))
    }

    /// Returns the jobs of the pipeline file that take no part in an execution. They are planned again, as the others are.
    pub async fn excluded_jobs(&self, id: ExecutionId) -> Result<ExcludedJobList> {
        let execution = self.context.cached_execution(id).await?;
        let plan = move || recorded_plan_of(&execution.spec);
        let (_, plan) = self.context.compute("planning an execution", plan).await??;
        Ok(view::excluded_jobs(plan.left_out))
    }

    /// Returns the repository of an execution.
    pub async fn repo(&self, id: ExecutionId) -> Result<String> {
        Ok(self.context.cached_execution(id).await?.spec.repo.clone())
    }

    /// Returns the cloud resources that an execution has used so far.
    pub async fn usage(&self, id: ExecutionId) -> Result<Usage> {
        self.context.execution(id).await?;
        self.context.stores.records.usage(id).await
    }
}
