//! Parses JUnit XML of any test runner. As there is no standard, unknown elements are ignored.

use quick_xml::{
    Reader,
    escape::{resolve_predefined_entity, unescape},
    events::{BytesRef, BytesStart, Event},
};

/// Names from this length in bytes are truncated, as each case contains the name of its suite.
pub const MAX_NAME_LEN: usize = 4 << 10;
/// Maximum length of a failure's text in bytes.
const MAX_TEXT_LEN: usize = 64 << 10;

/// The outcome of a case, in ascending order of severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It passed after a retry.
    Flaky,
    /// It was not run.
    Skipped,
    /// It failed.
    Failed,
    /// It could not be run.
    Error,
}

/// One test case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Its class, or else its suite. Like all names, it is truncated if it has [`MAX_NAME_LEN`] bytes or more.
    pub suite: String,
    /// Its name.
    pub name: String,
    /// Its source file.
    pub file: Option<String>,
    /// Its line in the source file.
    pub line: Option<u32>,
    /// Its outcome.
    pub outcome: Outcome,
    /// Its duration in milliseconds.
    pub duration_ms: u64,
    /// The message of a failure.
    pub message: String,
    /// Whether the message is truncated.
    pub is_truncated: bool,
}

/// A syntax error in a file, with its position. The cases before it are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Line, counted from 1.
    pub line: usize,
    /// Byte in the line, counted from 1.
    pub column: usize,
    /// Description of the error.
    pub message: String,
}

impl ParseError {
    /// Creates the error at this byte of a file.
    pub(super) fn at(text: &[u8], position: usize, message: impl Into<String>) -> Self {
        let before = &text[..position.min(text.len())];
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        let column = before.len() - memchr::memrchr(b'\n', before).map_or(0, |at| at + 1) + 1;
        Self { line, column, message: message.into() }
    }
}

/// Passes each case of a file to `sink`, and returns the errors in the file.
pub fn parse(bytes: &[u8], sink: impl FnMut(Case)) -> Vec<ParseError> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return vec![ParseError::at(bytes, 0, "the file is UTF-16; only UTF-8 is supported")];
    }
    let mut errors = Vec::new();
    if let Err(error) = std::str::from_utf8(bytes) {
        errors.push(ParseError::at(bytes, error.valid_up_to(), "the file is not valid UTF-8 from here on"));
    }
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}');
    if let Err((position, message)) = read_text(text, sink) {
        errors.push(ParseError::at(text.as_bytes(), position, message));
    }
    errors
}

