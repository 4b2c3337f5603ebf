//! Looking caches up.

use crate::execution::assignment::ArtifactSource;
use crate::ids::{JobId, LeaseToken};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Ask for a cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheLookupRequest {
    /// The job.
    pub job_id: JobId,
    /// The attempt's lease.
    pub lease: LeaseToken,
    /// Keys; the first under which something is kept counts.
    pub keys: Vec<String>,
}

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheLookupReply {
    /// The cache; absent: nothing is kept under any of the keys.
    pub found: Option<CacheHit>,
}

/// A cache that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheHit {
    /// Its key.
    pub key: String,
    /// Where its bytes are: a tar, as artifacts are.
    pub source: ArtifactSource,
}
