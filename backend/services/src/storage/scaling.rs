//! Scales the machines of workers with the jobs that wait and run.

use super::workers::{WorkerService, fleet_key, parse_memory};
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::NewDocument,
};
use std::sync::Arc;
use tidemill_core::api::UnstartedMachine;
use tidemill_core::scheduler::{FleetAction, FleetDecision, decide_fleet};

/// Retention of the document with what one decision remembers after its last change, in milliseconds: longer than a machine is kept.
const RETENTION_MS: i64 = 30 * 86_400_000;

/// What a decision about the machines did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScalingOutcome {
    /// Number of machines that the jobs need.
    pub needed: u32,
    /// Number of changes.
    pub changes: usize,
    /// Number of machines that were removed because their worker did not start, or was silent.
    pub unstarted: usize,
}

/// Service that decides about the machines of workers, to be called once a minute.
#[derive(Debug, Clone)]
pub struct ScalingService {
    context: Arc<Context>,
    workers: WorkerService,
}

impl ScalingService {
    pub(crate) fn new(context: Arc<Context>, workers: WorkerService) -> Self {
        Self { context, workers }
    }

    /// Decides about the machines, and makes the changes. Without machines to scale it does nothing. All changes are tried; the first
    /// error is returned, and the next call decides again.
    pub async fn run(&self) -> Result<ScalingOutcome> {
        let Some(fleet) = self.context.fleet() else { return Ok(ScalingOutcome::default()) };
        let group = fleet.group.state().await?;
        let load = self.context.job_load(fleet.limits).await?;
        if group.is_empty() && load.waiting == 0 && fleet.limits.min == 0 {
            return Ok(ScalingOutcome::default());
        }
        let documents = &self.context.stores.documents;
        let document = documents.get(&fleet_key()).await?;
        let memory = document.as_ref().map(|document| parse_memory(&document.value)).transpose()?;
        let memory = memory.unwrap_or_default();
        let workers = self.workers.of_fleet().await?;
        let now = self.context.now();
        let decision = decide_fleet(&group, &load, &workers, memory.clone(), fleet.limits, now);
        let version = document.map(|document| document.version);
        // Before the changes: what they depend on is then known to the next decision, whatever fails.
        if decision.memory != memory && !self.remember(&decision, version).await? {
            tracing::info!("another decision about the machines was made meanwhile");
            return Ok(ScalingOutcome::default());
        }
        let new = |machine: &UnstartedMachine| machine.removed_at == now;
        let unstarted = decision.memory.unstarted.iter().filter(|machine| new(machine)).count();
        let outcome = ScalingOutcome { needed: decision.needed, changes: decision.actions.len(), unstarted };
        if outcome.changes > 0 {
            let (needed, desired) = (decision.needed, group.desired);
            tracing::info!(needed, desired, ?load, changes = ?decision.actions, "changing the machines of workers");
        }
        let mut result = Ok(outcome);
        for action in &decision.actions {
            let done = match action {
                FleetAction::Drain(worker) => self.workers.drain_one(*worker).await,
                FleetAction::Remove { machine, replace } => fleet.group.remove(machine, *replace).await,
                FleetAction::SetDesired(number) => fleet.group.set_desired(*number).await,
            };
            if let Err(error) = done {
                tracing::warn!(?action, %error, "cannot change the machines of workers; the next decision does");
                if result.is_ok() {
                    result = Err(error);
                }
            }
        }
        for machine in decision.memory.unstarted.iter().filter(|machine| new(machine)) {
            tracing::error!(
                machine = %machine.machine,
                "the worker of a machine did not start, or was silent for too long; the machine was removed"
            );
        }
        result
    }

    /// Stores what the next decision needs. Returns false if another decision was made meanwhile.
    async fn remember(&self, decision: &FleetDecision, version: Option<u64>) -> Result<bool> {
        let value = serde_json::to_string(&decision.memory)
            .map_err(|error| Error::storage("writing the state of the machines", error))?;
        let new = NewDocument {
            key: fleet_key(),
            value,
            due_at: None,
            expires_at: Some(self.context.now().plus_ms(RETENTION_MS)),
        };
        self.context.stores.documents.put(new, version).await
    }
}
