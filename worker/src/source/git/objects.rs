//! Reads any number of files of a commit with two git processes, within limits.

use super::{
    listing::{self, MAX_PATH_LEN},
    process::{ProcessLimits, QueryProcess},
};
use crate::source::git::{self, SourceError};
use std::{
    fmt::Display,
    path::{Path, PathBuf},
};
use tidemill_core::execution::discovery::MAX_FILES_BYTES;
use tidemill_core::execution::facts::CommitDetails;
use tidemill_core::pipeline::{FileError, MAX_FILE_BYTES};

/// Maximum length of a line that describes an object; it repeats the requested path.
const MAX_LINE_LEN: usize = MAX_PATH_LEN + 256;

/// Reads files of one commit.
#[derive(Debug)]
pub struct FileReader {
    repo: PathBuf,
    commit: String,
    limits: ProcessLimits<'static>,
    /// Remaining bytes that may be read.
    remaining: usize,
    processes: Option<CatFileProcesses>,
}

/// One process reports the type and size of objects; the other one returns their content.
#[derive(Debug)]
struct CatFileProcesses {
    check: QueryProcess,
    content: QueryProcess,
}

impl FileReader {
    /// Creates a reader of the files at `commit` in `repo`; processes start when first needed.
    pub fn new(repo: &Path, commit: &str, limits: ProcessLimits<'static>) -> Self {
        let (repo, commit) = (repo.to_owned(), commit.to_owned());
        Self { repo, commit, limits, remaining: MAX_FILES_BYTES, processes: None }
    }

    /// Returns whether `path` is a file.
    pub fn is_file(&mut self, path: &str) -> bool {
        self.describe(path)
            .is_ok_and(|line| listing::parse_object_header(&line).is_some_and(|object| object.is_blob))
    }

    /// Returns git's description of the object at `path`.
    fn describe(&mut self, path: &str) -> Result<String, FileError> {
        if path.chars().any(char::is_control) || path.len() > MAX_PATH_LEN {
            return Err(FileError::Path);
        }
        let request = format!("{}:{path}", self.commit);
        let check = &mut self.processes().map_err(failed)?.check;
        check.send_request(&request).map_err(failed)?;
        check.read_line(MAX_LINE_LEN).map_err(failed)
    }

    /// Returns the text of the file at `path`.
    pub fn read(&mut self, path: &str) -> Result<String, FileError> {
        let line = self.describe(path)?;
        let object = listing::parse_object_header(&line).ok_or(FileError::Missing)?;
        if !object.is_blob {
            return Err(FileError::NotAFile);
        }
        let size = usize::try_from(object.size).unwrap_or(usize::MAX);
        if size > MAX_FILE_BYTES {
            return Err(FileError::TooLarge(MAX_FILE_BYTES));
        }
        let remaining = self.remaining.checked_sub(size);
        self.remaining = remaining.ok_or(FileError::TooLargeTogether(MAX_FILES_BYTES))?;
        let content = &mut self.processes().map_err(failed)?.content;
        content.send_request(object.hash).map_err(failed)?;
        let line = content.read_line(MAX_LINE_LEN).map_err(failed)?;
        if listing::parse_object_header(&line).is_none_or(|described| described.size != object.size) {
            return Err(failed("git cannot read an object that it has just described"));
        }
        let mut bytes = content.read_bytes(size + 1).map_err(failed)?;
        bytes.truncate(size);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn processes(&mut self) -> Result<&mut CatFileProcesses, SourceError> {
        let processes = if let Some(processes) = self.processes.take() {
            processes
        } else {
            let start = |mode| QueryProcess::start(git::at(&self.repo).args(["cat-file", mode]), self.limits);
            CatFileProcesses { check: start("--batch-check")?, content: start("--batch")? }
        };
        Ok(self.processes.insert(processes))
    }
}

/// Converts an error of git.
fn failed(error: impl Display) -> FileError {
    FileError::Repository(error.to_string())
}

/// Reads the message and the author of a commit.
pub fn commit_details(
    repo: &Path,
    commit: &str,
    limits: ProcessLimits<'_>,
) -> Result<CommitDetails, SourceError> {
    let mut command = git::at(repo);
    command.args(["log", "-1", "--no-show-signature", "--format=%an <%ae>%n%B", commit, "--"]);
    let text = git::run_limited(&mut command, limits)?;
    let (author, message) = text.split_once('\n').unwrap_or((&text, ""));
    Ok(CommitDetails::new(message, author))
}
