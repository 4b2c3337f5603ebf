//! Decodes the escapes that programs print for characters, whichever characters they escape.

/// An encoding of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// `%2F`.
    Percent,
    /// `%2F`, and `+` for a space.
    Form,
    /// `\n`, `\"`, `\u0026`, `\x2f`, `\057`, `\ `: JSON, most languages, and shells' `\` and `$'...'`.
    Backslash,
    /// Like `Backslash`, but `\xe9` is a character and not a byte, as Python and JavaScript print it.
    Latin,
    /// `'it'\''s'` and `'it'"'"'s'`: shell quoting with single quotes.
    Spliced,
    /// `''`, `""`, `$$`, `%%`: SQL, YAML, CSV, Makefiles.
    Doubled,
    /// `&amp;`, `&#39;`, `&#x27;`: XML and HTML.
    Entity,
    /// All escapes of a base64 digit or of a line break between digits.
    Digit,
}

/// The result of decoding the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// This number of bytes encodes this byte.
    Byte(usize, u8),
    /// This number of bytes encodes this character.
    Char(usize, char),
    /// More bytes are needed.
    Partial,
    /// The first byte is not encoded.
    Plain,
}

impl Encoding {
    /// Returns whether `byte` may start an escape.
    pub const fn may_start_with(self, byte: u8) -> bool {
        match self {
            Self::Percent => byte == b'%',
            Self::Form => matches!(byte, b'%' | b'+'),
            Self::Backslash => matches!(byte, b'\\' | b'$'),
            Self::Latin => byte == b'\\',
            Self::Spliced => byte == b'\'',
            Self::Doubled => matches!(byte, b'\'' | b'"' | b'$' | b'%'),
            Self::Entity => byte == b'&',
            Self::Digit => matches!(byte, b'%' | b'\\' | b'&'),
        }
    }

    /// Decodes the start of `bytes`. With `is_last`, no bytes follow.
    pub fn decode(self, bytes: &[u8], is_last: bool) -> Decoded {
        let decoded = match (self, bytes.first()) {
            (_, None) => Decoded::Partial,
            (Self::Form, Some(b'+')) => Decoded::Byte(1, b' '),
            (Self::Percent | Self::Form | Self::Digit, Some(b'%')) => percent(bytes),
            (Self::Backslash | Self::Digit, Some(b'\\')) => backslash(bytes, is_last),
            (Self::Latin, Some(b'\\')) => match backslash(bytes, is_last) {
                Decoded::Byte(4, value) if bytes[1] == b'x' => Decoded::Char(4, char::from(value)),
                decoded => decoded,
            },
            (Self::Backslash, Some(b'$')) => dollar(bytes),
            (Self::Spliced, Some(b'\'')) => spliced(bytes),
            (Self::Doubled, Some(first @ (b'\'' | b'"' | b'$' | b'%'))) => match bytes.get(1) {
                Some(second) if second == first => Decoded::Byte(2, *first),
                Some(_) => Decoded::Plain,
                None => Decoded::Partial,
            },
            (Self::Entity | Self::Digit, Some(b'&')) => entity(bytes),
            _ => Decoded::Plain,
        };
        if is_last && decoded == Decoded::Partial { Decoded::Plain } else { decoded }
    }
}

/// Parses `min` to `max` digits at the start of `bytes`; returns the number and the count of digits.
fn number(bytes: &[u8], radix: u32, min: usize, max: usize) -> Result<(u32, usize), Decoded> {
    let (mut value, mut count) = (0_u32, 0);
    while count < max {
        match bytes.get(count).map(|byte| char::from(*byte).to_digit(radix)) {
            Some(Some(digit)) => value = value.saturating_mul(radix).saturating_add(digit),
            Some(None) if count >= min => break,
            Some(None) => return Err(Decoded::Plain),
            None => return Err(Decoded::Partial),
        }
        count += 1;
    }
    Ok((value, count))
}

fn byte(length: usize, value: u32) -> Decoded {
    u8::try_from(value).map_or(Decoded::Plain, |value| Decoded::Byte(length, value))
}

