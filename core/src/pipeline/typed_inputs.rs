//! Typed inputs: which values the declaration of an input takes. One rule for the inputs of a pipeline, of an included file, and of
//! a GitLab file.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::condition::{PatternError, compile_pattern};
use crate::text::choices::listed;

/// Maximum number of options of an input.
pub(crate) const MAX_OPTIONS: usize = 100;

/// The type of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InputType {
    String,
    Number,
    Boolean,
    /// One of several texts.
    Choice,
    /// A list of single values; options and pattern are those of each of its items.
    List,
    /// A list of anything: GitLab's `array`.
    Array,
}

impl InputType {
    /// Whether its values can be restricted to `options`.
    pub(crate) const fn takes_options(self) -> bool {
        !matches!(self, Self::Boolean | Self::Array)
    }

    /// Whether its values can be restricted by a pattern.
    pub(crate) const fn takes_pattern(self) -> bool {
        matches!(self, Self::String | Self::List)
    }

    /// What a value must be.
    const fn expected(self) -> &'static str {
        match self {
            Self::String => "a string; write a number or `true` in quotes",
            Self::Number => "a number",
            Self::Boolean => "`true` or `false`",
            Self::Choice => "a text",
            Self::List => "a list of single values",
            Self::Array => "a list",
        }
    }
}

/// A value that is given to an input, with the type that its file says it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InputValue<'a> {
    Text(&'a str),
    /// A number in decimal digits.
    Number(&'a str),
    /// `true` or `false`.
    Boolean(&'a str),
    List(Vec<Self>),
    /// Nothing, or a mapping.
    Other,
}

impl<'a> InputValue<'a> {
    /// Returns the value of a text without quotes in a file of Tidemill.
    pub(crate) fn plain(text: &'a str) -> Self {
        match text {
            "true" | "false" => Self::Boolean(text),
            _ if is_number(text) => Self::Number(text),
            _ => Self::Text(text),
        }
    }

    /// Returns the value of a text that a user gives for an input of type `kind`.
    pub(crate) fn given(kind: InputType, text: &'a str) -> Self {
        match (kind, Self::plain(text)) {
            (InputType::Number, number @ Self::Number(_)) => number,
            (InputType::Boolean, boolean @ Self::Boolean(_)) => boolean,
            _ => Self::Text(text),
        }
    }

    const fn has_type(&self, kind: InputType) -> bool {
        match self {
            Self::Text(_) => matches!(kind, InputType::String | InputType::Choice),
            Self::Number(_) => matches!(kind, InputType::Number),
            Self::Boolean(_) => matches!(kind, InputType::Boolean),
            Self::List(_) => matches!(kind, InputType::List | InputType::Array),
            Self::Other => false,
        }
    }

    /// Returns the text of a single value.
    fn text(&self) -> Option<&'a str> {
        match self {
            Self::Text(text) | Self::Number(text) | Self::Boolean(text) => Some(text),
            Self::List(_) | Self::Other => None,
        }
    }

    /// Returns what equal single values have in common.
    fn identity(&self) -> Option<(u8, Cow<'a, str>)> {
        match self {
            Self::Text(text) => Some((0, Cow::Borrowed(text))),
            Self::Number(text) => Some((1, number_identity(text))),
            Self::Boolean(text) => Some((2, Cow::Borrowed(text))),
            Self::List(_) | Self::Other => None,
        }
    }
}

/// Whether a text is a number of a file of Tidemill: as JSON writes it, and no larger than a number of 64 bits can be.
pub(crate) fn is_number(text: &str) -> bool {
    let starts = |c: char| c.is_ascii_digit() || c == '-';
    text.starts_with(starts)
        && text.ends_with(|c: char| c.is_ascii_digit())
        && serde_json::from_str::<serde_json::Number>(text).is_ok()
}

/// Returns the same text for `1`, `1.0` and `1e0`. Digits that a number of 64 bits cannot hold are compared as they are written.
fn number_identity(text: &str) -> Cow<'_, str> {
    let is_integer = text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<f64>() {
        Ok(value) if !is_integer => Cow::Owned(value.to_string()),
        _ => Cow::Borrowed(text),
    }
}

/// A regular expression that a part of a text must match.
#[derive(Debug)]
pub(crate) struct Pattern<'a> {
    written: &'a str,
    compiled: regex::Regex,
}

/// Compiles a pattern. `Err`: why it is not valid.
pub(crate) fn pattern(written: &str) -> Result<Pattern<'_>, PatternError> {
    Ok(Pattern { written, compiled: compile_pattern(written)? })
}

