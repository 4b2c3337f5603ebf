//! Discovery: an attempt that reads what a commit holds for the server, instead of running a script.

use super::{
    attempt::{AttemptKey, EarlyEnd, preparation_timeout},
    job_executor::JobExecutor,
    reporter::Reporter,
};
use tidemill_core::api::AttemptEnd;
use tidemill_core::execution::{
    assignment::Assignment,
    discovery::{Discovery, DiscoveryReport},
    failure::{FailureKind, FailureReason},
};

/// Reads the attempt's commit and reports its pipeline files to the server.
pub async fn discover(
    executor: &JobExecutor,
    attempt: &mut AttemptKey,
    discovery: &Discovery,
) -> Result<AttemptEnd, EarlyEnd> {
    let AttemptKey { assignment, reporter, signals, .. } = attempt;
    let timeout_s = assignment.timeout_s;
    let failure = tokio::select! {
        done = read_commit(executor, assignment, discovery, reporter) => done.err(),
        stopped = signals.stopped() => return Err(stopped),
        timeout = preparation_timeout(timeout_s) => return Err(timeout),
    };
    Ok(AttemptEnd { failure, exit_code: None })
}

async fn read_commit(
    executor: &JobExecutor,
    assignment: &Assignment,
    discovery: &Discovery,
    reporter: &Reporter,
) -> Result<(), FailureReason> {
    reporter.phase("looking at the commit");
    let source = &assignment.preparation.source;
    let found = match executor.engine.sources.discover(source, discovery).await {
        Ok(found) => found,
        Err(error) => {
            let message = format!("the commit could not be looked at: {error}");
            reporter.log(format!("{message}\n").as_bytes()).await;
            return Err(FailureReason::new(error.failure_kind(), message));
        }
    };
    for mistakes in &found.mistakes {
        reporter.log(mistakes.as_bytes()).await;
    }
    let report = DiscoveryReport {
        job_id: assignment.preparation.job_id,
        lease: assignment.lease.token,
        commit: found.commit,
        files: found.files,
        changed: found.changed,
        paths: found.paths,
    };
    let reply = match executor.api.discovered(&report).await {
        Ok(reply) => reply,
        Err(error) => {
            let message = format!("the server could not be told what the commit holds: {error}");
            reporter.log(format!("{message}\n").as_bytes()).await;
            return Err(FailureReason::new(FailureKind::Internal, message));
        }
    };
    for line in &reply.lines {
        reporter.log(format!("{line}\n").as_bytes()).await;
    }
    if reply.failed || !found.mistakes.is_empty() {
        let message = "a pipeline file has mistakes; they are in the log";
        return Err(FailureReason::new(FailureKind::ScriptFailed, message));
    }
    Ok(())
}
