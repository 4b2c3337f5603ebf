//! Typed inputs of a pipeline, which a user gives when starting it.

use crate::pipeline::typed_inputs::{self, Constraints, InputType, InputValue};
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

    /// Returns the type of its values.
    pub(crate) const fn value_type(self) -> InputType {
        match self {
            Self::String => InputType::String,
            Self::Number => InputType::Number,
            Self::Boolean => InputType::Boolean,
            Self::Choice => InputType::Choice,
        }
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
        let kind = self.kind.value_type();
        let options = self.options.iter().map(|option| InputValue::Text(option)).collect();
        let pattern = match self.pattern.as_deref().filter(|_| kind.takes_pattern()) {
            // The check of the file reports a pattern that is not valid.
            Some(written) => {
                Some(typed_inputs::pattern(written).map_err(|_| format!("a text that matches `{written}`"))?)
            }
            None => None,
        };
        let options = Some(options).filter(|_| self.kind == InputKind::Choice);
        let constraints = Constraints { kind, options, pattern, max_len: MAX_INPUT_LEN };
        constraints.check(&InputValue::given(kind, value)).map_err(|mismatch| mismatch.expected())
    }
}
