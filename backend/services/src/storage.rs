//! Artifacts, caches, uploaded sources and test reports, and the health of the stores.

pub(crate) mod artifacts;
pub(crate) mod caches;
pub(crate) mod download;
pub(crate) mod health;
pub(crate) mod sources;
pub(crate) mod test_reports;
