//! Scales the machines of workers with the jobs that wait and run.

use super::workers::WorkerService;
use crate::{
    context::{
        fleet::{FleetPool, parse_memory},
        service_context::Context,
    },
    error::{Error, Result},
    ports::{NewDocument, WorkerGroup, WorkerPool},
};
use std::sync::Arc;
use tidemill_core::api::UnstartedMachine;
use tidemill_core::scheduler::{FleetAction, FleetDecision, FleetWorker, JobLoad, decide_fleet};

/// Retention of the document with what one decision remembers after its last change, in milliseconds: longer than a machine is kept.
const RETENTION_MS: i64 = 45 * 86_400_000;

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

    /// Decides about the machines of each pool, and makes the changes. Without machines to scale it does nothing. All changes are tried;
    /// the first error is returned, and the next call decides again.
    pub async fn run(&self) -> Result<ScalingOutcome> {
        let Some(fleet) = self.context.fleet() else { return Ok(ScalingOutcome::default()) };
        let loads = self.context.job_loads(fleet).await?;
        let mut workers = None;
        let mut total = ScalingOutcome::default();
        let mut result = Ok(());
        for (known, load) in fleet.pools.iter().zip(&loads) {
            match self.scale(known, load, &mut workers).await {
                Ok(outcome) => {
                    total.needed = total.needed.saturating_add(outcome.needed);
                    total.changes += outcome.changes;
                    total.unstarted += outcome.unstarted;
                }
                Err(error) => {
                    tracing::warn!(labels = ?known.pool.labels, %error, "cannot scale the machines of workers");
                    result = result.and(Err(error));
                }
            }
        }
        result.map(|()| total)
    }

    /// Decides about one pool. `workers` are read once, for all pools.
    async fn scale(
        &self,
        known: &FleetPool,
        load: &JobLoad,
        workers: &mut Option<Vec<FleetWorker>>,
    ) -> Result<ScalingOutcome> {
        let WorkerPool { labels, group, limits } = &known.pool;
        let state = group.state().await?;
        if state.is_empty() && load.waiting == 0 && limits.min == 0 {
            return Ok(ScalingOutcome::default());
        }
        let document = self.context.stores.documents.get(&known.key()).await?;
        let memory = document.as_ref().map(|document| parse_memory(&document.value)).transpose()?;
        let memory = memory.unwrap_or_default();
        let workers = match workers {
            Some(workers) => workers,
            none => none.insert(self.workers.of_fleet().await?),
        };
        let now = self.context.now();
        let decision = decide_fleet(&state, load, workers, memory.clone(), *limits, now);
        let version = document.map(|document| document.version);
        // Before the changes: what they depend on is then known to the next decision, whatever fails.
        if decision.memory != memory && !self.remember(known, &decision, version).await? {
            tracing::info!("another decision about the machines was made meanwhile");
            return Ok(ScalingOutcome::default());
        }
        let new = |machine: &&UnstartedMachine| machine.removed_at == now;
        let unstarted: Vec<&UnstartedMachine> = decision.memory.unstarted.iter().filter(new).collect();
        let outcome = ScalingOutcome {
            needed: decision.needed,
            changes: decision.actions.len(),
            unstarted: unstarted.len(),
        };
        if outcome.changes > 0 {
            let (needed, desired) = (decision.needed, state.requested());
            let changes = &decision.actions;
            tracing::info!(?labels, needed, desired, ?load, ?changes, "changing the machines of workers");
        }
        for machine in unstarted {
            tracing::error!(
                machine = %machine.machine,
                "the worker of a machine did not start, or was silent for too long; the machine is removed"
            );
        }
        self.apply(&**group, &decision.actions).await.map(|()| outcome)
    }

    /// Makes the changes of a decision.
    async fn apply(&self, group: &dyn WorkerGroup, actions: &[FleetAction]) -> Result<()> {
        let mut result = Ok(());
        for action in actions {
            let done = match action {
                FleetAction::Drain(worker) => self.workers.drain_one(*worker).await,
                FleetAction::Remove { machine, replace } => group.remove(machine, *replace).await,
                FleetAction::SetDesired(number) => group.set_desired(*number).await,
                FleetAction::SetFallback(number) => group.set_fallback(*number).await,
            };
            if let Err(error) = done {
                tracing::warn!(?action, %error, "cannot change the machines of workers; the next decision does");
                result = result.and(Err(error));
            }
        }
        result
    }

    /// Stores what the next decision needs. Returns false if another decision was made meanwhile.
    async fn remember(
        &self,
        known: &FleetPool,
        decision: &FleetDecision,
        version: Option<u64>,
    ) -> Result<bool> {
        let value = serde_json::to_string(&decision.memory)
            .map_err(|error| Error::storage("writing the state of the machines", error))?;
        let new = NewDocument {
            key: known.key(),
            value,
            due_at: None,
            expires_at: Some(self.context.now().plus_ms(RETENTION_MS)),
        };
        self.context.stores.documents.put(new, version).await
    }
}
