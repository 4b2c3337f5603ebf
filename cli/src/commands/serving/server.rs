//! `server`: serves the API and runs jobs until it is stopped.

use super::{
    isolation::isolate,
    observability::{Observability, Observed},
};
use crate::{
    args::{MailArgs, Server, SignInArgs},
    deployment::embedded_config,
    failure::{Exit, Failure, Outcome},
    interrupts::{Interrupts, force_exit_after},
    output::Logging,
    settings::{Settings, data_dir, input},
    workers,
};
use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tidemill_core::ids::WorkerId;
use tidemill_core::repository::AddressPolicy;
use tidemill_server::CertificateReloader;
use tidemill_server::ConnectionLimits;
use tidemill_server::EmbeddedConfig;
use tidemill_server::EmbeddedServer;
use tidemill_server::Listeners;
use tidemill_server::allowed_connections;
use tidemill_server::doctor::{Verdict, light_checks};
use tidemill_server::raise_open_file_limit;
use tidemill_services::ports::MailSender;
use tidemill_services::{HttpMessenger, ProviderOptions, ProviderSettings, SourcePolicy};
use tidemill_worker::{ServerConnection, Worker, WorkerError};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// Timeout of an orderly shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(9);
/// Time after which the process exits even if all its threads hang.
const FORCED_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// Part of the shutdown timeout in which workers return their jobs; the rest is for pending requests.
const WORKERS_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(6);

/// `tidemill server`.
pub async fn server(settings: &Settings, args: &Server, logging: Logging) -> Outcome {
    let mut interrupts = Interrupts::listen()?;
    force_exit_after(FORCED_SHUTDOWN_TIMEOUT, i32::from(Exit::Canceled as u8))?;
    let started = tokio::select! {
        started = RunningServer::start(settings, args, logging) => started,
        // No request was accepted yet.
        _ = interrupts.recv() => return Ok(()),
    };
    let mut server = started?;
    let result = tokio::select! {
        _ = interrupts.recv() => Ok(()),
        failed = server.failed() => failed,
    };
    tokio::select! {
        stopped = timeout(SHUTDOWN_TIMEOUT, server.stop(settings)) => {
            if stopped.is_err() {
                crate::output::errln!("tidemill: shutdown timed out; the next start resumes the remaining work");
            }
            result
        }
        _ = interrupts.recv() => {
            crate::output::errln!("tidemill: exiting immediately; the next start resumes the remaining work");
            result.and(Err(Failure::silent(Exit::Canceled)))
        }
    }
}

/// Returns the sender of e-mails, if there is a mail server.
#[cfg(feature = "smtp")]
fn mail_sender(args: &MailArgs) -> Outcome<Option<Arc<dyn MailSender>>> {
    let (Some(url), Some(from)) = (&args.smtp_url, &args.mail_from) else { return Ok(None) };
    let password = args.smtp_password_file.as_deref().map(input::read_value).transpose()?;
    let settings = tidemill_mail::MailSettings { url: url.clone(), password, from: from.clone() };
    let sender =
        tidemill_mail::SmtpSender::new(&settings).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Some(Arc::new(sender)))
}

#[cfg(not(feature = "smtp"))]
fn mail_sender(args: &MailArgs) -> Outcome<Option<Arc<dyn MailSender>>> {
    if args.smtp_url.is_some() {
        return Err(Failure::usage(
            "this build has no e-mails; build it with the default features: `cargo build --release -p tidemill-cli`",
        ));
    }
    Ok(None)
}

/// A running server with its workers.
struct RunningServer {
    serving: Option<JoinHandle<tidemill_services::Result<()>>>,
    shutdown: CancellationToken,
    working: Option<JoinHandle<Result<(), WorkerError>>>,
    stop_workers: CancellationToken,
    /// Set once the worker is connected to an engine.
    worker: Arc<OnceLock<WorkerId>>,
    observability: Observability,
}

