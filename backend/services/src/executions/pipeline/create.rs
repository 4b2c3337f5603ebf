//! Records new executions: once for each key, with what can start at once.

use super::{group::Group, hold::is_recorded_while_held, service::PipelineExecutionService};
use crate::{
    error::{Error, Result},
    executions::idempotency_keys::Key,
    ports::{
        Commit, Deadline, ExecutionRecord, ExecutionSpec, ExecutionState, GroupPosition, KeyRecord,
        LabelRequirement, NewNode, NodeKey, QueuedJob, Write,
    },
};
use std::{collections::BTreeMap, sync::Arc};
use tidemill_core::execution::status::{ExecutionStatus, JobStatus};
use tidemill_core::pipeline::labels::queue_name;
use tidemill_core::{
    api::ExecuteReply,
    guarded,
    plan::Plan,
    scheduler::{CarriedJob, NewExecution, StartConditions, new_execution},
};

/// Somebody else writes to the same records at most so often.
const MAX_ATTEMPTS: u32 = 100;
/// How long an execution waits for an approval, where its pipeline has no `timeout`: 30 days.
const APPROVAL_TIMEOUT_MS: i64 = 30 * 86_400_000;

/// What an idempotency key stands for.
enum KeyLookup {
    /// Nothing yet.
    Nothing,
    /// An execution that answers the request.
    Answers(Box<ExecutionRecord>),
    /// An execution that does not, and that a new one replaces.
    Replaceable(tidemill_core::ids::ExecutionId),
}

/// How a new execution is recorded.
pub(crate) struct CreateOptions {
    /// The key that it is recorded under.
    pub key: Option<Key>,
    /// Hash of the request, which the key stands for.
    pub request: String,
    /// Its concurrency group.
    pub group: Option<Group>,
    /// Whether somebody must approve it before anything of it runs.
    pub hold: bool,
    /// Names of manual jobs that are approved already.
    pub approved: Vec<String>,
}

