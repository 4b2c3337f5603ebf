//! Git providers: webhooks, discovery of pipelines, schedules, commit statuses and notifications.

pub(crate) mod discoveries;
mod discovery_start;
mod held_executions;
pub(crate) mod outbox;
pub(crate) mod schedules;
pub(crate) mod webhooks;
