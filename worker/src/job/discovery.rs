//! Discovery: an attempt that reads the pipeline files of a commit for the server instead of running a script.

use super::{
    attempt::{Attempt, EarlyEnd, preparation_timeout},
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
    attempt: &mut Attempt,
    discovery: &Discovery,
) -> Result<AttemptEnd, EarlyEnd> {
    let Attempt { assignment, reporter, signals, .. } = attempt;
    let timeout_s = assignment.timeout_s;
    let failure = tokio::select! {
        read = read_commit(executor, assignment, discovery, reporter) => read.err(),
        stopped = signals.stopped() => return Err(stopped),
        timeout = preparation_timeout(timeout_s) => return Err(timeout),
    };
    Ok(AttemptEnd { failure, exit_code: None, ..AttemptEnd::default() })
}

async fn read_commit(
    executor: &JobExecutor,
    assignment: &Assignment,
    discovery: &Discovery,
    reporter: &Reporter,
) -> Result<(), FailureReason> {
    reporter.phase("reading the commit");
    let result = match executor.engine.sources.discover(&assignment.preparation, discovery).await {
        Ok(result) => result,
        Err(error) => {
            let message = format!("the commit could not be read: {error}");
            reporter.log(format!("{message}\n").as_bytes()).await;
            return Err(FailureReason::new(error.failure_kind(), message));
        }
    };
    if result.is_skipped {
        let line = "the commit message has [skip ci] or [ci skip]: nothing is started for this push\n";
        reporter.log(line.as_bytes()).await;
    }
    for mistakes in &result.diagnostics {
        reporter.log(mistakes.as_bytes()).await;
    }
    let report = DiscoveryReport {
        job_id: assignment.preparation.job_id,
        lease: assignment.lease.token,
        commit: result.commit,
        details: result.details,
        files: result.files,
        changed: result.changed_paths,
        paths: result.paths,
    };
    let reply = match executor.api.report_discovery(&report).await {
        Ok(reply) => reply,
        Err(error) => {
            let message = format!("the contents of the commit could not be reported to the server: {error}");
            reporter.log(format!("{message}\n").as_bytes()).await;
            return Err(FailureReason::new(FailureKind::Internal, message));
        }
    };
    for line in &reply.lines {
        reporter.log(format!("{line}\n").as_bytes()).await;
    }
    if reply.failed || !result.diagnostics.is_empty() {
        let message = "a pipeline file has errors; see the log";
        return Err(FailureReason::new(FailureKind::ScriptFailed, message));
    }
    Ok(())
}
