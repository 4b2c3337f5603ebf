//! What a worker discovered at a commit.

use crate::execution::facts::{CommitDetails, ComparedPaths};
use crate::repository::includes::{PinnedInclude, PinnedIncludesError, check_pinned};
use crate::{
    ids::{JobId, LeaseToken},
    pipeline::MAX_FILE_BYTES,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The pipeline name of discovery executions; no pipeline file may start an execution of this name.
pub const PIPELINE_NAME: &str = "discover";
/// Maximum number of pipeline files processed per commit.
pub const MAX_PIPELINE_FILES: usize = 100;
/// Maximum number of reported paths. With more, the list is omitted, and conditions on it hold.
pub const MAX_CHANGED_PATHS: usize = 10_000;
/// Maximum number of refs whose changed paths are reported; others are unknown, and conditions on them hold.
pub const MAX_COMPARED_REFS: usize = 50;
/// Maximum length of a reported path in bytes.
pub const MAX_PATH_LEN: usize = 4_096;
/// Maximum total length in bytes of the paths of a commit, or of its changed paths. With more, the list is omitted.
pub const MAX_PATHS_BYTES: usize = 1 << 20;
/// Maximum total size in bytes of all pipeline files of a commit with the files that they include, both as read and
/// after resolving the includes.
pub const MAX_FILES_BYTES: usize = 4 << 20;
/// Maximum number of entries in the folder of pipeline files.
pub const MAX_DIRECTORY_ENTRIES: usize = 10_000;
/// Maximum size in bytes of the diagnostics shown for one file.
pub const MAX_DIAGNOSTICS_BYTES: usize = 16 << 10;

/// A pipeline file at a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PipelineFile {
    /// Path in the repository.
    pub path: String,
    /// Its text with includes resolved; for GitLab's file, the native text that it is translated to.
    pub text: String,
    /// The files from elsewhere that it includes, with their versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<PinnedInclude>,
}

/// The result of a discovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiscoveryReport {
    /// The discovery job.
    pub job_id: JobId,
    /// Its lease.
    pub lease: LeaseToken,
    /// The full hash of the commit.
    pub commit: String,
    /// What is known of the commit.
    #[serde(default)]
    pub details: CommitDetails,
    /// Pipeline files, by path; at most [`MAX_PIPELINE_FILES`].
    pub files: Vec<PipelineFile>,
    /// Paths that the commit changed; absent if unknown or too many.
    #[serde(default)]
    pub changed: Option<Vec<String>>,
    /// Paths that changed since the refs that conditions of the files compare with; null: there is no such ref.
    #[serde(default, skip_serializing_if = "ComparedPaths::is_empty")]
    pub compared: ComparedPaths,
    /// Paths of all files at the commit; absent if too many.
    #[serde(default)]
    pub paths: Option<Vec<String>>,
    /// Whether the commit's message asks that the push starts nothing. Then no file was read, and nothing follows from their absence.
    #[serde(default)]
    pub skipped: bool,
    /// Whether files were left out because they have errors, which the job's log shows. Nothing follows from their absence.
    #[serde(default)]
    pub incomplete: bool,
}

/// Why a discovery report is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The commit is not a full hash.
    #[error("`commit` is not the full hash of a commit")]
    Commit,
    /// There are too many pipeline files.
    #[error("the commit has {0} pipeline files; the limit is {MAX_PIPELINE_FILES}")]
    TooManyFiles(usize),
    /// A pipeline file is too large.
    #[error("{path} has {bytes} bytes; the limit is {MAX_FILE_BYTES}")]
    FileTooLarge {
        /// Its path.
        path: String,
        /// Its size.
        bytes: usize,
    },
    /// All pipeline files together are too large.
    #[error("the pipeline files of the commit have {0} bytes in total; the limit is {MAX_FILES_BYTES}")]
    FilesTooLarge(usize),
    /// A list of paths is too long.
    #[error(
        "`{list}` has more than {MAX_CHANGED_PATHS} paths or {MAX_PATHS_BYTES} bytes; omit it if there are more"
    )]
    TooManyPaths {
        /// `changed` or `paths`.
        list: &'static str,
    },
    /// There are too many refs, or one with a long name.
    #[error("`compared` has more than {MAX_COMPARED_REFS} refs, or one of more than {MAX_PATH_LEN} bytes")]
    TooManyRefs,
    /// The included files of a pipeline file are not valid.
    #[error("{path}: {error}")]
    Includes {
        /// The path of the pipeline file.
        path: String,
        /// The violation.
        error: PinnedIncludesError,
    },
    /// A path is not valid in a repository.
    #[error(
        "invalid path {0:?}: a path must be relative to the repository, without control characters, and at most {MAX_PATH_LEN} bytes long"
    )]
    Path(String),
}

impl DiscoveryReport {
    /// Checks the limits and the form of the report, which may be under the control of an untrusted commit.
    ///
    /// # Errors
    /// Returns the first violation.
    pub fn validate(&self) -> Result<(), ReportError> {
        let is_hash =
            matches!(self.commit.len(), 40 | 64) && self.commit.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_hash {
            return Err(ReportError::Commit);
        }
        if self.files.len() > MAX_PIPELINE_FILES {
            return Err(ReportError::TooManyFiles(self.files.len()));
        }
        let mut sum = 0_usize;
        for file in &self.files {
            check_path(&file.path)?;
            if file.text.len() > MAX_FILE_BYTES {
                return Err(ReportError::FileTooLarge { path: file.path.clone(), bytes: file.text.len() });
            }
            sum = sum.saturating_add(file.text.len());
            check_pinned(&file.includes)
                .map_err(|error| ReportError::Includes { path: file.path.clone(), error })?;
        }
        if sum > MAX_FILES_BYTES {
            return Err(ReportError::FilesTooLarge(sum));
        }
        check_compared(&self.compared)?;
        for (list, paths) in [("changed", &self.changed), ("paths", &self.paths)] {
            check_paths(list, paths.as_deref())?;
        }
        Ok(())
    }
}

