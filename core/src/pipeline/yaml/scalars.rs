//! How GitLab reads plain scalars: by YAML 1.1, as Ruby's Psych does.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// The type of a plain scalar in a GitLab file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScalarType {
    Null,
    Boolean,
    Integer,
    Float,
    /// A date or a time, which GitLab refuses.
    Date,
    Text,
}

/// The forms of scalars that are neither words nor empty.
struct Patterns {
    date: Regex,
    sexagesimal: Regex,
    float: Regex,
    octal: Regex,
    decimal: Regex,
    hexadecimal: Regex,
    binary: Regex,
}

impl Patterns {
    fn new() -> Result<Self, regex::Error> {
        Ok(Self {
            date: Regex::new(
                r"^(?:-?\d{4}-\d{1,2}-\d{1,2}(?:[Tt]|\s+)\d{1,2}:\d\d:\d\d(?:\.\d*)?(?:\s*(?:Z|[-+]\d{1,2}:?(?:\d\d)?))?|\d{4}-(?:1[012]|0\d|\d)-(?:[12]\d|3[01]|0\d|\d))$",
            )?,
            sexagesimal: Regex::new(r"^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9]){1,2}(?:\.[0-9_]*)?$")?,
            float: Regex::new(r"^[-+]?(?:[0-9][0-9_,]*)?\.[0-9]*(?:[eE][+-][0-9]+)?$")?,
            octal: Regex::new(r"^[-+]?0[0-7_,]+$")?,
            decimal: Regex::new(r"^[-+]?(?:0|[1-9](?:[0-9]|,[0-9]|_[0-9])*)$")?,
            hexadecimal: Regex::new(r"^[-+]?0[xX][0-9a-fA-F_,]+$")?,
            binary: Regex::new(r"^[-+]?0b[0-1_,]+$")?,
        })
    }
}

static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| Patterns::new().ok());

/// Returns the type of a plain scalar, and the text that GitLab uses where it takes the value as a string: `yes` is `true`,
/// `012` is `10`, and `1.10` is `1.1`. The text has the same type and the same text.
pub(crate) fn resolve(text: &str) -> (ScalarType, Cow<'_, str>) {
    let plain = |kind| (kind, Cow::Borrowed(text));
    if text.is_empty() || text == "~" || text.eq_ignore_ascii_case("null") {
        return plain(ScalarType::Null);
    }
    let is_word = |words: [&str; 3]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_word(["yes", "true", "on"]) {
        return (ScalarType::Boolean, Cow::Borrowed("true"));
    }
    if is_word(["no", "false", "off"]) {
        return (ScalarType::Boolean, Cow::Borrowed("false"));
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return plain(ScalarType::Text);
    }
    let Some(patterns) = PATTERNS.as_ref() else { return plain(ScalarType::Text) };
    if patterns.date.is_match(text) {
        return plain(ScalarType::Date);
    }
    if let Some(special) =
        [".inf", "+.inf", "-.inf", ".nan"].iter().position(|it| text.eq_ignore_ascii_case(it))
    {
        let name = ["Infinity", "Infinity", "-Infinity", "NaN"].get(special).copied().unwrap_or_default();
        return (ScalarType::Text, Cow::Borrowed(name));
    }
    if patterns.sexagesimal.is_match(text) {
        let is_float = text.contains('.');
        return match sexagesimal(text) {
            Some(value) if is_float => (ScalarType::Float, Cow::Owned(float(value))),
            Some(value) => (ScalarType::Integer, Cow::Owned(format!("{value:.0}"))),
            None => plain(ScalarType::Text),
        };
    }
    if patterns.float.is_match(text) {
        let digits: String = text.chars().filter(|c| !matches!(c, ',' | '_')).collect();
        // `+.` and the like are text.
        return match digits.parse::<f64>() {
            Ok(value) => (ScalarType::Float, Cow::Owned(float(value))),
            Err(_) => plain(ScalarType::Text),
        };
    }
    let radix = match () {
        () if patterns.octal.is_match(text) => 8,
        () if patterns.decimal.is_match(text) => 10,
        () if patterns.hexadecimal.is_match(text) => 16,
        () if patterns.binary.is_match(text) => 2,
        () => return plain(ScalarType::Text),
    };
    integer(text, radix).map_or(plain(ScalarType::Text), |text| (ScalarType::Integer, Cow::Owned(text)))
}

