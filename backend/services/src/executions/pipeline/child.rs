//! Starts the pipeline of a job: its execution is a child of the job's.

use super::{
    group::Group,
    planned::PlannedRun,
    service::PipelineExecutionService,
    start::{StartLimits, StartOrigin},
};
use crate::{
    context::{job_spec::JobSpec, service_context::job_of},
    error::{Error, Result},
    executions::{
        assignment,
        budget::StorageBudget,
        idempotency_keys::{IdempotencyKey, RecordedKey},
    },
    ports::{ExecutionRecord, ExecutionTask, Node, ParentLink},
};
use indexmap::IndexMap;
use tidemill_core::{
    api::{ExecuteReply, ExecuteRequest, Trigger},
    execution::{
        discovery::{ChildReply, ChildReport},
        facts::{Facts, JobSelection},
        status::JobStatus,
    },
    pipeline::{self, ChildPipeline, MAX_CHILD_DEPTH, MAX_DESCENDANTS, descendants_of_child},
    plan::Plan,
    trace::context::job_context,
};

/// Maximum number of lines about the errors of a file.
const MAX_LINES: usize = 20;
/// Maximum length of a line of a reply, in characters.
const MAX_LINE_CHARS: usize = 600;

impl PipelineExecutionService {
    /// Starts the pipeline that the worker of a job read. Idempotent: a job starts one child, in whichever attempt.
    pub async fn start_child(&self, report: ChildReport) -> Result<ChildReply> {
        let node = self.context.job(report.job_id).await?;
        let item = job_of(&node)?;
        if !item.job.is_leased_to(report.lease) {
            return Err(Error::LeaseLost(format!(
                "the lease of job {} is not valid; another worker may have the job",
                report.job_id
            )));
        }
        report.validate().map_err(|error| Error::Invalid(error.to_string()))?;
        let parent = self.context.execution(node.key.execution).await?;
        let spec = self.context.spec(node.key.execution, node.key.ix).await?;
        let Some(child) = spec.planned.surroundings.child.clone() else {
            return Err(Error::Conflict(format!("job {} starts no pipeline", report.job_id)));
        };
        if let Some(id) = item.child {
            let child = self.context.execution(id).await?;
            return Ok(started(&report.path, &child.spec.pipeline_name, child.run_number, id, true));
        }
        let specs = self.context.specs(node.key.execution).await?;
        let starting = specs.iter().filter(|spec| spec.planned.surroundings.child.is_some()).count();
        let link = link(&parent, &node, starting);
        if link.depth > MAX_CHILD_DEPTH {
            return Ok(failed(vec![format!(
                "{}: not started: a child pipeline is at most {MAX_CHILD_DEPTH} levels below the first one",
                report.path
            )]));
        }
        let variables = match self.child_variables(&parent, &spec, &child, item.job.attempt).await? {
            Ok(variables) => variables,
            Err(line) => return Ok(failed(vec![format!("{}: not started: {line}", report.path)])),
        };
        if child.repository.is_some() {
            return match Box::pin(self.start_elsewhere(&parent, &child, variables, link)).await {
                Err(Error::Conflict(why)) => self.after_conflict(&node, child.label(), why).await,
                other => other,
            };
        }
        let path = report.path.clone();
        match Box::pin(self.start_child_file(&parent, &child, report, variables, link)).await {
            Ok(ExecuteReply { execution_id, run_number, pipeline_name, attached, .. }) => {
                Ok(started(&path, &pipeline_name, run_number, execution_id, attached))
            }
            Err(Error::InvalidPipeline(diagnostics)) => Ok(failed(
                diagnostics
                    .iter()
                    .map(|one| format!("{path}: {}", one["message"].as_str().unwrap_or_default()))
                    .collect(),
            )),
            Err(
                Error::Invalid(why)
                | Error::Unprocessable(why)
                | Error::OverBudget(why)
                | Error::KeyReused(why),
            ) => Ok(failed(vec![format!("{path}: not started: {why}")])),
            Err(Error::Conflict(why)) => self.after_conflict(&node, &path, why).await,
            Err(error) => Err(error),
        }
    }

    /// Returns the reply after a conflict: a job that has ended or was canceled starts nothing. Any other conflict is over soon, so
    /// the error is one after which workers repeat their report.
    async fn after_conflict(&self, job: &Node, path: &str, why: String) -> Result<ChildReply> {
        let node = self.context.node(job.key).await?;
        let state = &job_of(&node)?.job;
        if state.status == JobStatus::Running && !state.cancel_requested {
            return Err(Error::storage("starting the pipeline of a job", Error::Conflict(why)));
        }
        Ok(failed(vec![format!("{path}: not started: {why}")]))
    }

    /// Returns the storage budget of a child: that of a commit, unless a job made the file or a user started the parent.
    fn child_allowance(&self, parent: &ExecutionRecord, child: &ChildPipeline) -> StorageBudget {
        let is_of_user = matches!(parent.spec.trigger, Trigger::Manual | Trigger::Retry);
        match self.allowance() {
            StorageBudget::Token if child.artifacts().is_empty() && !is_of_user => StorageBudget::Push,
            own => own,
        }
    }

