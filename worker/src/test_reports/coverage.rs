//! Reads how many lines tests covered from a report of Cobertura or JaCoCo.

use super::junit::{ParseError, attributes};
use quick_xml::{
    Reader,
    events::{BytesStart, Event},
};

/// Maximum number of elements within each other.
const MAX_DEPTH: usize = 256;

/// Lines of a program that tests can cover.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lines {
    /// Those that they covered.
    pub covered: u64,
    /// All of them.
    pub valid: u64,
}

impl Lines {
    /// Adds those of another file.
    pub fn add(&mut self, other: Self) {
        self.covered = self.covered.saturating_add(other.covered);
        self.valid = self.valid.saturating_add(other.valid);
    }

    /// Returns the covered share in percent, rounded to two decimals; `None`: there are no lines.
    #[must_use]
    pub fn percentage(self) -> Option<f64> {
        if self.valid == 0 {
            return None;
        }
        let (covered, valid) = (u128::from(self.covered.min(self.valid)), u128::from(self.valid));
        let hundredths = (covered * 20_000 + valid) / (2 * valid);
        u16::try_from(hundredths).ok().map(|hundredths| f64::from(hundredths) / 100.0)
    }
}

/// Returns the lines of a file.
pub fn parse(bytes: &[u8]) -> Result<Lines, ParseError> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(ParseError::at(bytes, 0, "the file is not UTF-8"));
    };
    let text = text.trim_start_matches('\u{feff}');
    read_text(text).map_err(|(position, message)| ParseError::at(text.as_bytes(), position, message))
}

/// The format of a file, by its root.
enum Format {
    Cobertura {
        /// The sums that the root names.
        total: Option<Lines>,
    },
    JaCoCo,
}

fn read_text(text: &str) -> Result<Lines, (usize, String)> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let to_usize = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
    let mut lines = Lines::default();
    let (mut format, mut depth) = (None, 0_usize);
    // The depth of the element whose lines are those of its class once more.
    let mut within_methods: Option<usize> = None;
    loop {
        let event = reader.read_event();
        let event = event.map_err(|error| (to_usize(reader.error_position()), error.to_string()))?;
        let error_here = |message: String| (to_usize(reader.buffer_position()), message);
        match event {
            Event::Start(tag) => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(error_here(format!("elements are nested deeper than {MAX_DEPTH}")));
                }
                match (&format, tag.local_name().as_ref()) {
                    (None, _) => format = Some(root(&tag).map_err(error_here)?),
                    (Some(Format::Cobertura { .. }), b"methods") => {
                        within_methods = within_methods.or(Some(depth));
                    }
                    (Some(Format::Cobertura { .. }), b"line") if within_methods.is_none() => {
                        let [hits] = attributes(&tag, ["hits"]).map_err(error_here)?;
                        let is_covered =
                            hits.is_some_and(|hits| hits.trim().parse::<f64>().is_ok_and(|n| n > 0.0));
                        lines.add(Lines { covered: u64::from(is_covered), valid: 1 });
                    }
                    // Those of its packages and classes are parts of it.
                    (Some(Format::JaCoCo), b"counter") if depth == 2 => {
                        lines.add(counter(&tag).map_err(error_here)?);
                    }
                    _ => {}
                }
            }
            Event::End(_) => {
                within_methods = within_methods.filter(|at| *at != depth);
                depth = depth.saturating_sub(1);
            }
            Event::Eof if depth > 0 => return Err(error_here("unexpected end of file".into())),
            Event::Eof => {
                let total = match format {
                    None => return Err(error_here("the file has no element".into())),
                    Some(Format::Cobertura { total }) => total.unwrap_or(lines),
                    Some(Format::JaCoCo) => lines,
                };
                if total.valid == 0 {
                    return Err(error_here("the file counts no lines".into()));
                }
                return Ok(total);
            }
            // No entity is expanded, so that the definitions of a document type have no effect.
            _ => {}
        }
    }
}

fn root(tag: &BytesStart<'_>) -> Result<Format, String> {
    match tag.local_name().as_ref() {
        b"coverage" => {
            let [covered, valid] = attributes(tag, ["lines-covered", "lines-valid"])?;
            let total = number(covered).zip(number(valid)).map(|(covered, valid)| Lines { covered, valid });
            // Some tools write zeros.
            Ok(Format::Cobertura { total: total.filter(|total| total.valid > 0) })
        }
        b"report" => Ok(Format::JaCoCo),
        _ => {
            Err("the file is neither a report of Cobertura (`coverage`) nor one of JaCoCo (`report`)".into())
        }
    }
}

