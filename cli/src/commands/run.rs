//! RunCommand: starts an execution, runs its jobs here unless pointed at a deployment, and shows it.

use crate::{
    args::Run,
    deployment::Deployment,
    facts,
    failure::{Failure, Outcome},
    file::{self, PipelineFile},
    output::{self, Printable},
    select,
    settings::Settings,
    view::{self, words},
    watch::{self, LogOf, OnInterrupt},
    workers,
};
use indexmap::IndexMap;
use std::path::Path;
use tidemill_core::{
    api::{ExecuteReply, ExecuteRequest, path},
    assignment::{Preparation, Source},
    facts::Facts,
    ids::{ExecutionId, JobId},
    labels::{Labels, fits, queue_name},
    plan::Plan,
    repo::{AddressError, AddressPolicy, Credentials, RepositoryAddress},
    report::is_named,
    text::check_line,
};
use tidemill_worker::{
    Worker, WorkerHandle,
    source::{self, Reach, Resolved, SourcePack, Upload},
};
use uuid::Uuid;

/// The longest name of a user, in bytes, as servers take it.
const MAX_USER_LEN: usize = 200;

/// What is run, and where it comes from.
struct Origin {
    repo: String,
    branch: Option<String>,
    commit: Option<String>,
    source: Source,
    /// What the server must have before workers elsewhere can use `source`.
    pack: Option<SourcePack>,
    /// Where the worker of this process signs in, and with what.
    sign_in: Option<(RepositoryAddress, Credentials)>,
}

/// `tidemill run`.
pub async fn run(settings: &Settings, args: &Run) -> Outcome {
    let file = file::load(&args.file, settings.is_elsewhere())?;
    let variables = file::variables(&args.variables)?;
    let known = known(args, &file, &variables);
    let plan = Plan::of(&file.pipeline, &known).map_err(|error| Failure::usage(error.to_string()))?;
    if let Some(job) = &args.follow
        && !plan.jobs.iter().any(|planned| planned.is_called(job))
    {
        let left_out = plan.left_out.iter().find(|left| left.job == *job);
        let words = left_out.map_or_else(
            || format!("--follow {job}: {} has no such job", file.name),
            |left| format!("--follow {job}: the job is left out, as its condition {}", left.why),
        );
        return Err(Failure::usage(words));
    }
    let lent = lent(settings, args)?;
    // Nobody else's execution has them.
    let is_new = args.force || !lent.is_empty();
    let (deployment, ready) = tokio::join!(Deployment::connect(settings), get_ready(settings, args, &plan));
    let (deployment, (origin, worker)) = match (deployment, ready) {
        (Ok(deployment), Ok(ready)) => (deployment, ready),
        (Err(failure), ready) => {
            workers::close(ready.ok().and_then(|(_, worker)| worker)).await;
            return Err(failure);
        }
        (_, Err(failure)) => return Err(failure),
    };
    let mut source = origin.source;
    if let Some(pack) = origin.pack {
        let sent;
        (source, sent) = deployment.send_sources(pack).await?;
        if let Some(size) = sent.filter(|_| !args.quiet) {
            crate::errln!("uploaded {} of sources", words::size(size));
        }
    }
    let request = ExecuteRequest {
        pipeline: file.text,
        file: Some(file.name),
        repo: origin.repo,
        branch: origin.branch,
        commit: origin.commit,
        source,
        variables,
        requested_by: requester(),
        tag: known.tag,
        default_branch: known.default_branch,
        changed: known.changed,
        files: known.files,
        force: is_new,
        ..ExecuteRequest::default()
    };
    let begun = async {
        for (name, value) in lent {
            deployment.lend(name, value)?;
        }
        deployment.begin(path::EXECUTE, &request, is_new).await
    };
    let made: ExecuteReply = match begun.await {
        Ok(made) => made,
        Err(failure) => {
            workers::close(worker).await;
            return Err(failure);
        }
    };
    let worker = worker.map(|worker| workers::work_for(worker, &deployment, made.execution_id));
    let outcome = follow(settings, &deployment, args, &made, worker).await;
    deployment.close().await;
    outcome
}