/// Compiles a pattern that may be written between slashes.
pub(crate) fn pattern_in_slashes(written: &str) -> Result<Pattern<'_>, PatternError> {
    let body = written.strip_prefix('/').and_then(|body| body.strip_suffix('/')).unwrap_or(written);
    Ok(Pattern { written, compiled: compile_pattern(body)? })
}

/// What an input takes.
#[derive(Debug)]
pub(crate) struct Constraints<'a> {
    pub(crate) kind: InputType,
    /// The allowed values.
    pub(crate) options: Option<Vec<InputValue<'a>>>,
    pub(crate) pattern: Option<Pattern<'a>>,
    /// Maximum length of each single value, in bytes.
    pub(crate) max_len: usize,
}

impl Constraints<'_> {
    /// Checks a value.
    pub(crate) fn check(&self, value: &InputValue<'_>) -> Result<(), Mismatch> {
        let items = match value {
            InputValue::List(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        let is_single = |item: &InputValue<'_>| item.text().is_some();
        if !value.has_type(self.kind) || (self.kind == InputType::List && !items.iter().all(is_single)) {
            return Err(Mismatch::Type(self.kind));
        }
        let texts = || items.iter().filter_map(InputValue::text);
        if texts().any(|text| text.len() > self.max_len || text.contains('\0')) {
            return Err(Mismatch::Length(self.max_len));
        }
        if let Some(options) = &self.options {
            let allowed: HashSet<_> = options.iter().filter_map(InputValue::identity).collect();
            let is_other =
                |item: &&InputValue<'_>| item.identity().is_none_or(|identity| !allowed.contains(&identity));
            if let Some(other) = items.iter().find(is_other) {
                let options: Vec<&str> = options.iter().filter_map(InputValue::text).collect();
                let value = other.text().unwrap_or_default().to_owned();
                return Err(Mismatch::Option { value, options: listed(&options) });
            }
        }
        let Some(pattern) = &self.pattern else { return Ok(()) };
        match texts().find(|text| !pattern.compiled.is_match(text)) {
            None => Ok(()),
            Some(value) => {
                Err(Mismatch::Pattern { value: value.to_owned(), written: pattern.written.to_owned() })
            }
        }
    }
}

/// Why an input does not take a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// It is of another type than this.
    Type(InputType),
    /// It is longer than this, in bytes, or has a NUL character.
    Length(usize),
    /// It is none of the options.
    Option {
        value: String,
        /// The options, formatted.
        options: String,
    },
    /// It does not match the pattern.
    Pattern { value: String, written: String },
}

impl Mismatch {
    /// Returns what the input takes.
    pub(crate) fn expected(&self) -> String {
        match self {
            Self::Type(kind) => kind.expected().to_owned(),
            Self::Length(max) => format!("at most {max} bytes without NUL characters"),
            Self::Option { options, .. } => format!("one of {options}"),
            Self::Pattern { written, .. } => format!("a text that matches `{written}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Constraints, InputType, InputValue, Mismatch, is_number};

    #[test]
    fn numbers_are_those_of_json() {
        for number in ["0", "1", "-1", "1.5", "-0.5", "2e3", "1E-2", "99999999999999999999999"] {
            assert!(is_number(number), "{number}");
        }
        for text in ["", "-", "01", "1.", ".5", "+1", "1_000", "0x1F", "1e400", "NaN", "inf", " 1", "1 "] {
            assert!(!is_number(text), "{text}");
        }
    }

    #[test]
    fn options_are_compared_with_their_types() {
        let constraints = |kind| Constraints {
            kind,
            options: Some(vec![InputValue::Number("1"), InputValue::Text("2"), InputValue::Number("2.50")]),
            pattern: None,
            max_len: 10,
        };
        let numbers = constraints(InputType::Number);
        for (value, is_option) in [("1", true), ("2", false), ("2.5", true), ("3", false)] {
            assert_eq!(numbers.check(&InputValue::Number(value)).is_ok(), is_option, "{value}");
        }
        let texts = constraints(InputType::String);
        assert_eq!(texts.check(&InputValue::Text("2")), Ok(()));
        assert!(matches!(texts.check(&InputValue::Text("1")), Err(Mismatch::Option { .. })));
        assert_eq!(texts.check(&InputValue::Text("12345678901")), Err(Mismatch::Length(10)));
        assert_eq!(texts.check(&InputValue::Text("\0")), Err(Mismatch::Length(10)));
    }
}
