//! How much a request from outside may have stored: matrices, lists of needs and manual jobs could else make gigabytes of a few
//! kilobytes. What is stored is counted before anything is, by what a record costs in the embedded store, which is the one that packs
//! least; `backend/sqlite/tests/growth.rs` holds the numbers against the files.

use crate::{
    error::{Error, Result},
    pack::pack,
    ports::ExecutionSpec,
};
use tidemill_core::execution::discovery::MAX_PATH_LEN;
use tidemill_core::scheduler::MAX_BLOCKER_BYTES;
use tidemill_core::{
    api::ExecuteRequest,
    pipeline::When,
    plan::{Plan, PlannedJob},
};

/// A request may have so many times its own size stored,
const SIZE_FACTOR: u64 = 10;
/// and so many bytes on top.
const BASE_BYTES: u64 = 64 << 10;
/// or so many, where somebody who may push to the repository put the file there.
const PUSHED_BASE_BYTES: u64 = 1 << 20;
/// What all held executions of one pull request's commit may come to; with what else is recorded of the commit that is less than 64 KiB.
pub const MAX_HELD_BYTES: u64 = 44 << 10;
/// Commits of one pull request whose executions are held within a day; those of older commits are canceled, but stay recorded.
pub const MAX_HELD_COMMITS: usize = 30;
/// The same of all pull requests of one repository.
pub const MAX_HELD_COMMITS_OF_REPOSITORY: usize = 100;
/// Held executions of one repository that nobody approved yet.
pub const MAX_HELD: usize = 100;

/// An execution with its place in the indexes, its key and its end, besides its packed spec.
const EXECUTION_BYTES: u64 = 1_700;
/// A job that waits.
const JOB_BYTES: u64 = 150;
/// What its end adds: the time and the reason of a cancel.
const ENDED_BYTES: u64 = 120;
/// What the end of a job adds on top that is skipped since a need failed, besides that need's name.
const SKIPPED_BYTES: u64 = 90;
/// What a job that is queued at once has on top: its message, and its place among what is due.
const QUEUED_BYTES: u64 = 190;
/// A gate.
const GATE_BYTES: u64 = 150;
/// A link from a node to another.
const LINK_BYTES: u64 = 7;

/// Paths that a request may name: as many as the command line sends.
const MAX_PATHS: usize = 50_000;

/// What the nodes of a plan come to when they are recorded.
fn nodes_bytes(plan: &Plan) -> u64 {
    let gates = plan.gates.iter().map(|gate| GATE_BYTES + LINK_BYTES * gate.releases.len() as u64);
    let blocker = blocker_bytes(plan);
    plan.jobs.iter().map(|job| job_bytes(job, blocker)).chain(gates).fold(0, u64::saturating_add)
}

/// What is recorded of the name of a job that blocks another.
fn blocker_bytes(plan: &Plan) -> u64 {
    let longest = plan.jobs.iter().map(|job| job.name.len()).max().unwrap_or_default();
    longest.min(MAX_BLOCKER_BYTES) as u64
}

/// What a job comes to that names of `blocker` bytes may be recorded with.
fn job_bytes(job: &PlannedJob, blocker: u64) -> u64 {
    let codes = job.allow_exit_codes.len() + job.retry_for.exit_codes.len() + 6 * job.retry_for.kinds.len();
    // It also tells the end, and perhaps a gate that closes approvals.
    let links = LINK_BYTES * (job.releases.len() as u64 + 2);
    let manual = if job.when == When::Manual { 2 * GATE_BYTES } else { 0 };
    let queued = if job.waits_for == 0 && job.when != When::Manual { QUEUED_BYTES } else { 0 };
    let name = job.name.len() as u64;
    // Why it was skipped names the need that failed, and so does its node.
    let skipped = if job.waits_for > 0 { SKIPPED_BYTES + 2 * blocker } else { 0 };
    // The reason of a job that nobody approved says by which name it still is.
    let names = if job.when == When::Manual { 2 * name } else { name };
    JOB_BYTES + ENDED_BYTES + queued + skipped + manual + names + 4 * codes as u64 + links
}

