//! Lists executions, and searches them by what no index has: event, author, commit and message. The store's indexes select by the other filters, and a
//! search reads a bounded number of those.

use super::service::PipelineExecutionService;
use crate::{
    context::page::page_size,
    error::{Error, Result},
    ports::{ExecutionRecord, list_cursor},
};
use tidemill_core::api::{ExecutionKind, ExecutionList, ExecutionSummary, ListQuery, Trigger};
use tidemill_core::execution::status::ExecutionStatus;
use tidemill_core::ids::ExecutionId;

/// Maximum number of executions that one request reads. The next page continues after them.
const MAX_EXAMINED: usize = 1_000;
/// Minimum number of executions that are read at once.
const MIN_BATCH: usize = 100;
/// Maximum length of a searched text, in bytes.
const MAX_TEXT_LEN: usize = 200;

/// The filters of a listing that no index has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Search {
    event: Option<Trigger>,
    kind: Option<ExecutionKind>,
    /// Whether failed discoveries match whatever their kind.
    failed_discoveries: bool,
    author: Option<String>,
    commit: Option<String>,
    text: Option<String>,
}

impl Search {
    /// Returns the filters of a query; `None` if it has none of them.
    fn of(query: &ListQuery) -> Result<Option<Self>> {
        let lower = |name: &str, text: &Option<String>| match text {
            Some(text) if text.len() > MAX_TEXT_LEN => {
                Err(Error::Invalid(format!("`{name}` has {} bytes; at most {MAX_TEXT_LEN}", text.len())))
            }
            text => Ok(text.as_ref().filter(|text| !text.is_empty()).map(|text| text.to_lowercase())),
        };
        let search = Self {
            event: query.event,
            kind: query.kind,
            failed_discoveries: query.kind.is_some() && query.failed_discoveries == Some(true),
            author: lower("author", &query.author)?,
            commit: lower("commit", &query.commit)?,
            text: lower("text", &query.text)?,
        };
        let none = Self {
            event: None,
            kind: None,
            failed_discoveries: false,
            author: None,
            commit: None,
            text: None,
        };
        Ok((search != none).then_some(search))
    }

    /// Whether an execution matches. `is_public`: the text is searched in what anyone sees of the message.
    fn matches(&self, execution: &ExecutionRecord, is_public: bool) -> bool {
        let spec = &execution.spec;
        let details = &spec.facts.details;
        let contains =
            |text: Option<&str>, part: &str| text.is_some_and(|text| text.to_lowercase().contains(part));
        let message = if is_public { details.title() } else { details.message.as_deref() };
        self.event.is_none_or(|event| event == spec.trigger)
            && (self.kind.is_none_or(|kind| kind == spec.task.kind())
                || self.failed_discoveries && execution.state.status == ExecutionStatus::Failed)
            && self.author.as_ref().is_none_or(|author| {
                contains(details.author.as_deref(), author) || contains(spec.requested_by.as_deref(), author)
            })
            && self.commit.as_ref().is_none_or(|prefix| {
                spec.commit.as_ref().is_some_and(|commit| commit.to_lowercase().starts_with(prefix))
            })
            && self.text.as_ref().is_none_or(|text| contains(message, text))
    }
}

impl PipelineExecutionService {
    /// Returns a page of executions, newest first.
    pub async fn list(&self, query: ListQuery) -> Result<ExecutionList> {
        self.list_as(query, false).await
    }

    /// Returns a page of executions, newest first, without what only members of the repository may see.
    pub async fn list_for_anyone(&self, query: ListQuery) -> Result<ExecutionList> {
        // A discovery tells about files and settings of the repository. Filters by people would tell their addresses.
        let query = ListQuery {
            kind: Some(ExecutionKind::RunPipeline),
            failed_discoveries: None,
            author: None,
            ..query
        };
        let mut list = self.list_as(query, true).await?;
        list.executions = list.executions.into_iter().map(ExecutionSummary::for_anyone).collect();
        Ok(list)
    }

    async fn list_as(&self, query: ListQuery, is_public: bool) -> Result<ExecutionList> {
        list_cursor(&query)?;
        let limit = page_size(query.limit)?;
        let filter = ListQuery { limit: Some(limit), ..query };
        let (executions, next) = if let Some(search) = Search::of(&filter)? {
            self.search(&filter, (&search, is_public), limit as usize).await?
        } else {
            let (executions, more) = self.context.stores.records.executions(&filter).await?;
            let next = executions.last().filter(|_| more).map(|last| last.spec.id);
            (executions, next)
        };
        let next_cursor = next.map(|next| next.to_string());
        Ok(ExecutionList {
            executions: executions.iter().map(ExecutionRecord::summary).collect(),
            next_cursor,
        })
    }

    /// Returns a page of matching executions, newest first, and the one after which the next page begins.
    async fn search(
        &self,
        filter: &ListQuery,
        (search, is_public): (&Search, bool),
        limit: usize,
    ) -> Result<(Vec<ExecutionRecord>, Option<ExecutionId>)> {
        let batch = limit.max(MIN_BATCH);
        let mut filter = ListQuery { limit: u32::try_from(batch).ok(), ..filter.clone() };
        let mut matching = Vec::new();
        let mut examined = 0;
        loop {
            let (executions, more) = self.context.stores.records.executions(&filter).await?;
            let number = executions.len();
            let last = executions.last().map(|last| last.spec.id);
            for (position, execution) in executions.into_iter().enumerate() {
                if !search.matches(&execution, is_public) {
                    continue;
                }
                let id = execution.spec.id;
                matching.push(execution);
                if matching.len() == limit {
                    let has_next = more || position + 1 < number;
                    return Ok((matching, has_next.then_some(id)));
                }
            }
            examined += number;
            let Some(last) = last.filter(|_| more) else { return Ok((matching, None)) };
            if examined >= MAX_EXAMINED {
                return Ok((matching, Some(last)));
            }
            filter.cursor = Some(last.to_string());
        }
    }
}
