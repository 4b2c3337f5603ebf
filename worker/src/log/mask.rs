//! Masks secrets in a job's output and names, for any chunking, and in the encodings in which programs print them.
//! docs/secrets.md lists the encodings.
//!
//! Escapes are decoded rather than precomputed, since programs differ in which characters they escape: for each encoding
//! one automaton runs over the decoded stream. Base64 and hex are matched across line breaks.
//! Masking takes time linear in the length of the stream. Output is held back only while its end may be the start of a secret.

mod decode;
mod finder;
mod forms;
mod stream;

pub use finder::MaskError;
pub use forms::MIN_LEN;
pub use stream::{MASK, Stream};

use decode::Encoding;
use finder::Finder;
use forms::EncodedForms;
use stream::{Base64Decoder, Decoders, EncodingDecoder, HexDecoder};

use aho_corasick::automaton::StateID;

/// The secrets of a job, compiled once.
#[derive(Debug, Default)]
pub struct SecretMask {
    finders: Option<SecretFinders>,
}

#[derive(Debug)]
struct SecretFinders {
    plain: Finder,
    base64: Option<Finder>,
    base64_leads: Box<[bool; 256]>,
    hex: Option<Finder>,
    encodings: Vec<Encoding>,
    /// For each byte, a bit set of the encodings in which it may start an escape.
    leads: Box<[u8; 256]>,
}

impl SecretMask {
    /// Compiles a mask for these values.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Self, MaskError> {
        let forms = EncodedForms::of(values);
        let mut encodings = vec![
            Encoding::Percent,
            Encoding::Backslash,
            Encoding::Spliced,
            Encoding::Doubled,
            Encoding::Entity,
        ];
        if forms.has_space {
            encodings.push(Encoding::Form);
        }
        if forms.has_latin {
            encodings.push(Encoding::Latin);
        }
        let mut leads = Box::new([0; 256]);
        for (byte, lead) in (0..=u8::MAX).zip(leads.iter_mut()) {
            for (bit, encoding) in encodings.iter().enumerate() {
                *lead |= u8::from(encoding.begins_with(byte)) << bit;
            }
        }
        let (base64, hex) = (Finder::new(forms.base64)?, Finder::new(forms.hex)?);
        let plain = Finder::new(forms.plain)?;
        let base64_leads = forms.leads;
        Ok(Self {
            finders: plain.map(|plain| SecretFinders { plain, base64, base64_leads, hex, encodings, leads }),
        })
    }

    /// Returns `text` with its secrets masked.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        if self.finders.is_none() {
            return text.to_owned();
        }
        let mut stream = Stream::default();
        let mut masked = self.push(&mut stream, text.as_bytes());
        masked.extend(self.finish(&mut stream));
        String::from_utf8_lossy(&masked).into_owned()
    }

    /// Returns whether `text` contains a secret.
    #[must_use]
    pub fn hides(&self, text: &str) -> bool {
        self.text(text) != text
    }

    /// Appends `bytes` to `stream` and returns the masked output that can be released.
    pub fn push(&self, stream: &mut Stream, bytes: &[u8]) -> Vec<u8> {
        let Some(finders) = &self.finders else { return bytes.to_vec() };
        if bytes.is_empty() {
            return Vec::new();
        }
        let start = stream.end();
        stream.hold(bytes);
        let mut lanes = stream.lanes.take().unwrap_or_else(|| finders.lanes());
        for (at, byte) in (start..).zip(bytes) {
            finders.step(&mut lanes, stream, *byte, at);
        }
        let until = finders.open(&lanes, stream.end(), bytes.last().copied());
        stream.lanes = Some(lanes);
        stream.release(until)
    }

    /// Ends a stream and returns the rest of its masked output.
    pub fn finish(&self, stream: &mut Stream) -> Vec<u8> {
        if let (Some(finders), Some(mut lanes)) = (&self.finders, stream.lanes.take()) {
            for (bit, lane) in lanes.decoded.iter_mut().enumerate() {
                if lanes.awake >> bit & 1 == 1 {
                    lane.finish(&finders.plain, |start, end| stream.note(start, end));
                }
            }
            if let Some(finder) = &finders.base64 {
                lanes.base64.finish(finder, |finding| stream.find(finding));
            }
        }
        stream.release(stream.end())
    }
}

impl SecretFinders {
    fn lanes(&self) -> Decoders {
        let start_state =
            |finder: &Option<Finder>| finder.as_ref().map_or(self.plain.start, |finder| finder.start);
        Decoders {
            plain: self.plain.start,
            decoded: self
                .encodings
                .iter()
                .map(|encoding| EncodingDecoder::new(*encoding, self.plain.start))
                .collect(),
            awake: 0,
            base64: Base64Decoder::new(start_state(&self.base64)),
            hex: HexDecoder::new(start_state(&self.hex)),
        }
    }

    /// Processes the byte at position `at`.
    #[allow(clippy::inline_always, reason = "it runs for each byte of output")]
    #[inline(always)]
    fn step(&self, lanes: &mut Decoders, stream: &mut Stream, byte: u8, at: usize) {
        let before = lanes.plain;
        lanes.plain = self.plain.next(before, byte);
        if let Some(matched) = self.plain.matched(lanes.plain) {
            stream.note(at + 1 - matched.length, at + 1);
        }
        let awake = lanes.awake | self.leads[usize::from(byte)];
        if awake != 0 {
            self.step_decoded(lanes, stream, (byte, at), before, awake);
        }
        if let Some(finder) = &self.base64 {
            lanes.base64.push(finder, byte, at, |finding| stream.find(finding));
        }
        if let Some(finder) = &self.hex {
            lanes.hex.push(finder, byte, at, |start, end| stream.note(start, end));
        }
    }

    /// Processes the byte in the active decoders, and activates those for which it may start an escape.
    fn step_decoded(
        &self,
        lanes: &mut Decoders,
        stream: &mut Stream,
        (byte, at): (u8, usize),
        before: StateID,
        awake: u8,
    ) {
        for (bit, lane) in lanes.decoded.iter_mut().enumerate().filter(|(bit, _)| awake >> bit & 1 == 1) {
            if lanes.awake >> bit & 1 == 0 {
                lane.wake(&self.plain, before, at);
                lanes.awake |= 1 << bit;
            }
            if lane.push(&self.plain, lanes.plain, (byte, at), |start, end| stream.note(start, end)) {
                lanes.awake &= !(1 << bit);
            }
        }
    }

    /// Returns the position of the earliest possible secret in a stream that so far ends at `at`, or `at` if there is none.
    fn open(&self, lanes: &Decoders, at: usize, last: Option<u8>) -> usize {
        let awake = lanes.decoded.iter().enumerate().filter(|(bit, _)| lanes.awake >> bit & 1 == 1);
        let decoded = awake.filter_map(|(_, lane)| lane.open(&self.plain)).min();
        let base64 = self.base64.as_ref().zip(last);
        let base64 =
            base64.and_then(|(finder, last)| lanes.base64.open(finder, &self.base64_leads, (last, at)));
        let hex = self.hex.as_ref().and_then(|finder| lanes.hex.open(finder));
        let plain = at - self.plain.depth(lanes.plain);
        [decoded, base64, hex].into_iter().flatten().fold(plain, usize::min)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
