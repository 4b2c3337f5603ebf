//! `run`: starts an execution on this machine or on a deployment, and watches it.

mod checks;

use self::checks::{check_labels, check_named_jobs, check_secrets, secrets};
use super::{
    retry::end_worker,
    run_sources::{RunSources, SourceSearch, read_gitlab_file, start_search},
};
use crate::{
    args::{Event, FactArgs, Run, SelectorArgs, ViewFormat},
    deployment::Deployment,
    execution::{
        LogRequest, print_log, repository, select,
        shells::{self, HeldJobs, SharedView},
        show_result,
        watch::{self, OnInterrupt},
    },
    failure::{Exit, Failure, Outcome},
    interrupts::{Interrupts, or_exit_on_interrupt},
    output::{LogOutput, Printable},
    pipeline::{
        elsewhere::Elsewhere,
        engines, external,
        file::{self, FileContext, PipelineFile},
        git_facts,
    },
    settings::Settings,
    view::{self, format},
    workers,
};
use indexmap::IndexMap;
use std::{collections::HashSet, path::Path};
use tidemill_core::execution::{
    assignment::{Origin, Preparation},
    facts::{CommitDetails, Facts},
    report::jobs_named,
    status::{ExecutionStatus, JobStatus},
};
use tidemill_core::{
    api::{ExecuteReply, ExecuteRequest, ExecutionView, InputValue, JobView, Trigger, path},
    ids::{ExecutionId, JobId},
    pipeline::set_inputs,
    plan::Plan,
};
use tidemill_worker::{Worker, WorkerHandle, source::GitlabValues};
use uuid::Uuid;

/// Maximum number of earlier executions among which `--from` looks for one that has ended.
const MAX_EARLIER: u32 = 50;

/// `tidemill run`.
pub async fn run(settings: &Settings, args: &Run) -> Outcome {
    let break_points = shells::break_points(settings, &args.debug)?;
    let variables = file::variables(&args.variables)?;
    let inputs = file::inputs(&args.variables)?;
    let mut search = start_search(settings, args)?;
    if args.repo.is_some() {
        // The file and the facts of another repository are those of its commit, which must be known first.
        search = SourceSearch::Ended(Box::new(search.finish().await?));
    }
    let secrets = secrets(settings, args)?;
    let tree = args.repo.is_none().then(|| tokio::task::spawn_blocking(read_tree));
    let deployment = Deployment::connect(settings).await?;
    let planned = async {
        let tree = match tree {
            Some(tree) => Some(tree.await.map_err(|error| Failure::system(error.to_string()))??),
            None => None,
        };
        plan(settings, args, &deployment, (search.found(), tree), (&variables, &inputs, secrets.as_slice()))
            .await
    };
    let ((file, facts, plan), mut worker) = match Box::pin(plan_and_open(settings, args, planned)).await {
        Ok(planned) => planned,
        Err(failure) => {
            deployment.close().await;
            return Err(failure);
        }
    };
    // Do not attach to an execution that another caller started without these secrets, or whose jobs run in another process.
    let is_new =
        args.force || break_points.is_some() || !secrets.is_empty() || !args.selection.from.is_empty();
    let sources = match search.finish().await {
        Ok(sources) => sources,
        Err(failure) => {
            workers::close(worker).await;
            deployment.close().await;
            return Err(failure);
        }
    };
    let held = match shells::set_debugger(worker.as_mut(), break_points) {
        Ok(held) => held,
        Err(failure) => {
            workers::close(worker).await;
            deployment.close().await;
            return Err(failure);
        }
    };
    if let Some(worker) = &worker {
        prepare(args, worker, &sources, (&plan, &facts));
    }
    let mut source = sources.source;
    if let Some(pack) = sources.pack {
        let uploaded;
        (source, uploaded) = deployment.upload_sources(pack).await?;
        if let Some(size) = uploaded.filter(|_| !args.view.quiet) {
            crate::output::errln!("uploaded {} of sources", format::size(size));
        }
    }
    let reuse = if args.selection.from.is_empty() {
        Ok(None)
    } else {
        execution_to_reuse(&deployment, &sources.repo, &plan.pipeline_name).await.map(Some)
    };
    let reuse = match reuse {
        Ok(reuse) => reuse,
        Err(failure) => {
            workers::close(worker).await;
            deployment.close().await;
            return Err(failure);
        }
    };
    let request = ExecuteRequest {
        jobs: facts.jobs.only,
        from: facts.jobs.from,
        reuse,
        event: args.event.map(Event::trigger),
        pipeline: file.text,
        file: Some(file.name),
        repo: sources.repo,
        branch: sources.branch.filter(|_| !args.event.is_some_and(Event::is_of_tag)),
        commit: sources.commit,
        source,
        variables,
        requested_by: settings.requested_by.clone(),
        tag: facts.tag,
        commit_details: CommitDetails { dirty: sources.dirty, ..facts.details },
        default_branch: facts.default_branch,
        changed: facts.changed,
        compared: facts.compared,
        files: facts.files,
        force: is_new,
        includes: file.includes,
        inputs: file.inputs.into_iter().map(|(name, value)| (name, InputValue::Text(value))).collect(),
        ..ExecuteRequest::default()
    };
    let start = async {
        for (name, value) in secrets {
            deployment.pass_secret(name, value)?;
        }
        deployment.start(path::EXECUTE, &request, is_new).await
    };
    let mut interrupts = Interrupts::listen()?;
    let reply: ExecuteReply = match interrupts.during_start(start).await {
        Ok(reply) => reply,
        Err(failure) => {
            workers::close(worker).await;
            deployment.close().await;
            return Err(failure);
        }
    };
    let worker = worker.map(|worker| workers::work_for(worker, &deployment, reply.execution_id));
    let outcome = follow(settings, &deployment, args, (&reply, &mut interrupts), (worker, held)).await;
    deployment.close().await;
    outcome
}

