//! Converts records to the types of the API.

mod awaited;
mod planned_from;

pub use planned_from::{excluded_jobs, pipeline_file};

use super::assignment;
pub use super::assignment::output_providers;
use crate::{
    context::job_spec::{JobSpec, JobSpecs},
    ports::{ExecutionRecord, JobRecord, Node, NodeBody},
};
use std::collections::HashMap;
use tidemill_core::execution::{
    cost::dollars,
    failure::FailureKind,
    status::{ExecutionStatus, JobStatus},
    transition::AllowFailureRules,
};
use tidemill_core::{
    api::{Approval, ChildView, ExecutionView, JobView},
    ids::ExecutionId,
    pipeline::labels::Labels,
    plan::{DueCondition, PlannedJob},
    scheduler::{condition_holds, nodes_to_decide},
    text::substitution::expand_bounded,
};

/// Converts an execution with its jobs; those of an unapproved execution come from its plan.
pub fn execution(
    record: &ExecutionRecord,
    nodes: &[Node],
    specs: &JobSpecs,
    children: &HashMap<ExecutionId, ExecutionRecord>,
) -> ExecutionView {
    let unplanned = record.state.unplanned;
    let node = |ix: u32| nodes.binary_search_by_key(&ix, |node| node.key.ix).ok().map(|at| &nodes[at]);
    let approval = |job: Option<u32>| {
        let of = record.spec.approval_gate(job)?;
        let gate = node(of.gate);
        // The gate fails if the approval came too late.
        gate.is_none_or(|gate| gate.failed == 0)
            .then(|| if is_open(gate) { Approval::Given } else { Approval::Awaited })
    };
    let jobs = (0..).zip(specs.iter()).filter_map(|(ix, spec)| {
        if unplanned {
            let mut item = JobRecord::default();
            item.job.status = match record.state.status {
                ExecutionStatus::Success => JobStatus::Skipped,
                status if status.is_terminal() => JobStatus::Canceled,
                _ => JobStatus::Pending,
            };
            return Some(job(record.spec.id, &item, spec));
        }
        let own = node(ix)?;
        let NodeBody::Job(item) = &own.state.body else { return None };
        let mut job = job(record.spec.id, item, spec);
        if !spec.planned.due_texts.is_empty() {
            let providers = output_providers(record, specs, &spec.planned);
            let planned = with_outputs(record, (spec, item), providers.into_iter().filter_map(node));
            job.docker_image = planned.image;
            job.environment = planned.surroundings.environment;
        }
        let awaited = spec.planned.surroundings.waits_for_child();
        job.child = item.child.and_then(|id| children.get(&id)).map(|of| child(of, awaited));
        job.tolerated |= own.is_skipped_optional();
        // A condition is decided before the approval is asked for.
        let is_decided = || {
            let read = nodes_to_decide(&spec.planned).into_iter().filter_map(node).cloned();
            condition_holds(&spec.planned, &read.collect::<Vec<_>>()) == Some(true)
        };
        if let Some(reason) =
            job.failure_reason.as_mut().filter(|reason| reason.kind == FailureKind::Canceled)
            && let Some(cause) = cancel_cause(record)
        {
            reason.message = cause;
        }
        if spec.planned.condition.is_none() || is_decided() {
            job.approval = approval(Some(ix));
        }
        Some(job)
    });
    let after = record.spec.group.as_ref().and_then(|group| group.after);
    let waits_for = after.filter(|(_, gate)| !is_open(node(*gate))).map(|(older, _)| older);
    ExecutionView {
        execution: record.summary(),
        stages: record.spec.stages.clone(),
        approval: approval(None),
        waits_for: waits_for.filter(|_| !record.state.status.is_terminal()),
        jobs: jobs.collect(),
        includes: record.spec.facts.includes.clone(),
        cost_usd: execution_cost(nodes),
        caller_may_run: false,
        pin: record.state.retention.pinned.clone(),
        next_cursor: None,
    }
}

/// Returns what the ended attempts of jobs cost, without those of a retried execution.
fn execution_cost(nodes: &[Node]) -> Option<f64> {
    let costs = nodes.iter().filter_map(|node| match &node.state.body {
        NodeBody::Job(item) if item.carried_from.is_none() => Some(item.job.cost_nano_usd),
        _ => None,
    });
    dollars(costs.fold(0, u64::saturating_add))
}

/// Returns why the jobs of an execution were canceled, if nobody requested it.
fn cancel_cause(record: &ExecutionRecord) -> Option<String> {
    match record.state.superseded_by {
        Some(newer) => Some(format!("canceled, because the newer execution {newer} superseded this one")),
        None => record.state.timed_out.then(|| "canceled at the timeout of the execution".to_owned()),
    }
}

/// Returns a job with the outputs of others in its texts, and its own ones in the address of its environment.
pub fn with_outputs<'n>(
    record: &ExecutionRecord,
    (spec, item): (&JobSpec, &JobRecord),
    providers: impl Iterator<Item = &'n Node>,
) -> PlannedJob {
    let mut variables = assignment::variables(record, spec, item.job.attempt, None);
    for provider in providers {
        if let NodeBody::Job(provider) = &provider.state.body {
            assignment::add_outputs(&mut variables, &provider.job.outputs, record);
        }
    }
    let mut planned = spec.planned.clone();
    planned.apply_outputs(&variables);
    if let Some(url) = planned.surroundings.environment.as_mut().and_then(|to| to.url.as_mut()) {
        *url = expand_bounded(url, &item.job.outputs);
    }
    planned
}

/// Whether a gate has all its arrivals.
fn is_open(gate: Option<&Node>) -> bool {
    gate.is_some_and(|gate| gate.waits_for == 0)
}

/// Converts a job.
pub fn job(execution: ExecutionId, item: &JobRecord, spec: &JobSpec) -> JobView {
    let (state, planned): (_, &PlannedJob) = (&item.job, &spec.planned);
    JobView {
        id: spec.id,
        pipeline_execution_id: execution,
        stage: planned.stage.clone(),
        job_name: planned.name.clone(),
        docker_image: planned.image.clone(),
        status: state.status,
        needs: planned.needs.clone(),
        allow_failure: planned.allow_failure,
        tolerated: state
            .is_tolerated(AllowFailureRules { any: false, exit_codes: &planned.allow_exit_codes }),
        approval: None,
        runs_on: planned.runs_on.clone(),
        unserved_labels: Labels::new(),
        environment: planned.surroundings.environment.clone(),
        attempt: state.attempt,
        attempts: state.attempts.clone(),
        queued_at: state.queued_at,
        not_before: state.not_before,
        start_time: state.started_at,
        end_time: state.ended_at,
        exit_code: state.exit_code,
        failure_reason: state.failure.clone(),
        steps: state.steps.clone(),
        phase: state.phase.clone(),
        log_bytes: item.log_bytes,
        carried_from: item.carried_from,
        waits_for_place: None,
        condition: planned.condition.as_ref().map(DueCondition::describe),
        child: None,
        after_stages: planned.after_stages.is_some_and(|stages| stages > 0),
        approvals: None,
        caller_approval: None,
    }
}

/// Converts the execution that a job started.
fn child(record: &ExecutionRecord, awaited: bool) -> ChildView {
    ChildView {
        execution_id: record.spec.id,
        pipeline_name: record.spec.pipeline_name.clone(),
        run_number: record.run_number,
        status: record.state.status,
        awaited,
    }
}
