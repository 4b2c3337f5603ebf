//! What a call that changes something was meant for: it changes nothing of another repository.

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
    /// Refuses an execution that is of another repository than the caller expects.
    pub(super) async fn expect_execution(&self, expected: &ExpectedQuery, id: ExecutionId) -> Result<()> {
        let Some(repo) = &expected.repo else { return Ok(()) };
        must_be(repo, &self.pipelines.repo(id).await?, &format!("execution {id}"))
    }

    /// Refuses a job that is of another repository than the caller expects.
    pub(super) async fn expect_job(&self, expected: &ExpectedQuery, id: JobId) -> Result<()> {
        let Some(repo) = &expected.repo else { return Ok(()) };
        must_be(repo, &self.jobs.repo(id).await?, &format!("job {id}"))
    }
}

fn must_be(expected: &str, actual: &str, what: &str) -> Result<()> {
    if repository_key(expected) == repository_key(actual) {
        return Ok(());
    }
    Err(Error::Conflict(format!("{what} is of {actual}, not of {expected}; nothing was changed")))
}
