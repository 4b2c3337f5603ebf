//! How long a client may take, and how many may be connected: settings, and the decisions that rest on them.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

/// Limits of one listener. Deadlines are about progress: a long poll and an upload of gigabytes never meet one.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Connections in total. Those that have not shown a valid token get half of them at most.
    pub max_connections: usize,
    /// Connections of one address that have not shown a valid token.
    pub max_per_address: usize,
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time for the head of a request, from its first byte on.
    pub head: Duration,
    /// Time between two requests on a connection that has shown a valid token.
    pub idle: Duration,
    /// The same on one that has not, and until its first request.
    pub idle_unproven: Duration,
    /// Time for a whole request without a valid token, its body and its reply.
    pub request_unproven: Duration,
    /// The longest pause of a client within a body that it sends, or a reply that it takes.
    pub stall: Duration,
    /// Bytes a second that a client must send or take on the average of the time that the server waits for it, once that is more than
    /// twice `stall`.
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
            // Longer than clients keep idle connections, so that none meets a request that is just being sent.
            idle: Duration::from_secs(120),
            idle_unproven: Duration::from_secs(15),
            request_unproven: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            min_rate: 1_024,
            grace: Duration::from_secs(2),
        }
    }
}

impl ConnectionLimits {
    /// Those of a listener for the workers of this process: as many connections as they may need, whatever others do elsewhere.
    #[must_use]
    pub fn for_own_workers(self) -> Self {
        Self { max_connections: (self.max_connections / 4).clamp(64, 1_024), ..self }
    }

    /// How often connections are checked against their deadlines.
    pub fn tick(&self) -> Duration {
        let shortest =
            [self.handshake, self.head, self.idle, self.idle_unproven, self.stall, self.request_unproven];
        let shortest = shortest.into_iter().min().unwrap_or_default();
        (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(1))
    }

    fn max_unproven(&self) -> usize {
        (self.max_connections / 2).max(1)
    }
}

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// TLS keys are being agreed on.
    Handshake,
    /// No byte of the next request has come.
    Idle,
    /// The head of a request is coming.
    Head,
    /// A request is being answered.
    Request,
}

/// How fast a client sends or takes bytes while the server waits for it.
#[derive(Debug, Clone, Copy, Default)]
pub struct TransferRate {
    bytes: u64,
    waited: Duration,
    since: Option<Instant>,
}

impl TransferRate {
    /// The server waits for the client.
    pub fn wait(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// The client went on by so many bytes.
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
    /// The next request.
    Idle,
    /// A request without a valid token.
    Request,
    /// The body that it sends.
    Body,
    /// The reply that it takes.
    Reply,
}

/// What is known of a connection.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// The client's address.
    pub address: IpAddr,
    /// Whether it has shown a valid token.
    pub proven: bool,
    /// What it does.
    pub phase: Phase,
    /// Since when.
    pub since: Instant,
    /// How it sends the body of its request.
    pub body: TransferRate,
    /// How it takes replies.
    pub reply: TransferRate,
}

/// The deadline that a connection has missed, if any.
pub fn overdue(view: &View, now: Instant, limits: &ConnectionLimits) -> Option<MissedDeadline> {
    let within = now.saturating_duration_since(view.since);
    let idle = if view.proven { limits.idle } else { limits.idle_unproven };
    let missed = match view.phase {
        Phase::Handshake => (within > limits.handshake).then_some(MissedDeadline::Handshake),
        Phase::Head => (within > limits.head).then_some(MissedDeadline::Head),
        Phase::Idle => (within > idle).then_some(MissedDeadline::Idle),
        Phase::Request if view.body.is_too_slow(now, limits) => Some(MissedDeadline::Body),
        Phase::Request => {
            (!view.proven && within > limits.request_unproven).then_some(MissedDeadline::Request)
        }
    };
    missed.or_else(|| view.reply.is_too_slow(now, limits).then_some(MissedDeadline::Reply))
}

/// What becomes of one more connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// There is room.
    Admit,
    /// There is, once this one is closed.
    Replace(u64),
    /// There is none: all others have shown a valid token and are at work.
    Refuse,
}

