//! The service for jobs.

use crate::{access::secrets::SecretService, context::service_context::Context, error::Result};
use std::sync::Arc;
use tidemill_core::ids::JobId;

/// Maximum number of attempts of a conditional write to a job.
pub(super) const MAX_ATTEMPTS: u32 = 1_000;

/// Service for jobs.
#[derive(Debug, Clone)]
pub struct JobExecutionService {
    pub(super) context: Arc<Context>,
    pub(super) secrets: SecretService,
}

impl JobExecutionService {
    pub(crate) fn new(context: Arc<Context>, secrets: SecretService) -> Self {
        Self { context, secrets }
    }

    /// Returns the repository of a job's execution.
    pub async fn repo(&self, job: JobId) -> Result<String> {
        let node = self.context.job(job).await?;
        Ok(self.context.cached_execution(node.key.execution).await?.spec.repo.clone())
    }
}
