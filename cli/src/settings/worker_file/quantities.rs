//! Quantities of `worker.toml`.

use serde::Deserialize;
use tidemill_core::pipeline;

/// Bytes: a number, or text such as `2GiB`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "NumberOrText")]
pub struct Size(pub u64);

/// Processors: a number, or text.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "NumberOrText")]
pub struct Cpus(pub f64);

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Integer(u64),
    Float(f64),
    Text(String),
}

impl NumberOrText {
    fn into_text(self) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

impl TryFrom<NumberOrText> for Size {
    type Error = String;
    fn try_from(value: NumberOrText) -> Result<Self, String> {
        pipeline::bytes(&value.into_text()).map(Self)
    }
}

impl TryFrom<NumberOrText> for Cpus {
    type Error = String;
    fn try_from(value: NumberOrText) -> Result<Self, String> {
        pipeline::cpus(&value.into_text()).map(Self)
    }
}
