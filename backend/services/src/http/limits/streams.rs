//! Limit of open event streams. They are counted in the memory of this process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Maximum number of open streams.
const MAX_STREAMS: usize = 512;
/// Maximum number of open streams of one caller.
const MAX_STREAMS_PER_CALLER: usize = 32;

/// The open streams, by caller.
#[derive(Debug, Default)]
pub struct OpenStreams(Mutex<HashMap<String, usize>>);

/// An open stream, which is counted until this is dropped.
#[derive(Debug)]
pub struct OpenStream {
    streams: Arc<OpenStreams>,
    caller: String,
}

impl OpenStreams {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a stream of `caller`, or returns the limit that is reached.
    pub fn open(self: &Arc<Self>, caller: String) -> Result<OpenStream, usize> {
        let mut open = self.lock();
        if open.values().sum::<usize>() >= MAX_STREAMS {
            return Err(MAX_STREAMS);
        }
        let count = open.entry(caller.clone()).or_default();
        if *count >= MAX_STREAMS_PER_CALLER {
            return Err(MAX_STREAMS_PER_CALLER);
        }
        *count += 1;
        drop(open);
        Ok(OpenStream { streams: self.clone(), caller })
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        if let Some(count) = open.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{MAX_STREAMS, MAX_STREAMS_PER_CALLER, OpenStreams};
    use std::sync::Arc;

    #[test]
    fn streams_are_limited_by_caller_and_in_total() {
        let streams = Arc::new(OpenStreams::default());
        let open = |caller: usize| streams.open(caller.to_string());
        let of_one: Vec<_> = (0..MAX_STREAMS_PER_CALLER).map(|_| open(0).unwrap()).collect();
        assert_eq!(open(0).unwrap_err(), MAX_STREAMS_PER_CALLER);
        let others: Vec<_> =
            (0..MAX_STREAMS - MAX_STREAMS_PER_CALLER).map(|at| open(1 + at % 100).unwrap()).collect();
        assert_eq!(open(1_000).unwrap_err(), MAX_STREAMS);
        drop((of_one, others));
        assert!(streams.lock().is_empty(), "closed streams leave nothing");
        assert!(open(0).is_ok());
    }
}
