//! Attempts that read pipeline files for the server instead of running a script: those of a commit (discovery), and those that a
//! job starts.

use super::{
    attempt::{Attempt, EarlyEnd, preparation_timeout},
    reporter::Reporter,
};
use crate::{artifact::ArtifactTransfer, client::ApiClient, source::SourceCache};
use std::collections::BTreeMap;
use tidemill_core::api::AttemptEnd;
use tidemill_core::execution::{
    assignment::{ArtifactSource, Assignment},
    discovery::{ChildReport, ChildRequest, Discovery, DiscoveryReport},
    failure::{FailureKind, FailureReason},
    report::base_name,
};
use tidemill_core::pipeline::MAX_FILE_BYTES;

/// Reads the attempt's commit and reports its pipeline files to the server.
pub async fn discover(
    (sources, api): (&SourceCache, &ApiClient),
    attempt: &mut Attempt,
    discovery: &Discovery,
) -> Result<AttemptEnd, EarlyEnd> {
    let Attempt { assignment, reporter, signals, .. } = attempt;
    let timeout_s = assignment.timeout_s;
    let failure = tokio::select! {
        read = read_commit((sources, api), assignment, discovery, reporter) => read.err(),
        stopped = signals.stopped() => return Err(stopped),
        timeout = preparation_timeout(timeout_s) => return Err(timeout),
    };
    Ok(AttemptEnd { failure, exit_code: None, ..AttemptEnd::default() })
}

async fn read_commit(
    (sources, api): (&SourceCache, &ApiClient),
    assignment: &Assignment,
    discovery: &Discovery,
    reporter: &Reporter,
) -> Result<(), FailureReason> {
    reporter.phase("reading the commit");
    let result = match sources.discover(&assignment.preparation, discovery).await {
        Ok(result) => result,
        Err(error) => {
            let message = format!("the commit could not be read: {error}");
            reporter.log(format!("{message}\n").as_bytes()).await;
            return Err(FailureReason::new(error.failure_kind(), message));
        }
    };
    if result.is_skipped {
        let line = "the commit message has [skip ci] or [ci skip]: nothing is started for this push, and schedules stay as \
                    they are\n";
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
        compared: result.compared_paths,
        paths: result.paths,
        skipped: result.is_skipped,
        // Only the file of a child counts, and the server says what is wrong with it.
        incomplete: !result.diagnostics.is_empty() && !discovery.starts_child,
    };
    let reply = match api.report_discovery(&report).await {
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
    if reply.failed {
        let message = "a pipeline file has errors; see the log";
        return Err(FailureReason::new(FailureKind::ScriptFailed, message));
    }
    Ok(())
}

/// Reads the pipeline that the attempt's job starts, and lets the server start it.
pub async fn start_child(
    (sources, artifacts): (&SourceCache, &ArtifactTransfer),
    attempt: &mut Attempt,
    request: &ChildRequest,
) -> Result<AttemptEnd, EarlyEnd> {
    let Attempt { assignment, reporter, signals, .. } = attempt;
    let timeout_s = assignment.timeout_s;
    let failure = tokio::select! {
        read = read_and_start((sources, artifacts), assignment, request, reporter) => read.err(),
        stopped = signals.stopped() => return Err(stopped),
        timeout = preparation_timeout(timeout_s) => return Err(timeout),
    };
    Ok(AttemptEnd { failure, exit_code: None, ..AttemptEnd::default() })
}

async fn read_and_start(
    (sources, artifacts): (&SourceCache, &ArtifactTransfer),
    assignment: &Assignment,
    request: &ChildRequest,
    reporter: &Reporter,
) -> Result<(), FailureReason> {
    reporter.phase("reading the pipeline");
    let failed = async |reason: FailureReason| {
        reporter.log(format!("{}\n", reason.message).as_bytes()).await;
        reason
    };
    let path = request.pipeline.label().to_owned();
    if request.pipeline.repository.is_some() {
        // The other repository is read by a discovery of its own.
        let report = ChildReport {
            job_id: assignment.preparation.job_id,
            lease: assignment.lease.token,
            path,
            text: String::new(),
            includes: Vec::new(),
            paths: None,
            compared: BTreeMap::new(),
        };
        return report_child(&artifacts.api, reporter, report).await;
    }
    let mut made = Vec::new();
    for (job, path) in request.pipeline.artifacts() {
        let mut text = None;
        let is_of_job =
            |source: &&ArtifactSource| source.from_job == job || base_name(&source.from_job) == job;
        for source in assignment.files().filter(is_of_job) {
            text = match artifacts.read_file(source, path, MAX_FILE_BYTES as u64).await {
                Ok(text) => text,
                Err(reason) => return Err(failed(reason).await),
            };
            if text.is_some() {
                break;
            }
        }
        let Some(text) = text else {
            let message = format!(
                "no artifact of `{job}` has the file {path}; list it under `artifacts` of `{job}`, and let this job wait for it"
            );
            return Err(failed(FailureReason::new(FailureKind::ArtifactFailed, message)).await);
        };
        made.push(text);
    }
    let read = match sources.read_child(&assignment.preparation, request.clone(), made).await {
        Ok(read) => read,
        Err(error) => {
            let message = format!("the sources could not be read: {error}");
            return Err(failed(FailureReason::new(error.failure_kind(), message)).await);
        }
    };
    reporter.log(read.warnings.as_bytes()).await;
    let text = match read.text {
        Ok(text) => text,
        Err(diagnostics) => {
            reporter.log(diagnostics.as_bytes()).await;
            let message = "the pipeline file has errors; see the log";
            return Err(FailureReason::new(FailureKind::ScriptFailed, message));
        }
    };
    let report = ChildReport {
        job_id: assignment.preparation.job_id,
        lease: assignment.lease.token,
        path,
        text,
        includes: read.includes,
        paths: read.paths,
        compared: read.compared,
    };
    report_child(&artifacts.api, reporter, report).await
}

/// Reports the pipeline that a job starts, and logs what the server started.
async fn report_child(
    api: &ApiClient,
    reporter: &Reporter,
    report: ChildReport,
) -> Result<(), FailureReason> {
    let reply = match api.start_child(&report).await {
        Ok(reply) => reply,
        Err(error) => {
            let message = format!("the pipeline could not be reported to the server: {error}");
            reporter.log(format!("{message}\n").as_bytes()).await;
            return Err(FailureReason::new(FailureKind::Internal, message));
        }
    };
    for line in &reply.lines {
        reporter.log(format!("{line}\n").as_bytes()).await;
    }
    if reply.execution.is_none() {
        let message = reply.lines.first().map_or("the pipeline was not started", String::as_str);
        return Err(FailureReason::new(FailureKind::ScriptFailed, message));
    }
    Ok(())
}
