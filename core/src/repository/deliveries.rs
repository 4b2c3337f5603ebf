//! Deliveries of webhooks.

use crate::repository::webhook::Provider;
use crate::{ids::ExecutionId, time::Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The last deliveries of a repository, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryList {
    /// The repository's name.
    pub repository: String,
    /// The last 20 whose signature was valid; each is kept for 7 days.
    pub deliveries: Vec<DeliveryView>,
    /// Those whose signature was missing or wrong, of which nothing else is kept.
    pub rejected: RejectedDeliveries,
}

/// Deliveries whose signature was missing or wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RejectedDeliveries {
    /// Their number, since none came for 7 days; more than a rate limit allows are not counted.
    pub count: u64,
    /// When the last one came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Timestamp>,
    /// Why it was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reason: Option<String>,
}

/// A delivery of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryView {
    /// Its id on this server.
    pub id: String,
    /// Its id at the provider, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<String>,
    /// When it was received.
    pub received_at: Timestamp,
    /// The provider.
    pub provider: Provider,
    /// The event, as the provider names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// What happened, as the provider names it, such as `opened`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Size of its body in bytes.
    pub bytes: u64,
    /// What came of it.
    pub outcome: DeliveryOutcome,
    /// One line for each event, with what Tidemill did about it, or the error.
    pub lines: Vec<String>,
    /// The discoveries that it started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub executions: Vec<ExecutionId>,
    /// The delivery that it repeats, if someone redelivered it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redelivery_of: Option<String>,
    /// Whether its body is kept, so that it can be redelivered.
    pub can_redeliver: bool,
}

/// What came of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryOutcome {
    /// It started executions.
    Started,
    /// It started nothing, as its lines say.
    Skipped,
    /// Its body is not valid.
    Refused,
    /// It could not be processed.
    Failed,
}

/// Processes a kept delivery again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RedeliverRequest {
    /// The repository, in any form of its address.
    pub repo: String,
    /// The delivery's id on this server.
    pub id: String,
}
