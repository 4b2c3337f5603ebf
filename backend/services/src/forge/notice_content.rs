//! Reads what notifications say about the jobs of an execution.

use crate::{
    context::service_context::Context,
    error::Result,
    ports::{ExecutionRecord, Node, NodeBody},
};
use tidemill_core::{
    execution::status::JobStatus,
    ids::JobId,
    notification::{
        content::{MAX_JOBS, MAX_TESTS, NotifiedJob},
        error_lines::error_lines,
    },
};

/// Number of bytes at the end of a log in which the error of a failed job is searched for.
const LOG_TAIL: u64 = 32 << 10;
/// Maximum number of failed jobs beyond which no more are read.
const MAX_EXAMINED_JOBS: usize = 1_000;

/// A test that turned out to be flaky.
pub(super) struct FlakyTest {
    /// Its job.
    pub job: String,
    /// Its suite and name.
    pub name: String,
}

/// Returns the failed jobs of an ended execution, the first ones with the lines of their logs that probably say why. A log that cannot be
/// read leaves its job without lines.
pub(super) async fn failed_jobs(context: &Context, execution: &ExecutionRecord) -> Result<Vec<NotifiedJob>> {
    let nodes = context.stores.records.all_nodes(execution.spec.id).await?;
    let failed = nodes
        .iter()
        .filter(|node| node.state.status() == Some(JobStatus::Failed) && !node.is_tolerated())
        .take(MAX_EXAMINED_JOBS);
    let mut jobs = Vec::new();
    for node in failed {
        let NodeBody::Job(item) = &node.state.body else { continue };
        let mut job = NotifiedJob {
            name: node.spec.name.clone(),
            reason: item.job.failure.as_ref().map(|reason| reason.message.clone()),
            lines: Vec::new(),
        };
        if jobs.len() < MAX_JOBS {
            job.lines = log_lines(context, node).await.unwrap_or_else(|error| {
                tracing::warn!(job = job.name, %error, "cannot read a log for a notification");
                Vec::new()
            });
        }
        jobs.push(job);
    }
    Ok(jobs)
}

async fn log_lines(context: &Context, node: &Node) -> Result<Vec<String>> {
    let NodeBody::Job(item) = &node.state.body else { return Ok(Vec::new()) };
    let (job, attempt) = item.counted_attempt(JobId::of(node.key.execution, node.key.ix));
    if attempt == 0 {
        return Ok(Vec::new());
    }
    let logs = &context.stores.logs;
    let (_, size) = logs.read(job, attempt, 0, 0).await?;
    let from = size.saturating_sub(LOG_TAIL);
    let limit = usize::try_from(LOG_TAIL).unwrap_or(usize::MAX);
    let (bytes, _) = logs.read(job, attempt, from, limit).await?;
    Ok(error_lines(&bytes, from == 0))
}

/// Returns the gates whose approval a live execution waits for and that are not in `noticed`, and the jobs behind them.
pub(super) async fn awaited_jobs(
    context: &Context,
    execution: &ExecutionRecord,
    noticed: &[u32],
) -> Result<(Vec<u32>, Vec<NotifiedJob>)> {
    let (mut gates, mut jobs) = (Vec::new(), Vec::new());
    let awaited = context.awaited_approvals(execution).await?;
    for one in awaited.into_iter().filter(|one| !noticed.contains(&one.approval.gate)) {
        // A job that waits for others, too, cannot start with the approval.
        if one.job.as_ref().is_some_and(|job| job.waits_for > 1) {
            continue;
        }
        gates.push(one.approval.gate);
        if let Some(job) = one.job {
            jobs.push(NotifiedJob { name: job.spec.name, ..NotifiedJob::default() });
        }
    }
    Ok((gates, jobs))
}

/// Returns the tests that turned out to be flaky in an ended execution.
pub(super) async fn new_flaky_tests(
    context: &Context,
    execution: &ExecutionRecord,
) -> Result<Vec<FlakyTest>> {
    let spec = &execution.spec;
    let nodes = context.stores.records.all_nodes(spec.id).await?;
    let measured = context.measured_jobs(spec.id, spec.retry_of, &nodes).await?;
    let mut tests = Vec::new();
    for node in &nodes {
        let Some(job) = measured.get(&node.key.ix) else { continue };
        for case in job.flaky.iter().take(MAX_TESTS) {
            let name = [case.suite.as_str(), case.name.as_str()]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join(": ");
            tests.push(FlakyTest { job: node.spec.name.clone(), name });
        }
    }
    Ok(tests)
}
