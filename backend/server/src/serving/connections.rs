//! The registry of a listener's connections, which enforces limits and deadlines.

use super::limits::{
    Admission, ConnectionLimits, ConnectionView, MissedDeadline, Phase, TransferRate, admit, overdue,
};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use tidemill_services::http::{AuthenticatedFlag, ClientAddress};
use tokio_util::sync::CancellationToken;

/// A connection, shared by its task and the registry.
#[derive(Debug)]
pub struct Connection {
    address: IpAddr,
    /// Set when a request on this connection has a valid token or signature.
    pub proof: AuthenticatedFlag,
    state: Mutex<ConnectionState>,
    /// Closes the connection.
    pub close: CancellationToken,
}

#[derive(Debug)]
struct ConnectionState {
    phase: Phase,
    since: Instant,
    body: TransferRate,
    reply: TransferRate,
}

impl Connection {
    fn new(address: IpAddr, phase: Phase) -> Self {
        let state = ConnectionState {
            phase,
            since: Instant::now(),
            body: TransferRate::default(),
            reply: TransferRate::default(),
        };
        Self {
            address,
            proof: AuthenticatedFlag::default(),
            state: Mutex::new(state),
            close: CancellationToken::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, ConnectionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self) -> ConnectionView {
        let state = self.state();
        ConnectionView {
            address: self.address,
            authenticated: self.proof.is_set(),
            phase: state.phase,
            since: state.since,
            body: state.body,
            reply: state.reply,
        }
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.state();
        state.phase = phase;
        state.since = Instant::now();
    }

    /// Returns whether a request is being served.
    pub fn is_serving_request(&self) -> bool {
        self.state().phase == Phase::Request
    }

    /// Notes that the TLS handshake is complete.
    pub fn handshake_completed(&self) {
        self.enter(Phase::Idle);
    }

    /// Notes received bytes. The first ones after a reply begin the head of a request.
    pub fn received(&self) {
        let mut state = self.state();
        if state.phase == Phase::Idle {
            state.phase = Phase::Head;
            state.since = Instant::now();
        }
    }

    /// Notes that the head of a request is complete. The request is being served until the returned value is dropped.
    pub fn begin_request(self: &Arc<Self>) -> InFlight {
        let mut state = self.state();
        let body = TransferRate::default();
        *state = ConnectionState {
            phase: Phase::Request,
            since: Instant::now(),
            body,
            reply: TransferRate::default(),
        };
        drop(state);
        InFlight(self.clone())
    }

    /// Notes that the server waits for bytes of a request body.
    pub fn wait_for_body(&self) {
        self.state().body.wait(Instant::now());
    }

    /// Notes received bytes of a request body.
    pub fn body_received(&self, bytes: usize) {
        self.state().body.progress(Instant::now(), bytes as u64);
    }

    /// Notes that the client does not read the reply.
    pub fn wait_for_reader(&self) {
        self.state().reply.wait(Instant::now());
    }

    /// Notes bytes of a reply that the client has read.
    pub fn reply_sent(&self, bytes: usize) {
        self.state().reply.progress(Instant::now(), bytes as u64);
    }
}

/// A request that is being served.
#[derive(Debug)]
pub struct InFlight(Arc<Connection>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.enter(Phase::Idle);
    }
}

/// The connections of a listener.
#[derive(Debug)]
pub struct Connections {
    limits: ConnectionLimits,
    all: Mutex<(u64, HashMap<u64, Arc<Connection>>)>,
}

impl Connections {
    /// Creates an empty registry.
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self { limits, all: Mutex::default() })
    }

    fn all(&self) -> MutexGuard<'_, (u64, HashMap<u64, Arc<Connection>>)> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a connection from `address`, and closes another one for it if necessary. Returns `None` at the limit.
    pub fn open(self: &Arc<Self>, address: IpAddr, phase: Phase) -> Option<OpenConnection> {
        let address = ClientAddress(address).network();
        let mut all = self.all();
        let views: Vec<(u64, ConnectionView)> =
            all.1.iter().map(|(id, connection)| (*id, connection.view())).collect();
        match admit(&views, address, &self.limits) {
            Admission::Admit => {}
            Admission::Replace(id) => {
                if let Some(replaced) = all.1.remove(&id) {
                    tracing::debug!(address = %replaced.address, "closed a connection in favor of a new one");
                    replaced.close.cancel();
                }
            }
            Admission::Reject => return None,
        }
        let connection = Arc::new(Connection::new(address, phase));
        let id = all.0;
        all.0 += 1;
        all.1.insert(id, connection.clone());
        Some(OpenConnection { id, connection, registry: self.clone() })
    }

    /// Closes the connections that missed a deadline.
    fn close_overdue(&self) {
        let now = Instant::now();
        let mut all = self.all();
        let missed: Vec<(u64, MissedDeadline)> = all
            .1
            .iter()
            .filter_map(|(id, connection)| Some((*id, overdue(&connection.view(), now, &self.limits)?)))
            .collect();
        for (id, missed) in missed {
            if let Some(closed) = all.1.remove(&id) {
                tracing::debug!(address = %closed.address, ?missed, "closed a connection that missed a deadline");
                closed.close.cancel();
            }
        }
    }

    /// Closes connections that miss a deadline, until `stopping` is canceled.
    pub async fn enforce_deadlines(self: Arc<Self>, stopping: CancellationToken) {
        let mut ticks = tokio::time::interval(self.limits.check_interval());
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stopping.run_until_cancelled(ticks.tick()).await.is_some() {
            self.close_overdue();
        }
    }
}

/// A registered connection. Dropping this removes it from the registry.
#[derive(Debug)]
pub struct OpenConnection {
    id: u64,
    /// The connection.
    pub connection: Arc<Connection>,
    registry: Arc<Connections>,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.registry.all().1.remove(&self.id);
    }
}
