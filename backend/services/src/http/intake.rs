//! Reads bodies of requests without a token, chunk by chunk, into memory that is bounded over all such requests.

use super::{client::ClientAddress, problem::ApiError};
use crate::forge::webhooks::DeliverySender;
use axum::body::{Body, HttpBody};
use http_body_util::BodyExt as _;
use std::{
    collections::HashMap,
    net::IpAddr,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tidemill_core::repository::webhook::MAX_BODY_BYTES;
use tokio::{sync::Notify, time::timeout};

/// Maximum size of a body whose address names no repository.
const MAX_UNIDENTIFIED_BODY: usize = 4 << 20;
/// Memory for all such bodies, and for those of one client address.
const UNIDENTIFIED_POOL: (usize, usize) = (48 << 20, 12 << 20);
/// Memory for all bodies whose address names a repository, and for those of one client address.
const IDENTIFIED_POOL: (usize, usize) = (104 << 20, 52 << 20);
/// Initial memory reservation of a body.
const INITIAL_RESERVATION: usize = 64 << 10;
/// Maximum time that a body waits for memory.
const MEMORY_TIMEOUT: Duration = Duration::from_secs(5);
/// Time after which a rejected delivery may be sent again.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Reads bodies into the memory pools.
#[derive(Debug)]
pub struct BodyReader {
    unnamed: Arc<MemoryPool>,
    named: Arc<MemoryPool>,
}

impl Default for BodyReader {
    fn default() -> Self {
        Self {
            unnamed: MemoryPool::new(UNIDENTIFIED_POOL, MEMORY_TIMEOUT),
            named: MemoryPool::new(IDENTIFIED_POOL, MEMORY_TIMEOUT),
        }
    }
}

/// A body with its reservation in a memory pool.
#[derive(Debug)]
pub struct ReservedBody {
    bytes: Vec<u8>,
    reservation: MemoryReservation,
}

impl Deref for ReservedBody {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl BodyReader {
    /// Reads the body of a delivery from `from`.
    pub async fn read(
        &self,
        body: Body,
        expected: DeliverySender,
        from: Option<IpAddr>,
    ) -> Result<ReservedBody, ApiError> {
        let (pool, max) = match expected {
            DeliverySender::NoRepository => (&self.unnamed, MAX_UNIDENTIFIED_BODY),
            DeliverySender::Registered | DeliverySender::Unregistered => (&self.named, MAX_BODY_BYTES),
        };
        let too_large = || match expected {
            DeliverySender::NoRepository => ApiError::webhook_too_large(max),
            DeliverySender::Registered | DeliverySender::Unregistered => ApiError::too_large(max),
        };
        if usize::try_from(body.size_hint().lower()).is_ok_and(|length| length > max) {
            return Err(too_large());
        }
        let mut reserved = ReservedBody { bytes: Vec::new(), reservation: pool.reservation(from) };
        let (mut body, mut length) = (body, 0);
        while let Some(frame) = body.frame().await {
            // The client disconnected, or the body is malformed.
            let frame = frame.map_err(|error| ApiError::invalid(error.to_string()))?;
            let Ok(bytes) = frame.into_data() else { continue };
            length += bytes.len();
            if length > max {
                return Err(too_large());
            }
            if expected == DeliverySender::Unregistered {
                continue;
            }
            if length > reserved.bytes.capacity() {
                let capacity = length.next_power_of_two().clamp(INITIAL_RESERVATION, max);
                reserved.reservation.grow(capacity).await.ok_or_else(|| ApiError::busy(RETRY_AFTER))?;
                reserved.bytes.reserve_exact(capacity - reserved.bytes.len());
            }
            reserved.bytes.extend_from_slice(&bytes);
        }
        Ok(reserved)
    }
}

/// Memory that several bodies share.
#[derive(Debug)]
struct MemoryPool {
    max: usize,
    max_per_client: usize,
    /// Maximum time that a body waits for memory.
    max_wait: Duration,
    used: Mutex<HashMap<Option<IpAddr>, usize>>,
    freed: Notify,
}

impl MemoryPool {
    fn new((max, max_per_client): (usize, usize), max_wait: Duration) -> Arc<Self> {
        Arc::new(Self { max, max_per_client, max_wait, used: Mutex::default(), freed: Notify::new() })
    }

    fn reservation(self: &Arc<Self>, client: Option<IpAddr>) -> MemoryReservation {
        let client = client.map(|address| ClientAddress(address).network());
        MemoryReservation { pool: self.clone(), client, bytes: 0 }
    }

    fn take(&self, client: Option<IpAddr>, bytes: usize) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (used.values().sum::<usize>(), used.get(&client).copied().unwrap_or_default());
        let fits = all + bytes <= self.max && own + bytes <= self.max_per_client;
        if fits {
            used.insert(client, own + bytes);
        }
        fits
    }

    fn give_back(&self, client: Option<IpAddr>, bytes: usize) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = used.get_mut(&client) {
            *own = own.saturating_sub(bytes);
            if *own == 0 {
                used.remove(&client);
            }
        }
        drop(used);
        self.freed.notify_waiters();
    }
}

