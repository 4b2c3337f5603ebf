//! Reads the outputs of a job from the files that its script wrote.

use super::reporter::Reporter;
use crate::{
    artifact::{ArtifactTransfer, reading::WorkspaceEntry},
    engine::WorkspaceMount,
};
use indexmap::IndexMap;
use std::io::{self, Read};
use tidemill_core::execution::{
    failure::{FailureKind, FailureReason},
    outputs::{MAX_OUTPUT_BYTES, read},
};

/// Maximum size of one file in bytes: comments and blank lines included.
const MAX_FILE_SIZE: u64 = 16 * MAX_OUTPUT_BYTES as u64;
/// Maximum number of files.
const MAX_FILES: usize = 100;

/// The files, each with its name.
#[derive(Default)]
struct OutputFiles {
    files: Vec<(String, Vec<u8>)>,
    has_more: bool,
}

impl OutputFiles {
    fn read_file(&mut self, entry: &mut WorkspaceEntry<'_>) -> io::Result<()> {
        if !entry.header().entry_type().is_file() {
            return Ok(());
        }
        if self.files.len() >= MAX_FILES {
            self.has_more = true;
            return Ok(());
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut bytes = Vec::new();
        entry.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes)?;
        self.files.push((name, bytes));
        Ok(())
    }
}

/// Reads the outputs in the files that match `globs`. A file that is malformed, too large, or contains a secret is an error of
/// the job.
pub async fn collect(
    transfer: &ArtifactTransfer,
    workspace: &WorkspaceMount,
    globs: &[String],
    reporter: &Reporter,
) -> Result<IndexMap<String, String>, FailureReason> {
    let mut outputs = IndexMap::new();
    if globs.is_empty() {
        return Ok(outputs);
    }
    reporter.phase("reading outputs");
    let (found, warnings) =
        transfer.read_files(workspace, globs, OutputFiles::default(), OutputFiles::read_file).await?;
    reporter.log(warnings.replace("artifacts:", "outputs:").as_bytes()).await;
    let failed = |what: String| {
        FailureReason::new(FailureKind::ArtifactFailed, format!("the outputs cannot be read: {what}"))
    };
    if found.has_more {
        return Err(failed(format!("more than {MAX_FILES} files match")));
    }
    for (name, bytes) in found.files {
        if bytes.len() as u64 > MAX_FILE_SIZE {
            return Err(failed(format!("`{name}` has more than {} KiB", MAX_FILE_SIZE >> 10)));
        }
        let text = String::from_utf8(bytes).map_err(|_| failed(format!("`{name}` is not UTF-8")))?;
        read(&text, &mut outputs).map_err(|error| failed(format!("`{name}`: {error}")))?;
    }
    // Outputs are stored in the server's records, where no secret may be.
    let mask = reporter.mask();
    if let Some((name, _)) = outputs.iter().find(|(_, value)| mask.contains_secret(value)) {
        return Err(failed(format!(
            "the value of `{name}` contains a secret; name the secret in the other job"
        )));
    }
    Ok(outputs)
}
