//! Starts a pipeline of a registered repository at the head of a branch: a discovery that reads and starts one file, whatever its
//! triggers are.

use super::discoveries::DiscoveryService;
use crate::{
    access::caller::Caller,
    error::{Error, Result},
    executions::{
        idempotency_keys::IdempotencyKey,
        pipeline::discovery_start::{DiscoveryStart, start_discovery},
    },
};
use tidemill_core::{
    api::{ExecuteReply, RunPipelineRequest, Trigger},
    execution::{discovery::Discovery, facts::Facts},
};

impl DiscoveryService {
    /// Starts the discovery. Its log says which execution it started.
    pub async fn run_pipeline(&self, request: RunPipelineRequest, by: &Caller) -> Result<ExecuteReply> {
        request.check().map_err(|error| Error::Unprocessable(error.to_string()))?;
        let RunPipelineRequest { repo, path, branch, inputs } = request;
        let repository = self.repositories.get(&repo).await?;
        let default_branch = repository.default_branch().map(str::to_owned);
        let branch = branch.or_else(|| default_branch.clone());
        let fetch_ref =
            branch.as_ref().map_or_else(|| "HEAD".to_owned(), |name| format!("refs/heads/{name}"));
        let facts = Facts { trigger: Trigger::Manual, branch, default_branch, ..Facts::default() };
        let discovery = Discovery {
            fetch_ref: Some(fetch_ref),
            only: vec![path.clone()],
            start_only: vec![path],
            inputs: inputs.into_iter().map(|(name, value)| (name, value.to_text())).collect(),
            ..Discovery::default()
        };
        let start = DiscoveryStart {
            facts,
            discovery,
            requested_by: Some(by.name.to_string()),
            started_by: by.starter_id(),
            parent: None,
        };
        let key = IdempotencyKey::Sync { id: self.context.stores.ids.execution() };
        start_discovery(&self.pipelines, &self.context, &repository, start, key).await
    }
}
