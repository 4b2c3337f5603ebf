//! Pauses between attempts of the same call.

use super::error::ApiError;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder, Retryable};
use std::time::Duration;

/// Attempts of a call that may happen twice.
const MAX_ATTEMPTS: usize = 5;

/// Pauses that double from `first` to `max`, each with up to as much again at random, so that callers that failed together
/// do not come back together.
#[must_use]
pub const fn exponential(first: Duration, max: Duration) -> ExponentialBuilder {
    ExponentialBuilder::new().with_min_delay(first).with_max_delay(max).with_jitter()
}

/// Calls again, up to [`MAX_ATTEMPTS`] times, while the server is out of reach or busy.
pub(super) async fn retry<T, F: Future<Output = Result<T, ApiError>>>(
    call: impl FnMut() -> F,
) -> Result<T, ApiError> {
    let pauses = exponential(Duration::from_millis(200), Duration::from_secs(5));
    call.retry(pauses.with_max_times(MAX_ATTEMPTS - 1))
        .when(ApiError::is_transient)
        .notify(|error, pause| tracing::debug!(%error, ?pause, "the server is called again"))
        .await
}

/// Endless pauses between two durations, for loops that wait for something else than a call.
#[derive(Debug)]
pub struct BackOff {
    pauses: ExponentialBackoff,
    max: Duration,
}

impl BackOff {
    /// Pauses from `first` to `max`; see [`exponential`].
    #[must_use]
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { pauses: exponential(first, max).without_max_times().build(), max }
    }

    /// How long to wait before the next attempt.
    pub fn pause(&mut self) -> Duration {
        self.pauses.next().unwrap_or(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::BackOff;
    use std::time::Duration;

    #[test]
    fn pauses_double_up_to_the_maximum_and_vary_by_chance() {
        let mut pauses = BackOff::new(Duration::from_millis(100), Duration::from_millis(400));
        for least in [100, 200, 400, 400] {
            let pause = pauses.pause().as_millis();
            assert!((least..=2 * least).contains(&pause), "{pause} of {least}");
        }
    }
}
