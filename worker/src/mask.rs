//! Secrets taken out of what a job prints, however it is cut into chunks, and in the forms in which programs print them.
//!
//! A stream is held back only while its end may be the beginning of a secret. Base64 is looked for without regard to line
//! breaks, since `base64` wraps its lines.

use aho_corasick::{
    Anchored,
    automaton::{Automaton, StateID},
    nfa::contiguous::NFA,
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use std::{
    collections::{HashMap, VecDeque},
    fmt::{self, Write as _},
};

/// What stands for a secret.
pub const MASKED: &[u8] = b"[masked]";
/// Shorter values, and shorter lines of values, are not masked: a log in which every `1` is masked says nothing.
pub const SHORTEST: usize = 4;
/// Shorter pieces of base64 are too likely to stand for something else.
const SHORTEST_BASE64: usize = 6;

/// What is masked; made once for a job.
#[derive(Debug)]
pub struct Mask {
    plain: Option<Finder>,
    /// Looks in the stream without its line breaks.
    wrapped: Option<Finder>,
}

/// Finds patterns byte by byte.
struct Finder {
    automaton: NFA,
    start: StateID,
    /// How many of the last bytes a state stands for: they are the beginning of a pattern.
    depths: HashMap<StateID, usize>,
    longest: usize,
}

impl fmt::Debug for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finder").field("longest", &self.longest).finish_non_exhaustive()
    }
}

impl Finder {
    fn new(mut patterns: Vec<Vec<u8>>) -> Option<Self> {
        patterns.sort();
        patterns.dedup();
        let longest = patterns.iter().map(Vec::len).max()?;
        let automaton = NFA::new(&patterns).ok()?;
        let start = automaton.start_state(Anchored::No).ok()?;
        let mut depths = HashMap::from([(start, 0)]);
        for pattern in &patterns {
            let mut state = start;
            for (index, byte) in pattern.iter().enumerate() {
                state = automaton.next_state(Anchored::No, state, *byte);
                depths.insert(state, index + 1);
            }
        }
        Some(Self { automaton, start, depths, longest })
    }

    /// Goes one byte on; the length of the longest pattern that ends with it.
    fn step(&self, state: &mut Option<StateID>, byte: u8) -> Option<usize> {
        let next = self.automaton.next_state(Anchored::No, state.unwrap_or(self.start), byte);
        *state = Some(next);
        if !self.automaton.is_match(next) {
            return None;
        }
        let matched =
            (0..self.automaton.match_len(next)).map(|index| self.automaton.match_pattern(next, index));
        matched.map(|pattern| self.automaton.pattern_len(pattern)).max()
    }

    /// How many of the last bytes may be the beginning of a pattern.
    fn depth(&self, state: Option<StateID>) -> usize {
        state.and_then(|state| self.depths.get(&state)).copied().unwrap_or(0)
    }
}

/// Where a stream stands.
#[derive(Debug, Default)]
pub struct Stream {
    plain: Option<StateID>,
    wrapped: Option<StateID>,
    /// Where the last bytes are that were no line breaks.
    places: VecDeque<usize>,
    /// Bytes that may be the beginning of a secret, or are of one that was found.
    held: VecDeque<u8>,
    /// Where `held` begins in the stream.
    base: usize,
    /// Where secrets are that were found and have not passed yet.
    found: VecDeque<Found>,
}

#[derive(Debug)]
struct Found {
    begin: usize,
    end: usize,
    /// Whether what stands for it was shown.
    shown: bool,
}

impl Stream {
    /// Notes that a secret is there; what overlaps is one.
    fn note(&mut self, mut begin: usize, end: usize) {
        let mut shown = false;
        while let Some(earlier) = self.found.back().filter(|earlier| earlier.end > begin) {
            begin = begin.min(earlier.begin);
            shown |= earlier.shown;
            self.found.pop_back();
        }
        self.found.push_back(Found { begin, end, shown });
    }

