//! Starts a pipeline of a registered repository at the head of a branch: a discovery that reads and starts one file, whatever its
//! triggers are.

use super::discoveries::DiscoveryService;
use crate::{
    access::caller::Caller,
    error::{Error, Result},
    executions::{
        idempotency_keys::CallerKey,
        pipeline::discovery_start::{DiscoveryStart, start_discovery_for},
    },
};
use tidemill_core::{
    api::{ExecuteReply, RunPipelineRequest, Trigger},
    execution::{discovery::Discovery, facts::Facts},
};

impl DiscoveryService {
    /// Starts the discovery. Its log says which execution it started. A request that is repeated with its key starts none.
    pub async fn run_pipeline(
        &self,
        request: RunPipelineRequest,
        by: &Caller,
        key: Option<CallerKey>,
    ) -> Result<ExecuteReply> {
        request.check().map_err(|error| Error::Unprocessable(error.to_string()))?;
        let repository = self.repositories.get(&request.repo).await?;
        let RunPipelineRequest { path, branch, inputs, .. } = request;
        let identity = ("run pipeline", repository.name(), &path, &branch, &inputs);
        let id = self.context.stores.ids.execution();
        let once = CallerKey::of_request(key.as_ref(), &repository.url, &identity, id)?;
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
        start_discovery_for(&self.pipelines, &self.context, &repository, start, once).await
    }
}
