//! Quantities: durations, amounts of memory, CPUs.

use schemars::JsonSchema;

use super::field::FromScalar;
use crate::pipeline::finding::{Fault, quoted};

/// Parses a time span such as `90s` or `1h 30m`, as in a pipeline file, and returns seconds.
pub fn span_s(text: &str) -> Result<u64, String> {
    scalar(text).map(|Duration(seconds)| seconds)
}

/// Parses an amount of memory such as `2GiB`, as in a pipeline file, and returns bytes.
pub fn bytes(text: &str) -> Result<u64, String> {
    scalar(text).map(|Bytes(bytes)| bytes)
}

/// Parses a number of CPUs such as `0.5`, as in a pipeline file.
pub fn cpus(text: &str) -> Result<f64, String> {
    scalar(text).map(|Cpus(cpus)| cpus)
}

fn scalar<T: FromScalar>(text: &str) -> Result<T, String> {
    T::from_text(text).map_err(|fault| match fault.help {
        Some(help) => format!("{} ({help})", fault.message),
        None => fault.message,
    })
}

/// A duration such as `20m`, `1h 30m` or `7 days`; a bare number is seconds.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Duration(#[schemars(schema_with = "number_or_text_schema")] pub(crate) u64);

/// An amount of memory such as `512m` or `2GiB`; a bare number is bytes.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Bytes(#[schemars(schema_with = "number_or_text_schema")] pub(crate) u64);

/// A number of CPUs such as `2` or `0.5`.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Cpus(#[schemars(range(min = 0.01, max = 1024.0))] pub(crate) f64);

fn number_or_text_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": ["string", "integer"] })
}

impl FromScalar for Duration {
    const EXPECTED: &'static str = "a duration, such as `20m`, `1h 30m` or `7 days`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let bad = || {
            Fault::new("bad-duration", format!("takes {}, not {}", Self::EXPECTED, quoted(text)))
                .help("units are s, m, h, d and w; a bare number is seconds")
        };
        let mut total = Some(0_u64);
        let mut rest = text.trim();
        if let Ok(seconds) = rest.parse::<u64>() {
            return Ok(Self(seconds));
        }
        if rest.is_empty() {
            return Err(bad());
        }
        while !rest.is_empty() {
            let (number, after) = split_while(rest, |c| c.is_ascii_digit());
            let (unit, after) = split_while(after.trim_start(), char::is_alphabetic);
            let number = if number.is_empty() { return Err(bad()) } else { number.parse::<u64>().ok() };
            let scale: u64 = match unit.to_ascii_lowercase().as_str() {
                "s" | "sec" | "secs" | "second" | "seconds" => 1,
                "m" | "min" | "mins" | "minute" | "minutes" => 60,
                "h" | "hr" | "hrs" | "hour" | "hours" => 3_600,
                "d" | "day" | "days" => 86_400,
                "w" | "week" | "weeks" => 604_800,
                _ => return Err(bad()),
            };
            let part = number.and_then(|n| n.checked_mul(scale));
            total = total.zip(part).and_then(|(total, part)| total.checked_add(part));
            rest = after.trim_start();
            rest = rest.strip_prefix("and ").unwrap_or(rest).trim_start();
        }
        total.map(Self).ok_or_else(|| Fault::new("out-of-range", format!("is too long: {}", quoted(text))))
    }
}

impl FromScalar for Bytes {
    const EXPECTED: &'static str = "a size, such as `512m` or `2GiB`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let bad = || {
            Fault::new("bad-size", format!("takes {}, not {}", Self::EXPECTED, quoted(text)))
                .help("units are k, m, g and t (or KiB, MiB, GiB, TiB), each 1024 of the one before")
        };
        let (number, unit) = split_while(text.trim(), |c| c.is_ascii_digit() || c == '.');
        let unit = unit.trim_start().to_ascii_lowercase();
        let shift = match unit.as_str() {
            "" | "b" => 0,
            "k" | "ki" | "kb" | "kib" => 10,
            "m" | "mi" | "mb" | "mib" => 20,
            "g" | "gi" | "gb" | "gib" => 30,
            "t" | "ti" | "tb" | "tib" => 40,
            _ => return Err(bad()),
        };
        let too_large = || Fault::new("out-of-range", format!("is too large: {}", quoted(text)));
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(1_u64 << shift).map(Self).ok_or_else(too_large);
        }
        // Fractions are exact to thousandths.
        let (whole, fraction) = number.split_once('.').ok_or_else(bad)?;
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 3 || shift == 0 {
            return Err(bad());
        }
        let thousandths: u64 = format!("{whole}{fraction:0<3}").parse().map_err(|_| too_large())?;
        let bytes = u128::from(thousandths) * (1_u128 << shift) / 1000;
        u64::try_from(bytes).map(Self).map_err(|_| too_large())
    }
}

impl FromScalar for Cpus {
    const EXPECTED: &'static str = "a number of processors, such as `2` or `0.5`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text.parse::<f64>() {
            Ok(cpus) if (0.01..=1024.0).contains(&cpus) => Ok(Self(cpus)),
            Ok(_) => {
                Err(Fault::new("out-of-range", format!("must be from 0.01 to 1024, not {}", quoted(text))))
            }
            Err(_) => {
                Err(Fault::new("wrong-type", format!("takes {}, not {}", Self::EXPECTED, quoted(text))))
            }
        }
    }
}

fn split_while(text: &str, keep: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !keep(c)).unwrap_or(text.len()))
}
