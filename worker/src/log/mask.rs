//! Secrets taken out of what a job prints and is called, however it is cut into chunks, and in the forms in which programs
//! print them. docs/secrets.md has the table of these.
//!
//! Escapes are read back rather than foreseen, since programs differ in which characters they escape: for each encoding
//! one automaton runs over what the stream stands for. Base64 and hex are looked for without regard to what breaks their lines.
//! All of it takes time linear in the stream. A stream is held back only while its end may be the beginning of a secret.

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

/// What is masked; made once for a job.
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
    /// For each byte, the encodings for which it may begin something, one bit for each.
    leads: Box<[u8; 256]>,
}

impl SecretMask {
    /// A mask for these values.
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

    /// `text` with its secrets masked.
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

    /// Whether there is a secret in `text`.
    #[must_use]
    pub fn hides(&self, text: &str) -> bool {
        self.text(text) != text
    }

    /// What of `stream` and the `bytes` that follow can be shown now.
    pub fn push(&self, stream: &mut Stream, bytes: &[u8]) -> Vec<u8> {
        let Some(finders) = &self.finders else { return bytes.to_vec() };
        if bytes.is_empty() {
            return Vec::new();
        }
        let begin = stream.end();
        stream.hold(bytes);
        let mut lanes = stream.lanes.take().unwrap_or_else(|| finders.lanes());
        for (at, byte) in (begin..).zip(bytes) {
            finders.step(&mut lanes, stream, *byte, at);
        }
        let until = finders.open(&lanes, stream.end(), bytes.last().copied());
        stream.lanes = Some(lanes);
        stream.release(until)
    }

    /// What is left of a stream that is over.
    pub fn finish(&self, stream: &mut Stream) -> Vec<u8> {
        if let (Some(finders), Some(mut lanes)) = (&self.finders, stream.lanes.take()) {
            for (bit, lane) in lanes.decoded.iter_mut().enumerate() {
                if lanes.awake >> bit & 1 == 1 {
                    lane.finish(&finders.plain, |begin, end| stream.note(begin, end));
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
        let start = |finder: &Option<Finder>| finder.as_ref().map_or(self.plain.start, |finder| finder.start);
        Decoders {
            plain: self.plain.start,
            decoded: self
                .encodings
                .iter()
                .map(|encoding| EncodingDecoder::new(*encoding, self.plain.start))
                .collect(),
            awake: 0,
            base64: Base64Decoder::new(start(&self.base64)),
            hex: HexDecoder::new(start(&self.hex)),
        }
    }

    /// Takes the byte at `at`.
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
            lanes.hex.push(finder, byte, at, |begin, end| stream.note(begin, end));
        }
    }

    /// Takes the byte into what is awake, and what it wakes up.
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
            if lane.push(&self.plain, lanes.plain, (byte, at), |begin, end| stream.note(begin, end)) {
                lanes.awake &= !(1 << bit);
            }
        }
    }

    /// Where what may be a secret begins of a stream that ends at `at` so far; `at`: nothing is.
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
