//! Retries of API calls and the pauses between them.

use super::error::ApiError;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder, Retryable};
use std::time::Duration;

/// Maximum attempts of an idempotent call.
const MAX_ATTEMPTS: usize = 5;

/// Builds exponential pauses with jitter; see [`exponential`].
#[derive(Debug, Clone, Copy)]
pub struct Exponential {
    builder: ExponentialBuilder,
    max: Duration,
}

/// Returns a back-off that doubles from `first`, with a random addition of up to 100 %, so that callers that failed at the same
/// time do not retry at the same time. No pause is longer than `max`.
#[must_use]
pub const fn exponential(first: Duration, max: Duration) -> Exponential {
    let builder = ExponentialBuilder::new().with_min_delay(first).with_max_delay(max).with_jitter();
    Exponential { builder, max }
}

impl Exponential {
    /// Limits the number of pauses.
    #[must_use]
    pub const fn with_max_times(self, max_times: usize) -> Self {
        Self { builder: self.builder.with_max_times(max_times), max: self.max }
    }

    /// Removes the limit of the number of pauses.
    #[must_use]
    pub const fn without_max_times(self) -> Self {
        Self { builder: self.builder.without_max_times(), max: self.max }
    }
}

impl BackoffBuilder for Exponential {
    type Backoff = ExponentialPauses;

    fn build(self) -> ExponentialPauses {
        ExponentialPauses { pauses: self.builder.build(), max: self.max }
    }
}

/// The pauses of an [`Exponential`].
#[derive(Debug)]
pub struct ExponentialPauses {
    pauses: ExponentialBackoff,
    max: Duration,
}

impl Iterator for ExponentialPauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // backon adds its jitter after it has applied the maximum.
        self.pauses.next().map(|pause| pause.min(self.max))
    }
}

/// Retries `call`, up to [`MAX_ATTEMPTS`] attempts, while the server is unreachable or busy.
pub(super) async fn retry<T, F: Future<Output = Result<T, ApiError>>>(
    call: impl FnMut() -> F,
) -> Result<T, ApiError> {
    let pauses = exponential(Duration::from_millis(200), Duration::from_secs(5));
    call.retry(pauses.with_max_times(MAX_ATTEMPTS - 1))
        .when(ApiError::is_transient)
        .notify(|error, pause| tracing::debug!(%error, ?pause, "retrying the call"))
        .await
}

/// An unlimited exponential back-off, for loops that are not a retried call.
#[derive(Debug)]
pub struct BackOff {
    pauses: ExponentialPauses,
    max: Duration,
}

impl BackOff {
    /// Creates a back-off from `first` to `max`; see [`exponential`].
    #[must_use]
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { pauses: exponential(first, max).without_max_times().build(), max }
    }

    /// Returns the pause before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        self.pauses.next().unwrap_or(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::BackOff;
    use std::time::Duration;

    #[test]
    fn pauses_double_with_jitter_up_to_the_maximum() {
        let max = 400;
        let mut pauses = BackOff::new(Duration::from_millis(100), Duration::from_millis(max));
        for min in [100, 200].into_iter().chain([400; 100]) {
            let pause = u64::try_from(pauses.next_delay().as_millis()).unwrap_or(u64::MAX);
            assert!((min..=(2 * min).min(max)).contains(&pause), "{pause} after a minimum of {min}");
        }
    }
}
