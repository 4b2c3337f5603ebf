//! What the jobs of a worker share that runs them as processes of its machine.

use super::{
    cgroup::{WorkerCgroup, remove_groups_of},
    directory::{JobDirectory, remove},
    environment::MARKER,
    processes::{can_list, signal_all, with_variable},
};
use crate::{
    engine::RegistrySettings,
    error::WorkerError,
    policy::{JobSettings, Limits},
    source::SourceCache,
    store::{WorkerDirs, short_hash},
    workspace::{FileOwner, HostWorkspace},
};
use rustix::process::Signal;
use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
};
use tokio_util::task::TaskTracker;

/// The mode of the directory of all jobs, if they run as another user: that user can enter it, and not list it.
const ENTERED_DIR_MODE: u32 = 0o711;
/// Where jobs of another user have their directories: that user cannot enter the worker's own.
const SHARED_DIRECTORY: &str = "/var/tmp";

/// How a worker runs jobs as processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessSettings {
    /// The user that jobs run as; `None`: that of the worker. Only root can choose another.
    pub user: Option<String>,
    /// The directory below which jobs have their directories; `None`: the worker's own, or `/var/tmp` with another user.
    pub directory: Option<PathBuf>,
    /// The control group below which jobs have theirs; `None`: that of the worker.
    pub cgroup: Option<PathBuf>,
    /// The command that becomes the supervisor of a job: this program with the argument for [`supervise`](super::supervise).
    pub supervisor: Vec<OsString>,
}

/// The user of jobs.
#[derive(Debug, Clone)]
pub(super) struct JobUser {
    pub name: String,
    /// Its user and group; `None`: those of the worker.
    pub ids: Option<(u32, u32)>,
}

/// What the jobs of a worker share.
#[derive(Debug)]
pub struct ProcessHost {
    /// Provides source trees.
    pub sources: SourceCache,
    /// The worker's logins at registries, which are masked.
    pub registries: RegistrySettings,
    /// What every job gets.
    pub settings: JobSettings,
    /// The limits of a job.
    pub limits: Limits,
    pub(super) user: JobUser,
    pub(super) supervisor: Vec<OsString>,
    pub(super) cgroup: Option<WorkerCgroup>,
    process: ProcessSettings,
    store: WorkerDirs,
    worker: String,
    /// The directory of all jobs of this worker.
    base: PathBuf,
    jobs: AtomicU64,
    tasks: TaskTracker,
}

impl ProcessHost {
    /// Creates what jobs need, or returns why they cannot run as processes here.
    pub fn open(
        process: ProcessSettings,
        (store, worker): (WorkerDirs, String),
        sources: SourceCache,
        (registries, settings, limits): (RegistrySettings, JobSettings, Limits),
    ) -> Result<Self, WorkerError> {
        let failed = WorkerError::Processes;
        if !can_list() {
            return Err(failed("/proc cannot be read, which shows which processes are a job's".to_owned()));
        }
        let user = job_user(process.user.as_deref()).map_err(failed)?;
        let parent = shared_directory(&process, &user);
        let base = match &parent {
            Some(directory) => directory.join(shared_name(&store, &worker)),
            None => store.work().join("jobs"),
        };
        let mode = if user.ids.is_some() { ENTERED_DIR_MODE } else { 0o700 };
        let created = fs::DirBuilder::new().mode(0o700).create(&base);
        // Not with its creation, as this process may create files for its own user only.
        let created = created.and_then(|()| fs::set_permissions(&base, fs::Permissions::from_mode(mode)));
        created.map_err(|error| {
            failed(format!("the directory {} of jobs cannot be created: {error}", base.display()))
        })?;
        if HostWorkspace::open(&base, false).is_none() {
            drop(fs::remove_dir(&base));
            return Err(failed(
                "this kernel has no openat2(2), with which files of jobs are read safely; Linux 5.6 has it"
                    .to_owned(),
            ));
        }
        let cgroup = WorkerCgroup::create(process.cgroup.as_deref(), &worker);
        if !cgroup.as_ref().is_some_and(WorkerCgroup::limits_memory) {
            tracing::info!(
                "the kernel limits neither memory nor processors of jobs: there is no control group for that"
            );
        }
        let supervisor = process.supervisor.clone();
        let (jobs, tasks) = (AtomicU64::new(0), TaskTracker::new());
        Ok(Self {
            sources,
            registries,
            settings,
            limits,
            user,
            supervisor,
            cgroup,
            process,
            store,
            worker,
            base,
            jobs,
            tasks,
        })
    }