/// The memory of a pool that one body holds until it is dropped.
#[derive(Debug)]
struct MemoryReservation {
    pool: Arc<MemoryPool>,
    client: Option<IpAddr>,
    bytes: usize,
}

impl MemoryReservation {
    /// Grows the reservation to `bytes` in all. Returns `None` if not enough memory became free in time.
    async fn grow(&mut self, bytes: usize) -> Option<()> {
        let more = bytes.saturating_sub(self.bytes);
        let acquire = async {
            loop {
                let freed = self.pool.freed.notified();
                if self.pool.take(self.client, more) {
                    return;
                }
                freed.await;
            }
        };
        timeout(self.pool.max_wait, acquire).await.ok()?;
        self.bytes += more;
        Some(())
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        self.pool.give_back(self.client, self.bytes);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{BodyReader, INITIAL_RESERVATION, MAX_UNIDENTIFIED_BODY, MemoryPool};
    use crate::forge::webhooks::DeliverySender;
    use axum::body::Body;
    use std::{
        net::{IpAddr, Ipv4Addr},
        time::Duration,
    };
    use tidemill_core::repository::webhook::MAX_BODY_BYTES;

    const FROM: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

    #[tokio::test]
    async fn body_limit_depends_on_identified_repository() {
        let intake = BodyReader::default();
        let read = |length, expected| intake.read(Body::from(vec![1; length]), expected, FROM);
        assert_eq!(
            read(MAX_UNIDENTIFIED_BODY, DeliverySender::NoRepository).await.unwrap().len(),
            MAX_UNIDENTIFIED_BODY
        );
        assert!(read(MAX_UNIDENTIFIED_BODY + 1, DeliverySender::NoRepository).await.is_err());
        assert_eq!(read(MAX_BODY_BYTES, DeliverySender::Registered).await.unwrap().len(), MAX_BODY_BYTES);
        assert!(read(MAX_BODY_BYTES + 1, DeliverySender::Registered).await.is_err());
        assert!(
            read(MAX_BODY_BYTES, DeliverySender::Unregistered).await.unwrap().is_empty(),
            "the body of an unknown sender is dropped"
        );
        assert!(read(MAX_BODY_BYTES + 1, DeliverySender::Unregistered).await.is_err());
        assert!(intake.named.used.lock().unwrap().is_empty(), "all memory is released");
    }

    #[tokio::test]
    async fn memory_pool_is_shared_by_address_and_released() {
        let pool =
            MemoryPool::new((4 * INITIAL_RESERVATION, 2 * INITIAL_RESERVATION), Duration::from_millis(200));
        let other = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
        let mut first = pool.reservation(FROM);
        first.grow(2 * INITIAL_RESERVATION).await.unwrap();
        let mut second = pool.reservation(FROM);
        assert!(second.grow(INITIAL_RESERVATION).await.is_none(), "the limit of one address is reached");
        let mut third = pool.reservation(other);
        third.grow(2 * INITIAL_RESERVATION).await.unwrap();
        assert!(
            pool.reservation(None).grow(INITIAL_RESERVATION).await.is_none(),
            "the limit of the pool is reached"
        );
        let (grown, ()) = tokio::join!(second.grow(INITIAL_RESERVATION), async { drop(first) });
        grown.unwrap();
        drop((second, third));
        assert!(pool.used.lock().unwrap().is_empty());
    }
}