impl RunningServer {
    async fn start(settings: &Settings, args: &Server, logging: Logging) -> Outcome<Self> {
        let tls = tls(args)?;
        let limits = limits(args);
        let addresses =
            AddressPolicy { allow_http: args.allow_http, hosts: args.allowed.hosts.clone(), any_host: false };
        let config = EmbeddedConfig {
            sources: SourcePolicy { addresses: addresses.clone(), snapshots: false },
            rate_limit: args.rate_limit,
            public_url: args.public_url.clone(),
            mail: mail_sender(&args.mail)?,
            limits,
            min_free_space: args.min_free_space,
            new_database: args.new_database,
            ..embedded_config(settings)?
        };
        let data_dir = config.data_dir.clone();
        if args.new_database {
            crate::output::errln!(
                "tidemill: creating a new database; existing data is moved to {}/replaced-<time>",
                data_dir.display()
            );
        }
        let embedded = EmbeddedServer::open(config).await?;
        let public = TcpListener::bind(args.listen).await.map_err(|error| {
            Failure::system(format!(
                "cannot listen on {}: {error}; use another address with --listen",
                args.listen
            ))
        })?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = public.local_addr()?;
        // The server's own workers need no TLS, and have separate connection limits.
        let own_workers = TcpListener::bind(("127.0.0.1", 0)).await?;
        let client = ServerConnection {
            server: format!("http://{}", own_workers.local_addr()?),
            token: embedded.token().to_owned(),
            only_execution: None,
            insecure_http: false,
        };
        let slots = args.jobs.map_or_else(|| workers::slots(None), usize::from);
        let mut config = {
            let file = settings.worker_file()?;
            workers::config(settings, slots, &args.labels.values, workers::machine_name(), file)?
        };
        config.addresses = addresses;
        embedded.check_records();
        for finding in light_checks(&data_dir, args.min_free_space) {
            if finding.verdict != Verdict::Ok {
                tracing::warn!(check = finding.check, found = finding.text, "see `tidemill doctor`");
            }
        }
        let url = args.public_url.clone().unwrap_or_else(|| local_url(scheme, address));
        embedded.services().set_public_url(&url);
        embedded.services().set_issuer_url(&url);
        enable_sign_in(&args.sign_in, &embedded)?;
        let (shutdown, stop_workers) = (CancellationToken::new(), CancellationToken::new());
        let parts = Observed { name: "tidemill-server", services: Some(embedded.services().clone()) };
        let observability = Observability::start(&args.observability, parts, logging).await?;
        let serving = tokio::spawn(
            embedded.serve_listeners(Listeners { public, tls, local_workers: own_workers }, shutdown.clone()),
        );
        if let Err(error) = data_dir::record_address(&data_dir, url.trim_end_matches('/')) {
            tracing::warn!(%error, "the server's address could not be recorded");
        }
        crate::output::outln!("serving on {scheme}://{address}, {slots} concurrent job(s)");
        observability.print_address();
        crate::output::outln!("the admin token is in {}", data_dir.join("token").display());
        let worker = Arc::new(OnceLock::new());
        let (stop, opened) = (stop_workers.clone(), worker.clone());
        let isolation = args.isolation.clone();
        let metrics = observability.metrics();
        let working = tokio::spawn(async move {
            if slots == 0 {
                stop.cancelled().await;
                return Ok(());
            }
            // An unresponsive engine must not delay shutdown.
            let Some(worker) = stop.run_until_cancelled(Worker::open(config)).await else { return Ok(()) };
            let worker = worker?;
            if let Err(error) = isolate(&isolation, &worker).await {
                worker.close().await;
                return Err(error);
            }
            let mut worker = worker.start(&client);
            let _ = opened.set(worker.id());
            metrics.add(Arc::new(worker.metrics()));
            tokio::select! {
                done = worker.wait() => {
                    // A drained worker has ended; the server goes on.
                    if done.is_ok() {
                        stop.cancelled().await;
                    }
                    done
                }
                () = stop.cancelled() => worker.shutdown().await,
            }
        });
        let (serving, working) = (Some(serving), Some(working));
        Ok(Self { serving, shutdown, working, stop_workers, worker, observability })
    }

