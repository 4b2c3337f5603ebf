//! Selects the execution that a command acts on.

use super::{
    choices::{list_choices, newest_of_each_pipeline, single, single_view},
    repository::{TargetRepository, is_same_repository},
};
use crate::{
    args::{ExecutionArgs, FileArgs},
    deployment::{Deployment, query_encoded},
    failure::{Failure, Outcome},
    output::Printable,
    pipeline::file,
    view::format,
};
use std::fmt::Write as _;
use tidemill_core::execution::{failure::FailureKind, report::has_name, status::ExecutionStatus};
use tidemill_core::{
    api::{Approval, ExecutionKind, ExecutionList, ExecutionSummary, ExecutionView, JobView, path},
    ids::ExecutionId,
};

/// Maximum number of newest executions to select from.
const MAX_CANDIDATES: u32 = 50;

/// The purpose of a selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// Show it.
    Read,
    /// Watch it until it ends.
    Watch,
    /// Cancel it, or a job of it.
    Cancel,
    /// Approve it, or this job of it.
    Approve(Option<&'a str>),
    /// Retry it.
    Retry {
        /// Whether successful executions are selected too.
        successful_too: bool,
    },
}

/// A selected execution.
#[derive(Debug, Clone)]
pub struct Selected {
    /// The execution with its jobs.
    pub view: ExecutionView,
    /// The repository that it was selected for. API calls that change the execution send it.
    repo: String,
}

impl Purpose<'_> {
    const fn is_change(self) -> bool {
        matches!(self, Self::Cancel | Self::Approve(_) | Self::Retry { .. })
    }
}

impl Selected {
    /// Returns the execution's id.
    pub fn id(&self) -> ExecutionId {
        self.view.execution.id
    }

    /// Returns pipeline, run number and repository as text.
    pub fn title(&self) -> String {
        format::title(&self.view.execution)
    }

    /// Adds the expected repository to an API path: the server rejects calls on another repository's execution.
    pub fn with_expected_repo(&self, path: &str) -> String {
        with_expected_repo(path, &self.repo)
    }

    /// Returns the repository that it was selected for.
    pub fn repo(&self) -> &str {
        &self.repo
    }
}

/// Adds the expected repository to an API path.
pub fn with_expected_repo(path: &str, repo: &str) -> String {
    format!("{path}?repo={}", query_encoded(repo))
}

/// Returns the execution that the arguments select. If they select several, fails and lists them.
pub async fn select(
    deployment: &Deployment,
    args: &ExecutionArgs,
    purpose: Purpose<'_>,
) -> Outcome<Selected> {
    let target = TargetRepository::resolve(args.repo.as_deref())?;
    if let Some(id) = args.execution {
        let view = deployment.view(id).await?;
        target.check(&view.execution, purpose.is_change())?;
        let repo = view.execution.repo.clone();
        return Ok(Selected { view, repo });
    }
    let candidates = Candidates { deployment, args, target: &target, pipeline: pipeline_name(args)? };
    let view = candidates.choose(purpose).await?;
    Ok(Selected { view, repo: target.address().to_owned() })
}

/// Returns the newest executions that the arguments select, optionally of all repositories.
pub async fn list(
    deployment: &Deployment,
    args: &ExecutionArgs,
    all_repositories: bool,
    limit: u32,
) -> Outcome<Vec<ExecutionSummary>> {
    let target = TargetRepository::resolve(args.repo.as_deref())?;
    let candidates = Candidates { deployment, args, target: &target, pipeline: pipeline_name(args)? };
    let repo = (!all_repositories).then(|| target.address());
    let executions = candidates.page(repo, None, limit).await?;
    if executions.is_empty() && !all_repositories && matches!(target, TargetRepository::None(_)) {
        return Err(candidates.none_found().await);
    }
    Ok(executions)
}

/// Returns whether a job was not approved before its execution ended.
pub fn is_not_approved(job: &JobView) -> bool {
    job.failure_reason.as_ref().is_some_and(|reason| reason.kind == FailureKind::NotApproved)
}

/// Returns the name of the pipeline that the arguments select by name or file.
fn pipeline_name(args: &ExecutionArgs) -> Outcome<Option<String>> {
    let Some(path) = &args.file else { return Ok(args.pipeline.clone()) };
    let args = FileArgs { file: Some(path.clone()), ..FileArgs::default() };
    Ok(Some(file::load(&args, true)?.pipeline.name))
}

struct Candidates<'a> {
    deployment: &'a Deployment,
    args: &'a ExecutionArgs,
    target: &'a TargetRepository,
    pipeline: Option<String>,
}

