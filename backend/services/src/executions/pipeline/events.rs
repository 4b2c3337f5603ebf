//! Follows the changes of an execution, and of what lists of executions show.

use super::service::PipelineExecutionService;
use crate::{
    context::{followed::FollowedExecution, service_context::Context},
    error::{Error, Result},
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tidemill_core::ids::ExecutionId;
use tokio::time::{Instant, sleep_until};

/// Minimum time between two reads of an execution for all that follow it: further changes until then are one.
const MIN_INTERVAL: Duration = Duration::from_millis(250);

/// Minimum time between two changes of lists: each of them makes those who follow read their lists again.
const MIN_LIST_INTERVAL: Duration = Duration::from_secs(2);

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
    execution: Arc<FollowedExecution>,
    known: Option<u64>,
    /// The last change of the records that was seen.
    seen: u64,
    has_ended: bool,
}

impl PipelineExecutionService {
    /// Follows an execution; `None` where waiting costs money.
    #[must_use]
    pub fn watch(&self, id: ExecutionId) -> Option<ExecutionWatch> {
        (self.context.settings.max_wait_ms > 0).then(|| ExecutionWatch {
            service: self.clone(),
            id,
            execution: self.context.followed.get(id),
            known: None,
            seen: 0,
            has_ended: false,
        })
    }

    /// Follows what lists of executions show; `None` where waiting costs money.
    #[must_use]
    pub fn watch_lists(&self) -> Option<ListWatch> {
        (self.context.settings.max_wait_ms > 0).then(|| ListWatch {
            context: self.context.clone(),
            seen: 0,
            last: None,
        })
    }

    /// Returns the revision of an execution's view and whether the execution has ended, as they are now or later. Jobs are not read,
    /// except those that start executions.
    async fn followed_revision(&self, id: ExecutionId, of: &FollowedExecution) -> Result<(u64, bool)> {
        let asked = of.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut last = of.last.lock().await;
        if last.covers < asked {
            if let Some(at) = last.at {
                sleep_until(at + MIN_INTERVAL).await;
            }
            let covers = of.asked.load(Ordering::SeqCst);
            let missing = || Error::NotFound(format!("there is no execution {id}"));
            // The state is read first: the revision of an execution that has ended is then the one of its end.
            let (state, _) = self.context.stores.records.execution_state(id).await?.ok_or_else(missing)?;
            let of_children = self.context.children_revision(id, &mut last.statuses).await?;
            let revision = self.context.stores.records.revision(id).await?.ok_or_else(missing)?;
            last.revision = revision ^ of_children;
            last.has_ended = state.status.is_terminal();
            last.at = Some(Instant::now());
            last.covers = covers;
        }
        Ok((last.revision, last.has_ended))
    }
}

impl ExecutionWatch {
    /// Waits for the next change; `None` if there is none any more, or the server stops. The caller may stop waiting and ask again.
    pub async fn next(&mut self) -> Result<Option<ExecutionChange>> {
        while !self.has_ended {
            let (revision, has_ended) = self.service.followed_revision(self.id, &self.execution).await?;
            if has_ended || self.known != Some(revision) {
                self.known = Some(revision);
                self.has_ended = has_ended;
                let change = if has_ended { ExecutionChange::Ended } else { ExecutionChange::Changed };
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

/// Follows all executions. It stores and reads nothing of them: what has changed is for the lists to find out.
#[derive(Debug)]
pub struct ListWatch {
    context: Arc<Context>,
    /// The last change of the records that was seen.
    seen: u64,
    /// When the last change was returned.
    last: Option<Instant>,
}

impl ListWatch {
    /// Waits until this process has written something, and returns the number of that change; `None` if the server stops. The first
    /// one is returned at once. The caller may stop waiting and ask again.
    pub async fn next(&mut self) -> Option<u64> {
        let context = self.context.clone();
        let (mut seen, last) = (self.seen, self.last);
        let change = async {
            if let Some(last) = last {
                sleep_until(last + MIN_LIST_INTERVAL).await;
            }
            loop {
                let next = context.stores.records.wait_for_change(seen).await;
                if next != seen || last.is_none() {
                    return next;
                }
                seen = next;
            }
        };
        let change = tokio::select! {
            change = change => change,
            () = context.shutdown.cancelled() => return None,
        };
        (self.seen, self.last) = (change, Some(Instant::now()));
        Some(change)
    }
}
