//! Budget of a request: how many bytes it may store. Without it, matrices, lists of needs and manual jobs could turn a few kilobytes
//! into gigabytes. The size is estimated before anything is stored, by the cost of a record in the embedded store, which compresses
//! least; `backend/sqlite/tests/growth.rs` compares the estimates with the files.

use crate::{
    error::{Error, Result},
    pack::pack,
    ports::ExecutionSpec,
};
use tidemill_core::execution::discovery::{MAX_PATH_LEN, check_compared};
use tidemill_core::scheduler::MAX_BLOCKER_BYTES;
use tidemill_core::{
    api::{ExecuteRequest, InputValue},
    pipeline::When,
    plan::{Plan, PlannedJob},
};

/// A request may store its own size times this factor,
const SIZE_FACTOR: u64 = 10;
/// plus this many bytes,
const BASE_BYTES: u64 = 64 << 10;
/// or this many, if a user who may push to the repository committed the file.
const PUSHED_BASE_BYTES: u64 = 1 << 20;
/// Maximum size of all held executions of one commit of a pull request; with the other records of the commit, this is less than 64 KiB.
pub const MAX_HELD_BYTES: u64 = 44 << 10;
/// Maximum number of commits of one pull request with held executions within a day; those of older commits are canceled, but stay
/// recorded.
pub const MAX_HELD_COMMITS: usize = 30;
/// Maximum number of such commits of all pull requests of one repository.
pub const MAX_HELD_COMMITS_OF_REPOSITORY: usize = 100;
/// Maximum number of unapproved held executions of one repository.
pub const MAX_HELD: usize = 100;

/// An execution with index entries, key and end, without its compressed spec.
const EXECUTION_BYTES: u64 = 1_700;
/// A waiting job.
const JOB_BYTES: u64 = 150;
/// Added by the end of a job: time and reason of a cancel.
const ENDED_BYTES: u64 = 120;
/// Added by a job that is skipped because a need failed, without the name of the need.
const SKIPPED_BYTES: u64 = 90;
/// Added by a job with a condition on outputs, without the condition: what decides about it, and the link to its stage's gate.
const DECIDED_BYTES: u64 = 150;
/// Added by a job that is queued at once: its message and its entry in the index of due nodes.
const QUEUED_BYTES: u64 = 216;
/// A gate.
const GATE_BYTES: u64 = 150;
/// A link from a node to another.
const LINK_BYTES: u64 = 7;

/// Maximum number of paths in a request, which is as many as the command line sends.
const MAX_PATHS: usize = 50_000;

/// Estimates the stored size of the nodes of a plan, in bytes.
fn nodes_bytes(plan: &Plan) -> u64 {
    let gates = plan.gates.iter().map(|gate| GATE_BYTES + LINK_BYTES * gate.releases.len() as u64);
    let blocker = blocker_bytes(plan);
    plan.jobs.iter().map(|job| job_bytes(job, blocker)).chain(gates).fold(0, u64::saturating_add)
}

/// Returns the maximum recorded length of the name of a job that blocks another.
fn blocker_bytes(plan: &Plan) -> u64 {
    let longest = plan.jobs.iter().map(|job| job.name.len()).max().unwrap_or_default();
    longest.min(MAX_BLOCKER_BYTES) as u64
}

/// Estimates the stored size of a job, in bytes. `blocker` is the maximum recorded length of the name of a need.
fn job_bytes(job: &PlannedJob, blocker: u64) -> u64 {
    let codes = job.allow_exit_codes.len() + job.retry_for.exit_codes.len() + 6 * job.retry_for.kinds.len();
    // It also has a link to the end node, and perhaps to a gate that closes approvals.
    let links = LINK_BYTES * (job.releases.len() as u64 + 2);
    // A protected environment adds the same gates.
    let may_wait = job.when == When::Manual || job.surroundings.environment.is_some();
    let manual = if may_wait { 2 * GATE_BYTES } else { 0 };
    let child = if job.surroundings.waits_for_child() { 2 * GATE_BYTES } else { 0 };
    let queued = if job.waits_for == 0 && job.when != When::Manual { QUEUED_BYTES } else { 0 };
    let name = job.name.len() as u64;
    // Both the reason of the skip and the node contain the name of the failed need.
    let skipped = if job.waits_for > 0 { SKIPPED_BYTES + 2 * blocker } else { 0 };
    // The reason of the skip contains the condition that decided.
    let condition = job.condition.as_ref().map_or(0, |of| DECIDED_BYTES + of.rules_bytes() as u64);
    // The reason of an unapproved job contains its name.
    let names = if job.when == When::Manual { 2 * name } else { name };
    JOB_BYTES + ENDED_BYTES + condition + queued + skipped + manual + child + names + 4 * codes as u64 + links
}

/// Origin of a request, which determines its budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StorageBudget {
    /// A request with a token.
    #[default]
    Token,
    /// A commit in the repository. Those of unapproved pull requests are limited by [`held_bytes`] too.
    Push,
    /// A command of the user who runs the server.
    OwnMachine,
}

