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
pub use stream::{MASK, MaskStream};

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
    escape_leads: Box<[u8; 256]>,
}

impl SecretMask {
    /// Compiles a mask for these values.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Self, MaskError> {
        let forms = EncodedForms::new(values);
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
                *lead |= u8::from(encoding.may_start_with(byte)) << bit;
            }
        }
        let (base64, hex) = (Finder::new(forms.base64)?, Finder::new(forms.hex)?);
        let plain = Finder::new(forms.plain)?;
        let base64_leads = forms.leads;
        Ok(Self {
            finders: plain.map(|plain| SecretFinders {
                plain,
                base64,
                base64_leads,
                hex,
                encodings,
                escape_leads: leads,
            }),
        })
    }

    /// Returns `text` with its secrets masked.
    #[must_use]
    pub fn mask_text(&self, text: &str) -> String {
        if self.finders.is_none() {
            return text.to_owned();
        }
        let mut stream = MaskStream::default();
        let mut masked = self.push(&mut stream, text.as_bytes());
        masked.extend(self.finish(&mut stream));
        String::from_utf8_lossy(&masked).into_owned()
    }

    /// Returns whether `text` contains a secret.
    #[must_use]
    pub fn contains_secret(&self, text: &str) -> bool {
        self.mask_text(text) != text
    }

    /// Appends `bytes` to `stream` and returns the masked output that can be released.
    pub fn push(&self, stream: &mut MaskStream, bytes: &[u8]) -> Vec<u8> {
        let Some(finders) = &self.finders else { return bytes.to_vec() };
        if bytes.is_empty() {
            return Vec::new();
        }
        let start = stream.end();
        stream.hold(bytes);
        let mut decoders = stream.decoders.take().unwrap_or_else(|| finders.new_decoders());
        for (at, byte) in (start..).zip(bytes) {
            finders.step(&mut decoders, stream, *byte, at);
        }
        let until = finders.pending_start(&decoders, stream.end(), bytes.last().copied());
        stream.decoders = Some(decoders);
        stream.release(until)
    }

    /// Ends a stream and returns the rest of its masked output.
    pub fn finish(&self, stream: &mut MaskStream) -> Vec<u8> {
        if let (Some(finders), Some(mut decoders)) = (&self.finders, stream.decoders.take()) {
            for (bit, decoder) in decoders.decoded.iter_mut().enumerate() {
                if decoders.active >> bit & 1 == 1 {
                    decoder.finish(&finders.plain, |start, end| stream.add_match(start, end));
                }
            }
            if let Some(finder) = &finders.base64 {
                decoders.base64.finish(finder, |finding| stream.record_base64(finding));
            }
        }
        stream.release(stream.end())
    }
}

impl SecretFinders {
    fn new_decoders(&self) -> Decoders {
        let start_state =
            |finder: &Option<Finder>| finder.as_ref().map_or(self.plain.start, |finder| finder.start);
        Decoders {
            plain: self.plain.start,
            decoded: self
                .encodings
                .iter()
                .map(|encoding| EncodingDecoder::new(*encoding, self.plain.start))
                .collect(),
            active: 0,
            base64: Base64Decoder::new(start_state(&self.base64)),
            hex: HexDecoder::new(start_state(&self.hex)),
        }
    }

    /// Processes the byte at position `at`.
    #[allow(clippy::inline_always, reason = "it runs for each byte of output")]
    #[inline(always)]
    fn step(&self, decoders: &mut Decoders, stream: &mut MaskStream, byte: u8, at: usize) {
        let before = decoders.plain;
        decoders.plain = self.plain.next(before, byte);
        if let Some(matched) = self.plain.matched(decoders.plain) {
            stream.add_match(at + 1 - matched.length, at + 1);
        }
        let active = decoders.active | self.escape_leads[usize::from(byte)];
        if active != 0 {
            self.step_decoded(decoders, stream, (byte, at), before, active);
        }
        if let Some(finder) = &self.base64 {
            decoders.base64.push(finder, byte, at, |finding| stream.record_base64(finding));
        }
        if let Some(finder) = &self.hex {
            decoders.hex.push(finder, byte, at, |start, end| stream.add_match(start, end));
        }
    }

    /// Processes the byte in the active decoders, and activates those for which it may start an escape.
    fn step_decoded(
        &self,
        decoders: &mut Decoders,
        stream: &mut MaskStream,
        (byte, at): (u8, usize),
        before: StateID,
        active: u8,
    ) {
        for (bit, decoder) in
            decoders.decoded.iter_mut().enumerate().filter(|(bit, _)| active >> bit & 1 == 1)
        {
            if decoders.active >> bit & 1 == 0 {
                decoder.activate(&self.plain, before, at);
                decoders.active |= 1 << bit;
            }
            if decoder
                .push(&self.plain, decoders.plain, (byte, at), |start, end| stream.add_match(start, end))
            {
                decoders.active &= !(1 << bit);
            }
        }
    }

    /// Returns the position of the earliest possible secret in a stream that so far ends at `at`, or `at` if there is none.
    fn pending_start(&self, decoders: &Decoders, at: usize, last: Option<u8>) -> usize {
        let active = decoders.decoded.iter().enumerate().filter(|(bit, _)| decoders.active >> bit & 1 == 1);
        let decoded = active.filter_map(|(_, decoder)| decoder.pending_start(&self.plain)).min();
        let base64 = self.base64.as_ref().zip(last);
        let base64 = base64
            .and_then(|(finder, last)| decoders.base64.pending_start(finder, &self.base64_leads, (last, at)));
        let hex = self.hex.as_ref().and_then(|finder| decoders.hex.pending_start(finder));
        let plain = at - self.plain.depth(decoders.plain);
        [decoded, base64, hex].into_iter().flatten().fold(plain, usize::min)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
