//! Computes the search patterns: the lines of each secret, and the digits that all base64 and hex encodings of them share.

use super::finder::PartialEdges;
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use data_encoding::HEXLOWER;
use std::collections::BTreeMap;

/// Minimum length in bytes of a masked value or line: a log in which every `1` is masked is useless.
pub const MIN_LEN: usize = 4;
/// Minimum number of letters and digits in a masked line of a value of several lines, without [`JSON_WORDS`].
const MIN_LINE_CHARS: usize = 4;
/// Words that are in every other file of this kind.
const JSON_WORDS: [&str; 3] = ["true", "false", "null"];
/// Minimum number of base64 digits in a pattern; fewer match unrelated text too often.
const MIN_BASE64: usize = 4;
/// The base64 digits in the order of their values.
const BASE64_ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The search patterns for some values.
#[derive(Debug)]
pub(super) struct EncodedForms {
    /// The values and their lines.
    pub plain: BTreeMap<Vec<u8>, PartialEdges>,
    /// Patterns in base64 digits of the standard alphabet.
    pub base64: BTreeMap<Vec<u8>, PartialEdges>,
    /// The base64 digits that may precede a pattern and contain some of its bits.
    pub leads: Box<[bool; 256]>,
    /// Patterns in lowercase hex digits.
    pub hex: BTreeMap<Vec<u8>, PartialEdges>,
    /// Whether a value contains a space.
    pub has_space: bool,
    /// Whether a value contains a Latin-1 character that is not ASCII.
    pub has_latin: bool,
}

impl EncodedForms {
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut forms = Self {
            plain: BTreeMap::new(),
            base64: BTreeMap::new(),
            leads: Box::new([false; 256]),
            hex: BTreeMap::new(),
            has_space: false,
            has_latin: false,
        };
        for value in values {
            forms.add(value);
            forms.add(value.trim_end_matches(['\r', '\n']));
            if value.trim().contains('\n') {
                value.lines().for_each(|line| forms.add_line(line));
            }
        }
        forms
    }

    /// Adds a line of a value of several lines. Its indentation, its other spaces and a comma at its end do not matter, as
    /// programs that print a file change them. A line without anything of its own, such as a bracket, would be found in
    /// everything.
    fn add_line(&mut self, line: &str) {
        let line = line.trim().trim_end_matches([',', ';']).trim_end();
        let words = line.split(|c: char| !c.is_alphanumeric()).filter(|word| !JSON_WORDS.contains(word));
        if words.map(|word| word.chars().count()).sum::<usize>() < MIN_LINE_CHARS {
            return;
        }
        self.add(line);
        if line.contains(char::is_whitespace) {
            self.add(&line.split_whitespace().collect::<String>());
        }
    }

    fn add(&mut self, part: &str) {
        if part.len() < MIN_LEN || part.trim().is_empty() || self.plain.contains_key(part.as_bytes()) {
            return;
        }
        self.plain.insert(part.as_bytes().to_vec(), PartialEdges::default());
        self.hex.insert(HEXLOWER.encode(part.as_bytes()).into_bytes(), PartialEdges::default());
        self.has_space |= part.contains(' ');
        self.has_latin |= part.contains(|char| ('\u{80}'..='\u{ff}').contains(&char));
        for (value, digit) in (0_u8..).zip(BASE64_ALPHABET) {
            let first = part.as_bytes()[0];
            if value & 0b1111 == first >> 4 || value & 0b11 == first >> 6 {
                self.leads[usize::from(*digit)] = true;
            }
        }
        // The URL-safe alphabet.
        (self.leads[usize::from(b'-')], self.leads[usize::from(b'_')]) =
            (self.leads[usize::from(b'+')], self.leads[usize::from(b'/')]);
        for (digits, edges) in base64_forms(part.as_bytes()) {
            let known_edges = self.base64.entry(digits).or_default();
            known_edges.before |= edges.before;
            known_edges.after |= edges.after;
        }
    }
}

/// Returns the digits that every base64 encoding of data with `value` contains: for each of the three alignments, the
/// digits that depend only on `value`. The digits at the edges also depend on the data next to it.
fn base64_forms(value: &[u8]) -> Vec<(Vec<u8>, PartialEdges)> {
    let mut forms = Vec::new();
    for before in 0..3_usize {
        let bytes: Vec<u8> = std::iter::repeat_n(0, before).chain(value.iter().copied()).collect();
        let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        if end.saturating_sub(first) >= MIN_BASE64 {
            let digits = STANDARD_NO_PAD.encode(&bytes).into_bytes();
            let edges = PartialEdges { before: before > 0, after: !(bytes.len() * 8).is_multiple_of(6) };
            forms.push((digits[first..end].to_vec(), edges));
        }
    }
    forms
}