fn read_text(text: &str, sink: impl FnMut(Case)) -> Result<(), (usize, String)> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let to_usize = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
    let mut state = ParserState::new(sink);
    let mut depth = 0_usize;
    loop {
        let event = reader.read_event();
        let event = event.map_err(|error| (to_usize(reader.error_position()), error.to_string()))?;
        let error_here = |message: String| (to_usize(reader.buffer_position()), message);
        match event {
            Event::Start(tag) => {
                depth += 1;
                state.start_element(&tag).map_err(error_here)?;
            }
            Event::End(tag) => {
                depth -= 1;
                state.end_element(tag.local_name().as_ref());
            }
            Event::Text(text) => state.text(&String::from_utf8_lossy(&text)),
            Event::CData(text) => state.text(&String::from_utf8_lossy(&text)),
            Event::GeneralRef(entity) => state.text(&resolve_entity(&entity).map_err(error_here)?),
            // Entity definitions could expand a small file to a huge one.
            Event::DocType(_) => return Err(error_here("document types are not supported".into())),
            Event::Eof if depth > 0 => return Err(error_here("unexpected end of file".into())),
            Event::Eof if !state.is_junit => {
                return Err(error_here("the file has no `testsuite` element".into()));
            }
            Event::Eof => return Ok(()),
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
}

fn resolve_entity(entity: &BytesRef<'_>) -> Result<String, String> {
    if let Some(char) = entity.resolve_char_ref().map_err(|error| error.to_string())? {
        return Ok(char.into());
    }
    let name = String::from_utf8_lossy(entity);
    resolve_predefined_entity(&name).map(str::to_owned).ok_or_else(|| format!("unknown entity `&{name};`"))
}

/// The parser's state: the elements that are open.
struct ParserState<F> {
    sink: F,
    is_junit: bool,
    /// Names and files of the open suites.
    suites: Vec<(String, Option<String>)>,
    case: Option<Case>,
    /// Text of the failure so far.
    text: String,
    /// Whether the parser is in the failure element.
    in_failure: bool,
    /// Whether the parser is in an element with the test's output.
    in_output: bool,
}

impl<F: FnMut(Case)> ParserState<F> {
    fn new(sink: F) -> Self {
        let (suites, text) = (Vec::new(), String::new());
        Self { sink, is_junit: false, suites, case: None, text, in_failure: false, in_output: false }
    }

    fn start_element(&mut self, tag: &BytesStart<'_>) -> Result<(), String> {
        let outcome = match tag.local_name().as_ref() {
            b"testsuites" => {
                self.is_junit = true;
                return Ok(());
            }
            b"testsuite" => {
                self.is_junit = true;
                let [name, file] = attributes(tag, ["name", "file"])?.map(short);
                self.suites.push((name.unwrap_or_default(), file));
                return Ok(());
            }
            b"testcase" => {
                self.case = Some(self.new_case(tag)?);
                self.text.clear();
                return Ok(());
            }
            b"system-out" | b"system-err" => {
                self.in_output = true;
                return Ok(());
            }
            b"failure" => Outcome::Failed,
            b"error" => Outcome::Error,
            b"skipped" => Outcome::Skipped,
            b"flakyFailure" | b"flakyError" => Outcome::Flaky,
            _ => return Ok(()),
        };
        let Some(case) = self.case.as_mut().filter(|case| case.outcome < outcome) else { return Ok(()) };
        let [message, kind] = attributes(tag, ["message", "type"])?;
        case.outcome = outcome;
        case.message = message.filter(|message| !message.is_empty()).or(kind).unwrap_or_default();
        case.is_truncated = false;
        self.text.clear();
        self.in_failure = true;
        Ok(())
    }

    fn new_case(&self, tag: &BytesStart<'_>) -> Result<Case, String> {
        let names = ["classname", "name", "file", "line", "time", "status", "result"];
        let [class, name, file, line, time, status, result] = attributes(tag, names)?;
        let suite = self.suites.last();
        let class = class.filter(|class| !class.is_empty());
        // GoogleTest uses an attribute; other runners use an element.
        let is_skipped = [status, result].into_iter().flatten().any(|value| {
            ["notrun", "disabled", "skipped", "suppressed"].contains(&value.to_lowercase().as_str())
        });
        Ok(Case {
            suite: short(class).or_else(|| suite.map(|(name, _)| name.clone())).unwrap_or_default(),
            name: short(name).unwrap_or_default(),
            file: short(file).or_else(|| suite.and_then(|(_, file)| file.clone())),
            line: line.and_then(|line| line.trim().parse().ok()),
            outcome: if is_skipped { Outcome::Skipped } else { Outcome::Passed },
            duration_ms: time.map_or(0, |time| milliseconds(&time)),
            message: String::new(),
            is_truncated: false,
        })
    }

    fn text(&mut self, text: &str) {
        if !self.in_failure || self.in_output {
            return;
        }
        let remaining = MAX_TEXT_LEN.saturating_sub(self.text.len());
        let part = truncate(text, remaining);
        self.text += part;
        if part.len() < text.len()
            && let Some(case) = &mut self.case
        {
            case.is_truncated = true;
        }
    }

    fn end_element(&mut self, name: &[u8]) {
        match name {
            b"testsuite" => drop(self.suites.pop()),
            b"system-out" | b"system-err" => self.in_output = false,
            b"failure" | b"error" | b"skipped" | b"flakyFailure" | b"flakyError" => self.in_failure = false,
            b"testcase" => {
                let Some(mut case) = self.case.take() else { return };
                let text = self.text.trim();
                if text.contains(&case.message) {
                    text.clone_into(&mut case.message);
                } else if !text.is_empty() {
                    case.message = format!("{}\n{text}", case.message);
                }
                (self.sink)(case);
            }
            _ => {}
        }
    }
}

/// Returns the values of the attributes with these names.
pub(super) fn attributes<const N: usize>(
    tag: &BytesStart<'_>,
    names: [&str; N],
) -> Result<[Option<String>; N], String> {
    let mut values = [const { None }; N];
    for attribute in tag.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let Some(index) = names.iter().position(|name| name.as_bytes() == attribute.key.as_ref()) else {
            continue;
        };
        let value = String::from_utf8_lossy(&attribute.value);
        values[index] = Some(unescape(&value).map_err(|error| error.to_string())?.into_owned());
    }
    Ok(values)
}

/// Returns at most the first `max` bytes of `text`, cut at a character boundary.
pub fn truncate(text: &str, max: usize) -> &str {
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    &text[..(0..=max.min(text.len())).rev().find(is_boundary).unwrap_or(0)]
}

fn short(name: Option<String>) -> Option<String> {
    // A character has at most four bytes, so that a truncated name has at least `MAX_NAME_LEN` bytes.
    name.map(|name| truncate(&name, MAX_NAME_LEN + 3).to_owned())
}

/// Parses seconds as runners write them: `1.5`, `1,234.5`, and `0,25` with a decimal comma.
fn milliseconds(time: &str) -> u64 {
    let is_decimal = !time.contains('.') && time.matches(',').count() == 1;
    let plain = time.trim().replace(',', if is_decimal { "." } else { "" });
    let seconds: f64 = plain.parse().unwrap_or(0.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates, and NaN is 0")]
    let milliseconds = (seconds * 1000.0).round() as u64;
    // Limited so that a sum of many cannot overflow.
    milliseconds.min(u64::from(u32::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
