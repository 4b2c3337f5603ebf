//! The state of a masked stream: the bytes held back, the matches, and the decoders.

#![allow(clippy::inline_always, reason = "this runs for each byte of output")]

use super::{
    decode::{Decoded, Encoding},
    finder::{CharPositions, Finder, Match},
};
use aho_corasick::automaton::StateID;
use std::collections::VecDeque;

/// The replacement of a secret.
pub const MASK: &[u8] = b"[masked]";

/// The state of a masked stream.
#[derive(Debug, Default)]
pub struct MaskStream {
    /// Bytes that may start a secret, or that belong to a match.
    held: Vec<u8>,
    /// Stream position of `held`.
    base: usize,
    /// Matches that are not released yet, in order and without overlaps.
    matches: VecDeque<Span>,
    /// Created with the first bytes.
    pub(super) decoders: Option<Decoders>,
}

/// All matchers of a stream.
#[derive(Debug)]
pub(super) struct Decoders {
    /// State for the plain bytes.
    pub plain: StateID,
    /// Decoders, one per encoding.
    pub decoded: Vec<EncodingDecoder>,
    /// Bit set of the active decoders.
    pub active: u8,
    pub base64: Base64Decoder,
    pub hex: HexDecoder,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
    /// Whether the replacement is released.
    shown: bool,
}

impl MaskStream {
    /// Returns the stream position after the pushed bytes.
    pub(super) fn end(&self) -> usize {
        self.base + self.held.len()
    }

    pub(super) fn hold(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Records a match; overlapping matches are merged.
    pub(super) fn add_match(&mut self, start: usize, end: usize) {
        self.insert(Span { start, end, shown: false });
    }

    pub(super) fn record_base64(&mut self, finding: Base64Match) {
        match finding {
            Base64Match::New(start, end) => self.add_match(start, end),
            Base64Match::Continuation(known, start, end) => self.extend(known, start, end),
        }
    }

    /// Extends the match that ends at `known` by `start..end`.
    fn extend(&mut self, known: usize, start: usize, end: usize) {
        // If the match is already released, nothing is shown for its rest.
        let existing = self.matches.iter().find(|span| span.start < known && known <= span.end).copied();
        self.insert(existing.map_or(Span { start, end, shown: true }, |span| Span { end, ..span }));
    }

    fn insert(&mut self, mut new: Span) {
        // Already released.
        if new.end <= self.base {
            return;
        }
        let mut at = self.matches.len();
        while let Some(earlier) = at.checked_sub(1).and_then(|at| self.matches.get(at)).copied() {
            if earlier.start >= new.end {
                at -= 1;
                continue;
            }
            if earlier.end <= new.start {
                break;
            }
            new.start = new.start.min(earlier.start);
            new.end = new.end.max(earlier.end);
            new.shown |= earlier.shown;
            at -= 1;
            self.matches.remove(at);
        }
        self.matches.insert(at, new);
    }

    /// Releases the bytes before `until`, with secrets replaced.
    pub(super) fn release(&mut self, until: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(until.saturating_sub(self.base));
        let mut released = 0;
        while self.base < until {
            let next = match self.matches.front_mut() {
                Some(span) if span.start <= self.base => {
                    if !std::mem::replace(&mut span.shown, true) {
                        out.extend_from_slice(MASK);
                    }
                    let next = until.min(span.end);
                    if next == span.end {
                        self.matches.pop_front();
                    }
                    released += next - self.base;
                    next
                }
                span => {
                    let next = span.map_or(until, |span| until.min(span.start));
                    let length = next - self.base;
                    out.extend_from_slice(&self.held[released..released + length]);
                    released += length;
                    next
                }
            };
            self.base = next;
        }
        self.held.drain(..released);
        out
    }
}

/// Decodes the characters of one encoding.
#[derive(Debug)]
pub(super) struct CharDecoder {
    pub encoding: Encoding,
    /// Bytes of an incomplete escape, at most twelve.
    pending: Vec<u8>,
    /// Stream position of `pending`.
    at: usize,
}

impl CharDecoder {
    pub const fn new(encoding: Encoding) -> Self {
        Self { encoding, pending: Vec::new(), at: 0 }
    }

    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Returns the stream position of the incomplete escape, if any.
    fn open(&self) -> Option<usize> {
        (!self.pending.is_empty()).then_some(self.at)
    }

    /// Processes the byte at `at`, and passes the decoded bytes with their start and end to `sink`.
    fn push(&mut self, byte: u8, at: usize, sink: impl FnMut(u8, usize, usize)) {
        if self.pending.is_empty() {
            self.at = at;
        }
        self.pending.push(byte);
        self.decode(false, sink);
    }

