//! Cache lookup.

use crate::execution::assignment::ArtifactSource;
use crate::ids::{JobId, LeaseToken};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Requests a cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheLookupRequest {
    /// The job.
    pub job_id: JobId,
    /// The attempt's lease.
    pub lease: LeaseToken,
    /// Keys; the first with a stored cache is used.
    pub keys: Vec<String>,
}

/// The result of a cache lookup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheLookupReply {
    /// The cache; absent: none is stored under any of the keys.
    pub found: Option<CacheHit>,
}

/// A stored cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheHit {
    /// Its key.
    pub key: String,
    /// Where to download it: a tar, like artifacts.
    pub source: ArtifactSource,
}
