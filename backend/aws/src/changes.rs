//! Parses records of the table's stream: selects the changes that need a notification.

use super::keys;
use data_encoding::BASE64;
use serde_json::Value;
use tidemill_core::ids::ExecutionId;
use tidemill_services::pack::unpack;
use tidemill_services::ports::ExecutionState;
use tidemill_services::{NOTIFICATION_KIND, STATUS_KIND};

/// A change that may need a notification.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamChange {
    /// An execution was created or changed, or its status document was written.
    Execution(ExecutionId),
    /// A notice with this name was written.
    Notice(String),
    /// An execution was changed, and a request may have left steps of it to others: its jobs are not recorded yet, or it is canceled.
    Unfinished(ExecutionId),
}

/// Returns the change that an item of the stream describes, with attributes as `{"S": ...}`. `None`: it needs no
/// notification.
#[must_use]
pub fn parse_change(image: &Value) -> Option<StreamChange> {
    let text = |name: &str| image[name]["S"].as_str();
    let (pk, sk) = (text("pk")?, text("sk")?);
    match keys::document_kind(pk) {
        Some(STATUS_KIND) => sk.parse().ok().map(StreamChange::Execution),
        Some(NOTIFICATION_KIND) => Some(StreamChange::Notice(sk.to_owned())),
        None if sk == keys::EXECUTION => {
            let id = text("id")?.parse().ok()?;
            let change =
                if is_unfinished(image) { StreamChange::Unfinished } else { StreamChange::Execution };
            Some(change(id))
        }
        _ => None,
    }
}

/// Whether the state of an execution says that a request may have left steps to others. One that cannot be read says nothing.
fn is_unfinished(image: &Value) -> bool {
    let packed = image["st"]["B"].as_str().and_then(|text| BASE64.decode(text.as_bytes()).ok());
    let state = packed.and_then(|packed| unpack::<ExecutionState>(&packed).ok());
    state.is_some_and(|state| !state.status.is_terminal() && (state.unplanned || state.cancel_requested))
}

#[cfg(test)]
mod tests {
    use super::{BASE64, ExecutionState, StreamChange, keys, parse_change};
    use serde_json::{Value, json};
    use tidemill_core::execution::status::ExecutionStatus;
    use tidemill_core::ids::ExecutionId;
    use tidemill_services::pack::pack;
    use uuid::Uuid;

    fn image(pk: &str, sk: &str, id: Option<&str>) -> Value {
        let mut image = json!({ "pk": { "S": pk }, "sk": { "S": sk }, "v": { "N": "1" } });
        if let Some(id) = id {
            image["id"] = json!({ "S": id });
        }
        image
    }

    #[test]
    fn executions_with_steps_that_a_request_left_are_reported_as_such() {
        let id = ExecutionId(Uuid::now_v7());
        let pending = ExecutionState {
            status: ExecutionStatus::Pending,
            start_time: None,
            end_time: None,
            cancel_requested: false,
            unplanned: false,
            approved_at: None,
            superseded_by: None,
            timed_out: false,
            followed_by: None,
            retention: tidemill_core::retention::decision::RetentionState::default(),
        };
        let of = |state: &ExecutionState| {
            let mut image = image(&keys::home(id), keys::EXECUTION, Some(&id.to_string()));
            image["st"] = json!({ "B": BASE64.encode(&pack(state).unwrap_or_default()) });
            parse_change(&image)
        };
        assert_eq!(of(&pending), Some(StreamChange::Execution(id)));
        let unplanned = ExecutionState { unplanned: true, ..pending.clone() };
        let canceled = ExecutionState { cancel_requested: true, ..pending };
        for state in [unplanned, canceled] {
            assert_eq!(of(&state), Some(StreamChange::Unfinished(id)), "{state:?}");
            let ended = ExecutionState { status: ExecutionStatus::Canceled, ..state };
            assert_eq!(of(&ended), Some(StreamChange::Execution(id)));
        }
    }

    #[test]
    fn only_executions_and_notices_are_reported() {
        let id = ExecutionId(Uuid::now_v7());
        let (text, home) = (id.to_string(), keys::home(id));
        let execution = Some(StreamChange::Execution(id));
        assert_eq!(parse_change(&image(&home, keys::EXECUTION, Some(&text))), execution);
        assert_eq!(parse_change(&image("o#status", &text, None)), execution);
        let name = format!("{text}:0");
        assert_eq!(parse_change(&image("o#notice", &name, None)), Some(StreamChange::Notice(name)));
        for other in [
            image(&home, "n#0000001", None),
            image(&home, keys::EXECUTION, Some("not an id")),
            image("o#token", &text, None),
            image("o#status", "not an id", None),
            Value::Null,
        ] {
            assert_eq!(parse_change(&other), None, "{other}");
        }
    }
}