    fn decode(&mut self, is_last: bool, mut sink: impl FnMut(u8, usize, usize)) {
        let mut used = 0;
        while let Some(first) = self.pending.get(used).copied() {
            let length = match self.encoding.decode(&self.pending[used..], is_last) {
                Decoded::Partial => break,
                Decoded::Byte(length, byte) => {
                    sink(byte, self.at + used, self.at + used + length);
                    length
                }
                Decoded::Char(length, char) => {
                    let mut buffer = [0; 4];
                    for byte in char.encode_utf8(&mut buffer).bytes() {
                        sink(byte, self.at + used, self.at + used + length);
                    }
                    length
                }
                Decoded::Plain => {
                    sink(first, self.at + used, self.at + used + 1);
                    1
                }
            };
            used += length;
        }
        self.pending.drain(..used);
        self.at += used;
    }
}

/// Matches secrets in the decoded stream of one encoding. It is active only from a possible escape until its state equals
/// that of the plain bytes again.
#[derive(Debug)]
pub(super) struct EncodingDecoder {
    pub decoder: CharDecoder,
    state: StateID,
    positions: CharPositions,
}

impl EncodingDecoder {
    pub fn new(encoding: Encoding, start: StateID) -> Self {
        Self { decoder: CharDecoder::new(encoding), state: start, positions: CharPositions::default() }
    }

    /// Activates the decoder before the byte at `at`; `state` is the state for the plain bytes.
    pub fn activate(&mut self, finder: &Finder, state: StateID, at: usize) {
        self.state = state;
        self.positions.set_contiguous(at, finder.longest);
    }

    /// Processes the byte at `at`; `plain` is the state for the plain bytes after it. Returns whether the decoder
    /// becomes inactive.
    pub fn push(
        &mut self,
        finder: &Finder,
        plain: StateID,
        (byte, at): (u8, usize),
        note: impl FnMut(usize, usize),
    ) -> bool {
        let Self { decoder, state, positions } = self;
        let mut step = stepper(finder, state, positions, note);
        decoder.push(byte, at, &mut step);
        drop(step);
        self.decoder.is_idle() && self.state == plain
    }

    pub fn finish(&mut self, finder: &Finder, note: impl FnMut(usize, usize)) {
        let Self { decoder, state, positions } = self;
        let mut step = stepper(finder, state, positions, note);
        decoder.decode(true, &mut step);
    }

    /// Returns the start of a possible secret, if any.
    pub fn pending_start(&self, finder: &Finder) -> Option<usize> {
        let depth = finder.depth(self.state);
        let matching = (depth > 0).then(|| self.positions.start_of(depth)).flatten();
        matching.into_iter().chain(self.decoder.open()).min()
    }
}

fn stepper<'a>(
    finder: &'a Finder,
    state: &'a mut StateID,
    positions: &'a mut CharPositions,
    mut note: impl FnMut(usize, usize) + 'a,
) -> impl FnMut(u8, usize, usize) + 'a {
    move |byte, start, end| {
        *state = finder.next(*state, byte);
        positions.push(start, end, finder.longest);
        if let Some(matched) = finder.matched(*state)
            && let Some(start) = positions.start_of(matched.length)
        {
            note(start, end);
        }
    }
}

/// Matches base64 for any line length, indentation and escaping of its digits.
#[derive(Debug)]
pub(super) struct Base64Decoder {
    pub decoder: CharDecoder,
    state: StateID,
    positions: CharPositions,
    /// The number of the first digit after the last byte that is not base64.
    first: usize,
    /// The last match, while digits that belong to it may follow.
    rest: Option<Base64Tail>,
}

/// Class of a byte that may separate base64 digits.
const CLASS_SKIPPED: u8 = 1;
/// Class of a byte that ends base64.
const CLASS_OTHER: u8 = 0;
/// The class of each byte, or its digit in the standard alphabet.
static BASE64_CLASSES: [u8; 256] = {
    let mut classes = [CLASS_OTHER; 256];
    let mut byte = 0_u8;
    loop {
        classes[byte as usize] = match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => byte,
            b'-' => b'+',
            b'_' => b'/',
            b' ' | b'\t' | b'\r' | b'\n' => CLASS_SKIPPED,
            _ => CLASS_OTHER,
        };
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    classes
};

#[derive(Debug, Clone, Copy)]
struct Base64Tail {
    end: usize,
    digits: u8,
    padding: u8,
}

/// A match of base64 digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base64Match {
    New(usize, usize),
    /// The match that ends at the first position continues from the second to the third.
    Continuation(usize, usize, usize),
}

impl Base64Decoder {
    pub fn new(start: StateID) -> Self {
        let decoder = CharDecoder::new(Encoding::Digit);
        Self { decoder, state: start, positions: CharPositions::default(), first: 0, rest: None }
    }

    #[inline(always)]
    pub fn push(&mut self, finder: &Finder, byte: u8, at: usize, mut note: impl FnMut(Base64Match)) {
        if self.decoder.is_idle() && !Encoding::Digit.may_start_with(byte) {
            self.step(finder, byte, at, at + 1, &mut note);
        } else {
            self.push_escaped(finder, byte, at, note);
        }
    }

    #[cold]
    fn push_escaped(&mut self, finder: &Finder, byte: u8, at: usize, mut note: impl FnMut(Base64Match)) {
        let mut decoder = std::mem::replace(&mut self.decoder, CharDecoder::new(Encoding::Digit));
        decoder.push(byte, at, |byte, start, end| self.step(finder, byte, start, end, &mut note));
        self.decoder = decoder;
    }

