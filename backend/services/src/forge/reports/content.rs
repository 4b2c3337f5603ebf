//! Reads what a report says about an execution.

use crate::{
    context::service_context::Context,
    error::Result,
    forge::notice_content::failed_jobs,
    ports::ExecutionRecord,
    storage::{summaries::SummaryService, test_reports::TestReportService},
};
use serde_json::Value;
use std::sync::Arc;
use tidemill_core::{
    execution::test_report::ExecutionTests,
    notification::{
        check_run::annotations,
        commit_status::CommitState,
        content::{MAX_JOBS, MAX_TESTS},
        report::ExecutionReport,
    },
};

/// Returns the report about an execution in this state, with its annotations if it has ended.
pub(super) async fn report(
    context: &Arc<Context>,
    execution: &ExecutionRecord,
    state: CommitState,
    url: Option<String>,
) -> Result<(ExecutionReport, Vec<Value>)> {
    let spec = &execution.spec;
    let is_held = spec.held && execution.state.unplanned && !state.is_final();
    let mut report = ExecutionReport {
        pipeline: spec.pipeline_name.clone(),
        run_number: execution.run_number,
        state: Some(state).filter(|_| !is_held),
        commit: spec.commit.clone().unwrap_or_default(),
        url,
        ..ExecutionReport::default()
    };
    // An execution that was canceled before an approval has no jobs.
    if !state.is_final() || execution.state.unplanned {
        return Ok((report, Vec::new()));
    }
    if state == CommitState::Failure {
        report.jobs = failed_jobs(context, execution).await?;
        report.more_jobs = report.jobs.len().saturating_sub(MAX_JOBS);
        report.jobs.truncate(MAX_JOBS);
    }
    let tests = TestReportService::new(context.clone()).for_execution(spec.id).await?;
    if !tests.jobs.is_empty() {
        report.tests = Some(tests.counts);
        report.failed_tests = failed_tests(&tests);
    }
    let list = SummaryService::new(context.clone()).list(spec.id).await?;
    report.annotations = list.counts;
    Ok((report, annotations(&list.annotations)))
}

fn failed_tests(tests: &ExecutionTests) -> Vec<String> {
    let of_job =
        tests.jobs.iter().flat_map(|job| job.report.failed.iter().map(move |case| (&job.job_name, case)));
    of_job.map(|(job, case)| format!("{job}: {case}")).take(MAX_TESTS).collect()
}