/// Values by name.
type Values = IndexMap<String, String>;

/// The repository of the current directory: what is checked out, and its address.
fn read_tree() -> Outcome<(git_facts::WorkingTree, String)> {
    Ok((git_facts::WorkingTree::read(Path::new(".")), repository::address(None)?))
}

/// Plans, and for a run on this machine also opens a worker meanwhile: to connect to the engine takes as long as to plan. What is wrong
/// with the pipeline is reported before what is wrong with the engine, and without waiting for it.
async fn plan_and_open(
    settings: &Settings,
    args: &Run,
    planned: impl Future<Output = Outcome<Planned>>,
) -> Outcome<(Planned, Option<Worker>)> {
    if settings.is_remote() {
        return Ok((planned.await?, None));
    }
    let labels = &args.slots.labels.values;
    let planned = async {
        let planned = planned.await?;
        let mut available = workers::labels(labels);
        settings.worker_file()?.executor.set_label(&mut available);
        let (file, facts, plan) = &planned;
        check_labels(plan, &available)?;
        engines::check(settings, file, plan, &facts.repo)?;
        Ok(planned)
    };
    let templates = args.include.templates.as_deref();
    let mut opened = None;
    let open = async {
        opened = Some(workers::open(settings, workers::slots(args.slots.jobs), labels, templates).await);
        Ok(())
    };
    let planned = tokio::try_join!(planned, open);
    match (planned, opened) {
        (Ok((planned, ())), Some(Ok(worker))) => Ok((planned, Some(worker))),
        (Ok((planned, ())), None) => Ok((planned, None)),
        (Ok(_), Some(Err(failure))) => Err(failure),
        (Err(failure), worker) => {
            workers::close(worker.and_then(Result::ok)).await;
            Err(failure)
        }
    }
}

/// A pipeline file, the facts for its conditions, and the plan that they give.
type Planned = (PipelineFile, Facts, Plan);

