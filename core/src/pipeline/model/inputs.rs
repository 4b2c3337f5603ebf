//! Typed inputs of a pipeline, which a user gives when starting it.

use crate::condition::compile_pattern;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Maximum length of the value of an input, in bytes.
pub const MAX_INPUT_LEN: usize = 4 << 10;

/// An input of a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// The type of its value.
    #[serde(rename = "type")]
    pub kind: InputKind,
    /// What it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its value if none is given; without it, a user must give one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// The possible values of a choice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// A regular expression that a part of a string must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

/// The type of an input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InputKind {
    /// Any text.
    #[default]
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// One of several texts.
    Choice,
}

impl InputKind {
    /// All types by their names in pipeline files.
    pub const ALL: [(&str, Self); 4] = [
        ("string", Self::String),
        ("number", Self::Number),
        ("boolean", Self::Boolean),
        ("choice", Self::Choice),
    ];

    /// Returns the name in pipeline files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

impl Input {
    /// Returns the variable of the input of this name.
    #[must_use]
    pub fn variable(name: &str) -> String {
        format!("INPUT_{}", name.to_ascii_uppercase())
    }

    /// Checks a value.
    ///
    /// # Errors
    /// Returns what the input takes.
    pub fn check(&self, value: &str) -> Result<(), String> {
        if value.len() > MAX_INPUT_LEN || value.contains('\0') {
            return Err(format!("at most {MAX_INPUT_LEN} bytes without NUL characters"));
        }
        let expected = match self.kind {
            InputKind::String => match &self.pattern {
                Some(pattern) if !compile_pattern(pattern).is_ok_and(|pattern| pattern.is_match(value)) => {
                    format!("a text that matches `{pattern}`")
                }
                _ => return Ok(()),
            },
            InputKind::Number if is_number(value) => return Ok(()),
            InputKind::Number => "a number".to_owned(),
            InputKind::Boolean if matches!(value, "true" | "false") => return Ok(()),
            InputKind::Boolean => "`true` or `false`".to_owned(),
            InputKind::Choice if self.options.iter().any(|option| option == value) => return Ok(()),
            InputKind::Choice => {
                let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
                format!("one of {}", crate::text::choices::listed(&options))
            }
        };
        Err(expected)
    }
}

/// Whether a text is a number as JSON writes it.
fn is_number(text: &str) -> bool {
    serde_json::from_str::<serde_json::Number>(text).is_ok()
}
