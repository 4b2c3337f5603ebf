//! Quantities of `worker.toml`.

use serde::Deserialize;
use tidemill_core::{execution::cost::MAX_SLOT_PRICE, pipeline};

/// Bytes: a number, or text such as `2GiB`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "NumberOrText")]
pub struct Size(pub u64);

/// Processors: a number, or text.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "NumberOrText")]
pub struct Cpus(pub f64);

/// Dollars for an hour: a number, or text. Holds millionths.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "NumberOrText")]
pub struct HourlyPrice(pub u64);

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

impl TryFrom<NumberOrText> for HourlyPrice {
    type Error = String;

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "the amount is checked"
    )]
    fn try_from(value: NumberOrText) -> Result<Self, String> {
        let text = value.into_text();
        let micro_usd = text.trim().parse::<f64>().map(|dollars| dollars * 1e6);
        let valid = micro_usd.ok().filter(|amount| (0.0..=MAX_SLOT_PRICE as f64).contains(amount));
        let amount = valid.ok_or_else(|| {
            format!("`{text}` is not a price: write dollars for an hour from 0 to 10000, such as 0.0725")
        })?;
        Ok(Self(amount.round() as u64))
    }
}
