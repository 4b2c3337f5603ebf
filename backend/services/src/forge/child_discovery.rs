//! Discoveries that a job of another repository started: the one pipeline that they find is their child.

use super::discoveries::{DiscoveryService, StartContext, parse_file, request_of, truncate_lines};
use crate::{
    context::service_context::job_of,
    error::{Error, Result},
    executions::{
        budget::StorageBudget,
        idempotency_keys::{IdempotencyKey, RecordedKey},
        pipeline::{
            child::check_descendants,
            planned::PlannedRun,
            start::{StartLimits, StartOrigin},
        },
    },
    ports::{ExecutionRecord, Node, ParentLink},
    repositories::record::Repository,
};
use std::sync::Arc;
use tidemill_core::{
    api::{ExecuteReply, Trigger},
    execution::{
        discovery::{Discovery, DiscoveryReply, PipelineFile},
        facts::Facts,
        status::JobStatus,
    },
    ids::{ExecutionId, JobId},
    pipeline::{Input, UpstreamTrigger, descendants_of_child},
    plan::trigger::check_triggers,
    trace::context::job_context,
};

/// The name of GitLab's pipeline file, whose inputs the worker uses.
const GITLAB_FILE: &str = ".gitlab-ci.yml";

impl DiscoveryService {
    /// Starts the one pipeline among `files` that the discovery `of` is for. Idempotent: its job starts one, in whichever attempt and
    /// of whichever commit.
    pub(super) async fn start_child(
        &self,
        (of, job): (&ExecutionRecord, &Node),
        repository: &Repository,
        discovery: &Discovery,
        facts: Arc<Facts>,
        files: Vec<PipelineFile>,
    ) -> Result<DiscoveryReply> {
        if let Some(id) = job_of(job)?.child {
            let child = self.context.execution(id).await?;
            let read = move || {
                let follows =
                    |file: &PipelineFile| parse_file(file).ok().and_then(|parsed| parsed.on.pipeline);
                files.iter().filter_map(follows).collect::<Vec<UpstreamTrigger>>()
            };
            let followers = self.context.compute("parsing a pipeline file", read).await?;
            let (name, number) = (child.spec.pipeline_name.clone(), child.run_number);
            let lines = vec![format!("started before: {name} {number} ({id})")];
            return self
                .announce_child((of, repository), discovery, &facts, (id, name), &followers, lines)
                .await;
        }
        let named = discovery.start_only.iter().chain(&discovery.only).next().cloned();
        let pushed = Facts { trigger: Trigger::Push, changed: None, ..Facts::clone(&facts) };
        let choose = move || choose(files, named.as_deref(), &pushed);
        let Chosen { file, followers, errors } =
            match self.context.compute("parsing a pipeline file", choose).await? {
                Ok(chosen) => chosen,
                Err(lines) => return Ok(failed(lines)),
            };
        let path = file.path.clone();
        let mut own_facts =
            Facts { includes: file.includes.clone(), parent: Some(of.spec.id), ..Facts::clone(&facts) };
        let mut request = request_of(repository, of, &facts, file);
        request.variables.clone_from(&of.spec.variables);
        for (name, value) in discovery.inputs.iter().filter(|_| path != GITLAB_FILE) {
            request.variables.insert(Input::variable(name), value.clone());
            own_facts.variables.insert(Input::variable(name), value.clone());
        }
        let plan = move || {
            let run = PlannedRun::parse_child(&request.pipeline, own_facts, &request.variables);
            (request, run)
        };
        let (request, run) = self.context.compute("parsing a pipeline file", plan).await?;
        let above = of.spec.parent.as_ref();
        let parent = ParentLink {
            execution: of.spec.id,
            job: job.key.ix,
            name: job.spec.name.clone(),
            gate: job.spec.child_gate,
            // The discovery is a part of the start, and not a level of its own.
            depth: above.map_or(1, |above| above.depth),
            descendants: above.map_or(0, |above| descendants_of_child(above.descendants, 1)),
        };
        let run = run.and_then(|run| check_descendants(&run.plan, &parent).map(|()| run));
        let key = RecordedKey::of(&IdempotencyKey::Child { job: JobId::of(of.spec.id, job.key.ix) })?;
        let limits =
            StartLimits { hold: false, allowance: StorageBudget::Push, remaining_bytes: &mut { u64::MAX } };
        let trace = job_context(of.spec.id, of.spec.trace.as_deref(), job.key.ix).to_string();
        let origin = StartOrigin { trace: Some(trace), parent: Some(parent) };
        let started = match run {
            Ok(run) => Box::pin(self.pipelines.start_planned(request, run, limits, Some(key), origin)).await,
            Err(error) => Err(error),
        };
        let ExecuteReply { execution_id, run_number, pipeline_name, attached, .. } = match started {
            Ok(reply) => reply,
            Err(error @ (Error::Storage { .. } | Error::DiskFull(_))) => return Err(error),
            Err(Error::Conflict(why)) => {
                let node = self.context.node(job.key).await?;
                let state = &job_of(&node)?.job;
                if state.status == JobStatus::Running && !state.cancel_requested {
                    // It is over soon: the worker repeats its report.
                    return Err(Error::storage("starting a pipeline", Error::Conflict(why)));
                }
                return Ok(failed(vec![format!("{path}: not started: {why}")]));
            }
            Err(error) => {
                return Ok(failed(vec![format!("{path}: not started: {}", error.report().message)]));
            }
        };
        let outcome = if attached { "started before" } else { "started" };
        let mut lines = vec![format!("{path}: {outcome}: {pipeline_name} {run_number} ({execution_id})")];
        lines.extend(errors);
        let child = (execution_id, pipeline_name);
        self.announce_child((of, repository), discovery, &facts, child, &followers, lines).await
    }

