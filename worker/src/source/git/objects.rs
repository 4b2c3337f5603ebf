//! Reads files of a commit, in two processes however many they are, and with limits.

use super::{
    listing::{self, MAX_PATH_LEN},
    process::{ProcessLimits, QueryProcess},
};
use crate::source::git::{self, SourceError};
use std::path::{Path, PathBuf};
use tidemill_core::execution::discovery::MAX_FILES_BYTES;
use tidemill_core::pipeline::MAX_FILE_BYTES;

/// The longest line that describes an object: it repeats the path that was asked for.
const MAX_LINE_LEN: usize = MAX_PATH_LEN + 256;

/// Reads files of one commit.
#[derive(Debug)]
pub struct FileReader {
    repo: PathBuf,
    commit: String,
    watch: ProcessLimits<'static>,
    /// How many bytes may still be read.
    left: usize,
    processes: Option<CatFileProcesses>,
}

/// One process says what an object is, and so how large; another one gives its bytes.
#[derive(Debug)]
struct CatFileProcesses {
    describes: QueryProcess,
    reads: QueryProcess,
}

impl FileReader {
    /// A reader of the files at `commit` in `repo`; processes are started once they are needed.
    pub fn new(repo: &Path, commit: &str, watch: ProcessLimits<'static>) -> Self {
        let (repo, commit) = (repo.to_owned(), commit.to_owned());
        Self { repo, commit, watch, left: MAX_FILES_BYTES, processes: None }
    }

    /// Whether there is a file at `path`.
    pub fn is_file(&mut self, path: &str) -> bool {
        self.describe(path).is_ok_and(|line| listing::object(&line).is_some_and(|object| object.is_blob))
    }

    /// What git says of the object at `path`.
    fn describe(&mut self, path: &str) -> Result<String, String> {
        if path.chars().any(char::is_control) || path.len() > MAX_PATH_LEN {
            return Err("this is no path that is read".to_owned());
        }
        let failed = |error: SourceError| error.to_string();
        let question = format!("{}:{path}", self.commit);
        let describes = &mut self.processes().map_err(failed)?.describes;
        describes.ask(&question).map_err(failed)?;
        describes.line(MAX_LINE_LEN).map_err(failed)
    }

    /// The text of the file at `path`; or why there is none, in words that follow "cannot be read: ".
    pub fn read(&mut self, path: &str) -> Result<String, String> {
        let failed = |error: SourceError| error.to_string();
        let line = self.describe(path)?;
        let object = listing::object(&line).ok_or_else(|| format!("there is no file {path}"))?;
        if !object.is_blob {
            return Err(format!("{path} is no file"));
        }
        let size = usize::try_from(object.size).unwrap_or(usize::MAX);
        if size > MAX_FILE_BYTES {
            return Err(format!("{path} has {size} bytes, and {MAX_FILE_BYTES} is the limit"));
        }
        self.left = self.left.checked_sub(size).ok_or_else(|| {
            format!(
                "the pipeline files of this commit have more than {MAX_FILES_BYTES} bytes together, with what they include"
            )
        })?;
        let reads = &mut self.processes().map_err(failed)?.reads;
        reads.ask(object.hash).map_err(failed)?;
        let line = reads.line(MAX_LINE_LEN).map_err(failed)?;
        if listing::object(&line).is_none_or(|described| described.size != object.size) {
            return Err("git does not know an object that it has just described".to_owned());
        }
        let mut bytes = reads.bytes(size + 1).map_err(failed)?;
        bytes.truncate(size);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn processes(&mut self) -> Result<&mut CatFileProcesses, SourceError> {
        let processes = if let Some(processes) = self.processes.take() {
            processes
        } else {
            let start = |how| QueryProcess::start(git::at(&self.repo).args(["cat-file", how]), self.watch);
            CatFileProcesses { describes: start("--batch-check")?, reads: start("--batch")? }
        };
        Ok(self.processes.insert(processes))
    }
}