impl Candidates<'_> {
    /// Returns executions of one or all repositories that the other arguments select, newest first.
    async fn page(
        &self,
        repo: Option<&str>,
        status: Option<ExecutionStatus>,
        limit: u32,
    ) -> Outcome<Vec<ExecutionSummary>> {
        let mut query = format!("limit={limit}");
        let run = self.args.run.map(|run| run.to_string());
        let filters = [
            ("repo", repo),
            ("pipeline", self.pipeline.as_deref()),
            ("branch", self.args.branch.as_deref()),
            ("run_number", run.as_deref()),
            ("status", status.map(ExecutionStatus::as_str)),
        ];
        for (name, value) in filters {
            if let Some(value) = value {
                let _ = write!(query, "&{name}={}", query_encoded(value));
            }
        }
        let list: ExecutionList = self.deployment.get(&format!("{}?{query}", path::EXECUTIONS)).await?;
        Ok(list.executions)
    }

    /// Returns executions of the target repository, newest first.
    async fn of_repository(&self, status: Option<ExecutionStatus>) -> Outcome<Vec<ExecutionSummary>> {
        let mut all = self.page(Some(self.target.address()), status, MAX_CANDIDATES).await?;
        // Do not rely on the server's filter.
        all.retain(|execution| is_same_repository(self.target.address(), &execution.repo));
        Ok(all)
    }

    /// Removes discovery executions, unless the arguments select them or there are no others.
    fn without_discoveries(&self, mut all: Vec<ExecutionSummary>) -> Vec<ExecutionSummary> {
        let is_discovery = |execution: &ExecutionSummary| execution.kind == ExecutionKind::DiscoverPipelines;
        if self.pipeline.is_none() && !all.iter().all(is_discovery) {
            all.retain(|execution| !is_discovery(execution));
        }
        all
    }

    /// Returns executions of the target repository that have not ended, newest first.
    async fn live(&self) -> Outcome<Vec<ExecutionSummary>> {
        let mut live = self.of_repository(Some(ExecutionStatus::Running)).await?;
        live.extend(self.of_repository(Some(ExecutionStatus::Pending)).await?);
        live.sort_by_key(|execution| std::cmp::Reverse(execution.id));
        live.dedup_by_key(|execution| execution.id);
        Ok(self.without_discoveries(live))
    }

    async fn choose(&self, purpose: Purpose<'_>) -> Outcome<ExecutionView> {
        match purpose {
            Purpose::Read | Purpose::Retry { .. } => {}
            Purpose::Watch | Purpose::Cancel => {
                let live = self.live().await?;
                if !live.is_empty() {
                    return self.view(single(live)?).await;
                }
            }
            Purpose::Approve(job) => {
                if let Some(view) = self.awaiting_approval(job).await? {
                    return Ok(view);
                }
            }
        }
        let all = self.without_discoveries(self.of_repository(None).await?);
        if all.is_empty() {
            return Err(self.none_found().await);
        }
        let newest = newest_of_each_pipeline(all);
        if newest.len() > 1 && purpose == Purpose::Cancel {
            let repo = Printable(self.target.address());
            return Err(Failure::usage(format!("no execution of {repo} is running; nothing was canceled")));
        }
        if let Purpose::Retry { successful_too: false } = purpose {
            let unsuccessful = newest.iter().filter(|execution| execution.status != ExecutionStatus::Success);
            let unsuccessful: Vec<ExecutionSummary> = unsuccessful.cloned().collect();
            if !unsuccessful.is_empty() {
                return self.view(single(unsuccessful)?).await;
            }
        }
        if let Purpose::Approve(job) = purpose {
            return self.ended_without_approval(newest, job).await;
        }
        self.view(single(newest)?).await
    }

    async fn view(&self, execution: ExecutionSummary) -> Outcome<ExecutionView> {
        self.deployment.view(execution.id).await
    }

    /// Returns the live execution that awaits approval, or has a job that does.
    async fn awaiting_approval(&self, job: Option<&str>) -> Outcome<Option<ExecutionView>> {
        let mut waiting = Vec::new();
        for execution in self.live().await? {
            let view = self.view(execution).await?;
            let awaits = |candidate: &JobView| {
                candidate.approval == Some(Approval::Awaited)
                    && job.is_none_or(|name| has_name(candidate, name))
            };
            let is_held = job.is_none() && view.approval == Some(Approval::Awaited);
            if is_held || view.jobs.iter().any(awaits) {
                waiting.push(view);
            }
        }
        single_view(waiting)
    }

    /// Returns the ended execution with a job that was not approved; otherwise the only execution, so that the server reports why
    /// it cannot be approved.
    async fn ended_without_approval(
        &self,
        newest: Vec<ExecutionSummary>,
        job: Option<&str>,
    ) -> Outcome<ExecutionView> {
        let mut ended = Vec::new();
        for execution in newest.iter().filter(|execution| execution.status.is_terminal()) {
            let view = self.view(execution.clone()).await?;
            let matches = |candidate: &JobView| {
                is_not_approved(candidate) && job.is_none_or(|name| has_name(candidate, name))
            };
            if view.jobs.iter().any(matches) {
                ended.push(view);
            }
        }
        if let Some(view) = single_view(ended)? {
            return Ok(view);
        }
        if newest.len() > 1 {
            let repo = Printable(self.target.address());
            return Err(Failure::usage(format!(
                "no execution of {repo} awaits approval; nothing was approved"
            )));
        }
        self.view(single(newest)?).await
    }

    /// Returns the failure for an empty selection. It lists executions of other repositories.
    async fn none_found(&self) -> Failure {
        let repo = Printable(self.target.address());
        let mut message = match self.target {
            TargetRepository::None(_) => format!("{repo} is not in a repository"),
            TargetRepository::Current(_) | TargetRepository::Named(_) => match self.args.run {
                Some(run) => format!("no run #{run} of {repo} found"),
                None => format!("no matching execution of {repo} found"),
            },
        };
        let has_filters = self.pipeline.is_some() || self.args.branch.is_some() || self.args.run.is_some();
        let others = match self.page(None, None, MAX_CANDIDATES).await {
            Ok(others) => newest_of_each_pipeline(others),
            Err(failure) => return failure,
        };
        if others.is_empty() {
            if !has_filters {
                message += "; there are no executions";
            }
            return Failure::usage(message);
        }
        message += "; select a repository with --repo, or an execution with --execution:";
        Failure::usage(message + &list_choices(others.iter()))
    }
}
