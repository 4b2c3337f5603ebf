//! Durations in GitLab's formats: `3 hours 30 minutes`, `1h30m`, `2 hrs 20 min`, `6 mos and 1 day`, `3600`.

const UNITS: [(&[&str], u64); 7] = [
    (&["s", "sec", "secs", "second", "seconds"], 1),
    (&["m", "min", "mins", "minute", "minutes"], 60),
    (&["h", "hr", "hrs", "hour", "hours"], 3_600),
    (&["d", "day", "days"], 86_400),
    (&["w", "wk", "wks", "week", "weeks"], 7 * 86_400),
    (&["mo", "mon", "mos", "month", "months"], 30 * 86_400),
    (&["y", "yr", "yrs", "year", "years"], 31_557_600),
];

/// Numbers that GitLab reads as words.
const NUMBERS: [(&str, u8); 17] = [
    ("one", 1),
    ("two", 2),
    ("three", 3),
    ("four", 4),
    ("five", 5),
    ("six", 6),
    ("seven", 7),
    ("eight", 8),
    ("nine", 9),
    ("ten", 10),
    ("eleven", 11),
    ("twelve", 12),
    ("fifteen", 15),
    ("twenty", 20),
    ("thirty", 30),
    ("sixty", 60),
    ("ninety", 90),
];

/// Returns a text with its words for numbers as digits.
fn with_digits(text: &str) -> String {
    let word = |word: &str| match NUMBERS.iter().find(|(known, _)| *known == word) {
        Some((_, number)) => number.to_string(),
        None => word.to_owned(),
    };
    text.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// Parses a duration and returns its seconds.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let text = with_digits(&text.trim().to_ascii_lowercase());
    if let Some(seconds) = clock(&text) {
        return Some(seconds);
    }
    let mut rest = text.as_str();
    let mut total: f64 = 0.0;
    let mut any = false;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if let Some(after) = rest.strip_prefix("and ") {
            rest = after;
            continue;
        }
        if rest.is_empty() {
            break;
        }
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let count: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = &rest[..letters];
        let seconds = match unit {
            "" => 1,
            _ => UNITS.iter().find(|(names, _)| names.contains(&unit)).map(|(_, seconds)| *seconds)?,
        };
        #[allow(clippy::cast_precision_loss)]
        let seconds = seconds as f64;
        total += count * seconds;
        rest = &rest[letters..];
        any = true;
    }
    let is_valid = any && total.is_finite() && (0.0..1e12).contains(&total);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    is_valid.then(|| total.round() as u64)
}

/// Parses `1:30:00`, hours and minutes, or minutes and seconds.
fn clock(text: &str) -> Option<u64> {
    let parts: Vec<&str> = text.split(':').collect();
    if !(2..=3).contains(&parts.len()) {
        return None;
    }
    parts.iter().try_fold(0_u64, |total, part| total.checked_mul(60)?.checked_add(part.parse().ok()?))
}

/// Formats a duration for native files.
pub(crate) fn native(seconds: u64) -> String {
    let mut parts = Vec::new();
    let mut rest = seconds;
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if rest >= length {
            parts.push(format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::{native, seconds};

    #[test]
    fn documented_gitlab_durations_parse() {
        for (text, expected) in [
            ("42", 42),
            ("42 seconds", 42),
            ("3 mins 4 sec", 184),
            ("2 hrs 20 min", 8_400),
            ("2h20min", 8_400),
            ("6 mos 1 day", 181 * 86_400),
            ("47 yrs 6 mos and 4d", 47 * 31_557_600 + 184 * 86_400),
            ("3 weeks and 2 days", 23 * 86_400),
            ("3 hours 30 minutes", 12_600),
            ("1h 30m", 5_400),
            ("1.5 hours", 5_400),
            ("1 week", 604_800),
            ("one week", 604_800),
            ("two hours and thirty minutes", 9_000),
            ("1:30:00", 5_400),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
            assert_eq!(crate::pipeline::span_s(&native(expected)), Ok(expected), "{text}");
        }
        for text in
            ["", "never", "soon", "3 lightyears", "1e999 h", "-1", "99999999999999999999 y", ".", "::"]
        {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
