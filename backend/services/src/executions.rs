//! Executions and their jobs: start, plan, claim, report, approve, cancel, retry and sweep.

mod advance;
pub(crate) mod approvals;
mod assignment;
pub(crate) mod budget;
mod children;
pub(crate) mod dead_letters;
pub(crate) mod deployments;
pub(crate) mod discovery_plan;
pub(crate) mod idempotency_keys;
mod job_groups;
pub(crate) mod jobs;
pub(crate) mod pipeline;
pub(crate) mod planning;
pub(crate) mod request_texts;
pub(crate) mod sweep;
mod view;