fn char(length: usize, value: u32) -> Decoded {
    char::from_u32(value).map_or(Decoded::Plain, |value| Decoded::Char(length, value))
}

fn percent(bytes: &[u8]) -> Decoded {
    match number(&bytes[1..], 16, 2, 2) {
        Ok((value, _)) => byte(3, value),
        Err(other) => other,
    }
}

fn backslash(bytes: &[u8], is_last: bool) -> Decoded {
    let Some(letter) = bytes.get(1) else { return Decoded::Partial };
    let rest = &bytes[2..];
    // At the end of the stream, a number may have fewer digits.
    let short = |rest: &[u8], radix, max| match number(rest, radix, 1, max) {
        Err(Decoded::Partial) if is_last && !rest.is_empty() => number(rest, radix, 1, rest.len()),
        other => other,
    };
    let decoded = match letter {
        b'n' => Ok(Decoded::Byte(2, b'\n')),
        b'r' => Ok(Decoded::Byte(2, b'\r')),
        b't' => Ok(Decoded::Byte(2, b'\t')),
        b'a' => Ok(Decoded::Byte(2, 0x07)),
        b'b' => Ok(Decoded::Byte(2, 0x08)),
        b'f' => Ok(Decoded::Byte(2, 0x0c)),
        b'v' => Ok(Decoded::Byte(2, 0x0b)),
        b'e' | b'E' => Ok(Decoded::Byte(2, 0x1b)),
        b'x' => short(rest, 16, 2).map(|(value, count)| byte(2 + count, value)),
        b'0'..=b'7' => short(&bytes[1..], 8, 3).map(|(value, count)| byte(1 + count, value)),
        b'U' => number(rest, 16, 8, 8).map(|(value, count)| char(2 + count, value)),
        b'u' if rest.first() == Some(&b'{') => braced(rest),
        b'u' => number(rest, 16, 4, 4).and_then(|(value, _)| match value {
            0xd800..=0xdbff => surrogates(value, bytes),
            _ => Ok(char(6, value)),
        }),
        other => Ok(Decoded::Byte(2, *other)),
    };
    // `\x` without digits is an escaped `x`.
    match decoded {
        Ok(Decoded::Plain) | Err(Decoded::Plain) => Decoded::Byte(2, *letter),
        Ok(decoded) | Err(decoded) => decoded,
    }
}

/// `\u{e9}`.
fn braced(rest: &[u8]) -> Result<Decoded, Decoded> {
    let (value, count) = number(&rest[1..], 16, 1, 6)?;
    match rest.get(1 + count) {
        Some(b'}') => Ok(char(2 + count + 2, value)),
        Some(_) => Err(Decoded::Plain),
        None => Err(Decoded::Partial),
    }
}

/// `\ud83d\ude00`.
fn surrogates(high: u32, bytes: &[u8]) -> Result<Decoded, Decoded> {
    let following = &bytes[6..];
    let compared = following.len().min(2);
    if following[..compared] != b"\\u"[..compared] {
        return Err(Decoded::Plain);
    }
    if compared < 2 {
        return Err(Decoded::Partial);
    }
    match number(&following[2..], 16, 4, 4)?.0 {
        low @ 0xdc00..=0xdfff => Ok(char(12, 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))),
        _ => Err(Decoded::Plain),
    }
}

/// `$'\n'`, as zsh prints it between other characters.
fn dollar(bytes: &[u8]) -> Decoded {
    let compared = bytes.len().min(3);
    if bytes[..compared] != b"$'\\"[..compared] {
        return Decoded::Plain;
    }
    let (Some(letter), Some(end)) = (bytes.get(3), bytes.get(4)) else { return Decoded::Partial };
    match (letter, end) {
        (b'n', b'\'') => Decoded::Byte(5, b'\n'),
        (b'r', b'\'') => Decoded::Byte(5, b'\r'),
        (b't', b'\'') => Decoded::Byte(5, b'\t'),
        _ => Decoded::Plain,
    }
}

