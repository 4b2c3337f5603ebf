//! DiscoveryService: has a worker look at a commit, and starts the pipelines that it finds there.

use super::{
    discovery_start::{DiscoveryStart, start_discovery},
    held_executions,
    outbox::Outbox,
    schedules::{DiscoveredPipeline, ScheduleService},
};
use crate::{
    context::service_context::{Context, job_of},
    error::{Error, Result},
    executions::{
        budget,
        idempotency_keys::{IdempotencyKey, Key},
        pipeline::{planned::PlannedRun, service::PipelineExecutionService, start::StartLimits},
    },
    ports::{ExecutionRecord, ExecutionTask},
    repositories::{record::Repository, service::RepositoryService},
};
use std::{fmt, sync::Arc};
use tidemill_core::execution::{
    assignment::Source,
    discovery::{Discovery, DiscoveryReply, DiscoveryReport, PipelineFile},
    facts::Facts,
};
use tidemill_core::plan::trigger;
use tidemill_core::repository::{canonical, registration::Approval};
use tidemill_core::text::diagnostics::{Diagnostic, Severity};
use tidemill_core::{
    api::{ExecuteReply, ExecuteRequest, Trigger},
    ids::ExecutionId,
    pipeline::{self, Pipeline},
    plan::PlanError,
};

/// How many retries of retries are looked back through.
const MAX_RETRIES: usize = 100;
/// The most mistakes of one file that are shown.
const MAX_MISTAKES: usize = 20;
/// The longest line of a reply, in characters.
const MAX_LINE_CHARS: usize = 600;
/// What all lines of a reply come to at most, in bytes.
const MAX_REPLY_BYTES: usize = 6 << 10;

/// Executions that look at commits.
#[derive(Debug, Clone)]
pub struct DiscoveryService {
    context: Arc<Context>,
    pipelines: PipelineExecutionService,
    repositories: RepositoryService,
    schedules: ScheduleService,
    outbox: Outbox,
}

/// What is found at a commit is started for this.
struct StartContext<'a> {
    repository: &'a Repository,
    discovering: &'a ExecutionRecord,
    facts: &'a Arc<Facts>,
    /// What it started before is not started again.
    first: ExecutionId,
    /// Whether somebody must approve it.
    hold: bool,
    /// What may still be stored before that, in bytes.
    left: u64,
}

/// Keeps what is said of a commit within what a log of a stranger's commit may have.
fn bound(lines: &mut Vec<String>) {
    let mut left = MAX_REPLY_BYTES;
    let mut fit = 0;
    for line in lines.iter_mut() {
        if let Some((at, _)) = line.char_indices().nth(MAX_LINE_CHARS) {
            line.truncate(at);
            line.push_str("...");
        }
        if line.len() > left {
            break;
        }
        left -= line.len();
        fit += 1;
    }
    let more = lines.len() - fit;
    if more > 0 {
        lines.truncate(fit);
        lines.push(format!("and {more} more lines; `tidemill check` shows what is wrong with a file"));
    }
}

/// What became of one pipeline file.
enum FileOutcome {
    Reported(String),
    Invalid(Vec<String>),
}

/// A parsed file: the pipeline in it, and whether it starts.
struct InspectedFile {
    pipeline: DiscoveredPipeline,
    /// The planned run to start; an error says why there is none.
    run: Result<PlannedRun, FileOutcome>,
}

impl InspectedFile {
    /// Parses and plans a file for a commit of which `facts` are known; an error has the lines on its mistakes.
    fn inspect(file: &PipelineFile, facts: &Facts) -> Result<Self, Vec<String>> {
        let parsed = read(file)?;
        let path = &file.path;
        let pipeline = DiscoveredPipeline {
            path: path.clone(),
            pipeline: parsed.name.clone(),
            schedules: parsed.on.schedule.clone(),
        };
        let not_started =
            |why: &dyn fmt::Display| FileOutcome::Reported(format!("{path}: not started: {why}"));
        let run = match trigger::starts(&parsed.on, facts) {
            Err(why) => Err(not_started(&why)),
            Ok(()) => PlannedRun::of(parsed, facts).map_err(|why| match why {
                PlanError::AllLeftOut(_) => not_started(&why),
                _ => FileOutcome::Invalid(vec![format!("{path}: {why}")]),
            }),
        };
        Ok(Self { pipeline, run })
    }
}

impl DiscoveryService {
    pub(crate) fn new(
        context: Arc<Context>,
        pipelines: PipelineExecutionService,
        repositories: RepositoryService,
        schedules: ScheduleService,
        outbox: Outbox,
    ) -> Self {
        Self { context, pipelines, repositories, schedules, outbox }
    }

