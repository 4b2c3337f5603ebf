//! Git providers: webhooks, discovery of pipelines, schedules, commit statuses and notifications.

mod branch_runs;
mod child_discovery;
mod comments;
mod deliveries;
pub(crate) mod delivery;
pub(crate) mod discoveries;
mod failed_discoveries;
pub(crate) mod follow_ups;
mod held_executions;
mod notice_content;
pub(crate) mod notices;
pub(crate) mod outbox;
mod pull_requests;
pub(crate) mod reports;
pub(crate) mod schedules;
pub(crate) mod webhooks;
