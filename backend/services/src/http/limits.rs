//! Rate limits: a token bucket for each API token, and one for each address that sends invalid tokens. Buckets are in the memory of
//! this process; each process of a deployment counts on its own.

pub mod streams;

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Maximum number of buckets; beyond it, full ones are dropped.
const MAX_BUCKETS: usize = 10_000;
/// Factor by which tokens of workers and admins may exceed the rate of a user's token: many workers share one token.
const WORKER_RATE_FACTOR: f64 = 100.0;
/// Calls with invalid tokens, by address.
const INVALID_TOKEN_RATE: Rate = Rate { per_second: 10.0 / 60.0, burst: 10.0 };
/// Calls without a token for what may be public, by address: a page and its log are a few calls a second.
const ANONYMOUS_RATE: Rate = Rate { per_second: 5.0, burst: 60.0 };

/// Returns from a provider, by address: each may cause a few requests to it. Many people share the address of a proxy.
const SIGN_IN_RATE: Rate = Rate { per_second: 1.0, burst: 30.0 };

/// Webhooks that name one repository and have no valid signature, from all addresses together.
const INVALID_SIGNATURE_RATE: Rate = Rate { per_second: 1.0, burst: 60.0 };

/// Parameters of a token bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Average number of calls per second.
    pub per_second: f64,
    /// Calls that are allowed at once after a pause.
    pub burst: f64,
}

/// The bucket of one caller.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    /// Takes one call, or returns the time to wait for it.
    fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let since = now.saturating_duration_since(self.at);
        self.left = since.as_secs_f64().mul_add(rate.per_second, self.left).min(rate.burst);
        self.at = now;
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64(((1.0 - self.left) / rate.per_second).clamp(0.001, 3_600.0)))
    }
}

/// Buckets by caller.
#[derive(Debug)]
struct Buckets<K>(Mutex<HashMap<K, Bucket>>);

impl<K: Hash + Eq> Buckets<K> {
    fn new() -> Self {
        Self(Mutex::default())
    }

    fn take(&self, key: K, rate: Rate, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(&key) {
            let full = |bucket: &Bucket| {
                let since = now.saturating_duration_since(bucket.at);
                since.as_secs_f64().mul_add(rate.per_second, bucket.left) >= rate.burst
            };
            buckets.retain(|_, bucket| !full(bucket));
            if buckets.len() >= MAX_BUCKETS {
                // A client has very many addresses: bounded memory matters more than exact counts.
                buckets.clear();
            }
        }
        buckets.entry(key).or_insert(Bucket { left: rate.burst, at: now }).take(rate, now)
    }
}

/// Rate limits of one process.
#[derive(Debug)]
pub struct RateLimits {
    users: Option<Rate>,
    tokens: Buckets<String>,
    wrong: Buckets<IpAddr>,
    anonymous: Buckets<IpAddr>,
    sign_ins: Buckets<IpAddr>,
    repositories: Buckets<u64>,
    hasher: RandomState,
}

impl RateLimits {
    /// Limits a user's token to `per_second` calls per second on average, with bursts of four times as many; 0 means no limit. Tokens
    /// of workers and admins have [`WORKER_RATE_FACTOR`] times as many.
    pub fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        let users = (per_second > 0.0).then_some(Rate { per_second, burst: per_second * 4.0 });
        Self {
            users,
            tokens: Buckets::new(),
            wrong: Buckets::new(),
            anonymous: Buckets::new(),
            sign_ins: Buckets::new(),
            repositories: Buckets::new(),
            hasher: RandomState::new(),
        }
    }

    /// Counts a call with a valid token, or returns the time to wait.
    pub fn count_valid(&self, token: &str, is_worker: bool, now: Instant) -> Result<(), Duration> {
        let Some(rate) = self.users else { return Ok(()) };
        let factor = if is_worker { WORKER_RATE_FACTOR } else { 1.0 };
        let rate = Rate { per_second: rate.per_second * factor, burst: rate.burst * factor };
        self.tokens.take(token.to_owned(), rate, now)
    }

    /// Counts a call with an invalid token or signature, or returns the time to wait.
    pub fn count_invalid(&self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        if self.users.is_none() {
            return Ok(());
        }
        self.wrong.take(from, INVALID_TOKEN_RATE, now)
    }

    /// Counts a call without a token for what may be public, or returns the time to wait.
    pub fn count_anonymous(&self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        if self.users.is_none() {
            return Ok(());
        }
        self.anonymous.take(from, ANONYMOUS_RATE, now)
    }

    /// Counts a return from a provider, or returns the time to wait.
    pub fn count_sign_in(&self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        if self.users.is_none() {
            return Ok(());
        }
        self.sign_ins.take(from, SIGN_IN_RATE, now)
    }

    /// Counts a webhook whose signature does not match the repository that it names, or returns the time to wait.
    pub fn count_invalid_signature(&self, repository: &str, now: Instant) -> Result<(), Duration> {
        if self.users.is_none() {
            return Ok(());
        }
        // Names have any length, so their hash is the key; two names that share a bucket also share its limit.
        self.repositories.take(self.hasher.hash_one(repository), INVALID_SIGNATURE_RATE, now)
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_BUCKETS, RateLimits};
    use std::{
        net::{IpAddr, Ipv4Addr},
        time::{Duration, Instant},
    };

    #[test]
    fn rate_limit_allows_burst_per_token() {
        let (limits, begun) = (RateLimits::new(50), Instant::now());
        for call in 0..200 {
            assert!(limits.count_valid("a", false, begun).is_ok(), "{call}");
        }
        let wait = limits.count_valid("a", false, begun).err();
        assert_eq!(wait, Some(Duration::from_millis(20)));
        assert!(limits.count_valid("b", false, begun).is_ok());
        let later = begun + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| limits.count_valid("a", false, later).is_ok()).count(), 50);
    }

    #[test]
    fn shared_worker_token_stays_below_limit() {
        let (limits, begun) = (RateLimits::new(50), Instant::now());
        // 256 workers, each with 4 calls a second, for a minute.
        for second in 0..60 {
            for call in 0..1024 {
                let now = begun + Duration::from_secs(second);
                assert!(limits.count_valid("w", true, now).is_ok(), "{call} in second {second}");
            }
        }
    }

    #[test]
    fn anonymous_calls_are_limited_by_address() {
        let (limits, now) = (RateLimits::new(50), Instant::now());
        let address = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(n));
        assert_eq!((0..500).filter(|_| limits.count_anonymous(address(1), now).is_ok()).count(), 60);
        assert!(limits.count_anonymous(address(2), now).is_ok(), "another address");
        assert!(limits.count_invalid(address(1), now).is_ok(), "invalid tokens count apart");
        assert!(limits.count_anonymous(address(1), now + Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn invalid_tokens_are_limited_by_address() {
        let (limits, now) = (RateLimits::new(50), Instant::now());
        let none = RateLimits::new(0);
        let address = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(n));
        assert_eq!((0..50).filter(|_| limits.count_invalid(address(1), now).is_ok()).count(), 10);
        assert!(limits.count_invalid(address(1), now + Duration::from_secs(6)).is_ok());
        assert!((0..100_000).all(|_| none.count_valid("t", false, now).is_ok()), "0 is no limit");
        assert!((0..100).all(|_| none.count_invalid(address(1), now).is_ok()));
        for n in 0..30_000 {
            let _ = limits.count_invalid(address(n), now);
        }
        assert!(limits.wrong.0.lock().is_ok_and(|buckets| buckets.len() <= MAX_BUCKETS));
    }
}