fn counter(tag: &BytesStart<'_>) -> Result<Lines, String> {
    let [kind, missed, covered] = attributes(tag, ["type", "missed", "covered"])?;
    if kind.as_deref() != Some("LINE") {
        return Ok(Lines::default());
    }
    let (covered, missed) = number(covered).zip(number(missed)).ok_or("a counter of lines has no numbers")?;
    Ok(Lines { covered, valid: covered.saturating_add(missed) })
}

fn number(text: Option<String>) -> Option<u64> {
    text?.trim().parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Lines, parse};

    const DOCTYPE: &str = "<?xml version=\"1.0\" ?>\n<!DOCTYPE coverage SYSTEM 'http://cobertura.sourceforge.net/xml/coverage-04.dtd'>\n";

    fn lines(text: &str) -> Result<(u64, u64), String> {
        parse(text.as_bytes()).map(|lines| (lines.covered, lines.valid)).map_err(|error| error.message)
    }

    #[test]
    fn cobertura_report_names_its_sums_or_its_lines_are_counted() {
        let with = |root: &str, body: &str| lines(&format!("{DOCTYPE}<coverage {root}>{body}</coverage>"));
        assert_eq!(with("lines-valid=\"8\" lines-covered=\"7\" line-rate=\"0.9\"", ""), Ok((7, 8)));
        let class = "<packages><package><classes><class><methods><method><lines><line number=\"1\" hits=\"3\"/></lines></method>\
                     </methods><lines><line number=\"1\" hits=\"3\"/><line number=\"2\" hits=\"0\"/><line number=\"3\" hits=\"1\">\
                     <conditions/></line></lines></class></classes></package></packages>";
        assert_eq!(with("line-rate=\"0.66\"", class), Ok((2, 3)));
        assert_eq!(with("lines-valid=\"0\" lines-covered=\"0\"", class), Ok((2, 3)));
        assert_eq!(with("lines-valid=\"many\" lines-covered=\"7\"", class), Ok((2, 3)));
        assert!(with("line-rate=\"1\"", "").unwrap_err().contains("no lines"));
    }

    #[test]
    fn jacoco_report_has_counters_of_the_whole() {
        let text = "<!DOCTYPE report PUBLIC \"-//JACOCO//DTD Report 1.1//EN\" \"report.dtd\"><report name=\"a\"><package name=\"b\">\
                    <counter type=\"LINE\" missed=\"90\" covered=\"10\"/></package><counter type=\"BRANCH\" missed=\"5\" covered=\"5\"/>\
                    <counter type=\"LINE\" missed=\"1\" covered=\"3\"/></report>";
        assert_eq!(lines(text), Ok((3, 4)));
        assert!(lines(&text.replace("LINE", "METHOD")).unwrap_err().contains("no lines"));
        assert!(lines(&text.replace("missed=\"1\" ", "")).unwrap_err().contains("no numbers"));
    }

    #[test]
    fn other_and_damaged_files_are_errors() {
        for (text, message) in [
            ("", "no element"),
            ("no xml", "no element"),
            ("<testsuite/>", "neither"),
            ("<coverage lines-valid=\"8\" lines-covered=\"7\">", "end of file"),
            ("<coverage lines-valid=\"8\" lines-covered=\"&huge;\"/>", "huge"),
            ("<report><counter></report>", "counter"),
        ] {
            let found = lines(text).unwrap_err();
            assert!(found.contains(message), "{text}: {found}");
        }
        assert!(lines(&"<coverage>".repeat(1_000)).unwrap_err().contains("nested"));
        assert!(parse(&[b'<', 0xff]).unwrap_err().message.contains("UTF-8"));
    }

    #[test]
    fn percentage_is_rounded_and_never_above_100() {
        let of = |covered, valid| Lines { covered, valid }.percentage();
        assert_eq!((of(7, 8), of(2, 3), of(1, 3)), (Some(87.5), Some(66.67), Some(33.33)));
        assert_eq!(
            (of(0, 5), of(9, 5), of(0, 0), of(u64::MAX, u64::MAX)),
            (Some(0.0), Some(100.0), None, Some(100.0))
        );
    }
}