    /// Has the default branch of a repository looked at for its schedules.
    pub async fn sync(&self, repo: &str, by: Option<String>) -> Result<ExecuteReply> {
        let repository = self.repositories.must_find(repo).await?;
        let branch = repository.default_branch().map(str::to_owned);
        let fetch_ref =
            branch.as_ref().map_or_else(|| "HEAD".to_owned(), |name| format!("refs/heads/{name}"));
        let facts = Facts {
            trigger: Trigger::Manual,
            branch: branch.clone(),
            default_branch: branch,
            ..Facts::default()
        };
        let discovery = Discovery { fetch_ref: Some(fetch_ref), ..Discovery::default() };
        let key = IdempotencyKey::Sync { id: self.context.stores.ids.execution() };
        start_discovery(
            &self.pipelines,
            &self.context,
            &repository,
            DiscoveryStart { facts, discovery, by },
            key,
        )
        .await
    }

    /// Starts what fits among the pipelines that a worker found. To tell the same again starts nothing again.
    pub async fn discovered(&self, report: DiscoveryReport) -> Result<DiscoveryReply> {
        let node = self.context.job(report.job_id).await?;
        if !job_of(&node)?.job.holds(report.lease) {
            return Err(Error::LeaseLost(format!(
                "this lease of job {} is over; another worker may have the job",
                report.job_id
            )));
        }
        report.check().map_err(|error| Error::Invalid(error.to_string()))?;
        let execution = self.context.cached_execution(node.key.execution).await?;
        let ExecutionTask::DiscoverPipelines(discovery) = &execution.spec.task else {
            let words = format!("job {} runs a script and looks at no commit", report.job_id);
            return Err(Error::Conflict(words));
        };
        let Some(repository) = self.repositories.find(&canonical(&execution.spec.repo)).await? else {
            let words = format!("{} is not known any more: nothing starts", execution.spec.repo);
            return Ok(DiscoveryReply { lines: vec![words], failed: true });
        };
        let facts = Arc::new(Facts {
            commit: Some(report.commit),
            changed: report.changed,
            files: report.paths,
            ..execution.spec.facts.clone()
        });
        let first = self.first(&execution).await?;
        let hold = match (repository.approval, &facts.pull_request) {
            (Approval::None, _) | (_, None) => false,
            (Approval::Forks, Some(request)) => request.from_fork,
            (Approval::All, Some(_)) => true,
        };
        let mut to_start = StartContext {
            repository: &repository,
            discovering: &execution,
            facts: &facts,
            first,
            hold,
            left: 0,
        };
        let mut too_many = None;
        if hold {
            self.cancel_older(&execution).await?;
            too_many = held_executions::too_many(&self.context, &execution).await?;
            to_start.left = if too_many.is_some() { 0 } else { budget::MAX_HELD_BYTES };
        }
        let mut reply = DiscoveryReply::default();
        if let Some(words) = too_many {
            reply.failed = true;
            reply.lines.push(words);
        }
        if report.files.is_empty() {
            reply.lines.push("there is no pipeline file at this commit".into());
        }
        let mut found = Vec::new();
        let mut broken = None;
        for file in report.files {
            let known = facts.clone();
            let inspect = move || {
                let inspected = InspectedFile::inspect(&file, &known);
                (file, inspected)
            };
            let (file, inspected) = self.context.compute("reading a pipeline file", inspect).await?;
            let outcome = match inspected {
                Err(mistakes) => FileOutcome::Invalid(mistakes),
                Ok(InspectedFile { pipeline, run }) => {
                    found.push(pipeline);
                    let path = file.path.clone();
                    let started = match run {
                        Err(outcome) => Ok(outcome),
                        Ok(run) => self.start_file(&mut to_start, file, run).await,
                    };
                    match started {
                        Ok(outcome) => outcome,
                        // The worker reports again what it found; files that come after this one do not wait for that.
                        Err(error @ (Error::Storage { .. } | Error::DiskFull(_))) => {
                            broken.get_or_insert(error);
                            continue;
                        }
                        Err(error) => {
                            let why = error.report().words;
                            FileOutcome::Invalid(vec![format!("{path}: cannot start: {why}")])
                        }
                    }
                }
            };
            match outcome {
                FileOutcome::Reported(line) => reply.lines.push(line),
                FileOutcome::Invalid(lines) => {
                    reply.failed = true;
                    reply.lines.extend(lines);
                }
            }
        }
        if let Some(error) = broken {
            return Err(error);
        }
        bound(&mut reply.lines);
        if reply.failed && facts.trigger != Trigger::Manual {
            // Nothing else would tell of a file's mistakes at the commit.
            self.outbox.announce(execution.spec.id, &repository).await?;
        }
        if registers_schedules(&facts, discovery) {
            let name = repository.name();
            // A file with mistakes keeps the schedules that it had.
            let keep = reply.failed;
            reply.lines.extend(self.schedules.register(&name, execution.spec.id, &found, keep).await?);
        }
        Ok(reply)
    }

