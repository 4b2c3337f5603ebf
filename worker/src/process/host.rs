//! What the jobs of a worker share that runs them as processes of its machine.

use super::{
    cgroup::{CgroupSettings, Controller, JobCgroup, WorkerCgroup, remove_groups_of},
    directory::{ENTERED_MODE, JobDirectory, remove},
    environment::MARKER,
    processes::{can_list, kill_all_of, with_variable},
};
use crate::{
    engine::RegistrySettings,
    error::WorkerError,
    policy::{JobSettings, Limits},
    source::SourceCache,
    store::{WorkerDirs, short_hash},
    workspace::{FileOwner, HostWorkspace},
};
use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tidemill_core::execution::assignment::Resources;
use tokio_util::task::TaskTracker;

/// Where jobs of another user have their directories: that user cannot enter the worker's own.
const SHARED_DIRECTORY: &str = "/var/tmp";

/// How a worker runs jobs as processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessSettings {
    /// The user that jobs run as; `None`: that of the worker. Only root can choose another.
    pub user: Option<String>,
    /// The directory below which jobs have their directories; `None`: the worker's own, or `/var/tmp` with another user.
    pub directory: Option<PathBuf>,
    /// Where jobs have their control groups.
    pub cgroup: CgroupSettings,
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
    /// `None` once the worker ends, or if jobs have none.
    cgroup: Mutex<Option<WorkerCgroup>>,
    /// The group below which the worker has its own.
    cgroup_parent: Option<PathBuf>,
    /// Whether the kernel limits the number of processes of a job.
    limits_processes: bool,
    /// Whether a warning said that a limit does not apply.
    has_warned: AtomicBool,
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
        let user = job_user(process.user.as_deref()).map_err(failed)?;
        if !can_list(user.ids.is_some()) {
            let hidden = "/proc does not show which processes are a job's (with `user`, also `hidepid` or `ProtectProc` prevents it)";
            return Err(failed(hidden.to_owned()));
        }
        let parent = shared_directory(&process, &user);
        if let Some(reason) = parent.as_deref().filter(|_| user.ids.is_some()).and_then(unsafe_part) {
            return Err(failed(format!("the directory of jobs is not safe: {reason}")));
        }
        let base = match &parent {
            Some(directory) => directory.join(shared_name(&store, &worker)),
            None => store.work().join("jobs"),
        };
        let mode = if user.ids.is_some() { ENTERED_MODE } else { 0o700 };
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
        let cgroup_parent = process.cgroup.parent();
        let cgroup = open_cgroup(&process.cgroup, cgroup_parent.as_deref(), (&worker, &limits));
        let cgroup = cgroup.map_err(|message| {
            drop(fs::remove_dir(&base));
            failed(message)
        })?;
        let limits_processes = cgroup.as_ref().is_some_and(|group| group.controls(Controller::Pids));
        let supervisor = process.supervisor.clone();
        let (jobs, tasks) = (AtomicU64::new(0), TaskTracker::new());
        let host = Self {
            sources,
            registries,
            settings,
            limits,
            user,
            supervisor,
            cgroup: Mutex::new(cgroup),
            cgroup_parent,
            limits_processes,
            has_warned: AtomicBool::new(false),
            process,
            store,
            worker,
            base,
            jobs,
            tasks,
        };
        host.warn_without_limits(host.limits.apply(Resources::default()));
        Ok(host)
    }

    /// Creates the control group of a job that uses at most `resources`; `None`: jobs have none.
    pub(super) fn job_cgroup(&self, number: u64, resources: Resources) -> io::Result<Option<JobCgroup>> {
        self.warn_without_limits(resources);
        let groups = self.cgroup.lock().unwrap_or_else(PoisonError::into_inner);
        groups.as_ref().map(|all| all.create_job(number, resources, self.limits.pids)).transpose()
    }

    /// Says once that the kernel does not apply limits that are set, or that a job asks for.
    fn warn_without_limits(&self, resources: Resources) {
        let groups = self.cgroup.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = missing(resources, self.limits.pids, groups.as_ref());
        if missing.is_empty() || self.has_warned.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!(
            limits = missing.join(", "),
            "limits of jobs do not apply, as the worker can create no control groups with these controllers; see \
             `cgroup` of `[process]`"
        );
    }

    /// Returns how many processes the user of jobs may have in all; `None`: each job has its own limit, or the user is the worker's.
    pub(super) fn max_processes_of_user(&self) -> Option<u32> {
        let is_only_limit = self.user.ids.is_some() && !self.limits_processes;
        is_only_limit.then_some(self.limits.pids)
    }

    /// Creates the directories of a job. Returns them with the job's number.
    pub(super) fn create_directory(&self) -> io::Result<(JobDirectory, u64)> {
        let number = self.jobs.fetch_add(1, Ordering::Relaxed);
        let path = self.base.join(number.to_string());
        JobDirectory::create(path, self.tasks.clone()).map(|directory| (directory, number))
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
            let Some(worker) = name.strip_prefix(&shared_name(&self.store, "")) else { continue };
            // Anyone can make a directory with the name of a worker that runs, of another data directory.
            if uuid::Uuid::try_parse(worker).is_err() || !is_own_directory(&entry.path()) {
                tracing::debug!(name, "this is not a directory of a worker of this user");
                continue;
            }
            if !self.store.is_alive(worker) {
                self.end_worker(worker);
                remove(&entry.path());
            }
        }
        for worker in ended {
            self.end_worker(&worker);
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
        drop(self.cgroup.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Ends the processes of a worker that has ended. Its supervisors do that themselves, unless they were killed as well.
    fn end_worker(&self, worker: &str) {
        if let Some(parent) = &self.cgroup_parent {
            remove_groups_of(parent, worker);
        }
        let is_of_worker = |value: &str| value.split('/').next() == Some(worker);
        kill_all_of(|| with_variable(MARKER, is_of_worker));
    }
}

/// Whether this is a directory of this process's user, and no link to one.
fn is_own_directory(path: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == own)
}

