//! The whole backend in this process: embedded stores, the API on a listener, and the sweep.

use super::{
    Database, FileLogs, FileObjects, KeyFile, SqliteDocuments, SqliteQueue, SqliteRecords,
    files::make_directory,
    reserve::{Frugal, Reserve},
    tls::{Tls, TlsListener},
};
use crate::{
    RandomIds, Stores, SystemClock,
    error::{Error, Result},
    http::{Access, ClientAddress, USUAL_RATE, router},
    ports::Clock,
    services::{Outside, Services, Settings, SourcePolicy},
};
use axum::{extract::connect_info::Connected, serve::IncomingStream};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

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
            rate_limit: USUAL_RATE,
            public_url: None,
            sources: SourcePolicy::default(),
        }
    }
}

/// A backend that is ready to serve.
#[derive(Debug)]
pub struct Embedded {
    services: Services,
    token: String,
    sweep_every: Duration,
    rate_limit: u32,
    closing: CancellationToken,
}

/// A listener that the network may reach, and its certificate.
#[derive(Debug)]
pub struct Secure {
    /// Where it listens.
    pub listener: TcpListener,
    /// What it shows.
    pub tls: Arc<Tls>,
}

/// The embedded stores below a directory, which is made if it is not there.
pub fn open(data_dir: &Path) -> Result<Stores> {
    open_at(data_dir, Arc::new(SystemClock))
}

/// The same on another clock.
pub fn open_at(data_dir: &Path, clock: Arc<dyn Clock>) -> Result<Stores> {
    make_directory(data_dir)?;
    let reserve = Arc::new(Reserve::open(data_dir.join("reserve")));
    let on_full = reserve.clone();
    let database = Database::open_with(&data_dir.join("tidemill.db"), move || on_full.spend())?;
    let database = Arc::new(database);
    Ok(Stores {
        records: Arc::new(SqliteRecords::new(database.clone())),
        documents: Arc::new(SqliteDocuments::new(database.clone(), clock.clone())),
        keys: Arc::new(KeyFile::new(data_dir.join("secret.key"))),
        queue: Arc::new(SqliteQueue::new(database, clock.clone())),
        objects: Arc::new(Frugal {
            store: FileObjects::open(&data_dir.join("artifacts"))?,
            reserve: reserve.clone(),
        }),
        logs: Arc::new(Frugal { store: FileLogs::open(&data_dir.join("logs"))?, reserve }),
        clock,
        ids: Arc::new(RandomIds),
    })
}

impl Embedded {
    /// Opens the stores, and reads the token or makes it at the first start.
    pub async fn open(config: EmbeddedConfig) -> Result<Self> {
        let closing = CancellationToken::new();
        let settings = Settings { lease_ttl_ms: config.lease_ttl_ms, ..Settings::default() };
        let rate_limit = config.rate_limit;
        let outside = Outside { public_url: config.public_url.clone(), ..Outside::default() };
        let sources = config.sources.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let stores = open(&config.data_dir)?;
            Ok((stores, token(&config.data_dir.join("token"))?, config.sweep_every))
        });
        let (stores, token, sweep_every) =
            opened.await.map_err(|error| Error::storage("opening the data directory", error))??;
        let services = Services::new(stores, settings, closing.clone()).reaching(outside).taking(sources);
        Ok(Self { services, token, sweep_every, rate_limit, closing })
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

    /// Serves the API on `listener` and sweeps until `shutdown`; held replies end then.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> Result<()> {
        self.serve_also(listener, None, shutdown).await
    }

    /// The same, on another listener with TLS as well.
    pub async fn serve_also(
        self,
        listener: TcpListener,
        secure: Option<Secure>,
        shutdown: CancellationToken,
    ) -> Result<()> {
        let Self { services, token, sweep_every, rate_limit, closing } = self;
        if let Err(error) = services.sweep.resend_queued().await {
            tracing::warn!(%error, "what is queued is sent again when it is late");
        }
        let access = Access::of_token(&token).at_most(rate_limit);
        let api = router(services.clone(), access).into_make_service_with_connect_info::<ClientAddress>();
        let stop = closing.clone();
        let outbox = services.outbox.clone();
        let sweeper = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(sweep_every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = stop.cancelled() => return,
                }
                if let Err(error) = services.sweep.run().await {
                    tracing::warn!(%error, "the next sweep tries again");
                }
                if let Err(error) = services.schedules.run().await {
                    tracing::warn!(%error, "the next sweep starts what is scheduled");
                }
            }
        });
        // Others may be slow: the sweep does not wait for them.
        let stop = closing.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(sweep_every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                let told = stop.run_until_cancelled(outbox.run()).await;
                if let Some(Err(error)) = told {
                    tracing::warn!(%error, "what others are to be told waits");
                }
            }
        });
        let over = closing.clone();
        tokio::spawn(async move {
            shutdown.cancelled().await;
            over.cancel();
        });
        // Neither goes on without the other.
        let plain = async {
            let _ends_all = closing.clone().drop_guard();
            axum::serve(listener, api.clone()).with_graceful_shutdown(closing.clone().cancelled_owned()).await
        };
        let secured = async {
            let Some(Secure { listener, tls }) = secure else { return Ok(()) };
            tokio::spawn(tls.clone().follow(closing.clone()));
            let _ends_all = closing.clone().drop_guard();
            let listener = TlsListener::new(listener, tls)?;
            axum::serve(listener, api.clone())
                .with_graceful_shutdown(closing.clone().cancelled_owned())
                .await
                .map_err(|error| Error::io("serving the API with TLS", error))
        };
        let (served, secured) = tokio::join!(plain, secured);
        sweeper.await.map_err(|error| Error::storage("sweeping", error))?;
        served.map_err(|error| Error::io("serving the API", error))?;
        secured
    }
}

impl Connected<IncomingStream<'_, TcpListener>> for ClientAddress {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self(stream.remote_addr().ip())
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for ClientAddress {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        Self(stream.remote_addr().ip())
    }
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
