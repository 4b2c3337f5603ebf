//! A cache of the most recently used values, bounded in bytes.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};
use tidemill_core::ids::ExecutionId;

/// Maximum number of entries, however small: each lookup scans all of them.
const MAX_ENTRIES: usize = 128;

/// Immutable values of executions, most recently used first.
#[derive(Debug)]
pub(crate) struct LruCache<T> {
    entries: Mutex<VecDeque<Entry<T>>>,
    max_bytes: usize,
}

#[derive(Debug)]
struct Entry<T> {
    id: ExecutionId,
    value: Arc<T>,
    bytes: usize,
}

impl<T> LruCache<T> {
    /// Creates an empty cache of at most `max_bytes`; the newest value is entries whatever its size.
    pub const fn new(max_bytes: usize) -> Self {
        Self { entries: Mutex::new(VecDeque::new()), max_bytes }
    }

    /// Returns the value of an execution, if cached.
    pub fn get(&self, id: ExecutionId) -> Option<Arc<T>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let position = entries.iter().position(|entry| entry.id == id)?;
        if position > 0 {
            let entry = entries.remove(position)?;
            entries.push_front(entry);
        }
        entries.front().map(|entry| entry.value.clone())
    }

    /// Caches a value of about `bytes` bytes.
    pub fn put(&self, id: ExecutionId, value: Arc<T>, bytes: usize) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| entry.id != id);
        entries.push_front(Entry { id, value, bytes });
        let (mut sum, mut fit) = (0_usize, 0_usize);
        for entry in entries.iter().take(MAX_ENTRIES) {
            sum = sum.saturating_add(entry.bytes);
            if fit > 0 && sum > self.max_bytes {
                break;
            }
            fit += 1;
        }
        entries.truncate(fit);
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
