//! Starts a pipeline of a registered repository at the head of a branch: a discovery that reads and starts one file, whatever its
//! triggers are.

use super::discoveries::DiscoveryService;
use crate::{
    access::caller::Caller,
    error::{Error, Result},
    executions::{
        idempotency_keys::{CallerKey, IdempotencyKey, RecordedKey},
        pipeline::discovery_start::{DiscoveryStart, start_discovery_for},
    },
};
use tidemill_core::{
    api::{ExecuteReply, RunPipelineRequest, Trigger},
    execution::{discovery::Discovery, facts::Facts},
    ids::digest::json_digest,
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
        let once = if let Some(key) = key {
            let identity = json_digest(&("run pipeline", repository.name(), &path, &branch, &inputs))
                .map_err(|error| Error::storage("deriving the key of a request", error))?;
            (key.of_repository(&repository.url)?, identity)
        } else {
            let key = IdempotencyKey::Sync { id: self.context.stores.ids.execution() };
            let key = RecordedKey::of(&key)?;
            let identity = key.name.clone();
            (key, identity)
        };
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
