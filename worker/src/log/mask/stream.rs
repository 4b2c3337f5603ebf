//! Where a stream stands: what is held back of it, and where its secrets are.

#![allow(clippy::inline_always, reason = "what runs for each byte of output")]

use super::{
    decode::{Decoded, Encoding},
    finder::{CharPositions, Finder, Match},
};
use aho_corasick::automaton::StateID;
use std::collections::VecDeque;

/// What stands for a secret.
pub const MASK: &[u8] = b"[masked]";

/// Where a stream stands.
#[derive(Debug, Default)]
pub struct Stream {
    /// Bytes that may be the beginning of a secret, or are of one that was found.
    held: Vec<u8>,
    /// Where `held` begins in the stream.
    base: usize,
    /// Where secrets are that were found and have not passed yet, in order; they do not overlap.
    found: VecDeque<Span>,
    /// Made with the first bytes.
    pub(super) lanes: Option<Decoders>,
}

/// All that looks for secrets in a stream.
#[derive(Debug)]
pub(super) struct Decoders {
    /// Of the bytes as they are.
    pub plain: StateID,
    /// Of the characters that they stand for, one for each encoding.
    pub decoded: Vec<EncodingDecoder>,
    /// Which of those are awake, one bit for each.
    pub awake: u8,
    pub base64: Base64Decoder,
    pub hex: HexDecoder,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    begin: usize,
    end: usize,
    /// Whether what stands for it was shown.
    shown: bool,
}

impl Stream {
    /// Where the bytes begin that were not pushed yet.
    pub(super) fn end(&self) -> usize {
        self.base + self.held.len()
    }

    pub(super) fn hold(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Notes that a secret is there; what overlaps is one.
    pub(super) fn note(&mut self, begin: usize, end: usize) {
        self.insert(Span { begin, end, shown: false });
    }

    pub(super) fn find(&mut self, finding: Finding) {
        match finding {
            Finding::Secret(begin, end) => self.note(begin, end),
            Finding::Rest(known, begin, end) => self.extend(known, begin, end),
        }
    }

    /// Notes that the secret that ends at `known` goes on at `begin..end`.
    fn extend(&mut self, known: usize, begin: usize, end: usize) {
        // It passed already, unless it is here: nothing is shown for its rest.
        let here = self.found.iter().find(|span| span.begin < known && known <= span.end).copied();
        self.insert(here.map_or(Span { begin, end, shown: true }, |span| Span { end, ..span }));
    }

    fn insert(&mut self, mut new: Span) {
        // What passed has passed.
        if new.end <= self.base {
            return;
        }
        let mut at = self.found.len();
        while let Some(earlier) = at.checked_sub(1).and_then(|at| self.found.get(at)).copied() {
            if earlier.begin >= new.end {
                at -= 1;
                continue;
            }
            if earlier.end <= new.begin {
                break;
            }
            new.begin = new.begin.min(earlier.begin);
            new.end = new.end.max(earlier.end);
            new.shown |= earlier.shown;
            at -= 1;
            self.found.remove(at);
        }
        self.found.insert(at, new);
    }

    /// What comes before `until`, with what stands for secrets.
    pub(super) fn release(&mut self, until: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(until.saturating_sub(self.base));
        let mut passed = 0;
        while self.base < until {
            let next = match self.found.front_mut() {
                Some(span) if span.begin <= self.base => {
                    if !std::mem::replace(&mut span.shown, true) {
                        out.extend_from_slice(MASK);
                    }
                    let next = until.min(span.end);
                    if next == span.end {
                        self.found.pop_front();
                    }
                    passed += next - self.base;
                    next
                }
                span => {
                    let next = span.map_or(until, |span| until.min(span.begin));
                    let length = next - self.base;
                    out.extend_from_slice(&self.held[passed..passed + length]);
                    passed += length;
                    next
                }
            };
            self.base = next;
        }
        self.held.drain(..passed);
        out
    }
}

/// What tells the characters that bytes stand for.
#[derive(Debug)]
pub(super) struct CharDecoder {
    pub encoding: Encoding,
    /// Bytes of which it is not known yet what they stand for; never more than twelve.
    pending: Vec<u8>,
    /// Where they begin.
    at: usize,
}

impl CharDecoder {
    pub const fn new(encoding: Encoding) -> Self {
        Self { encoding, pending: Vec::new(), at: 0 }
    }

    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Where the bytes begin that wait for more.
    fn open(&self) -> Option<usize> {
        (!self.pending.is_empty()).then_some(self.at)
    }

    /// Takes the byte at `at`, and gives `each` the characters that are known by now, with their places.
    fn push(&mut self, byte: u8, at: usize, each: impl FnMut(u8, usize, usize)) {
        if self.pending.is_empty() {
            self.at = at;
        }
        self.pending.push(byte);
        self.decode(false, each);
    }

