//! The plan of an execution that discovers pipelines.

use tidemill_core::execution::{
    discovery::{Discovery, PIPELINE_NAME},
    failure::FailureKind,
    retry::RetryFor,
};
use tidemill_core::pipeline::{ChildPipeline, JobOptions};
use tidemill_core::plan::{Plan, PlannedJob};

const TIMEOUT_S: u64 = 600;
/// Number of retries if the git server does not respond.
const RETRIES: u32 = 2;

/// Creates the plan of an execution that discovers pipelines.
pub(crate) fn plan(discovery: Discovery) -> Plan {
    let child =
        discovery.starts_child.then(|| Box::new(ChildPipeline { waits: true, ..ChildPipeline::default() }));
    let job = PlannedJob {
        name: PIPELINE_NAME.into(),
        base_name: PIPELINE_NAME.into(),
        stage: PIPELINE_NAME.into(),
        after_stages: Some(0),
        retry: RETRIES,
        retry_for: RetryFor { kinds: vec![FailureKind::SourceUnavailable], ..RetryFor::default() },
        timeout_s: TIMEOUT_S,
        discovery: Some(discovery),
        surroundings: JobOptions { child, ..JobOptions::default() },
        ..PlannedJob::default()
    };
    Plan {
        pipeline_name: PIPELINE_NAME.into(),
        stages: vec![PIPELINE_NAME.into()],
        jobs: vec![job],
        gates: Vec::new(),
        left_out: Vec::new(),
    }
}
