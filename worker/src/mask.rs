//! Secrets taken out of what a job prints, however it is cut into chunks, and in the forms in which programs print them.
//!
//! A stream is held back only while its end may be the beginning of a secret. Base64 is looked for without regard to line
//! breaks, since `base64` wraps its lines.

use aho_corasick::{AhoCorasick, MatchKind};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use std::{fmt::Write as _, ops::Range};

/// What stands for a secret.
pub const MASKED: &[u8] = b"[masked]";
/// Shorter values, and shorter lines of values, are not masked: a log in which every `1` is masked says nothing.
pub const SHORTEST: usize = 4;
/// Shorter pieces of base64 are too likely to stand for something else.
const SHORTEST_BASE64: usize = 6;

/// What is masked; made once for a job.
#[derive(Debug)]
pub struct Mask {
    plain: Option<Patterns>,
    /// Looked for in the stream without its line breaks.
    wrapped: Option<Patterns>,
}

#[derive(Debug)]
struct Patterns {
    automaton: AhoCorasick,
    /// In order, so that it is quickly told whether something begins one.
    sorted: Vec<Vec<u8>>,
    longest: usize,
}

impl Patterns {
    fn new(mut patterns: Vec<Vec<u8>>) -> Option<Self> {
        patterns.sort();
        patterns.dedup();
        let longest = patterns.iter().map(Vec::len).max()?;
        let automaton =
            AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&patterns).ok()?;
        Some(Self { automaton, sorted: patterns, longest })
    }

    /// Whether `bytes` begin a pattern, and are shorter than it.
    fn is_begun_by(&self, bytes: &[u8]) -> bool {
        let at = self.sorted.partition_point(|pattern| pattern.as_slice() <= bytes);
        self.sorted.get(at).is_some_and(|pattern| pattern.starts_with(bytes))
    }

    /// Where the longest end of `bytes` that begins a pattern starts.
    fn open_end(&self, bytes: &[u8]) -> usize {
        let first = bytes.len().saturating_sub(self.longest - 1);
        (first..bytes.len()).find(|at| self.is_begun_by(&bytes[*at..])).unwrap_or(bytes.len())
    }
}

impl Mask {
    /// A mask for these values.
    #[must_use]
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut plain, mut wrapped) = (Vec::new(), Vec::new());
        for value in values {
            let lines = value.lines().map(str::trim_end);
            let whole = value.trim_end_matches(['\r', '\n']);
            for part in
                std::iter::once(value).chain([whole]).chain(lines).filter(|part| part.len() >= SHORTEST)
            {
                plain.extend(forms(part));
                wrapped.extend(base64_forms(part.as_bytes()));
            }
        }
        Self { plain: Patterns::new(plain), wrapped: Patterns::new(wrapped) }
    }

    /// `text` with its secrets masked.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let mut stream = Stream::default();
        let mut masked = self.push(&mut stream, text.as_bytes());
        masked.extend(self.finish(&mut stream));
        String::from_utf8_lossy(&masked).into_owned()
    }

    /// What of `stream` and the `bytes` that follow can be shown now.
    pub fn push(&self, stream: &mut Stream, bytes: &[u8]) -> Vec<u8> {
        if self.plain.is_none() {
            return bytes.to_vec();
        }
        stream.held.extend_from_slice(bytes);
        let whole = std::mem::take(&mut stream.held);
        let until = self.open_end(&whole);
        let (shown, rest) = self.masked(&whole, until);
        stream.held = whole[rest..].to_vec();
        shown
    }

    /// What is left of a stream that is over.
    pub fn finish(&self, stream: &mut Stream) -> Vec<u8> {
        let whole = std::mem::take(&mut stream.held);
        self.masked(&whole, whole.len()).0
    }

    /// Where what may be the beginning of a secret starts.
    fn open_end(&self, bytes: &[u8]) -> usize {
        let plain = self.plain.as_ref().map_or(bytes.len(), |patterns| patterns.open_end(bytes));
        let Some(patterns) = &self.wrapped else { return plain };
        // Lines of base64 are of some length: twice the bytes are enough to look back on.
        let from = bytes.len().saturating_sub(patterns.longest.saturating_mul(2));
        let (joined, places) = without_breaks(&bytes[from..]);
        let at = patterns.open_end(&joined);
        plain.min(places.get(at).map_or(bytes.len(), |place| from + place))
    }

    /// `bytes` up to `until` with secrets masked, and where what was not looked at starts: a secret that begins before
    /// `until` is taken whole.
    fn masked(&self, bytes: &[u8], until: usize) -> (Vec<u8>, usize) {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        if let Some(patterns) = &self.plain {
            ranges.extend(patterns.automaton.find_iter(bytes).map(|found| found.range()));
        }
        if let Some(patterns) = &self.wrapped {
            let (joined, places) = without_breaks(bytes);
            let found = patterns.automaton.find_iter(&joined);
            ranges.extend(
                found.filter_map(|found| Some(*places.get(found.start())?..places.get(found.end() - 1)? + 1)),
            );
        }
        ranges.sort_unstable_by_key(|range| (range.start, range.end));
        let mut shown = Vec::with_capacity(until);
        let mut at = 0;
        for range in ranges.into_iter().filter(|range| range.start < until) {
            if range.start >= at {
                shown.extend_from_slice(&bytes[at..range.start]);
                shown.extend_from_slice(MASKED);
            }
            at = at.max(range.end);
        }
        if at < until {
            shown.extend_from_slice(&bytes[at..until]);
            at = until;
        }
        (shown, at)
    }
}

