//! Exports executions, jobs and artifacts page by page, so that neither the server nor the caller holds more than some of them.

use crate::{
    context::service_context::Context,
    error::{Error, Result},
    executions::pipeline::service::PipelineExecutionService,
    ports::{ExecutionRecord, ListFilter},
};
use std::{fmt, str::FromStr, sync::Arc};
use tidemill_core::{
    api::{ExportPage, ExportQuery, ExportedArtifact, ExportedExecution, ExportedJob, JobView, path},
    ids::ExecutionId,
};

/// Number of rows from which on a page ends, if the caller names none.
const DEFAULT_ROWS: u32 = 1_000;
/// Maximum of that number.
const MAX_ROWS: u32 = 2_000;
/// Number of executions that are listed at once.
const LISTED: u32 = 50;
/// Maximum number of executions that one page reads.
const MAX_EXAMINED: usize = 500;

/// The part of an execution that the next page begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// The executions before this one.
    Before(ExecutionId),
    /// Its jobs from this index on.
    Jobs(ExecutionId, usize),
    /// Its artifacts from this index on.
    Artifacts(ExecutionId, usize),
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before(id) => write!(f, "{id}"),
            Self::Jobs(id, from) => write!(f, "{id}.j{from}"),
            Self::Artifacts(id, from) => write!(f, "{id}.a{from}"),
        }
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || Error::invalid_cursor(text);
        let (id, part) = text.split_once('.').map_or((text, None), |(id, part)| (id, Some(part)));
        let id = id.parse().map_err(|_| invalid())?;
        let Some(part) = part else { return Ok(Self::Before(id)) };
        let index = |digits: &str| digits.parse().map_err(|_| invalid());
        match part.strip_prefix('j') {
            Some(digits) => Ok(Self::Jobs(id, index(digits)?)),
            None => Ok(Self::Artifacts(id, index(part.strip_prefix('a').ok_or_else(invalid)?)?)),
        }
    }
}

/// Service that exports records.
#[derive(Debug, Clone)]
pub struct ExportService {
    context: Arc<Context>,
    pipelines: PipelineExecutionService,
}

/// A page that is filled.
struct Draft {
    page: ExportPage,
    rows: usize,
    max_rows: usize,
}

impl Draft {
    fn room(&self) -> usize {
        self.max_rows.saturating_sub(self.rows)
    }
}

impl ExportService {
    pub(crate) fn new(context: Arc<Context>, pipelines: PipelineExecutionService) -> Self {
        Self { context, pipelines }
    }

    /// Returns a page of the export.
    pub async fn page(&self, query: &ExportQuery) -> Result<ExportPage> {
        let limit = query.limit.unwrap_or(DEFAULT_ROWS);
        if !(1..=MAX_ROWS).contains(&limit) {
            return Err(Error::Invalid(format!("`limit` is {limit}; it must be 1 to {MAX_ROWS}")));
        }
        let mut draft = Draft { page: ExportPage::default(), rows: 0, max_rows: limit as usize };
        let position: Option<Position> = query.cursor.as_deref().map(str::parse).transpose()?;
        let mut before = None;
        match position {
            Some(Position::Before(id)) => before = Some(id),
            Some(position @ (Position::Jobs(id, _) | Position::Artifacts(id, _))) => {
                // The cursor may name any execution, and rights are those for the repository.
                let execution = self.context.execution(id).await?;
                if !is_selected(&execution, query) {
                    return Err(Error::invalid_cursor(&position.to_string()));
                }
                let next = self.add_parts(&mut draft, position).await?;
                if next.is_some() {
                    draft.page.next_cursor = next.map(|next| next.to_string());
                    return Ok(draft.page);
                }
                before = Some(id);
            }
            None => {}
        }
        draft.page.next_cursor =
            self.add_executions(&mut draft, query, before).await?.map(|next| next.to_string());
        Ok(draft.page)
    }

