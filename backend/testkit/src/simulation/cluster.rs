//! The servers of a run, and a network that loses, delays and repeats requests.

use super::{
    auditor::Auditor,
    git_server::GitServer,
    stores::SharedStores,
    world::{TaskOwner, World},
};
use futures_util::future::BoxFuture;
use std::sync::{Arc, Mutex, PoisonError};
use tidemill_core::execution::attempt::ReportPace;
use tidemill_services::Error;
use tidemill_services::Result;
use tidemill_services::{Services, Settings};
use tokio_util::sync::CancellationToken;

pub const SERVERS: usize = 2;
/// Duration of a lease, in milliseconds.
pub const LEASE_MS: u64 = 30_000;
/// Time-out of a request, in milliseconds.
const REQUEST_TIMEOUT_MS: u64 = 10_000;
/// Maximum time until a crashed server restarts, in milliseconds.
const RESTART_DELAY_MS: u64 = 4_000;

/// Why a call failed.
#[derive(Debug)]
pub enum CallError {
    /// No reply: the request may have had its effect.
    NoReply,
    /// The server returned an error.
    Rejected(Error),
}

/// The servers; each has its own memory, which a crash erases.
pub struct Cluster {
    pub stores: Arc<SharedStores>,
    pub auditor: Arc<Auditor>,
    pub git_server: GitServer,
    servers: Mutex<Vec<Option<Services>>>,
    skews: [i64; SERVERS],
}

impl Cluster {
    pub fn new(shared: Arc<SharedStores>, auditor: Arc<Auditor>) -> Arc<Self> {
        let max_skew = i64::from(shared.chances.skew_ms);
        let skew = || {
            i64::try_from(shared.world.random_below(shared.chances.skew_ms.into())).unwrap_or(0) * 2
                - max_skew
        };
        let skews = [skew(), skew()];
        let cluster = Self {
            stores: shared,
            auditor,
            git_server: GitServer::default(),
            servers: Mutex::default(),
            skews,
        };
        let servers = (0..SERVERS).map(|ix| Some(cluster.boot(ix))).collect();
        *cluster.servers.lock().unwrap_or_else(PoisonError::into_inner) = servers;
        Arc::new(cluster)
    }

    pub fn world(&self) -> &Arc<World> {
        &self.stores.world
    }

    fn boot(&self, ix: usize) -> Services {
        let settings = Settings {
            lease_ttl_ms: LEASE_MS,
            report_pace: ReportPace::BATCHED,
            max_wait_ms: 0,
            max_jobs_per_request: self.stores.chances.max_jobs_per_request,
            continues_after_reply: false,
            ..Settings::default()
        };
        Services::new(self.stores.stores(self.skews[ix]), settings, CancellationToken::new())
    }

    pub fn server(&self, ix: usize) -> Option<Services> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)[ix].clone()
    }

    /// Crashes a server with all its requests, and restarts it later.
    pub fn crash(self: &Arc<Self>, ix: usize) {
        self.world().record_event(format_args!("server {ix} dies"));
        self.world().kill(TaskOwner::Server(ix));
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)[ix] = None;
        let cluster = self.clone();
        self.world().spawn(TaskOwner::Environment, async move {
            let delay_ms = cluster.world().random_below(RESTART_DELAY_MS);
            cluster.world().sleep(delay_ms).await;
            let server = cluster.boot(ix);
            cluster.servers.lock().unwrap_or_else(PoisonError::into_inner)[ix] = Some(server);
        });
    }

    /// Calls a random server, and returns its reply.
    pub async fn call<T: Send + 'static>(
        self: &Arc<Self>,
        request: impl Fn(Services) -> BoxFuture<'static, Result<T>> + Send + Sync,
    ) -> Result<T, CallError> {
        let (shared, world) = (self.stores.clone(), self.world().clone());
        let ms = world.random_below(20);
        world.sleep(ms).await;
        if shared.inject(shared.chances.lost_request, "request lost") {
            world.sleep(REQUEST_TIMEOUT_MS).await;
            return Err(CallError::NoReply);
        }
        let ix = usize::try_from(world.random_below(SERVERS as u64)).unwrap_or(0);
        let Some(server) = self.server(ix) else {
            world.sleep(100).await;
            return Err(CallError::NoReply);
        };
        let (sender, reply) = world.channel();
        let work = request(server.clone());
        world.spawn(TaskOwner::Server(ix), async move { sender.send(work.await) });
        if shared.inject(shared.chances.duplicate, "request repeated") {
            let (again, later) = (request(server), world.random_below(REQUEST_TIMEOUT_MS * 6));
            let clock = world.clone();
            world.spawn(TaskOwner::Server(ix), async move {
                clock.sleep(later).await;
                drop(again.await);
            });
        }
        let Some(outcome) = reply.within(REQUEST_TIMEOUT_MS).await else { return Err(CallError::NoReply) };
        if shared.inject(shared.chances.lost_reply, "reply lost") {
            world.sleep(REQUEST_TIMEOUT_MS).await;
            return Err(CallError::NoReply);
        }
        match outcome {
            Ok(reply) => Ok(reply),
            // As over HTTP: a failed store may have had its effect.
            Err(Error::Storage { .. }) => Err(CallError::NoReply),
            Err(error) => Err(CallError::Rejected(error)),
        }
    }
}