    /// Cancels what waits for an approval at earlier commits of the same pull request: nobody needs it any more.
    async fn cancel_older(&self, discovering: &ExecutionRecord) -> Result<()> {
        for id in held_executions::older(&self.context, discovering).await? {
            self.pipelines.cancel(id).await?;
        }
        Ok(())
    }

    /// The execution that this one retries, or that one, and so on: what it started is not started again.
    async fn first(&self, of: &ExecutionRecord) -> Result<ExecutionId> {
        let (mut first, mut before) = (of.spec.id, of.spec.retry_of);
        for _ in 0..MAX_RETRIES {
            let Some(id) = before else { break };
            first = id;
            before = self.context.cached_execution(id).await?.spec.retry_of;
        }
        Ok(first)
    }

    async fn start_file(
        &self,
        to_start: &mut StartContext<'_>,
        file: PipelineFile,
        run: PlannedRun,
    ) -> Result<FileOutcome> {
        let StartContext { repository, discovering, facts, first, hold, .. } = *to_start;
        let path = &file.path;
        let on_branch = facts.branch.clone().filter(|_| facts.pull_request.is_none());
        let request = ExecuteRequest {
            pipeline: file.text,
            file: Some(path.clone()),
            repo: repository.url.clone(),
            branch: facts.branch.clone(),
            commit: facts.commit.clone(),
            source: Source::Git {
                url: repository.url.clone(),
                branch: on_branch,
                commit: facts.commit.clone().unwrap_or_default(),
                private_host: true,
            },
            trigger: facts.trigger,
            requested_by: discovering.spec.requested_by.clone(),
            tag: facts.tag.clone(),
            default_branch: facts.default_branch.clone(),
            ..ExecuteRequest::default()
        };
        let key = Key::of(&IdempotencyKey::Discovered { first, path })?;
        let limits =
            StartLimits { hold, allowance: budget::StorageAllowance::Push, left: &mut to_start.left };
        match Box::pin(self.pipelines.start_planned(request, run, limits, Some(key), None)).await {
            Ok(ExecuteReply { execution_id, run_number, pipeline_name, attached, .. }) => {
                // Should this fail, the worker tells again what it found, and this comes again, too.
                self.outbox.announce(execution_id, repository).await?;
                let held = if hold { "; it waits for an approval" } else { "" };
                let how = if attached { "started before" } else { "started" };
                let words = format!("{path}: {how}: {pipeline_name} {run_number} ({execution_id}){held}");
                Ok(FileOutcome::Reported(words))
            }
            // A first look saw another commit.
            Err(Error::KeyReused(_)) => {
                Ok(FileOutcome::Reported(format!("{path}: started before, at another commit")))
            }
            Err(Error::Invalid(why) | Error::Unprocessable(why) | Error::OverBudget(why)) => {
                Ok(FileOutcome::Invalid(vec![format!("{path}: cannot start: {why}")]))
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether what is found at the commit says which schedules the repository has.
fn registers_schedules(facts: &Facts, discovery: &Discovery) -> bool {
    let is_default = facts.branch == facts.default_branch && facts.tag.is_none();
    is_default
        && facts.pull_request.is_none()
        && discovery.only.is_empty()
        && matches!(facts.trigger, Trigger::Push | Trigger::Manual)
}

/// The pipeline in a file, or the lines that say what is wrong with it. Workers translate GitLab's files.
fn read(file: &PipelineFile) -> Result<Pipeline, Vec<String>> {
    pipeline::parse(&file.text).map_err(|found| mistakes(&file.path, &found))
}

fn mistakes(path: &str, found: &[Diagnostic]) -> Vec<String> {
    let errors = found.iter().filter(|one| one.severity == Severity::Error);
    let mut lines: Vec<String> = errors
        .map(|one| {
            let place = one.location.map(|at| format!(":{}:{}", at.line, at.column)).unwrap_or_default();
            format!("{path}{place}: {}", one.message)
        })
        .collect();
    if lines.len() > MAX_MISTAKES {
        let more = lines.len() - MAX_MISTAKES;
        lines.truncate(MAX_MISTAKES);
        lines.push(format!("{path}: and {more} more"));
    }
    lines
}