    /// Adds executions before `before` until the page is full, and returns where the next one begins.
    async fn add_executions(
        &self,
        draft: &mut Draft,
        query: &ExportQuery,
        mut before: Option<ExecutionId>,
    ) -> Result<Option<Position>> {
        let mut examined = 0;
        loop {
            let filter = ListFilter {
                repo: query.repo.clone(),
                limit: Some(LISTED),
                cursor: before.map(|id| id.to_string()),
                ..ListFilter::default()
            };
            let (executions, more) = self.context.stores.records.executions(&filter).await?;
            for execution in executions {
                let id = execution.spec.id;
                if let Some(last) = before.filter(|_| draft.room() == 0 || examined >= MAX_EXAMINED) {
                    return Ok(Some(Position::Before(last)));
                }
                // Executions are listed by the time of creation, but a clock may have been set back by less than a minute.
                if query.since.is_some_and(|since| execution.spec.created_at.plus_ms(60_000) < since) {
                    return Ok(None);
                }
                examined += 1;
                before = Some(id);
                if !is_selected(&execution, query) {
                    continue;
                }
                draft.page.executions.push(exported(&execution));
                draft.rows += 1;
                if let Some(next) = self.add_parts(draft, Position::Jobs(id, 0)).await? {
                    return Ok(Some(next));
                }
            }
            if !more {
                return Ok(None);
            }
        }
    }

    /// Adds jobs and artifacts of an execution, and returns where to go on if the page is full.
    async fn add_parts(&self, draft: &mut Draft, from: Position) -> Result<Option<Position>> {
        let (id, artifacts_from) = match from {
            Position::Before(_) => return Ok(None),
            Position::Jobs(id, from) => {
                // A removed execution has no more rows.
                let view = match self.pipelines.view(id, None, 0).await {
                    Ok(versioned) => versioned.view,
                    Err(Error::NotFound(_)) => None,
                    Err(error) => return Err(error),
                };
                let jobs = view.map(|view| view.jobs).unwrap_or_default();
                let room = draft.room();
                let number = jobs.len();
                draft.page.jobs.extend(jobs.into_iter().skip(from).take(room).map(exported_job));
                let next = from.saturating_add(room).min(number.max(from));
                draft.rows += next - from;
                if next < number {
                    return Ok(Some(Position::Jobs(id, next)));
                }
                (id, 0)
            }
            Position::Artifacts(id, from) => (id, from),
        };
        let artifacts = self.context.stores.records.artifacts(id).await?;
        let room = draft.room();
        let number = artifacts.len();
        let rows = artifacts.into_iter().skip(artifacts_from).take(room).map(|artifact| ExportedArtifact {
            id: artifact.id,
            job_execution_id: artifact.job,
            file_path: artifact.file_path,
            uploaded_at: artifact.uploaded_at,
            size: artifact.size,
            sha256: artifact.sha256,
        });
        draft.page.artifacts.extend(rows);
        let next = artifacts_from.saturating_add(room).min(number.max(artifacts_from));
        draft.rows += next - artifacts_from;
        Ok((next < number).then_some(Position::Artifacts(id, next)))
    }
}

/// Whether the query selects an execution.
fn is_selected(execution: &ExecutionRecord, query: &ExportQuery) -> bool {
    let at = execution.spec.created_at;
    let key = crate::ports::repository_key;
    query.repo.as_deref().is_none_or(|repo| key(repo) == key(&execution.spec.repo))
        && query.since.is_none_or(|since| at >= since)
        && query.until.is_none_or(|until| at < until)
}

fn exported(execution: &ExecutionRecord) -> ExportedExecution {
    let (spec, state) = (&execution.spec, &execution.state);
    ExportedExecution {
        id: spec.id,
        pipeline_name: spec.pipeline_name.clone(),
        repo: spec.repo.clone(),
        branch: spec.branch.clone(),
        commit: spec.commit.clone(),
        status: state.status,
        created_at: spec.created_at,
        start_time: state.start_time,
        end_time: state.end_time,
        run_number: execution.run_number,
    }
}

fn exported_job(job: JobView) -> ExportedJob {
    let has_log = job.attempt > 0 || job.carried_from.is_some();
    ExportedJob {
        logs: has_log.then(|| path::JOB_LOGS.replace("{jobId}", &job.id.to_string())),
        id: job.id,
        pipeline_execution_id: job.pipeline_execution_id,
        stage: job.stage,
        job_name: job.job_name,
        docker_image: job.docker_image,
        status: job.status,
        start_time: job.start_time,
        end_time: job.end_time,
        attempt: job.attempt,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Position;
    use tidemill_core::ids::ExecutionId;
    use uuid::Uuid;

    #[test]
    fn cursor_is_read_as_it_is_written() {
        let id = ExecutionId(Uuid::from_u128(7));
        for position in [Position::Before(id), Position::Jobs(id, 12), Position::Artifacts(id, 0)] {
            assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
        }
        for text in ["", "x", &format!("{id}.x1"), &format!("{id}.j"), &format!("{id}.j-1")] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }
}
