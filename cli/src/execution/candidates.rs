//! Lists the executions that a command may mean.

use super::{
    choices::{list_choices, newest_of_each_pipeline},
    reference::first_after_prefix,
    repository::{TargetRepository, is_same_repository},
};
use crate::{
    args::{FileArgs, IncludeArgs, SelectorArgs},
    deployment::{Deployment, query_encoded},
    failure::{Failure, Outcome},
    output::Printable,
    pipeline::{
        elsewhere::Elsewhere,
        file::{self, FileContext},
    },
};
use std::fmt::Write as _;
use tidemill_core::api::{ExecutionKind, ExecutionList, ExecutionSummary, path};
use tidemill_core::execution::status::ExecutionStatus;

/// Maximum number of executions in a page.
const MAX_PAGE: u32 = 200;
/// Maximum number of newest executions to select from.
const MAX_CANDIDATES: u32 = 50;

/// The executions that selectors allow.
pub struct Candidates<'a> {
    pub(super) deployment: &'a Deployment,
    selectors: &'a SelectorArgs,
    pub(super) target: &'a TargetRepository,
    pipeline: Option<String>,
}

/// Conditions of one request, beside those of the selectors.
#[derive(Debug, Default)]
struct Conditions<'a> {
    repo: Option<&'a str>,
    status: Option<ExecutionStatus>,
    run: Option<u64>,
    /// Only executions with smaller ids.
    before: Option<&'a str>,
}

impl<'a> Candidates<'a> {
    /// Creates the candidates of a repository.
    pub fn new(
        deployment: &'a Deployment,
        selectors: &'a SelectorArgs,
        target: &'a TargetRepository,
    ) -> Outcome<Self> {
        let pipeline = match &selectors.file {
            None => selectors.pipeline.clone(),
            Some(path) => {
                let args = FileArgs { file: Some(path.clone()), ..FileArgs::default() };
                let elsewhere = Elsewhere::new(&IncludeArgs::default(), None);
                let context = FileContext { elsewhere, ..FileContext::default() };
                Some(file::load(&args, true, &context)?.pipeline.name)
            }
        };
        Ok(Self { deployment, selectors, target, pipeline })
    }

    /// Returns the newest executions, optionally of all repositories, newest first; discoveries only if they failed, if asked
    /// for, or if the selectors name them; children only in the latter two cases.
    pub async fn newest(
        &self,
        all_repositories: bool,
        with_discoveries: bool,
        limit: u32,
    ) -> Outcome<Vec<ExecutionSummary>> {
        let repo = (!all_repositories).then(|| self.target.address());
        let conditions = Conditions { repo, ..Conditions::default() };
        if with_discoveries || self.pipeline.is_some() {
            return self.page(conditions, limit).await;
        }
        let mut found = self.page(conditions, limit.saturating_mul(4).min(MAX_PAGE)).await?;
        // A discovery that failed started nothing: the push is not in the list otherwise.
        found.retain(|execution| {
            execution.parent.is_none()
                && (execution.kind != ExecutionKind::DiscoverPipelines
                    || execution.status == ExecutionStatus::Failed)
        });
        found.truncate(limit as usize);
        Ok(found)
    }

    /// Returns executions of the target repository, newest first, without discoveries.
    pub async fn of_repository(&self) -> Outcome<Vec<ExecutionSummary>> {
        Ok(self.without_discoveries(self.with_status(None).await?))
    }

    /// Returns executions of the target repository that have not ended, newest first.
    pub async fn live(&self) -> Outcome<Vec<ExecutionSummary>> {
        let mut live = self.with_status(Some(ExecutionStatus::Running)).await?;
        live.extend(self.with_status(Some(ExecutionStatus::Pending)).await?);
        live.sort_by_key(|execution| std::cmp::Reverse(execution.id));
        live.dedup_by_key(|execution| execution.id);
        Ok(self.without_discoveries(live))
    }

    /// Returns the executions of the target repository with this run number, one for each pipeline.
    pub async fn with_run_number(&self, run: u64) -> Outcome<Vec<ExecutionSummary>> {
        let conditions = Conditions { run: Some(run), ..self.in_target(None) };
        let found = self.retain_target(self.page(conditions, MAX_CANDIDATES).await?);
        let others = self.without_discoveries(found.clone());
        // A number that only discoveries have names one of them.
        Ok(newest_of_each_pipeline(if others.is_empty() { found } else { others }))
    }