/// Checks the limits of the lists of paths that changed since other refs.
///
/// # Errors
/// Returns the first violation.
pub fn check_compared(compared: &ComparedPaths) -> Result<(), ReportError> {
    if compared.len() > MAX_COMPARED_REFS || compared.keys().any(|name| name.len() > MAX_PATH_LEN) {
        return Err(ReportError::TooManyRefs);
    }
    let bytes =
        compared.values().flatten().flatten().fold(0_usize, |sum, path| sum.saturating_add(path.len()));
    if bytes > MAX_PATHS_BYTES {
        return Err(ReportError::TooManyPaths { list: "compared" });
    }
    compared.values().flatten().try_for_each(|paths| check_paths("compared", Some(paths)))
}

/// Checks the limits of a list of paths.
pub(super) fn check_paths(list: &'static str, paths: Option<&[String]>) -> Result<(), ReportError> {
    let paths = paths.unwrap_or_default();
    let bytes = paths.iter().fold(0_usize, |sum, path| sum.saturating_add(path.len()));
    if paths.len() > MAX_CHANGED_PATHS || bytes > MAX_PATHS_BYTES {
        return Err(ReportError::TooManyPaths { list });
    }
    match paths.iter().find(|path| path.len() > MAX_PATH_LEN) {
        Some(path) => Err(ReportError::Path(path.chars().take(80).collect())),
        None => Ok(()),
    }
}

/// Checks the path of a pipeline file.
pub(super) fn check_path(path: &str) -> Result<(), ReportError> {
    let is_path = !path.is_empty()
        && path.len() <= MAX_PATH_LEN
        && !path.starts_with('/')
        && !path.chars().any(char::is_control);
    if is_path { Ok(()) } else { Err(ReportError::Path(path.chars().take(80).collect())) }
}

/// The reply to a discovery report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiscoveryReply {
    /// Lines for the job's log: which pipelines start, which do not, and why.
    pub lines: Vec<String>,
    /// Whether a file is invalid, so that the discovery job fails.
    #[serde(default)]
    pub failed: bool,
}

#[cfg(test)]
mod tests {
    use super::{
        ComparedPaths, DiscoveryReport, MAX_CHANGED_PATHS, MAX_FILES_BYTES, MAX_PATHS_BYTES,
        MAX_PIPELINE_FILES, PipelineFile, ReportError,
    };
    use crate::{
        ids::{JobId, LeaseToken},
        pipeline::MAX_FILE_BYTES,
    };
    use uuid::Uuid;

    fn report(files: Vec<PipelineFile>, paths: Option<Vec<String>>) -> DiscoveryReport {
        let commit = "a".repeat(40);
        let (job_id, lease) = (JobId(Uuid::nil()), LeaseToken(Uuid::nil()));
        DiscoveryReport {
            job_id,
            lease,
            commit,
            details: crate::execution::facts::CommitDetails::default(),
            files,
            changed: None,
            compared: ComparedPaths::new(),
            paths,
            skipped: false,
            incomplete: false,
        }
    }

    fn file(path: &str, bytes: usize) -> PipelineFile {
        PipelineFile { path: path.to_owned(), text: "x".repeat(bytes), includes: Vec::new() }
    }

    #[test]
    fn report_within_limits_is_accepted() {
        let files = (0..MAX_PIPELINE_FILES).map(|at| file(&format!(".pipelines/{at}.yml"), 100)).collect();
        let paths = (0..MAX_CHANGED_PATHS).map(|at| format!("src/{at}")).collect();
        assert_eq!(report(files, Some(paths)).validate(), Ok(()));
    }

    #[test]
    fn report_beyond_limit_is_rejected() {
        let many =
            |count: usize, bytes: usize| Some((0..count).map(|_| "x".repeat(bytes)).collect::<Vec<_>>());
        let files = |count: usize, bytes: usize| (0..count).map(|_| file("a.yml", bytes)).collect::<Vec<_>>();
        assert_eq!(
            report(files(MAX_PIPELINE_FILES + 1, 1), None).validate(),
            Err(ReportError::TooManyFiles(MAX_PIPELINE_FILES + 1))
        );
        assert!(matches!(
            report(files(1, MAX_FILE_BYTES + 1), None).validate(),
            Err(ReportError::FileTooLarge { .. })
        ));
        assert!(matches!(
            report(files(5, MAX_FILES_BYTES / 4), None).validate(),
            Err(ReportError::FilesTooLarge(_))
        ));
        for paths in [many(MAX_CHANGED_PATHS + 1, 1), many(3_000, MAX_PATHS_BYTES / 3_000 + 1)] {
            assert_eq!(
                report(Vec::new(), paths).validate(),
                Err(ReportError::TooManyPaths { list: "paths" })
            );
        }
        assert!(matches!(report(Vec::new(), many(1, 5_000)).validate(), Err(ReportError::Path(_))));
        for path in ["", "/etc/passwd", "a\u{1b}[31m.yml", &"x".repeat(5_000)] {
            assert!(
                matches!(report(vec![file(path, 1)], None).validate(), Err(ReportError::Path(_))),
                "{path}"
            );
        }
        let short = DiscoveryReport { commit: "abc".to_owned(), ..report(Vec::new(), None) };
        assert_eq!(short.validate(), Err(ReportError::Commit));
    }
}
