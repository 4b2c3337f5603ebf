//! The whole backend in this process: embedded stores, the API on a listener, and the sweep.

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
    time::Duration,
};
use tidemill_core::api::RecordsCheck;
use tidemill_services::{
    Notifiers, Services, Settings, SourcePolicy, SystemClock,
    error::{Error, Result},
    http::{DEFAULT_RATE, TokenVerifier, router},
};
use tidemill_sqlite::{Database, OpenedStores, open_all, records_path, set_aside};
use tokio::{
    net::TcpListener,
    time::{MissedTickBehavior, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The longest that the check of all records may take: meanwhile the log of transactions cannot be shortened.
const MAX_CHECK_TIME: Duration = Duration::from_secs(120);
/// How long a sweep may stay away, at least, before the server says so.
const SWEEP_DEADLINE: Duration = Duration::from_secs(30);

/// How an embedded server is set up.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// Where records, logs, artifacts and the token live.
    pub data_dir: PathBuf,
    /// Milliseconds that a lease lasts without a report.
    pub lease_ttl_ms: u64,
    /// Pause between two sweeps.
    pub sweep_every: Duration,
    /// Calls a second that a user's token may make; 0: as many as anyone likes.
    pub rate_limit: u32,
    /// The server's address as people have it, for links.
    pub public_url: Option<String>,
    /// What is taken as sources.
    pub sources: SourcePolicy,
    /// What clients may do with connections.
    pub limits: ConnectionLimits,
    /// Free bytes below which no new work is taken; `None`: as the size of the disk suggests.
    pub min_free_space: Option<u64>,
    /// Moves the records that are there aside and begins new ones.
    pub new_database: bool,
}

impl EmbeddedConfig {
    /// The usual settings over this directory.
    #[must_use]
    pub fn new(data_dir: PathBuf) -> Self {
        let usual = Settings::default();
        Self {
            data_dir,
            lease_ttl_ms: usual.lease_ttl_ms,
            sweep_every: Duration::from_secs(2),
            rate_limit: DEFAULT_RATE,
            public_url: None,
            sources: SourcePolicy::default(),
            limits: ConnectionLimits::default(),
            min_free_space: None,
            new_database: false,
        }
    }
}

/// A backend that is ready to serve.
#[derive(Debug)]
pub struct EmbeddedServer {
    services: Services,
    database: Arc<Database>,
    token: String,
    sweep_every: Duration,
    rate_limit: u32,
    limits: ConnectionLimits,
    closing: CancellationToken,
}

/// Where a server listens.
#[derive(Debug)]
pub struct Listeners {
    /// For everyone.
    pub public: TcpListener,
    /// The certificate that is shown there; `None`: no TLS.
    pub tls: Option<Arc<CertificateReloader>>,
    /// For the workers of this process, on loopback and without TLS: what others do on the public one does not concern them.
    pub own_workers: TcpListener,
}

impl EmbeddedServer {
    /// Opens the stores, and reads the token or makes it at the first start.
    pub async fn open(config: EmbeddedConfig) -> Result<Self> {
        let closing = CancellationToken::new();
        let settings = Settings { lease_ttl_ms: config.lease_ttl_ms, ..Settings::default() };
        let EmbeddedConfig { sweep_every, rate_limit, limits, .. } = config;
        let outside = Notifiers { public_url: config.public_url.clone(), ..Notifiers::default() };
        let sources = config.sources.clone();
        let opened = tokio::task::spawn_blocking(move || {
            if config.new_database
                && let Some(aside) = set_aside(&records_path(&config.data_dir))?
            {
                tracing::warn!(aside = %aside.display(), "new records begin; the old ones were moved aside");
            }
            let opened = open_all(&config.data_dir, Arc::new(SystemClock), config.min_free_space)?;
            Ok((opened, token(&config.data_dir.join("token"))?))
        });
        let (OpenedStores { stores, database, reserve }, token) =
            opened.await.map_err(|error| Error::storage("opening the data directory", error))??;
        let services =
            Services::new(stores, settings, closing.clone()).reaching(outside).taking(sources).on(reserve);
        services.compute_on(Arc::new(ComputeThreads::default()));
        Ok(Self { services, database, token, sweep_every, rate_limit, limits, closing })
    }

    /// What callers bring as bearer token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The services, for callers in the same process.
    #[must_use]
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Checks all records in the background, on a thread that nobody waits for; health tells what came of it.
    pub fn check_records(&self) {
        let (database, health) = (self.database.clone(), self.services.health.clone());
        health.note_records(RecordsCheck::Running);
        let checking = tokio::task::spawn_blocking(move || {
            health.note_records(database.check_records(MAX_CHECK_TIME));
        });
        drop(checking);
    }

    /// Serves the API on `listener` and carries on what is late until `shutdown`; held replies end then.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> Result<()> {
        let (api, limits) = (self.api(), self.limits);
        self.serve_all(shutdown, |stopping, tasks| {
            tasks.spawn(serving::serve(listener, None, api, limits, stopping));
            Ok(())
        })
        .await
    }

    /// The same on several listeners.
    pub async fn serve_on(self, listeners: Listeners, shutdown: CancellationToken) -> Result<()> {
        let (api, limits) = (self.api(), self.limits);
        self.serve_all(shutdown, |stopping, tasks| {
            let Listeners { public, tls, own_workers } = listeners;
            let acceptor = tls.clone().map(CertificateReloader::acceptor).transpose()?;
            if let Some(tls) = tls {
                tasks.spawn(tls.follow(stopping.clone()));
            }
            tasks.spawn(serving::serve(public, acceptor, api.clone(), limits, stopping.clone()));
            tasks.spawn(serving::serve(own_workers, None, api, limits.for_own_workers(), stopping));
            Ok(())
        })
        .await
    }

    fn api(&self) -> axum::Router {
        router(self.services.clone(), TokenVerifier::of_token(&self.token).at_most(self.rate_limit))
    }

    /// Runs whatever goes on until `shutdown`; each task then has a moment to end, and is left behind if it does not.
    async fn serve_all(
        self,
        shutdown: CancellationToken,
        listen: impl FnOnce(CancellationToken, &TaskTracker) -> Result<()>,
    ) -> Result<()> {
        let Self { services, sweep_every, limits, closing, .. } = self;
        let _ends_all = closing.clone().drop_guard();
        let tasks = TaskTracker::new();
        listen(closing.clone(), &tasks)?;
        tasks.spawn(sweep(services.clone(), sweep_every, closing.clone()));
        // Others may be slow: the sweep does not wait for them.
        let (outbox, stop) = (services.outbox.clone(), closing.clone());
        tasks.spawn(async move {
            let mut ticks = tokio::time::interval(sweep_every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                let told = stop.run_until_cancelled(outbox.run()).await;
                if let Some(Err(error)) = told {
                    tracing::warn!(%error, "what others are to be told waits");
                }
            }
        });
        shutdown.cancelled().await;
        closing.cancel();
        tasks.close();
        if timeout(limits.grace + Duration::from_secs(1), tasks.wait()).await.is_err() {
            tracing::warn!(left = tasks.len(), "something does not end in time; it is left behind");
        }
        Ok(())
    }
}

