//! Follows the changes of an execution.

use super::service::PipelineExecutionService;
use crate::{error::Result, executions::children::ChildStatuses};
use std::time::Duration;
use tidemill_core::ids::ExecutionId;
use tokio::time::{Instant, sleep_until};

/// Minimum time between two checks for a change: further changes until then are one.
const MIN_INTERVAL: Duration = Duration::from_millis(250);

/// A change of an execution, or of a job or a log of it, with the new revision of its view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutionChange {
    /// It has changed. The first change is its current state.
    Changed(u64),
    /// It has ended; no other change follows.
    Ended(u64),
}

/// Follows one execution. It stores nothing but the last revision, however many changes nobody asked for.
#[derive(Debug)]
pub struct ExecutionWatch {
    service: PipelineExecutionService,
    id: ExecutionId,
    known: Option<u64>,
    statuses: ChildStatuses,
    /// The last change of the records that was seen.
    seen: u64,
    checked: Option<Instant>,
    has_ended: bool,
}

impl PipelineExecutionService {
    /// Follows an execution; `None` where waiting costs money.
    #[must_use]
    pub fn watch(&self, id: ExecutionId) -> Option<ExecutionWatch> {
        (self.context.settings.max_wait_ms > 0).then(|| ExecutionWatch {
            service: self.clone(),
            id,
            known: None,
            statuses: ChildStatuses::default(),
            seen: 0,
            checked: None,
            has_ended: false,
        })
    }
}

impl ExecutionWatch {
    /// Waits for the next change; `None` if there is none any more, or the server stops. The caller may stop waiting and ask again.
    pub async fn next(&mut self) -> Result<Option<ExecutionChange>> {
        while !self.has_ended {
            if let Some(checked) = self.checked {
                sleep_until(checked + MIN_INTERVAL).await;
            }
            let (revision, content) = self.service.current(self.id, self.known, &mut self.statuses).await?;
            self.checked = Some(Instant::now());
            if let Some(content) = content {
                self.known = Some(revision);
                self.has_ended = content.execution.state.status.is_terminal();
                let change = if self.has_ended { ExecutionChange::Ended } else { ExecutionChange::Changed };
                return Ok(Some(change(revision)));
            }
            let context = &self.service.context;
            tokio::select! {
                seen = context.stores.records.wait_for_change(self.seen) => self.seen = seen,
                () = context.shutdown.cancelled() => return Ok(None),
            }
        }
        Ok(None)
    }
}
