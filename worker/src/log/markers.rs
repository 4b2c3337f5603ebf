//! Parses control markers in a container's output and removes them; the job's bytes stay unchanged.
//!
//! A job can print markers itself. They only structure the job's own log, and decide nothing else.

/// An item of the output, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputItem {
    /// Output of the job.
    Output(Vec<u8>),
    /// A group of the script's items starts: the indices of its first and its last item.
    StepStarted(u32, u32),
    /// A group of items of the `after_script` starts.
    AfterScriptStarted(u32, u32),
    /// The script is about to start. No command of the job ran before.
    ScriptStarted,
    /// The script has ended, and the `after_script` starts.
    ScriptEnded,
    /// What follows until the flush is the job's summary.
    SummaryStarted,
    /// The container is about to exit and waits until its output is read.
    Flush {
        /// Whether its script was stopped before it ended by itself.
        was_stopped: bool,
        /// The exit code of its script, which the engine reports later for certain.
        exit_code: i32,
    },
}

/// Separates the markers with a nonce from the output, for any chunking.
#[derive(Debug)]
pub struct MarkerParser {
    prefix: Vec<u8>,
    pending: Vec<u8>,
}

/// Maximum length of a marker after its prefix.
const MAX_BODY_LEN: usize = 40;
const RECORD_SEPARATOR: u8 = 0x1e;

impl MarkerParser {
    /// Creates a parser for markers with this nonce.
    #[must_use]
    pub fn new(nonce: &str) -> Self {
        Self { prefix: format!("\u{1e}tm:{nonce}:").into_bytes(), pending: Vec::new() }
    }

    /// Returns the items that `chunk` completes. Bytes that may start a marker are held back.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<OutputItem> {
        let mut items = Vec::new();
        let joined;
        let mut rest: &[u8] = if self.pending.is_empty() {
            chunk
        } else {
            let mut bytes = std::mem::take(&mut self.pending);
            bytes.extend_from_slice(chunk);
            joined = bytes;
            &joined
        };
        let mut output = Vec::new();
        while let Some(start) = memchr::memchr(RECORD_SEPARATOR, rest) {
            output.extend_from_slice(&rest[..start]);
            rest = &rest[start..];
            match self.match_marker(rest) {
                MarkerMatch::Marker(item, length) => {
                    if !output.is_empty() {
                        items.push(OutputItem::Output(std::mem::take(&mut output)));
                    }
                    items.push(item);
                    rest = &rest[length..];
                }
                MarkerMatch::NoMatch => {
                    output.push(RECORD_SEPARATOR);
                    rest = &rest[1..];
                }
                MarkerMatch::Incomplete => {
                    self.pending = rest.to_vec();
                    rest = &[];
                }
            }
        }
        output.extend_from_slice(rest);
        if !output.is_empty() {
            items.push(OutputItem::Output(output));
        }
        items
    }

    /// Returns the bytes held back at the end of the stream.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    fn match_marker(&self, bytes: &[u8]) -> MarkerMatch {
        let compared = bytes.len().min(self.prefix.len());
        if bytes[..compared] != self.prefix[..compared] {
            return MarkerMatch::NoMatch;
        }
        if bytes.len() < self.prefix.len() {
            return MarkerMatch::Incomplete;
        }
        let body = &bytes[self.prefix.len()..];
        let window = &body[..body.len().min(MAX_BODY_LEN)];
        match memchr::memchr(RECORD_SEPARATOR, window) {
            Some(end) => match parse(&body[..end]) {
                Some(item) => MarkerMatch::Marker(item, self.prefix.len() + end + 1),
                None => MarkerMatch::NoMatch,
            },
            None if body.len() >= MAX_BODY_LEN => MarkerMatch::NoMatch,
            None => MarkerMatch::Incomplete,
        }
    }
}

enum MarkerMatch {
    Marker(OutputItem, usize),
    NoMatch,
    Incomplete,
}

fn parse(body: &[u8]) -> Option<OutputItem> {
    let text = std::str::from_utf8(body).ok()?;
    let mut fields = text.split(':');
    match fields.next()? {
        kind @ ("step" | "after") => {
            let (first, last) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            Some(if kind == "step" {
                OutputItem::StepStarted(first, last)
            } else {
                OutputItem::AfterScriptStarted(first, last)
            })
        }
        "begin" => Some(OutputItem::ScriptStarted),
        "ended" => Some(OutputItem::ScriptEnded),
        "summary" => Some(OutputItem::SummaryStarted),
        "flush" => {
            let was_stopped = fields.next()? == "stopped";
            Some(OutputItem::Flush { was_stopped, exit_code: fields.next()?.parse().ok()? })
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::{MarkerParser, OutputItem};
    use proptest::prelude::*;

    fn joined(items: Vec<OutputItem>) -> Vec<OutputItem> {
        let mut all: Vec<OutputItem> = Vec::new();
        for item in items {
            match (all.last_mut(), item) {
                (Some(OutputItem::Output(before)), OutputItem::Output(more)) => before.extend(more),
                (_, item) => all.push(item),
            }
        }
        all
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40),
            Just(b"\x1etm:n0nce:step:3:4\x1e".to_vec()),
            Just(b"\x1etm:n0nce:after:0:0\x1e".to_vec()),
            Just(b"\x1etm:n0nce:flush:stopped:1\x1e".to_vec()),
            Just(b"\x1etm:n0nce:ended\x1e".to_vec()),
            Just(b"\x1etm:n0nce:summary\x1e".to_vec()),
            Just(b"\x1etm:n0nce:".to_vec()),
            Just(b"\x1etm:other:flush\x1e".to_vec()),
            Just(b"\x1e\x1e".to_vec()),
        ]
    }

    proptest! {
        #[test]
        fn any_chunking_gives_same_items(
            pieces in proptest::collection::vec(piece(), 0..12),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let bytes: Vec<u8> = pieces.concat();
            let mut reference = MarkerParser::new("n0nce");
            let mut expected = reference.push(&bytes);
            expected.push(OutputItem::Output(reference.finish()));

            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.push(0);
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let mut parser = MarkerParser::new("n0nce");
            let mut items = Vec::new();
            for pair in cuts.windows(2) {
                items.extend(parser.push(&bytes[pair[0]..pair[1]]));
            }
            items.push(OutputItem::Output(parser.finish()));
            prop_assert_eq!(joined(items), joined(expected));
        }

        #[test]
        fn bytes_without_nonce_pass_unchanged(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut parser = MarkerParser::new("another-nonce");
            let mut out = Vec::new();
            for item in parser.push(&bytes) {
                if let OutputItem::Output(part) = item { out.extend(part) }
            }
            out.extend(parser.finish());
            prop_assert_eq!(out, bytes);
        }
    }

    #[test]
    fn markers_are_separated_from_output() {
        let mut parser = MarkerParser::new("n");
        let items = parser.push(b"a\x1etm:n:step:0:2\x1eb\x1etm:n:flush::3\x1e\x1etm:n:ended\x1e");
        assert_eq!(
            items,
            vec![
                OutputItem::Output(b"a".to_vec()),
                OutputItem::StepStarted(0, 2),
                OutputItem::Output(b"b".to_vec()),
                OutputItem::Flush { was_stopped: false, exit_code: 3 },
                OutputItem::ScriptEnded,
            ]
        );
    }
}