/// Who has something stored, and so how much it may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StorageAllowance {
    /// Who brings a token.
    #[default]
    Token,
    /// Who pushed a commit to the repository. What a stranger's pull request has stored is bounded by [`held_bytes`] as well.
    Push,
    /// The person who runs the server for a command of their own.
    OwnMachine,
}

impl StorageAllowance {
    const fn base(self) -> u64 {
        match self {
            Self::Token => BASE_BYTES,
            Self::Push => PUSHED_BASE_BYTES,
            Self::OwnMachine => u64::MAX,
        }
    }
}

/// Refuses a plan that would have more stored than a request of so many bytes may.
pub fn check(plan: &Plan, request_bytes: u64, allowance: StorageAllowance) -> Result<()> {
    let base = allowance.base();
    let allowed = request_bytes.saturating_mul(SIZE_FACTOR).saturating_add(base);
    // The request itself is recorded packed, and some of its texts are in indexes.
    let needed = nodes_bytes(plan).saturating_add(2 * request_bytes).saturating_add(EXECUTION_BYTES);
    if needed <= allowed {
        return Ok(());
    }
    Err(Error::OverBudget(format!(
        "the jobs of this pipeline come to {needed} bytes, and a request of {request_bytes} bytes may have {allowed} stored ({SIZE_FACTOR} \
         times its own size, and {} KiB): {}; use a smaller matrix or shorter values, or split the pipeline",
        base >> 10,
        largest(plan)
    )))
}

/// Which job of the file comes to most.
fn largest(plan: &Plan) -> String {
    let blocker = blocker_bytes(plan);
    let mut jobs: Vec<(&str, u64, u64)> = Vec::new();
    for job in &plan.jobs {
        let bytes = job_bytes(job, blocker);
        match jobs.last_mut() {
            // The variants of a job follow one another.
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
            "it has {} jobs, and the matrix of `{name}` makes {variants} of them with {bytes} bytes",
            plan.jobs.len()
        )
    })
}

/// What an execution that nobody approved has stored: its request, packed, and the gates that something outside the plan opens.
pub fn held_bytes(spec: &ExecutionSpec, plan: &Plan) -> Result<u64> {
    // The gate of the approval and that of its turn in a group link all jobs that could begin; where there are jobs for failures, some
    // that wait for these are among them.
    let spares = plan.jobs.iter().any(|job| job.when == When::OnFailure);
    let begins = plan.jobs.iter().filter(|job| spares || job.waits_for == 0 || job.when == When::Always);
    let links = 2 * LINK_BYTES * begins.count() as u64;
    let manual = plan.jobs.iter().filter(|job| job.when == When::Manual).count() as u64;
    let indexed = 5 * (spec.repo.len() + 2 * spec.pipeline_name.len()) as u64;
    let packed = pack(spec)?.len() as u64;
    Ok(EXECUTION_BYTES + 2 * GATE_BYTES + links + 16 * manual + indexed + packed)
}

/// The bytes of a request's texts: its size, but for what JSON adds.
pub fn request_bytes(request: &ExecuteRequest) -> u64 {
    let paths = [&request.changed, &request.files].into_iter().flatten().flatten();
    let paths: usize = paths.map(|path| path.len() + 3).sum();
    let variables: usize = request.variables.iter().map(|(name, value)| name.len() + value.len() + 6).sum();
    let texts = [&request.file, &request.branch, &request.commit, &request.requested_by, &request.tag];
    let texts: usize = texts.into_iter().flatten().map(String::len).sum();
    (request.pipeline.len() + request.repo.len() + paths + variables + texts) as u64
}

/// Refuses lists of paths that are longer than any real request has.
pub fn check_paths(request: &ExecuteRequest) -> Result<()> {
    for (name, paths) in [("changed", &request.changed), ("files", &request.files)] {
        let Some(paths) = paths else { continue };
        if paths.len() > MAX_PATHS {
            return Err(Error::Invalid(format!(
                "`{name}` has {} paths, and {MAX_PATHS} is the limit; leave it out where there are more",
                paths.len()
            )));
        }
        if let Some(path) = paths.iter().find(|path| path.len() > MAX_PATH_LEN) {
            return Err(Error::Invalid(format!(
                "a path in `{name}` has {} bytes; {MAX_PATH_LEN} is the limit",
                path.len()
            )));
        }
    }
    Ok(())
}
