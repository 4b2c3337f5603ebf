//! Bodies that come without a token: read piece by piece into memory that is bounded in sum over all of them.

use super::{ClientAddress, problem::ApiError};
use crate::services::DeliverySender;
use axum::body::{Body, HttpBody};
use http_body_util::BodyExt as _;
use std::{
    collections::HashMap,
    net::IpAddr,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tidemill_core::repository::webhook::MOST_BYTES;
use tokio::{sync::Notify, time::timeout};

/// The largest body before its repository is known.
const MAX_UNIDENTIFIED_BODY: usize = 4 << 20;
/// Memory for all such bodies, and for those of one address.
const UNIDENTIFIED_POOL: (usize, usize) = (48 << 20, 12 << 20);
/// Memory for all bodies of known repositories, and for those of one address.
const IDENTIFIED_POOL: (usize, usize) = (104 << 20, 52 << 20);
/// Memory that a body begins with.
const INITIAL_RESERVATION: usize = 64 << 10;
/// How long a body waits for memory.
const MEMORY_TIMEOUT: Duration = Duration::from_secs(5);
/// Seconds after which a refused delivery may be tried again.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Where bodies are read into.
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

/// A body, and the memory that it has of a pool.
#[derive(Debug)]
pub struct Held {
    bytes: Vec<u8>,
    share: MemoryReservation,
}

impl Deref for Held {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl BodyReader {
    /// The body of a delivery from an address.
    pub async fn read(
        &self,
        body: Body,
        expected: DeliverySender,
        from: Option<IpAddr>,
    ) -> Result<Held, ApiError> {
        let (pool, max) = match expected {
            DeliverySender::Unnamed => (&self.unnamed, MAX_UNIDENTIFIED_BODY),
            DeliverySender::Named | DeliverySender::Unknown => (&self.named, MOST_BYTES),
        };
        let too_large = || match expected {
            DeliverySender::Unnamed => ApiError::unnamed_too_large(max),
            DeliverySender::Named | DeliverySender::Unknown => ApiError::too_large(max),
        };
        if usize::try_from(body.size_hint().lower()).is_ok_and(|length| length > max) {
            return Err(too_large());
        }
        let mut held = Held { bytes: Vec::new(), share: pool.share(from) };
        let (mut body, mut length) = (body, 0);
        while let Some(frame) = body.frame().await {
            // The client went away, or sent what is no body.
            let frame = frame.map_err(|error| ApiError::invalid(error.to_string()))?;
            let Ok(bytes) = frame.into_data() else { continue };
            length += bytes.len();
            if length > max {
                return Err(too_large());
            }
            if expected == DeliverySender::Unknown {
                continue;
            }
            if length > held.bytes.capacity() {
                let capacity = length.next_power_of_two().clamp(INITIAL_RESERVATION, max);
                held.share.grow(capacity).await.ok_or_else(|| ApiError::busy(RETRY_AFTER))?;
                held.bytes.reserve_exact(capacity - held.bytes.len());
            }
            held.bytes.extend_from_slice(&bytes);
        }
        Ok(held)
    }
}

/// Memory that many bodies share.
#[derive(Debug)]
struct MemoryPool {
    most: usize,
    most_of_one: usize,
    /// How long a body waits for memory.
    patience: Duration,
    used: Mutex<HashMap<Option<IpAddr>, usize>>,
    freed: Notify,
}

impl MemoryPool {
    fn new((most, most_of_one): (usize, usize), patience: Duration) -> Arc<Self> {
        Arc::new(Self { most, most_of_one, patience, used: Mutex::default(), freed: Notify::new() })
    }

    fn share(self: &Arc<Self>, of: Option<IpAddr>) -> MemoryReservation {
        let of = of.map(|address| ClientAddress(address).group());
        MemoryReservation { pool: self.clone(), of, bytes: 0 }
    }

    fn take(&self, of: Option<IpAddr>, bytes: usize) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (used.values().sum::<usize>(), used.get(&of).copied().unwrap_or_default());
        let fits = all + bytes <= self.most && own + bytes <= self.most_of_one;
        if fits {
            used.insert(of, own + bytes);
        }
        fits
    }

    fn give_back(&self, of: Option<IpAddr>, bytes: usize) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = used.get_mut(&of) {
            *own = own.saturating_sub(bytes);
            if *own == 0 {
                used.remove(&of);
            }
        }
        drop(used);
        self.freed.notify_waiters();
    }
}

/// What one body has of a pool, until it is dropped.
#[derive(Debug)]
struct MemoryReservation {
    pool: Arc<MemoryPool>,
    of: Option<IpAddr>,
    bytes: usize,
}

impl MemoryReservation {
    /// Has `bytes` in all; `None`: others did not give enough back in time.
    async fn grow(&mut self, bytes: usize) -> Option<()> {
        let more = bytes.saturating_sub(self.bytes);
        let taken = async {
            loop {
                let freed = self.pool.freed.notified();
                if self.pool.take(self.of, more) {
                    return;
                }
                freed.await;
            }
        };
        timeout(self.pool.patience, taken).await.ok()?;
        self.bytes += more;
        Some(())
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        self.pool.give_back(self.of, self.bytes);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{BodyReader, INITIAL_RESERVATION, MAX_UNIDENTIFIED_BODY, MemoryPool};
    use crate::services::DeliverySender;
    use axum::body::Body;
    use std::{
        net::{IpAddr, Ipv4Addr},
        time::Duration,
    };
    use tidemill_core::repository::webhook::MOST_BYTES;

    const FROM: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

    #[tokio::test]
    async fn body_limit_depends_on_identified_repository() {
        let intake = BodyReader::default();
        let read = |length, expected| intake.read(Body::from(vec![1; length]), expected, FROM);
        assert_eq!(
            read(MAX_UNIDENTIFIED_BODY, DeliverySender::Unnamed).await.unwrap().len(),
            MAX_UNIDENTIFIED_BODY
        );
        assert!(read(MAX_UNIDENTIFIED_BODY + 1, DeliverySender::Unnamed).await.is_err());
        assert_eq!(read(MOST_BYTES, DeliverySender::Named).await.unwrap().len(), MOST_BYTES);
        assert!(read(MOST_BYTES + 1, DeliverySender::Named).await.is_err());
        assert!(read(MOST_BYTES, DeliverySender::Unknown).await.unwrap().is_empty(), "it is not kept");
        assert!(read(MOST_BYTES + 1, DeliverySender::Unknown).await.is_err());
        assert!(intake.named.used.lock().unwrap().is_empty(), "all is given back");
    }

    #[tokio::test]
    async fn memory_pool_is_shared_by_address_and_released() {
        let pool =
            MemoryPool::new((4 * INITIAL_RESERVATION, 2 * INITIAL_RESERVATION), Duration::from_millis(200));
        let other = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
        let mut first = pool.share(FROM);
        first.grow(2 * INITIAL_RESERVATION).await.unwrap();
        let mut second = pool.share(FROM);
        assert!(second.grow(INITIAL_RESERVATION).await.is_none(), "that is all for one address");
        let mut third = pool.share(other);
        third.grow(2 * INITIAL_RESERVATION).await.unwrap();
        assert!(pool.share(None).grow(INITIAL_RESERVATION).await.is_none(), "that is all");
        let (grown, ()) = tokio::join!(second.grow(INITIAL_RESERVATION), async { drop(first) });
        grown.unwrap();
        drop((second, third));
        assert!(pool.used.lock().unwrap().is_empty());
    }
}
