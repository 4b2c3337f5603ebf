//! Which execution a command is about: of the repository that one stands in, or that `--repo` names, and of no other.

use crate::{
    args::{FileArgs, Which},
    deployment::{Deployment, percent_encoded},
    failure::{Failure, Outcome},
    file,
    output::{self, Printable},
    view::words,
};
use std::{
    fmt::Write as _,
    io::{BufRead, IsTerminal, Write as _},
    path::Path,
};
use tidemill_core::{
    api::{Approval, ExecutionKind, ExecutionList, ExecutionSummary, ExecutionView, JobView, path},
    failure::FailureKind,
    ids::ExecutionId,
    repo::canonical,
    report::is_named,
    status::ExecutionStatus,
};
use tidemill_worker::source;

/// Executions among which the newest are looked for.
const MAX_CANDIDATES: u32 = 50;
/// Choices that are listed.
const MAX_CHOICES: usize = 20;

/// The repository that a command acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The one that `--repo` names.
    Named(String),
    /// The one that the command was called in.
    Here(String),
    /// None: the command was called in a directory that is in no repository.
    Nowhere(String),
}

/// What a command is about to do with the execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// Show it.
    Read,
    /// Watch it until it is over.
    Watch,
    /// Cancel it, or a job of it.
    Cancel,
    /// Approve it, or this job of it.
    Approve(Option<&'a str>),
    /// Retry it; with `true`, also when it succeeded.
    Retry(bool),
}

/// The execution that was selected.
#[derive(Debug, Clone)]
pub struct Selected {
    /// It, with its jobs.
    pub view: ExecutionView,
    /// The repository that it was selected for, which a call that changes something names.
    repo: String,
}

/// Whether two addresses are of one repository.
pub fn is_same_repository(one: &str, other: &str) -> bool {
    one == other || canonical(one) == canonical(other)
}

impl Place {
    /// The repository that `--repo` names, else that of the current directory: as `tidemill run` records it.
    pub fn of(named: Option<&str>) -> Outcome<Self> {
        if let Some(repo) = named {
            return Ok(Self::Named(local_path(repo).unwrap_or_else(|| repo.to_owned())));
        }
        let here = std::env::current_dir()?;
        let repo = source::repository_of(&here).map_err(|error| Failure::usage(error.to_string()))?;
        let has_git = here.ancestors().any(|above| above.join(".git").exists());
        Ok(if has_git || file::has_pipelines() { Self::Here(repo) } else { Self::Nowhere(repo) })
    }

    /// The repository's address; of a directory that is in none, its path.
    pub fn repo(&self) -> &str {
        match self {
            Self::Named(repo) | Self::Here(repo) | Self::Nowhere(repo) => repo,
        }
    }

    /// Refuses to act on what belongs to another repository, unless whoever is at the terminal confirms it. `what` and `repo`
    /// are what is acted on.
    pub fn must_be(&self, of: &ExecutionSummary, acts: bool) -> Outcome {
        if is_same_repository(self.repo(), &of.repo) {
            return Ok(());
        }
        let name = words::title(of);
        match self {
            Self::Named(repo) => Err(Failure::usage(format!(
                "execution {} is {name}, not of {}; nothing was done",
                of.id,
                Printable(repo)
            ))),
            Self::Here(repo) if acts => confirm(&name, repo, of),
            Self::Here(_) | Self::Nowhere(_) => Ok(()),
        }
    }
}

/// A local directory's full path, as a run of it records it.
pub fn local_path(repo: &str) -> Option<String> {
    let is_local = !repo.contains("://") && Path::new(repo).is_dir();
    let full = is_local.then(|| Path::new(repo).canonicalize().ok()).flatten()?;
    Some(full.to_string_lossy().into_owned())
}