    /// Returns the executions whose ids begin with `prefix`: of the target repository, otherwise of all.
    pub async fn with_id_prefix(&self, prefix: &str) -> Outcome<Vec<ExecutionSummary>> {
        let after = first_after_prefix(prefix);
        for repo in [Some(self.target.address()), None] {
            let conditions = Conditions { repo, before: Some(&after), ..Conditions::default() };
            let mut found = self.page(conditions, MAX_CANDIDATES).await?;
            found.retain(|execution| execution.id.to_string().starts_with(prefix));
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    /// Fails if the selectors exclude an execution that the command names.
    pub fn check(&self, execution: &ExecutionSummary) -> Outcome {
        let excludes = |wanted: Option<&str>, is: Option<&str>| {
            wanted.filter(|wanted| Some(*wanted) != is).map(str::to_owned)
        };
        let status = self.selectors.status.map(|name| ExecutionStatus::from(name).as_str());
        let excluded = excludes(self.pipeline.as_deref(), Some(&execution.pipeline_name))
            .map(|name| format!("pipeline {name}"))
            .or_else(|| {
                excludes(self.selectors.branch.as_deref(), execution.branch.as_deref())
                    .map(|name| format!("branch {name}"))
            })
            .or_else(|| {
                excludes(status, Some(execution.status.as_str())).map(|name| format!("status {name}"))
            });
        let Some(excluded) = excluded else { return Ok(()) };
        Err(Failure::usage(format!("execution {} is not of {}", execution.id, Printable(excluded))))
    }

    /// Returns the failure for an empty selection. It lists executions of other repositories.
    pub async fn none_found(&self, run: Option<u64>) -> Failure {
        let repo = Printable(self.target.address());
        let mut message = match (self.target, run) {
            (TargetRepository::None(_), _) => format!("{repo} is not in a repository"),
            (_, Some(run)) => format!("no run #{run} of {repo} found"),
            (_, None) => format!("no matching execution of {repo} found"),
        };
        let SelectorArgs { branch, status, .. } = self.selectors;
        let has_filters = run.is_some() || self.pipeline.is_some() || branch.is_some() || status.is_some();
        let others = match self.page(Conditions::default(), MAX_CANDIDATES).await {
            Ok(others) => newest_of_each_pipeline(others),
            Err(failure) => return failure,
        };
        if others.is_empty() {
            if !has_filters {
                message += "; there are no executions";
            }
            return Failure::usage(message);
        }
        message += "; select a repository with --repo, or name an execution by its id:";
        Failure::usage(message + &list_choices(others.iter()))
    }

    fn in_target(&self, status: Option<ExecutionStatus>) -> Conditions<'_> {
        Conditions { repo: Some(self.target.address()), status, ..Conditions::default() }
    }

    async fn with_status(&self, status: Option<ExecutionStatus>) -> Outcome<Vec<ExecutionSummary>> {
        Ok(self.retain_target(self.page(self.in_target(status), MAX_CANDIDATES).await?))
    }

    /// Removes executions of other repositories: do not rely on the server's filter.
    fn retain_target(&self, mut all: Vec<ExecutionSummary>) -> Vec<ExecutionSummary> {
        all.retain(|execution| is_same_repository(self.target.address(), &execution.repo));
        all
    }

    /// Removes discovery executions, unless the selectors name them, and children, which their parents show.
    fn without_discoveries(&self, mut all: Vec<ExecutionSummary>) -> Vec<ExecutionSummary> {
        if self.pipeline.is_none() {
            all.retain(|execution| {
                execution.parent.is_none() && execution.kind != ExecutionKind::DiscoverPipelines
            });
        }
        all
    }

    /// Returns executions that the selectors and `conditions` allow, newest first.
    async fn page(&self, conditions: Conditions<'_>, limit: u32) -> Outcome<Vec<ExecutionSummary>> {
        let selected = self.selectors.status.map(ExecutionStatus::from);
        let status = match (conditions.status, selected) {
            (Some(one), Some(other)) if one != other => return Ok(Vec::new()),
            (one, other) => one.or(other),
        };
        let run = conditions.run.map(|run| run.to_string());
        let mut query = format!("limit={limit}");
        let filters = [
            ("repo", conditions.repo),
            ("pipeline", self.pipeline.as_deref()),
            ("branch", self.selectors.branch.as_deref()),
            ("run_number", run.as_deref()),
            ("status", status.map(ExecutionStatus::as_str)),
            ("cursor", conditions.before),
        ];
        for (name, value) in filters {
            if let Some(value) = value {
                let _ = write!(query, "&{name}={}", query_encoded(value));
            }
        }
        let list: ExecutionList = self.deployment.get(&format!("{}?{query}", path::EXECUTIONS)).await?;
        Ok(list.executions)
    }
}
