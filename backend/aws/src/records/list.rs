//! Lists executions by the indexes. A page of keys is read from an index, and then the executions from the table, so that a
//! listing is current although the indexes are eventually consistent.

use super::{items, store::DynamoRecords};
use crate::{
    keys::{self, list as by},
    table::{Item, Key, Query, get_text, text},
};
use tidemill_core::execution::status::ExecutionStatus;
use tidemill_core::ids::ExecutionId;
use tidemill_services::error::Result;
use tidemill_services::ports::{ExecutionRecord, ListFilter, list_cursor, repository_key};

/// Default page size.
const DEFAULT_PAGE_SIZE: u32 = 50;
/// Maximum page size.
const MAX_PAGE_SIZE: u32 = 200;
/// Minimum keys of one query: a filter that the index does not cover drops most of them.
const MIN_KEYS_READ: usize = 25;
/// Maximum keys read by one request; a listing that found fewer executions by then returns a short page with a cursor.
const MAX_KEYS_READ: usize = 2_000;

/// Returns the most selective index for a filter, and the value to query.
fn best_index(filter: &ListFilter) -> (by::Index, String) {
    match filter {
        ListFilter { run_number: Some(number), .. } => (by::RUN, number.to_string()),
        ListFilter { status: Some(status), .. } if !status.is_terminal() => {
            (by::STATUS, status.as_str().to_owned())
        }
        ListFilter { repo: Some(repo), pipeline: Some(pipeline), .. } => {
            (by::REPO_PIPELINE, keys::short_hash(&[&repository_key(repo), pipeline]))
        }
        ListFilter { repo: Some(repo), .. } => (by::REPO, keys::short_hash(&[&repository_key(repo)])),
        ListFilter { pipeline: Some(pipeline), .. } => (by::PIPELINE, keys::short_hash(&[pipeline])),
        ListFilter { branch: Some(branch), .. } => (by::BRANCH, keys::short_hash(&[branch])),
        ListFilter { status: Some(status), .. } => (by::STATUS, status.as_str().to_owned()),
        _ => (by::ALL, "all".to_owned()),
    }
}

fn matches_filter(record: &ExecutionRecord, filter: &ListFilter) -> bool {
    let spec = &record.spec;
    filter.repo.as_deref().is_none_or(|repo| repository_key(repo) == repository_key(&spec.repo))
        && filter.pipeline.as_ref().is_none_or(|name| *name == spec.pipeline_name)
        && filter.branch.as_ref().is_none_or(|branch| Some(branch) == spec.branch.as_ref())
        && filter.status.is_none_or(|status| status == record.state.status)
        && filter.run_number.is_none_or(|number| number == record.run_number)
}

/// Returns a page of executions, newest first, and whether there are more.
pub async fn executions(
    records: &DynamoRecords,
    filter: &ListFilter,
) -> Result<(Vec<ExecutionRecord>, bool)> {
    let mut before = list_cursor(filter)?;
    let limit = filter.limit.unwrap_or(DEFAULT_PAGE_SIZE).clamp(1, MAX_PAGE_SIZE) as usize;
    let (index, value) = best_index(filter);
    let mut matching: Vec<ExecutionRecord> = Vec::new();
    let mut keys_read = 0;
    while matching.len() <= limit {
        if keys_read >= MAX_KEYS_READ && !matching.is_empty() {
            return Ok((matching, true));
        }
        let batch_size = (limit + 1 - matching.len()).max(MIN_KEYS_READ.min(limit + 1));
        let mut values = Item::from([(":value".to_owned(), text(&value))]);
        let condition = match before {
            None => index.condition,
            Some(id) => {
                values.insert(":before".to_owned(), text(id.to_string()));
                index.condition_before
            }
        };
        let page = Query {
            index: Some(index.name),
            condition,
            values,
            descending: true,
            limit: Some(batch_size),
            ..Query::default()
        };
        let ids = ids(&records.table.query(page).await?);
        keys_read += ids.len();
        let last = ids.last().copied();
        matching
            .extend(load(records, ids).await?.into_iter().filter(|record| matches_filter(record, filter)));
        match last {
            Some(last) => before = Some(last),
            None => break,
        }
    }
    let more = matching.len() > limit;
    matching.truncate(limit);
    Ok((matching, more))
}

/// Returns unfinished executions, oldest first.
pub async fn live(
    records: &DynamoRecords,
    after: Option<ExecutionId>,
    limit: usize,
) -> Result<Vec<ExecutionId>> {
    let mut all = Vec::new();
    for status in [ExecutionStatus::Pending, ExecutionStatus::Running] {
        let mut values = Item::from([(":value".to_owned(), text(status.as_str()))]);
        let condition = match after {
            None => by::STATUS.condition,
            Some(id) => {
                values.insert(":after".to_owned(), text(id.to_string()));
                by::STATUS.condition_after
            }
        };
        let index = Some(by::STATUS.name);
        let page = Query { index, condition, values, limit: Some(limit), ..Query::default() };
        all.extend(ids(&records.table.query(page).await?));
    }
    all.sort_unstable();
    all.dedup();
    all.truncate(limit);
    let mut live = Vec::with_capacity(all.len());
    for record in load(records, all).await? {
        if !record.state.status.is_terminal() {
            live.push(record.spec.id);
        }
    }
    Ok(live)
}

fn ids(items: &[Item]) -> Vec<ExecutionId> {
    items.iter().filter_map(|item| get_text(item, "id")?.parse().ok()).collect()
}

/// Reads the executions with these ids from the table, in the same order.
async fn load(records: &DynamoRecords, ids: Vec<ExecutionId>) -> Result<Vec<ExecutionRecord>> {
    let keys: Vec<Key> = ids.iter().map(|id| keys::execution(*id)).collect();
    let mut by_id = std::collections::HashMap::with_capacity(keys.len());
    for item in records.table.get_all(&keys, true, None).await? {
        by_id.insert(items::execution_id(&item)?, records.load_record(&item).await?);
    }
    Ok(ids.into_iter().filter_map(|id| by_id.remove(&id)).collect())
}