/// Asks at the terminal whether another repository's execution is meant; without a terminal it is not.
fn confirm(name: &str, here: &str, of: &ExecutionSummary) -> Outcome {
    let here = Printable(here);
    let refused = || {
        Failure::usage(format!(
            "execution {} is {name}, and this is {here}; nothing was done; if it is meant, say --repo '{}'",
            of.id,
            Printable(&of.repo)
        ))
    };
    let stdin = std::io::stdin();
    if !stdin.is_terminal() || !output::stderr_is_terminal() {
        return Err(refused());
    }
    write!(output::stderr(), "execution {} is {name}, and this is {here}; go on? [y/N] ", of.id)?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(refused()) }
}

impl Purpose<'_> {
    const fn acts(self) -> bool {
        matches!(self, Self::Cancel | Self::Approve(_) | Self::Retry(_))
    }
}

impl Selected {
    /// Its id.
    pub fn id(&self) -> ExecutionId {
        self.view.execution.id
    }

    /// Pipeline, number and repository.
    pub fn title(&self) -> String {
        words::title(&self.view.execution)
    }

    /// A path of the API with the repository that is expected, so that the server refuses what is of another.
    pub fn expecting(&self, path: &str) -> String {
        expecting(path, &self.repo)
    }

    /// The repository that it was selected for.
    pub fn repo(&self) -> &str {
        &self.repo
    }
}

/// A path of the API with the repository that is expected.
pub fn expecting(path: &str, repo: &str) -> String {
    format!("{path}?repo={}", percent_encoded(repo))
}

/// The execution that the arguments select. It is refused with the choices when there are several.
pub async fn select(deployment: &Deployment, which: &Which, purpose: Purpose<'_>) -> Outcome<Selected> {
    let place = Place::of(which.repo.as_deref())?;
    if let Some(id) = which.execution {
        let view = deployment.view(id).await?;
        place.must_be(&view.execution, purpose.acts())?;
        let repo = view.execution.repo.clone();
        return Ok(Selected { view, repo });
    }
    let found = Candidates { deployment, which, place: &place, pipeline: pipeline_of(which)? };
    let view = found.choose(purpose).await?;
    Ok(Selected { view, repo: place.repo().to_owned() })
}

/// The newest executions that the arguments select; `everywhere`: of all repositories.
pub async fn list(
    deployment: &Deployment,
    which: &Which,
    everywhere: bool,
    limit: u32,
) -> Outcome<Vec<ExecutionSummary>> {
    let place = Place::of(which.repo.as_deref())?;
    let found = Candidates { deployment, which, place: &place, pipeline: pipeline_of(which)? };
    let repo = (!everywhere).then(|| place.repo());
    let executions = found.page(repo, None, limit).await?;
    if executions.is_empty() && !everywhere && matches!(place, Place::Nowhere(_)) {
        return Err(found.nothing().await);
    }
    Ok(executions)
}

/// The name of the pipeline that the arguments name, or whose file they name.
fn pipeline_of(which: &Which) -> Outcome<Option<String>> {
    let Some(path) = &which.file else { return Ok(which.pipeline.clone()) };
    let args = FileArgs { file: Some(path.clone()), ..FileArgs::default() };
    Ok(Some(file::load(&args, true)?.pipeline.name))
}

struct Candidates<'a> {
    deployment: &'a Deployment,
    which: &'a Which,
    place: &'a Place,
    pipeline: Option<String>,
}

