//! Git providers: webhooks, discovery of pipelines, schedules, commit statuses and notifications.

mod comments;
pub(crate) mod discoveries;
mod discovery_start;
pub(crate) mod follow_ups;
mod held_executions;
pub(crate) mod outbox;
mod pull_requests;
pub(crate) mod schedules;
pub(crate) mod webhooks;
