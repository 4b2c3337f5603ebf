//! Text as the input of the YAML parser.
//!
//! The parser's own `StrInput` makes it reserve 128 bytes for every word; this one makes it reserve 16, and reads ASCII without
//! decoding UTF-8.

use saphyr_parser::input::{Input, SkipTabs, is_blank, is_break, is_breakz, is_flow, is_z};

/// The look-ahead that the parser may request, in characters: as much as that of its `BufferedInput`.
const LOOKAHEAD: usize = 16;

/// A text and a position in it.
pub(super) struct TextInput<'a> {
    text: &'a str,
    /// The byte at which the next character starts.
    at: usize,
    lookahead: usize,
}

impl<'a> TextInput<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, lookahead: 0 }
    }

    /// The next byte; 0 at the end, which the parser takes for the end as well.
    #[inline]
    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    fn rest(&self) -> std::str::Chars<'a> {
        self.text.get(self.at..).unwrap_or_default().chars()
    }

    #[cold]
    fn decode(&self) -> char {
        self.rest().next().unwrap_or('\0')
    }

    #[cold]
    fn decode_nth(&self, n: usize) -> char {
        self.rest().nth(n).unwrap_or('\0')
    }

    #[cold]
    fn skip_decoded(&mut self) {
        self.at += self.decode().len_utf8();
    }
}

impl Input for TextInput<'_> {
    #[inline]
    fn lookahead(&mut self, count: usize) {
        self.lookahead = self.lookahead.max(count);
    }

    #[inline]
    fn buflen(&self) -> usize {
        self.lookahead
    }

    #[inline]
    fn bufmaxlen(&self) -> usize {
        LOOKAHEAD
    }

    #[inline]
    fn raw_read_ch(&mut self) -> char {
        let next = self.peek();
        self.skip();
        next
    }

    #[inline]
    fn raw_read_non_breakz_ch(&mut self) -> Option<char> {
        let next = self.peek();
        if is_breakz(next) || next == '\u{feff}' {
            return None;
        }
        self.skip();
        Some(next)
    }

    #[inline]
    fn skip(&mut self) {
        if self.at < self.text.len() {
            if self.byte().is_ascii() {
                self.at += 1;
            } else {
                self.skip_decoded();
            }
        }
    }

    #[inline]
    fn skip_n(&mut self, count: usize) {
        for _ in 0..count {
            self.skip();
        }
    }

    #[inline]
    fn peek(&self) -> char {
        let byte = self.byte();
        if byte.is_ascii() { char::from(byte) } else { self.decode() }
    }

    #[inline]
    fn peek_nth(&self, n: usize) -> char {
        match self.text.as_bytes().get(self.at..) {
            Some([first, second, ..]) if n == 1 && first.is_ascii() && second.is_ascii() => {
                char::from(*second)
            }
            _ => self.decode_nth(n),
        }
    }

    #[inline]
    fn peek_opt(&self) -> Option<char> {
        (self.at < self.text.len()).then(|| self.peek())
    }

    #[inline]
    fn next_2_are(&self, first: char, second: char) -> bool {
        self.peek() == first && self.peek_nth(1) == second
    }

    #[inline]
    fn next_3_are(&self, first: char, second: char, third: char) -> bool {
        self.next_2_are(first, second) && self.peek_nth(2) == third
    }

    #[inline]
    fn next_is_document_indicator(&self) -> bool {
        matches!(self.byte(), b'-' | b'.') && (self.next_is_document_start() || self.next_is_document_end())
    }

    #[inline]
    fn next_is_document_start(&self) -> bool {
        self.next_3_are('-', '-', '-') && ends_indicator(self.peek_nth(3))
    }

    #[inline]
    fn next_is_document_end(&self) -> bool {
        self.next_3_are('.', '.', '.') && ends_indicator(self.peek_nth(3))
    }

    #[inline]
    fn next_can_be_plain_scalar(&self, in_flow: bool) -> bool {
        match self.peek() {
            ':' => {
                let next = self.peek_nth(1);
                !(ends_indicator(next) || in_flow && is_flow(next))
            }
            '\u{feff}' => false,
            next => !(in_flow && is_flow(next)),
        }
    }

    #[inline]
    fn next_is_blank_or_break(&self) -> bool {
        matches!(self.byte(), b' ' | b'\t' | b'\n' | b'\r')
    }

    #[inline]
    fn next_is_blank_or_breakz(&self) -> bool {
        matches!(self.byte(), b' ' | b'\t' | b'\n' | b'\r' | 0)
    }

    #[inline]
    fn next_is_blank(&self) -> bool {
        matches!(self.byte(), b' ' | b'\t')
    }

    #[inline]
    fn next_is_break(&self) -> bool {
        matches!(self.byte(), b'\n' | b'\r')
    }

    #[inline]
    fn next_is_breakz(&self) -> bool {
        matches!(self.byte(), b'\n' | b'\r' | 0)
    }

    #[inline]
    fn next_is_z(&self) -> bool {
        self.byte() == 0
    }

    /// Skips blanks and a comment up to the end of the line.
    fn skip_ws_to_eol(&mut self, skip_tabs: SkipTabs) -> (usize, Result<SkipTabs, &'static str>) {
        let (mut tabs, mut spaces, mut count) = (false, false, 0);
        loop {
            match self.byte() {
                b' ' => spaces = true,
                b'\t' if skip_tabs != SkipTabs::No => tabs = true,
                _ => break,
            }
            self.at += 1;
            count += 1;
        }
        if self.byte() == b'#' {
            if !tabs && !spaces {
                return (count, Err("comments must be separated from other tokens by whitespace"));
            }
            count += self.skip_while_non_breakz();
        }
        (count, Ok(SkipTabs::Result(tabs, spaces)))
    }

    fn skip_while_non_breakz(&mut self) -> usize {
        let mut count = 0;
        while self.raw_read_non_breakz_ch().is_some() {
            count += 1;
        }
        count
    }

    #[inline]
    fn skip_while_blank(&mut self) -> usize {
        let start = self.at;
        while self.next_is_blank() {
            self.at += 1;
        }
        self.at - start
    }
}

/// Whether an indicator such as `:` or `---` may end before this character.
fn ends_indicator(c: char) -> bool {
    is_blank(c) || is_break(c) || is_z(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use saphyr_parser::input::Input;
    use saphyr_parser::{Event, Parser, ScanError, Span};

    use super::TextInput;

    type Events = Vec<Result<(Event<'static>, Span), ScanError>>;

    fn events<T: Input>(mut parser: Parser<'static, T>) -> Events {
        let mut events = Vec::new();
        while let Some(event) = parser.next_event() {
            let is_error = event.is_err();
            events.push(event);
            if is_error {
                break;
            }
        }
        events
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn events_are_those_of_the_parsers_own_input(
            text in "( {0,20}(- |[a-c]: ?|\\? |---|\\.\\.\\.)?([&*!][a-c]+ )?([|>][-+1-3]?|'|\"|[\\[\\]{},:#]| {0,20}[a-zé🦀\t\\\\ ]{0,30})*\r?\n?){0,8}",
        ) {
            let own: &'static str = Box::leak(text.clone().into_boxed_str());
            prop_assert_eq!(events(Parser::new(TextInput::new(own))), events(Parser::new_from_str(own)), "{:?}", text);
        }
    }
}