impl Candidates<'_> {
    /// Executions of a repository, or of all, the newest first, that the other arguments select.
    async fn page(
        &self,
        repo: Option<&str>,
        status: Option<ExecutionStatus>,
        limit: u32,
    ) -> Outcome<Vec<ExecutionSummary>> {
        let mut query = format!("limit={limit}");
        let run = self.which.run.map(|run| run.to_string());
        let given = [
            ("repo", repo),
            ("pipeline", self.pipeline.as_deref()),
            ("branch", self.which.branch.as_deref()),
            ("run_number", run.as_deref()),
            ("status", status.map(ExecutionStatus::word)),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                let _ = write!(query, "&{name}={}", percent_encoded(value));
            }
        }
        let list: ExecutionList = self.deployment.get(&format!("{}?{query}", path::EXECUTIONS)).await?;
        Ok(list.executions)
    }

    /// Those of the repository.
    async fn of_repository(&self, status: Option<ExecutionStatus>) -> Outcome<Vec<ExecutionSummary>> {
        let mut all = self.page(Some(self.place.repo()), status, MAX_CANDIDATES).await?;
        // Whatever a server answers, what is of another repository is no candidate.
        all.retain(|of| is_same_repository(self.place.repo(), &of.repo));
        Ok(all)
    }

    /// Without look-ups of commits, unless there is nothing else, or they are named.
    fn without_lookups(&self, mut all: Vec<ExecutionSummary>) -> Vec<ExecutionSummary> {
        let is_lookup = |of: &ExecutionSummary| of.kind == ExecutionKind::DiscoverPipelines;
        if self.pipeline.is_none() && !all.iter().all(is_lookup) {
            all.retain(|of| !is_lookup(of));
        }
        all
    }

    /// Those of the repository that are not over, the newest first.
    async fn live(&self) -> Outcome<Vec<ExecutionSummary>> {
        let mut live = self.of_repository(Some(ExecutionStatus::Running)).await?;
        live.extend(self.of_repository(Some(ExecutionStatus::Pending)).await?);
        live.sort_by_key(|of| std::cmp::Reverse(of.id));
        live.dedup_by_key(|of| of.id);
        Ok(self.without_lookups(live))
    }

    async fn choose(&self, purpose: Purpose<'_>) -> Outcome<ExecutionView> {
        match purpose {
            Purpose::Read | Purpose::Retry(_) => {}
            Purpose::Watch | Purpose::Cancel => {
                let live = self.live().await?;
                if !live.is_empty() {
                    return self.view(only(live)?).await;
                }
            }
            Purpose::Approve(job) => {
                if let Some(view) = self.waiting(job).await? {
                    return Ok(view);
                }
            }
        }
        let all = self.without_lookups(self.of_repository(None).await?);
        if all.is_empty() {
            return Err(self.nothing().await);
        }
        let newest = newest_of_each_pipeline(all);
        if newest.len() > 1 && purpose == Purpose::Cancel {
            let repo = Printable(self.place.repo());
            return Err(Failure::usage(format!("nothing of {repo} is under way; nothing was done")));
        }
        if let Purpose::Retry(false) = purpose {
            let left = newest.iter().filter(|of| of.status != ExecutionStatus::Success);
            let left: Vec<ExecutionSummary> = left.cloned().collect();
            if !left.is_empty() {
                return self.view(only(left)?).await;
            }
        }
        if let Purpose::Approve(job) = purpose {
            return self.late(newest, job).await;
        }
        self.view(only(newest)?).await
    }

    async fn view(&self, of: ExecutionSummary) -> Outcome<ExecutionView> {
        self.deployment.view(of.id).await
    }

    /// The live execution that waits for an approval; none does.
    async fn waiting(&self, job: Option<&str>) -> Outcome<Option<ExecutionView>> {
        let mut waiting = Vec::new();
        for of in self.live().await? {
            let view = self.view(of).await?;
            let is_it = |of: &JobView| {
                of.approval == Some(Approval::Awaited) && job.is_none_or(|name| is_named(of, name))
            };
            let whole = job.is_none() && view.approval == Some(Approval::Awaited);
            if whole || view.jobs.iter().any(is_it) {
                waiting.push(view);
            }
        }
        one_of(waiting)
    }

    /// What is over, and has a job that nobody approved; else the only one there is, of which the server says what is wrong.
    async fn late(&self, newest: Vec<ExecutionSummary>, job: Option<&str>) -> Outcome<ExecutionView> {
        let mut late = Vec::new();
        for of in newest.iter().filter(|of| of.status.is_terminal()) {
            let view = self.view(of.clone()).await?;
            let is_it = |of: &JobView| is_left_undone(of) && job.is_none_or(|name| is_named(of, name));
            if view.jobs.iter().any(is_it) {
                late.push(view);
            }
        }
        if let Some(view) = one_of(late)? {
            return Ok(view);
        }
        if newest.len() > 1 {
            let repo = Printable(self.place.repo());
            return Err(Failure::usage(format!("nothing of {repo} waits for an approval; nothing was done")));
        }
        self.view(only(newest)?).await
    }

    /// Why there is no candidate, with what there is elsewhere.
    async fn nothing(&self) -> Failure {
        let repo = Printable(self.place.repo());
        let mut said = match self.place {
            Place::Nowhere(_) => format!("{repo} is in no repository"),
            Place::Here(_) | Place::Named(_) => match self.which.run {
                Some(run) => format!("no run #{run} of {repo} is recorded"),
                None => format!("no such execution of {repo} is recorded"),
            },
        };
        let selects_more = self.pipeline.is_some() || self.which.branch.is_some() || self.which.run.is_some();
        let elsewhere = match self.page(None, None, MAX_CANDIDATES).await {
            Ok(elsewhere) => elsewhere,
            Err(failure) => return failure,
        };
        let elsewhere = newest_of_each_pipeline(elsewhere);
        if elsewhere.is_empty() {
            if !selects_more {
                said += ", nor is any other";
            }
            return Failure::usage(said);
        }
        said += "; name the repository with --repo, or the execution with --execution. There are:";
        Failure::usage(said + &choices(elsewhere.iter()))
    }
}

