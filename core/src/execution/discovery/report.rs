//! What a worker found at a commit.

use crate::{
    ids::{JobId, LeaseToken},
    pipeline::MAX_FILE_BYTES,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The pipeline name of executions that look at a commit; no execution of a file is meant by it.
pub const PIPELINE_NAME: &str = "discover";
/// The most pipeline files of one commit that are looked at.
pub const MOST_FILES: usize = 100;
/// The most changed paths that are told; of more, nothing is said, so that every condition on changes holds.
pub const MAX_CHANGED_PATHS: usize = 10_000;
/// The longest path that is told, in bytes.
pub const MAX_PATH_LEN: usize = 4_096;
/// The most bytes that the paths of a commit, or those that it changed, may have together; of more, nothing is said.
pub const MAX_PATHS_BYTES: usize = 1 << 20;
/// The most bytes that are read of all pipeline files of a commit and what they include, and the most that they come to
/// when they are put together.
pub const MAX_FILES_BYTES: usize = 4 << 20;
/// The most entries that the folder of pipeline files may have.
pub const MAX_DIRECTORY_ENTRIES: usize = 10_000;
/// The most bytes of the mistakes of one file that are shown.
pub const MAX_DIAGNOSTICS_BYTES: usize = 16 << 10;

/// A pipeline file as it is at a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PipelineFile {
    /// Path in the repository.
    pub path: String,
    /// Its text, what it includes put in; of GitLab's file, the native text that it is translated to.
    pub text: String,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiscoveryReport {
    /// The discovering job.
    pub job_id: JobId,
    /// Its lease.
    pub lease: LeaseToken,
    /// The full hash of the commit.
    pub commit: String,
    /// Pipeline files, by path; at most [`MOST_FILES`].
    pub files: Vec<PipelineFile>,
    /// Paths that the commit changed; absent where that is not known, or they are too many.
    #[serde(default)]
    pub changed: Option<Vec<String>>,
    /// Paths of all files at the commit; absent where they are too many.
    #[serde(default)]
    pub paths: Option<Vec<String>>,
}

/// Why a report on a commit is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The commit is not named by its full hash.
    #[error("`commit` is not the full hash of a commit")]
    Commit,
    /// There are more pipeline files than are looked at.
    #[error("the commit has {0} pipeline files; at most {MOST_FILES} of a commit are looked at")]
    TooManyFiles(usize),
    /// A pipeline file is too large.
    #[error("{path} has {bytes} bytes, and {MAX_FILE_BYTES} is the limit")]
    FileTooLarge {
        /// Which.
        path: String,
        /// Its size.
        bytes: usize,
    },
    /// All pipeline files together are too large.
    #[error("the pipeline files of the commit have {0} bytes in all, and {MAX_FILES_BYTES} is the limit")]
    FilesTooLarge(usize),
    /// A list of paths is too long.
    #[error(
        "`{list}` has more than {MAX_CHANGED_PATHS} paths or {MAX_PATHS_BYTES} bytes; leave it out where there are more"
    )]
    TooManyPaths {
        /// `changed` or `paths`.
        list: &'static str,
    },
    /// A path is none of a repository.
    #[error(
        "a path has {MAX_PATH_LEN} bytes at most, is relative to the repository, and has no control characters: {0:?}"
    )]
    Path(String),
}

impl DiscoveryReport {
    /// Whether what is told is within the limits and names what can be in a repository: it may be all that a stranger's commit says.
    ///
    /// # Errors
    /// The first thing that is not.
    pub fn check(&self) -> Result<(), ReportError> {
        let is_hash =
            matches!(self.commit.len(), 40 | 64) && self.commit.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_hash {
            return Err(ReportError::Commit);
        }
        if self.files.len() > MOST_FILES {
            return Err(ReportError::TooManyFiles(self.files.len()));
        }
        let mut sum = 0_usize;
        for file in &self.files {
            check_path(&file.path)?;
            if file.text.len() > MAX_FILE_BYTES {
                return Err(ReportError::FileTooLarge { path: file.path.clone(), bytes: file.text.len() });
            }
            sum = sum.saturating_add(file.text.len());
        }
        if sum > MAX_FILES_BYTES {
            return Err(ReportError::FilesTooLarge(sum));
        }
        for (list, paths) in [("changed", &self.changed), ("paths", &self.paths)] {
            let Some(paths) = paths else { continue };
            let bytes = paths.iter().fold(0_usize, |sum, path| sum.saturating_add(path.len()));
            if paths.len() > MAX_CHANGED_PATHS || bytes > MAX_PATHS_BYTES {
                return Err(ReportError::TooManyPaths { list });
            }
            if let Some(path) = paths.iter().find(|path| path.len() > MAX_PATH_LEN) {
                return Err(ReportError::Path(path.chars().take(80).collect()));
            }
        }
        Ok(())
    }
}

