//! First phase of a job that runs as processes: its directories with sources, artifacts and caches, and its supervisor.

use super::{
    cgroup::JobCgroup,
    directory::JobDirectory,
    environment::{environment, relocate},
    host::ProcessHost,
    sandbox::JobProcess,
    sources::copy_tree,
    supervisor::SupervisorOrder,
};
use crate::{
    artifact::ArtifactTransfer,
    engine::WorkspaceMount,
    error::disk_full_failure,
    job::{
        Attempt, EarlyEnd, Environment, PREPARATION_ALLOWANCE, Prepared, preparation_timeout, restore_caches,
    },
    source::Tree,
    workspace::HostWorkspace,
};
use std::{io, process::Stdio, sync::Arc};
use tidemill_core::execution::failure::{FailureKind, FailureReason};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, ChildStdin, Command},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Prepares the attempt.
pub(super) async fn prepare(
    host: &ProcessHost,
    artifacts: &ArtifactTransfer,
    attempt: &mut Attempt,
) -> Result<Prepared<JobProcess>, EarlyEnd> {
    let started = Instant::now();
    attempt.reporter.phase("preparing");
    let timeout_s = attempt.assignment.timeout_s;
    let Attempt { assignment, reporter, signals, .. } = attempt;
    let canceled = CancellationToken::new();
    let _cancel = canceled.clone().drop_guard();
    let work = async {
        let (directory, number) =
            host.create_directory().map_err(|error| failure("the directory of the job", &error))?;
        let directory = Arc::new(directory);
        relocate(assignment, &directory);
        let tree = host.sources.checkout_for_job(&assignment.preparation, host.owner()).await?;
        let tree = copy_sources(host, tree, &directory, canceled).await?;
        let opened = HostWorkspace::open(&directory.workspace(), false);
        let opened = opened
            .ok_or_else(|| failure("the workspace", &io::Error::other("its directory cannot be opened")))?;
        let workspace = WorkspaceMount::directory(opened, host.owner());
        let caches = restore_caches(artifacts, &workspace, assignment, reporter).await;
        for artifact in assignment.files() {
            artifacts.restore(&workspace, artifact).await?;
        }
        let marker = host.marker(number);
        let resources = host.limits.apply(assignment.preparation.resources);
        let cgroup = host
            .job_cgroup(number, resources)
            .map_err(|error| failure("the control group of the job", &error))?;
        // From here on the job's user can change the files: the worker reads and writes none by a path that it could replace.
        directory.open_to(host.owner()).map_err(|error| failure("the directory of the job", &error))?;
        let (child, input) =
            start_supervisor(host, &directory, (cgroup.as_ref(), &marker)).await.map_err(|error| {
                FailureReason::new(FailureKind::WorkerFailed, format!("the job cannot be started: {error}"))
            })?;
        let limits = host.limits.clone();
        let sandbox = JobProcess::new(child, input, (cgroup, marker), directory, workspace, (tree, limits));
        Ok::<_, FailureReason>((sandbox, Environment::without_services(caches)))
    };
    let prepared = tokio::select! {
        prepared = work => prepared.map_err(EarlyEnd::Failed),
        stopped = signals.stopped() => Err(stopped),
        timeout = preparation_timeout(timeout_s) => Err(timeout),
    };
    let (sandbox, environment) = prepared?;
    // Preparation beyond its allowance counts towards the job's timeout.
    let started = Instant::now() - started.elapsed().saturating_sub(PREPARATION_ALLOWANCE);
    Ok(Prepared { sandbox, environment, started })
}

/// Copies the sources into the workspace. The directory is not removed before that ended, even if nobody waits for it.
async fn copy_sources(
    host: &ProcessHost,
    tree: Option<Tree>,
    directory: &Arc<JobDirectory>,
    canceled: CancellationToken,
) -> Result<Option<Tree>, FailureReason> {
    let Some(tree) = tree else { return Ok(None) };
    let (directory, owner) = (directory.clone(), host.owner());
    let copying = tokio::task::spawn_blocking(move || {
        let copied = copy_tree(&tree.path, &directory.workspace(), owner, &canceled);
        copied.map(|()| tree)
    });
    match copying.await {
        Ok(Ok(tree)) => Ok(Some(tree)),
        Ok(Err(error)) => Err(failure("the sources", &error)),
        Err(error) => Err(FailureReason::new(FailureKind::Internal, error.to_string())),
    }
}

/// Starts the supervisor of a job, which waits for the script.
async fn start_supervisor(
    host: &ProcessHost,
    directory: &JobDirectory,
    (cgroup, marker): (Option<&JobCgroup>, &str),
) -> io::Result<(Child, ChildStdin)> {
    let order = SupervisorOrder {
        run: directory.run(),
        environment: environment(&host.settings, directory, (&host.user.name, marker)),
        user: host.user.ids,
        cgroup: cgroup.map(|cgroup| cgroup.directory.clone()),
        no_new_privileges: host.limits.no_new_privileges,
        open_files: host.limits.open_files,
        max_processes: host.max_processes_of_user(),
    };
    let mut line = serde_json::to_vec(&order)?;
    line.push(b'\n');
    let [program, args @ ..] = host.supervisor.as_slice() else {
        return Err(io::Error::other("no program supervises jobs"));
    };
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        // It looks up the shell.
        .envs(order.environment.get("PATH").map(|path| ("PATH", path)))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut input = child.stdin.take().ok_or_else(|| io::Error::other("it has no stdin"))?;
    input.write_all(&line).await?;
    Ok((child, input))
}

/// Returns the failure of writing to the disk of a job.
fn failure(what: &str, error: &io::Error) -> FailureReason {
    match error.kind() {
        io::ErrorKind::StorageFull => disk_full_failure(what),
        _ => FailureReason::new(FailureKind::WorkerFailed, format!("{what} could not be created: {error}")),
    }
}
