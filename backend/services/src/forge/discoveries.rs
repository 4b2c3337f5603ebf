//! Discovery: a worker reads the pipeline files of a commit, and the server starts the matching pipelines.

use super::{
    follow_ups::{self, FollowUpRecord, FollowUpService},
    held_executions,
    outbox::Outbox,
    pull_requests,
    schedules::{DiscoveredPipeline, ScheduleService},
};
use crate::{
    context::service_context::{Context, job_of},
    error::{Error, Result},
    executions::{
        budget,
        idempotency_keys::{IdempotencyKey, RecordedKey},
        pipeline::{
            discovery_start::{DiscoveryStart, start_discovery},
            planned::PlannedRun,
            service::PipelineExecutionService,
            start::{StartLimits, StartOrigin},
        },
    },
    ports::{ExecutionRecord, ExecutionTask},
    repositories::{record::Repository, service::RepositoryService},
};
use indexmap::IndexMap;
use std::{fmt, sync::Arc};
use tidemill_core::execution::{
    assignment::Source,
    discovery::{Discovery, DiscoveryReply, DiscoveryReport, PipelineFile},
    facts::{CommitDetails, Facts},
};
use tidemill_core::plan::trigger;
use tidemill_core::repository::{canonical_name, registration::ApprovalPolicy};
use tidemill_core::text::diagnostics::{Diagnostic, Severity};
use tidemill_core::{
    api::{ExecuteReply, ExecuteRequest, Trigger},
    ids::ExecutionId,
    pipeline::{self, Pipeline, UpstreamStatus, UpstreamTrigger},
    plan::PlanError,
};

/// Maximum length of the chain of retries that is followed back.
const MAX_RETRIES: usize = 100;
/// Maximum number of reported errors of one file.
const MAX_FILE_ERRORS: usize = 20;
/// Maximum length of a line of a reply, in characters.
const MAX_LINE_CHARS: usize = 600;
/// Maximum size of all lines of a reply, in bytes.
const MAX_REPLY_BYTES: usize = 6 << 10;

/// Service for discoveries.
#[derive(Debug, Clone)]
pub struct DiscoveryService {
    pub(super) context: Arc<Context>,
    pub(super) pipelines: PipelineExecutionService,
    pub(super) repositories: RepositoryService,
    schedules: ScheduleService,
    pub(super) outbox: Outbox,
    follow_ups: FollowUpService,
}

/// State of starting the pipelines of one discovery.
pub(super) struct StartContext<'a> {
    pub(super) repository: &'a Repository,
    pub(super) discovering: &'a ExecutionRecord,
    pub(super) facts: &'a Arc<Facts>,
    /// The first discovery of a chain of retries; what it started is not started again.
    pub(super) first: ExecutionId,
    /// Whether the executions are held until a user approves them.
    pub(super) hold: bool,
    /// Remaining bytes for held executions.
    pub(super) left: u64,
    /// The executions with the names of their pipelines.
    pub(super) started: Vec<(ExecutionId, String)>,
}

