//! Where rows go, and files that are complete or not there.

use crate::failure::{Failure, Outcome};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tidemill_core::api::ExportPage;

/// The tables, which are the names of files, too.
pub const TABLES: [&str; 3] = ["executions", "jobs", "artifacts"];

/// Where rows go.
pub trait Sink {
    /// Adds the rows of a page.
    fn add(&mut self, page: &ExportPage) -> Outcome;
    /// Completes the output.
    fn finish(self: Box<Self>) -> Outcome;
}

/// A file that has its name only once it is complete.
pub struct PendingFile {
    pending: PathBuf,
    complete: PathBuf,
}

impl PendingFile {
    /// Creates the file of a table in a directory. Unless `force` is set, none may be there.
    pub fn new(dir: &Path, table: &str, ending: &str, force: bool) -> Outcome<Self> {
        let complete = dir.join(format!("{table}.{ending}"));
        if complete.exists() && !force {
            return Err(Failure::usage(format!(
                "{} exists; replace it with --force, or choose another directory",
                complete.display()
            )));
        }
        Ok(Self { pending: dir.join(format!("{table}.{ending}.partial")), complete })
    }

    /// Opens the incomplete file.
    pub fn open(&self) -> Outcome<fs::File> {
        fs::File::create(&self.pending).map_err(|error| {
            Failure::system(format!("{} cannot be written: {error}", self.pending.display()))
        })
    }

    /// Gives the file its name.
    pub fn complete(&self) -> Outcome {
        Ok(fs::rename(&self.pending, &self.complete)?)
    }
}