/// What of a stream is held back.
#[derive(Debug, Default)]
pub struct Stream {
    held: Vec<u8>,
}

/// The bytes without line breaks, and where each of them was.
fn without_breaks(bytes: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let kept = bytes.iter().enumerate().filter(|(_, byte)| !matches!(byte, b'\r' | b'\n'));
    kept.map(|(at, byte)| (*byte, at)).unzip()
}

/// A value as it is, and as programs quote it.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![value.to_owned()];
    for (upper, plus) in [(true, false), (false, false), (true, true), (false, true)] {
        forms.push(url_encoded(value, upper, plus));
    }
    if let Ok(json) = serde_json::to_string(value) {
        let inner = json.trim_matches('"').to_owned();
        forms.push(inner.replace('/', "\\/"));
        forms.push(inner);
    }
    // As shells show words: `'it'\''s'`, `'it'"'"'s'`, `$'it\'s'`.
    forms.push(value.replace('\'', "'\\''"));
    forms.push(value.replace('\'', "'\"'\"'"));
    forms.push(value.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n").replace('\t', "\\t"));
    let hex = value.bytes().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    forms.push(hex.to_uppercase());
    forms.push(hex);
    forms.into_iter().filter(|form| form.len() >= SHORTEST).map(String::into_bytes).collect()
}

fn url_encoded(value: &str, upper: bool, plus: bool) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        let _ = match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                write!(text, "{}", char::from(byte))
            }
            b' ' if plus => write!(text, "+"),
            _ if upper => write!(text, "%{byte:02X}"),
            _ => write!(text, "%{byte:02x}"),
        };
        text
    })
}