    fn decode(&mut self, is_last: bool, mut each: impl FnMut(u8, usize, usize)) {
        let mut used = 0;
        while let Some(first) = self.pending.get(used).copied() {
            let length = match self.encoding.decode(&self.pending[used..], is_last) {
                Decoded::Partial => break,
                Decoded::Byte(length, byte) => {
                    each(byte, self.at + used, self.at + used + length);
                    length
                }
                Decoded::Char(length, char) => {
                    let mut buffer = [0; 4];
                    for byte in char.encode_utf8(&mut buffer).bytes() {
                        each(byte, self.at + used, self.at + used + length);
                    }
                    length
                }
                Decoded::Plain => {
                    each(first, self.at + used, self.at + used + 1);
                    1
                }
            };
            used += length;
        }
        self.pending.drain(..used);
        self.at += used;
    }
}

/// Looks for values in what an encoding stands for. It is awake only from what may stand for something else on, until it has
/// seen so much after it that it stands where the bytes themselves do.
#[derive(Debug)]
pub(super) struct EncodingDecoder {
    pub decoder: CharDecoder,
    state: StateID,
    places: CharPositions,
}

impl EncodingDecoder {
    pub fn new(encoding: Encoding, start: StateID) -> Self {
        Self { decoder: CharDecoder::new(encoding), state: start, places: CharPositions::default() }
    }

    /// Wakes up before the byte at `at`, where the bytes themselves are in `state`.
    pub fn wake(&mut self, finder: &Finder, state: StateID, at: usize) {
        self.state = state;
        self.places.set_contiguous(at, finder.longest);
    }

    /// Takes the byte at `at`, after which the bytes themselves are in `plain`; says whether it may sleep again.
    pub fn push(
        &mut self,
        finder: &Finder,
        plain: StateID,
        (byte, at): (u8, usize),
        note: impl FnMut(usize, usize),
    ) -> bool {
        let Self { decoder, state, places } = self;
        let mut step = stepper(finder, state, places, note);
        decoder.push(byte, at, &mut step);
        drop(step);
        self.decoder.is_idle() && self.state == plain
    }

    pub fn finish(&mut self, finder: &Finder, note: impl FnMut(usize, usize)) {
        let Self { decoder, state, places } = self;
        let mut step = stepper(finder, state, places, note);
        decoder.decode(true, &mut step);
    }

    /// Where what may be a secret begins.
    pub fn open(&self, finder: &Finder) -> Option<usize> {
        let depth = finder.depth(self.state);
        let begun = (depth > 0).then(|| self.places.begin_of(depth)).flatten();
        begun.into_iter().chain(self.decoder.open()).min()
    }
}

fn stepper<'a>(
    finder: &'a Finder,
    state: &'a mut StateID,
    places: &'a mut CharPositions,
    mut note: impl FnMut(usize, usize) + 'a,
) -> impl FnMut(u8, usize, usize) + 'a {
    move |byte, begin, end| {
        *state = finder.next(*state, byte);
        places.push(begin, end, finder.longest);
        if let Some(matched) = finder.matched(*state)
            && let Some(begin) = places.begin_of(matched.length)
        {
            note(begin, end);
        }
    }
}

/// Looks for base64, wherever its lines break, however they are indented, and whatever its digits are written as.
#[derive(Debug)]
pub(super) struct Base64Decoder {
    pub decoder: CharDecoder,
    state: StateID,
    places: CharPositions,
    /// The number of the first digit since something that is no base64.
    first: usize,
    /// The last match, while digits may follow that belong to it.
    rest: Option<Base64Tail>,
}

/// Of a byte between the digits of base64.
const CLASS_SKIPPED: u8 = 1;
/// Of a byte that ends base64.
const CLASS_OTHER: u8 = 0;
/// What each byte is to base64: else the digit, of the standard alphabet.
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

/// What a secret is found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    Secret(usize, usize),
    /// The secret that ends at the first goes on from the second to the third.
    Rest(usize, usize, usize),
}

impl Base64Decoder {
    pub fn new(start: StateID) -> Self {
        let decoder = CharDecoder::new(Encoding::Digit);
        Self { decoder, state: start, places: CharPositions::default(), first: 0, rest: None }
    }

    #[inline(always)]
    pub fn push(&mut self, finder: &Finder, byte: u8, at: usize, mut note: impl FnMut(Finding)) {
        if self.decoder.is_idle() && !Encoding::Digit.begins_with(byte) {
            self.step(finder, byte, at, at + 1, &mut note);
        } else {
            self.push_escaped(finder, byte, at, note);
        }
    }

