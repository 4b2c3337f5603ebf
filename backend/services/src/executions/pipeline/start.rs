//! Starts executions of pipeline files.

use super::{
    create::CreateOptions,
    group::Group,
    identity::RunIdentity,
    planned::{PlannedRun, parse_pipeline},
    service::PipelineExecutionService,
    spec::{required_labels, timeout},
};
use crate::{
    error::{Error, Result},
    executions::{
        budget::{self, StorageBudget},
        idempotency_keys::{CallerKey, IdempotencyKey, RecordedKey},
        request_texts,
    },
    ports::{ExecutionSpec, ExecutionTask, ParentLink},
};
use indexmap::IndexMap;
use std::collections::{BTreeMap, BTreeSet};
use tidemill_core::api::{ExecuteReply, ExecuteRequest, InputsReply, InputsRequest};
use tidemill_core::execution::facts::{CommitDetails, Facts, JobSelection, PullRequest, Trigger};

/// Options of an execution that the server itself starts.
#[derive(Debug, Clone, Default)]
pub struct InternalStart {
    /// Budget for storage.
    pub allowance: StorageBudget,
    /// Verified facts.
    pub facts: Facts,
    /// Whether the execution is held until a user approves it.
    pub hold: bool,
}

/// Returns the details within their limits.
fn cleaned(details: &CommitDetails) -> CommitDetails {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    CommitDetails {
        dirty: details.dirty,
        ..CommitDetails::new(&text(&details.message), &text(&details.author))
    }
}

/// Where an execution comes from.
#[derive(Debug, Clone, Default)]
pub(crate) struct StartOrigin {
    /// The trace that it belongs to.
    pub trace: Option<String>,
    /// The job that starts it.
    pub parent: Option<ParentLink>,
}

/// Limits of a start.
pub(crate) struct StartLimits<'a> {
    /// Whether the execution is held until a user approves it.
    pub hold: bool,
    /// Budget for storage.
    pub allowance: StorageBudget,
    /// Remaining bytes for held executions. The size of this one is subtracted, even if it exists already.
    pub remaining_bytes: &'a mut u64,
}

impl PipelineExecutionService {
    /// Records an execution and queues the jobs that can start, or returns the execution that the same request has started.
    pub async fn execute(
        &self,
        mut request: ExecuteRequest,
        key: Option<CallerKey>,
        trace: Option<String>,
    ) -> Result<ExecuteReply> {
        request_texts::check_request(&request)?;
        self.source_policy.admit(&self.context, &mut request).await?;
        budget::check_paths(&request)?;
        let key = key.map(|key| key.of_repository(&request.repo)).transpose()?;
        let facts = Facts {
            trigger: request.event.unwrap_or(request.trigger),
            repo: request.repo.clone(),
            registry: None,
            schedule: None,
            branch: request.branch.clone(),
            tag: request.tag.clone(),
            commit: request.commit.clone(),
            details: cleaned(&request.commit_details),
            default_branch: request.default_branch.clone(),
            pull_request: assumed_pull_request(&request),
            changed: request.changed.clone(),
            compared: request.compared.clone(),
            files: request.files.clone(),
            variables: request.variables.clone(),
            is_assumed: request.event.is_some(),
            is_claimed: !matches!(request.trigger, Trigger::Manual | Trigger::Retry),
            jobs: JobSelection {
                only: request.jobs.clone(),
                from: request.from.clone(),
                ..JobSelection::default()
            },
            includes: request.includes.clone(),
            merge_target: request
                .default_branch
                .clone()
                .filter(|_| request.event == Some(Trigger::MergeGroup)),
            ..Facts::default()
        };
        let start = InternalStart { facts, hold: false, allowance: self.allowance() };
        Box::pin(self.start(request, start, key, trace)).await
    }

    /// Returns the inputs of a pipeline file.
    pub async fn inputs(&self, request: InputsRequest) -> Result<InputsReply> {
        let parse = move || parse_pipeline(&request.pipeline);
        let file = self.context.compute("parsing a pipeline file", parse).await??;
        Ok(InputsReply { schema: file.on.input_schema(), pipeline_name: file.name })
    }