/// Creates the control group of `worker`. A group that the operator named must limit what the worker's limits name.
fn open_cgroup(
    settings: &CgroupSettings,
    parent: Option<&Path>,
    (worker, limits): (&str, &Limits),
) -> Result<Option<WorkerCgroup>, String> {
    let named = match settings {
        CgroupSettings::Disabled => return Ok(None),
        CgroupSettings::OfWorker => None,
        CgroupSettings::Below(named) => Some(named.display()),
    };
    let Some(parent) = parent else {
        tracing::info!("jobs get no control groups: none are mounted; their processes are ended one by one");
        return Ok(None);
    };
    let group = match (WorkerCgroup::create(parent, worker, named.is_none()), named) {
        (Ok(group), None) => return Ok(Some(group)),
        (Err(error), None) => {
            tracing::info!(%error, "jobs get no control groups; their processes are ended one by one");
            return Ok(None);
        }
        (Ok(group), Some(_)) => group,
        (Err(error), Some(named)) => {
            return Err(format!("no control group can be created below `cgroup`, {named}: {error}"));
        }
    };
    let missing = missing(limits.apply(Resources::default()), limits.pids, Some(&group));
    let pids = (!group.controls(Controller::Pids)).then_some("pids");
    let mut missing: Vec<&str> = missing.into_iter().chain(pids).collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(Some(group));
    }
    Err(format!(
        "`cgroup`, {}, does not pass on the controllers for these limits: {}; they must be in its cgroup.controllers, and no \
         process may be in the group itself",
        parent.display(),
        missing.join(", ")
    ))
}

/// Returns the names of the limits that are asked for, and that the kernel does not apply.
fn missing(resources: Resources, pids: u32, group: Option<&WorkerCgroup>) -> Vec<&'static str> {
    let controls = |controller| group.is_some_and(|group| group.controls(controller));
    let asked = [
        (Controller::Memory, resources.memory_bytes.is_some()),
        (Controller::Cpu, resources.cpus.is_some()),
        // There is always one; only one that the operator chose is worth a warning.
        (Controller::Pids, pids != Limits::default().pids),
    ];
    let missing = asked.into_iter().filter(|(controller, is_asked)| *is_asked && !controls(*controller));
    missing.map(|(controller, _)| controller.name()).collect()
}

/// Returns why other users could replace the directory at `path`, or one with it; `None`: they cannot.
fn unsafe_part(path: &Path) -> Option<String> {
    let own = rustix::process::geteuid().as_raw();
    let path = fs::canonicalize(path).ok()?;
    path.ancestors().find_map(|part| {
        let metadata = fs::metadata(part).ok()?;
        let is_trusted = [0, own].contains(&metadata.uid());
        // In a directory such as `/tmp`, users can change their own files only.
        let is_shared = metadata.mode() & 0o022 != 0 && metadata.mode() & 0o1000 == 0;
        let reason = match (is_trusted, is_shared) {
            (false, _) => "belongs to another user",
            (_, true) => "can be changed by other users",
            (true, false) => return None,
        };
        Some(format!("{} {reason}", part.display()))
    })
}

/// Returns the directory that jobs of several workers share; `None`: each has its own.
fn shared_directory(settings: &ProcessSettings, user: &JobUser) -> Option<PathBuf> {
    let default = || user.ids.is_some().then(|| Path::new(SHARED_DIRECTORY).to_owned());
    let directory = settings.directory.clone().or_else(default)?;
    Some(fs::canonicalize(&directory).unwrap_or(directory))
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
    use super::{is_own_directory, job_user, missing, unsafe_part};
    use crate::policy::Limits;
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, chown, symlink},
    };
    use tidemill_core::execution::assignment::Resources;

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

    #[test]
    fn limits_that_do_not_apply_are_named_if_someone_asked_for_them() {
        let default = Limits::default().pids;
        assert!(missing(Resources::default(), default, None).is_empty());
        let all = Resources { memory_bytes: Some(1), cpus: Some(1.0) };
        assert_eq!(missing(all, 100, None), ["memory", "cpu", "pids"]);
        assert_eq!(missing(Resources { cpus: None, ..all }, default, None), ["memory"]);
    }

    #[test]
    fn only_directories_of_this_user_are_those_of_its_workers() {
        let base = tempfile::tempdir().unwrap();
        let [own, link, file] = ["own", "link", "file"].map(|name| base.path().join(name));
        fs::create_dir(&own).unwrap();
        symlink(&own, &link).unwrap();
        fs::write(&file, "").unwrap();
        assert!(is_own_directory(&own));
        assert!(!is_own_directory(&link) && !is_own_directory(&file));
        if rustix::process::geteuid().is_root() {
            chown(&own, Some(4711), None).unwrap();
            assert!(!is_own_directory(&own));
        }
    }

    #[test]
    fn directory_of_jobs_must_not_be_replaceable() {
        let base = tempfile::tempdir().unwrap();
        let inner = base.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        assert_eq!(unsafe_part(&inner), None);
        let set = |mode| fs::set_permissions(base.path(), fs::Permissions::from_mode(mode)).unwrap();
        set(0o777);
        assert!(unsafe_part(&inner).unwrap().contains("changed by other users"));
        set(0o1777);
        assert_eq!(unsafe_part(&inner), None);
        if rustix::process::geteuid().is_root() {
            chown(inner.parent().unwrap(), Some(4711), None).unwrap();
            assert!(unsafe_part(&inner).unwrap().contains("belongs to another user"));
        }
    }
}
