//! The embedded server: opens the stores and runs the API, the sweep and the outbox.

use super::{
    ComputeThreads,
    serving::{self, ConnectionLimits},
    tls::CertificateReloader,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tidemill_core::{api::RecordsCheck, time::Timestamp};
use tidemill_services::{
    Disk, Notifiers, Services, Settings, SourcePolicy, SystemClock,
    error::{Error, Result},
    http::{DEFAULT_RATE, TokenVerifier, router},
    ports::MailSender,
};
use tidemill_sqlite::{Database, OpenedStores, move_database_away, open_all, records_path};
use tokio::{
    net::TcpListener,
    time::{MissedTickBehavior, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Time limit of the database check, during which the write-ahead log cannot be truncated.
const MAX_CHECK_TIME: Duration = Duration::from_secs(120);
/// How much later than planned a sweep may start. After a longer time, this process or its machine was suspended.
const MAX_SWEEP_DELAY: Duration = Duration::from_secs(3);
/// Minimum time without a sweep after which health reports it as overdue.
const SWEEP_DEADLINE: Duration = Duration::from_secs(30);

/// Interval at which a part of a pass of retention may begin.
const RETENTION_INTERVAL: Duration = Duration::from_secs(20);
/// Time limit of a part of a pass.
const RETENTION_LIMIT: Duration = Duration::from_secs(15);

/// The configuration of an embedded server.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// The directory of the records, logs, artifacts and the token.
    pub data_dir: PathBuf,
    /// Lifetime of a lease without a report, in milliseconds.
    pub lease_ttl_ms: u64,
    /// Interval between sweeps.
    pub sweep_every: Duration,
    /// Requests per second that a user's token may make; 0: unlimited.
    pub rate_limit: u32,
    /// Public URL of the server, for links.
    pub public_url: Option<String>,
    /// Sends the e-mails of notifications.
    pub mail: Option<Arc<dyn MailSender>>,
    /// Which sources are accepted.
    pub sources: SourcePolicy,
    /// Limits of connections.
    pub limits: ConnectionLimits,
    /// Free bytes below which new work is rejected; `None` derives the threshold from the size of the disk.
    pub min_free_space: Option<u64>,
    /// Moves an existing database to another directory and starts with an empty one.
    pub new_database: bool,
}

impl EmbeddedConfig {
    /// Creates the default configuration for a data directory.
    #[must_use]
    pub fn new(data_dir: PathBuf) -> Self {
        let defaults = Settings::default();
        Self {
            data_dir,
            lease_ttl_ms: defaults.lease_ttl_ms,
            sweep_every: Duration::from_secs(2),
            rate_limit: DEFAULT_RATE,
            public_url: None,
            mail: None,
            sources: SourcePolicy::default(),
            limits: ConnectionLimits::default(),
            min_free_space: None,
            new_database: false,
        }
    }
}

/// An embedded server whose stores are open.
#[derive(Debug)]
pub struct EmbeddedServer {
    services: Services,
    database: Arc<Database>,
    token: String,
    sweep_interval: Duration,
    rate_limit: u32,
    limits: ConnectionLimits,
    closing: CancellationToken,
    disk: Arc<dyn Disk>,
}

/// The listeners of a server.
#[derive(Debug)]
pub struct Listeners {
    /// The public listener.
    pub public: TcpListener,
    /// The certificate of the public listener; `None`: no TLS.
    pub tls: Option<Arc<CertificateReloader>>,
    /// The listener for the workers of this process, on loopback and without TLS. Load on the public listener does not affect it.
    pub local_workers: TcpListener,
}

impl EmbeddedServer {
    /// Opens the stores and reads the token, which is created at the first start.
    pub async fn open(config: EmbeddedConfig) -> Result<Self> {
        let closing = CancellationToken::new();
        let settings = Settings { lease_ttl_ms: config.lease_ttl_ms, ..Settings::default() };
        let EmbeddedConfig { sweep_every, rate_limit, limits, .. } = config;
        let (public_url, mail) = (config.public_url.clone(), config.mail.clone());
        let notifiers = Notifiers { public_url, mail, ..Notifiers::default() };
        let sources = config.sources.clone();
        let opening = tokio::task::spawn_blocking(move || {
            if config.new_database
                && let Some(moved_to) = move_database_away(&records_path(&config.data_dir))?
            {
                tracing::warn!(moved_to = %moved_to.display(), "starting with an empty database; the old one was moved");
            }
            let opened = open_all(&config.data_dir, Arc::new(SystemClock), config.min_free_space)?;
            Ok((opened, token(&config.data_dir.join("token"))?))
        });
        let (OpenedStores { stores, database, reserve, meter }, token) =
            opening.await.map_err(|error| Error::storage("opening the data directory", error))??;
        let services = Services::new(stores, settings, closing.clone())
            .with_notifiers(notifiers)
            .with_source_policy(sources)
            .with_disk(reserve.clone());
        services.compute_on(Arc::new(ComputeThreads::default()));
        services.retention.measure_with(meter);
        let sweep_interval = sweep_every;
        Ok(Self { services, database, token, sweep_interval, rate_limit, limits, closing, disk: reserve })
    }

    /// Returns the bearer token of the API.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns the services, for callers in the same process.
    #[must_use]
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Starts a check of the database in the background. Health reports the result.
    pub fn check_records(&self) {
        let (database, health) = (self.database.clone(), self.services.health.clone());
        health.record_records_check(RecordsCheck::Running);
        let check = tokio::task::spawn_blocking(move || {
            health.record_records_check(database.check_records(MAX_CHECK_TIME));
        });
        drop(check);
    }

    /// Serves the API on `listener` and runs the sweep until `shutdown` is canceled, which also ends long polls.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> Result<()> {
        let (api, limits) = (self.api(), self.limits);
        self.serve_all(shutdown, |stopping, tasks| {
            tasks.spawn(serving::serve(listener, None, api, limits, stopping));
            Ok(())
        })
        .await
    }

    /// Serves as [`Self::serve`] does, on several listeners.
    pub async fn serve_listeners(self, listeners: Listeners, shutdown: CancellationToken) -> Result<()> {
        let (api, limits) = (self.api(), self.limits);
        self.serve_all(shutdown, |stopping, tasks| {
            let Listeners { public, tls, local_workers: own_workers } = listeners;
            let acceptor = tls.clone().map(CertificateReloader::acceptor).transpose()?;
            if let Some(tls) = tls {
                tasks.spawn(tls.reload_on_change(stopping.clone()));
            }
            tasks.spawn(serving::serve(public, acceptor, api.clone(), limits, stopping.clone()));
            tasks.spawn(serving::serve(own_workers, None, api, limits.for_local_workers(), stopping));
            Ok(())
        })
        .await
    }

    fn api(&self) -> axum::Router {
        router(self.services.clone(), TokenVerifier::from_token(&self.token).with_rate_limit(self.rate_limit))
    }

    /// Runs all tasks until `shutdown` is canceled. They then have [`ConnectionLimits::grace`] and a second to end; the rest is
    /// abandoned.
    async fn serve_all(
        self,
        shutdown: CancellationToken,
        listen: impl FnOnce(CancellationToken, &TaskTracker) -> Result<()>,
    ) -> Result<()> {
        let Self { services, sweep_interval: sweep_every, limits, closing, disk, .. } = self;
        let _cancel_on_drop = closing.clone().drop_guard();
        let tasks = TaskTracker::new();
        listen(closing.clone(), &tasks)?;
        tasks.spawn(sweep(services.clone(), sweep_every, closing.clone()));
        tasks.spawn(retain(services.clone(), disk, closing.clone()));
        // Git providers and chats may be slow, so the sweep does not wait for them.
        let (outbox, stop) = (services.outbox.clone(), closing.clone());
        tasks.spawn(async move {
            let mut ticks = tokio::time::interval(sweep_every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                let delivered = stop.run_until_cancelled(outbox.run()).await;
                if let Some(Err(error)) = delivered {
                    tracing::warn!(%error, "outbox run failed; the next run retries it");
                }
            }
        });
        shutdown.cancelled().await;
        closing.cancel();
        tasks.close();
        if timeout(limits.grace + Duration::from_secs(1), tasks.wait()).await.is_err() {
            tracing::warn!(left = tasks.len(), "some tasks did not end in time; they are abandoned");
        }
        Ok(())
    }
}

/// Runs the sweep, the schedules, the stops of environments and what follows ended executions until `stop` is canceled. A running
/// sweep is then aborted, which is safe: each of its writes is atomic.
async fn sweep(services: Services, every: Duration, stop: CancellationToken) {
    let health = &services.health;
    health.expect_sweeps(SWEEP_DEADLINE.max(every * 5));
    let sweeping = async {
        if let Err(error) = services.sweep.resend_queued().await {
            tracing::warn!(%error, "cannot resend queued jobs; the sweep sends them when they are due");
        }
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let last = SystemTime::now();
            ticks.tick().await;
            // By the wall clock, as the other clocks stop while the machine sleeps.
            if last.elapsed().is_ok_and(|elapsed| elapsed > every + MAX_SWEEP_DELAY) {
                renew_leases(&services, last).await;
            }
            match services.sweep.run().await {
                Ok(_) => health.record_sweep(),
                Err(error) => tracing::warn!(%error, "the sweep failed; the next one retries it"),
            }
            if let Err(error) = services.schedules.run().await {
                tracing::warn!(%error, "starting schedules failed; the next sweep retries it");
            }
            if let Err(error) = services.environments.run().await {
                tracing::warn!(%error, "processing environments failed; the next sweep retries it");
            }
            if let Err(error) = services.follow_ups.run().await {
                tracing::warn!(%error, "starting pipelines that follow others failed; the next sweep retries it");
            }
            // Recreates a spent reserve when there is space, even if nothing is stored.
            health.check_disk().await;
        }
    };
    stop.run_until_cancelled(Box::pin(sweeping)).await;
}

