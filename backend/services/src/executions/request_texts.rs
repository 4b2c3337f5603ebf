//! Checks of displayed texts in requests: bounded length, and no control characters.

use crate::error::{Error, Result};
use tidemill_core::execution::assignment::Source;
use tidemill_core::repository::includes::check_pinned;
use tidemill_core::{
    api::{ArtifactUploadRequest, ExecuteRequest},
    pipeline::MAX_ARTIFACT_LABEL_LEN,
    repository::MAX_ADDRESS_LEN,
    text::{self, check_line},
};

/// Maximum length of a branch, a tag or a commit, in bytes.
const MAX_REF_LEN: usize = 512;
/// Maximum length of the name of the requester, in bytes.
const MAX_REQUESTER_LEN: usize = 200;
/// Maximum number of requested jobs.
const MAX_JOBS: usize = 200;
/// Maximum length of the name of a job, in bytes: 255 characters, and the values of a matrix.
const MAX_JOB_NAME_LEN: usize = 4_096;
/// Maximum length of the names of all requested jobs together, in bytes: executions are stored with them.
const MAX_JOB_NAMES_LEN: usize = 100 << 10;
/// Maximum length of the path of a pipeline file, in bytes.
const MAX_PATH_LEN: usize = 4_096;
/// Maximum length of the name of an artifact, in bytes: all of its declared paths.
const MAX_ARTIFACT_LEN: usize = 256 << 10;

fn check(field: &'static str, text: &str, max: usize) -> Result<()> {
    check_line(field, text, max).map_err(|error| Error::Unprocessable(error.to_string()))
}

/// Checks source and requester of a request to start an execution.
pub fn check_request(request: &ExecuteRequest) -> Result<()> {
    let optional = |field, text: &Option<String>, max| match text {
        Some(text) => check(field, text, max),
        None => Ok(()),
    };
    check("repo", &request.repo, MAX_ADDRESS_LEN)?;
    optional("branch", &request.branch, MAX_REF_LEN)?;
    optional("commit", &request.commit, MAX_REF_LEN)?;
    optional("tag", &request.tag, MAX_REF_LEN)?;
    optional("default_branch", &request.default_branch, MAX_REF_LEN)?;
    optional("file", &request.file, MAX_PATH_LEN)?;
    check_requester(request.requested_by.as_deref())?;
    check_jobs("jobs", &request.jobs)?;
    check_jobs("from", &request.from)?;
    check_pinned(&request.includes).map_err(|error| Error::Unprocessable(error.to_string()))?;
    match &request.source {
        Source::Git { url, branch, commit, .. } => {
            check("source.url", url, MAX_ADDRESS_LEN)?;
            optional("source.branch", branch, MAX_REF_LEN)?;
            check("source.commit", commit, MAX_REF_LEN)?;
        }
        Source::Uploaded { url, branch, commit, .. } => {
            optional("source.url", url, MAX_ADDRESS_LEN)?;
            optional("source.branch", branch, MAX_REF_LEN)?;
            check("source.commit", commit, MAX_REF_LEN)?;
        }
        Source::Snapshot { repository, branch, commit, .. } => {
            check("source.repository", repository, MAX_ADDRESS_LEN)?;
            optional("source.branch", branch, MAX_REF_LEN)?;
            check("source.commit", commit, MAX_REF_LEN)?;
        }
        Source::None => {}
    }
    Ok(())
}

/// Checks the names of requested jobs.
pub fn check_jobs(field: &'static str, names: &[String]) -> Result<()> {
    if names.len() > MAX_JOBS {
        return Err(Error::Unprocessable(format!("`{field}` names more than {MAX_JOBS} jobs")));
    }
    if names.iter().map(String::len).sum::<usize>() > MAX_JOB_NAMES_LEN {
        return Err(Error::Unprocessable(format!(
            "the names in `{field}` have more than {MAX_JOB_NAMES_LEN} bytes together"
        )));
    }
    names.iter().try_for_each(|name| check(field, name, MAX_JOB_NAME_LEN))
}

/// Checks the claimed name of the requester.
pub fn check_requester(requester: Option<&str>) -> Result<()> {
    match requester {
        Some(text) => check("requested_by", text, MAX_REQUESTER_LEN),
        None => Ok(()),
    }
}

/// Checks the paths, the name and the title of an artifact. Names of files in it are not checked; clients escape them.
pub fn check_artifact(request: &ArtifactUploadRequest) -> Result<()> {
    for (field, label) in [("name", &request.name), ("expose_as", &request.expose_as)] {
        if let Some(text) = label {
            check(field, text, MAX_ARTIFACT_LABEL_LEN)?;
        }
    }
    check("file_path", &request.file_path, MAX_ARTIFACT_LEN)
}

/// Sanitizes a name from a git provider: it is truncated instead of rejected, since the user cannot change it.
pub fn sanitize_name(name: &str) -> String {
    let mut cleaned = String::new();
    for c in name.chars().filter(|c| !text::is_control(*c)) {
        if cleaned.len() + c.len_utf8() > MAX_REQUESTER_LEN {
            break;
        }
        cleaned.push(c);
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::{check_jobs, sanitize_name};

    #[test]
    fn job_may_have_any_name_that_its_file_may_give_it() {
        let name = "\u{1f680}".repeat(255);
        assert!(check_jobs("jobs", std::slice::from_ref(&name)).is_ok());
        assert!(check_jobs("jobs", &["x".repeat(4_097)]).is_err());
        assert!(check_jobs("jobs", &vec![name; 150]).is_err(), "too much together");
        assert!(check_jobs("jobs", &vec!["x".repeat(500); 200]).is_ok());
        assert!(check_jobs("jobs", &vec!["x".to_owned(); 201]).is_err());
    }

    #[test]
    fn sanitize_removes_control_characters_and_truncates() {
        assert_eq!(sanitize_name("a\u{1b}[31mnn\n"), "a[31mnn");
        assert_eq!(sanitize_name(&"ä".repeat(500)).len(), 200);
    }
}