impl StorageBudget {
    const fn base(self) -> u64 {
        match self {
            Self::Token => BASE_BYTES,
            Self::Push => PUSHED_BASE_BYTES,
            Self::OwnMachine => u64::MAX,
        }
    }
}

/// Returns an error if the plan would store more than the budget of a request of `request_bytes`.
pub fn check(plan: &Plan, request_bytes: u64, allowance: StorageBudget) -> Result<()> {
    let base = allowance.base();
    let allowed = request_bytes.saturating_mul(SIZE_FACTOR).saturating_add(base);
    // The request itself is stored compressed, and some of its texts are in indexes.
    let needed = nodes_bytes(plan).saturating_add(2 * request_bytes).saturating_add(EXECUTION_BYTES);
    if needed <= allowed {
        return Ok(());
    }
    Err(Error::OverBudget(format!(
        "the jobs of this pipeline need {needed} bytes of storage, but a request of {request_bytes} bytes may store {allowed} \
         ({SIZE_FACTOR} times its size and {} KiB): {}; use a smaller matrix or shorter values, or split the pipeline",
        base >> 10,
        largest(plan)
    )))
}

/// Describes the job of the file that needs most storage.
fn largest(plan: &Plan) -> String {
    let blocker = blocker_bytes(plan);
    let mut jobs: Vec<(&str, u64, u64)> = Vec::new();
    for job in &plan.jobs {
        let bytes = job_bytes(job, blocker);
        match jobs.last_mut() {
            // The jobs of a matrix are adjacent.
            Some((name, variants, sum)) if *name == job.base_name => {
                *variants += 1;
                *sum += bytes;
            }
            _ => jobs.push((&job.base_name, 1, bytes)),
        }
    }
    let largest = jobs.iter().max_by_key(|(_, _, bytes)| *bytes);
    largest.map_or_else(String::new, |(name, variants, bytes)| {
        format!(
            "it has {} jobs, of which the matrix of `{name}` creates {variants} with {bytes} bytes",
            plan.jobs.len()
        )
    })
}

/// Estimates the stored size of an unapproved execution: its compressed request, and the gates of approval and group.
pub fn held_bytes(spec: &ExecutionSpec, plan: &Plan) -> Result<u64> {
    // The gates of approval and group link to all jobs that could start; with `on_failure` jobs, these include some that wait.
    let has_failure_jobs = plan.jobs.iter().any(|job| job.when == When::OnFailure);
    let startable =
        plan.jobs.iter().filter(|job| has_failure_jobs || job.waits_for == 0 || job.when == When::Always);
    let links = 2 * LINK_BYTES * startable.count() as u64;
    let waits = |job: &&PlannedJob| job.when == When::Manual || job.surroundings.environment.is_some();
    let manual = plan.jobs.iter().filter(waits).count() as u64;
    let indexed = 5 * (spec.repo.len() + 2 * spec.pipeline_name.len()) as u64;
    let packed = pack(spec)?.len() as u64;
    Ok(EXECUTION_BYTES + 2 * GATE_BYTES + links + 16 * manual + indexed + packed)
}

/// Returns the size of the texts of a request in bytes, without the JSON syntax.
pub fn request_bytes(request: &ExecuteRequest) -> u64 {
    let compared = request.compared.values().flatten();
    let paths = [&request.changed, &request.files].into_iter().flatten().chain(compared).flatten();
    let paths: usize = paths.chain(request.compared.keys()).map(|path| path.len() + 3).sum();
    let variables: usize = request.variables.iter().map(|(name, value)| name.len() + value.len() + 6).sum();
    let input = |(name, value): (&String, &InputValue)| name.len() + value.to_text().len() + 6;
    let inputs: usize = request.inputs.iter().map(input).sum();
    let texts = [&request.file, &request.branch, &request.commit, &request.requested_by, &request.tag];
    let texts: usize = texts.into_iter().flatten().map(String::len).sum();
    (request.pipeline.len() + request.repo.len() + paths + variables + inputs + texts) as u64
}

/// Returns an error if the lists of paths are too long.
pub fn check_paths(request: &ExecuteRequest) -> Result<()> {
    check_compared(&request.compared).map_err(|error| Error::Invalid(error.to_string()))?;
    for (name, paths) in [("changed", &request.changed), ("files", &request.files)] {
        let Some(paths) = paths else { continue };
        if paths.len() > MAX_PATHS {
            return Err(Error::Invalid(format!(
                "`{name}` has {} paths; the limit is {MAX_PATHS}, omit it if there are more",
                paths.len()
            )));
        }
        if let Some(path) = paths.iter().find(|path| path.len() > MAX_PATH_LEN) {
            return Err(Error::Invalid(format!(
                "a path in `{name}` has {} bytes; the limit is {MAX_PATH_LEN}",
                path.len()
            )));
        }
    }
    Ok(())
}
