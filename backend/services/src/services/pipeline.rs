//! PipelineExecutionService: makes executions, shows, cancels and retries them.

use super::{
    admission::SourcePolicy,
    artifacts::carried_artifact_is_there,
    budget::{self, Allowance},
    context::{Context, job_of},
    create::{self, Carried, Entry, Made},
    ending::request_cancel,
    keys::{CallerKey, IdempotencyKey, Key, sha256_hex},
    page::{no_cursor, page_size},
    planning::{plan_of, same_plan_of},
    texts,
    turn::RESEND_FIRST_MS,
    view,
};
use crate::{
    error::{Error, Result},
    ports::{
        Commit, Deadline, Demand, ExecutionRecord, ExecutionSpec, ExecutionState, GroupTurn, KeyRecord,
        NewNode, Node, NodeKey, Outgoing, Whole, Write,
    },
};
use indexmap::IndexMap;
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};
use tidemill_core::{
    api::{
        CancelReply, ExecuteReply, ExecuteRequest, ExecutionList, ExecutionView, ListQuery, RetryRequest,
        Trigger,
    },
    assignment::Source,
    cost::Usage,
    facts::Facts,
    guard::{Guard, holds},
    ids::{ExecutionId, JobId},
    labels::queue_name,
    pipeline::{self, Pipeline, RunWhen},
    plan::Plan,
    status::{ExecutionStatus, JobStatus},
    time::Timestamp,
};

const MOST_TRIES: u32 = 100;
/// How long an execution waits for an approval, where its pipeline has no `timeout`: 30 days.
const APPROVAL_WITHIN_MS: i64 = 30 * 86_400_000;

/// A view, and a number that changes whenever it would.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The number.
    pub revision: u64,
    /// The view; `None`: it is as the caller knows it.
    pub view: Option<ExecutionView>,
}

/// Executions.
#[derive(Debug, Clone)]
pub struct PipelineExecutionService {
    context: Arc<Context>,
    sources: Arc<SourcePolicy>,
}

/// What identifies a run of the same thing: the request without who asked, and when.
#[derive(Serialize)]
struct Identity<'a> {
    repo: &'a str,
    commit: Option<&'a str>,
    source: &'a Source,
    pipeline: &'a str,
    variables: &'a IndexMap<String, String>,
}