    #[cold]
    fn push_escaped(&mut self, finder: &Finder, byte: u8, at: usize, mut note: impl FnMut(Finding)) {
        let mut decoder = std::mem::replace(&mut self.decoder, CharDecoder::new(Encoding::Digit));
        decoder.push(byte, at, |byte, begin, end| self.step(finder, byte, begin, end, &mut note));
        self.decoder = decoder;
    }

    pub fn finish(&mut self, finder: &Finder, mut note: impl FnMut(Finding)) {
        let mut decoder = std::mem::replace(&mut self.decoder, CharDecoder::new(Encoding::Digit));
        decoder.decode(true, |byte, begin, end| self.step(finder, byte, begin, end, &mut note));
    }

    #[inline(always)]
    fn step(&mut self, finder: &Finder, byte: u8, begin: usize, end: usize, note: &mut impl FnMut(Finding)) {
        let digit = match BASE64_CLASSES[usize::from(byte)] {
            CLASS_SKIPPED => return,
            CLASS_OTHER => return self.stop(finder, byte, begin, end, note),
            digit => digit,
        };
        self.state = finder.next(self.state, digit);
        self.places.push(begin, end, finder.longest + 1);
        if let Some(rest) = &mut self.rest {
            if rest.digits > 0 {
                note(Finding::Rest(rest.end, begin, end));
                (rest.digits, rest.end) = (0, end);
            } else {
                self.rest = None;
            }
        }
        if let Some(matched) = finder.matched(self.state) {
            self.found(matched, end, note);
        }
    }

    #[cold]
    fn found(&mut self, matched: Match, end: usize, note: &mut impl FnMut(Finding)) {
        let with_one_before = matched.edges.before && self.has_one_before(matched.length);
        let length = matched.length + usize::from(with_one_before);
        if let Some(begin) = self.places.begin_of(length) {
            note(Finding::Secret(begin, end));
            self.rest = Some(Base64Tail { end, digits: u8::from(matched.edges.after), padding: 2 });
        }
    }

    /// Something that is no digit comes.
    #[inline]
    fn stop(&mut self, finder: &Finder, byte: u8, begin: usize, end: usize, note: &mut impl FnMut(Finding)) {
        (self.state, self.first) = (finder.start, self.places.count());
        match &mut self.rest {
            Some(rest) if byte == b'=' && rest.padding > 0 => {
                note(Finding::Rest(rest.end, begin, end));
                (rest.digits, rest.padding, rest.end) = (0, rest.padding - 1, end);
            }
            _ => self.rest = None,
        }
    }

    /// Whether a digit stands right before the last `length` ones. One that a line break parts from them is left alone: the end
    /// of every line would else have to wait for the next one.
    fn has_one_before(&self, length: usize) -> bool {
        if self.places.count() - self.first <= length {
            return false;
        }
        let at = |length| self.places.begin_of(length);
        at(length).zip(at(length + 1)).is_some_and(|(begin, before)| begin == before + 1)
    }

    /// Where what may be a secret begins, of a stream that ends at `end` so far with `last`; the digit before it is one of `leads`.
    pub fn open(&self, finder: &Finder, leads: &[bool; 256], (last, end): (u8, usize)) -> Option<usize> {
        let depth = finder.depth(self.state);
        let begun = if depth > 0 {
            self.places.begin_of(depth + usize::from(self.has_one_before(depth)))
        } else {
            leads[usize::from(last)].then(|| end - 1)
        };
        begun.into_iter().chain(self.decoder.open()).min()
    }
}

/// Looks for hex digits, whatever stands between their pairs.
#[derive(Debug)]
pub(super) struct HexDecoder {
    state: StateID,
    places: CharPositions,
    /// Where it stood before a `0`, the last byte, which may be that of `0x`.
    before_zero: Option<StateID>,
}

impl HexDecoder {
    pub fn new(start: StateID) -> Self {
        Self { state: start, places: CharPositions::default(), before_zero: None }
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
                self.places.push(at, at + 1, finder.longest);
                if let Some(matched) = finder.matched(self.state)
                    && let Some(begin) = self.places.begin_of(matched.length)
                {
                    note(begin, at + 1);
                }
            }
            b' ' | b'\t' | b'\r' | b'\n' | b':' | b'-' | b',' => {}
            b'x' | b'X' if before.is_some() => {
                self.state = before.unwrap_or(finder.start);
                self.places.pop();
            }
            _ => self.state = finder.start,
        }
    }

    /// Where what may be a secret begins.
    pub fn open(&self, finder: &Finder) -> Option<usize> {
        let depth = finder.depth(self.state);
        // Should a `0x` begin, what it stands between goes on after it.
        let depth = depth.max(self.before_zero.map_or(0, |state| finder.depth(state) + 1));
        (depth > 0).then(|| self.places.begin_of(depth)).flatten()
    }
}
