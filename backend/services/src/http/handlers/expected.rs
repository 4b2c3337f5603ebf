//! Check of the repository that a caller expects: an operation on another repository changes nothing.

use crate::{
    error::{Error, Result},
    ports::repository_key,
    services::Services,
};
use tidemill_core::{
    api::ExpectedQuery,
    ids::{ExecutionId, JobId},
};

impl Services {
    /// Returns a conflict error if the execution is not of the repository that the caller expects.
    pub(in crate::http) async fn expect_execution(
        &self,
        expected: &ExpectedQuery,
        id: ExecutionId,
    ) -> Result<()> {
        let Some(repo) = &expected.repo else { return Ok(()) };
        check_repository(repo, &self.pipelines.repo(id).await?, &format!("execution {id}"))
    }

    /// Returns a conflict error if the job is not of the repository that the caller expects.
    pub(super) async fn expect_job(&self, expected: &ExpectedQuery, id: JobId) -> Result<()> {
        let Some(repo) = &expected.repo else { return Ok(()) };
        check_repository(repo, &self.jobs.repo(id).await?, &format!("job {id}"))
    }
}

fn check_repository(expected: &str, actual: &str, what: &str) -> Result<()> {
    if repository_key(expected) == repository_key(actual) {
        return Ok(());
    }
    Err(Error::Conflict(format!("{what} belongs to {actual}, not to {expected}; nothing was changed")))
}
