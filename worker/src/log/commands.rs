//! Finds the commands in a job's output that are annotations, for any chunking.

use super::mask::{MaskStream, SecretMask};
use tidemill_core::summary::{
    annotation::{Annotation, AnnotationSet},
    command::{CommandReader, MAX_COMMAND_LEN, PREFIX},
};

/// Searches the lines of the output, in time linear in its length and in bounded memory.
#[derive(Debug, Default)]
pub struct CommandScanner {
    reader: CommandReader,
    found: AnnotationSet,
    /// The current line, as long as it may be a command; at most one byte longer than a command.
    line: Vec<u8>,
    /// Whether the current line is no command.
    is_other: bool,
}

impl CommandScanner {
    /// Processes a chunk of output.
    pub fn push(&mut self, mask: &SecretMask, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest);
            self.add(&rest[..end.unwrap_or(rest.len())]);
            let Some(end) = end else { return };
            self.end_line(mask);
            rest = &rest[end + 1..];
        }
    }

    /// Returns the annotations at the end of the output.
    pub fn finish(mut self, mask: &SecretMask) -> AnnotationSet {
        self.end_line(mask);
        self.found
    }

    fn add(&mut self, part: &[u8]) {
        if self.is_other {
            return;
        }
        // Most lines end here, and nothing of them is copied.
        if self.line.is_empty() && !may_start_command(part) {
            self.is_other = true;
            return;
        }
        let remaining = (MAX_COMMAND_LEN + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..remaining.min(part.len())]);
        if !may_start_command(&self.line) {
            self.is_other = true;
        }
    }

    fn end_line(&mut self, mask: &SecretMask) {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.is_other) || line.is_empty() {
            return;
        }
        // Masked before anything is decoded or cut: a secret may extend over several properties.
        let masked = match line.get(..MAX_COMMAND_LEN) {
            // Its end may be the beginning of a secret.
            Some(start) if line.len() > MAX_COMMAND_LEN => {
                String::from_utf8_lossy(&mask.push(&mut MaskStream::default(), start)).into_owned()
            }
            _ => mask.mask_text(&String::from_utf8_lossy(&line)),
        };
        if let Some(annotation) = self.reader.read(&masked) {
            self.found.add(masked_annotation(mask, annotation));
        }
    }
}

/// Whether a line that starts with `bytes` may be a command.
fn may_start_command(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    start.len() < PREFIX.len() || start.starts_with(PREFIX.as_bytes())
}

/// Returns an annotation with its secrets masked.
pub fn masked_annotation(mask: &SecretMask, annotation: Annotation) -> Annotation {
    let masked = |text: Option<String>| text.map(|text| mask.mask_text(&text));
    Annotation {
        path: masked(annotation.path),
        title: masked(annotation.title),
        message: mask.mask_text(&annotation.message),
        ..annotation
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Annotation, CommandScanner, MAX_COMMAND_LEN};
    use crate::log::mask::SecretMask;
    use tidemill_core::summary::annotation::MAX_MESSAGE_LEN;

    fn scan(output: &[u8], size: usize, secrets: &[&str]) -> Vec<Annotation> {
        let mask = SecretMask::new(secrets.iter().copied()).unwrap();
        let mut scanner = CommandScanner::default();
        for chunk in output.chunks(size) {
            scanner.push(&mask, chunk);
        }
        scanner.finish(&mask).into_parts().0
    }

    #[test]
    fn annotations_are_found_in_lines_for_any_chunk_size() {
        let output = "before\n::error file=a.rs,line=3::first\r\nx ::error::no\n  ::warning::second\n\n: :error::no\n\
                      ::debug::no\n::notice::l\u{e4}st";
        for size in 1..output.len() {
            let found = scan(output.as_bytes(), size, &[]);
            let shown: Vec<_> = found
                .iter()
                .map(|one| (one.level.as_str(), one.place().unwrap_or_default(), one.message.as_str()))
                .collect();
            let expected = [
                ("failure", "a.rs:3".to_owned(), "first"),
                ("warning", String::new(), "second"),
                ("notice", String::new(), "l\u{e4}st"),
            ];
            assert_eq!(shown, expected, "in chunks of {size}");
        }
    }

    #[test]
    fn secrets_are_masked_in_every_part_and_encoding() {
        let secrets = ["s3cr%t,value", "first::second"];
        let output = "::error file=s3cr%25t%2Cvalue,title=s3cr%25t%2Cvalue::a s3cr%t,value b\n\
                      ::warning title=first::second::end\n::notice::s3cr%2525t%252Cvalue\n";
        for size in [1, 7, 1_000] {
            let found = scan(output.as_bytes(), size, &secrets);
            assert_eq!(found.len(), 3, "{found:?}");
            let shown = format!("{found:?}");
            for part in ["s3cr", "second", "first"] {
                assert!(!shown.contains(part), "{part}: {shown}");
            }
        }
    }

    #[test]
    fn long_line_is_cut_without_the_beginning_of_a_secret() {
        let start = "::error::".to_owned() + &"x".repeat(MAX_COMMAND_LEN - 13);
        let found = scan(format!("{start}secret-value\n::notice::next").as_bytes(), 1_000, &["secret-value"]);
        assert_eq!(found.len(), 2);
        assert!(found[0].message.len() <= MAX_MESSAGE_LEN && !found[0].message.contains("secr"));
        let blank = " ".repeat(2 * MAX_COMMAND_LEN);
        assert_eq!(scan((blank + "::error::no\n").as_bytes(), 1_000, &[]), []);
    }
}
