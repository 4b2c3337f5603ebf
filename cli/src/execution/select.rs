//! Selects the execution that a command acts on.

use super::{
    candidates::Candidates,
    choices::{list_choices, newest_of_each_pipeline, single, single_view, to_retry, unknown_job},
    reference::Reference,
    repository::TargetRepository,
};
use crate::{
    args::{ConsentArgs, ExecutionArgs, JobArgs, SelectorArgs},
    deployment::{Deployment, query_encoded},
    failure::{Failure, Outcome},
    output::Printable,
    view::format,
};
use tidemill_core::execution::{
    failure::FailureKind,
    report::{has_name, jobs_named},
};
use tidemill_core::{
    api::{Approval, ExecutionSummary, ExecutionView, JobView},
    ids::ExecutionId,
};

/// The purpose of a selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Show it.
    Read,
    /// Watch it until it ends.
    Watch,
    /// Cancel it, or a job of it.
    Cancel,
    /// Approve it, or a job of it.
    Approve,
    /// Pin or unpin it.
    Pin,
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
    /// The job that the command names.
    pub job: Option<String>,
    /// The repository that it was selected for. API calls that change the execution send it.
    repo: String,
}

impl Purpose {
    const fn is_change(self) -> bool {
        matches!(self, Self::Cancel | Self::Approve | Self::Pin | Self::Retry { .. })
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

/// Returns the execution that the arguments name, otherwise the newest that fits `purpose`. If several do, a command that changes
/// something fails and lists them.
pub async fn select(
    deployment: &Deployment,
    args: &ExecutionArgs,
    purpose: Purpose,
    consent: ConsentArgs,
) -> Outcome<Selected> {
    let target = TargetRepository::resolve(args.selectors.repo.as_deref())?;
    let candidates = Candidates::new(deployment, &args.selectors, &target)?;
    let selection = Selection { candidates: &candidates, purpose, consent };
    let Some(text) = args.execution.as_deref() else {
        return Ok(selection.newest(None).await?);
    };
    let found = match Reference::parse(text) {
        Some(reference) => selection.find(&reference, None).await?,
        None => None,
    };
    match found {
        Some(selected) => Ok(selected),
        None => Err(selection.unknown_execution(text).await),
    }
}

/// Returns the execution that the arguments name and the name of the job, if there is one. A single argument is an execution or a
/// job of the newest execution that fits.
pub async fn select_job(
    deployment: &Deployment,
    args: &JobArgs,
    purpose: Purpose,
    consent: ConsentArgs,
) -> Outcome<Selected> {
    let JobArgs { execution, job: Some(job), selectors } = args else {
        return select_either(deployment, args, purpose, consent).await;
    };
    let args = ExecutionArgs { execution: execution.clone(), selectors: selectors.clone() };
    let selected = select(deployment, &args, purpose, consent).await?;
    check_job(&selected.view, job)?;
    Ok(Selected { job: Some(job.clone()), ..selected })
}

async fn select_either(
    deployment: &Deployment,
    args: &JobArgs,
    purpose: Purpose,
    consent: ConsentArgs,
) -> Outcome<Selected> {
    let target = TargetRepository::resolve(args.selectors.repo.as_deref())?;
    let candidates = Candidates::new(deployment, &args.selectors, &target)?;
    let selection = Selection { candidates: &candidates, purpose, consent };
    let Some(text) = args.execution.as_deref() else {
        return Ok(selection.newest(None).await?);
    };
    let Some(reference) = Reference::parse(text) else {
        return Ok(selection.newest(Some(text)).await?);
    };
    let named = selection.find(&reference, Some(text)).await?;
    if let Some(selected) = named {
        return Ok(selected);
    }
    match selection.newest(Some(text)).await {
        Ok(selected) => Ok(selected),
        // A text in the form of a reference is more likely an execution than a job.
        Err(Unselected::NothingFits(_)) => Err(selection.unknown_execution(text).await),
        Err(Unselected::Failed(failure)) => Err(failure),
    }
}

/// Returns the newest executions that the arguments select, optionally of all repositories and with discoveries.
pub async fn list(
    deployment: &Deployment,
    selectors: &SelectorArgs,
    all_repositories: bool,
    with_discoveries: bool,
    limit: u32,
) -> Outcome<Vec<ExecutionSummary>> {
    let target = TargetRepository::resolve(selectors.repo.as_deref())?;
    let candidates = Candidates::new(deployment, selectors, &target)?;
    let executions = candidates.newest(all_repositories, with_discoveries, limit).await?;
    if executions.is_empty() && !all_repositories && matches!(target, TargetRepository::None(_)) {
        return Err(candidates.none_found(None).await);
    }
    Ok(executions)
}

/// Returns whether a job was not approved before its execution ended.
pub fn is_not_approved(job: &JobView) -> bool {
    job.failure_reason.as_ref().is_some_and(|reason| reason.kind == FailureKind::NotApproved)
}

fn has_job(view: &ExecutionView, name: &str) -> bool {
    view.jobs.iter().any(|job| has_name(job, name))
}

/// Fails unless the execution has a job of this name.
fn check_job(view: &ExecutionView, name: &str) -> Outcome {
    if has_job(view, name) {
        return Ok(());
    }
    Err(unknown_job(&format::title(&view.execution), [view], name))
}

/// Why no execution was selected.
enum Unselected {
    /// There are no executions, or none has the job.
    NothingFits(Failure),
    /// The choice is ambiguous, or a request failed.
    Failed(Failure),
}

impl From<Failure> for Unselected {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Unselected> for Failure {
    fn from(unselected: Unselected) -> Self {
        match unselected {
            Unselected::NothingFits(failure) | Unselected::Failed(failure) => failure,
        }
    }
}

struct Selection<'a> {
    candidates: &'a Candidates<'a>,
    purpose: Purpose,
    consent: ConsentArgs,
}

impl Selection<'_> {
    /// Returns the execution of this name; `None` if there is none. Fails if it could also be the job `or_job` of the newest
    /// execution.
    async fn find(&self, reference: &Reference, or_job: Option<&str>) -> Outcome<Option<Selected>> {
        let found = match reference {
            Reference::Run(run) => self.candidates.with_run_number(*run).await?,
            Reference::IdPrefix(prefix) => self.candidates.with_id_prefix(prefix).await?,
            Reference::Id(id) => {
                let view = self.candidates.deployment.view(*id).await?;
                return self.named(view).map(Some);
            }
        };
        if found.is_empty() {
            return Ok(None);
        }
        let execution = single(found)?;
        if let Some(name) = or_job {
            self.check_not_a_job(&execution, name).await?;
        }
        let view = self.view(execution).await?;
        self.named(view).map(Some)
    }

    /// Fails if the newest execution has a job that is named like `execution`.
    async fn check_not_a_job(&self, execution: &ExecutionSummary, name: &str) -> Outcome {
        let newest = self.candidates.of_repository().await?.into_iter().next();
        let Some(newest) = newest else { return Ok(()) };
        let newest = self.view(newest).await?;
        if !has_job(&newest, name) {
            return Ok(());
        }
        let name = Printable(name);
        Err(Failure::usage(format!(
            "`{name}` names an execution and a job; write `{} JOB` for a job of the former, or `{} {name}` for the job:{}",
            execution.id,
            newest.execution.id,
            list_choices([execution, &newest.execution].into_iter())
        )))
    }

    /// Checks an execution that the command names.
    fn named(&self, view: ExecutionView) -> Outcome<Selected> {
        let target = self.candidates.target;
        target.check(&view.execution, self.purpose.is_change(), self.consent)?;
        self.candidates.check(&view.execution)?;
        let repo = view.execution.repo.clone();
        Ok(Selected { view, repo, job: None })
    }

    /// Returns the newest execution that fits, and has this job if it is named.
    async fn newest(&self, job: Option<&str>) -> Result<Selected, Unselected> {
        let view = self.choose(job).await?;
        if let Some(name) = job {
            check_job(&view, name).map_err(Unselected::NothingFits)?;
        }
        Ok(Selected { view, repo: self.candidates.target.address().to_owned(), job: job.map(str::to_owned) })
    }

    async fn choose(&self, job: Option<&str>) -> Result<ExecutionView, Unselected> {
        match self.purpose {
            Purpose::Read | Purpose::Pin | Purpose::Retry { .. } => {}
            Purpose::Watch => {
                if let Some(newest) = self.candidates.live().await?.into_iter().next() {
                    return Ok(self.view(newest).await?);
                }
            }
            Purpose::Cancel => {
                let live = self.candidates.live().await?;
                if !live.is_empty() {
                    return self.single_with_job(live, job).await;
                }
            }
            Purpose::Approve => {
                if let Some(view) = self.awaiting_approval(job).await? {
                    return Ok(view);
                }
            }
        }
        let all = self.candidates.of_repository().await?;
        if all.is_empty() {
            return Err(Unselected::NothingFits(self.candidates.none_found(None).await));
        }
        if let Purpose::Retry { successful_too } = self.purpose {
            return self.single_with_job(to_retry(all, successful_too), job).await;
        }
        let newest = newest_of_each_pipeline(all);
        match self.purpose {
            Purpose::Read | Purpose::Watch | Purpose::Pin | Purpose::Retry { .. } => {
                self.first_with_job(newest, job).await
            }
            Purpose::Cancel if newest.len() > 1 => {
                let repo = Printable(self.candidates.target.address());
                let message = format!("no execution of {repo} is running; nothing was canceled");
                Err(Failure::usage(message).into())
            }
            Purpose::Cancel => self.single_with_job(newest, job).await,
            Purpose::Approve => self.ended_without_approval(newest, job).await,
        }
    }

    async fn view(&self, execution: ExecutionSummary) -> Outcome<ExecutionView> {
        self.candidates.deployment.view(execution.id).await
    }

    /// Returns the first execution, or the first one that has the job.
    async fn first_with_job(
        &self,
        executions: Vec<ExecutionSummary>,
        job: Option<&str>,
    ) -> Result<ExecutionView, Unselected> {
        let mut without_job = Vec::new();
        for execution in executions {
            let view = self.view(execution).await?;
            if job.is_none_or(|name| has_job(&view, name)) {
                return Ok(view);
            }
            without_job.push(view);
        }
        match job.filter(|_| !without_job.is_empty()) {
            Some(name) => Err(self.no_such_job(&without_job, name)),
            None => Err(self.candidates.none_found(None).await.into()),
        }
    }

    /// Returns the only execution, or the only one that has the job.
    async fn single_with_job(
        &self,
        executions: Vec<ExecutionSummary>,
        job: Option<&str>,
    ) -> Result<ExecutionView, Unselected> {
        let Some(name) = job.filter(|_| executions.len() > 1) else {
            return Ok(self.view(single(executions)?).await?);
        };
        let (mut with_job, mut without_job) = (Vec::new(), Vec::new());
        for execution in executions {
            let view = self.view(execution).await?;
            if has_job(&view, name) { &mut with_job } else { &mut without_job }.push(view);
        }
        match single_view(with_job)? {
            Some(view) => Ok(view),
            None => Err(self.no_such_job(&without_job, name)),
        }
    }

    fn no_such_job(&self, views: &[ExecutionView], name: &str) -> Unselected {
        let subject = match views {
            [only] => format::title(&only.execution),
            _ => format!(
                "none of {} executions of {}",
                views.len(),
                Printable(self.candidates.target.address())
            ),
        };
        Unselected::NothingFits(unknown_job(&subject, views, name))
    }

    /// Returns the live execution that awaits approval, or has a job that does.
    async fn awaiting_approval(&self, job: Option<&str>) -> Outcome<Option<ExecutionView>> {
        let mut waiting = Vec::new();
        for execution in self.candidates.live().await? {
            let view = self.view(execution).await?;
            let awaits = |candidate: &JobView| {
                candidate.approval == Some(Approval::Awaited)
                    && job.is_none_or(|name| {
                        jobs_named(&view.jobs, name).iter().any(|job| job.id == candidate.id)
                    })
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
    ) -> Result<ExecutionView, Unselected> {
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
            let repo = Printable(self.candidates.target.address());
            let message = format!("no execution of {repo} awaits approval; nothing was approved");
            return Err(Failure::usage(message).into());
        }
        Ok(self.view(single(newest)?).await?)
    }

    /// Returns the failure for an argument that names no execution.
    async fn unknown_execution(&self, text: &str) -> Failure {
        let message = match Reference::parse(text) {
            Some(Reference::Run(run)) => return self.candidates.none_found(Some(run)).await,
            Some(Reference::Id(_) | Reference::IdPrefix(_)) => {
                format!("no execution has an id that begins with {text}")
            }
            None => format!(
                "`{}` is not an execution: name it by its run number, its id, or the start of its id",
                Printable(text)
            ),
        };
        Failure::usage(format!("{message}; `tidemill status` lists executions"))
    }
}
