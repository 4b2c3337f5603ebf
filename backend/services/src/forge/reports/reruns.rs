//! The button with which people at GitHub run checks again: retries what a check run reports, or all check runs of a commit.

use crate::{
    context::service_context::Context,
    error::{Error, Result},
    executions::{
        idempotency_keys::{IdempotencyKey, RecordedKey},
        pipeline::service::PipelineExecutionService,
    },
    forge::{follow_ups::FollowUpService, outbox::Outbox},
    ports::{ExecutionRecord, ListFilter},
    repositories::record::Repository,
};
use std::{collections::BTreeMap, sync::Arc};
use tidemill_core::{
    api::{ExecutionKind, RetryRequest, Trigger},
    execution::status::ExecutionStatus,
    ids::ExecutionId,
    repository::{canonical_name, registration::WebhookReply, webhook::RerunRequest},
};

/// Number of the newest executions of a repository among which those of a commit are looked up.
const MAX_EXAMINED: u32 = 200;

/// Runs again what was reported as checks; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reruns {
    context: Arc<Context>,
    pipelines: PipelineExecutionService,
    follow_ups: FollowUpService,
    outbox: Outbox,
}

impl Reruns {
    pub fn new(
        context: Arc<Context>,
        pipelines: PipelineExecutionService,
        follow_ups: FollowUpService,
        outbox: Outbox,
    ) -> Self {
        Self { context, pipelines, follow_ups, outbox }
    }

    pub fn with_outbox(&self, outbox: Outbox) -> Self {
        Self { outbox, ..self.clone() }
    }

    /// Returns the reason why a request of GitHub runs nothing, if there is one: it is not about this App, or its author has no rights.
    ///
    /// GitHub's webhook does not say what its author may do. The names that the repository's registration lists decide, or else whether
    /// GitHub says that the author may write.
    pub async fn refusal(&self, of: &Repository, request: &RerunRequest) -> Result<Option<String>> {
        if of.app.as_ref().is_none_or(|app| app.app_id != request.app_id) {
            return Ok(Some("the checks are not those of the App of the repository".into()));
        }
        let author = &request.author;
        if !of.comment_authors.is_empty() {
            let is_listed = of.comment_authors.iter().any(|name| name.eq_ignore_ascii_case(author));
            return Ok((!is_listed || author.is_empty())
                .then(|| format!("{author} is not among the `--comment-authors` of the repository")));
        }
        match self.outbox.may_write(of, author).await {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some(format!("{author} may not write to the repository"))),
            Err(failure) => {
                Err(Error::Busy(format!("GitHub does not say what {author} may do: {}", failure.why)))
            }
        }
    }

    /// Retries the executions of a request, each once for one `event`, and adds what came of it to the reply.
    pub async fn run(
        &self,
        of: &Repository,
        request: &RerunRequest,
        event: &IdempotencyKey<'_>,
        reply: &mut WebhookReply,
    ) -> Result<()> {
        let executions = match &request.check_run {
            Some(id) => self.of_check_run(of, id, &request.commit).await?,
            None => self.of_commit(of, &request.commit).await?,
        };
        if executions.is_empty() {
            reply.lines.push("nothing starts: no execution here has these checks".into());
        }
        for execution in executions {
            self.retry(&execution, request, event, reply).await?;
        }
        Ok(())
    }

    async fn retry(
        &self,
        of: &ExecutionRecord,
        request: &RerunRequest,
        event: &IdempotencyKey<'_>,
        reply: &mut WebhookReply,
    ) -> Result<()> {
        let id = of.spec.id;
        let has_succeeded = of.state.status == ExecutionStatus::Success;
        let retry = RetryRequest {
            all: has_succeeded,
            requested_by: Some(request.author.clone()),
            ..RetryRequest::default()
        };
        let key = RecordedKey::of(&IdempotencyKey::Rerun { event: &event.name()?, execution: id })?;
        let started = match self.pipelines.retry_recorded(id, retry, Some(key)).await {
            Ok(started) => started,
            Err(
                Error::Invalid(why)
                | Error::Conflict(why)
                | Error::Unprocessable(why)
                | Error::OverBudget(why),
            ) => {
                reply.lines.push(format!("nothing starts: {why}"));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        // A repeated request does it again, in case that the first one was cut off.
        self.follow_ups.follow_retry(started.execution_id, id).await?;
        self.outbox.announce_retry(started.execution_id).await?;
        if started.attached {
            reply.lines.push(format!("delivered before, see execution {}", started.execution_id));
        } else {
            reply.lines.push(format!("retried {id} as {}", started.execution_id));
            reply.executions.push(started.execution_id);
        }
        Ok(())
    }

    /// Returns the execution with this id, if it may be run again for this repository and commit.
    async fn of_check_run(&self, of: &Repository, id: &str, commit: &str) -> Result<Vec<ExecutionRecord>> {
        let execution = match id.parse::<ExecutionId>() {
            Ok(id) => self.context.stores.records.execution(id).await?,
            Err(_) => None,
        };
        Ok(execution.into_iter().filter(|execution| is_of(execution, of, commit)).collect())
    }

    /// Returns the newest execution of each pipeline at a commit.
    async fn of_commit(&self, of: &Repository, commit: &str) -> Result<Vec<ExecutionRecord>> {
        let filter =
            ListFilter { repo: Some(of.url.clone()), limit: Some(MAX_EXAMINED), ..ListFilter::default() };
        let (executions, _) = self.context.stores.records.executions(&filter).await?;
        let mut newest = BTreeMap::new();
        for execution in executions.into_iter().filter(|execution| is_of(execution, of, commit)) {
            newest.entry(execution.spec.pipeline_name.clone()).or_insert(execution);
        }
        Ok(newest.into_values().collect())
    }
}

/// Whether an execution is of this repository and commit, was announced to its provider, and does not wait for an approval, which a
/// retry would replace. Of discoveries, only failed ones are announced.
fn is_of(execution: &ExecutionRecord, repository: &Repository, commit: &str) -> bool {
    let spec = &execution.spec;
    let is_manual = spec.facts.is_assumed || spec.facts.trigger == Trigger::Manual;
    let is_unapproved = spec.held && execution.state.unplanned && execution.state.approved_at.is_none();
    let is_quiet = spec.task.kind() == ExecutionKind::DiscoverPipelines
        && execution.state.status != ExecutionStatus::Failed;
    canonical_name(&spec.repo) == repository.name()
        && spec.commit.as_deref().is_some_and(|of| of.eq_ignore_ascii_case(commit))
        && !is_manual
        && !is_unapproved
        && !is_quiet
}
