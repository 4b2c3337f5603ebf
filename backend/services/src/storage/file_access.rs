//! What reads of files inside of artifacts need.

use super::archive::OpenRead;
use crate::{
    error::{Error, Result},
    seal::SecretSealer,
};
use std::{
    collections::HashMap,
    num::NonZero,
    sync::{Arc, Mutex, PoisonError},
    thread::available_parallelism,
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Maximum number of replies with files of archives at the same time, those of slow clients included.
const MAX_READS: usize = 32;
/// Maximum number of them that one caller reads, with links as well.
const MAX_READS_PER_CALLER: usize = 4;
/// The longest that a request waits for others to end.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Limits concurrent reads and opens links. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct FileAccess {
    reads: Arc<Semaphore>,
    callers: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
    /// One for each processor.
    turns: Arc<Semaphore>,
    max_wait: Duration,
    pub(super) sealer: SecretSealer,
}

impl FileAccess {
    pub fn new(sealer: SecretSealer) -> Self {
        let processors = available_parallelism().map_or(1, NonZero::get);
        Self {
            reads: Arc::new(Semaphore::new(MAX_READS)),
            callers: Arc::default(),
            turns: Arc::new(Semaphore::new(processors)),
            max_wait: MAX_WAIT,
            sealer,
        }
    }

    /// Allows `caller` one more read, as soon as other ones have ended.
    pub async fn open(&self, caller: &str) -> Result<OpenRead> {
        let busy = || {
            Error::Busy(format!(
                "too many files of artifacts are being read, {MAX_READS_PER_CALLER} by one caller at most; read them one \
                 after the other, or try again later"
            ))
        };
        let permits = timeout(self.max_wait, self.permits(caller)).await.ok().flatten().ok_or_else(busy)?;
        Ok(OpenRead { turns: self.turns.clone(), held: Box::new(permits) })
    }

    async fn permits(&self, caller: &str) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let of_caller = {
            let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
            // Those without a read are not kept.
            callers.retain(|_, reads| Arc::strong_count(reads) > 1);
            let reads = || Arc::new(Semaphore::new(MAX_READS_PER_CALLER));
            callers.entry(caller.to_owned()).or_insert_with(reads).clone()
        };
        // The semaphores are never closed.
        let own = of_caller.acquire_owned().await.ok()?;
        Some((own, self.reads.clone().acquire_owned().await.ok()?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{FileAccess, MAX_READS, MAX_READS_PER_CALLER};
    use crate::{
        error::{Error, Result},
        ports::{KeyStore, Keys},
        seal::SecretSealer,
    };
    use std::{sync::Arc, time::Duration};

    struct NoKeys;

    #[async_trait::async_trait]
    impl KeyStore for NoKeys {
        async fn keys(&self) -> Result<Keys> {
            Err(Error::NotFound("no key is needed".into()))
        }
    }

    #[tokio::test]
    async fn reads_are_limited_by_caller_and_in_total() {
        let access = FileAccess::new(SecretSealer::new(Arc::new(NoKeys)));
        let access = FileAccess { max_wait: Duration::ZERO, ..access };
        let mut open = Vec::new();
        for caller in 0..MAX_READS / MAX_READS_PER_CALLER {
            for _ in 0..MAX_READS_PER_CALLER {
                open.push(access.open(&caller.to_string()).await.unwrap());
            }
            let refused = access.open(&caller.to_string()).await;
            assert!(matches!(refused, Err(Error::Busy(_))), "one caller");
        }
        assert!(matches!(access.open("other").await, Err(Error::Busy(_))), "all callers");
        open.pop();
        drop(access.open("other").await.unwrap());
        drop(open);
        drop(access.open("other").await.unwrap());
        assert_eq!(access.callers.lock().unwrap().len(), 1, "the others are not kept");
    }
}