/// Truncates the lines of a reply, whose size an untrusted commit determines.
pub(super) fn truncate_lines(lines: &mut Vec<String>) {
    let mut left = MAX_REPLY_BYTES;
    let mut fit = 0;
    for line in lines.iter_mut() {
        if let Some((end, _)) = line.char_indices().nth(MAX_LINE_CHARS) {
            line.truncate(end);
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
        lines.push(format!("and {more} more lines; run `tidemill check` to see all errors of a file"));
    }
}

/// Outcome of one pipeline file.
enum FileOutcome {
    Reported(String),
    Invalid(Vec<String>),
}

/// A parsed file: the pipeline in it, and whether it starts.
struct InspectedFile {
    pipeline: DiscoveredPipeline,
    /// The planned run to start, or the reason why there is none.
    run: Result<PlannedRun, FileOutcome>,
}

impl InspectedFile {
    /// Parses and plans a file for a commit with these facts. With `given` inputs it starts whatever its triggers are. Returns the
    /// lines that describe its errors on failure.
    fn inspect(
        file: &PipelineFile,
        facts: &Facts,
        given: Option<&IndexMap<String, String>>,
    ) -> Result<Self, Vec<String>> {
        let parsed = parse_file(file)?;
        let path = &file.path;
        let pipeline = DiscoveredPipeline {
            path: path.clone(),
            pipeline: parsed.name.clone(),
            schedules: parsed.on.schedule.clone(),
            follows: parsed.on.pipeline.clone(),
            pull_request: parsed.on.pull_request.clone(),
        };
        let not_started =
            |why: &dyn fmt::Display| FileOutcome::Reported(format!("{path}: not started: {why}"));
        let inputs = match given {
            Some(given) => {
                Ok(parsed.on.input_values(given, true).map_err(|error| vec![format!("{path}: {error}")])?)
            }
            None => trigger::check_triggers(&parsed.on, facts)
                .and_then(|()| trigger::event_inputs(&parsed.on, facts)),
        };
        let run = match inputs {
            Err(why) => Err(not_started(&why)),
            Ok(inputs) => {
                let mut facts = Facts { includes: file.includes.clone(), ..facts.clone() };
                pipeline::set_inputs(&mut facts, inputs);
                PlannedRun::plan(parsed, &facts).map_err(|why| match why {
                    PlanError::AllExcluded(_) => not_started(&why),
                    _ => FileOutcome::Invalid(vec![format!("{path}: {why}")]),
                })
            }
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
        follow_ups: FollowUpService,
    ) -> Self {
        Self { context, pipelines, repositories, schedules, outbox, follow_ups }
    }

    /// Starts a discovery of the schedules on the default branch of a repository.
    pub async fn sync(&self, repo: &str, by: Option<String>) -> Result<ExecuteReply> {
        let repository = self.repositories.get(repo).await?;
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
            DiscoveryStart { facts, discovery, requested_by: by, started_by: None, parent: None },
            key,
        )
        .await
    }

    /// Starts the matching pipelines among those that a worker found. Idempotent for a repeated report.
    pub async fn process_report(&self, report: DiscoveryReport) -> Result<DiscoveryReply> {
        let node = self.context.job(report.job_id).await?;
        if !job_of(&node)?.job.is_leased_to(report.lease) {
            return Err(Error::LeaseLost(format!(
                "the lease of job {} is not valid; another worker may have the job",
                report.job_id
            )));
        }
        report.validate().map_err(|error| Error::Invalid(error.to_string()))?;
        let execution = self.context.cached_execution(node.key.execution).await?;
        let ExecutionTask::DiscoverPipelines(discovery) = &execution.spec.task else {
            let message = format!("job {} is not a discovery", report.job_id);
            return Err(Error::Conflict(message));
        };
        let Some(repository) = self.repositories.find(&canonical_name(&execution.spec.repo)).await? else {
            let line = format!("{} is no longer registered: nothing starts", execution.spec.repo);
            return Ok(DiscoveryReply { lines: vec![line], failed: true });
        };
        if report.skipped {
            // The files of the commit are not known, so that schedules and what listens to its events stay.
            return Ok(DiscoveryReply::default());
        }
        let facts = Facts {
            repo: repository.url.clone(),
            commit: Some(report.commit),
            details: CommitDetails::new(
                report.details.message.as_deref().unwrap_or_default(),
                report.details.author.as_deref().unwrap_or_default(),
            ),
            changed: report.changed,
            compared: report.compared,
            files: report.paths,
            variables: execution.spec.variables.clone(),
            ..execution.spec.facts.clone()
        };
        let facts = Arc::new(self.pipelines.variables.add_to(facts).await?);
        if discovery.starts_child {
            let of = (&*execution, &node);
            return Box::pin(self.start_child(of, &repository, discovery, facts, report.files)).await;
        }
        let first = self.first_discovery(&execution).await?;
        let hold = match (repository.approval, &facts.pull_request) {
            (ApprovalPolicy::None, _) | (_, None) => false,
            (ApprovalPolicy::Forks, Some(request)) => request.from_fork,
            (ApprovalPolicy::All, Some(_)) => true,
        };
        let mut start = StartContext {
            repository: &repository,
            discovering: &execution,
            facts: &facts,
            first,
            hold,
            left: 0,
            started: Vec::new(),
        };
        let mut too_many = None;
        if hold {
            // Only new commits make others obsolete.
            if facts.trigger == Trigger::PullRequest {
                self.cancel_older(&execution).await?;
            }
            too_many = held_executions::limit_reached(&self.context, &execution).await?;
            start.left = if too_many.is_some() { 0 } else { budget::MAX_HELD_BYTES };
        }
        let mut reply = DiscoveryReply { failed: report.incomplete, ..DiscoveryReply::default() };
        if let Some(reason) = too_many {
            reply.failed = true;
            reply.lines.push(reason);
        }
        if report.files.is_empty() && !report.incomplete {
            reply.failed |= discovery.starts_by_name(facts.trigger);
            reply.lines.push("there is no pipeline file at this commit".into());
        }
        // Included files may come from elsewhere, and change without the commit.
        let is_of_commit = report.files.iter().all(|file| file.includes.is_empty());
        let mut found = Vec::new();
        let mut followers = Vec::new();
        let mut failure = None;
        for file in report.files {
            let is_start = discovery.start_only.is_empty() || discovery.start_only.contains(&file.path);
            let (facts_of_file, given) = (facts.clone(), discovery.given_inputs(&file.path, facts.trigger));
            let inspect = move || {
                let inspected = InspectedFile::inspect(&file, &facts_of_file, given.as_ref());
                (file, inspected)
            };
            let (file, inspected) = self.context.compute("parsing a pipeline file", inspect).await?;
            let outcome = match inspected {
                // Only its triggers matter.
                inspected if !is_start => {
                    followers.extend(inspected.ok().and_then(|of| of.pipeline.follows));
                    continue;
                }
                Err(lines) => FileOutcome::Invalid(lines),
                Ok(InspectedFile { pipeline, run }) => {
                    followers.extend(pipeline.follows.clone());
                    found.push(pipeline);
                    let path = file.path.clone();
                    let started = match run {
                        Err(outcome) => Ok(outcome),
                        Ok(run) => self.start_file(&mut start, file, run).await,
                    };
                    match started {
                        Ok(outcome) => outcome,
                        // The worker repeats its report; the remaining files are processed now.
                        Err(error @ (Error::Storage { .. } | Error::DiskFull(_))) => {
                            failure.get_or_insert(error);
                            continue;
                        }
                        Err(error) => {
                            let why = error.report().message;
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
        if let Some(error) = failure {
            return Err(error);
        }
        self.follow(&start, discovery, &followers, &mut reply.lines).await?;
        let is_complete = is_of_commit && !reply.failed && discovery.start_only.is_empty();
        pull_requests::record_listeners(&self.context, &repository, &facts, &found, is_complete).await?;
        truncate_lines(&mut reply.lines);
        if reply.failed && facts.trigger != Trigger::Manual {
            // Otherwise no commit status would show the errors of the files.
            self.outbox.announce(execution.spec.id, &repository).await?;
        }
        if registers_schedules(&facts, discovery) {
            let name = repository.name();
            // An invalid file keeps its earlier schedules.
            let keep = reply.failed;
            reply.lines.extend(self.schedules.register(&name, execution.spec.id, &found, keep).await?);
        }
        Ok(reply)
    }

    /// Records which started executions are followed by pipelines in other files. If this is cut off, the worker repeats its report.
    pub(super) async fn follow(
        &self,
        start: &StartContext<'_>,
        discovery: &Discovery,
        followers: &[UpstreamTrigger],
        lines: &mut Vec<String>,
    ) -> Result<()> {
        let is_followed = |name: &str| followers.iter().any(|on| on.names.iter().any(|of| of == name));
        let count = start.started.iter().filter(|(_, name)| is_followed(name)).count();
        let siblings = follow_ups::siblings(start.discovering.spec.parent.as_ref());
        let breadth = follow_ups::breadth(start.facts, count).saturating_mul(siblings);
        for (execution, name) in &start.started {
            let following = followers.iter().filter(|on| on.names.contains(name));
            let statuses: Vec<UpstreamStatus> = following.map(|on| on.status).collect();
            if statuses.is_empty() {
                continue;
            }
            if follow_ups::depth(start.facts) >= follow_ups::MAX_DEPTH {
                let max = follow_ups::MAX_DEPTH;
                lines.push(format!("nothing follows {name}: at most {max} executions follow each other"));
                continue;
            }
            if breadth > follow_ups::MAX_BREADTH {
                let max = follow_ups::MAX_BREADTH;
                lines.push(format!(
                    "nothing follows {name}: at most {max} executions at the same distance from the first one are followed"
                ));
                continue;
            }
            let discovery = Discovery {
                start_only: Vec::new(),
                can_skip: false,
                inputs: IndexMap::new(),
                starts_child: false,
                ..discovery.clone()
            };
            let record = FollowUpRecord { discovery, statuses, breadth };
            self.follow_ups.follow(*execution, record).await?;
        }
        Ok(())
    }

    /// Cancels unapproved executions of earlier commits of the same pull request, which are obsolete.
    async fn cancel_older(&self, discovering: &ExecutionRecord) -> Result<()> {
        for id in held_executions::unapproved_of_earlier_commits(&self.context, discovering).await? {
            self.pipelines.cancel(id).await?;
        }
        Ok(())
    }

    /// Returns the first execution of the chain of retries; what it started is not started again.
    async fn first_discovery(&self, of: &ExecutionRecord) -> Result<ExecutionId> {
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
        start: &mut StartContext<'_>,
        file: PipelineFile,
        run: PlannedRun,
    ) -> Result<FileOutcome> {
        let StartContext { repository, discovering, facts, first, hold, .. } = *start;
        let path = &file.path.clone();
        let request = request_of(repository, discovering, facts, file);
        let key = RecordedKey::of(&IdempotencyKey::Discovered { first, path })?;
        let limits =
            StartLimits { hold, allowance: budget::StorageBudget::Push, remaining_bytes: &mut start.left };
        match Box::pin(self.pipelines.start_planned(request, run, limits, Some(key), StartOrigin::default()))
            .await
        {
            Ok(ExecuteReply { execution_id, run_number, pipeline_name, attached, .. }) => {
                // If this fails, the worker repeats its report, which announces the execution again.
                self.outbox.announce(execution_id, repository).await?;
                start.started.push((execution_id, pipeline_name.clone()));
                let held = if hold { "; it waits for an approval" } else { "" };
                let outcome = if attached { "started before" } else { "started" };
                let line = format!("{path}: {outcome}: {pipeline_name} {run_number} ({execution_id}){held}");
                Ok(FileOutcome::Reported(line))
            }
            // The first discovery saw another commit.
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

/// Returns the request to start the pipeline of a file that a discovery found.
pub(super) fn request_of(
    repository: &Repository,
    discovering: &ExecutionRecord,
    facts: &Facts,
    file: PipelineFile,
) -> ExecuteRequest {
    let on_branch = facts.branch.clone().filter(|_| facts.pull_request.is_none());
    ExecuteRequest {
        pipeline: file.text,
        file: Some(file.path),
        repo: repository.url.clone(),
        branch: facts.branch.clone(),
        commit: facts.commit.clone(),
        source: Source::Git {
            url: repository.url.clone(),
            branch: on_branch,
            commit: facts.commit.clone().unwrap_or_default(),
            private_host: true,
            has_credential: repository.has_credential(),
        },
        trigger: facts.trigger,
        requested_by: discovering.spec.requested_by.clone(),
        started_by: discovering.spec.started_by.clone(),
        tag: facts.tag.clone(),
        default_branch: facts.default_branch.clone(),
        includes: file.includes,
        ..ExecuteRequest::default()
    }
}

/// Whether the discovery determines the schedules of the repository.
fn registers_schedules(facts: &Facts, discovery: &Discovery) -> bool {
    let is_default = facts.branch == facts.default_branch && facts.tag.is_none();
    is_default
        && facts.pull_request.is_none()
        && discovery.only.is_empty()
        && matches!(facts.trigger, Trigger::Push | Trigger::Manual)
}

/// Parses the pipeline of a file, or returns the lines that describe its errors. Workers translate files of GitLab.
pub(super) fn parse_file(file: &PipelineFile) -> Result<Pipeline, Vec<String>> {
    pipeline::parse(&file.text).map_err(|diagnostics| error_lines(&file.path, &diagnostics))
}

fn error_lines(path: &str, diagnostics: &[Diagnostic]) -> Vec<String> {
    let errors = diagnostics.iter().filter(|one| one.severity == Severity::Error);
    let mut lines: Vec<String> = errors
        .map(|one| {
            let position = one.location.map(|at| format!(":{}:{}", at.line, at.column)).unwrap_or_default();
            format!("{path}{position}: {}", one.message)
        })
        .collect();
    if lines.len() > MAX_FILE_ERRORS {
        let more = lines.len() - MAX_FILE_ERRORS;
        lines.truncate(MAX_FILE_ERRORS);
        lines.push(format!("{path}: and {more} more"));
    }
    lines
}
