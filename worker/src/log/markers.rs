//! Control markers in a container's output: found, taken out, and the user's bytes left as they are.
//!
//! A job can print them, too. They place what the job's own log shows, and decide nothing else.

/// What the output holds, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Bytes of the job.
    Output(Vec<u8>),
    /// A command of the script begins.
    StepBegan(u32),
    /// What runs after the script begins.
    AfterBegan,
    /// The script is about to begin. Before this nothing of the job ran.
    Begun,
    /// The container is about to exit, and waits until its output is read.
    Flush,
}

/// Takes the markers with its nonce out of a stream, however it is cut into chunks.
#[derive(Debug)]
pub struct MarkerParser {
    prefix: Vec<u8>,
    held: Vec<u8>,
}

/// The longest text that a marker may hold after its prefix.
const MAX_BODY_LEN: usize = 40;
const RECORD_SEPARATOR: u8 = 0x1e;

impl MarkerParser {
    /// A parser for markers with this nonce.
    #[must_use]
    pub fn new(nonce: &str) -> Self {
        Self { prefix: format!("\u{1e}tm:{nonce}:").into_bytes(), held: Vec::new() }
    }

    /// The items that `chunk` completes; what may be the start of a marker is held back.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<Item> {
        let mut items = Vec::new();
        let joined;
        let mut rest: &[u8] = if self.held.is_empty() {
            chunk
        } else {
            let mut whole = std::mem::take(&mut self.held);
            whole.extend_from_slice(chunk);
            joined = whole;
            &joined
        };
        let mut plain = Vec::new();
        while let Some(start) = memchr::memchr(RECORD_SEPARATOR, rest) {
            plain.extend_from_slice(&rest[..start]);
            rest = &rest[start..];
            match self.marker(rest) {
                MarkerMatch::Marker(item, length) => {
                    if !plain.is_empty() {
                        items.push(Item::Output(std::mem::take(&mut plain)));
                    }
                    items.push(item);
                    rest = &rest[length..];
                }
                MarkerMatch::Not => {
                    plain.push(RECORD_SEPARATOR);
                    rest = &rest[1..];
                }
                MarkerMatch::Maybe => {
                    self.held = rest.to_vec();
                    rest = &[];
                }
            }
        }
        plain.extend_from_slice(rest);
        if !plain.is_empty() {
            items.push(Item::Output(plain));
        }
        items
    }

    /// What was held back, as the stream is over.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    fn marker(&self, at: &[u8]) -> MarkerMatch {
        let known = at.len().min(self.prefix.len());
        if at[..known] != self.prefix[..known] {
            return MarkerMatch::Not;
        }
        if at.len() < self.prefix.len() {
            return MarkerMatch::Maybe;
        }
        let body = &at[self.prefix.len()..];
        let window = &body[..body.len().min(MAX_BODY_LEN)];
        match memchr::memchr(RECORD_SEPARATOR, window) {
            Some(end) => match parse(&body[..end]) {
                Some(item) => MarkerMatch::Marker(item, self.prefix.len() + end + 1),
                None => MarkerMatch::Not,
            },
            None if body.len() >= MAX_BODY_LEN => MarkerMatch::Not,
            None => MarkerMatch::Maybe,
        }
    }
}

enum MarkerMatch {
    Marker(Item, usize),
    Not,
    Maybe,
}

fn parse(body: &[u8]) -> Option<Item> {
    let text = std::str::from_utf8(body).ok()?;
    let mut words = text.split(':');
    match words.next()? {
        "step" => words.next()?.parse().ok().map(Item::StepBegan),
        "after" => Some(Item::AfterBegan),
        "begin" => Some(Item::Begun),
        "flush" => Some(Item::Flush),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::{Item, MarkerParser};
    use proptest::prelude::*;

    fn joined(items: Vec<Item>) -> Vec<Item> {
        let mut all: Vec<Item> = Vec::new();
        for item in items {
            match (all.last_mut(), item) {
                (Some(Item::Output(before)), Item::Output(more)) => before.extend(more),
                (_, item) => all.push(item),
            }
        }
        all
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40),
            Just(b"\x1etm:n0nce:step:3\x1e".to_vec()),
            Just(b"\x1etm:n0nce:after\x1e".to_vec()),
            Just(b"\x1etm:n0nce:flush\x1e".to_vec()),
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
            let mut whole = MarkerParser::new("n0nce");
            let mut expected = whole.push(&bytes);
            expected.push(Item::Output(whole.finish()));

            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.push(0);
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let mut parser = MarkerParser::new("n0nce");
            let mut got = Vec::new();
            for pair in cuts.windows(2) {
                got.extend(parser.push(&bytes[pair[0]..pair[1]]));
            }
            got.push(Item::Output(parser.finish()));
            prop_assert_eq!(joined(got), joined(expected));
        }

        #[test]
        fn bytes_without_nonce_pass_unchanged(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut parser = MarkerParser::new("another-nonce");
            let mut out = Vec::new();
            for item in parser.push(&bytes) {
                if let Item::Output(part) = item { out.extend(part) }
            }
            out.extend(parser.finish());
            prop_assert_eq!(out, bytes);
        }
    }

    #[test]
    fn markers_are_found_between_output() {
        let mut parser = MarkerParser::new("n");
        let items = parser.push(b"a\x1etm:n:step:0\x1eb\x1etm:n:flush\x1e");
        assert_eq!(
            items,
            vec![Item::Output(b"a".to_vec()), Item::StepBegan(0), Item::Output(b"b".to_vec()), Item::Flush,]
        );
    }
}
