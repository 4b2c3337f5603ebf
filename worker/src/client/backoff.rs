//! Pauses between tries of the same call.

use std::time::Duration;
use uuid::Uuid;

/// Pauses that double from one try to the next up to a longest one. Half of each is left to chance, so that callers
/// that failed together do not come back together.
#[derive(Debug, Clone)]
pub struct BackOff {
    next: Duration,
    longest: Duration,
}

impl BackOff {
    /// Pauses from `first` to `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest }
    }

    /// How long to wait before the next try.
    pub fn pause(&mut self) -> Duration {
        let whole = self.next.min(self.longest);
        self.next = whole.saturating_mul(2);
        // The last byte of a version 4 UUID is random.
        let chance = u32::from(Uuid::new_v4().as_bytes()[15]);
        whole / 2 + whole / 2 * chance / 255
    }
}

#[cfg(test)]
mod tests {
    use super::BackOff;
    use std::time::Duration;

    #[test]
    fn pauses_grow_to_the_longest_and_are_at_least_half_of_what_they_may_be() {
        let mut pauses = BackOff::new(Duration::from_millis(100), Duration::from_millis(400));
        for whole in [100, 200, 400, 400] {
            let pause = pauses.pause().as_millis();
            assert!((whole / 2..=whole).contains(&pause), "{pause} of {whole}");
        }
    }
}
