//! Texts in which parts were replaced, and where these parts stood.

use crate::text::diagnostics::Location;

/// A part of a text, from a position up to the next part.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// Its first line and column in the text, counted from 1.
    at: (usize, usize),
    /// The same in the original.
    origin: (usize, usize),
    /// Whether it is what stood there.
    is_copy: bool,
}

/// A text that was made from another one by replacing parts of it.
#[derive(Debug, Default)]
pub(crate) struct ReplacedText {
    pub(crate) text: String,
    parts: Vec<Part>,
    at: (usize, usize),
    origin: (usize, usize),
}

impl ReplacedText {
    /// Appends what stands next in the original.
    pub(crate) fn copy(&mut self, text: &str) {
        self.begin(true);
        self.text.push_str(text);
        self.at = after(self.at, text);
        self.origin = after(self.origin, text);
    }

    /// Appends `with` in the place of what stands next in the original.
    pub(crate) fn replace(&mut self, original: &str, with: &str) {
        self.begin(false);
        self.text.push_str(with);
        self.at = after(self.at, with);
        self.origin = after(self.origin, original);
    }

    fn begin(&mut self, is_copy: bool) {
        if self.parts.is_empty() {
            (self.at, self.origin) = ((1, 1), (1, 1));
        }
        self.parts.push(Part { at: self.at, origin: self.origin, is_copy });
    }

    /// Returns the location in the original of a location in the text.
    pub(crate) fn original(&self, location: Location) -> Location {
        let start = self.position((location.line, location.column));
        let end = self.position((location.line, location.column + location.length));
        let length = if start.0 == end.0 { end.1.saturating_sub(start.1) } else { location.length };
        Location { line: start.0, column: start.1, length }
    }

    fn position(&self, at: (usize, usize)) -> (usize, usize) {
        let next = self.parts.partition_point(|part| part.at <= at);
        let Some(part) = next.checked_sub(1).and_then(|index| self.parts.get(index)) else { return at };
        match at.0.checked_sub(part.at.0) {
            _ if !part.is_copy => part.origin,
            Some(0) => (part.origin.0, part.origin.1 + (at.1 - part.at.1)),
            Some(lines) => (part.origin.0 + lines, at.1),
            None => at,
        }
    }
}

/// Returns the position after a text.
fn after((line, column): (usize, usize), text: &str) -> (usize, usize) {
    match text.rsplit_once('\n') {
        None => (line, column + text.chars().count()),
        Some((before, last)) => (line + before.matches('\n').count() + 1, last.chars().count() + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::ReplacedText;
    use crate::text::diagnostics::Location;

    #[test]
    fn locations_are_those_of_the_original() {
        let mut text = ReplacedText::default();
        text.copy("a: 1\nb: x");
        text.replace("$[[ inputs.long ]]", "y");
        text.copy("z, c\nd: ");
        text.replace("$[[ i ]]", "1\n2");
        text.copy(" e\n");
        assert_eq!(text.text, "a: 1\nb: xyz, c\nd: 1\n2 e\n");
        let at = |line, column| {
            let found = text.original(Location { line, column, length: 1 });
            (found.line, found.column)
        };
        assert_eq!(at(1, 4), (1, 4));
        assert_eq!(at(2, 5), (2, 5));
        assert_eq!(at(2, 6), (2, 23));
        assert_eq!(at(3, 1), (3, 1));
        assert_eq!(at(3, 4), (3, 4));
        assert_eq!(at(4, 3), (3, 13));
    }
}
