//! The operations on retention.

use super::document::{Document, Kind, QueryParameters};
use tidemill_core::{
    api::path,
    retention::api::{DiskUsage, GcReport, GcRequest, PinReply, PinRequest, RetentionRequest, RetentionView},
};

const QUERY: QueryParameters = &[("repo", Kind::Text, "Repository; default the server")];

const PIN_PARAMS: QueryParameters =
    &[("repo", Kind::Text, "The expected repository; if it is another one, the reply is 409")];

/// Adds the operations.
pub fn add(of: &mut Document) {
    let reply = of.reference::<RetentionView>();
    of.add(path::RETENTION, "get", "How long executions are kept", QUERY, None, reply);
    let (body, reply) = (of.reference::<RetentionRequest>(), of.reference::<RetentionView>());
    of.add(path::RETENTION, "post", "Change how long executions are kept", &[], Some(body), reply);
    let (body, reply) = (of.reference::<GcRequest>(), of.reference::<GcReport>());
    of.add(path::GC, "post", "Remove what no rule keeps", &[], Some(body), reply);
    let reply = of.reference::<DiskUsage>();
    of.add(path::DISK_USAGE, "get", "What the stores use of the disk", &[], None, reply);
    let (body, reply) = (of.reference::<PinRequest>(), of.reference::<PinReply>());
    of.add(path::PIN, "post", "Pin or unpin an execution", PIN_PARAMS, Some(body), reply);
}