    /// What comes before `until`, with what stands for secrets.
    fn release(&mut self, until: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(until.saturating_sub(self.base));
        while self.base < until {
            let next = match self.found.front_mut() {
                Some(found) if found.begin <= self.base => {
                    if !std::mem::replace(&mut found.shown, true) {
                        out.extend_from_slice(MASKED);
                    }
                    let next = until.min(found.end);
                    self.held.drain(..next - self.base);
                    if next == found.end {
                        self.found.pop_front();
                    }
                    next
                }
                found => {
                    let next = found.map_or(until, |found| until.min(found.begin));
                    out.extend(self.held.drain(..next - self.base));
                    next
                }
            };
            self.base = next;
        }
        out
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
        Self { plain: Finder::new(plain), wrapped: Finder::new(wrapped) }
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
        let Some(plain) = &self.plain else { return bytes.to_vec() };
        let mut at = stream.base + stream.held.len();
        stream.held.extend(bytes);
        for byte in bytes {
            at += 1;
            if let Some(length) = plain.step(&mut stream.plain, *byte) {
                stream.note(at - length, at);
            }
            if let Some(wrapped) = self.wrapped.as_ref().filter(|_| !matches!(byte, b'\r' | b'\n')) {
                stream.places.push_back(at - 1);
                if stream.places.len() > wrapped.longest {
                    stream.places.pop_front();
                }
                if let Some(length) = wrapped.step(&mut stream.wrapped, *byte) {
                    let begin =
                        stream.places.len().checked_sub(length).and_then(|from| stream.places.get(from));
                    if let Some(begin) = begin.copied() {
                        stream.note(begin, at);
                    }
                }
            }
        }
        let open = at - plain.depth(stream.plain);
        let open_wrapped = self.wrapped.as_ref().map_or(0, |wrapped| wrapped.depth(stream.wrapped));
        let from = stream.places.len().checked_sub(open_wrapped).and_then(|from| stream.places.get(from));
        let until = open.min(from.copied().unwrap_or(at));
        stream.release(until)
    }

    /// What is left of a stream that is over.
    pub fn finish(&self, stream: &mut Stream) -> Vec<u8> {
        (stream.plain, stream.wrapped) = (None, None);
        stream.places.clear();
        stream.release(stream.base + stream.held.len())
    }
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
        // What follows it may overlap with another one.
        assert_eq!(mask.push(&mut stream, b"ord"), b"");
        assert_eq!(mask.push(&mut stream, b".pa"), b"[masked].");
        assert_eq!(mask.finish(&mut stream), b"pa");
    }

    #[test]
    fn secrets_that_overlap_are_masked_whole() {
        let mask = Mask::new(["abcdefgh", "efghSECRETTAIL"]);
        assert_eq!(masked(&mask, &[b"<abcdefghSECRETTAIL>"]), b"<[masked]>");
        let mask = Mask::new(["abcdXYZabcd"]);
        assert_eq!(masked(&mask, &[b"abcdXYZabcdXYZabcd", b"!"]), b"[masked]!");
        // One that ends within what was shown as masked already.
        let mask = Mask::new(["12345678", "5678abcd"]);
        assert_eq!(masked(&mask, &[b"1234", b"5678", b"ab", b"cd", b"."]), b"[masked].");
    }

    #[test]
    fn base64_is_masked_whatever_the_length_of_its_lines() {
        let mask = Mask::new([SECRET]);
        let text = STANDARD.encode(SECRET);
        for width in [1, 2, 19] {
            let lines: Vec<_> = text.as_bytes().chunks(width).map(String::from_utf8_lossy).collect();
            let bytes = lines.join("\r\n").into_bytes();
            let shown = masked(&mask, &bytes.chunks(1).collect::<Vec<_>>());
            assert!(
                shown.starts_with(MASKED) && shown.len() < MASKED.len() + 8,
                "{}",
                String::from_utf8_lossy(&shown)
            );
        }
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
