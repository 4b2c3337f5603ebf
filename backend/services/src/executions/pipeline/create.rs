//! Records new executions, once for each idempotency key, and queues the jobs that can start.

use super::{group::Group, service::PipelineExecutionService};
use crate::{
    error::{Error, Result},
    executions::{
        advance::recording::{RecordedNodes, end_due_at, is_recorded_first},
        idempotency_keys::RecordedKey,
    },
    ports::{
        Commit, Deadline, ExecutionRecord, ExecutionSpec, ExecutionState, GroupPosition, KeyRecord,
        LabelRequirement, NewNode, Write,
    },
};
use std::{collections::BTreeMap, sync::Arc};
use tidemill_core::execution::status::ExecutionStatus;
use tidemill_core::pipeline::labels::queue_name;
use tidemill_core::{
    api::ExecuteReply,
    ids::ExecutionId,
    plan::Plan,
    scheduler::{CarriedJob, NewExecution, StartConditions, new_execution},
};

/// Maximum number of attempts of a conditional write.
const MAX_ATTEMPTS: u32 = 100;
/// How long an execution waits for an approval if its pipeline has no `timeout`: 30 days.
const APPROVAL_TIMEOUT_MS: i64 = 30 * 86_400_000;

/// Result of looking up an idempotency key.
enum KeyLookup {
    /// The key is unused.
    Unused,
    /// The execution of the same request.
    SameRequest(Box<ExecutionRecord>),
    /// An execution that a new one replaces under the key.
    Replaceable(ExecutionId),
}

/// Options of a new execution.
pub(crate) struct CreateOptions {
    /// Idempotency key.
    pub key: Option<RecordedKey>,
    /// Hash of the request, recorded with the key.
    pub request: String,
    /// Concurrency group.
    pub group: Option<Group>,
    /// Whether the execution is held until a user approves it.
    pub hold: bool,
    /// Names of manual jobs that are approved from the start.
    pub approved: Vec<String>,
    /// Whether the job that the spec names as parent starts it.
    pub is_child: bool,
    /// The execution whose results it reuses without being its retry.
    pub reuses: Option<ExecutionId>,
}

impl PipelineExecutionService {
    pub(crate) async fn create(
        &self,
        plan: Plan,
        mut spec: ExecutionSpec,
        carried: BTreeMap<String, CarriedJob>,
        options: CreateOptions,
    ) -> Result<ExecuteReply> {
        let CreateOptions { key, request, group, hold, approved, is_child, reuses } = options;
        spec.jobs = u32::try_from(plan.jobs.len()).unwrap_or(u32::MAX);
        spec.carried = (0..spec.jobs)
            .zip(&plan.jobs)
            .filter_map(|(ix, job)| carried.get(&job.name).map(|kept| (ix, kept.from)))
            .collect();
        for LabelRequirement { labels, .. } in &spec.demands {
            if !self.context.stores.queue.serves(labels) {
                let labels = queue_name(labels);
                return Err(Error::Invalid(format!(
                    "this deployment has no queue for jobs with `runs_on` {labels}; ask its operator to add one"
                )));
            }
        }
        let (id, repo, pipeline_name) = (spec.id, spec.repo.clone(), spec.pipeline_name.clone());
        let protected = self.context.protected_jobs(&repo, &plan).await?;
        for of in [spec.retry_of, reuses].into_iter().flatten() {
            self.context.refer(of, id).await?;
        }
        let deferred = self.context.is_large(spec.jobs) && !hold;
        if deferred {
            spec.approved.clone_from(&approved);
        }
        for _ in 0..MAX_ATTEMPTS {
            let mut writes = Vec::new();
            if let Some(key) = &key {
                let if_execution = match self.look_up(key, &request).await? {
                    KeyLookup::SameRequest(execution) => return Ok(reply(&execution, true)),
                    KeyLookup::Replaceable(before) => Some(before),
                    KeyLookup::Unused => None,
                };
                let record = KeyRecord { execution: id, request: request.clone() };
                writes.push(Write::PutKey { key: key.name.clone(), if_execution, record });
            }
            if let Some(parent) = spec.parent.as_ref().filter(|_| is_child) {
                writes.push(self.context.record_child(parent, id).await?);
            }
            let mut superseded = None;
            let mut older = None;
            if let Some(group) = &group {
                let newest = self.newest_of(group, id, &mut writes).await?;
                if group.cancel_superseded {
                    superseded = newest.filter(|newest| !newest.state.cancel_requested);
                    if let Some(newest) = &superseded {
                        writes.extend(self.context.cancel_writes(newest, Some(id)).await?);
                    }
                } else {
                    older = newest;
                }
            }
            let conditions = StartConditions {
                needs_approval: hold,
                waits_for_group: older.is_some(),
                approved: &approved,
                protected: &protected,
            };
            let new = new_execution(&plan, id, &carried, conditions, spec.created_at);
            if let Some(group) = group.as_ref().filter(|group| !group.cancel_superseded) {
                let after = older.as_ref().map(|older| older.spec.id).zip(new.group_gate);
                spec.group = Some(GroupPosition { group: group.key.clone(), after });
            }
            if let (Some(older), Some(gate)) = (&older, new.group_gate) {
                let state = ExecutionState { followed_by: Some((id, gate)), ..older.state.clone() };
                writes.push(Write::PutExecution { id: older.spec.id, if_version: older.version, state });
            }
            let follows = RecordedNodes::of(id, (0..).zip(&new.nodes), self.context.now());
            let (create, state) = record_of(&mut spec, new, deferred);
            writes.insert(0, create);
            if let Commit::Done(done) = self.context.stores.records.commit(writes).await? {
                self.context.metrics.execution_started(spec.trigger);
                tracing::info!(execution = %id, "created an execution");
                if !spec.held {
                    self.context.cache_specs(id, plan);
                }
                let run_number = done.run_number;
                let end_node = spec.end_node;
                self.context.cache_execution(Arc::new(ExecutionRecord {
                    spec,
                    run_number,
                    state,
                    version: 1,
                }));
                if deferred {
                    self.context.advance_later(id, vec![end_node]);
                } else {
                    self.follow_up(id, follows).await;
                }
                if let Some(older) = superseded
                    && let Err(error) = Box::pin(self.context.cancel_jobs_of(&older)).await
                {
                    tracing::warn!(execution = %older.spec.id, %error, "cannot cancel the jobs of the superseded execution; the sweep does");
                }
                return Ok(ExecuteReply {
                    execution_id: id,
                    repo,
                    run_number: done.run_number,
                    pipeline_name,
                    status: ExecutionStatus::Pending,
                    attached: false,
                });
            }
        }
        Err(Error::Conflict("too many concurrent requests for the same execution; try again".into()))
    }

