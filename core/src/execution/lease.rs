//! The right to run one attempt of a job.

use crate::{guarded, ids::LeaseToken, time::Timestamp};
use serde::{Deserialize, Serialize};

/// The right to run one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Fencing token.
    pub token: LeaseToken,
    /// Name of the worker that holds it.
    pub worker: String,
    /// When it expires unless a report renews it.
    pub expires_at: Timestamp,
    /// What the worker's slot costs, in millionths of a dollar for an hour; 0 if it has no price.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub slot_price: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "required by serde")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Lease {
    /// Whether `token` is the token of this lease.
    #[must_use]
    pub fn is_held_by(&self, token: LeaseToken) -> bool {
        guarded!(ReportNeedsLease, self.token.constant_time_eq(token))
    }

    /// Whether it has expired.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }

    /// Returns the remaining milliseconds at `now`.
    #[must_use]
    pub fn remaining_ms(&self, now: Timestamp) -> u64 {
        self.expires_at.since_ms(now)
    }

    /// Whether a report without news renews it: during the first third of `ttl_ms` the lease is not rewritten.
    #[must_use]
    pub fn is_renewal_due(&self, ttl_ms: u64, now: Timestamp) -> bool {
        self.remaining_ms(now) <= ttl_ms / 3 * 2
    }
}
