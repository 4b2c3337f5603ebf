//! Records as the API shows them.

use crate::ports::{ArtifactRecord, ExecutionRecord, JobItem, JobSpec, Node, NodeBody};
use tidemill_core::{
    api::{ArtifactView, ExecutionView, JobView},
    ids::ExecutionId,
    plan::PlannedJob,
};

/// An execution with its jobs.
pub fn execution(record: &ExecutionRecord, nodes: &[Node], specs: &[JobSpec]) -> ExecutionView {
    let jobs = nodes.iter().zip(specs).filter_map(|(node, spec)| match &node.state.body {
        NodeBody::Job(item) => Some(job(record.spec.id, item, spec)),
        NodeBody::Gate { .. } | NodeBody::End => None,
    });
    ExecutionView { execution: record.summary(), stages: record.spec.stages.clone(), jobs: jobs.collect() }
}

/// One job.
pub fn job(execution: ExecutionId, item: &JobItem, spec: &JobSpec) -> JobView {
    let (state, planned): (_, &PlannedJob) = (&item.job, &spec.planned);
    JobView {
        id: spec.id,
        pipeline_execution_id: execution,
        stage: planned.stage.clone(),
        job_name: planned.name.clone(),
        docker_image: planned.image.clone(),
        status: state.status,
        needs: planned.needs.clone(),
        allow_failure: planned.allow_failure,
        attempt: state.attempt,
        attempts: state.attempts.clone(),
        queued_at: state.queued_at,
        not_before: state.not_before,
        start_time: state.started_at,
        end_time: state.ended_at,
        exit_code: state.exit_code,
        failure_reason: state.failure.clone(),
        steps: state.steps.clone(),
        phase: state.phase.clone(),
        log_bytes: item.log_bytes,
        carried_from: item.carried_from,
    }
}

/// An artifact.
pub fn artifact(record: ArtifactRecord) -> ArtifactView {
    ArtifactView {
        id: record.id,
        job_execution_id: record.job,
        job_name: record.job_name,
        file_path: record.file_path,
        uploaded_at: record.uploaded_at,
        size: record.size,
        sha256: record.sha256,
        encoding: record.encoding,
        files: record.files,
        expires_at: record.expires_at,
    }
}
