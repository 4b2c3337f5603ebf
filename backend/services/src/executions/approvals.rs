//! Approves executions, manual jobs, and jobs of protected environments.

use super::pipeline::service::PipelineExecutionService;
use crate::{
    access::caller::Caller,
    context::service_context::Context,
    error::{Error, Result},
    ports::{ApprovalGate, Commit, ExecutionRecord, Node, NodeBody, NodeKey, NodeState, Write},
};
use std::sync::Arc;
use tidemill_core::access::protection::{
    self, ApprovalOutcome, ApprovalProgress, ApprovalRejection, Approver, EnvironmentProtection,
};
use tidemill_core::execution::{failure::FailureKind, status::JobStatus, transition::JobState};
use tidemill_core::{
    api::ApproveReply,
    ids::{ExecutionId, JobId},
    scheduler::condition_holds,
    text::substitution::first_reference,
};

/// Maximum number of attempts of a conditional write.
const MAX_ATTEMPTS: u32 = 100;

/// Service for approvals.
#[derive(Debug, Clone)]
pub struct ApprovalService {
    context: Arc<Context>,
    pipelines: PipelineExecutionService,
}

impl ApprovalService {
    pub(crate) fn new(context: Arc<Context>, pipelines: PipelineExecutionService) -> Self {
        Self { context, pipelines }
    }

    /// Approves a held execution.
    pub async fn approve_execution(&self, id: ExecutionId) -> Result<ApproveReply> {
        let execution = self.context.execution(id).await?;
        let gate = execution
            .spec
            .approval_gate(None)
            .ok_or_else(|| Error::Conflict(format!("execution {id} does not wait for an approval")))?;
        if execution.state.unplanned && self.context.is_large(execution.spec.jobs) {
            let approved = self.context.approve_held(gate_key(&execution, gate)).await?;
            if approved {
                self.context.advance_later(id, vec![gate.gate]);
            }
            return self.outcome(&execution, gate, approved).await;
        }
        // The jobs still wait for the gate. After a crash before it opens, another approval opens it.
        self.pipelines.record_held_jobs(&execution).await?;
        self.approve(&execution, gate).await
    }

    /// Approves a job; it runs once its needs have succeeded too. Nobody in particular approves it, so that a job of a protected
    /// environment must have its approvals already.
    pub async fn approve_job(&self, job: JobId) -> Result<ApproveReply> {
        let (node, execution, gate) = self.approvable(job).await?;
        let rules = self.rules_of(&node, &execution).await?;
        let given = self.context.node(gate_key(&execution, gate)).await?.state.approvals;
        if !protection::is_approved(&rules, &given) {
            return Err(Error::Conflict(format!(
                "job `{}` acts on a protected environment, and lacks approvals: {}; approve it with `tidemill approve`",
                node.spec.name,
                ApprovalProgress::new(&rules, &given).describe_missing()
            )));
        }
        self.approve(&execution, gate).await
    }

    /// Approves a job for `caller`. A job of a protected environment runs once it has the approvals that the rules require.
    pub async fn approve_job_as(&self, job: JobId, caller: &Caller) -> Result<ApproveReply> {
        let (node, execution, gate) = self.approvable(job).await?;
        let rules = self.rules_of(&node, &execution).await?;
        if rules.is_empty() {
            return self.approve(&execution, gate).await;
        }
        check_live(&execution)?;
        let outcome = self.record_approval(&node, &execution, gate, (&rules, caller)).await?;
        if !outcome.is_approved {
            let missing = rules.iter().map(|rule| rule.missing(&outcome.given)).max().unwrap_or_default();
            return Ok(ApproveReply { approved: outcome.changed, missing });
        }
        // After a crash before the gate opens, another approval opens it.
        self.approve(&execution, gate).await
    }

    /// Returns a job that waits for an approval, with the gate that the approval opens.
    async fn approvable(&self, job: JobId) -> Result<(Node, ExecutionRecord, ApprovalGate)> {
        let node = self.context.job(job).await?;
        let execution = self.context.execution(node.key.execution).await?;
        if execution.state.unplanned && !execution.spec.held {
            return Err(Error::Conflict(format!(
                "the jobs of execution {} are being recorded; try again in a moment",
                execution.spec.id
            )));
        }
        if execution.state.unplanned {
            return Err(Error::Conflict(format!(
                "execution {} waits for an approval as a whole; approve it first",
                execution.spec.id
            )));
        }
        let gate = execution.spec.approval_gate(Some(node.key.ix)).ok_or_else(|| {
            Error::Conflict(format!("job `{}` does not wait for an approval", node.spec.name))
        })?;
        if let NodeBody::Job(item) = &node.state.body
            && item.job.status.is_terminal()
        {
            return Err(Error::Conflict(too_late(&node.spec.name, &execution, &item.job)));
        }
        let planned = self.context.spec(node.key.execution, node.key.ix).await?.planned;
        if planned.condition.is_some() {
            let read = self.context.deciding_nodes(node.key.execution, &[&planned]).await?;
            if condition_holds(&planned, &read) != Some(true) {
                return Err(Error::Conflict(format!(
                    "the condition of job `{}` is decided once the jobs that it waits for have ended; approve it then",
                    node.spec.name
                )));
            }
        }
        Ok((node, execution, gate))
    }

