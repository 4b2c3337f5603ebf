//! Reads JUnit XML, as test runners write it: there is no standard, so that whatever is not known is passed over.

use quick_xml::{
    Reader,
    escape::{resolve_predefined_entity, unescape},
    events::{BytesRef, BytesStart, Event},
};

/// From so many bytes on a name is cut: each case of a suite has the suite's.
pub const MAX_NAME_LEN: usize = 4 << 10;
/// Bytes of a failure's text that are read.
const MAX_TEXT_LEN: usize = 64 << 10;

/// How a case ended. What is worse comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Well.
    Passed,
    /// Well, but not at once.
    Flaky,
    /// It was left out.
    Skipped,
    /// It failed.
    Failed,
    /// It could not be carried out.
    Error,
}

/// One test case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Its class, or else the suite that it is in. Of this and of other names, those of [`MAX_NAME_LEN`] bytes and more may be cut.
    pub suite: String,
    /// Its name.
    pub name: String,
    /// The file that it is in.
    pub file: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub duration_ms: u64,
    /// What was said of the outcome.
    pub message: String,
    /// Whether there was more of the message.
    pub is_cut: bool,
}

/// What is wrong with a file, and where. What comes before is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Byte in the line, from 1.
    pub column: usize,
    /// What is wrong.
    pub words: String,
}

impl ParseError {
    fn at(text: &[u8], position: usize, words: impl Into<String>) -> Self {
        let before = &text[..position.min(text.len())];
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        let column = before.len() - memchr::memrchr(b'\n', before).map_or(0, |at| at + 1) + 1;
        Self { line, column, words: words.into() }
    }
}

/// Gives each case of a file to `each`, and says what is wrong with the file.
pub fn read(bytes: &[u8], each: impl FnMut(Case)) -> Vec<ParseError> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return vec![ParseError::at(bytes, 0, "it is written in UTF-16, and only UTF-8 is read")];
    }
    let mut mistakes = Vec::new();
    if let Err(error) = std::str::from_utf8(bytes) {
        mistakes.push(ParseError::at(bytes, error.valid_up_to(), "from here on some of it is not UTF-8"));
    }
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}');
    if let Err((position, words)) = read_text(text, each) {
        mistakes.push(ParseError::at(text.as_bytes(), position, words));
    }
    mistakes
}

