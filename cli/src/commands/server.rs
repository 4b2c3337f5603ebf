//! `server` and `worker`: processes that stay.

use crate::{
    args::{BlockMetadata, Isolate, IsolationArgs, Notices, Server, WorkerArgs},
    deployment::{Deployment, embedded_config},
    failure::{Exit, Failure, Outcome},
    interrupts::{end_within, interrupts},
    settings::Settings,
    workers,
};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tidemill_core::{assignment::Resources, ids::WorkerId, repo::AddressPolicy};
use tidemill_server::ConnectionLimits;
use tidemill_server::Embedded;
use tidemill_server::EmbeddedConfig;
use tidemill_server::Listeners;
use tidemill_server::Tls;
use tidemill_server::connections_within;
use tidemill_server::raise_open_files;
use tidemill_services::services::SourcePolicy;
use tidemill_worker::{
    Client, Worker, WorkerError,
    job_source::{JobSource, LongPoll, SqsJobSource, SqsSettings},
    notices as ec2,
};
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// Time that is kept for giving jobs back before a machine is taken away.
const HAND_BACK: Duration = Duration::from_secs(15);

/// Time that a server has to end, whatever hangs.
const SHUTDOWN: Duration = Duration::from_secs(9);
/// The same, when not even that can be seen to.
const MAX_SHUTDOWN: Duration = Duration::from_secs(10);
/// How much of that its workers have to give jobs back; the rest is for requests that are under way.
const WORKERS_SHUTDOWN: Duration = Duration::from_secs(6);

/// `tidemill server`.
pub async fn server(settings: &Settings, args: &Server) -> Outcome {
    let mut interrupts = interrupts()?;
    end_within(MAX_SHUTDOWN, i32::from(Exit::Canceled as u8))?;
    let started = tokio::select! {
        started = Running::start(settings, args) => started,
        // Nothing was promised to anybody yet.
        _ = interrupts.recv() => return Ok(()),
    };
    let mut running = started?;
    let failed = tokio::select! {
        _ = interrupts.recv() => Ok(()),
        over = running.over() => over,
    };
    tokio::select! {
        stopped = timeout(SHUTDOWN, running.stop(settings)) => {
            if stopped.is_err() {
                crate::errln!("tidemill: not everything ended in time; the next start carries on what is left");
            }
            failed
        }
        _ = interrupts.recv() => {
            crate::errln!("tidemill: ended at once; the next start carries on what is left");
            failed.and(Err(Failure::silent(Exit::Canceled)))
        }
    }
}

/// A server that serves, and its workers.
struct Running {
    served: Option<JoinHandle<tidemill_services::Result<()>>>,
    shutdown: CancellationToken,
    working: Option<JoinHandle<Result<(), WorkerError>>>,
    stop_workers: CancellationToken,
    /// Known once it has an engine.
    worker: Arc<OnceLock<WorkerId>>,
}

impl Running {
    async fn start(settings: &Settings, args: &Server) -> Outcome<Self> {
        let tls = tls(args)?;
        let limits = limits(args);
        let addresses =
            AddressPolicy { allow_http: args.allow_http, hosts: args.allow_hosts.clone(), any_host: false };
        let config = EmbeddedConfig {
            sources: SourcePolicy { addresses: addresses.clone(), snapshots: false },
            rate_limit: args.rate_limit,
            public_url: args.public_url.clone(),
            limits,
            min_free_space: args.min_free_space,
            new_database: args.new_database,
            ..embedded_config(settings)?
        };
        let data_dir = config.data_dir.clone();
        if args.new_database {
            crate::errln!(
                "tidemill: new records begin; what is there of old ones goes into {}/replaced-<time>",
                data_dir.display()
            );
        }
        let embedded = Embedded::open(config).await?;
        let public = TcpListener::bind(args.listen).await.map_err(|error| {
            Failure::system(format!(
                "{} cannot be listened on: {error}; choose another with --listen",
                args.listen
            ))
        })?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = public.local_addr()?;
        // They do not go by the certificate's name, and nobody else's connections concern them.
        let own_workers = TcpListener::bind(("127.0.0.1", 0)).await?;
        let client = Client {
            server: format!("http://{}", own_workers.local_addr()?),
            token: embedded.token().to_owned(),
            only_execution: None,
            insecure_http: false,
        };
        let slots = args.workers.map_or_else(|| workers::slots(None), usize::from);
        let mut config = workers::config(settings, slots, &args.labels, workers::machine())?;
        config.addresses = addresses;
        embedded.check_records();
        let (shutdown, stop_workers) = (CancellationToken::new(), CancellationToken::new());
        let served =
            tokio::spawn(embedded.serve_on(Listeners { public, tls, own_workers }, shutdown.clone()));
        crate::outln!("serving on {scheme}://{address}, {slots} job(s) at the same time");
        crate::outln!("the token is in {}", data_dir.join("token").display());
        let worker = Arc::new(OnceLock::new());
        let (stop, opened) = (stop_workers.clone(), worker.clone());
        let (isolate_when, allowed) = (args.isolation.isolate, args.isolation.allow_host_ports.clone());
        let working = tokio::spawn(async move {
            if slots == 0 {
                stop.cancelled().await;
                return Ok(());
            }
            // An engine that does not answer does not hold the end.
            let Some(worker) = stop.run_until_cancelled(Worker::open(config)).await else { return Ok(()) };
            let worker = worker?;
            if let Err(error) = isolate(isolate_when, &allowed, &worker).await {
                worker.close().await;
                return Err(error);
            }
            let mut worker = worker.work_for(&client);
            let _ = opened.set(worker.id());
            tokio::select! {
                done = worker.done() => done,
                () = stop.cancelled() => worker.shutdown().await,
            }
        });
        let (served, working) = (Some(served), Some(working));
        Ok(Self { served, shutdown, working, stop_workers, worker })
    }

