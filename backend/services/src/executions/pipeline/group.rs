//! Concurrency groups.

use super::{identity::digest, service::PipelineExecutionService};
use crate::{
    error::Result,
    ports::{ExecutionRecord, ExecutionSpec, KeyRecord, Write},
};
use tidemill_core::{ids::ExecutionId, pipeline::Pipeline};

/// A concurrency group of one repository.
pub(crate) struct Group {
    /// Key of the record of the newest execution.
    pub key: String,
    /// Whether a new execution cancels older ones instead of waiting for them.
    pub cancel_superseded: bool,
}

impl Group {
    /// Returns the group of an execution, if it has one.
    pub fn of(file: &Pipeline, spec: &ExecutionSpec) -> Result<Option<Self>> {
        let Some(group) = file.group(spec.branch.as_deref(), &spec.variables) else { return Ok(None) };
        let cancel_superseded = file.concurrency.as_ref().is_some_and(|group| group.cancel_superseded);
        // A fork must not cancel or delay executions of the repository itself.
        let hash = if spec.facts.is_from_fork() {
            digest(&(&spec.repo, "forks", &group))?
        } else {
            digest(&(&spec.repo, &group))?
        };
        Ok(Some(Self { key: format!("group:{hash}"), cancel_superseded }))
    }
}

impl PipelineExecutionService {
    /// Returns the newest execution of the group, if it is live, and adds the write that makes `id` the newest.
    pub(super) async fn newest_of(
        &self,
        group: &Group,
        id: ExecutionId,
        writes: &mut Vec<Write>,
    ) -> Result<Option<ExecutionRecord>> {
        let newest = self.context.stores.records.key(&group.key).await?.map(|record| record.execution);
        let record = KeyRecord { execution: id, request: String::new() };
        writes.push(Write::PutKey { key: group.key.clone(), if_execution: newest, record });
        let Some(newest) = newest else { return Ok(None) };
        let newest = self.context.stores.records.execution(newest).await?;
        Ok(newest.filter(|newest| !newest.state.status.is_terminal()))
    }
}