/// Decides about a connection from `address`. A connection that has not shown a valid token makes room for a newer one: first those
/// without a request, the longest of them first, from the address that has the most of them. So who only holds connections open keeps
/// nobody out, and who has shown a token stays.
pub fn admit(all: &[(u64, View)], address: IpAddr, limits: &ConnectionLimits) -> Admission {
    let mut by_address = std::collections::HashMap::<IpAddr, usize>::new();
    for (_, view) in all.iter().filter(|(_, view)| !view.proven) {
        *by_address.entry(view.address).or_default() += 1;
    }
    let unproven: usize = by_address.values().sum();
    let full_address = by_address.get(&address).is_some_and(|count| *count >= limits.max_per_address.max(1));
    if !full_address && unproven < limits.max_unproven() && all.len() < limits.max_connections {
        return Admission::Admit;
    }
    let from = if full_address {
        Some(address)
    } else {
        by_address.iter().max_by_key(|(_, count)| **count).map(|(address, _)| *address)
    };
    let longest = |which: &dyn Fn(&View) -> bool| {
        all.iter().filter(|(_, view)| which(view)).min_by_key(|(_, view)| view.since).map(|(id, _)| *id)
    };
    let replaced =
        longest(&|view| !view.proven && Some(view.address) == from && view.phase != Phase::Request)
            .or_else(|| longest(&|view| !view.proven && Some(view.address) == from))
            .or_else(|| longest(&|view| view.proven && view.phase == Phase::Idle));
    replaced.map_or(Admission::Refuse, Admission::Replace)
}

#[cfg(test)]
mod tests {
    use super::{Admission, ConnectionLimits, MissedDeadline, Phase, TransferRate, View, admit, overdue};
    use std::{
        net::{IpAddr, Ipv4Addr},
        time::{Duration, Instant},
    };

    fn view(address: u32, proven: bool, phase: Phase, since: Instant) -> View {
        let address = IpAddr::V4(Ipv4Addr::from_bits(address));
        View { address, proven, phase, since, body: TransferRate::default(), reply: TransferRate::default() }
    }

    fn limits() -> ConnectionLimits {
        ConnectionLimits { max_connections: 8, max_per_address: 3, ..ConnectionLimits::default() }
    }

    #[test]
    fn phases_have_deadlines_except_long_polls() {
        let (begun, limits) = (Instant::now(), limits());
        let after = |seconds| begun + Duration::from_secs(seconds);
        for (proven, phase, last, expected) in [
            (false, Phase::Handshake, 10, MissedDeadline::Handshake),
            (false, Phase::Head, 10, MissedDeadline::Head),
            (true, Phase::Head, 10, MissedDeadline::Head),
            (false, Phase::Idle, 15, MissedDeadline::Idle),
            (true, Phase::Idle, 120, MissedDeadline::Idle),
            (false, Phase::Request, 60, MissedDeadline::Request),
        ] {
            let view = view(1, proven, phase, begun);
            assert_eq!(overdue(&view, after(last), &limits), None, "{phase:?}");
            assert_eq!(overdue(&view, after(last + 1), &limits), Some(expected), "{phase:?}");
        }
        assert_eq!(overdue(&view(1, true, Phase::Request, begun), after(100_000), &limits), None);
    }

    #[test]
    fn stalled_body_exceeds_deadline() {
        let (begun, limits) = (Instant::now(), limits());
        let mut view = view(1, true, Phase::Request, begun);
        let mut now = begun;
        // A second of waiting for each 2 KiB, for an hour.
        for _ in 0..3_600 {
            view.body.wait(now);
            now += Duration::from_secs(1);
            view.body.progress(now, 2_048);
            assert_eq!(overdue(&view, now, &limits), None);
        }
        // The server itself may take its time.
        now += Duration::from_secs(3_600);
        assert_eq!(overdue(&view, now, &limits), None);
        view.body.wait(now);
        assert_eq!(overdue(&view, now + Duration::from_secs(31), &limits), Some(MissedDeadline::Body));
        view.body.progress(now, 1);
        // A byte now and then is no progress.
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
        let (begun, limits) = (Instant::now(), limits());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let other = IpAddr::V4(Ipv4Addr::from_bits(9));
        let attacker = IpAddr::V4(Ipv4Addr::from_bits(1));
        let mut all = vec![
            (0, view(1, true, Phase::Idle, at(0))),
            (1, view(1, false, Phase::Request, at(1))),
            (2, view(1, false, Phase::Head, at(3))),
            (3, view(1, false, Phase::Idle, at(2))),
        ];
        assert_eq!(admit(&all, other, &limits), Admission::Admit);
        assert_eq!(admit(&all, attacker, &limits), Admission::Replace(3), "the longest without a request");
        all.push((4, view(2, false, Phase::Idle, at(0))));
        assert_eq!(admit(&all, other, &limits), Admission::Replace(3), "half are for those with a token");
        let busy: Vec<_> = (0..8).map(|id| (id, view(1, true, Phase::Request, at(id)))).collect();
        assert_eq!(admit(&busy, other, &limits), Admission::Refuse);
        let mut idle = busy;
        idle[5].1.phase = Phase::Idle;
        assert_eq!(admit(&idle, other, &limits), Admission::Replace(5));
    }
}