/// Whether nobody approved a job before its execution was over.
pub fn is_left_undone(job: &JobView) -> bool {
    job.failure_reason.as_ref().is_some_and(|reason| reason.kind == FailureKind::NotApproved)
}

/// The newest execution of each pipeline of each repository, of a list that begins with the newest.
fn newest_of_each_pipeline(all: Vec<ExecutionSummary>) -> Vec<ExecutionSummary> {
    let mut newest: Vec<ExecutionSummary> = Vec::new();
    for of in all {
        let is_known = |known: &ExecutionSummary| {
            known.pipeline_name == of.pipeline_name && is_same_repository(&known.repo, &of.repo)
        };
        if !newest.iter().any(is_known) {
            newest.push(of);
        }
    }
    newest
}

/// The only one of these; none.
fn one_of(mut views: Vec<ExecutionView>) -> Outcome<Option<ExecutionView>> {
    if views.len() > 1 {
        return Err(ambiguous(views.iter().map(|view| &view.execution)));
    }
    Ok(views.pop())
}

/// The only one of these, of which there is at least one.
fn only(mut found: Vec<ExecutionSummary>) -> Outcome<ExecutionSummary> {
    if found.len() > 1 {
        return Err(ambiguous(found.iter()));
    }
    found.pop().ok_or_else(|| {
        Failure::usage("no such execution is recorded; `tidemill status` lists those that are")
    })
}

fn ambiguous<'a>(found: impl Iterator<Item = &'a ExecutionSummary>) -> Failure {
    Failure::usage(format!(
        "which one? Name it with --pipeline, --branch, --run or --execution; nothing was done. There are:{}",
        choices(found)
    ))
}

/// A line for each execution.
fn choices<'a>(found: impl Iterator<Item = &'a ExecutionSummary>) -> String {
    let mut lines = String::new();
    let mut more = 0;
    for (at, of) in found.enumerate() {
        if at < MAX_CHOICES {
            let _ = write!(lines, "\n  {}", words::listed(of));
        } else {
            more += 1;
        }
    }
    if more > 0 {
        let _ = write!(lines, "\n  and {more} more");
    }
    lines
}