/// Removes what no rule of retention keeps, and caches when the disk is nearly full, until `stop` is canceled. Beside the sweep, as a
/// pass may take long; a pass that is cut off goes on at the next start.
async fn retain(services: Services, disk: Arc<dyn Disk>, stop: CancellationToken) {
    let retaining = async {
        let mut ticks = tokio::time::interval(RETENTION_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A command that lasts for seconds does not begin a pass.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            if let Err(error) = services.retention.run_due(RETENTION_LIMIT).await {
                tracing::warn!(%error, "retention failed; the next run retries it");
            }
            let state = disk.state();
            if state.free_bytes >= state.low_bytes.saturating_mul(2) {
                continue;
            }
            match services.retention.evict_caches().await {
                Ok(0) => {}
                Ok(caches) => {
                    tracing::warn!(
                        caches,
                        "the disk is nearly full: the least recently used caches were removed"
                    );
                }
                Err(error) => {
                    tracing::warn!(%error, "caches cannot be removed although the disk is nearly full");
                }
            }
        }
    };
    stop.run_until_cancelled(Box::pin(retaining)).await;
}

/// Renews the leases that expired while this process was suspended, since `last`.
async fn renew_leases(services: &Services, last: SystemTime) {
    let since_epoch = last.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let suspended_at = Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX));
    match services.sweep.renew_after_suspension(suspended_at).await {
        Ok(renewed) => {
            tracing::info!(renewed, %suspended_at, "the server was suspended; leases were renewed");
        }
        Err(error) => tracing::warn!(%error, "leases cannot be renewed after a suspension"),
    }
}

/// Reads the token from the file, which is created with mode 0600 if it does not exist.
fn token(path: &Path) -> Result<String> {
    let operation = || format!("creating the API token in {}", path.display());
    let read = || match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|token| !token.is_empty())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("reading the API token from {}", path.display()), error)),
    };
    if let Some(token) = read()? {
        return Ok(token);
    }
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random).map_err(|error| Error::storage(operation(), error))?;
    // Atomic. If several processes create the file, the first one wins: a hard link does not replace a file.
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(URL_SAFE_NO_PAD.encode(random).as_bytes())?;
            file.sync_data()
        })
        .and_then(|()| match fs::hard_link(&temporary, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        });
    drop(fs::remove_file(&temporary));
    written.map_err(|error| Error::io(operation(), error))?;
    read()?.ok_or_else(|| Error::storage(operation(), "the file is empty; remove it and start again"))
}
