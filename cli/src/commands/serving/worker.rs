//! `worker`: runs jobs for a server until it is stopped.

use super::{
    isolation::{block_metadata, isolate},
    observability::{Observability, Observed},
};
use crate::{
    args::{BlockMetadata, Notices, WorkerArgs},
    deployment::Deployment,
    failure::{Exit, Failure, Outcome},
    interrupts::Interrupts,
    output::Logging,
    settings::Settings,
    workers,
};
use std::{sync::Arc, time::Duration};
use tidemill_core::execution::assignment::Resources;
use tidemill_core::repository::AddressPolicy;
use tidemill_worker::{
    EndCondition, Worker,
    client::ApiClient,
    job_source::{JobSource, LongPoll},
    notices as ec2,
};
use tokio::time::{Instant, sleep_until};

/// Time reserved for returning jobs to the queue before EC2 terminates the instance.
const RETURN_TIME: Duration = Duration::from_secs(15);
/// Timeout of returning jobs to the queue on shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(9);

/// `tidemill worker`.
pub async fn worker(settings: &Settings, args: &WorkerArgs, logging: Logging) -> Outcome {
    if !settings.is_remote() {
        return Err(Failure::usage("a worker needs a server: use --server, TIDEMILL_SERVER or --profile"));
    }
    let deployment = Deployment::connect(settings).await?;
    let mut interrupts = Interrupts::listen()?;
    let parts = Observed { name: "tidemill-worker", services: None };
    let observability = Observability::start(&args.observability, parts, logging).await?;
    let slots = if args.once { 1 } else { workers::slots(args.slots.jobs) };
    let name = args.name.clone().unwrap_or_else(workers::machine_name);
    let mut config =
        workers::config(settings, slots, &args.slots.labels.values, name, settings.worker_file()?)?;
    config.addresses = AddressPolicy { hosts: args.allowed.hosts.clone(), ..AddressPolicy::default() };
    config.end = EndCondition { after_one_job: args.once, max_idle: args.max_idle };
    config.capacity = Resources { cpus: args.cpus, memory_bytes: args.memory };
    let needs_metadata = args.notices != Notices::Off || args.block_metadata == BlockMetadata::Auto;
    let metadata = async {
        if needs_metadata { Some(ec2::TerminationNotices::connect(&args.metadata).await) } else { None }
    };
    let (worker, metadata) = tokio::join!(Worker::open(config), metadata);
    let worker = worker?;
    if let Err(error) = isolate(&args.isolation, &worker).await {
        worker.close().await;
        return Err(error.into());
    }
    let ready = match &metadata {
        Some(Err(error)) if args.notices == Notices::On => Err(Failure::system(format!(
            "EC2 interruption notices are not available: {error}; start the worker on EC2, or use --notices off"
        ))),
        _ => block_metadata(args.block_metadata, &worker, matches!(metadata, Some(Ok(_)))).await,
    };
    if let Err(failure) = ready {
        worker.close().await;
        return Err(failure);
    }
    let (source, log_usage) = job_source(args, deployment.api.clone()).await?;
    let mut handle = worker.start_with_source(source, deployment.api.clone(), false);
    observability.metrics().add(Arc::new(handle.metrics()));
    crate::output::outln!("working for {}, {slots} concurrent job(s)", deployment.url);
    observability.print_address();
    let mut notices = metadata.and_then(Result::ok).filter(|_| args.notices != Notices::Off);
    let mut is_draining = false;
    // Set when jobs start being returned to the queue.
    let mut deadline: Option<Instant> = None;
    loop {
        let expired = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let notice = async {
            match &mut notices {
                Some(notices) => notices.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            done = handle.wait() => {
                log_usage();
                observability.stop().await;
                return Ok(done?);
            }
            () = expired => {
                crate::output::errln!("tidemill: jobs did not end in time; they are removed in the background");
                workers::clean_up_in_background(settings, handle.id());
                observability.stop().await;
                return Ok(());
            }
            _ = interrupts.recv() => {
                if deadline.is_some() {
                    crate::output::errln!("tidemill: exiting immediately; the next start removes leftover containers");
                    observability.stop().await;
                    return Err(Failure::silent(Exit::Canceled));
                }
                if is_draining {
                    handle.stop();
                    deadline = Some(Instant::now() + SHUTDOWN_TIMEOUT);
                    continue;
                }
                is_draining = true;
                crate::output::outln!(
                    "stopping: running jobs have {} s to end; a second signal returns them to the queue immediately",
                    args.grace.as_secs()
                );
                handle.drain(args.grace);
            }
            notice = notice => {
                notices = None;
                let grace = notice.time_left().map_or(args.grace, |left| left.saturating_sub(RETURN_TIME).min(args.grace));
                crate::output::outln!("{notice}: running jobs have {} s to end", grace.as_secs());
                handle.drain(grace);
            }
        }
    }
}

/// Returns the source of the worker's jobs, and a function that logs the number of its requests.
#[cfg_attr(not(feature = "aws"), expect(clippy::unused_async, reason = "only the connection to SQS awaits"))]
async fn job_source(
    args: &WorkerArgs,
    api: ApiClient,
) -> Outcome<(Arc<dyn JobSource>, Box<dyn Fn() + Send>)> {
    let Some(url) = &args.queue else {
        return Ok((Arc::new(LongPoll::new(api, None)), Box::new(|| ())));
    };
    #[cfg(feature = "aws")]
    {
        use tidemill_worker::job_source::{SqsJobSource, SqsSettings};
        let settings = SqsSettings { wait: args.queue_wait, ..SqsSettings::new(url) };
        let queue = SqsJobSource::connect(settings, api).await;
        let requests = queue.requests();
        let log_usage = move || tracing::info!(usage = ?requests.usage(), "requests to SQS");
        Ok((Arc::new(queue), Box::new(log_usage)))
    }
    #[cfg(not(feature = "aws"))]
    {
        let _ = url;
        Err(Failure::without_aws("tidemill worker --queue"))
    }
}
