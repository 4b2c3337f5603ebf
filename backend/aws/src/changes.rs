//! Parses records of the table's stream: selects the changes that need a notification.

use super::keys;
use serde_json::Value;
use tidemill_core::ids::ExecutionId;
use tidemill_services::{NOTIFICATION_KIND, STATUS_KIND};

/// A change that may need a notification.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamChange {
    /// An execution was created or changed, or its status document was written.
    Execution(ExecutionId),
    /// A notice with this name was written.
    Notice(String),
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
        None if sk == keys::EXECUTION => text("id")?.parse().ok().map(StreamChange::Execution),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{StreamChange, keys, parse_change};
    use serde_json::{Value, json};
    use tidemill_core::ids::ExecutionId;
    use uuid::Uuid;

    fn image(pk: &str, sk: &str, id: Option<&str>) -> Value {
        let mut image = json!({ "pk": { "S": pk }, "sk": { "S": sk }, "v": { "N": "1" } });
        if let Some(id) = id {
            image["id"] = json!({ "S": id });
        }
        image
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
