//! The service for jobs.

use crate::{
    access::{
        caller::Caller, id_tokens::IdTokenService, registries::RegistryService, secrets::SecretService,
        variables::VariableService,
    },
    context::service_context::Context,
    error::Result,
    ports::NodeBody,
    repositories::service::RepositoryService,
};
use std::{collections::BTreeSet, sync::Arc};
use tidemill_core::access::Scope;
use tidemill_core::ids::{JobId, job_token::JobToken};

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
    pub(super) id_tokens: IdTokenService,
}

impl JobExecutionService {
    pub(crate) const fn new(
        context: Arc<Context>,
        secrets: SecretService,
        registries: RegistryService,
        repositories: RepositoryService,
        variables: VariableService,
        id_tokens: IdTokenService,
    ) -> Self {
        Self { context, secrets, registries, repositories, variables, id_tokens }
    }

    /// Returns the caller that a job's token identifies: it may read what its repository has. `None`: the attempt has ended, or its
    /// commit comes from a fork.
    pub async fn token_caller(&self, token: &JobToken) -> Result<Option<Caller>> {
        let Some(node) = self.context.stores.records.job(token.job()).await? else { return Ok(None) };
        let NodeBody::Job(item) = &node.state.body else { return Ok(None) };
        let now = self.context.now();
        let lease = item.job.lease.as_ref().filter(|lease| !lease.is_expired(now));
        if !lease.is_some_and(|lease| token.belongs_to(lease.token)) {
            return Ok(None);
        }
        let execution = self.context.cached_execution(node.key.execution).await?;
        if execution.spec.facts.is_from_fork() {
            return Ok(None);
        }
        Ok(Some(Caller {
            id: token.job().to_string().into(),
            scopes: Arc::new(BTreeSet::from([Scope::Read])),
            repo: Some(execution.spec.repo.as_str().into()),
            ..Caller::internal(&format!("job {}", node.spec.name))
        }))
    }

    /// Returns the repository of a job's execution.
    pub async fn repo(&self, job: JobId) -> Result<String> {
        let node = self.context.job(job).await?;
        Ok(self.context.cached_execution(node.key.execution).await?.spec.repo.clone())
    }
}
