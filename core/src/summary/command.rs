//! Annotations in a job's output, in the syntax of GitHub's workflow commands:
//! `::error file=a.rs,line=3,col=5,endLine=4,title=...::message`.

use super::annotation::{Annotation, AnnotationLevel};

/// Maximum length of a line with a command, in bytes; the rest of a longer one is ignored.
pub const MAX_COMMAND_LEN: usize = 16 << 10;
/// What a line with a command begins with.
pub const PREFIX: &str = "::";

/// Reads the commands in the lines of a job's output.
#[derive(Debug, Default)]
pub struct CommandReader {
    /// The text that lets commands have an effect again, after `::stop-commands::text`.
    stopped_until: Option<String>,
}

impl CommandReader {
    /// Returns the annotation that a line of output is. Other commands are ignored.
    pub fn read(&mut self, line: &str) -> Option<Annotation> {
        let (head, message) = line.trim_start().strip_prefix(PREFIX)?.split_once(PREFIX)?;
        if let Some(until) = &self.stopped_until {
            if head == until {
                self.stopped_until = None;
            }
            return None;
        }
        let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
        let level = match name.to_ascii_lowercase().as_str() {
            "error" => AnnotationLevel::Failure,
            "warning" => AnnotationLevel::Warning,
            "notice" => AnnotationLevel::Notice,
            "stop-commands" => {
                let until = message.trim();
                self.stopped_until = (!until.is_empty()).then(|| until.to_owned());
                return None;
            }
            _ => return None,
        };
        let mut annotation = Annotation::new(level, unescaped(message.trim_end_matches('\r'), false));
        for property in properties.split(',') {
            let Some((key, value)) = property.split_once('=') else { continue };
            let value = unescaped(value.trim(), true);
            let number = || value.parse().ok();
            match key.trim() {
                "file" => annotation.path = Some(value),
                "title" => annotation.title = Some(value),
                "line" => annotation.line = number(),
                "col" => annotation.column = number(),
                "endLine" => annotation.end_line = number(),
                "endColumn" => annotation.end_column = number(),
                _ => {}
            }
        }
        Some(annotation)
    }
}

/// Replaces the escapes of a message, and those that only a property has.
fn unescaped(text: &str, is_property: bool) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let code = rest.get(1..3).map(str::to_ascii_uppercase);
        let c = match code.as_deref() {
            Some("25") => Some('%'),
            Some("0D") => Some('\r'),
            Some("0A") => Some('\n'),
            Some("3A") if is_property => Some(':'),
            Some("2C") if is_property => Some(','),
            _ => None,
        };
        plain.push(c.unwrap_or('%'));
        rest = &rest[if c.is_some() { 3 } else { 1 }..];
    }
    plain + rest
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Annotation, AnnotationLevel, CommandReader};
    use proptest::prelude::*;

    fn read(line: &str) -> Option<Annotation> {
        CommandReader::default().read(line)
    }

    #[test]
    fn commands_are_read_as_on_github() {
        let plain = |level, message: &str| Annotation::new(level, message);
        let error = |message| plain(AnnotationLevel::Failure, message);
        for (line, expected) in [
            ("::error::it broke", error("it broke")),
            ("  ::error::it broke\r", error("it broke")),
            ("::ERROR::it broke", error("it broke")),
            ("::warning::a, b: c", plain(AnnotationLevel::Warning, "a, b: c")),
            ("::notice::", plain(AnnotationLevel::Notice, "")),
            ("::error::a::b", error("a::b")),
            ("::error::a%0Ab%0a%25c%3A%2C%zz%", error("a\nb\n%c%3A%2C%zz%")),
            ("::error::%250A", error("%0A")),
            (
                "::error file=a.rs,line=3,col=5,endLine=4,endColumn=7,title=Rule%3A a%2Cb::message",
                Annotation {
                    path: Some("a.rs".into()),
                    line: Some(3),
                    column: Some(5),
                    end_line: Some(4),
                    end_column: Some(7),
                    title: Some("Rule: a,b".into()),
                    ..error("message")
                },
            ),
            (
                "::error file = a.rs , line=x,unknown=1,,title=a=b::m",
                Annotation { path: Some("a.rs".into()), title: Some("a=b".into()), ..error("m") },
            ),
            ("::error line=-1,col=99999999999::m", error("m")),
        ] {
            assert_eq!(read(line), Some(expected), "{line}");
        }
    }

    #[test]
    fn other_lines_are_ignored() {
        for line in [
            "",
            "::",
            "::::",
            ":: ::",
            "error::x",
            "$ ::error::x",
            "+ ::error::x",
            ":error::x",
            "::error",
            "::error x",
            "::errors::x",
            "::debug::x",
            "::group::x",
            "::endgroup::",
            "::add-mask::x",
            "::set-output name=a::b",
            "::%65rror::x",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn commands_can_be_stopped_until_a_token() {
        let mut reader = CommandReader::default();
        assert!(reader.read("::stop-commands::token").is_none());
        for line in ["::error::x", "::stop-commands::other", "::other::", "token"] {
            assert_eq!(reader.read(line), None, "{line}");
        }
        assert_eq!(reader.read("::token::"), None);
        assert!(reader.read("::error::x").is_some());
        assert_eq!(reader.read("::stop-commands::"), None);
        assert!(reader.read("::error::x").is_some(), "an empty token stops nothing");
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(line in "(::|[ a-z]|error|=|,|%|0A|é|\\PC){0,60}") {
            let mut reader = CommandReader::default();
            reader.read(&line);
            let command = format!("::error file=a,{line}::{line}");
            prop_assert_eq!(read(&command).map(|found| found.level), Some(AnnotationLevel::Failure));
        }
    }
}
