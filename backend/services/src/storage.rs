//! Artifacts, caches, uploaded sources, test reports and summaries, statistics, exports, badges, workers, retention, and the health of the stores.

pub(crate) mod archive;
mod artifact_files;
pub(crate) mod artifacts;
pub(crate) mod badges;
pub(crate) mod caches;
pub(crate) mod download;
pub(crate) mod export;
pub(crate) mod file_access;
pub(crate) mod health;
pub(crate) mod insights;
pub(crate) mod retention;
pub(crate) mod scaling;
pub(crate) mod sources;
pub(crate) mod summaries;
pub(crate) mod test_reports;
pub(crate) mod workers;