fn read_text(text: &str, each: impl FnMut(Case)) -> Result<(), (usize, String)> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let place = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
    let mut open = OpenElement::new(each);
    let mut depth = 0_usize;
    loop {
        let event = reader.read_event();
        let event = event.map_err(|error| (place(reader.error_position()), error.to_string()))?;
        let wrong = |words: String| (place(reader.buffer_position()), words);
        match event {
            Event::Start(tag) => {
                depth += 1;
                open.begin(&tag).map_err(wrong)?;
            }
            Event::End(tag) => {
                depth -= 1;
                open.end(tag.local_name().as_ref());
            }
            Event::Text(text) => open.text(&String::from_utf8_lossy(&text)),
            Event::CData(text) => open.text(&String::from_utf8_lossy(&text)),
            Event::GeneralRef(entity) => open.text(&resolved(&entity).map_err(wrong)?),
            // The entities that it may define are how a small file becomes a large one.
            Event::DocType(_) => return Err(wrong("a document type is not read".into())),
            Event::Eof if depth > 0 => return Err(wrong("it ends in the middle".into())),
            Event::Eof if !open.is_junit => return Err(wrong("there is no `testsuite` in it".into())),
            Event::Eof => return Ok(()),
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
}

fn resolved(entity: &BytesRef<'_>) -> Result<String, String> {
    if let Some(char) = entity.resolve_char_ref().map_err(|error| error.to_string())? {
        return Ok(char.into());
    }
    let name = String::from_utf8_lossy(entity);
    resolve_predefined_entity(&name).map(str::to_owned).ok_or_else(|| format!("unknown entity `&{name};`"))
}

/// What is open at a place in the file.
struct OpenElement<F> {
    each: F,
    is_junit: bool,
    /// Names and files of the suites.
    suites: Vec<(String, Option<String>)>,
    case: Option<Case>,
    /// Text of the failure that counts so far.
    text: String,
    /// Whether text is that of the failure that counts.
    telling: bool,
    /// Whether text is what the test printed.
    printed: bool,
}

impl<F: FnMut(Case)> OpenElement<F> {
    fn new(each: F) -> Self {
        let (suites, text) = (Vec::new(), String::new());
        Self { each, is_junit: false, suites, case: None, text, telling: false, printed: false }
    }

    fn begin(&mut self, tag: &BytesStart<'_>) -> Result<(), String> {
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
                self.case = Some(self.begun(tag)?);
                self.text.clear();
                return Ok(());
            }
            b"system-out" | b"system-err" => {
                self.printed = true;
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
        case.message = message.filter(|words| !words.is_empty()).or(kind).unwrap_or_default();
        case.is_cut = false;
        self.text.clear();
        self.telling = true;
        Ok(())
    }

    fn begun(&self, tag: &BytesStart<'_>) -> Result<Case, String> {
        let names = ["classname", "name", "file", "time", "status", "result"];
        let [class, name, file, time, status, result] = attributes(tag, names)?;
        let suite = self.suites.last();
        let class = class.filter(|class| !class.is_empty());
        // As GoogleTest says it; others say it by an element.
        let is_left_out = [status, result].into_iter().flatten().any(|word| {
            ["notrun", "disabled", "skipped", "suppressed"].contains(&word.to_lowercase().as_str())
        });
        Ok(Case {
            suite: short(class).or_else(|| suite.map(|(name, _)| name.clone())).unwrap_or_default(),
            name: short(name).unwrap_or_default(),
            file: short(file).or_else(|| suite.and_then(|(_, file)| file.clone())),
            outcome: if is_left_out { Outcome::Skipped } else { Outcome::Passed },
            duration_ms: time.map_or(0, |time| milliseconds(&time)),
            message: String::new(),
            is_cut: false,
        })
    }

    fn text(&mut self, more: &str) {
        if !self.telling || self.printed {
            return;
        }
        let room = MAX_TEXT_LEN.saturating_sub(self.text.len());
        let part = beginning(more, room);
        self.text += part;
        if part.len() < more.len()
            && let Some(case) = &mut self.case
        {
            case.is_cut = true;
        }
    }

    fn end(&mut self, name: &[u8]) {
        match name {
            b"testsuite" => drop(self.suites.pop()),
            b"system-out" | b"system-err" => self.printed = false,
            b"failure" | b"error" | b"skipped" | b"flakyFailure" | b"flakyError" => self.telling = false,
            b"testcase" => {
                let Some(mut case) = self.case.take() else { return };
                let text = self.text.trim();
                if text.contains(&case.message) {
                    text.clone_into(&mut case.message);
                } else if !text.is_empty() {
                    case.message = format!("{}\n{text}", case.message);
                }
                (self.each)(case);
            }
            _ => {}
        }
    }
}

/// The values of the attributes with these names.
fn attributes<const N: usize>(tag: &BytesStart<'_>, names: [&str; N]) -> Result<[Option<String>; N], String> {
    let mut found = [const { None }; N];
    for attribute in tag.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let Some(at) = names.iter().position(|name| name.as_bytes() == attribute.key.as_ref()) else {
            continue;
        };
        let value = String::from_utf8_lossy(&attribute.value);
        found[at] = Some(unescape(&value).map_err(|error| error.to_string())?.into_owned());
    }
    Ok(found)
}

/// The whole characters of the first `most` bytes of `text`.
pub fn beginning(text: &str, most: usize) -> &str {
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    &text[..(0..=most.min(text.len())).rev().find(is_boundary).unwrap_or(0)]
}

fn short(name: Option<String>) -> Option<String> {
    // A character has at most four bytes, so that what is cut has `MAX_NAME_LEN` at least.
    name.map(|name| beginning(&name, MAX_NAME_LEN + 3).to_owned())
}

/// Seconds as runners write them: `1.5`, `1,234.5`, and `0,25` where the comma is the decimal point.
fn milliseconds(time: &str) -> u64 {
    let is_decimal = !time.contains('.') && time.matches(',').count() == 1;
    let plain = time.trim().replace(',', if is_decimal { "." } else { "" });
    let seconds: f64 = plain.parse().unwrap_or(0.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates, and NaN is 0")]
    let milliseconds = (seconds * 1000.0).round() as u64;
    // A sum of many stays a number.
    milliseconds.min(u64::from(u32::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
