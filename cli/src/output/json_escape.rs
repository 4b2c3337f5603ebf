//! Escapes control characters in JSON.

use std::fmt::Write;
use tidemill_core::text::{is_control, is_invisible};

/// Escapes the characters of `json` that a terminal interprets. Serializers escape only characters below U+0020.
pub fn json_escaped(json: &str) -> String {
    let needs_escape = |c: char| c >= '\u{7f}' && (is_control(c) || is_invisible(c));
    if !json.contains(needs_escape) {
        return json.to_owned();
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if needs_escape(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::json_escaped;

    #[test]
    fn escaped_json_has_no_control_characters_and_the_same_value() {
        let value = serde_json::json!({ "a\u{9b}": "\u{1b}[31m\u{202e}\u{e0041}ü\u{7f}", "b": ["\u{200b}"] });
        let escaped = json_escaped(&serde_json::to_string_pretty(&value).unwrap());
        assert!(escaped.chars().all(|c| c == '\n' || c == 'ü' || (' '..='~').contains(&c)), "{escaped}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
    }
}