    /// Waits until the server or its workers end by themselves, which they do only when they fail.
    async fn over(&mut self) -> Outcome {
        let (Some(served), Some(working)) = (&mut self.served, &mut self.working) else { return Ok(()) };
        tokio::select! {
            over = served => {
                self.served = None;
                Ok(over.map_err(|error| Failure::system(error.to_string()))??)
            }
            over = working => {
                self.working = None;
                Ok(over.map_err(|error| Failure::system(error.to_string()))??)
            }
        }
    }

    /// Stops: workers first, since what they give back must still be taken.
    async fn stop(self, settings: &Settings) {
        self.stop_workers.cancel();
        if let Some(working) = self.working
            && timeout(WORKERS_SHUTDOWN, working).await.is_err()
            && let Some(worker) = self.worker.get()
        {
            crate::errln!(
                "tidemill: jobs do not end in time; what is left of them is removed in the background"
            );
            workers::clean_up_later(settings, *worker);
        }
        self.shutdown.cancel();
        if let Some(served) = self.served
            && let Ok(Err(error)) = served.await
        {
            tracing::warn!(%error, "the server did not end well");
        }
    }
}

/// What clients may do, within the files that this process may open.
fn limits(args: &Server) -> ConnectionLimits {
    let max_connections = connections_within(raise_open_files(), args.max_connections.max(1));
    if max_connections < args.max_connections {
        tracing::warn!(
            max_connections,
            "the limit of open files allows fewer connections than were asked for"
        );
    }
    ConnectionLimits {
        max_connections,
        max_per_address: args.max_connections_per_address.max(1),
        head: Duration::from_secs(args.head_timeout.max(1)),
        stall: Duration::from_secs(args.stall_timeout.max(1)),
        ..ConnectionLimits::default()
    }
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
    config.addresses = AddressPolicy { hosts: args.allow_hosts.clone(), ..AddressPolicy::default() };
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
    crate::outln!("working for {}, {slots} job(s) at the same time", deployment.url);
    let mut notices = metadata.ok().filter(|_| args.notices != Notices::Off);
    let mut told = false;
    // Once jobs are given back, nothing may hold the end for long.
    let mut deadline: Option<Instant> = None;
    loop {
        let late = async {
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
            done = working.done() => {
                if let Some(requests) = requests {
                    tracing::info!(usage = ?requests.usage(), "requests to SQS");
                }
                return Ok(done?);
            }
            () = late => {
                crate::errln!("tidemill: jobs do not end in time; what is left of them is removed in the background");
                workers::clean_up_later(settings, working.id());
                return Ok(());
            }
            _ = interrupts.recv() => {
                if deadline.is_some() {
                    crate::errln!("tidemill: ended at once; the next start removes what is left");
                    return Err(Failure::silent(Exit::Canceled));
                }
                if told {
                    working.stop();
                    deadline = Some(Instant::now() + SHUTDOWN);
                    continue;
                }
                told = true;
                crate::outln!(
                    "stopping: running jobs have {} s to end; a second signal gives them back now",
                    args.grace.as_secs()
                );
                working.drain(args.grace);
            }
            notice = notice => {
                notices = None;
                let grace = notice.left().map_or(args.grace, |left| left.saturating_sub(HAND_BACK).min(args.grace));
                crate::outln!("{notice}: running jobs have {} s to end", grace.as_secs());
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
    crate::errln!(
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
    crate::errln!("tidemill: warning: {words}; they may act as this machine's role");
    Ok(())
}
