//! Listings by the indexes: a page of keys, then the executions themselves, so that what is shown is as it is now even
//! when an index is late.

use super::{items, store::DynamoRecords};
use crate::{
    keys::{self, list as by},
    table::{Item, Key, Query, get_text, text},
};
use tidemill_core::execution::status::ExecutionStatus;
use tidemill_core::ids::ExecutionId;
use tidemill_services::error::{Error, Result};
use tidemill_services::ports::{ExecutionRecord, ListFilter, repository_key};

/// Page size of a listing that names none.
const DEFAULT_PAGE_SIZE: u32 = 50;
/// Largest page of a listing.
const MAX_PAGE_SIZE: u32 = 200;
/// Keys that are read at once at least: a filter that the index does not serve drops most of them.
const MIN_KEYS_READ: usize = 25;
/// Keys that one request reads at most; a listing that has found less by then gives what it has, and goes on from there.
const MAX_KEYS_READ: usize = 2_000;

/// The index whose part that fits the filter is likely the smallest, and the value in it.
fn index(filter: &ListFilter) -> (by::Index, String) {
    match filter {
        ListFilter { run_number: Some(number), .. } => (by::RUN, number.to_string()),
        ListFilter { status: Some(status), .. } if !status.is_terminal() => {
            (by::STATUS, status.word().to_owned())
        }
        ListFilter { repo: Some(repo), pipeline: Some(pipeline), .. } => {
            (by::REPO_PIPELINE, keys::short(&[&repository_key(repo), pipeline]))
        }
        ListFilter { repo: Some(repo), .. } => (by::REPO, keys::short(&[&repository_key(repo)])),
        ListFilter { pipeline: Some(pipeline), .. } => (by::PIPELINE, keys::short(&[pipeline])),
        ListFilter { branch: Some(branch), .. } => (by::BRANCH, keys::short(&[branch])),
        ListFilter { status: Some(status), .. } => (by::STATUS, status.word().to_owned()),
        _ => (by::ALL, "all".to_owned()),
    }
}

fn fits(record: &ExecutionRecord, filter: &ListFilter) -> bool {
    let spec = &record.spec;
    filter.repo.as_deref().is_none_or(|repo| repository_key(repo) == repository_key(&spec.repo))
        && filter.pipeline.as_ref().is_none_or(|name| *name == spec.pipeline_name)
        && filter.branch.as_ref().is_none_or(|branch| Some(branch) == spec.branch.as_ref())
        && filter.status.is_none_or(|status| status == record.state.status)
        && filter.run_number.is_none_or(|number| number == record.run_number)
}

/// A page of executions, newest first, and whether there are more.
pub async fn executions(
    records: &DynamoRecords,
    filter: &ListFilter,
) -> Result<(Vec<ExecutionRecord>, bool)> {
    let mut before: Option<ExecutionId> = match &filter.cursor {
        Some(cursor) => Some(cursor.parse().map_err(|_| {
            Error::Invalid(format!("`{cursor}` is no cursor; give back the `next_cursor` of a page"))
        })?),
        None => None,
    };
    let limit = filter.limit.unwrap_or(DEFAULT_PAGE_SIZE).clamp(1, MAX_PAGE_SIZE) as usize;
    let (index, value) = index(filter);
    let mut found: Vec<ExecutionRecord> = Vec::new();
    let mut read = 0;
    while found.len() <= limit {
        if read >= MAX_KEYS_READ && !found.is_empty() {
            return Ok((found, true));
        }
        let at_once = (limit + 1 - found.len()).max(MIN_KEYS_READ.min(limit + 1));
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
            backwards: true,
            limit: Some(at_once),
            ..Query::default()
        };
        let ids = ids(&records.table.query(page).await?);
        read += ids.len();
        let last = ids.last().copied();
        found.extend(as_they_are(records, ids).await?.into_iter().filter(|record| fits(record, filter)));
        match last {
            Some(last) => before = Some(last),
            None => break,
        }
    }
    let more = found.len() > limit;
    found.truncate(limit);
    Ok((found, more))
}

/// Executions that are not over, oldest first.
pub async fn live(
    records: &DynamoRecords,
    after: Option<ExecutionId>,
    limit: usize,
) -> Result<Vec<ExecutionId>> {
    let mut all = Vec::new();
    for status in [ExecutionStatus::Pending, ExecutionStatus::Running] {
        let mut values = Item::from([(":value".to_owned(), text(status.word()))]);
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
    for record in as_they_are(records, all).await? {
        if !record.state.status.is_terminal() {
            live.push(record.spec.id);
        }
    }
    Ok(live)
}

fn ids(items: &[Item]) -> Vec<ExecutionId> {
    items.iter().filter_map(|item| get_text(item, "id")?.parse().ok()).collect()
}

/// The executions of these ids, in their order.
async fn as_they_are(records: &DynamoRecords, ids: Vec<ExecutionId>) -> Result<Vec<ExecutionRecord>> {
    let wanted: Vec<Key> = ids.iter().map(|id| keys::execution(*id)).collect();
    let mut found = std::collections::HashMap::with_capacity(wanted.len());
    for item in records.table.get_all(&wanted, true, None).await? {
        found.insert(items::execution_id(&item)?, records.record(&item).await?);
    }
    Ok(ids.into_iter().filter_map(|id| found.remove(&id)).collect())
}
