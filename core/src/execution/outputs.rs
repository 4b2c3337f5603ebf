//! Outputs of a job: variables that it hands to the jobs that need it.

use crate::pipeline::is_variable_name;
use crate::text::Printable;
use indexmap::IndexMap;

/// Maximum number of outputs of a job: the highest that GitLab offers.
pub const MAX_OUTPUTS: usize = 150;
/// Maximum total size of the files with a job's outputs in bytes, as in GitLab.
pub const MAX_OUTPUT_BYTES: usize = 5 << 10;

/// The outputs of a job that builds an image: the reference under which others use it, and its id.
pub const IMAGE_OUTPUTS: [&str; 2] = ["IMAGE_REFERENCE", "IMAGE_ID"];

/// Those variables of a running job that its image, the images of its services and the address of its environment may use: these
/// texts are complete when the job is due.
pub const DUE_VARIABLES: [&str; 3] = ["CI_PIPELINE_ID", "CI_PIPELINE_IID", "CI_JOB_ID"];

/// Whether texts that are complete when the job is due may use `name`, in addition to the names that all references may use.
#[must_use]
pub fn is_due_reference(name: &str) -> bool {
    DUE_VARIABLES.contains(&name)
}

/// Why outputs are rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// A line has no name and value.
    #[error("line {0} is not `NAME=value`; a value is on one line")]
    Line(usize),
    /// A name is not that of a variable.
    #[error(
        "line {line}: `{}` is not the name of a variable; it consists of letters, digits and `_`, without `export`",
        Printable(.name)
    )]
    Name {
        /// Number of the line, from 1.
        line: usize,
        /// The name, shortened.
        name: String,
    },
    /// A value that no variable can have.
    #[error("line {0} contains a NUL character")]
    Nul(usize),
    /// There are too many.
    #[error("there are more than {MAX_OUTPUTS} outputs")]
    TooMany,
    /// They are too large in total.
    #[error("the outputs have more than {} KiB", MAX_OUTPUT_BYTES >> 10)]
    TooLarge,
}

/// Adds the outputs in a file of lines `NAME=value` to `outputs`; later ones win. A value is text: neither quotes nor
/// variables have a meaning. Blank lines, lines that begin with `#`, and a byte order mark are skipped.
pub fn read(text: &str, outputs: &mut IndexMap<String, String>) -> Result<(), OutputError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let (name, value) = content.split_once('=').ok_or(OutputError::Line(line))?;
        let (name, value) = (name.trim(), value.trim());
        if !is_variable_name(name) {
            return Err(OutputError::Name { line, name: name.chars().take(50).collect() });
        }
        if value.contains('\0') {
            return Err(OutputError::Nul(line));
        }
        outputs.insert(name.to_owned(), value.to_owned());
    }
    check(outputs)
}

/// Checks number and size.
pub fn check(outputs: &IndexMap<String, String>) -> Result<(), OutputError> {
    if outputs.len() > MAX_OUTPUTS {
        return Err(OutputError::TooMany);
    }
    let bytes: usize = outputs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_OUTPUT_BYTES { Err(OutputError::TooLarge) } else { Ok(()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{IndexMap, MAX_OUTPUT_BYTES, MAX_OUTPUTS, OutputError, read};

    #[test]
    fn values_are_text() {
        let mut outputs = IndexMap::new();
        read("\u{feff}A=1\r\n\n# note\n B = two words $HOME \nC='x=y'\nD=\nA=2\n", &mut outputs).unwrap();
        let pairs: Vec<(&str, &str)> =
            outputs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("A", "2"), ("B", "two words $HOME"), ("C", "'x=y'"), ("D", "")]);
    }

    #[test]
    fn malformed_and_large_files_are_rejected() {
        let failure = |text: &str| read(text, &mut IndexMap::new()).unwrap_err();
        assert_eq!(failure("A=1\nexport"), OutputError::Line(2));
        assert_eq!(failure("A B=1"), OutputError::Name { line: 1, name: "A B".into() });
        assert_eq!(failure("export A=1"), OutputError::Name { line: 1, name: "export A".into() });
        assert_eq!(failure("A=1\nB=\0"), OutputError::Nul(2));
        assert_eq!(failure("=1"), OutputError::Name { line: 1, name: String::new() });
        let many: Vec<String> = (0..=MAX_OUTPUTS).map(|n| format!("V{n}=x\n")).collect();
        assert_eq!(failure(&many.concat()), OutputError::TooMany);
        assert_eq!(failure(&format!("A={}", "x".repeat(MAX_OUTPUT_BYTES))), OutputError::TooLarge);
    }
}
