//! `server` and `worker`: processes that stay.

use crate::{
    args::{BlockMetadata, Isolate, IsolationArgs, Notices, Server, WorkerArgs},
    deployment::{Deployment, embedded_config},
    failure::{Failure, Outcome},
    interrupts::interrupts,
    settings::Settings,
    workers,
};
use std::{sync::Arc, time::Duration};
use tidemill_backend::embedded::{Embedded, EmbeddedConfig, Secure, Tls};
use tidemill_core::assignment::Resources;
use tidemill_worker::{
    Client, Worker, WorkerError,
    job_source::{JobSource, LongPoll, SqsJobSource, SqsSettings},
    notices as ec2,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Time that is kept for giving jobs back before a machine is taken away.
const HAND_BACK: Duration = Duration::from_secs(15);

/// `tidemill server`.
pub async fn server(settings: &Settings, args: &Server) -> Outcome {
    let mut interrupts = interrupts()?;
    let tls = tls(args)?;
    let config = EmbeddedConfig {
        rate_limit: args.rate_limit,
        public_url: args.public_url.clone(),
        ..embedded_config(settings)?
    };
    let data_dir = config.data_dir.clone();
    let embedded = Embedded::open(config).await?;
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        Failure::system(format!(
            "{} cannot be listened on: {error}; choose another with --listen",
            args.listen
        ))
    })?;
    let public = listener.local_addr()?;
    let (listener, secure) = match tls {
        // The workers of this process do not go by the certificate's name: they have a listener of their own.
        Some(tls) => (TcpListener::bind(("127.0.0.1", 0)).await?, Some(Secure { listener, tls })),
        None => (listener, None),
    };
    let scheme = if secure.is_some() { "https" } else { "http" };
    let url = format!("http://{}", listener.local_addr()?);
    let token = embedded.token().to_owned();
    let shutdown = CancellationToken::new();
    let mut served = tokio::spawn(embedded.serve_also(listener, secure, shutdown.clone()));
    let slots = args.workers.map_or_else(|| workers::slots(None), usize::from);
    anstream::println!("serving on {scheme}://{public}, {slots} job(s) at the same time");
    anstream::println!("the token is in {}", data_dir.join("token").display());
    let stop_workers = CancellationToken::new();
    let config = workers::config(settings, slots, &args.labels, workers::machine())?;
    let client = Client { server: url, token, only_execution: None };
    let stop = stop_workers.clone();
    let (isolate_when, allowed) = (args.isolation.isolate, args.isolation.allow_host_ports.clone());
    let working = tokio::spawn(async move {
        if slots > 0 {
            let worker = Worker::open(config).await?;
            if let Err(error) = isolate(isolate_when, &allowed, &worker).await {
                worker.close().await;
                return Err(error);
            }
            tidemill_worker::run(worker, client, stop).await
        } else {
            stop.cancelled_owned().await;
            Ok(())
        }
    });
    tokio::pin!(working);
    let mut worked = None;
    let failed = tokio::select! {
        _ = interrupts.recv() => None,
        over = &mut served => Some(over.unwrap_or_else(|error| Err(tidemill_backend::Error::storage("serving", error)))),
        over = &mut working => { worked = Some(over); None }
    };
    // Workers first: what they give back must still be taken.
    stop_workers.cancel();
    let worked = match worked {
        Some(over) => over,
        None => working.await,
    };
    shutdown.cancel();
    if let Some(outcome) = failed {
        outcome?;
    } else if let Ok(outcome) = served.await {
        outcome?;
    }
    Ok(worked.unwrap_or_else(|error| Err(WorkerError::Refused(error.to_string())))?)
}

/// The certificate to serve with. Beyond this machine nothing is served without one, unless told so in words.
fn tls(args: &Server) -> Outcome<Option<Arc<Tls>>> {
    if let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) {
        let opened = Tls::open(certificate.clone(), key.clone());
        return Ok(Some(opened.map_err(|error| Failure::usage(error.to_string()))?));
    }
    if args.listen.ip().is_loopback() || args.plain_http_on_a_network {
        return Ok(None);
    }
    Err(Failure::usage(format!(
        "{} can be reached from other machines, and without TLS they can read the tokens, sources and logs of all: give \
         --tls-cert and --tls-key, listen on 127.0.0.1 behind a proxy that does TLS, or say --plain-http-on-a-network",
        args.listen
    )))
}