/// What every base64 of something that holds `value` holds: for each of the three places at which it may begin, the digits
/// that depend on nothing else.
fn base64_forms(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for before in 0..3_usize {
        let bytes: Vec<u8> = std::iter::repeat_n(0, before).chain(value.iter().copied()).collect();
        let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        for text in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            let digits = text.into_bytes();
            if end.saturating_sub(first) >= SHORTEST_BASE64 {
                forms.push(digits[first..end].to_vec());
            }
        }
    }
    forms
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{MASKED, Mask, Stream};
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use proptest::prelude::*;

    const SECRET: &str = "s3cr3t/va'lue with\"quotes+";

    fn masked(mask: &Mask, chunks: &[&[u8]]) -> Vec<u8> {
        let mut stream = Stream::default();
        let mut shown = Vec::new();
        for chunk in chunks {
            shown.extend(mask.push(&mut stream, chunk));
        }
        shown.extend(mask.finish(&mut stream));
        shown
    }

    #[test]
    fn a_secret_is_masked_in_every_form_that_programs_print_it_in() {
        let mask = Mask::new([SECRET]);
        let hex = crate::store::hex(SECRET.as_bytes());
        let wrapped: String = {
            let text = STANDARD.encode(format!("{}{SECRET}{}", "x".repeat(50), "y".repeat(50)));
            let lines: Vec<_> = text.as_bytes().chunks(76).map(String::from_utf8_lossy).collect();
            lines.join("\n") + "\n"
        };
        for (printed, left) in [
            (SECRET.to_owned(), ""),
            (format!("Authorization: {SECRET}\n"), "Authorization: \n"),
            ("s3cr3t%2Fva%27lue%20with%22quotes%2B".into(), ""),
            ("s3cr3t%2fva%27lue+with%22quotes%2b".into(), ""),
            (serde_json::json!({ "key": SECRET }).to_string(), "{\"key\":\"\"}"),
            ("'s3cr3t/va'\\''lue with\"quotes+'".into(), "''"),
            (hex.to_uppercase(), ""),
            (hex, ""),
        ] {
            let shown = String::from_utf8(masked(&mask, &[printed.as_bytes()])).unwrap();
            assert_eq!(shown.replace("[masked]", ""), left, "{printed}");
            assert!(shown.contains("[masked]"), "{printed}");
        }
        for before in 0..4 {
            let text = STANDARD.encode(format!("{}{SECRET}", "-".repeat(before)));
            let shown = String::from_utf8(masked(&mask, &[text.as_bytes()])).unwrap();
            assert!(shown.contains("[masked]") && shown.len() < 20, "{before}: {shown}");
        }
        let shown = String::from_utf8(masked(&mask, &[wrapped.as_bytes()])).unwrap();
        assert!(shown.contains("[masked]"), "{shown}");
        assert!(!shown.replace('\n', "").contains(&STANDARD.encode(&SECRET[2..20])[..20]), "{shown}");
    }

    #[test]
    fn each_line_of_a_value_is_a_secret_of_its_own() {
        let mask = Mask::new(["-----BEGIN KEY-----\nabcdef\nxyz\nghijkl\n"]);
        assert_eq!(masked(&mask, &[b"> abcdef <\n> ghijkl <\nxyz\n"]), b"> [masked] <\n> [masked] <\nxyz\n");
        assert_eq!(mask.text("cat: -----BEGIN KEY-----"), "cat: [masked]");
    }

    #[test]
    fn nothing_is_held_back_that_begins_no_secret() {
        let mask = Mask::new(["password"]);
        let mut stream = Stream::default();
        assert_eq!(mask.push(&mut stream, b"step 1 of 2"), b"step 1 of 2");
        assert_eq!(mask.push(&mut stream, b"; pass"), b"; ");
        assert_eq!(mask.push(&mut stream, b"ed\n"), b"passed\n");
        assert_eq!(mask.push(&mut stream, b"passw"), b"");
        assert_eq!(mask.push(&mut stream, b"ord"), MASKED);
        assert_eq!(mask.push(&mut stream, b"pa"), b"");
        assert_eq!(mask.finish(&mut stream), b"pa");
    }

    #[test]
    fn short_values_and_no_values_change_nothing() {
        for mask in [Mask::new([]), Mask::new(["abc", ""])] {
            assert_eq!(masked(&mask, &[b"abc", b"abc\n"]), b"abcabc\n");
        }
    }

    proptest! {
        #[test]
        fn a_secret_is_found_however_the_stream_is_cut(
            secret in "[a-zA-Z0-9+/=_.-]{8,40}",
            before in "[ \\n#]{0,20}",
            after in "[ \\n#]{0,20}",
            encoded in any::<bool>(),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mask = Mask::new([secret.as_str()]);
            let body = if encoded { STANDARD.encode(format!("user:{secret}")) } else { secret.clone() };
            let text = format!("{before}{body}{after}");
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            let shown = masked(&mask, &chunks);
            prop_assert_eq!(&shown, &masked(&mask, &[text.as_bytes()]), "cuts do not matter");
            let shown = String::from_utf8(shown).unwrap();
            prop_assert!(!shown.contains(&secret), "{}", shown);
            prop_assert!(shown.contains("[masked]"), "{}", shown);
        }

        #[test]
        fn what_holds_no_secret_passes_unchanged(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            cut in any::<prop::sample::Index>(),
        ) {
            let mask = Mask::new(["a secret that nobody prints"]);
            let (one, other) = bytes.split_at(cut.index(bytes.len() + 1));
            prop_assert_eq!(masked(&mask, &[one, other]), bytes.clone());
        }
    }
}