impl PipelineExecutionService {
    pub(crate) async fn create(
        &self,
        plan: Plan,
        mut spec: ExecutionSpec,
        carried: BTreeMap<String, CarriedJob>,
        options: CreateOptions,
    ) -> Result<ExecuteReply> {
        let CreateOptions { key, request, group, hold, approved } = options;
        spec.jobs = u32::try_from(plan.jobs.len()).unwrap_or(u32::MAX);
        spec.carried = (0..spec.jobs)
            .zip(&plan.jobs)
            .filter_map(|(ix, job)| carried.get(&job.name).map(|kept| (ix, kept.from)))
            .collect();
        for LabelRequirement { labels, .. } in &spec.demands {
            if !self.context.stores.queue.serves(labels) {
                let labels = queue_name(labels);
                return Err(Error::Invalid(format!(
                    "no queue of this deployment is for jobs with `runs_on` {labels}; its operator can add one"
                )));
            }
        }
        let (id, repo, pipeline_name) = (spec.id, spec.repo.clone(), spec.pipeline_name.clone());
        for _ in 0..MAX_ATTEMPTS {
            let mut writes = Vec::new();
            if let Some(key) = &key {
                let if_execution = match self.look_up(key, &request).await? {
                    KeyLookup::Answers(execution) => return Ok(reply(&execution, true)),
                    KeyLookup::Replaceable(before) => Some(before),
                    KeyLookup::Nothing => None,
                };
                let record = KeyRecord { execution: id, request: request.clone() };
                writes.push(Write::PutKey { key: key.name.clone(), if_execution, record });
            }
            let mut superseded = None;
            let mut older = None;
            if let Some(group) = &group {
                let newest = self.newest_of(group, id, &mut writes).await?;
                if group.cancel_superseded {
                    superseded = newest.filter(|newest| !newest.state.cancel_requested);
                    if let Some(newest) = &superseded {
                        writes.extend(self.cancel_writes(newest, Some(id)).await?);
                    }
                } else {
                    older = newest;
                }
            }
            let conditions = StartConditions {
                needs_approval: hold,
                waits_for_group: older.is_some(),
                approved: &approved,
            };
            let made = new_execution(&plan, id, &carried, conditions, spec.created_at);
            if let Some(group) = group.as_ref().filter(|group| !group.cancel_superseded) {
                let after = older.as_ref().map(|older| older.spec.id).zip(made.group_gate);
                spec.group = Some(GroupPosition { group: group.key.clone(), after });
            }
            if let (Some(older), Some(gate)) = (&older, made.group_gate) {
                let state = ExecutionState { followed_by: Some((id, gate)), ..older.state.clone() };
                writes.push(Write::PutExecution { id: older.spec.id, if_version: older.version, state });
            }
            let over: Vec<u32> = (spec.jobs..)
                .zip(made.nodes.iter().skip(plan.jobs.len()))
                .filter(|(_, node)| node.due_at.is_some())
                .map(|(ix, _)| ix)
                .collect();
            let (create, ready, state) = recording(&mut spec, made);
            writes.insert(0, create);
            if let Commit::Done(done) = self.context.stores.records.commit(writes).await? {
                if !spec.held {
                    self.context.keep_specs(id, plan);
                }
                let run_number = done.run_number;
                self.context.cache_execution(Arc::new(ExecutionRecord {
                    spec,
                    run_number,
                    state,
                    version: 1,
                }));
                // Recorded is promised; should this fail, the sweep sends what is queued.
                if let Err(error) = self.context.send(id, &ready).await {
                    tracing::warn!(execution = %id, %error, "the sweep sends its jobs");
                }
                if !over.is_empty()
                    && let Err(error) = self.context.advance(id, over).await
                {
                    tracing::warn!(execution = %id, %error, "the sweep ends it");
                }
                if let Some(older) = superseded
                    && let Err(error) = Box::pin(self.cancel_jobs_of(&older)).await
                {
                    tracing::warn!(execution = %older.spec.id, %error, "the sweep cancels its jobs");
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
        Err(Error::Conflict("the same execution is asked for too often at once; try again".into()))
    }

    /// What a key stands for.
    async fn look_up(&self, key: &Key, request: &str) -> Result<KeyLookup> {
        let Some(record) = self.context.stores.records.key(&key.name).await? else {
            return Ok(KeyLookup::Nothing);
        };
        if key.lasts && record.request != request {
            // Neither the key nor what was made under it: the words are the same for whoever asks.
            return Err(Error::KeyReused(
                "this idempotency key was used before for another request; use a new key for each request"
                    .into(),
            ));
        }
        // A record may be removed before its key.
        let execution = self.context.stores.records.execution(record.execution).await?;
        let answers = |execution: &ExecutionRecord| {
            key.lasts || !(execution.state.status.is_terminal() || execution.state.cancel_requested)
        };
        Ok(match execution.filter(answers) {
            Some(execution) => KeyLookup::Answers(Box::new(execution)),
            None => KeyLookup::Replaceable(record.execution),
        })
    }
}

/// The write that records an execution with these nodes, the jobs that can start, and its state. Of one that is held only what opens
/// from outside is recorded, and its end.
fn recording(spec: &mut ExecutionSpec, made: NewExecution) -> (Write, Vec<QueuedJob>, ExecutionState) {
    let NewExecution { mut nodes, approvals, group_gate } = made;
    spec.end_node = u32::try_from(nodes.len() - 1).unwrap_or(u32::MAX);
    if spec.deadline.is_none() && !approvals.is_empty() {
        spec.deadline =
            Some(Deadline { at: spec.created_at.plus_ms(APPROVAL_TIMEOUT_MS), is_timeout: false });
    }
    spec.approvals = approvals;
    let deadline = guarded!(DeadlineMakesDue, spec.deadline, without None);
    if let (Some(end), Some(deadline)) = (nodes.last_mut(), deadline) {
        end.due_at = Some(end.due_at.map_or(deadline.at, |at| at.min(deadline.at)));
    }
    let state = ExecutionState {
        status: ExecutionStatus::Pending,
        start_time: None,
        end_time: None,
        cancel_requested: false,
        unplanned: spec.held,
        superseded_by: None,
        timed_out: false,
        followed_by: None,
    };
    let execution = spec.id;
    let ready = (0..spec.jobs)
        .filter(|ix| nodes[*ix as usize].state.status() == Some(JobStatus::Queued))
        .map(|ix| QueuedJob::now(NodeKey { execution, ix }))
        .collect();
    let mut nodes: Vec<(u32, NewNode)> = (0..).zip(nodes).collect();
    if spec.held {
        nodes.retain(|(ix, _)| is_recorded_while_held(spec, group_gate, *ix));
    }
    let create = Write::Create { spec: Box::new(spec.clone()), state: state.clone(), nodes };
    (create, ready, state)
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
