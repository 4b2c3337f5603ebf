//! Claims of jobs by a new worker.

use tidemill_core::execution::assignment::Assignment;
use tidemill_core::pipeline::labels::Labels;
use tidemill_core::{
    api::{JobExecuteReply, JobExecuteRequest, WorkerInfo},
    ids::{ExecutionId, JobId, WorkerId},
};
use tidemill_services::Services;
use uuid::Uuid;

/// Price of a slot, in millionths of a dollar for an hour: a millionth of a dollar for a millisecond.
pub(super) const SLOT_PRICE: u64 = 3_600_000;

/// Claims a job for a worker with these labels; the error is the reason of the reply.
pub(super) async fn claim(services: &Services, job: JobId, labels: Labels) -> Result<Assignment, String> {
    let request = JobExecuteRequest {
        worker: WorkerInfo { id: WorkerId(Uuid::now_v7()), name: "w".into() },
        job_id: Some(job),
        execution_id: None,
        labels,
        lease: None,
        wait_ms: 0,
        lookahead: 0,
        slot_price: SLOT_PRICE,
    };
    match Box::pin(services.jobs.execute(request)).await.unwrap() {
        JobExecuteReply::Assigned { assignment, .. } => Ok(*assignment),
        JobExecuteReply::Nothing { reason } => Err(reason),
    }
}

/// Claims the job at this position of an execution for a worker without labels.
pub(super) async fn claim_at(
    services: &Services,
    id: ExecutionId,
    position: usize,
) -> Result<Assignment, String> {
    let view = services.pipelines.view(id, None, 0).await.unwrap().view.unwrap();
    claim(services, view.jobs[position].id, Labels::new()).await
}