/// Loads the file, and plans it as the server will. Prints the jobs that are left out.
async fn plan(
    settings: &Settings,
    args: &Run,
    deployment: &Deployment,
    (resolved, tree): (Option<&RunSources>, Option<(git_facts::WorkingTree, String)>),
    (variables, inputs, secrets): (&Values, &Values, &[(String, String)]),
) -> Outcome<Planned> {
    let (tree, address) = tree.unwrap_or_default();
    let repo = resolved.map_or(address, |sources| sources.repo.clone());
    let refs = facts(args, resolved, tree.facts(git_facts::RequiredFacts::default()))?;
    let mut given = external::of_deployment(deployment, &repo, refs.is_protected()).await?;
    given.hidden.extend(secrets.iter().map(|(name, _)| name.clone()));
    external::add_given(&mut given, variables);
    let external = given;
    let gitlab = match resolved {
        Some(sources) if args.file.file.is_none() => {
            let event = facts(args, resolved, tree.facts(git_facts::RequiredFacts::ALL))?;
            let event = Some(Box::new(Facts { repo: repo.clone(), ..event }));
            let values = GitlabValues { external: external.clone(), inputs: inputs.clone(), event };
            Box::pin(read_gitlab_file(settings, args, sources, values)).await?
        }
        _ => None,
    };
    let found = resolved.and_then(|sources| sources.commit_files.as_ref());
    let file = match gitlab.as_ref().or(found) {
        Some(commit) if args.file.file.is_none() => file::of_commit(&args.file, commit, inputs)?,
        _ => {
            let elsewhere = Elsewhere::new(&args.include, settings.data_dir().ok());
            let event = if file::is_gitlab(&args.file) {
                let event = facts(args, resolved, tree.facts(git_facts::RequiredFacts::ALL))?;
                Some(Box::new(Facts { repo: repo.clone(), ..event }))
            } else {
                None
            };
            let (external, inputs) = (external.clone(), inputs.clone());
            let given = FileContext { external, inputs, elsewhere, event, is_for_event: false };
            file::load(&args.file, settings.is_remote(), &given)?
        }
    };
    check_secrets(&file, secrets)?;
    let of_tree = tree.facts(git_facts::RequiredFacts::of(&file.pipeline));
    let mut facts = Facts { repo, ..facts(args, resolved, of_tree)? };
    facts.add_external(external);
    let values = file.input_values(facts.trigger == Trigger::Manual)?;
    set_inputs(&mut facts, values);
    if resolved.is_none() {
        tree.compare(&file.pipeline, &[], &mut facts);
    }
    let plan = Plan::for_facts(&file.pipeline, &facts).map_err(|error| Failure::of_plan(&error, "run"))?;
    check_named_jobs(args, &file, &plan)?;
    if !args.view.quiet {
        show_left_out(&plan);
    }
    Ok((file, facts, plan))
}

/// Returns the newest ended execution of a pipeline.
async fn execution_to_reuse(deployment: &Deployment, repo: &str, pipeline: &str) -> Outcome<ExecutionId> {
    let selectors = SelectorArgs {
        repo: Some(repo.to_owned()),
        pipeline: Some(pipeline.to_owned()),
        ..SelectorArgs::default()
    };
    let newest = select::list(deployment, &selectors, false, false, MAX_EARLIER).await?;
    let ended = newest.iter().find(|execution| execution.status.is_terminal());
    ended.map(|execution| execution.id).ok_or_else(|| {
        Failure::usage(format!(
            "--from: no execution of {} has ended, so there are no results to carry over; run it without --from first",
            Printable(pipeline)
        ))
    })
}

/// Prints the jobs that conditions exclude, and why.
fn show_left_out(plan: &Plan) {
    for excluded in &plan.left_out {
        crate::output::errln!("left out: {}: {}", Printable(&excluded.job), Printable(&excluded.why));
    }
}

/// Returns the facts for conditions: `of_tree` of the current directory, or those of another repository.
fn facts(args: &Run, resolved: Option<&RunSources>, of_tree: Facts) -> Outcome<Facts> {
    let facts = match resolved {
        Some(sources) => Facts {
            branch: sources.branch.clone(),
            tag: sources.tag.clone(),
            default_branch: sources.default_branch.clone(),
            commit: sources.commit.clone(),
            details: sources.commit_files.as_ref().map(|commit| commit.details.clone()).unwrap_or_default(),
            files: sources.commit_files.as_ref().and_then(|commit| commit.paths.clone()),
            compared: sources.commit_files.as_ref().map(|it| it.compared_paths.clone()).unwrap_or_default(),
            ..Facts::default()
        },
        None => of_tree,
    };
    let event = FactArgs { event: args.event, ..FactArgs::default() };
    let facts = git_facts::override_with(&event, Path::new("."), facts)?;
    Ok(Facts { is_assumed: args.event.is_some(), jobs: args.selection.selection(), ..facts })
}

/// Lets `worker` create the first containers in advance, because the engine is slow at that.
fn prepare(args: &Run, worker: &Worker, sources: &RunSources, (plan, facts): (&Plan, &Facts)) {
    let slots = workers::slots(args.slots.jobs);
    // The ids of the execution and its jobs are unknown; containers do not depend on them.
    let (execution, job) = (ExecutionId(Uuid::nil()), JobId(Uuid::nil()));
    let origin = Origin { repository: sources.repo.clone(), is_fork: false };
    let is_first = |ix: &u32| {
        let from = &args.selection.from;
        let job = &plan.jobs[*ix as usize];
        if from.is_empty() { job.waits_for == 0 } else { from.iter().any(|name| job.has_name(name)) }
    };
    let first = (0..).take(plan.jobs.len()).filter(is_first).take(slots).map(|ix| &plan.jobs[ix as usize]);
    let first: Vec<_> = first
        .map(|planned| Preparation::new(planned, (&sources.source, facts), origin.clone(), execution, job))
        .collect();
    if let Some((address, credentials)) = &sources.sign_in {
        worker.set_credentials(address, credentials.clone());
    }
    worker.prepare_standby_containers(&first, plan.jobs.len());
}