    /// Like [`Self::execute`], with the verified facts of `start`.
    pub async fn start(
        &self,
        request: ExecuteRequest,
        start: InternalStart,
        key: Option<RecordedKey>,
        trace: Option<String>,
    ) -> Result<ExecuteReply> {
        let InternalStart { facts, hold, allowance } = start;
        let facts = self.variables.add_to(Facts { repo: request.repo.clone(), ..facts }).await?;
        let plan = move || {
            let inputs = request.inputs.iter().map(|(name, value)| (name.clone(), value.to_text())).collect();
            let run = PlannedRun::parse(&request.pipeline, facts, &inputs);
            (request, run)
        };
        let (request, run) = self.context.compute("parsing a pipeline file", plan).await?;
        let run = run?;
        let limits = StartLimits { hold, allowance, remaining_bytes: &mut { u64::MAX } };
        let origin = StartOrigin { trace, parent: None };
        Box::pin(self.start_planned(request, run, limits, key, origin)).await
    }

    /// Returns the budget of a caller.
    pub(super) fn allowance(&self) -> StorageBudget {
        if self.source_policy.snapshots { StorageBudget::OwnMachine } else { StorageBudget::Token }
    }

    /// Like [`Self::start`], with a planned file.
    pub(crate) async fn start_planned(
        &self,
        request: ExecuteRequest,
        run: PlannedRun,
        limits: StartLimits<'_>,
        key: Option<RecordedKey>,
        origin: StartOrigin,
    ) -> Result<ExecuteReply> {
        let StartOrigin { trace, parent } = origin;
        let StartLimits { hold, allowance, remaining_bytes: left } = limits;
        request_texts::check_request(&request)?;
        let PlannedRun { file, plan, facts } = run;
        budget::check(&plan, budget::request_bytes(&request), allowance)?;
        // What the repository adds may change before a caller repeats its key.
        let own = key.as_ref().filter(|key| key.is_permanent).map(|_| Facts {
            variables: request.variables.clone(),
            registry: None,
            external: BTreeSet::new(),
            ..facts.clone()
        });
        let identity = RunIdentity {
            repo: &request.repo,
            source: &request.source,
            pipeline: &request.pipeline,
            facts: own.as_ref().unwrap_or(&facts),
        };
        let (identity, reuses) = (identity.digest()?, request.reuse);
        let new_id = self.context.stores.ids.execution();
        let carried = match request.reuse {
            Some(id) => self.jobs_to_reuse(id, &request, &plan, new_id).await?,
            None => BTreeMap::new(),
        };
        let key = match key {
            None if !request.force && request.reuse.is_none() => {
                Some(RecordedKey::of(&IdempotencyKey::Derived { request: &identity })?)
            }
            key => key,
        };
        let spec = ExecutionSpec {
            id: new_id,
            pipeline_name: plan.pipeline_name.clone(),
            repo: request.repo,
            branch: request.branch,
            commit: request.commit,
            source: request.source,
            stages: plan.stages.clone(),
            task: ExecutionTask::RunPipeline { file: request.pipeline },
            plan_digest: plan.digest(),
            held: hold,
            variables: facts.variables,
            facts: Facts { variables: IndexMap::new(), path: request.file, ..facts },
            trigger: request.trigger,
            requested_by: request.requested_by,
            started_by: request.started_by,
            retry_of: None,
            created_at: self.context.now(),
            jobs: 0,
            end_node: 0,
            carried: Vec::new(),
            approved: Vec::new(),
            approvals: Vec::new(),
            demands: required_labels(&plan),
            group: None,
            deadline: timeout(&file, self.context.now()),
            trace,
            parent,
        };
        if hold {
            // The repository's own variables do not count against the pull request.
            let counted = ExecutionSpec { variables: request.variables, ..spec.clone() };
            let bytes = budget::held_bytes(&counted, &plan)?;
            *left = left.checked_sub(bytes).ok_or_else(|| {
                Error::OverBudget(format!(
                    "it needs {bytes} bytes of storage, and {left} remain of the {} KiB for all pipelines of an unapproved pull request; \
                     make its pipeline files smaller or fewer, or ask a member of the repository to push the commit to a branch",
                    budget::MAX_HELD_BYTES >> 10
                ))
            })?;
        }
        let group = self.group_of_child(Group::of(&file, &spec)?, spec.parent.as_ref()).await?;
        let is_child = spec.parent.is_some();
        let approved = Vec::new();
        let options = CreateOptions { key, request: identity, group, hold, approved, is_child, reuses };
        Box::pin(self.create(plan, spec, carried, options)).await
    }
}

/// Returns the pull request that conditions see if a user assumes that event. It gives no rights: who may read secrets depends on
/// what started the execution.
fn assumed_pull_request(request: &ExecuteRequest) -> Option<PullRequest> {
    let target_branch = request.default_branch.clone().unwrap_or_default();
    matches!(request.event, Some(Trigger::PullRequest | Trigger::Comment))
        .then(|| PullRequest { target_branch, ..PullRequest::default() })
}
