//! Descriptions of the document and of its operations, beyond their summaries.

use tidemill_core::api::path;

/// Description of the API.
pub(super) const API: &str = "\
Starts, shows and controls executions of pipelines, and gives jobs to workers.

Send a token as `Authorization: Bearer ...`; docs/security.md lists the scopes that each operation accepts. Errors are problem \
documents (RFC 9457) with a stable `type`, such as `tidemill:not-found`. Send an `Idempotency-Key` with a request that starts an \
execution, and repeat it with the same key if the reply is lost. Times are RFC 3339 in UTC; ids are UUIDs.

docs/worker-protocol.md says how to write a worker.";

/// Returns what an operation does, in more detail than its summary; `None`: the summary says it.
fn detail(path: &str, method: &str) -> Option<&'static str> {
    Some(match (path, method) {
        (path::EXECUTE, _) => {
            "Checks the pipeline file, records the execution with its jobs, and queues those that can start. If a live execution of the \
             same request exists and `force` is not set, the reply is that one, with `attached`. An execution with more than 1,000 jobs \
             is recorded after the reply: until then, `GET` of one of its jobs is 404."
        }
        (path::STATUS, _) => {
            "The reply has an `ETag`. With `If-None-Match` and `wait_ms`, it is held until something changes, or is 304. A reply has \
             at most 1,000 jobs; the next ones come with `cursor`, and belong to it if their `ETag` is the same."
        }
        (path::JOB_EXECUTE, _) => {
            "Gives the caller one attempt of a job, with a lease. With `job_id` (from a message of the queue) it is that job; without, \
             the next one that is ready and whose labels the worker has. Deployments on AWS do not hold the request: ask again after a \
             second. Reply `nothing`: delete the message."
        }
        (path::JOB_STATUS, _) => {
            "Heartbeat, log bytes and status in one call. Send one at least every third of the lease, and at most about one a second. \
             All that the report has is stored when the reply arrives. If the reply says `cancel`, stop the job and report its end."
        }
        (path::ARTIFACT_UPLOAD, _) => {
            "First without `complete`: the reply says where to send the bytes. Then with it: the artifact is recorded. A tar, or one \
             compressed with zstd."
        }
        (path::CANCEL_EXECUTION, _) => {
            "After the reply no attempt starts, and running jobs are stopped. The jobs of an execution with more than 1,000 are \
             canceled after the reply."
        }
        (path::CANCEL_JOB, _) => {
            "After the reply none of its attempts starts; a running one is stopped within 10 s."
        }
        (path::RETRY, _) => {
            "Starts a new execution that carries over the jobs that succeeded, and runs the others again."
        }
        (path::JOB_LOGS, _) => {
            "The bytes from `offset` on. The header `x-tidemill-log-next` is the offset of the next request; `x-tidemill-log-end: true` \
             says that a finished log ends there."
        }
        (path::DISK_USAGE, _) => {
            "By kind and by repository, measured at most once a minute. Deployments on AWS do not measure it: the reply has no \
             `measured_at`."
        }
        (path::HEALTH, _) => "For load balancers and monitors. Details need a token.",
        _ => return None,
    })
}

/// Returns the description of an operation.
pub(super) fn of(path: &str, method: &str, summary: &str, is_public: bool) -> String {
    let access = if is_public { "Needs no token." } else { "Needs a token." };
    match detail(path, method) {
        Some(detail) => format!("{detail} {access}"),
        None => format!("{summary}. {access}"),
    }
}
