//! The auditor: sees every commit and every acknowledgement, and says what promise was broken.
//!
//! It decides nothing with the functions that it watches, but for the plan of a pipeline, from which it takes who needs whom.

use super::{
    stores::{Truth, short},
    world::World,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tidemill_backend::{
    memory::{Change, Observer},
    ports::{ExecutionRecord, Node, NodeBody},
};
use tidemill_core::{
    failure::FailureKind,
    ids::{ArtifactId, ExecutionId, JobId, LeaseToken},
    plan::Plan,
    status::{ExecutionStatus, JobStatus},
    transition::JobState,
};

/// A lease: which commit gave it, and which ended it.
struct Span {
    token: LeaseToken,
    ended: Option<u64>,
}

#[derive(Default)]
struct Known {
    commits: u64,
    plans: BTreeMap<ExecutionId, Plan>,
    executed: BTreeMap<String, ExecutionId>,
    run_numbers: BTreeMap<String, BTreeSet<u64>>,
    canceled: BTreeSet<ExecutionId>,
    jobs_canceled: BTreeSet<JobId>,
    leases: BTreeMap<JobId, Vec<Span>>,
    logged: BTreeMap<(JobId, u32), u64>,
    ended: BTreeMap<(JobId, u32), Option<FailureKind>>,
    left: BTreeMap<ArtifactId, (JobId, String)>,
    over: u64,
}

/// The auditor of one run.
pub struct Auditor {
    world: Arc<World>,
    known: Mutex<Known>,
}

/// Milliseconds as the world counts them.
pub fn ms(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// What an attempt prints from an offset on: it can be told from what every other prints.
pub fn log(job: JobId, attempt: u32, offset: u64, length: u64) -> Vec<u8> {
    let seed = job.0.as_u128() ^ u128::from(attempt);
    (offset..offset + length)
        .map(|at| {
            let mixed = (seed ^ u128::from(at)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            mixed.to_be_bytes()[2]
        })
        .collect()
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Auditor {
    pub fn new(world: Arc<World>) -> Arc<Self> {
        Arc::new(Self { world, known: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn broken(&self, words: String) {
        self.world.violation(words);
    }

    /// How many commits there were.
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    /// How many executions ended.
    pub fn over(&self) -> u64 {
        self.lock().over
    }

    /// A client got this execution for its key.
    pub fn executed(&self, key: &str, id: ExecutionId) {
        let known = *self.lock().executed.entry(key.to_owned()).or_insert(id);
        if known != id {
            self.broken(format!("5: key {key} made {known} and {id}"));
        }
    }

    pub fn canceled(&self, id: ExecutionId) {
        self.world.event(format_args!("cancel of {id} acknowledged"));
        self.lock().canceled.insert(id);
    }

    pub fn job_canceled(&self, id: JobId) {
        self.world.event(format_args!("cancel of job {id} acknowledged"));
        self.lock().jobs_canceled.insert(id);
    }

    /// So many bytes of an attempt's log were acknowledged.
    pub fn logged(&self, job: JobId, attempt: u32, bytes: u64) {
        let mut known = self.lock();
        let most = known.logged.entry((job, attempt)).or_default();
        *most = bytes.max(*most);
    }

    /// The end of an attempt was acknowledged.
    pub fn ended(&self, job: JobId, attempt: u32, failure: Option<FailureKind>) {
        self.world.event(format_args!("end of {job} attempt {attempt} acknowledged: {failure:?}"));
        self.lock().ended.insert((job, attempt), failure);
    }

    /// An artifact was acknowledged.
    pub fn left(&self, job: JobId, id: ArtifactId, sha256: &str) {
        self.lock().left.insert(id, (job, sha256.to_owned()));
    }

    /// A report with this lease was taken that was sent after so many commits.
    pub fn report_taken(&self, job: JobId, token: LeaseToken, begun: u64) {
        let known = self.lock();
        let span = known.leases.get(&job).and_then(|spans| spans.iter().find(|span| span.token == token));
        let valid = span.is_some_and(|span| span.ended.is_none_or(|ended| ended >= begun));
        drop(known);
        if !valid {
            self.broken(format!("2: a report on {job} was taken with a lease that was over"));
        }
    }

    fn job_changed(&self, old: &Node, new: &Node, nodes: &dyn Fn(ExecutionId) -> Vec<Node>) {
        let (NodeBody::Job(was), NodeBody::Job(is)) = (&old.state.body, &new.state.body) else { return };
        let (was, is) = (&was.job, &is.job);
        let at = short(new.key);
        let job = JobId::of(new.key.execution, new.key.ix);
        if was == is {
            return;
        }
        if was.status != is.status {
            self.world.event(format_args!("{at} {} -> {}", was.status, is.status));
        }
        if was.status.is_terminal() {
            self.broken(format!("1: {at} was {} and became {}", was.status, is.status));
        }
        let mut known = self.lock();
        let commits = known.commits;
        if was.lease.as_ref().map(|lease| lease.token) != is.lease.as_ref().map(|lease| lease.token) {
            let spans = known.leases.entry(job).or_default();
            if let Some(last) = spans.last_mut() {
                last.ended.get_or_insert(commits);
            }
            if let Some(lease) = &is.lease {
                let again = spans.iter().any(|span| span.token == lease.token);
                spans.push(Span { token: lease.token, ended: None });
                if again || was.lease.is_some() {
                    drop(known);
                    return self.broken(format!("2: {at} got a lease while one was valid, or a token twice"));
                }
            }
        }
        if is.attempt > was.attempt {
            let canceled = known.canceled.contains(&new.key.execution) || known.jobs_canceled.contains(&job);
            let plan = known.plans.get(&new.key.execution).cloned();
            drop(known);
            if canceled {
                self.broken(format!("8: attempt {} of {at} began after an acknowledged cancel", is.attempt));
            }
            if is.attempt != was.attempt + 1 || was.status != JobStatus::Queued {
                self.broken(format!("3: {at} began attempt {} from {}", is.attempt, was.status));
            }
            if let Some(plan) = plan {
                let all = nodes(new.key.execution);
                for need in plan.artifact_sources(new.key.ix) {
                    let held = all.get(need as usize).is_some_and(|node| has_succeeded(node, &plan));
                    if !held {
                        self.broken(format!(
                            "3: {at} began before job {need}, which it needs, had succeeded"
                        ));
                    }
                }
            }
            return;
        }
        drop(known);
        let ended = was.lease.is_some() && is.lease.is_none();
        let again = is.status == JobStatus::Queued;
        let kept = is.attempts.iter().any(|attempt| attempt.attempt == was.attempt);
        if ended && again && !kept {
            self.broken(format!("4: attempt {} of {at} is not kept", was.attempt));
        }
    }

    fn execution_changed(&self, old: &ExecutionRecord, new: &ExecutionRecord, nodes: &[Node]) {
        let (was, is) = (old.state.status, new.state.status);
        if was.is_terminal() {
            self.broken(format!("6: execution {} was {was} and was written again", old.spec.id));
        }
        if was != is {
            self.world.event(format_args!("execution {} {was} -> {is}", old.spec.id));
        }
        if is.is_terminal() {
            self.lock().over += 1;
            let wanted = final_status(nodes, new.state.cancel_requested);
            if wanted != Some(is) {
                self.broken(format!("6: execution {} ended {is}; its jobs say {wanted:?}", new.spec.id));
            }
        }
    }

    /// What must hold at the end of a run.
    pub async fn judge(&self, truth: &Truth) {
        let known = std::mem::take(&mut *self.lock());
        for (pipeline, numbers) in &known.run_numbers {
            let last = numbers.last().copied().unwrap_or(0);
            if last != numbers.len() as u64 {
                self.broken(format!("5: run numbers of {pipeline} are {numbers:?}"));
            }
        }
        for (key, id) in &known.executed {
            match truth.records.execution(*id).await {
                Ok(Some(execution)) if execution.state.status.is_terminal() => {}
                other => self.broken(format!("4, 7: execution {id} of {key} is not over: {other:?}")),
            }
        }
        let mut dead = BTreeSet::new();
        let (letters, _) = truth.records.dead_letters(None, usize::MAX - 1).await.unwrap_or_default();
        dead.extend(letters.iter().map(|letter| (letter.execution, letter.ix)));
        for id in known.plans.keys() {
            for node in truth.records.all_nodes(*id).await.unwrap_or_default() {
                self.judge_job(&node, &known, &dead);
            }
        }
        for ((job, attempt), bytes) in &known.logged {
            let read = truth.logs.read(*job, *attempt, 0, usize::MAX).await;
            let (stored, _) = read.unwrap_or_default();
            let wanted = log(*job, *attempt, 0, stored.len() as u64);
            if (stored.len() as u64) < *bytes || stored != wanted {
                let length = stored.len();
                self.broken(format!(
                    "7: of {bytes} log bytes of {job} attempt {attempt}, {length} are right"
                ));
            }
        }
        for (id, (job, sha256)) in &known.left {
            let record = truth.records.artifact(*id).await.unwrap_or_default();
            let info = truth.objects.info(&format!("artifacts/{job}/{id}")).await.unwrap_or_default();
            let stored = info.and_then(|info| info.sha256);
            if record.is_none_or(|record| record.sha256 != *sha256) || stored.as_ref() != Some(sha256) {
                self.broken(format!("7: artifact {id} of {job} is not there as it was acknowledged"));
            }
        }
    }

    fn judge_job(&self, node: &Node, known: &Known, dead: &BTreeSet<(ExecutionId, u32)>) {
        let NodeBody::Job(item) = &node.state.body else { return };
        let state: &JobState = &item.job;
        let at = short(node.key);
        if !state.status.is_terminal() {
            self.broken(format!("4: {at} is {} at the end", state.status));
        }
        if node.due_at.is_some() {
            self.broken(format!("4: {at} is over and still due"));
        }
        let job = JobId::of(node.key.execution, node.key.ix);
        for ((_, attempt), failure) in known.ended.range((job, 0)..=(job, u32::MAX)) {
            let as_said = if *attempt == state.attempt {
                match failure {
                    None => state.status == JobStatus::Success,
                    Some(_) => state.status != JobStatus::Success,
                }
            } else {
                let kept = state.attempts.iter().find(|one| one.attempt == *attempt);
                let kind = kept.and_then(|one| one.failure.as_ref()).map(|reason| reason.kind);
                failure.is_some() && (kind == *failure || kind.is_none())
            };
            if !as_said {
                self.broken(format!(
                    "7: {at} attempt {attempt} was acknowledged as {failure:?}; it is {}",
                    state.status
                ));
            }
        }
        let by_nobodys_fault = state.failure.as_ref().is_some_and(|reason| reason.kind.is_dead_letter());
        let is_dead = state.status == JobStatus::Failed && by_nobodys_fault && item.carried_from.is_none();
        let retried = known.executed.contains_key(&format!("retry-{}", node.key.execution));
        if is_dead != dead.contains(&(node.key.execution, node.key.ix)) && !retried {
            self.broken(format!("{at} ended {}, and is a dead letter: {}", state.status, !is_dead));
        }
    }
}

fn has_succeeded(node: &Node, plan: &Plan) -> bool {
    let allowed = plan.jobs[node.key.ix as usize].allow_failure;
    match node.state.status() {
        Some(JobStatus::Success) => true,
        Some(JobStatus::Failed) => allowed,
        _ => false,
    }
}

/// Said in other words than by the function that decides it; `None`: not all are over.
fn final_status(nodes: &[Node], canceled: bool) -> Option<ExecutionStatus> {
    let mut worst = ExecutionStatus::Success;
    for node in nodes {
        let Some(status) = node.state.status() else { continue };
        match status {
            JobStatus::Success => {}
            JobStatus::Failed if node.spec.allow_failure => {}
            JobStatus::Failed if !canceled => worst = ExecutionStatus::Failed,
            JobStatus::Failed | JobStatus::Canceled | JobStatus::Skipped => {
                if worst == ExecutionStatus::Success {
                    worst = ExecutionStatus::Canceled;
                }
            }
            _ => return None,
        }
    }
    Some(worst)
}

impl Observer for Auditor {
    fn committed(&self, changes: &[Change<'_>], nodes: &dyn Fn(ExecutionId) -> Vec<Node>) {
        self.lock().commits += 1;
        for change in changes {
            match change {
                Change::Made(record) => {
                    let spec = &record.spec;
                    self.world.event(format_args!("execution {} #{}", spec.id, record.run_number));
                    let plan = tidemill_core::pipeline::parse(&spec.pipeline)
                        .ok()
                        .and_then(|pipeline| Plan::new(&pipeline, &spec.variables).ok());
                    let mut known = self.lock();
                    known.plans.extend(plan.map(|plan| (spec.id, plan)));
                    let fresh = known
                        .run_numbers
                        .entry(spec.pipeline_name.clone())
                        .or_default()
                        .insert(record.run_number);
                    drop(known);
                    if !fresh {
                        self.broken(format!("5: run number {} was given twice", record.run_number));
                    }
                }
                Change::Execution { old, new } => self.execution_changed(old, new, &nodes(new.spec.id)),
                Change::Node { old, new } => self.job_changed(old, new, nodes),
            }
        }
    }
}