/// Returns an integer in decimal digits; `None` if it has none, or too many for another radix than 10.
fn integer(text: &str, radix: u32) -> Option<String> {
    let negative = text.starts_with('-');
    let digits: String =
        text.trim_start_matches(['+', '-']).chars().filter(|c| !matches!(c, ',' | '_')).collect();
    let digits = match radix {
        10 => digits,
        8 => digits.strip_prefix('0')?.to_owned(),
        _ => digits.get(2..)?.to_owned(),
    };
    if radix == 10 {
        return Some(format!("{}{digits}", if negative { "-" } else { "" }));
    }
    let value = i128::from_str_radix(&digits, radix).ok()?;
    Some(if negative { -value } else { value }.to_string())
}

/// Returns the value of `1:30:00` and `1:30`, which is `1:30:00` too.
fn sexagesimal(text: &str) -> Option<f64> {
    let mut total = 0.0;
    let mut factor = 3_600.0;
    for part in text.split(':') {
        let digits: String = part.chars().filter(|c| *c != '_').collect();
        total += digits.parse::<f64>().ok()? * factor;
        factor /= 60.0;
    }
    Some(total)
}

/// Returns a number as Ruby writes it.
fn float(value: f64) -> String {
    if value == 0.0 || (1e-4..1e16).contains(&value.abs()) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let mantissa = if mantissa.contains('.') { mantissa.to_owned() } else { format!("{mantissa}.0") };
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use super::{ScalarType, resolve};

    #[test]
    fn plain_scalars_are_those_of_yaml_1_1() {
        use ScalarType::{Boolean, Date, Float, Integer, Null, Text};
        for (text, kind, value) in [
            ("", Null, ""),
            ("~", Null, "~"),
            ("NULL", Null, "NULL"),
            ("yes", Boolean, "true"),
            ("On", Boolean, "true"),
            ("FALSE", Boolean, "false"),
            ("off", Boolean, "false"),
            ("y", Text, "y"),
            ("n", Text, "n"),
            ("yess", Text, "yess"),
            ("012", Integer, "10"),
            ("0755", Integer, "493"),
            ("08", Text, "08"),
            ("0o17", Text, "0o17"),
            ("0x1F", Integer, "31"),
            ("0b101", Integer, "5"),
            ("1_000", Integer, "1000"),
            ("1,000", Integer, "1000"),
            ("-7", Integer, "-7"),
            ("99999999999999999999999", Integer, "99999999999999999999999"),
            ("1:30", Integer, "5400"),
            ("1:30:00", Integer, "5400"),
            ("22:22", Integer, "80520"),
            ("8080:80", Text, "8080:80"),
            ("1.10", Float, "1.1"),
            ("3.", Float, "3.0"),
            (".5", Float, "0.5"),
            ("1e3", Text, "1e3"),
            ("1.0e+20", Float, "1.0e+20"),
            ("0.00001", Float, "1.0e-05"),
            ("1.2.3", Text, "1.2.3"),
            (".", Text, "."),
            ("-", Text, "-"),
            ("2024-01-31", Date, "2024-01-31"),
            ("2024-01-31 12:00:00", Date, "2024-01-31 12:00:00"),
            ("3 days", Text, "3 days"),
            ("v1.0", Text, "v1.0"),
        ] {
            let (found, normal) = resolve(text);
            assert_eq!((found, normal.as_ref()), (kind, value), "{text}");
            assert_eq!(resolve(&normal).0, if kind == Date { Date } else { kind }, "{text}");
        }
    }
}