/// Carries on what is late and starts what is scheduled, until `stop`. A sweep that is under way then is broken off: each of its writes
/// is whole by itself.
async fn sweep(services: Services, every: Duration, stop: CancellationToken) {
    let health = &services.health;
    health.expect_sweeps(SWEEP_DEADLINE.max(every * 5));
    let sweeping = async {
        if let Err(error) = services.sweep.resend_queued().await {
            tracing::warn!(%error, "what is queued is sent again when it is late");
        }
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match services.sweep.run().await {
                Ok(_) => health.swept(),
                Err(error) => tracing::warn!(%error, "the next sweep tries again"),
            }
            if let Err(error) = services.schedules.run().await {
                tracing::warn!(%error, "the next sweep starts what is scheduled");
            }
            // A reserve that was spent is made again when there is space, whether or not anybody stores something.
            health.look_at_disk().await;
        }
    };
    stop.run_until_cancelled(sweeping).await;
}

/// The token in the file, made there first if need be; only its owner can read it.
fn token(path: &Path) -> Result<String> {
    let doing = || format!("making the API's token in {}", path.display());
    let read = || match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|token| !token.is_empty())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("reading the API's token from {}", path.display()), error)),
    };
    if let Some(token) = read()? {
        return Ok(token);
    }
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random).map_err(|error| Error::storage(doing(), error))?;
    // Whole or not at all, and the first of several processes wins: linking does not replace.
    let aside = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)
        .and_then(|mut file| {
            file.write_all(URL_SAFE_NO_PAD.encode(random).as_bytes())?;
            file.sync_data()
        })
        .and_then(|()| match fs::hard_link(&aside, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        });
    drop(fs::remove_file(&aside));
    written.map_err(|error| Error::io(doing(), error))?;
    read()?.ok_or_else(|| Error::storage(doing(), "the file is empty; remove it, and start again"))
}
