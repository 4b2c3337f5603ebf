//! Limits of connections, and the decisions that apply them.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

/// Limits of one listener. Deadlines are for progress: a long poll or an upload of gigabytes does not reach one.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Maximum number of connections. Unauthenticated ones get at most half of them.
    pub max_connections: usize,
    /// Maximum number of unauthenticated connections per address.
    pub max_per_address: usize,
    /// Time limit of a TLS handshake.
    pub handshake: Duration,
    /// Time limit of the head of a request, from its first byte.
    pub head: Duration,
    /// Maximum time between two requests on an authenticated connection.
    pub idle: Duration,
    /// Maximum time between two requests, and until the first one, on an unauthenticated connection.
    pub idle_unauthenticated: Duration,
    /// Time limit of a whole request without a valid token, with its body and its reply.
    pub request_unauthenticated: Duration,
    /// Maximum pause of a client while it sends a body or reads a reply.
    pub stall: Duration,
    /// Minimum average rate, in bytes per second, at which a client sends or reads while the server waits for it. It applies
    /// once the server has waited for more than twice `stall`.
    pub min_rate: u64,
    /// Time that requests have to end when the server stops.
    pub grace: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_connections: 2_048,
            max_per_address: 64,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            // Longer than clients keep idle connections, so that none is closed while a client sends a request.
            idle: Duration::from_secs(120),
            idle_unauthenticated: Duration::from_secs(15),
            request_unauthenticated: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            min_rate: 1_024,
            grace: Duration::from_secs(2),
        }
    }
}

impl ConnectionLimits {
    /// Returns the limits of a listener for the workers of this process, whose connections are counted separately.
    #[must_use]
    pub fn for_local_workers(self) -> Self {
        Self { max_connections: (self.max_connections / 4).clamp(64, 1_024), ..self }
    }

    /// Returns the interval at which deadlines are checked.
    pub fn check_interval(&self) -> Duration {
        let durations = [
            self.handshake,
            self.head,
            self.idle,
            self.idle_unauthenticated,
            self.stall,
            self.request_unauthenticated,
        ];
        let shortest = durations.into_iter().min().unwrap_or_default();
        (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(1))
    }

    fn max_unauthenticated(&self) -> usize {
        (self.max_connections / 2).max(1)
    }
}

/// The phase of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The TLS handshake is running.
    Handshake,
    /// No byte of the next request has been received.
    Idle,
    /// The head of a request is being received.
    Head,
    /// A request is being served.
    Request,
}

/// Measures how fast a client sends or reads bytes while the server waits for it.
#[derive(Debug, Clone, Copy, Default)]
pub struct TransferRate {
    bytes: u64,
    waited: Duration,
    since: Option<Instant>,
}

impl TransferRate {
    /// Notes that the server waits for the client.
    pub fn wait(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// Notes progress of the client, in bytes.
    pub fn progress(&mut self, now: Instant, bytes: u64) {
        if let Some(since) = self.since.take() {
            self.waited += now.saturating_duration_since(since);
        }
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn is_too_slow(&self, now: Instant, limits: &ConnectionLimits) -> bool {
        let current = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let waited = self.waited + current;
        current > limits.stall
            || (waited > limits.stall * 2 && self.bytes < waited.as_secs().saturating_mul(limits.min_rate))
    }
}

/// A deadline that a connection missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissedDeadline {
    /// The TLS handshake.
    Handshake,
    /// The head of a request.
    Head,
    /// The start of the next request.
    Idle,
    /// A request without a valid token.
    Request,
    /// Progress of the request body.
    Body,
    /// Progress of the reply.
    Reply,
}

/// The state of a connection at one moment.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionView {
    /// The client's address.
    pub address: IpAddr,
    /// Whether a request on it had a valid token.
    pub authenticated: bool,
    /// Its phase.
    pub phase: Phase,
    /// When the phase began.
    pub since: Instant,
    /// Transfer rate of its request body.
    pub body: TransferRate,
    /// Transfer rate of its replies.
    pub reply: TransferRate,
}

/// Returns the deadline that a connection has missed, if any.
pub fn overdue(view: &ConnectionView, now: Instant, limits: &ConnectionLimits) -> Option<MissedDeadline> {
    let elapsed = now.saturating_duration_since(view.since);
    let idle = if view.authenticated { limits.idle } else { limits.idle_unauthenticated };
    let missed = match view.phase {
        Phase::Handshake => (elapsed > limits.handshake).then_some(MissedDeadline::Handshake),
        Phase::Head => (elapsed > limits.head).then_some(MissedDeadline::Head),
        Phase::Idle => (elapsed > idle).then_some(MissedDeadline::Idle),
        Phase::Request if view.body.is_too_slow(now, limits) => Some(MissedDeadline::Body),
        Phase::Request => (!view.authenticated && elapsed > limits.request_unauthenticated)
            .then_some(MissedDeadline::Request),
    };
    missed.or_else(|| view.reply.is_too_slow(now, limits).then_some(MissedDeadline::Reply))
}

/// The decision about a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is accepted.
    Admit,
    /// It is accepted, and the connection with this id is closed.
    Replace(u64),
    /// It is rejected: all other connections are authenticated and serve requests.
    Reject,
}

