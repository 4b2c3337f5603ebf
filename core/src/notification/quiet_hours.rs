//! Hours in which a receiver gets no notifications.

use crate::time::Timestamp;
use jiff::{civil::Time, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A time of each day in which notifications wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// When they begin: `22:00`.
    pub from: String,
    /// When they end; before `from`: on the next day.
    pub to: String,
    /// The IANA time zone of both; absent: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

impl QuietHours {
    /// Checks that both times and the time zone exist.
    ///
    /// # Errors
    /// Returns what is wrong, for a user.
    pub fn check(&self) -> Result<(), String> {
        let (from, to, _) = self.parse()?;
        if from == to {
            return Err(format!("quiet hours from {} to {} are the whole day", self.from, self.to));
        }
        Ok(())
    }

    /// Returns when a message of this moment is sent: at once, or when the quiet hours end. Hours that do not parse are none.
    #[must_use]
    pub fn next_allowed(&self, now: Timestamp) -> Timestamp {
        self.end_of(now).unwrap_or(now)
    }

    fn end_of(&self, now: Timestamp) -> Option<Timestamp> {
        let (from, to, zone) = self.parse().ok()?;
        let local = jiff::Timestamp::from_millisecond(now.0).ok()?.to_zoned(zone.clone());
        let time = local.time();
        let spans_midnight = from > to;
        let is_quiet = if spans_midnight { time >= from || time < to } else { time >= from && time < to };
        if !is_quiet {
            return None;
        }
        let date = if spans_midnight && time >= from { local.date().tomorrow().ok()? } else { local.date() };
        // A time that a change of clocks skips is just after the change.
        let end = date.to_datetime(to).to_zoned(zone).ok()?;
        Some(Timestamp(end.timestamp().as_millisecond()))
    }

    fn parse(&self) -> Result<(Time, Time, TimeZone), String> {
        let name = self.time_zone.as_deref().unwrap_or("UTC");
        let zone = TimeZone::get(name).map_err(|_| format!("unknown time zone `{name}`"))?;
        Ok((parse_time(&self.from)?, parse_time(&self.to)?, zone))
    }
}

/// Parses a time of day, `HH:MM`.
fn parse_time(text: &str) -> Result<Time, String> {
    let invalid = || format!("`{text}` is not a time of day such as `22:00`");
    let (hour, minute) = text.split_once(':').ok_or_else(invalid)?;
    if hour.len() != 2 || minute.len() != 2 {
        return Err(invalid());
    }
    let number = |text: &str| text.parse::<i8>().map_err(|_| invalid());
    Time::new(number(hour)?, number(minute)?, 0, 0).map_err(|_| invalid())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::QuietHours;
    use crate::time::Timestamp;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn hours(from: &str, to: &str, zone: Option<&str>) -> QuietHours {
        QuietHours { from: from.into(), to: to.into(), time_zone: zone.map(str::to_owned) }
    }

    #[test]
    fn message_waits_until_the_end() {
        let night = hours("22:00", "07:00", None);
        for (now, sent) in [
            ("2026-11-30T21:59:59Z", "2026-11-30T21:59:59Z"),
            ("2026-11-30T22:00:00Z", "2026-12-01T07:00:00Z"),
            ("2026-12-01T06:59:59Z", "2026-12-01T07:00:00Z"),
            ("2026-12-01T07:00:00Z", "2026-12-01T07:00:00Z"),
        ] {
            assert_eq!(night.next_allowed(at(now)), at(sent), "{now}");
        }
        let lunch = hours("12:00", "13:30", Some("Europe/Berlin"));
        assert_eq!(lunch.next_allowed(at("2026-11-30T11:00:00Z")), at("2026-11-30T12:30:00Z"));
        assert_eq!(lunch.next_allowed(at("2026-11-30T12:30:00Z")), at("2026-11-30T12:30:00Z"));
    }

    #[test]
    fn end_within_a_change_of_clocks_is_after_it() {
        // 02:00 to 03:00 does not exist on that day.
        let night = hours("22:00", "02:30", Some("Europe/Berlin"));
        assert_eq!(night.next_allowed(at("2026-03-28T23:00:00Z")), at("2026-03-29T01:30:00Z"));
    }

    #[test]
    fn invalid_hours_are_rejected() {
        for (from, to, zone, why) in [
            ("25:00", "07:00", None, "`25:00` is not a time of day"),
            ("22:00", "7:00", None, "`7:00` is not a time of day"),
            ("22:00", "07:61", None, "`07:61` is not a time of day"),
            ("-1:00", "07:00", None, "`-1:00` is not a time of day"),
            ("22:00", "22:00", None, "the whole day"),
            ("22:00", "07:00", Some("Mars/Base"), "unknown time zone `Mars/Base`"),
        ] {
            let error = hours(from, to, zone).check().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert!(hours("22:00", "07:00", Some("Asia/Tokyo")).check().is_ok());
    }
}
