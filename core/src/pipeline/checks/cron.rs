//! Checks cron expressions: five fields, or a name such as `@daily`.

use crate::pipeline::finding::{Fault, quoted};

const NAMES: &[&str] = &["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"];

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

struct FieldRule {
    called: &'static str,
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const RULES: [FieldRule; 5] = [
    FieldRule { called: "minute", least: 0, most: 59, names: &[] },
    FieldRule { called: "hour", least: 0, most: 23, names: &[] },
    FieldRule { called: "day of month", least: 1, most: 31, names: &[] },
    FieldRule { called: "month", least: 1, most: 12, names: MONTHS },
    FieldRule { called: "day of week", least: 0, most: 7, names: DAYS },
];

/// Checks one expression.
pub(crate) fn check(expression: &str) -> Result<(), Fault> {
    let bad = |why: String| {
        Fault::new("bad-cron", format!("is not a cron expression: {}: {why}", quoted(expression)))
            .help("write minute, hour, day of month, month and day of week, such as `0 3 * * 1-5`")
    };
    let expression = expression.trim();
    if expression.starts_with('@') {
        let known = NAMES.contains(&expression);
        return if known { Ok(()) } else { Err(bad(format!("the names are {}", NAMES.join(", ")))) };
    }
    let fields: Vec<&str> = expression.split_ascii_whitespace().collect();
    if fields.len() != RULES.len() {
        return Err(bad(format!("it has {} fields instead of five", fields.len())));
    }
    let mut values = Vec::with_capacity(RULES.len());
    for (field, rule) in fields.iter().zip(&RULES) {
        values.push(field_values(field, rule).map_err(bad)?);
    }
    // A day that no month has, such as `31 2`, never matches. A day of the week is an alternative.
    let longest = |month: u32| [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1];
    let occurs = values[3].iter().any(|month| values[2].iter().any(|day| *day <= longest(*month)));
    if fields[4] == "*" && !occurs {
        return Err(bad("that day never occurs".to_owned()));
    }
    // The crate that computes the times may be stricter.
    crate::time::cron::parse(expression).map(drop).map_err(|error| bad(error.to_string()))
}

/// The values that a field matches.
fn field_values(field: &str, rule: &FieldRule) -> Result<Vec<u32>, String> {
    let called = rule.called;
    let number = |text: &str| -> Result<u32, String> {
        let named = rule.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        if let Some(at) = named.and_then(|at| u32::try_from(at).ok()) {
            return Ok(at + rule.least);
        }
        match text.parse::<u32>() {
            Ok(value) if (rule.least..=rule.most).contains(&value) => Ok(value),
            _ => Err(format!("{called} goes from {} to {}, not {}", rule.least, rule.most, quoted(text))),
        }
    };
    let mut values = Vec::new();
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => match step.parse::<u32>() {
                Ok(step) if (1..=rule.most).contains(&step) => (range, step),
                _ => return Err(format!("{called} has the step {}", quoted(step))),
            },
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (rule.least, rule.most),
            Some((from, to)) => (number(from)?, number(to)?),
            None if part.contains('/') => (number(range)?, rule.most),
            None => (number(range)?, number(range)?),
        };
        if from > to {
            return Err(format!("{called} has the range {} backwards", quoted(range)));
        }
        values.extend((from..=to).step_by(step as usize));
    }
    Ok(values)
}
