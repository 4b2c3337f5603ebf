//! Limits on the number of unapproved executions of pull requests.

use crate::{
    context::service_context::Context,
    error::Result,
    executions::budget,
    ports::{ExecutionRecord, ListFilter},
};
use std::collections::BTreeSet;
use tidemill_core::execution::status::ExecutionStatus;
use tidemill_core::{ids::ExecutionId, time::Timestamp};

/// Number of executions of one read.
const PAGE: u32 = 200;
/// Maximum number of reads to count the held commits of a day.
const MAX_PAGES: usize = 5;
const DAY_MS: i64 = 86_400_000;

/// Returns the reason why no more held executions of the pull request are recorded, if a limit is reached.
pub(crate) async fn limit_reached(
    context: &Context,
    discovering: &ExecutionRecord,
) -> Result<Option<String>> {
    if count(context, discovering).await? >= budget::MAX_HELD {
        return Ok(Some(format!(
            "{} executions of this repository wait for an approval, which is the limit; approve or cancel some, then retry",
            budget::MAX_HELD
        )));
    }
    let (of_request, of_all) = count_commits(context, discovering).await?;
    let (whose, max) = if of_request >= budget::MAX_HELD_COMMITS {
        ("this pull request", budget::MAX_HELD_COMMITS)
    } else if of_all >= budget::MAX_HELD_COMMITS_OF_REPOSITORY {
        ("the pull requests of this repository", budget::MAX_HELD_COMMITS_OF_REPOSITORY)
    } else {
        return Ok(None);
    };
    Ok(Some(format!(
        "{max} commits of {whose} were held for an approval within a day, which is the limit; retry tomorrow, or ask a member of \
         the repository to push the commit to a branch"
    )))
}

/// Counts other commits with unapproved executions within a day: of this pull request, and of the repository. The count stops at a
/// maximum number of reads.
async fn count_commits(context: &Context, discovering: &ExecutionRecord) -> Result<(usize, usize)> {
    let this = &discovering.spec;
    let number = this.facts.pull_request.as_ref().map(|request| request.number);
    let since = Timestamp(this.created_at.0 - DAY_MS);
    let mut filter = ListFilter { status: None, ..pending(&this.repo) };
    let mut commits = BTreeSet::new();
    for _ in 0..MAX_PAGES {
        let (executions, more) = context.stores.records.executions(&filter).await?;
        for execution in &executions {
            let of = execution.spec.facts.pull_request.as_ref().map(|request| request.number);
            let is_other = of != number || execution.spec.commit != this.commit;
            if is_unapproved(execution) && is_other && execution.spec.created_at >= since {
                commits.insert((of, execution.spec.commit.clone()));
            }
        }
        let Some(last) = executions.last().filter(|last| more && last.spec.created_at >= since) else {
            break;
        };
        filter.cursor = Some(last.spec.id.to_string());
    }
    let of_request = commits.iter().filter(|(of, _)| *of == number).count();
    Ok((of_request, commits.len()))
}

/// Counts unapproved executions of a repository at other commits, up to the limit.
async fn count(context: &Context, discovering: &ExecutionRecord) -> Result<usize> {
    let mut filter = pending(&discovering.spec.repo);
    // Earlier executions of this commit do not count.
    let is_counted = |execution: &&ExecutionRecord| {
        is_unapproved(execution) && execution.spec.commit != discovering.spec.commit
    };
    let mut count = 0;
    loop {
        let (executions, more) = context.stores.records.executions(&filter).await?;
        count += executions.iter().filter(is_counted).count();
        filter.cursor = executions.last().map(|last| last.spec.id.to_string());
        if !more || filter.cursor.is_none() || count >= budget::MAX_HELD {
            return Ok(count);
        }
    }
}

/// Returns unapproved executions of earlier commits of the same pull request.
pub(crate) async fn unapproved_of_earlier_commits(
    context: &Context,
    discovering: &ExecutionRecord,
) -> Result<Vec<ExecutionId>> {
    let Some(request) = &discovering.spec.facts.pull_request else { return Ok(Vec::new()) };
    let (executions, _) = context.stores.records.executions(&pending(&discovering.spec.repo)).await?;
    let is_older = |execution: &&ExecutionRecord| {
        is_unapproved(execution)
            && !execution.state.cancel_requested
            && execution.spec.created_at < discovering.spec.created_at
            && execution.spec.commit != discovering.spec.commit
            && execution.spec.facts.pull_request.as_ref().is_some_and(|other| other.number == request.number)
    };
    Ok(executions.iter().filter(is_older).map(|execution| execution.spec.id).collect())
}

/// Whether an execution waits for an approval as a whole, or was canceled before it had one.
const fn is_unapproved(execution: &ExecutionRecord) -> bool {
    execution.spec.held && execution.state.unplanned && execution.state.approved_at.is_none()
}

/// Filter for pending executions of a repository.
fn pending(repo: &str) -> ListFilter {
    ListFilter {
        repo: Some(repo.to_owned()),
        status: Some(ExecutionStatus::Pending),
        limit: Some(PAGE),
        ..ListFilter::default()
    }
}