/// `tidemill worker`.
pub async fn worker(settings: &Settings, args: &WorkerArgs) -> Outcome {
    if !settings.is_elsewhere() {
        return Err(Failure::usage(
            "a worker works for a server: name it with --server, TIDEMILL_SERVER or --profile",
        ));
    }
    let deployment = Deployment::connect(settings).await?;
    let mut interrupts = interrupts()?;
    let slots = workers::slots(args.parallel);
    let name = args.name.clone().unwrap_or_else(workers::machine);
    let mut config = workers::config(settings, slots, &args.labels, name)?;
    config.capacity = Resources { cpus: args.cpus, memory_bytes: args.memory };
    let wants_metadata = args.notices != Notices::Off || args.block_metadata == BlockMetadata::Auto;
    let looking = async {
        if wants_metadata { ec2::Notices::connect(&args.metadata).await } else { Err(String::new()) }
    };
    let (worker, metadata) = tokio::join!(Worker::open(config), looking);
    let worker = worker?;
    let IsolationArgs { isolate: when, allow_host_ports } = &args.isolation;
    if let Err(error) = isolate(*when, allow_host_ports, &worker).await {
        worker.close().await;
        return Err(error.into());
    }
    let ready = match &metadata {
        Err(error) if args.notices == Notices::On => Err(Failure::system(format!(
            "notices of EC2 cannot be had: {error}; start the worker on EC2, or with --notices off"
        ))),
        _ => block_metadata(args.block_metadata, &worker, metadata.is_ok()).await,
    };
    if let Err(failure) = ready {
        worker.close().await;
        return Err(failure);
    }
    let mut requests = None;
    let source: Arc<dyn JobSource> = match &args.queue {
        Some(url) => {
            let queue = SqsSettings { wait: args.queue_wait, ..SqsSettings::new(url) };
            let queue = SqsJobSource::connect(queue, deployment.api.clone()).await;
            requests = Some(queue.requests());
            Arc::new(queue)
        }
        None => Arc::new(LongPoll::new(deployment.api.clone(), None)),
    };
    let mut working = worker.work_from(source, deployment.api.clone(), false);
    anstream::println!("working for {}, {slots} job(s) at the same time", deployment.url);
    let mut notices = metadata.ok().filter(|_| args.notices != Notices::Off);
    let mut told = false;
    loop {
        let notice = async {
            match &mut notices {
                Some(notices) => notices.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            done = working.done() => {
                if let Some(requests) = requests {
                    tracing::info!(usage = ?requests.usage(), "requests to SQS");
                }
                return Ok(done?);
            }
            _ = interrupts.recv() => {
                if told {
                    working.stop();
                    continue;
                }
                told = true;
                anstream::println!(
                    "stopping: running jobs have {} s to end; a second signal gives them back now",
                    args.grace.as_secs()
                );
                working.drain(args.grace);
            }
            notice = notice => {
                notices = None;
                let grace = notice.left().map_or(args.grace, |left| left.saturating_sub(HAND_BACK).min(args.grace));
                anstream::println!("{notice}: running jobs have {} s to end", grace.as_secs());
                working.drain(grace);
            }
        }
    }
}

/// Isolates jobs, as far as `when` wants it.
async fn isolate(when: Isolate, allowed: &[u16], worker: &Worker) -> Result<(), WorkerError> {
    if when == Isolate::Off {
        return Ok(());
    }
    let Err(words) = worker.isolate(allowed).await else { return Ok(()) };
    if when == Isolate::Required {
        return Err(WorkerError::Isolation(words));
    }
    anstream::eprintln!(
        "tidemill: warning: jobs are not isolated: {words}; they may reach each other and this machine's ports (`--isolate off` \
         says that this is meant, `--isolate required` refuses to start)"
    );
    Ok(())
}

/// Keeps jobs from instance metadata, as far as `when` wants it.
async fn block_metadata(when: BlockMetadata, worker: &Worker, on_ec2: bool) -> Outcome {
    match when {
        BlockMetadata::Off => return Ok(()),
        BlockMetadata::Auto if !on_ec2 => return Ok(()),
        BlockMetadata::Auto | BlockMetadata::Required => {}
    }
    let Err(error) = worker.block_metadata().await else { return Ok(()) };
    let words = format!("jobs cannot be kept from instance metadata: {error}");
    if when == BlockMetadata::Required {
        return Err(Failure::system(words));
    }
    anstream::eprintln!("tidemill: warning: {words}; they may act as this machine's role");
    Ok(())
}
