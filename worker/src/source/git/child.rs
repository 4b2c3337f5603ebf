//! Reads the files of a pipeline that a job starts, from the sources or from an artifact of another job.

use super::{
    commit_files::{CommitFiles, READ_LIMITS, all_paths},
    objects::FileReader,
};
use crate::source::{bounds::OperationBounds, git::SourceError};
use std::{cell::RefCell, collections::BTreeSet, path::Path};
use tidemill_core::child::{ChildError, read_child};
use tidemill_core::execution::{
    discovery::ChildRequest,
    facts::{ComparedPaths, Facts},
};
use tidemill_core::gitlab::TranslateOptions;
use tidemill_core::pipeline::{FileError, IncludeSources, RepositoryFiles};
use tidemill_core::plan::compared_refs;
use tidemill_core::repository::includes::PinnedInclude;

/// What was read for a job that starts a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildFiles {
    /// The native text; otherwise the rendered diagnostics.
    pub text: Result<String, String>,
    /// Rendered warnings; empty if there are none.
    pub warnings: String,
    /// The files from elsewhere that they include, with their versions.
    pub includes: Vec<PinnedInclude>,
    /// Paths of all files of the sources, unless there are too many.
    pub paths: Option<Vec<String>>,
    /// The refs that its conditions compare changes with.
    pub refs: BTreeSet<String>,
    /// Paths that changed since those refs.
    pub compared: ComparedPaths,
}

/// Reads the files of a pipeline. `sources` are a repository and a commit or tree in it; `artifacts` are the texts of
/// its files of artifacts. `elsewhere` reads what the files include from elsewhere.
pub fn read_child_files(
    sources: Option<(&Path, &str)>,
    request: &ChildRequest,
    artifacts: &[String],
    elsewhere: &dyn IncludeSources,
) -> Result<ChildFiles, SourceError> {
    let paths = match sources {
        Some((repo, commit)) => all_paths(repo, commit)?,
        None => Some(Vec::new()),
    };
    let event = request.event.as_deref();
    let options = TranslateOptions {
        external: request.external.clone(),
        event: event.map(|facts| Box::new(Facts { files: paths.clone(), ..facts.clone() })),
        ..TranslateOptions::for_pipeline(&request.name)
    };
    let bounds = OperationBounds::current();
    let result = match sources {
        Some((repo, commit)) => {
            let reader = RefCell::new(FileReader::new(repo, commit, READ_LIMITS));
            let read = |path: &str| {
                bounds.check().map_err(|canceled| FileError::Repository(canceled.to_string()))?;
                reader.borrow_mut().read(path)
            };
            let files = CommitFiles { repo, commit, limits: READ_LIMITS, read: &read, elsewhere };
            read_child(&request.pipeline, artifacts, &files, &options)
        }
        None => read_child(&request.pipeline, artifacts, &NoSources(elsewhere), &options),
    };
    bounds.check()?;
    let mut refs = BTreeSet::new();
    let (text, warnings, includes) = match result {
        Ok(assembled) => {
            let warnings = assembled.render_warnings(false);
            let mut facts = event.cloned().unwrap_or_default();
            facts.add_external(request.external.clone());
            refs = compared_refs(&assembled.parsed.pipeline, &facts);
            (Ok(assembled.text), warnings, assembled.includes)
        }
        Err(ChildError::Unreadable { path, error }) => {
            (Err(format!("{path} cannot be read: {error}\n")), String::new(), Vec::new())
        }
        Err(ChildError::Invalid(errors)) => (Err(errors.render(false)), String::new(), Vec::new()),
    };
    Ok(ChildFiles { text, warnings, includes, paths, refs, compared: ComparedPaths::new() })
}

/// The files of a job without sources.
struct NoSources<'a>(&'a dyn IncludeSources);

impl RepositoryFiles for NoSources<'_> {
    fn read(&self, _: &str) -> Result<String, FileError> {
        Err(FileError::NoSources)
    }

    fn list(&self, _: &str) -> Result<Vec<String>, FileError> {
        Ok(Vec::new())
    }

    fn elsewhere(&self) -> &dyn IncludeSources {
        self.0
    }
}