impl PipelineExecutionService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, sources: Arc::default() }
    }

    /// The same, that takes sources as `policy` says.
    pub(super) fn taking(self, policy: SourcePolicy) -> Self {
        Self { sources: Arc::new(policy), ..self }
    }

    /// Records an execution and queues what can start; or finds the one that this request made, or is live already.
    pub async fn execute(
        &self,
        mut request: ExecuteRequest,
        key: Option<CallerKey>,
        trace: Option<String>,
    ) -> Result<ExecuteReply> {
        texts::check_request(&request)?;
        self.sources.admit(&self.context, &mut request).await?;
        budget::check_paths(&request)?;
        let key = key.map(|key| key.of_repository(&request.repo));
        let facts = Facts {
            trigger: request.trigger,
            branch: request.branch.clone(),
            tag: request.tag.clone(),
            commit: request.commit.clone(),
            default_branch: request.default_branch.clone(),
            pull_request: None,
            changed: request.changed.clone(),
            files: request.files.clone(),
            variables: request.variables.clone(),
        };
        let start = Start { facts, hold: false, allowance: self.allowance() };
        Box::pin(self.start(request, start, key, trace)).await
    }

    /// The same, of an execution of which `start` says what is known for sure.
    pub(crate) async fn start(
        &self,
        request: ExecuteRequest,
        start: Start,
        key: Option<Key>,
        trace: Option<String>,
    ) -> Result<ExecuteReply> {
        Box::pin(self.start_within(request, start, key, trace, &mut { u64::MAX })).await
    }

    /// How much a caller may have stored.
    fn allowance(&self) -> Allowance {
        if self.sources.snapshots { Allowance::OwnMachine } else { Allowance::Token }
    }

    /// The same, of an execution of which the facts are known for sure. What is held may have `left` bytes stored, from which it is taken, whether or not it is there already.
    pub(super) async fn start_within(
        &self,
        request: ExecuteRequest,
        Start { facts, hold, allowance }: Start,
        key: Option<Key>,
        trace: Option<String>,
        left: &mut u64,
    ) -> Result<ExecuteReply> {
        texts::check_request(&request)?;
        let file = pipeline::parse(&request.pipeline).map_err(|mistakes| {
            let values = mistakes.iter().map(|mistake| serde_json::to_value(mistake).unwrap_or_default());
            Error::InvalidPipeline(values.collect())
        })?;
        let (plan, facts) =
            Plan::of_decisive(&file, &facts).map_err(|error| Error::Invalid(error.to_string()))?;
        budget::check(&plan, budget::request_bytes(&request), allowance)?;
        let identity = hash(&Identity {
            repo: &request.repo,
            commit: request.commit.as_deref(),
            source: &request.source,
            pipeline: &request.pipeline,
            variables: &request.variables,
        });
        let derived =
            || (!request.force).then(|| IdempotencyKey::Derived { request: &identity }).map(Key::from);
        let key = key.or_else(derived);
        let spec = ExecutionSpec {
            id: self.context.stores.ids.execution(),
            pipeline_name: plan.pipeline_name.clone(),
            repo: request.repo,
            branch: request.branch,
            commit: request.commit,
            source: request.source,
            stages: plan.stages.clone(),
            pipeline: request.pipeline,
            discovery: None,
            plan_digest: plan.digest(),
            held: hold,
            variables: request.variables,
            facts: Facts { variables: IndexMap::new(), ..facts },
            trigger: request.trigger,
            requested_by: request.requested_by,
            retry_of: None,
            created_at: self.context.now(),
            jobs: 0,
            end_node: 0,
            carried: Vec::new(),
            approvals: Vec::new(),
            demands: demands(&plan),
            turn: None,
            deadline: timeout(&file, self.context.now()),
            trace,
        };
        if hold {
            let bytes = budget::held_bytes(&spec, &plan)?;
            *left = left.checked_sub(bytes).ok_or_else(|| {
                Error::OverBudget(format!(
                    "it comes to {bytes} bytes, and {left} are left of the {} KiB that all pipelines of a pull request may have stored \
                     before it is approved: make the pipeline files of the pull request smaller or fewer, or have a member of the \
                     repository push the commit to a branch of it",
                    budget::MAX_HELD_BYTES >> 10
                ))
            })?;
        }
        let group = Group::of(&file, &spec);
        let under = Under { key, request: identity, group, hold, approved: Vec::new() };
        Box::pin(self.create(plan, spec, BTreeMap::new(), under)).await
    }

    /// A new execution of the same pipeline and commit as one that is over, in which what succeeded is kept.
    pub async fn retry(
        &self,
        id: ExecutionId,
        request: RetryRequest,
        key: Option<CallerKey>,
    ) -> Result<ExecuteReply> {
        texts::check_requester(request.requested_by.as_deref())?;
        let mut old = self.context.execution(id).await?;
        if !old.state.status.is_terminal() {
            return Err(Error::Conflict(format!(
                "execution {id} is not over; wait for its end, or cancel it first"
            )));
        }
        self.sources.admit_again(&self.context, &mut old.spec.source).await?;
        let (file, plan) = plan_of(&old.spec)?;
        budget::check(&plan, old.spec.pipeline.len() as u64, self.allowance())?;
        let is_manual =
            |name: &String| plan.jobs.iter().any(|job| job.when == RunWhen::Manual && job.is_called(name));
        if let Some(name) = request.approve.iter().find(|name| !is_manual(name)) {
            return Err(Error::Invalid(format!(
                "execution {id} has no job `{name}` that waits for an approval"
            )));
        }
        let carried = if request.all || old.state.unplanned {
            BTreeMap::new()
        } else {
            self.kept(id, plan.jobs.len(), !request.approve.is_empty()).await?
        };
        // Without approvals it is what it was before there were any, so that older keys go on to fit.
        let identity = if request.approve.is_empty() {
            hash(&(id, request.all))
        } else {
            hash(&(id, request.all, &request.approve))
        };
        let key = key.map(|key| key.of_repository(&old.spec.repo));
        let spec = ExecutionSpec {
            id: self.context.stores.ids.execution(),
            trigger: Trigger::Retry,
            requested_by: request.requested_by,
            retry_of: Some(id),
            created_at: self.context.now(),
            plan_digest: plan.digest(),
            held: false,
            approvals: Vec::new(),
            demands: demands(&plan),
            turn: None,
            deadline: file.as_ref().and_then(|file| timeout(file, self.context.now())),
            ..old.spec
        };
        let group = file.as_ref().and_then(|file| Group::of(file, &spec));
        // Who may retry it has seen it, so that it is not held again.
        let under = Under { key, request: identity, group, hold: false, approved: request.approve };
        let made = Box::pin(self.create(plan, spec, carried, under)).await?;
        // Its jobs run again: nobody has to look at how they ended before.
        if let Err(error) = self.context.forget_dead_letters(id).await {
            tracing::warn!(execution = %id, %error, "its dead letters stay until they are dismissed");
        }
        Ok(made)
    }

    /// The jobs that a retry of an execution with so many jobs keeps. An error: it has nothing to run, unless it approves something.
    async fn kept(&self, id: ExecutionId, jobs: usize, approves: bool) -> Result<BTreeMap<String, Carried>> {
        let nodes = self.context.stores.records.all_nodes(id).await?;
        let carried = self.carried(id, &nodes).await?;
        if carried.len() == jobs {
            return Err(Error::Invalid(format!(
                "every job of execution {id} succeeded: there is nothing to retry; ask for `all` to run them again"
            )));
        }
        // What was skipped although all went well has nothing to do now either.
        let excused = |node: &Node| node.state.status() == Some(JobStatus::Skipped) && node.is_excused();
        let left = |node: &&Node| node.spec.job.is_some() && !carried.contains_key(&node.spec.name);
        if !approves && nodes.iter().filter(left).all(excused) {
            return Err(Error::Invalid(format!(
                "what is left of execution {id} is what was not needed, or what nobody approved: name such a job under \
                 `approve` to run it, or ask for `all`"
            )));
        }
        Ok(carried)
    }

    /// The jobs of an execution that succeeded and still have what they left, by name.
    async fn carried(&self, id: ExecutionId, nodes: &[Node]) -> Result<BTreeMap<String, Carried>> {
        let specs = self.context.specs(id).await?;
        let mut carried = BTreeMap::new();
        for node in nodes {
            let Ok(item) = job_of(node) else { continue };
            let Some(spec) = specs.get(node.key.ix as usize) else { continue };
            let from: JobId = item.carried_from.unwrap_or(spec.id);
            if item.job.status != JobStatus::Success
                || !carried_artifact_is_there(&self.context, &spec.planned, from).await?
            {
                continue;
            }
            let attempt = if item.carried_from.is_some() { item.carried_attempt } else { item.job.attempt };
            let kept = Carried { from, attempt, log_bytes: item.log_bytes, state: item.job.clone() };
            carried.insert(node.spec.name.clone(), kept);
        }
        Ok(carried)
    }

    pub(super) async fn create(
        &self,
        plan: Plan,
        mut spec: ExecutionSpec,
        carried: BTreeMap<String, Carried>,
        under: Under,
    ) -> Result<ExecuteReply> {
        let Under { key, request, group, hold, approved } = under;
        spec.jobs = u32::try_from(plan.jobs.len()).unwrap_or(u32::MAX);
        spec.carried = (0..spec.jobs)
            .zip(&plan.jobs)
            .filter_map(|(ix, job)| carried.get(&job.name).map(|kept| (ix, kept.from)))
            .collect();
        for Demand { labels, .. } in &spec.demands {
            if !self.context.stores.queue.serves(labels) {
                let labels = queue_name(labels);
                return Err(Error::Invalid(format!(
                    "no queue of this deployment is for jobs with `runs_on` {labels}; its operator can add one"
                )));
            }
        }
        let (id, repo, pipeline_name) = (spec.id, spec.repo.clone(), spec.pipeline_name.clone());
        for _ in 0..MOST_TRIES {
            let mut writes = Vec::new();
            if let Some(key) = &key {
                let if_execution = match self.known(key, &request).await? {
                    Known::Answers(execution) => return Ok(reply(&execution, true)),
                    Known::Replaceable(before) => Some(before),
                    Known::Nothing => None,
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
            let entry = Entry { hold, in_turn: older.is_some(), approved: &approved };
            let made = create::nodes(&plan, id, &carried, entry, (spec.created_at, RESEND_FIRST_MS));
            if let Some(group) = group.as_ref().filter(|group| !group.cancel_superseded) {
                let after = older.as_ref().map(|older| older.spec.id).zip(made.turn_gate);
                spec.turn = Some(GroupTurn { group: group.key.clone(), after });
            }
            if let (Some(older), Some(gate)) = (&older, made.turn_gate) {
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
                self.context.keep_shape(Arc::new(ExecutionRecord { spec, run_number, state, version: 1 }));
                // Recorded is promised; should this fail, the sweep sends what is queued.
                if let Err(error) = self.context.send(id, &ready).await {
                    tracing::warn!(execution = %id, %error, "the sweep sends its jobs");
                }
                if !over.is_empty()
                    && let Err(error) = self.context.settle(id, over).await
                {
                    tracing::warn!(execution = %id, %error, "the sweep ends it");
                }
                if let Some(older) = superseded
                    && let Err(error) = Box::pin(self.carry_out_cancel(&older)).await
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

    /// Records the jobs of an execution that somebody approves, if they are not yet. They still wait for the approval's gate.
    pub(super) async fn plan_held(&self, held: &ExecutionRecord) -> Result<()> {
        let id = held.spec.id;
        if !held.spec.held {
            return Ok(());
        }
        for _ in 0..MOST_TRIES {
            let execution = self.context.execution(id).await?;
            if !execution.state.unplanned {
                return Ok(());
            }
            if execution.state.status.is_terminal() || execution.state.cancel_requested {
                return Err(Error::Conflict(format!(
                    "execution {id} is over or canceled: it is too late to approve it"
                )));
            }
            let spec = &execution.spec;
            let (_, plan) = same_plan_of(spec)?;
            let in_turn = spec.turn.as_ref().is_some_and(|turn| turn.after.is_some());
            let entry = Entry { hold: true, in_turn, approved: &[] };
            let made = create::nodes(&plan, id, &BTreeMap::new(), entry, (spec.created_at, RESEND_FIRST_MS));
            let turn_gate = made.turn_gate;
            let missing = |(ix, _): &(u32, NewNode)| !is_recorded_while_held(spec, turn_gate, *ix);
            let nodes = (0..).zip(made.nodes).filter(missing).collect();
            let state = ExecutionState { unplanned: false, ..execution.state.clone() };
            let add = Write::AddNodes { id, if_version: execution.version, state, nodes };
            if let Commit::Done(_) = self.context.stores.records.commit(vec![add]).await? {
                self.context.keep_specs(id, plan);
                return Ok(());
            }
        }
        Err(Error::Conflict(format!("execution {id} changes too fast to be approved; try again")))
    }

    /// The execution that was the newest of the group, if it is live; adds to what is written that `id` is it now.
    async fn newest_of(
        &self,
        group: &Group,
        id: ExecutionId,
        writes: &mut Vec<Write>,
    ) -> Result<Option<ExecutionRecord>> {
        let newest = self.context.stores.records.key(&group.key).await?.map(|record| record.execution);
        let record = KeyRecord { execution: id, request: String::new() };
        writes.push(Write::PutKey { key: group.key.clone(), if_execution: newest, record });
        let Some(newest) = newest else { return Ok(None) };
        let newest = self.context.stores.records.execution(newest).await?;
        Ok(newest.filter(|newest| !newest.state.status.is_terminal()))
    }

    /// What a key stands for.
    async fn known(&self, key: &Key, request: &str) -> Result<Known> {
        let Some(record) = self.context.stores.records.key(&key.name).await? else {
            return Ok(Known::Nothing);
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
            Some(execution) => Known::Answers(Box::new(execution)),
            None => Known::Replaceable(record.execution),
        })
    }

    /// An execution with its jobs; held until its revision is another than `known`, at most `wait_ms`.
    pub async fn view(&self, id: ExecutionId, known: Option<u64>, wait_ms: u64) -> Result<Seen> {
        let records = &self.context.stores.records;
        let mut hold = self.context.hold(if known.is_some() { wait_ms } else { 0 });
        loop {
            let whole = records.whole(id, known).await?;
            let Whole { revision, content } =
                whole.ok_or_else(|| Error::NotFound(format!("there is no execution {id}")))?;
            if let Some((execution, nodes)) = content {
                let specs = self.context.specs(id).await?;
                return Ok(Seen { revision, view: Some(view::execution(&execution, &nodes, &specs)) });
            }
            if !hold.changed().await {
                return Ok(Seen { revision, view: None });
            }
        }
    }

    /// The repository of an execution.
    pub async fn repo(&self, id: ExecutionId) -> Result<String> {
        Ok(self.context.shape(id).await?.spec.repo.clone())
    }

    /// What an execution used of a cloud so far.
    pub async fn usage(&self, id: ExecutionId) -> Result<Usage> {
        self.context.execution(id).await?;
        self.context.stores.records.usage(id).await
    }

    /// Executions, newest first.
    pub async fn list(&self, query: ListQuery) -> Result<ExecutionList> {
        if let Some(cursor) = &query.cursor
            && cursor.parse::<ExecutionId>().is_err()
        {
            return Err(no_cursor(cursor));
        }
        let limit = page_size(query.limit)?;
        let filter = ListQuery { limit: Some(limit), ..query };
        let (executions, more) = self.context.stores.records.executions(&filter).await?;
        let next_cursor = executions.last().filter(|_| more).map(|last| last.spec.id.to_string());
        Ok(ExecutionList {
            executions: executions.iter().map(ExecutionRecord::summary).collect(),
            next_cursor,
        })
    }

    /// Cancels an execution: when this returns, no new attempt of it starts.
    pub async fn cancel(&self, id: ExecutionId) -> Result<CancelReply> {
        for _ in 0..MOST_TRIES {
            let execution = self.context.execution(id).await?;
            let state = &execution.state;
            if state.status.is_terminal() {
                return Ok(CancelReply { canceled: false, status: state.status.word().into() });
            }
            let first = !state.cancel_requested;
            if first {
                let writes = self.cancel_writes(&execution, None).await?;
                if let Commit::Conflict = self.context.stores.records.commit(writes.into()).await? {
                    continue;
                }
            }
            self.carry_out_cancel(&execution).await?;
            let status = self.context.execution(id).await?.state.status;
            return Ok(CancelReply { canceled: first, status: status.word().into() });
        }
        Err(Error::Conflict(format!("execution {id} changes too fast to be canceled; try again")))
    }

    /// The writes that ask for the cancel of a live execution.
    async fn cancel_writes(&self, of: &ExecutionRecord, by: Option<ExecutionId>) -> Result<[Write; 2]> {
        let key = NodeKey { execution: of.spec.id, ix: of.spec.end_node };
        let end = self.context.node(key).await?;
        Ok(request_cancel(of, &end, by, self.context.now()))
    }

    /// Cancels the jobs of an execution whose cancel is recorded.
    async fn carry_out_cancel(&self, of: &ExecutionRecord) -> Result<()> {
        self.context.cancel_jobs(of.spec.id).await?;
        self.context.settle(of.spec.id, vec![of.spec.end_node]).await
    }
}

/// What an idempotency key stands for.
enum Known {
    /// Nothing yet.
    Nothing,
    /// An execution that answers the request.
    Answers(Box<ExecutionRecord>),
    /// An execution that does not, and that a new one replaces.
    Replaceable(ExecutionId),
}

/// How an execution starts that something inside asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Start {
    /// How much may be stored.
    pub allowance: Allowance,
    /// What is known of it for sure.
    pub facts: Facts,
    /// Whether somebody must approve it before anything of it runs.
    pub hold: bool,
}

/// What a new execution is made under.
pub(super) struct Under {
    pub key: Option<Key>,
    /// Hash of the request, which the key stands for.
    pub request: String,
    pub group: Option<Group>,
    pub hold: bool,
    /// Names of manual jobs that are approved already.
    pub approved: Vec<String>,
}

/// A concurrency group of one repository.
pub(super) struct Group {
    /// The key under which the newest of it is recorded.
    key: String,
    cancel_superseded: bool,
}

impl Group {
    fn of(file: &Pipeline, spec: &ExecutionSpec) -> Option<Self> {
        let group = file.group(spec.branch.as_deref(), &spec.variables)?;
        let cancel_superseded = file.concurrency.as_ref().is_some_and(|group| group.cancel_superseded);
        // What a fork's file says must not cancel or hold up what the repository's own says.
        let hash = if spec.facts.is_from_fork() {
            hash(&(&spec.repo, "forks", &group))
        } else {
            hash(&(&spec.repo, &group))
        };
        Some(Self { key: format!("group:{hash}"), cancel_superseded })
    }
}

/// The write that records an execution with these nodes, the jobs that can start, and its state. Of one that is held only what opens
/// from outside is recorded, and its end.
fn recording(spec: &mut ExecutionSpec, made: Made) -> (Write, Vec<Outgoing>, ExecutionState) {
    let Made { mut nodes, approvals, turn_gate } = made;
    spec.end_node = u32::try_from(nodes.len() - 1).unwrap_or(u32::MAX);
    if spec.deadline.is_none() && !approvals.is_empty() {
        spec.deadline = Some(Deadline { at: spec.created_at.plus_ms(APPROVAL_WITHIN_MS), is_timeout: false });
    }
    spec.approvals = approvals;
    if let (Some(end), Some(deadline)) = (nodes.last_mut(), spec.deadline)
        && !holds(Guard::DeadlineMakesDue, false)
    {
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
        .map(|ix| Outgoing::now(NodeKey { execution, ix }))
        .collect();
    let mut nodes: Vec<(u32, NewNode)> = (0..).zip(nodes).collect();
    if spec.held {
        nodes.retain(|(ix, _)| is_recorded_while_held(spec, turn_gate, *ix));
    }
    let create = Write::Create { spec: Box::new(spec.clone()), state: state.clone(), nodes };
    (create, ready, state)
}

/// Whether a node of a held execution is recorded before that is approved.
fn is_recorded_while_held(spec: &ExecutionSpec, turn_gate: Option<u32>, ix: u32) -> bool {
    let hold = spec.approvals.iter().any(|approval| approval.job.is_none() && approval.gate == ix);
    hold || turn_gate == Some(ix) || spec.end_node == ix
}

/// What the jobs of a plan demand of their workers, where they do; neighbors that demand the same are one entry.
fn demands(plan: &Plan) -> Vec<Demand> {
    let mut demands: Vec<Demand> = Vec::new();
    for (ix, job) in (0..).zip(&plan.jobs).filter(|(_, job)| !job.runs_on.is_empty()) {
        match demands.last_mut() {
            Some(last) if last.to + 1 == ix && last.labels == job.runs_on => last.to = ix,
            _ => demands.push(Demand { from: ix, to: ix, labels: job.runs_on.clone() }),
        }
    }
    demands
}

fn timeout(file: &Pipeline, now: Timestamp) -> Option<Deadline> {
    let ms = i64::try_from(file.timeout_s?.saturating_mul(1000)).unwrap_or(i64::MAX);
    Some(Deadline { at: now.plus_ms(ms), is_timeout: true })
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

/// The SHA-256 of a value's JSON, hex.
pub(super) fn hash(value: &impl Serialize) -> String {
    sha256_hex(&serde_json::to_vec(value).unwrap_or_default())
}
