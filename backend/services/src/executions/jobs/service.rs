//! The service for jobs.

use crate::{
    access::{registries::RegistryService, secrets::SecretService, variables::VariableService},
    context::service_context::Context,
    error::Result,
    repositories::service::RepositoryService,
};
use std::sync::Arc;
use tidemill_core::ids::JobId;

/// Maximum number of attempts of a conditional write to a job.
pub(super) const MAX_ATTEMPTS: u32 = 1_000;

/// Service for jobs.
#[derive(Debug, Clone)]
pub struct JobExecutionService {
    pub(super) context: Arc<Context>,
    pub(super) secrets: SecretService,
    pub(super) registries: RegistryService,
    pub(super) repositories: RepositoryService,
    pub(super) variables: VariableService,
}

impl JobExecutionService {
    pub(crate) const fn new(
        context: Arc<Context>,
        secrets: SecretService,
        registries: RegistryService,
        repositories: RepositoryService,
        variables: VariableService,
    ) -> Self {
        Self { context, secrets, registries, repositories, variables }
    }

    /// Returns the repository of a job's execution.
    pub async fn repo(&self, job: JobId) -> Result<String> {
        let node = self.context.job(job).await?;
        Ok(self.context.cached_execution(node.key.execution).await?.spec.repo.clone())
    }
}