/// Whether a pipeline file's path is one.
fn check_path(path: &str) -> Result<(), ReportError> {
    let is_path = !path.is_empty()
        && path.len() <= MAX_PATH_LEN
        && !path.starts_with('/')
        && !path.chars().any(char::is_control);
    if is_path { Ok(()) } else { Err(ReportError::Path(path.chars().take(80).collect())) }
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiscoveryReply {
    /// Lines for the job's log: which pipelines start, which do not, and why.
    pub lines: Vec<String>,
    /// Whether a file has mistakes, so that the discovering job fails.
    #[serde(default)]
    pub failed: bool,
}

#[cfg(test)]
mod tests {
    use super::{
        DiscoveryReport, MAX_CHANGED_PATHS, MAX_FILES_BYTES, MAX_PATHS_BYTES, MOST_FILES, PipelineFile,
        ReportError,
    };
    use crate::{
        ids::{JobId, LeaseToken},
        pipeline::MAX_FILE_BYTES,
    };
    use uuid::Uuid;

    fn report(files: Vec<PipelineFile>, paths: Option<Vec<String>>) -> DiscoveryReport {
        let commit = "a".repeat(40);
        let (job_id, lease) = (JobId(Uuid::nil()), LeaseToken(Uuid::nil()));
        DiscoveryReport { job_id, lease, commit, files, changed: None, paths }
    }

    fn file(path: &str, bytes: usize) -> PipelineFile {
        PipelineFile { path: path.to_owned(), text: "x".repeat(bytes) }
    }

    #[test]
    fn report_within_limits_is_accepted() {
        let files = (0..MOST_FILES).map(|at| file(&format!(".pipelines/{at}.yml"), 100)).collect();
        let paths = (0..MAX_CHANGED_PATHS).map(|at| format!("src/{at}")).collect();
        assert_eq!(report(files, Some(paths)).check(), Ok(()));
    }

    #[test]
    fn report_beyond_limit_is_rejected() {
        let many =
            |count: usize, bytes: usize| Some((0..count).map(|_| "x".repeat(bytes)).collect::<Vec<_>>());
        let files = |count: usize, bytes: usize| (0..count).map(|_| file("a.yml", bytes)).collect::<Vec<_>>();
        assert_eq!(
            report(files(MOST_FILES + 1, 1), None).check(),
            Err(ReportError::TooManyFiles(MOST_FILES + 1))
        );
        assert!(matches!(
            report(files(1, MAX_FILE_BYTES + 1), None).check(),
            Err(ReportError::FileTooLarge { .. })
        ));
        assert!(matches!(
            report(files(5, MAX_FILES_BYTES / 4), None).check(),
            Err(ReportError::FilesTooLarge(_))
        ));
        for paths in [many(MAX_CHANGED_PATHS + 1, 1), many(3_000, MAX_PATHS_BYTES / 3_000 + 1)] {
            assert_eq!(report(Vec::new(), paths).check(), Err(ReportError::TooManyPaths { list: "paths" }));
        }
        assert!(matches!(report(Vec::new(), many(1, 5_000)).check(), Err(ReportError::Path(_))));
        for path in ["", "/etc/passwd", "a\u{1b}[31m.yml", &"x".repeat(5_000)] {
            assert!(matches!(report(vec![file(path, 1)], None).check(), Err(ReportError::Path(_))), "{path}");
        }
        let short = DiscoveryReport { commit: "abc".to_owned(), ..report(Vec::new(), None) };
        assert_eq!(short.check(), Err(ReportError::Commit));
    }
}
