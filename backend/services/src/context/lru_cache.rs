//! What was read or made last of executions, kept at hand within a bound of bytes.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};
use tidemill_core::ids::ExecutionId;

/// Entries that are kept, however small: each lookup looks at all of them.
const MAX_ENTRIES: usize = 128;

/// Values of executions that never change, the last used first.
#[derive(Debug)]
pub(crate) struct LruCache<T> {
    kept: Mutex<VecDeque<Entry<T>>>,
    max_bytes: usize,
}

#[derive(Debug)]
struct Entry<T> {
    id: ExecutionId,
    value: Arc<T>,
    bytes: usize,
}

impl<T> LruCache<T> {
    /// Nothing yet; `max_bytes` in all, though the newest is kept whatever its size.
    pub const fn new(max_bytes: usize) -> Self {
        Self { kept: Mutex::new(VecDeque::new()), max_bytes }
    }

    /// The value of an execution, if it is at hand.
    pub fn get(&self, id: ExecutionId) -> Option<Arc<T>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|entry| entry.id == id)?;
        if at > 0 {
            let entry = kept.remove(at)?;
            kept.push_front(entry);
        }
        kept.front().map(|entry| entry.value.clone())
    }

    /// Keeps a value that takes about so many bytes.
    pub fn put(&self, id: ExecutionId, value: Arc<T>, bytes: usize) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|entry| entry.id != id);
        kept.push_front(Entry { id, value, bytes });
        let (mut sum, mut fit) = (0_usize, 0_usize);
        for entry in kept.iter().take(MAX_ENTRIES) {
            sum = sum.saturating_add(entry.bytes);
            if fit > 0 && sum > self.max_bytes {
                break;
            }
            fit += 1;
        }
        kept.truncate(fit);
    }
}

#[cfg(test)]
mod tests {
    use super::{LruCache, MAX_ENTRIES};
    use std::sync::Arc;
    use tidemill_core::ids::ExecutionId;
    use uuid::Uuid;

    fn id(n: usize) -> ExecutionId {
        ExecutionId(Uuid::from_u128(n as u128))
    }

    #[test]
    fn cache_keeps_newest_entries_within_limits() {
        let recent = LruCache::new(100);
        for (n, bytes) in [(1, 60), (2, 30), (3, 20)] {
            recent.put(id(n), Arc::new(n), bytes);
        }
        assert_eq!([1, 2, 3].map(|n| recent.get(id(n)).is_some()), [false, true, true]);
        assert!(recent.get(id(2)).is_some(), "used last");
        recent.put(id(4), Arc::new(4), 80);
        assert_eq!([2, 3, 4].map(|n| recent.get(id(n)).is_some()), [false, false, true]);
        recent.put(id(5), Arc::new(5), 1_000);
        assert_eq!([4, 5].map(|n| recent.get(id(n)).is_some()), [false, true]);
        for n in 10..10 + 2 * MAX_ENTRIES {
            recent.put(id(n), Arc::new(n), 0);
        }
        assert_eq!((10..10 + 2 * MAX_ENTRIES).filter(|n| recent.get(id(*n)).is_some()).count(), MAX_ENTRIES);
    }
}