fn spliced(bytes: &[u8]) -> Decoded {
    for escape in [&b"'\\''"[..], b"'\"'\"'"] {
        if bytes.starts_with(escape) {
            return Decoded::Byte(escape.len(), b'\'');
        }
        if escape.starts_with(bytes) {
            return Decoded::Partial;
        }
    }
    Decoded::Plain
}

fn entity(bytes: &[u8]) -> Decoded {
    for (name, byte) in [("&amp;", b'&'), ("&lt;", b'<'), ("&gt;", b'>'), ("&quot;", b'"'), ("&apos;", b'\'')]
    {
        if bytes.starts_with(name.as_bytes()) {
            return Decoded::Byte(name.len(), byte);
        }
        if name.as_bytes().starts_with(bytes) {
            return Decoded::Partial;
        }
    }
    if bytes.get(1) != Some(&b'#') {
        return Decoded::Plain;
    }
    let (skipped, radix) = match bytes.get(2) {
        None => return Decoded::Partial,
        Some(b'x' | b'X') => (3, 16),
        Some(_) => (2, 10),
    };
    match number(&bytes[skipped..], radix, 1, 7) {
        Ok((value, count)) => match bytes.get(skipped + count) {
            Some(b';') => char(skipped + count + 1, value),
            Some(_) => Decoded::Plain,
            None => Decoded::Partial,
        },
        Err(other) => other,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Decoded, Encoding};

    /// Decodes all of `text`.
    fn decoded(encoding: Encoding, text: &str) -> String {
        let (mut bytes, mut out) = (text.as_bytes(), Vec::new());
        while let Some(first) = bytes.first() {
            let used = match encoding.decode(bytes, true) {
                Decoded::Byte(used, byte) => {
                    out.push(byte);
                    used
                }
                Decoded::Char(used, char) => {
                    out.extend(char.to_string().into_bytes());
                    used
                }
                Decoded::Partial | Decoded::Plain => {
                    out.push(*first);
                    1
                }
            };
            bytes = &bytes[used..];
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_are_decoded() {
        for (encoding, text, plain) in [
            (Encoding::Percent, "a%2Fb%2fc%zz%4", "a/b/c%zz%4"),
            (Encoding::Form, "a+b%2B", "a b+"),
            (Encoding::Backslash, r#"\"\/\\\n\u0026\u003C\x41\101\'\ \7"#, "\"/\\\n&<AA' \u{7}"),
            (Encoding::Backslash, r"\u00fc \ud83d\ude00 \u{e9} \U0001F600 \ud83dx", "ü 😀 é 😀 ud83dx"),
            (Encoding::Backslash, r"a$'\n'b $'c", "a\nb $'c"),
            (Encoding::Latin, r"caf\xe9 \x41 \u00e9", "café A é"),
            (Encoding::Spliced, r#"it'\''s it'"'"'s it's"#, "it's it's it's"),
            (Encoding::Doubled, "it''s \"\"a\"\" $$5 5%%", "it's \"a\" $5 5%"),
            (Encoding::Entity, "&amp;&lt;&#39;&#x27;&#039;&#252;&nbsp;&am", "&<'''ü&nbsp;&am"),
        ] {
            assert_eq!(decoded(encoding, text), plain, "{text}");
        }
    }

    #[test]
    fn incomplete_escape_delays_at_most_twelve_bytes() {
        for (encoding, text) in [
            (Encoding::Percent, "%2F"),
            (Encoding::Backslash, r"\u0026"),
            (Encoding::Backslash, r"\ud83d\ude00"),
            (Encoding::Backslash, r"\u{10ffff}"),
            (Encoding::Spliced, r"'\''"),
            (Encoding::Entity, "&#x0000027;"),
        ] {
            assert!(text.len() <= 12);
            for length in 1..text.len() {
                assert_eq!(encoding.decode(&text.as_bytes()[..length], false), Decoded::Partial, "{text}");
            }
            assert_ne!(encoding.decode(text.as_bytes(), false), Decoded::Partial, "{text}");
        }
    }
}
