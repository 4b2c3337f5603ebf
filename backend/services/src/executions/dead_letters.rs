//! Dead letters: jobs that ended for reasons that were not their own, for an operator to check.
//!
//! To run such jobs again, retry the execution: this starts a new one and removes the dead letters. A terminal status never changes.

use super::view;
use crate::{
    context::{
        page::page_size,
        service_context::{Context, job_of},
    },
    error::{Error, Result},
    ports::{DeadLetter, Node, Write},
};
use std::sync::Arc;
use tidemill_core::{
    api::{DeadLetterList, DeadLetterQuery, DeadLetterView, DismissReply},
    ids::{ExecutionId, JobId},
    scheduler::dead_letter_of,
    time::Timestamp,
};

/// Number of dead letters that are removed in one batch.
const BATCH_LEN: usize = 50;

/// Service for dead letters.
#[derive(Debug, Clone)]
pub struct DeadLetterService {
    context: Arc<Context>,
}

impl DeadLetterService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Returns a page of dead letters, newest first.
    pub async fn list(&self, query: DeadLetterQuery) -> Result<DeadLetterList> {
        let before = query.cursor.as_deref().map(read_cursor).transpose()?;
        let limit = page_size(query.limit)?;
        let (found, more) = self.context.stores.records.dead_letters(before, limit as usize).await?;
        let next_cursor = found.last().filter(|_| more).map(write_cursor);
        let mut dead_letters = Vec::with_capacity(found.len());
        for letter in found {
            dead_letters.extend(self.view(&letter).await?);
        }
        Ok(DeadLetterList { dead_letters, next_cursor })
    }

    /// Returns `None` if the records of the job were removed.
    async fn view(&self, letter: &DeadLetter) -> Result<Option<DeadLetterView>> {
        let records = &self.context.stores.records;
        let Some(execution) = records.execution(letter.execution).await? else { return Ok(None) };
        let node = records.nodes(letter.execution, &[letter.ix]).await?.pop();
        let Some(node) = node else { return Ok(None) };
        let spec = self.context.spec(letter.execution, letter.ix).await?;
        let job = view::job(letter.execution, job_of(&node)?, &spec);
        Ok(Some(DeadLetterView { job, execution: execution.summary() }))
    }

    /// Removes a job from the dead letters; its record stays unchanged.
    pub async fn dismiss(&self, job: JobId) -> Result<DismissReply> {
        let node = self.context.job(job).await?;
        let Some(letter) = dead_letter_of(node.key, &job_of(&node)?.job) else {
            return Ok(DismissReply { dismissed: false });
        };
        self.context.stores.records.commit(vec![Write::DeleteDeadLetter(letter)]).await?;
        Ok(DismissReply { dismissed: true })
    }
}

impl Context {
    /// Removes the dead letters of an execution.
    pub(crate) async fn remove_dead_letters(&self, execution: ExecutionId) -> Result<()> {
        let nodes = self.stores.records.all_nodes(execution).await?;
        let letter = |node: &Node| dead_letter_of(node.key, &job_of(node).ok()?.job);
        let letters: Vec<DeadLetter> = nodes.iter().filter_map(letter).collect();
        for some in letters.chunks(BATCH_LEN) {
            let writes = some.iter().copied().map(Write::DeleteDeadLetter).collect();
            self.stores.records.commit(writes).await?;
        }
        Ok(())
    }
}

fn write_cursor(letter: &DeadLetter) -> String {
    format!("{}.{}.{}", letter.at.0, letter.execution, letter.ix)
}

fn read_cursor(text: &str) -> Result<DeadLetter> {
    let mut parts = text.split('.');
    let mut letter = || {
        let at = Timestamp(parts.next()?.parse().ok()?);
        let (execution, ix) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(DeadLetter { at, execution, ix })
    };
    letter().ok_or_else(|| Error::invalid_cursor(text))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{read_cursor, write_cursor};
    use crate::ports::DeadLetter;
    use tidemill_core::{ids::ExecutionId, time::Timestamp};

    #[test]
    fn cursor_round_trips_and_rejects_other_text() {
        let letter = DeadLetter { at: Timestamp(7), execution: ExecutionId(uuid::Uuid::now_v7()), ix: 3 };
        assert_eq!(read_cursor(&write_cursor(&letter)).unwrap(), letter);
        for wrong in ["", "7", "7.x.3", &format!("{}.1", write_cursor(&letter))] {
            assert!(read_cursor(wrong).is_err(), "{wrong}");
        }
    }
}