    /// Returns the rules of the environment on which a job acts.
    async fn rules_of(&self, node: &Node, execution: &ExecutionRecord) -> Result<Vec<EnvironmentProtection>> {
        let Some(name) = self.context.environment_name(execution, node).await? else { return Ok(Vec::new()) };
        let repo = &execution.spec.repo;
        if first_reference(&name).is_some() && !self.context.protections_of(repo).await?.is_empty() {
            return Err(Error::Conflict(format!(
                "the environment of job `{}` is known once the jobs that it waits for have ended; approve it then",
                node.spec.name
            )));
        }
        self.context.protections_for(repo, &name).await
    }

    /// Records the approval of `caller` in the gate.
    async fn record_approval(
        &self,
        node: &Node,
        execution: &ExecutionRecord,
        gate: ApprovalGate,
        (rules, caller): (&[EnvironmentProtection], &Caller),
    ) -> Result<ApprovalOutcome> {
        let (spec, key) = (&execution.spec, gate_key(execution, gate));
        let approver = caller.approver(&spec.repo);
        let starter = spec.starter();
        for _ in 0..MAX_ATTEMPTS {
            let gate = self.context.node(key).await?;
            let given = &gate.state.approvals;
            let outcome = protection::approve(rules, given, approver, starter, self.context.now()).map_err(
                |rejection| {
                    rejected(rejection, &node.spec.name, approver, &ApprovalProgress::new(rules, given))
                },
            )?;
            if !outcome.changed {
                return Ok(outcome);
            }
            let state = NodeState { approvals: outcome.given.clone(), ..gate.state.clone() };
            let put = Write::PutNode { key, if_version: gate.version, state, due_at: gate.due_at };
            if let Commit::Done(_) = self.context.stores.records.commit(vec![put]).await? {
                return Ok(outcome);
            }
        }
        Err(Error::Conflict(format!("job `{}` changes too fast to be approved; try again", node.spec.name)))
    }

    async fn approve(&self, execution: &ExecutionRecord, gate: ApprovalGate) -> Result<ApproveReply> {
        let id = execution.spec.id;
        check_live(execution)?;
        let approved = self.context.open_gate(gate_key(execution, gate), true, "approval").await?;
        let reply = self.outcome(execution, gate, approved).await?;
        // The group may have reached this execution before the approval.
        let position = execution.spec.group.as_ref().and_then(|group| group.after);
        let gates = [gate.gate].into_iter().chain(position.map(|(_, gate)| gate)).collect();
        if approved && let Err(error) = self.context.advance(id, gates).await {
            tracing::warn!(execution = %id, %error, "cannot advance the approved execution; the sweep does");
        }
        Ok(reply)
    }

    /// Returns the reply to an approval, which opened its gate now or not. If the gate was closed for good, it is too late.
    async fn outcome(
        &self,
        execution: &ExecutionRecord,
        gate: ApprovalGate,
        approved: bool,
    ) -> Result<ApproveReply> {
        if !approved && self.context.node(gate_key(execution, gate)).await?.failed > 0 {
            return Err(Error::Conflict(format!(
                "it is too late to approve this: all other jobs of execution {} have ended, or a need failed; to run it, \
                 retry with `approve`",
                execution.spec.id
            )));
        }
        Ok(ApproveReply { approved, missing: 0 })
    }
}

fn gate_key(execution: &ExecutionRecord, gate: ApprovalGate) -> NodeKey {
    NodeKey { execution: execution.spec.id, ix: gate.gate }
}

fn check_live(execution: &ExecutionRecord) -> Result<()> {
    if !execution.state.status.is_terminal() && !execution.state.cancel_requested {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "execution {} has ended or was canceled; it is too late to approve it",
        execution.spec.id
    )))
}

/// Says how a job ended, and how to run it.
fn too_late(name: &str, execution: &ExecutionRecord, job: &JobState) -> String {
    let reason = job.failure.as_ref();
    let message = reason.map(|reason| reason.message.as_str()).unwrap_or_default();
    let fate = match job.status {
        JobStatus::Success => "it has run and succeeded".to_owned(),
        JobStatus::Canceled => "it was canceled".to_owned(),
        JobStatus::Skipped if reason.is_some_and(|reason| reason.kind == FailureKind::NotApproved) => {
            "nobody approved it before all other jobs had ended, so it was skipped".to_owned()
        }
        JobStatus::Skipped => {
            format!("it was skipped: {}", message.strip_prefix("skipped: ").unwrap_or(message))
        }
        _ => format!("it has failed: {message}"),
    };
    let (spec, id) = (&execution.spec, execution.spec.id);
    let when = if execution.state.status.is_terminal() { "" } else { "when the execution has ended, " };
    format!(
        "job `{name}` of {} #{} was not approved, because it is too late: {fate}. To run it, {when}retry it: \
         tidemill retry {id} '{name}' --alone",
        spec.pipeline_name, execution.run_number
    )
}

/// Says why an approval does not count.
fn rejected(
    rejection: ApprovalRejection,
    job: &str,
    approver: Approver<'_>,
    progress: &ApprovalProgress,
) -> Error {
    let missing = progress.describe_missing();
    match rejection {
        ApprovalRejection::NotApprover => {
            let who = match approver {
                Approver::Person { person, .. } => {
                    format!("`{}` is not among those who approve", person.name)
                }
                Approver::Token { name, .. } => {
                    format!("no rule names token `{name}` (a token counts only where a rule says token:NAME)")
                }
            };
            Error::Forbidden(format!("job `{job}` was not approved: {who}; {missing}"))
        }
        ApprovalRejection::Starter => Error::Forbidden(format!(
            "job `{job}` was not approved: who started the execution does not approve it; {missing}"
        )),
        ApprovalRejection::TooMany => {
            Error::Conflict(format!("job `{job}` has the maximum number of approvals; {missing}"))
        }
    }
}
