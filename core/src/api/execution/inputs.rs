//! Inputs of a pipeline: what there are, and their values.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The value of an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum InputValue {
    /// A boolean.
    Boolean(bool),
    /// A number.
    Number(serde_json::Number),
    /// A text; also a number or a boolean as text.
    Text(String),
}

impl InputValue {
    /// Returns the value as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Boolean(value) => value.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// Asks for the inputs of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InputsRequest {
    /// The pipeline file's text.
    pub pipeline: String,
}

/// The inputs of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InputsReply {
    /// The pipeline's name.
    pub pipeline_name: String,
    /// A JSON Schema of the `inputs` of a request, from which a form can be made.
    pub schema: serde_json::Value,
}