    pub fn finish(&mut self, finder: &Finder, mut note: impl FnMut(Base64Match)) {
        let mut decoder = std::mem::replace(&mut self.decoder, CharDecoder::new(Encoding::Digit));
        decoder.decode(true, |byte, start, end| self.step(finder, byte, start, end, &mut note));
    }

    #[inline(always)]
    fn step(
        &mut self,
        finder: &Finder,
        byte: u8,
        start: usize,
        end: usize,
        note: &mut impl FnMut(Base64Match),
    ) {
        let digit = match BASE64_CLASSES[usize::from(byte)] {
            CLASS_SKIPPED => return,
            CLASS_OTHER => return self.stop(finder, byte, start, end, note),
            digit => digit,
        };
        self.state = finder.next(self.state, digit);
        self.positions.push(start, end, finder.longest + 1);
        if let Some(rest) = &mut self.rest {
            if rest.digits > 0 {
                note(Base64Match::Continuation(rest.end, start, end));
                (rest.digits, rest.end) = (0, end);
            } else {
                self.rest = None;
            }
        }
        if let Some(matched) = finder.matched(self.state) {
            self.record_match(matched, end, note);
        }
    }

    #[cold]
    fn record_match(&mut self, matched: Match, end: usize, note: &mut impl FnMut(Base64Match)) {
        let includes_preceding = matched.edges.before && self.has_preceding_digit(matched.length);
        let length = matched.length + usize::from(includes_preceding);
        if let Some(start) = self.positions.start_of(length) {
            note(Base64Match::New(start, end));
            self.rest = Some(Base64Tail { end, digits: u8::from(matched.edges.after), padding: 2 });
        }
    }

    /// Processes a byte that is not a base64 digit.
    #[inline]
    fn stop(
        &mut self,
        finder: &Finder,
        byte: u8,
        start: usize,
        end: usize,
        note: &mut impl FnMut(Base64Match),
    ) {
        (self.state, self.first) = (finder.start, self.positions.count());
        match &mut self.rest {
            Some(rest) if byte == b'=' && rest.padding > 0 => {
                note(Base64Match::Continuation(rest.end, start, end));
                (rest.digits, rest.padding, rest.end) = (0, rest.padding - 1, end);
            }
            _ => self.rest = None,
        }
    }

    /// Returns whether a digit directly precedes the last `length` ones. A digit before a line break does not count:
    /// otherwise the end of every line would be held back until the next one.
    fn has_preceding_digit(&self, length: usize) -> bool {
        if self.positions.count() - self.first <= length {
            return false;
        }
        let at = |length| self.positions.start_of(length);
        at(length).zip(at(length + 1)).is_some_and(|(start, before)| start == before + 1)
    }

    /// Returns the start of a possible secret in a stream that so far ends at `end` with `last`. `leads` are the digits
    /// that may precede it.
    pub fn pending_start(
        &self,
        finder: &Finder,
        leads: &[bool; 256],
        (last, end): (u8, usize),
    ) -> Option<usize> {
        let depth = finder.depth(self.state);
        let matching = if depth > 0 {
            self.positions.start_of(depth + usize::from(self.has_preceding_digit(depth)))
        } else {
            leads[usize::from(last)].then(|| end - 1)
        };
        matching.into_iter().chain(self.decoder.open()).min()
    }
}

/// Matches hex digits with any separators between pairs.
#[derive(Debug)]
pub(super) struct HexDecoder {
    state: StateID,
    positions: CharPositions,
    /// The state before the last byte if that is a `0`, which may belong to `0x`.
    before_zero: Option<StateID>,
}

impl HexDecoder {
    pub fn new(start: StateID) -> Self {
        Self { state: start, positions: CharPositions::default(), before_zero: None }
    }

    #[inline(always)]
    pub fn push(&mut self, finder: &Finder, byte: u8, at: usize, note: impl FnOnce(usize, usize)) {
        let before = self.before_zero.take();
        match byte {
            b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' => {
                if byte == b'0' {
                    self.before_zero = Some(self.state);
                }
                self.state = finder.next(self.state, byte.to_ascii_lowercase());
                self.positions.push(at, at + 1, finder.longest);
                if let Some(matched) = finder.matched(self.state)
                    && let Some(start) = self.positions.start_of(matched.length)
                {
                    note(start, at + 1);
                }
            }
            b' ' | b'\t' | b'\r' | b'\n' | b':' | b'-' | b',' => {}
            b'x' | b'X' if before.is_some() => {
                self.state = before.unwrap_or(finder.start);
                self.positions.pop();
            }
            _ => self.state = finder.start,
        }
    }

    /// Returns the start of a possible secret, if any.
    pub fn pending_start(&self, finder: &Finder) -> Option<usize> {
        let depth = finder.depth(self.state);
        // If a `0x` starts here, the pattern continues after it.
        let depth = depth.max(self.before_zero.map_or(0, |state| finder.depth(state) + 1));
        (depth > 0).then(|| self.positions.start_of(depth)).flatten()
    }
}
