//! Checks of the services over the adapters.

pub mod access;
pub mod caches;
pub mod events;
pub mod executions;
pub mod id_tokens;
pub mod insights;
pub mod registries;
pub mod reports;
pub mod repositories;
pub mod secrets;
pub mod sources;
pub mod summaries;
pub mod sweep;
pub mod test_reports;
pub mod variables;
pub mod workers;
pub use workers::outside_worker;