    /// Creates the directories of a job. Returns them with the job's number.
    pub(super) fn create_directory(&self) -> io::Result<(JobDirectory, u64)> {
        let number = self.jobs.fetch_add(1, Ordering::Relaxed);
        let path = self.base.join(number.to_string());
        JobDirectory::create(path, self.owner(), self.tasks.clone()).map(|directory| (directory, number))
    }

    /// Returns the owner of the files of jobs.
    pub(super) fn owner(&self) -> FileOwner {
        self.user.ids.map_or(FileOwner::Worker, |(uid, gid)| FileOwner::User { uid, gid })
    }

    /// Returns the value of [`MARKER`] of the job with this number.
    pub(super) fn marker(&self, number: u64) -> String {
        format!("{}/{number}", self.worker)
    }

    /// Ends what workers of this data directory left whose processes have ended, and removes their files.
    pub fn remove_ended_workers(&self) {
        let ended = self.store.ended_workers();
        let shared = shared_directory(&self.process, &self.user);
        for entry in shared.iter().flat_map(fs::read_dir).flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let prefix = shared_name(&self.store, "");
            let Some(worker) = name.strip_prefix(&prefix).filter(|worker| !self.store.is_alive(worker))
            else {
                continue;
            };
            end_worker(&self.process, worker);
            remove(&entry.path());
        }
        for worker in ended {
            end_worker(&self.process, &worker);
            remove(&self.store.work_of(&worker).join("jobs"));
        }
        self.store.remove_ended_workers();
    }

    /// Waits until all files of jobs are removed.
    pub async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.sources.wait_until_idle().await;
        drop(fs::remove_dir(&self.base));
        if let Some(cgroup) = &self.cgroup {
            cgroup.remove();
        }
    }
}

/// Ends the processes of a worker that has ended. Its supervisors do that themselves, unless they were killed as well.
fn end_worker(settings: &ProcessSettings, worker: &str) {
    remove_groups_of(settings.cgroup.as_deref(), worker);
    let is_of_worker = |value: &str| value.split('/').next() == Some(worker);
    signal_all(&with_variable(MARKER, is_of_worker), Signal::KILL);
}

/// Returns the directory that jobs of several workers share; `None`: each has its own.
fn shared_directory(settings: &ProcessSettings, user: &JobUser) -> Option<PathBuf> {
    let default = || user.ids.is_some().then(|| Path::new(SHARED_DIRECTORY).to_owned());
    settings.directory.clone().or_else(default)
}

/// Returns the name of the directory of a worker's jobs in a shared one.
fn shared_name(store: &WorkerDirs, worker: &str) -> String {
    format!("tidemill-{}-{worker}", short_hash(&[&store.label()]))
}

/// Returns the user of jobs, given its configured name.
fn job_user(name: Option<&str>) -> Result<JobUser, String> {
    let own = rustix::process::geteuid();
    let Some(name) = name else {
        // A user without a name has its number.
        let name = id(&["-un"]).unwrap_or_else(|_| own.as_raw().to_string());
        return Ok(JobUser { name, ids: None });
    };
    if name.starts_with('-') {
        return Err(format!("`{name}` is not the name of a user"));
    }
    let number = |flag: &str| {
        let text = id(&[flag, name])?;
        text.parse::<u32>().map_err(|_| format!("the user `{name}` has no number"))
    };
    let (uid, gid) = (number("-u")?, number("-g")?);
    if uid == own.as_raw() {
        return Ok(JobUser { name: name.to_owned(), ids: None });
    }
    if !own.is_root() {
        return Err(format!("only a worker that runs as root can run jobs as `{name}`"));
    }
    Ok(JobUser { name: name.to_owned(), ids: Some((uid, gid)) })
}

/// Runs `id`, which knows users from wherever this machine has them.
fn id(args: &[&str]) -> Result<String, String> {
    let output =
        Command::new("id").args(args).output().map_err(|error| format!("`id` cannot run: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::job_user;

    #[test]
    fn user_of_jobs_must_exist() {
        assert_eq!(job_user(None).unwrap().ids, None);
        for unknown in ["no-such-user-here", "-u", ""] {
            assert!(job_user(Some(unknown)).is_err(), "{unknown}");
        }
        if rustix::process::geteuid().is_root() {
            assert_eq!(job_user(Some("root")).unwrap().ids, None);
            let other = job_user(Some("nobody")).unwrap();
            assert!(other.ids.is_some_and(|(uid, _)| uid != 0) && other.name == "nobody");
        }
    }
}