/// Shows the execution until it ends.
async fn follow(
    settings: &Settings,
    deployment: &Deployment,
    args: &Run,
    (reply, interrupts): (&ExecuteReply, &mut Interrupts),
    (worker, held): (Option<WorkerHandle>, Option<HeldJobs>),
) -> Outcome {
    let watched = watch_and_follow(deployment, args, (reply, interrupts), held).await;
    if watched.is_err() && deployment.is_embedded() && !reply.attached {
        watch::cancel_abandoned(deployment, reply.execution_id).await;
    }
    let end = async {
        end_worker(settings, (deployment, args.view), worker, &watched).await?;
        let last = watched?;
        if args.follow.is_empty() {
            show_result(deployment, &last, args.view).await?;
        } else if !args.view.quiet {
            print_outcome(&last);
        }
        watch::exit_outcome(&last)
    };
    or_exit_on_interrupt(end, Exit::Canceled as i32).await?
}

/// Prints the jobs that failed, or whose children did, and the summary to standard error, beside the logs of `--follow`.
fn print_outcome(view: &ExecutionView) {
    let has_failed_child = |job: &&JobView| {
        job.child.as_ref().is_some_and(|child| child.awaited && child.status == ExecutionStatus::Failed)
    };
    for job in view.jobs.iter().filter(|job| job.status == JobStatus::Failed || has_failed_child(job)) {
        crate::output::errln!("{}: {}", Printable(&job.job_name), format::end_text(job));
    }
    crate::output::errln!("{}", format::summary_line(view).0);
}

/// Watches the execution, and prints the logs of `--follow` meanwhile.
async fn watch_and_follow(
    deployment: &Deployment,
    args: &Run,
    (reply, interrupts): (&ExecuteReply, &mut Interrupts),
    held: Option<HeldJobs>,
) -> Outcome<ExecutionView> {
    let is_json = args.view.format == ViewFormat::Json;
    let hints = deployment.hints().clone();
    let mut view = if args.follow.is_empty() {
        view::for_stdout(args.view, hints)
    } else {
        view::beside_logs(args.view, hints)
    };
    // What another call started is not this one's to cancel.
    let on_interrupt = if reply.attached { OnInterrupt::Detach } else { OnInterrupt::Cancel };
    if reply.attached && !args.view.quiet {
        let message = format!(
            "{} #{} of {} is already running for the same commit; attaching to it, an interrupt only leaves it (--force starts a new \
             execution)",
            Printable(&reply.pipeline_name),
            reply.run_number,
            Printable(&reply.repo)
        );
        if is_json { crate::output::errln!("{message}") } else { view.note(&message)? }
    }
    let id = reply.execution_id;
    if let Some(held) = held {
        let mut view = SharedView::new(view);
        let opening = shells::open_shells(held, view.clone());
        return tokio::select! {
            watched = watch::watch(deployment, id, &mut view, (interrupts, on_interrupt)) => watched,
            failed = opening => Err(failed.err().unwrap_or_else(|| Failure::system("no shell can be opened"))),
        };
    }
    let watched = watch::watch(deployment, id, &mut *view, (interrupts, on_interrupt));
    if args.follow.is_empty() {
        return watched.await;
    }
    let first = deployment.view(id).await?;
    let named: HashSet<JobId> =
        args.follow.iter().flat_map(|name| jobs_named(&first.jobs, name)).map(|job| job.id).collect();
    let followed: Vec<&JobView> = first.jobs.iter().filter(|job| named.contains(&job.id)).collect();
    let with_names = followed.len() > 1;
    let logs = followed.into_iter().map(|job| {
        let prefix = with_names.then_some(job.job_name.as_str());
        let style = LogOutput::Text { raw: false, prefix };
        let request = LogRequest { job: job.id, attempt: None, follow: true, style };
        // `watch` prints the outage notes.
        print_log(deployment, request, |_| Ok(()))
    });
    // The end of the execution ends its logs; the output's end does not wait for the execution.
    let printed = futures_util::future::try_join_all(logs);
    Ok(tokio::try_join!(watched, printed)?.0)
}