/// The secrets that the arguments give to this run, with their values.
fn lent(settings: &Settings, args: &Run) -> Outcome<Vec<(String, String)>> {
    if let (Some(first), true) = (args.secrets.first(), settings.is_elsewhere()) {
        let name = first.split('=').next().unwrap_or_default();
        return Err(Failure::usage(format!(
            "--secret is for runs on this machine; keep it on the deployment with: tidemill secret set {name}"
        )));
    }
    let value = |given: &String| match given.split_once('=') {
        None => std::env::var(given).map(|value| (given.clone(), value)).map_err(|_| {
            Failure::usage(format!("--secret {given}: the environment has no text under this name"))
        }),
        Some((name, from)) => {
            // What stands here may be the value itself, and is not shown.
            let path = from.strip_prefix('@').ok_or_else(|| {
                Failure::usage(format!(
                    "--secret {name}: say {name} for what the environment has, or {name}=@FILE; a value in an argument can be \
                     seen by others"
                ))
            })?;
            let value = std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("--secret {name}: {path}: {error}")))?;
            Ok((name.to_owned(), value))
        }
    };
    args.secrets.iter().map(value).collect()
}

/// What conditions look at: what git knows here, or of a repository elsewhere what the arguments say.
fn known(args: &Run, file: &PipelineFile, variables: &IndexMap<String, String>) -> Facts {
    let known = if args.repo.is_some() {
        Facts { branch: args.branch.clone(), commit: args.commit.clone(), ..Facts::default() }
    } else {
        facts::of_working_tree(Path::new("."), facts::Wanted::of(&file.pipeline, &file.text))
    };
    Facts { variables: variables.clone(), ..known }
}

/// Finds the sources, and has a worker of this process (unless there is a server that has workers) make the first
/// containers: the engine takes longer for these than all else takes here.
async fn get_ready(settings: &Settings, args: &Run, plan: &Plan) -> Outcome<(Origin, Option<Worker>)> {
    if settings.is_elsewhere() {
        return Ok((origin(settings, args).await?, None));
    }
    must_have_labels(plan, &workers::labels(&args.labels))?;
    let slots = workers::slots(args.parallel);
    let (origin, worker) = tokio::join!(origin(settings, args), workers::open(settings, slots, &args.labels));
    let (origin, worker) = match (origin, worker) {
        (Ok(origin), Ok(worker)) => (origin, worker),
        (Err(failure), Ok(worker)) => {
            worker.close().await;
            return Err(failure);
        }
        (_, Err(failure)) => return Err(failure),
    };
    // Containers are made alike for every execution, so that its id, and the jobs', need not be known yet.
    let (execution, job) = (ExecutionId(Uuid::nil()), JobId(Uuid::nil()));
    let first = plan.roots().take(slots).map(|root| &plan.jobs[root as usize]);
    let first: Vec<_> =
        first.map(|planned| Preparation::new(planned, &origin.source, execution, job)).collect();
    if let Some((address, credentials)) = &origin.sign_in {
        worker.sign_in(address, credentials.clone());
    }
    worker.prepare(&first, plan.jobs.len());
    Ok((origin, Some(worker)))
}

/// No other worker will come to this process's aid: a job that demands labels that are not `here` would wait for ever.
fn must_have_labels(plan: &Plan, here: &Labels) -> Outcome<()> {
    let Some(job) = plan.jobs.iter().find(|job| !fits(&job.runs_on, here)) else { return Ok(()) };
    let demands = queue_name(&job.runs_on);
    Err(Failure::usage(format!(
        "job `{}` demands a worker with {demands}, and this machine has {}; run it on a server that has such a worker \
         (--server), or say that this machine is one: --label {demands}",
        job.name,
        queue_name(here)
    )))
}