    async fn start_child_file(
        &self,
        parent: &ExecutionRecord,
        child: &ChildPipeline,
        report: ChildReport,
        variables: IndexMap<String, String>,
        link: ParentLink,
    ) -> Result<ExecuteReply> {
        let key = RecordedKey::of(&IdempotencyKey::Child { job: report.job_id })?;
        let of = &parent.spec;
        let facts = &of.facts;
        let mut facts = Facts {
            trigger: Trigger::ParentPipeline,
            repo: of.repo.clone(),
            changed: facts.changed.clone().filter(|_| facts.has_all_changes),
            compared: report.compared,
            files: report.paths,
            variables: variables.clone(),
            jobs: JobSelection::default(),
            parent: Some(of.id),
            // They are those of the parent's file.
            inputs: IndexMap::new(),
            includes: report.includes.clone(),
            is_of_artifact: facts.is_of_artifact || !child.artifacts().is_empty(),
            ..facts.clone()
        };
        // A child has the rights of its parent: they follow from the branch and the pull request, which are the same.
        let external = self.variables.of_execution(&facts).await?;
        facts.add_external(external);
        let request = ExecuteRequest {
            pipeline: report.text,
            file: Some(report.path),
            repo: of.repo.clone(),
            branch: of.branch.clone(),
            commit: of.commit.clone(),
            source: of.source.clone(),
            variables,
            trigger: Trigger::ParentPipeline,
            requested_by: of.requested_by.clone(),
            started_by: of.started_by.clone(),
            tag: facts.tag.clone(),
            default_branch: facts.default_branch.clone(),
            includes: report.includes,
            ..ExecuteRequest::default()
        };
        let plan = move || {
            let run = PlannedRun::parse_child(&request.pipeline, facts, &request.variables);
            (request, run)
        };
        let (request, run) = self.context.compute("parsing a pipeline file", plan).await?;
        let run = run?;
        check_descendants(&run.plan, &link)?;
        let allowance = self.child_allowance(parent, child);
        let limits = StartLimits { hold: false, allowance, remaining_bytes: &mut { u64::MAX } };
        let trace = job_context(link.execution, of.trace.as_deref(), link.job).to_string();
        let origin = StartOrigin { trace: Some(trace), parent: Some(link) };
        Box::pin(self.start_planned(request, run, limits, Some(key), origin)).await
    }

    /// Returns the variables that a child gets. The inner error says why there are none.
    async fn child_variables(
        &self,
        parent: &ExecutionRecord,
        spec: &JobSpec,
        child: &ChildPipeline,
        attempt: u32,
    ) -> Result<Result<IndexMap<String, String>, String>> {
        let mut known = IndexMap::new();
        if !child.variables.is_empty() {
            let url = self.context.page_url(parent.spec.id);
            known = assignment::variables(parent, spec, attempt, url.as_deref());
            let outputs = assignment::outputs_for(&self.context, parent, &spec.planned).await?;
            assignment::add_outputs(&mut known, &outputs, parent);
        }
        assignment::child_variables(&self.context, parent, &spec.planned, child, &known).await
    }

    /// Returns the concurrency group of a child, unless an execution above it has the same one: the child is a part of that
    /// execution, which holds the group.
    pub(super) async fn group_of_child(
        &self,
        group: Option<Group>,
        parent: Option<&ParentLink>,
    ) -> Result<Option<Group>> {
        let Some(group) = group else { return Ok(None) };
        let mut above = parent.map(|parent| parent.execution);
        while let Some(id) = above {
            let ancestor = self.context.cached_execution(id).await?;
            let own = {
                let ancestor = ancestor.clone();
                let read = move || match &ancestor.spec.task {
                    ExecutionTask::RunPipeline { file } => {
                        pipeline::parse(file).ok().map(|file| Group::of(&file, &ancestor.spec))
                    }
                    ExecutionTask::DiscoverPipelines(_) => None,
                };
                self.context.compute("parsing a pipeline file", read).await?
            };
            if own.transpose()?.flatten().is_some_and(|own| own.key == group.key) {
                return Ok(None);
            }
            above = ancestor.spec.parent.as_ref().map(|parent| parent.execution);
        }
        Ok(Some(group))
    }
}

/// Returns an error if a child starts more executions than there may be below it.
pub(crate) fn check_descendants(plan: &Plan, link: &ParentLink) -> Result<()> {
    let starting = plan.jobs.iter().filter(|job| job.surroundings.child.is_some()).count();
    let allowed = link.descendants;
    if starting <= allowed as usize {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "{starting} of its jobs start a pipeline, and {allowed} may: there are at most {MAX_DESCENDANTS} executions below the first \
         one, divided among its jobs that start one"
    )))
}

/// Returns the link from the child of a job to the job. `starting`: the number of jobs of the parent that start a child.
fn link(parent: &ExecutionRecord, node: &Node, starting: usize) -> ParentLink {
    let above = parent.spec.parent.as_ref();
    let allowed = above.map_or(MAX_DESCENDANTS, |above| above.descendants);
    ParentLink {
        execution: node.key.execution,
        job: node.key.ix,
        name: node.spec.name.clone(),
        gate: node.spec.child_gate,
        depth: above.map_or(0, |above| above.depth) + 1,
        descendants: descendants_of_child(allowed, u32::try_from(starting).unwrap_or(u32::MAX)),
    }
}

pub(super) fn started(
    path: &str,
    name: &str,
    run_number: u64,
    id: tidemill_core::ids::ExecutionId,
    attached: bool,
) -> ChildReply {
    let outcome = if attached { "started before" } else { "started" };
    ChildReply { lines: vec![format!("{path}: {outcome}: {name} {run_number} ({id})")], execution: Some(id) }
}

pub(super) fn failed(mut lines: Vec<String>) -> ChildReply {
    let more = lines.len().saturating_sub(MAX_LINES);
    lines.truncate(MAX_LINES);
    for line in &mut lines {
        if let Some((end, _)) = line.char_indices().nth(MAX_LINE_CHARS) {
            line.truncate(end);
            line.push_str("...");
        }
    }
    if more > 0 {
        lines.push(format!("and {more} more errors"));
    }
    ChildReply { lines, execution: None }
}
