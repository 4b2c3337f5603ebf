//! Cron expressions of schedules.

use crate::time::Timestamp;
use croner::{Cron, parser::CronParser};
use jiff::{Zoned, tz::TimeZone};

/// Whether `name` is an IANA time zone.
#[must_use]
pub fn is_time_zone(name: &str) -> bool {
    TimeZone::get(name).is_ok()
}

/// Why there is no time of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// There is no such time zone.
    #[error("unknown time zone `{0}`")]
    TimeZone(String),
    /// The expression is not valid; `message` says why.
    #[error("`{expression}` is not a cron expression: {message}")]
    Expression {
        /// The expression.
        expression: String,
        /// What is wrong with it.
        message: String,
    },
    /// The time is beyond those that a calendar has.
    #[error("{0} is not a valid time")]
    Time(i64),
}

/// Returns the first time after `after` that matches a cron expression of five fields in a time zone. A time skipped by
/// a daylight saving change is moved to just after the change, and a repeated time occurs once. `None`: there is no
/// such time.
///
/// # Errors
/// The expression or the time zone is not valid.
pub fn next_after(
    expression: &str,
    time_zone: &str,
    after: Timestamp,
) -> Result<Option<Timestamp>, CronError> {
    let zone = TimeZone::get(time_zone).map_err(|_| CronError::TimeZone(time_zone.to_owned()))?;
    let cron = parse(expression)?;
    let from =
        jiff::Timestamp::from_millisecond(after.0).map_err(|_| CronError::Time(after.0))?.to_zoned(zone);
    Ok(cron
        .find_next_occurrence(&from, false)
        .ok()
        .map(|next: Zoned| Timestamp(next.timestamp().as_millisecond())))
}

/// Parses an expression.
pub(crate) fn parse(expression: &str) -> Result<Cron, CronError> {
    // Aliases of other implementations that the parser does not support.
    let normalized = match expression {
        "@midnight" => "@daily",
        "@annually" => "@yearly",
        other => other,
    };
    let parser = CronParser::builder().build();
    parser.parse(normalized).map_err(|error| CronError::Expression {
        expression: expression.to_owned(),
        message: error.to_string(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{is_time_zone, next_after};
    use crate::time::Timestamp;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn times(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let mut now = at(after);
        let mut found = Vec::new();
        for _ in 0..count {
            now = next_after(cron, zone, now).unwrap().unwrap();
            found.push(jiff::Timestamp::from_millisecond(now.0).unwrap().to_string());
        }
        found
    }

    #[test]
    fn next_occurrence_is_strictly_later() {
        assert_eq!(
            times("*/15 * * * *", "UTC", "2026-11-25T10:00:00Z", 2),
            ["2026-11-25T10:15:00Z", "2026-11-25T10:30:00Z"]
        );
        assert_eq!(times("0 3 * * 1-5", "UTC", "2026-11-27T03:00:00Z", 1), ["2026-11-30T03:00:00Z"]);
        assert_eq!(times("@daily", "America/New_York", "2026-11-25T10:00:00Z", 1), ["2026-11-26T05:00:00Z"]);
        assert_eq!(times("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 1), ["2028-02-29T00:00:00Z"]);
    }

    #[test]
    fn daylight_saving_changes_fire_once() {
        // 02:30 does not exist on 29 March: clocks go from 02:00 to 03:00.
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2),
            ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
        // 02:30 exists twice on 25 October.
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
    }

    #[test]
    fn invalid_cron_and_time_zone_return_errors() {
        assert!(is_time_zone("Europe/Berlin") && is_time_zone("UTC") && !is_time_zone("Europe/Berin"));
        assert!(
            next_after("0 3 * * *", "Nowhere", Timestamp(0)).unwrap_err().to_string().contains("Nowhere")
        );
        assert!(next_after("0 99 * * *", "UTC", Timestamp(0)).unwrap_err().to_string().contains("0 99"));
    }

    #[test]
    fn valid_cron_has_next_occurrence() {
        for cron in [
            "0 3 * * *",
            "@hourly",
            "@midnight",
            "@weekly",
            "@monthly",
            "@yearly",
            "@annually",
            "1,2-4/2 * 1 jan-mar sun",
            "0 0 * * 7",
        ] {
            assert!(next_after(cron, "UTC", at("2026-01-01T00:00:00Z")).unwrap().is_some(), "{cron}");
        }
    }
}