    /// Sends and advances what an execution begins with. The execution is durable: if this fails, the sweep does it.
    async fn follow_up(&self, id: ExecutionId, follows: RecordedNodes) {
        if let Err(error) = self.context.send(id, &follows.queued).await {
            tracing::warn!(execution = %id, %error, "cannot send the jobs of the execution; the sweep does");
        }
        if !follows.due.is_empty()
            && let Err(error) = self.context.advance(id, follows.due).await
        {
            tracing::warn!(execution = %id, %error, "cannot advance the execution; the sweep does");
        }
    }

    /// Looks up an idempotency key.
    async fn look_up(&self, key: &RecordedKey, request: &str) -> Result<KeyLookup> {
        let Some(record) = self.context.stores.records.key(&key.name).await? else {
            return Ok(KeyLookup::Unused);
        };
        if key.is_permanent && record.request != request {
            // The message names neither the key nor its execution, so it reveals nothing.
            return Err(Error::KeyReused(
                "this idempotency key was used before for another request; use a new key for each request"
                    .into(),
            ));
        }
        // A record may be removed before its key.
        let execution = self.context.stores.records.execution(record.execution).await?;
        let is_same_request = |execution: &ExecutionRecord| {
            key.is_permanent || !(execution.state.status.is_terminal() || execution.state.cancel_requested)
        };
        Ok(match execution.filter(is_same_request) {
            Some(execution) => KeyLookup::SameRequest(Box::new(execution)),
            None => KeyLookup::Replaceable(record.execution),
        })
    }
}

/// Returns the write that records an execution with its nodes, and its state. For a held or `deferred` execution, only the gates of
/// approval and group and the end node are recorded; the step of the end node of a deferred one records the others.
fn record_of(spec: &mut ExecutionSpec, new: NewExecution, deferred: bool) -> (Write, ExecutionState) {
    let NewExecution { mut nodes, approvals, group_gate } = new;
    spec.end_node = u32::try_from(nodes.len() - 1).unwrap_or(u32::MAX);
    if spec.deadline.is_none() && !approvals.is_empty() {
        spec.deadline =
            Some(Deadline { at: spec.created_at.plus_ms(APPROVAL_TIMEOUT_MS), is_timeout: false });
    }
    spec.approvals = approvals;
    if let Some(end) = nodes.last_mut() {
        end.due_at = if deferred { Some(spec.created_at) } else { end_due_at(end.due_at, spec.deadline) };
    }
    let unplanned = spec.held || deferred;
    let state = ExecutionState {
        status: ExecutionStatus::Pending,
        start_time: None,
        end_time: None,
        cancel_requested: false,
        unplanned,
        approved_at: None,
        superseded_by: None,
        timed_out: false,
        followed_by: None,
        retention: tidemill_core::retention::decision::RetentionState::default(),
    };
    let mut nodes: Vec<(u32, NewNode)> = (0..).zip(nodes).collect();
    if unplanned {
        nodes.retain(|(ix, _)| is_recorded_first(spec, group_gate, *ix));
    }
    let create = Write::Create { spec: Box::new(spec.clone()), state: state.clone(), nodes };
    (create, state)
}

fn reply(execution: &ExecutionRecord, attached: bool) -> ExecuteReply {
    ExecuteReply {
        execution_id: execution.spec.id,
        repo: execution.spec.repo.clone(),
        run_number: execution.run_number,
        pipeline_name: execution.spec.pipeline_name.clone(),
        status: execution.state.status,
        attached,
    }
}
