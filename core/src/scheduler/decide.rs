//! Decides about jobs with conditions on outputs, and about jobs that need such jobs: pure functions of the records.
//!
//! The outcome is the same however often it is computed, because nodes that have ended do not change.

use super::next_step::{
    APPROVAL_CLOSED, CONDITION_NOT_MET, NextStep, blocked_after, blocker_name, open_gate, release,
};
use crate::condition::Outputs;
use crate::execution::{
    failure::{FailureKind, FailureReason, is_left_out},
    status::JobStatus,
};
use crate::pipeline::When;
use crate::plan::{DueCondition, DueRule, Plan, PlannedJob};
use crate::records::{DecidedBy, Node, NodeBody};
use crate::time::Timestamp;

/// Maximum number of characters of a condition in the reason of a skip.
const MAX_SHOWN: usize = 200;

/// Returns what decides about the jobs of a plan when they are due, besides how their dependencies ended, in the jobs' order.
pub(super) fn decided_by(plan: &Plan) -> Vec<Option<DecidedBy>> {
    let mut decided: Vec<Option<DecidedBy>> = Vec::with_capacity(plan.jobs.len());
    // Each job comes after all that it needs.
    for (ix, job) in (0..).zip(&plan.jobs) {
        let may_skip = |need: &u32| decided.get(*need as usize).is_some_and(Option::is_some);
        let of_needs = job.after_stages.is_none() && job.needs_jobs.iter().any(may_skip);
        let own = job.condition.as_ref().map(|_| DecidedBy::Condition(ix));
        decided.push(own.or_else(|| of_needs.then_some(DecidedBy::Needs)));
    }
    decided
}

/// Returns the indices of the nodes that [`decide`] reads for a job: its needs, and the jobs whose outputs its condition refers to.
#[must_use]
pub fn nodes_to_decide(job: &PlannedJob) -> Vec<u32> {
    let needs = job.needs_jobs.iter().copied().filter(|_| job.after_stages.is_none());
    let providers = job.condition.iter().flat_map(DueCondition::provider_indices);
    let mut nodes: Vec<u32> = needs.chain(providers).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// Returns the indices of the gates that [`decide`] reads besides `nodes`: those of the awaited children of needs.
#[must_use]
pub fn child_gates(nodes: &[Node]) -> Vec<u32> {
    nodes.iter().filter_map(|node| node.spec.child_gate).collect()
}

/// Whether the jobs whose outputs decide about `job` have ended, according to `nodes`, and if so whether it runs. `None`: not yet.
#[must_use]
pub fn condition_holds(job: &PlannedJob, nodes: &[Node]) -> Option<bool> {
    let Some(condition) = &job.condition else { return Some(true) };
    let has_ended =
        |ix: u32| find(nodes, ix).is_some_and(|node| node.state.status().is_some_and(JobStatus::is_terminal));
    condition.provider_indices().all(has_ended).then(|| condition.decide(&outputs(job, nodes)).0)
}

/// Returns the step of the due `node`, which is that of `job` or the gate before it. `nodes` are those of [`nodes_to_decide`] and their
/// [`child_gates`], by index.
#[must_use]
pub fn decide(node: &Node, job: &PlannedJob, nodes: &[Node], now: Timestamp) -> NextStep {
    let decision = job.condition.as_ref().map(|condition| condition.decide(&outputs(job, nodes)));
    let item = match &node.state.body {
        NodeBody::Job(item) => item,
        NodeBody::Gate { .. } => {
            let transition = open_gate(node, now);
            return match (&node.spec.closing, decision) {
                (Some(closing), Some((false, _))) => NextStep::CloseApprovals {
                    gates: closing.gates.clone(),
                    from: CONDITION_NOT_MET.to_owned(),
                    transition,
                },
                _ => NextStep::Apply(transition),
            };
        }
        NodeBody::End => return NextStep::CheckEnd,
    };
    let (failed, left_out) = outcomes(node, job, nodes);
    let runs_after_success = matches!(node.spec.when, When::OnSuccess | When::Manual);
    let reason = match (blocked_after(node, failed), left_out, decision) {
        (Some(reason), ..) => Some(reason),
        (None, Some(need), _) if runs_after_success => {
            let message = format!("skipped: `{}` was skipped by a condition", blocker_name(need));
            Some(FailureReason::new(FailureKind::ConditionNotMet, message))
        }
        (None, _, Some((false, rule))) => Some(not_met(job, rule)),
        // Its approval was closed.
        (None, ..) if runs_after_success => blocked_after(node, node.failed > 0),
        (None, ..) => None,
    };
    release(node, item, reason, now)
}

/// Whether a dependency of the job failed, and the name of a need that a condition skipped.
fn outcomes<'a>(node: &Node, job: &PlannedJob, nodes: &'a [Node]) -> (bool, Option<&'a str>) {
    if job.after_stages.is_some() {
        // A stage has failed if its gate arrived as failed; skips by conditions are none.
        return (node.failed > 0 && !is_closed(node), None);
    }
    let (mut failed, mut left_out) = (false, None);
    for need in job.needs_jobs.iter().filter_map(|ix| find(nodes, *ix)) {
        let NodeBody::Job(item) = &need.state.body else { continue };
        if is_left_out(item.job.status, item.job.failure.as_ref()) {
            left_out.get_or_insert(need.spec.name.as_str());
        } else {
            let gate = need.spec.child_gate.and_then(|ix| find(nodes, ix));
            let child_failed = gate.is_some_and(|gate| gate.failed > 0 && !gate.spec.allow_failure);
            failed |= match item.job.status {
                JobStatus::Success => child_failed,
                _ => !item.job.releases_dependents(need.spec.allowed()),
            };
        }
    }
    (failed, left_out)
}

/// Whether the first failed arrival at a node was no failure, but a condition that skipped a job or the end of an approval.
fn is_closed(node: &Node) -> bool {
    node.blocker.as_deref().is_none_or(|from| [CONDITION_NOT_MET, APPROVAL_CLOSED].contains(&from))
}

fn not_met(job: &PlannedJob, rule: Option<&DueRule>) -> FailureReason {
    let shown = |text: &str| text.trim().chars().take(MAX_SHOWN).collect::<String>();
    let message = match (rule, job.condition.as_ref().map(|condition| &*condition.rules)) {
        (Some(rule), _) => format!("skipped: `{}` holds", shown(&rule.text)),
        (None, Some([rule])) => format!("skipped: `{}` does not hold", shown(&rule.text)),
        (None, rules) => {
            let count = rules.map_or(0, <[DueRule]>::len);
            format!("skipped: none of its {count} conditions on outputs holds")
        }
    };
    FailureReason::new(FailureKind::ConditionNotMet, message)
}

/// Returns the outputs of the jobs that the condition of `job` refers to. Of several variants, later ones win.
fn outputs(job: &PlannedJob, nodes: &[Node]) -> Outputs {
    let mut outputs = Outputs::new();
    for (name, providers) in job.condition.iter().flat_map(|condition| &condition.providers) {
        let of_job = outputs.entry(name.clone()).or_default();
        for node in providers.iter().filter_map(|ix| find(nodes, *ix)) {
            if let NodeBody::Job(item) = &node.state.body {
                of_job.extend(item.job.outputs.clone());
            }
        }
    }
    outputs
}

/// Returns the node with this index; they are in order.
fn find(nodes: &[Node], ix: u32) -> Option<&Node> {
    let at = nodes.binary_search_by_key(&ix, |node| node.key.ix).ok()?;
    nodes.get(at)
}
