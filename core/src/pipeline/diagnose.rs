//! Converts findings into diagnostics by looking up their positions in the text.

use super::compose::include::SourceFile;
use super::finding::{Finding, FindingLocation, Path};
use super::yaml::limits::MAX_FILE_BYTES;
use super::yaml::tree::{Tree, split_file_index};
use crate::text::diagnostics::{Diagnostic, Location, Related};

/// Converts a finding into a diagnostic, with its position in `tree`.
pub(crate) fn to_diagnostic(finding: &Finding, tree: Option<&Tree>) -> Diagnostic {
    let locate = |spot: &FindingLocation| -> Option<Location> {
        match spot {
            FindingLocation::Position(_, location) => Some(*location),
            FindingLocation::Path(path, part) => tree.map(|tree| tree.locate(path, *part)),
            FindingLocation::TextRange(path, at, length) => {
                tree.map(|tree| tree.locate_within(path, *at, *length))
            }
        }
    };
    let (FindingLocation::Position(path, _)
    | FindingLocation::Path(path, _)
    | FindingLocation::TextRange(path, ..)) = &finding.location;
    let related = finding.related.iter().filter_map(|(message, spot)| {
        locate(spot).map(|location| Related { message: message.clone(), location, file: None })
    });
    Diagnostic {
        severity: finding.severity,
        code: finding.code.to_owned(),
        message: finding.message.clone(),
        path: path.to_string(),
        location: locate(&finding.location),
        file: None,
        help: finding.help.clone(),
        related: related.collect(),
    }
}

/// Converts positions in the composed document into positions in one of `files`.
pub(crate) fn locate_in_files(files: &[SourceFile], mut diagnostic: Diagnostic) -> Diagnostic {
    let name = |file: usize| files.get(file).filter(|_| file > 0).map(|file| file.name.clone());
    if let Some(location) = &mut diagnostic.location {
        let (file, within) = split_file_index(*location);
        *location = within;
        diagnostic.file = name(file);
    }
    for related in &mut diagnostic.related {
        let (file, within) = split_file_index(related.location);
        related.location = within;
        related.file = name(file);
    }
    diagnostic
}

/// Returns an error if a file of `bytes` bytes is too large.
pub(crate) fn check_size(bytes: usize) -> Result<(), Box<Diagnostic>> {
    if bytes <= MAX_FILE_BYTES {
        return Ok(());
    }
    let message =
        format!("this file has {bytes} bytes, and a pipeline file may have {MAX_FILE_BYTES} (1 MiB)");
    Err(Box::new(file_too_large(message)))
}

/// The diagnostic of a pipeline that is too large, alone or with the files that it includes.
pub(crate) fn file_too_large(message: String) -> Diagnostic {
    let finding = Finding::value("file-too-large", &Path::default(), message)
        .help("keep data and long scripts in files of the repository");
    to_diagnostic(&finding, None)
}