    /// Waits until the server or its workers fail.
    async fn failed(&mut self) -> Outcome {
        let (Some(serving), Some(working)) = (&mut self.serving, &mut self.working) else { return Ok(()) };
        tokio::select! {
            result = serving => {
                self.serving = None;
                Ok(result.map_err(|error| Failure::system(error.to_string()))??)
            }
            result = working => {
                self.working = None;
                Ok(result.map_err(|error| Failure::system(error.to_string()))??)
            }
        }
    }

    /// Stops the workers, then the server, which must accept the jobs that they return.
    async fn stop(self, settings: &Settings) {
        self.stop_workers.cancel();
        if let Some(working) = self.working
            && timeout(WORKERS_SHUTDOWN_TIMEOUT, working).await.is_err()
            && let Some(worker) = self.worker.get()
        {
            crate::output::errln!("tidemill: jobs did not end in time; they are removed in the background");
            workers::clean_up_in_background(settings, *worker);
        }
        self.shutdown.cancel();
        if let Ok(data_dir) = settings.data_dir() {
            data_dir::remove_address(data_dir);
        }
        if let Some(serving) = self.serving
            && let Ok(Err(error)) = serving.await
        {
            tracing::warn!(%error, "the server failed during shutdown");
        }
        self.observability.stop().await;
    }
}

/// Lets people sign in with the providers of the arguments.
fn enable_sign_in(args: &SignInArgs, embedded: &EmbeddedServer) -> Outcome {
    let mut providers = Vec::new();
    for provider in args.providers() {
        let client_secret = match provider.client_secret_file {
            Some(file) => Some(client_secret(file)?),
            None => None,
        };
        let options = ProviderOptions {
            url: provider.url.map(str::to_owned),
            client_id: Some(provider.client_id.to_owned()),
            client_secret,
            groups_claim: provider.groups_claim.map(str::to_owned),
        };
        let settings = ProviderSettings::new(provider.kind, options);
        providers.push(settings.map_err(|error| Failure::usage(error.to_string()))?);
    }
    if providers.is_empty() {
        return Ok(());
    }
    let enabled = embedded.services().enable_sign_in(providers, Arc::new(HttpMessenger::default()));
    enabled.map_err(|error| Failure::usage(error.to_string()))
}

/// Reads the secret of this server at a provider.
fn client_secret(file: &Path) -> Outcome<String> {
    let secret = input::read_file(file, input::MAX_VALUE_LEN)?;
    if secret.trim().is_empty() {
        return Err(Failure::usage(format!("{} has no client secret: it is empty", file.display())));
    }
    Ok(secret)
}

/// Returns a URL of this server for other processes: one that listens on all addresses has no address of its own.
fn local_url(scheme: &str, address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        return format!("{scheme}://{}:{}", workers::machine_name(), address.port());
    }
    format!("{scheme}://{address}")
}

/// Returns the connection limits, reduced to fit the limit of open files.
fn limits(args: &Server) -> ConnectionLimits {
    let max_connections = allowed_connections(raise_open_file_limit(), args.max_connections.max(1));
    if max_connections < args.max_connections {
        tracing::warn!(
            max_connections,
            "the limit of open files allows fewer connections than --max-connections"
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

/// Loads the TLS certificate. Without one, fails if other machines can reach the server, unless --plain-http-on-a-network is set.
fn tls(args: &Server) -> Outcome<Option<Arc<CertificateReloader>>> {
    if let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) {
        let certificate = CertificateReloader::open(certificate.clone(), key.clone());
        return Ok(Some(certificate.map_err(|error| Failure::usage(error.to_string()))?));
    }
    if args.listen.ip().is_loopback() || args.plain_http_on_a_network {
        return Ok(None);
    }
    Err(Failure::usage(format!(
        "{} is reachable from other machines, and without TLS they can read tokens, sources and logs: use --tls-cert and \
         --tls-key, listen on 127.0.0.1 behind a TLS proxy, or accept the risk with --plain-http-on-a-network",
        args.listen
    )))
}
