//! Reads the outputs of a job from the files that its script wrote.

use crate::{
    artifact::{ArtifactTransfer, reading::WorkspaceEntry},
    engine::WorkspaceMount,
    job::reporter::Reporter,
};
use indexmap::IndexMap;
use std::io::{self, Read};
use tidemill_core::execution::{
    failure::{FailureKind, FailureReason},
    outputs::{MAX_OUTPUT_BYTES, read},
};

/// Maximum number of files.
const MAX_FILES: usize = 100;

/// The files, each with its name.
#[derive(Default)]
struct OutputFiles {
    files: Vec<(String, Vec<u8>)>,
    has_more: bool,
    /// Size of the files, as far as they are read.
    bytes: usize,
}

impl OutputFiles {
    fn read_file(&mut self, entry: &mut WorkspaceEntry<'_>) -> io::Result<()> {
        if !entry.header().entry_type().is_file() {
            return Ok(());
        }
        // Before its bytes are read: a sparse file has any size.
        if entry.size() > MAX_OUTPUT_BYTES as u64 {
            return Err(io::Error::other(format!(
                "a file has more than {} KiB; hand larger values on as `artifacts`",
                MAX_OUTPUT_BYTES >> 10
            )));
        }
        if self.files.len() >= MAX_FILES {
            self.has_more = true;
            return Ok(());
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut bytes = Vec::new();
        let remaining = (MAX_OUTPUT_BYTES + 1).saturating_sub(self.bytes) as u64;
        self.bytes += entry.take(remaining).read_to_end(&mut bytes)?;
        self.files.push((name, bytes));
        Ok(())
    }
}

/// Reads the outputs in the files that match `globs`, and adds them to `known`. A file that is malformed, too large, or contains a secret is an error of
/// the job.
pub async fn collect(
    transfer: &ArtifactTransfer,
    workspace: &WorkspaceMount,
    globs: &[String],
    known: &IndexMap<String, String>,
    reporter: &Reporter,
) -> Result<IndexMap<String, String>, FailureReason> {
    let mut outputs = known.clone();
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
    if found.bytes > MAX_OUTPUT_BYTES {
        return Err(failed(format!(
            "the files have more than {} KiB; hand larger values on as `artifacts`",
            MAX_OUTPUT_BYTES >> 10
        )));
    }
    let mask = reporter.mask();
    for (name, bytes) in found.files {
        let text = String::from_utf8(bytes).map_err(|_| failed(format!("`{name}` is not UTF-8")))?;
        // Outputs are stored in the server's records, where no secret may be. One with a `=` would be split into name and value.
        if mask.contains_secret(&text) {
            return Err(failed(format!("`{name}` contains a secret; name the secret in the other job")));
        }
        read(&text, &mut outputs).map_err(|error| failed(format!("`{name}`: {error}")))?;
    }
    Ok(outputs)
}
