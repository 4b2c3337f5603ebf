//! Isolates the jobs of a worker from each other, from this machine and from its AWS role.

use crate::{
    args::{BlockMetadata, Isolate, IsolationArgs},
    failure::{Failure, Outcome},
};
use tidemill_worker::{Worker, WorkerError};

/// Isolates jobs from each other and from this machine's ports, according to the arguments.
pub async fn isolate(args: &IsolationArgs, worker: &Worker) -> Result<(), WorkerError> {
    if args.isolate == Isolate::Off || (args.isolate == Isolate::Auto && !worker.has_containers()) {
        return Ok(());
    }
    let Err(error) = worker.isolate(&args.allow_host_ports).await else { return Ok(()) };
    if args.isolate == Isolate::Required {
        return Err(WorkerError::Isolation(error));
    }
    crate::output::errln!(
        "tidemill: warning: jobs are not isolated: {error}; they can reach each other and this machine's ports (`--isolate \
         off` accepts this silently, `--isolate required` makes it an error)"
    );
    Ok(())
}

/// Blocks jobs from EC2 instance metadata, according to `when`.
pub async fn block_metadata(when: BlockMetadata, worker: &Worker, on_ec2: bool) -> Outcome {
    match when {
        BlockMetadata::Off => return Ok(()),
        BlockMetadata::Auto if !on_ec2 => return Ok(()),
        BlockMetadata::Auto | BlockMetadata::Required => {}
    }
    let Err(error) = worker.block_metadata().await else { return Ok(()) };
    let message = format!("jobs cannot be blocked from instance metadata: {error}");
    if when == BlockMetadata::Required {
        return Err(Failure::system(message));
    }
    crate::output::errln!("tidemill: warning: {message}; they can act with this machine's role");
    Ok(())
}