async fn follow(
    settings: &Settings,
    deployment: &Deployment,
    args: &Run,
    made: &ExecuteReply,
    worker: Option<WorkerHandle>,
) -> Outcome {
    let mut view = view::fitting(args.quiet || args.json || args.follow.is_some());
    if made.attached && !args.quiet {
        let words = format!(
            "{} #{} of {} is under way already, of the same commit: showing that one (--force makes another)",
            Printable(&made.pipeline_name),
            made.run_number,
            Printable(&made.repo)
        );
        if args.json { crate::errln!("{words}") } else { view.note(&words)? }
    }
    let id = made.execution_id;
    let watched = match &args.follow {
        None => watch::watch(deployment, id, &mut *view, OnInterrupt::Cancel).await,
        Some(name) => {
            let first = deployment.view(id).await?;
            let job = first.jobs.iter().find(|job| job.job_name == *name);
            let job = job.or_else(|| first.jobs.iter().find(|job| is_named(job, name)));
            let job = job.map(|job| job.id).ok_or_else(|| Failure::system("the job is not recorded"))?;
            // What there is to note is noted by the watching.
            let printed =
                watch::print_log(deployment, LogOf { job, attempt: None, follow: true, raw: false }, |_| {
                    Ok(())
                });
            let watched = watch::watch(deployment, id, &mut *view, OnInterrupt::Cancel);
            let (watched, printed) = tokio::join!(watched, printed);
            printed?;
            watched
        }
    };
    if let Some(worker) = worker {
        workers::end(settings, worker, &watched).await?;
    }
    let last = watched?;
    if args.json {
        output::print_json_line(&last)?;
    } else if args.follow.is_none() {
        watch::show_failures(deployment, &last).await?;
    }
    watch::verdict(&last)
}

/// Who asks, as a server of this process or a deployment's own token may say it.
pub fn requester() -> Option<String> {
    std::env::var("USER").ok().filter(|name| check_line("USER", name, MAX_USER_LEN).is_ok())
}

/// The repository that is recorded for a run from here.
pub fn repository_here() -> Outcome<String> {
    let here = std::env::current_dir()?;
    source::repository_of(&here).map_err(|error| Failure::usage(error.to_string()))
}

async fn origin(settings: &Settings, args: &Run) -> Outcome<Origin> {
    let cache = settings.data_dir()?.join("worker").join("cache");
    let named = args.repo.as_ref().map(|repo| select::local_path(repo).unwrap_or_else(|| repo.clone()));
    let (repo, branch, commit) = (named, args.branch.clone(), args.commit.clone());
    let (is_elsewhere, all) = (settings.is_elsewhere(), args.upload_all);
    if is_elsewhere && let Some(url) = &repo {
        must_be_for_servers(url)?;
    }
    let found = tokio::task::spawn_blocking(move || {
        let Some(url) = repo else {
            let here = std::env::current_dir().map_err(|error| error.to_string())?;
            let found = source::snapshot(&here, &cache)?;
            let (source, pack) = if is_elsewhere {
                match source::upload(&found, all)? {
                    Upload::Nothing(source) => (source, None),
                    // What it is called is known once it was sent.
                    Upload::Pack(pack) => (Source::None, Some(pack)),
                }
            } else {
                (found.source, None)
            };
            let commit = Some(found.commit);
            return Ok(Origin {
                repo: found.repo,
                branch: found.branch,
                commit,
                source,
                pack,
                sign_in: None,
            });
        };
        // This machine's user contacts what he likes.
        let reach = Reach::new(AddressPolicy::unrestricted());
        let found = source::resolve(&url, branch.as_deref(), commit.as_deref(), (&cache, &reach))?;
        let Resolved { repo, branch, commit, source, sign_in } = found;
        Ok(Origin { repo, branch, commit: Some(commit), source, pack: None, sign_in })
    });
    let found: Result<Origin, Stopped> = found.await.map_err(|error| Failure::system(error.to_string()))?;
    found.map_err(|stopped| Failure::usage(output::printable_lines(&stopped.0)))
}

/// Refuses for a server what only this machine has: directories, and credentials.
fn must_be_for_servers(url: &str) -> Outcome {
    match RepositoryAddress::parse_with_credentials(url) {
        Ok((_, None)) => Ok(()),
        Ok((address, Some(_))) => Err(Failure::usage(format!(
            "--repo has credentials in it, which a server would have to store for all to see: say --repo {address}, and give its \
             workers an SSH key or a credential helper of git for this host"
        ))),
        Err(AddressError::LocalPath) => Err(Failure::usage(
            "--repo names a directory, which the server's workers do not see: run there without --repo, which uploads what is there",
        )),
        Err(error) => Err(Failure::usage(format!("--repo: {error}"))),
    }
}

/// Why there are no sources.
struct Stopped(String);

impl From<source::SourceError> for Stopped {
    fn from(error: source::SourceError) -> Self {
        Self(error.to_string())
    }
}

impl From<String> for Stopped {
    fn from(words: String) -> Self {
        Self(words)
    }
}
