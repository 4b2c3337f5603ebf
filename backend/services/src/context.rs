//! State and settings that all services share.

pub(crate) mod backoff;
pub(crate) mod capacity;
pub(crate) mod fleet;
pub(crate) mod followed;
pub(crate) mod job_spec;
pub(crate) mod lru_cache;
pub(crate) mod metrics;
pub(crate) mod page;
pub(crate) mod service_context;
pub(crate) mod settings;
pub(crate) mod shells;