    /// Announces the child of a discovery, and records what follows it. Idempotent.
    async fn announce_child(
        &self,
        (of, repository): (&ExecutionRecord, &Repository),
        discovery: &Discovery,
        facts: &Arc<Facts>,
        child: (ExecutionId, String),
        followers: &[UpstreamTrigger],
        mut lines: Vec<String>,
    ) -> Result<DiscoveryReply> {
        self.outbox.announce(child.0, repository).await?;
        let context = StartContext {
            repository,
            discovering: of,
            facts,
            first: of.spec.id,
            hold: false,
            left: 0,
            started: vec![child],
        };
        self.follow(&context, discovery, followers, &mut lines).await?;
        truncate_lines(&mut lines);
        Ok(DiscoveryReply { lines, failed: false })
    }
}

/// The file that a discovery starts.
struct Chosen {
    file: PipelineFile,
    /// The triggers of all files that follow other pipelines.
    followers: Vec<UpstreamTrigger>,
    /// The errors of other files, which a push might have started, too.
    errors: Vec<String>,
}

/// Chooses the file at the path `named`, or the only one that a push would start. Otherwise returns lines that say why there is none.
fn choose(files: Vec<PipelineFile>, named: Option<&str>, pushed: &Facts) -> Result<Chosen, Vec<String>> {
    let (mut errors, mut followers, mut candidates) = (Vec::new(), Vec::new(), Vec::new());
    for file in files {
        let is_named = named.map(|path| path == file.path);
        match parse_file(&file) {
            Ok(parsed) => {
                if is_named.unwrap_or_else(|| check_triggers(&parsed.on, pushed).is_ok()) {
                    candidates.push(file);
                }
                followers.extend(parsed.on.pipeline);
            }
            Err(lines) if is_named != Some(false) => errors.extend(lines),
            Err(_) => {}
        }
    }
    let mut candidates = candidates.into_iter();
    match (candidates.next(), candidates.next(), named) {
        (Some(file), None, _) => Ok(Chosen { file, followers, errors }),
        (None, ..) if !errors.is_empty() => Err(errors),
        (Some(file), Some(other), _) => Err(vec![format!(
            "a push starts {}, {} and maybe others; the job that starts one of them names it with `file`",
            file.path, other.path
        )]),
        (None, _, Some(path)) => Err(vec![format!("{path}: there is no such pipeline file at this commit")]),
        (None, _, None) => Err(vec![
            "a push to this branch starts no pipeline file of this commit; the job that starts one names it with `file`".to_owned(),
        ]),
    }
}

fn failed(mut lines: Vec<String>) -> DiscoveryReply {
    truncate_lines(&mut lines);
    DiscoveryReply { lines, failed: true }
}