/// Decides about a new connection from `address`. At the limit, an unauthenticated connection is replaced: of the address with the most
/// of them, first those without a request, the oldest first. So clients that only hold connections open block nobody, and
/// authenticated connections stay.
pub fn admit(all: &[(u64, ConnectionView)], address: IpAddr, limits: &ConnectionLimits) -> Admission {
    let mut by_address = std::collections::HashMap::<IpAddr, usize>::new();
    for (_, view) in all.iter().filter(|(_, view)| !view.authenticated) {
        *by_address.entry(view.address).or_default() += 1;
    }
    let unauthenticated: usize = by_address.values().sum();
    let full_address = by_address.get(&address).is_some_and(|count| *count >= limits.max_per_address.max(1));
    if !full_address && unauthenticated < limits.max_unauthenticated() && all.len() < limits.max_connections {
        return Admission::Admit;
    }
    let victim_address = if full_address {
        Some(address)
    } else {
        by_address.iter().max_by_key(|(_, count)| **count).map(|(address, _)| *address)
    };
    let oldest = |which: &dyn Fn(&ConnectionView) -> bool| {
        all.iter().filter(|(_, view)| which(view)).min_by_key(|(_, view)| view.since).map(|(id, _)| *id)
    };
    let replaced = oldest(&|view| {
        !view.authenticated && Some(view.address) == victim_address && view.phase != Phase::Request
    })
    .or_else(|| oldest(&|view| !view.authenticated && Some(view.address) == victim_address))
    .or_else(|| oldest(&|view| view.authenticated && view.phase == Phase::Idle));
    replaced.map_or(Admission::Reject, Admission::Replace)
}

#[cfg(test)]
mod tests {
    use super::{
        Admission, ConnectionLimits, ConnectionView, MissedDeadline, Phase, TransferRate, admit, overdue,
    };
    use std::{
        net::{IpAddr, Ipv4Addr},
        time::{Duration, Instant},
    };

    fn view(address: u32, proven: bool, phase: Phase, since: Instant) -> ConnectionView {
        let address = IpAddr::V4(Ipv4Addr::from_bits(address));
        ConnectionView {
            address,
            authenticated: proven,
            phase,
            since,
            body: TransferRate::default(),
            reply: TransferRate::default(),
        }
    }

    fn limits() -> ConnectionLimits {
        ConnectionLimits { max_connections: 8, max_per_address: 3, ..ConnectionLimits::default() }
    }

    #[test]
    fn phases_have_deadlines_except_long_polls() {
        let (start, limits) = (Instant::now(), limits());
        let after = |seconds| start + Duration::from_secs(seconds);
        for (proven, phase, last, expected) in [
            (false, Phase::Handshake, 10, MissedDeadline::Handshake),
            (false, Phase::Head, 10, MissedDeadline::Head),
            (true, Phase::Head, 10, MissedDeadline::Head),
            (false, Phase::Idle, 15, MissedDeadline::Idle),
            (true, Phase::Idle, 120, MissedDeadline::Idle),
            (false, Phase::Request, 60, MissedDeadline::Request),
        ] {
            let view = view(1, proven, phase, start);
            assert_eq!(overdue(&view, after(last), &limits), None, "{phase:?}");
            assert_eq!(overdue(&view, after(last + 1), &limits), Some(expected), "{phase:?}");
        }
        assert_eq!(overdue(&view(1, true, Phase::Request, start), after(100_000), &limits), None);
    }

    #[test]
    fn stalled_body_exceeds_deadline() {
        let (start, limits) = (Instant::now(), limits());
        let mut view = view(1, true, Phase::Request, start);
        let mut now = start;
        // One second of waiting for each 2 KiB, for an hour.
        for _ in 0..3_600 {
            view.body.wait(now);
            now += Duration::from_secs(1);
            view.body.progress(now, 2_048);
            assert_eq!(overdue(&view, now, &limits), None);
        }
        // The time of the server itself does not count.
        now += Duration::from_secs(3_600);
        assert_eq!(overdue(&view, now, &limits), None);
        view.body.wait(now);
        assert_eq!(overdue(&view, now + Duration::from_secs(31), &limits), Some(MissedDeadline::Body));
        view.body.progress(now, 1);
        // A byte every 10 seconds is below the minimum rate.
        view.body = TransferRate::default();
        let mut seconds = 0;
        while overdue(&view, now, &limits).is_none() {
            view.body.wait(now);
            now += Duration::from_secs(10);
            view.body.progress(now, 1);
            seconds += 10;
            assert!(seconds < 100);
        }
        view.body = TransferRate::default();
        view.reply.wait(now);
        assert_eq!(overdue(&view, now + Duration::from_secs(31), &limits), Some(MissedDeadline::Reply));
    }

    #[test]
    fn unauthenticated_connections_are_replaced_first() {
        let (start, limits) = (Instant::now(), limits());
        let at = |seconds| start + Duration::from_secs(seconds);
        let other = IpAddr::V4(Ipv4Addr::from_bits(9));
        let attacker = IpAddr::V4(Ipv4Addr::from_bits(1));
        let mut all = vec![
            (0, view(1, true, Phase::Idle, at(0))),
            (1, view(1, false, Phase::Request, at(1))),
            (2, view(1, false, Phase::Head, at(3))),
            (3, view(1, false, Phase::Idle, at(2))),
        ];
        assert_eq!(admit(&all, other, &limits), Admission::Admit);
        assert_eq!(admit(&all, attacker, &limits), Admission::Replace(3), "the oldest without a request");
        all.push((4, view(2, false, Phase::Idle, at(0))));
        assert_eq!(
            admit(&all, other, &limits),
            Admission::Replace(3),
            "half are reserved for authenticated connections"
        );
        let busy: Vec<_> = (0..8).map(|id| (id, view(1, true, Phase::Request, at(id)))).collect();
        assert_eq!(admit(&busy, other, &limits), Admission::Reject);
        let mut idle = busy;
        idle[5].1.phase = Phase::Idle;
        assert_eq!(admit(&idle, other, &limits), Admission::Replace(5));
    }
}
