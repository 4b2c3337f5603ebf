//! Control groups (version 2) of jobs, where the worker may create some: the kernel ends all processes of one at once, and limits
//! their resources.

mod files;

use files::{GroupFiles, Kernel};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};
use tidemill_core::execution::assignment::Resources;

/// The period of `cpu.max`, and the smallest quota that the kernel accepts, in microseconds.
const CPU_PERIOD: f64 = 100_000.0;
const MIN_CPU_QUOTA: f64 = 1_000.0;
/// How often, and after which pauses, a group is removed that the kernel still counts as in use.
const REMOVALS: u32 = 20;
const REMOVAL_PAUSE: Duration = Duration::from_millis(25);

/// What the kernel can limit for a group, if the groups above it pass that on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Controller {
    Memory,
    Cpu,
    Pids,
}

impl Controller {
    pub const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }

    /// Returns those that a file of a group lists.
    fn listed(text: &str) -> Vec<Self> {
        let has = |controller: &Self| text.split_whitespace().any(|name| name == controller.name());
        Self::ALL.into_iter().filter(has).collect()
    }
}

/// Where the groups of jobs are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CgroupSettings {
    /// Below the worker's own group, if it can.
    #[default]
    OfWorker,
    /// Below the group of this directory.
    Below(PathBuf),
    /// Jobs get none.
    Disabled,
}

impl CgroupSettings {
    /// Returns the directory of the group below which jobs get theirs, if there is one.
    pub(super) fn parent(&self) -> Option<PathBuf> {
        match self {
            Self::OfWorker => own_group(),
            Self::Below(directory) => Some(directory.clone()),
            Self::Disabled => None,
        }
    }
}

/// The control group of a worker, with one of each job below it.
#[derive(Debug)]
pub(super) struct WorkerCgroup<F: GroupFiles = Kernel> {
    files: F,
    directory: PathBuf,
    /// What it limits for each job.
    controllers: Vec<Controller>,
    /// The group that this process moved to, so that its former one could pass controllers on.
    moved: Option<Moved>,
}

/// What a worker changed in the group that it was in.
#[derive(Debug)]
struct Moved {
    from: PathBuf,
    to: PathBuf,
    /// What its former group passes on since then.
    enabled: Vec<Controller>,
}

impl WorkerCgroup {
    /// Creates the group of `worker` below that at `parent`. Where this process itself is in that one, it `may_move`.
    pub fn create(parent: &Path, worker: &str, may_move: bool) -> io::Result<Self> {
        Self::create_in(Kernel, parent, worker, may_move)
    }
}

impl<F: GroupFiles> WorkerCgroup<F> {
    fn create_in(files: F, parent: &Path, worker: &str, may_move: bool) -> io::Result<Self> {
        let directory = group_of(parent, worker);
        files.create(&directory)?;
        let mut group = Self { files, directory, controllers: Vec::new(), moved: None };
        // It exists since Linux 5.14.
        if !group.files.exists(&group.directory.join("cgroup.kill")) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "this kernel has no cgroup.kill"));
        }
        group.pass_on(parent, worker, may_move);
        group.check_entering(parent)?;
        let subtree = group.directory.join("cgroup.subtree_control");
        for controller in Controller::listed(&group.read(&parent.join("cgroup.subtree_control"))) {
            drop(group.files.write(&subtree, &format!("+{}", controller.name())));
        }
        group.controllers = Controller::listed(&group.read(&subtree));
        Ok(group)
    }

    /// Lets `parent` pass its controllers on to the groups below it.
    ///
    /// The kernel does not allow that for a group with processes in it, apart from the root of all. So a worker that is in `parent`
    /// moves to a group beside those of its jobs. Other processes in `parent` are not the worker's to move.
    fn pass_on(&mut self, parent: &Path, worker: &str, may_move: bool) {
        let subtree = parent.join("cgroup.subtree_control");
        let passed = Controller::listed(&self.read(&subtree));
        let mut missing = Controller::listed(&self.read(&parent.join("cgroup.controllers")));
        missing.retain(|controller| !passed.contains(controller));
        // Only the root has no type.
        let is_root = !self.files.exists(&parent.join("cgroup.type"));
        let has_members = |group: &Self| !group.read(&parent.join("cgroup.procs")).trim().is_empty();
        if missing.is_empty() {
            return;
        }
        if !is_root && has_members(self) {
            let to = parent.join(format!("{}-worker", group_name(worker)));
            let can_move = may_move && self.files.create(&to).is_ok();
            if !can_move || self.files.write(&to.join("cgroup.procs"), "0").is_err() {
                drop(self.files.remove(&to));
                return;
            }
            self.moved = Some(Moved { from: parent.to_owned(), to, enabled: Vec::new() });
            if has_members(self) {
                self.move_back();
                return;
            }
        }
        for controller in missing {
            if self.files.write(&subtree, &format!("+{}", controller.name())).is_ok()
                && let Some(moved) = &mut self.moved
            {
                moved.enabled.push(controller);
            }
        }
    }

    /// Checks that processes of this user can enter groups below its own, and leave them.
    fn check_entering(&self, parent: &Path) -> io::Result<()> {
        let home = match &self.moved {
            Some(moved) => moved.to.clone(),
            None => self.files.own_group().unwrap_or_else(|| parent.to_owned()),
        };
        self.files.write(&self.directory.join("cgroup.procs"), "0")?;
        self.files.write(&home.join("cgroup.procs"), "0")
    }

    /// Moves this process back to the group that it was in.
    fn move_back(&mut self) {
        let Some(moved) = self.moved.take() else { return };
        let subtree = moved.from.join("cgroup.subtree_control");
        for controller in &moved.enabled {
            drop(self.files.write(&subtree, &format!("-{}", controller.name())));
        }
        drop(self.files.write(&moved.from.join("cgroup.procs"), "0"));
        drop(self.files.remove(&moved.to));
    }

    /// Creates the group of a job, and limits what the kernel can limit there.
    pub fn create_job(&self, number: u64, resources: Resources, pids: u32) -> io::Result<JobCgroup> {
        let directory = self.directory.join(number.to_string());
        self.files.create(&directory)?;
        let job = JobCgroup { directory };
        let limit = |controller: Controller, file: &str, value: String| {
            if !self.controls(controller) {
                return Ok(());
            }
            self.files.write(&job.directory.join(file), &value)
        };
        limit(Controller::Pids, "pids.max", pids.to_string())?;
        if let Some(bytes) = resources.memory_bytes {
            limit(Controller::Memory, "memory.max", bytes.to_string())?;
            // A kernel without swap has no such file.
            drop(limit(Controller::Memory, "memory.swap.max", "0".to_owned()));
        }
        if let Some(cpus) = resources.cpus {
            let quota = (cpus * CPU_PERIOD).max(MIN_CPU_QUOTA);
            limit(Controller::Cpu, "cpu.max", format!("{quota:.0} {CPU_PERIOD:.0}"))?;
        }
        Ok(job)
    }

    /// Whether the kernel limits this for jobs.
    pub fn controls(&self, controller: Controller) -> bool {
        self.controllers.contains(&controller)
    }

    fn read(&self, file: &Path) -> String {
        self.files.read(file).unwrap_or_default()
    }
}

impl<F: GroupFiles> Drop for WorkerCgroup<F> {
    fn drop(&mut self) {
        remove(&self.files, &self.directory);
        self.move_back();
    }
}

/// Returns the directory of the group of `worker` below that at `parent`.
fn group_of(parent: &Path, worker: &str) -> PathBuf {
    parent.join(group_name(worker))
}

fn group_name(worker: &str) -> String {
    format!("tidemill-{worker}")
}

/// Ends what runs in the groups that `worker` left below that at `parent`, and removes them.
pub(super) fn remove_groups_of(parent: &Path, worker: &str) {
    let directory = group_of(parent, worker);
    // The worker's own stays as long as a process is in it.
    drop(fs::remove_dir(parent.join(format!("{}-worker", group_name(worker)))));
    if !directory.exists() {
        return;
    }
    kill_group(&directory);
    for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&Kernel, &entry.path());
        }
    }
    remove(&Kernel, &directory);
}

/// The control group of a job.
#[derive(Debug)]
pub(super) struct JobCgroup {
    pub directory: PathBuf,
}

impl JobCgroup {
    /// Kills all its processes at once.
    pub fn kill(&self) {
        kill_group(&self.directory);
    }

    /// Whether the kernel killed one of its processes for using too much memory.
    pub fn was_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.directory.join("memory.events")).unwrap_or_default();
        let mut counts = events.lines().filter_map(|line| line.split_once(' '));
        counts.any(|(name, count)| name == "oom_kill" && count.trim() != "0")
    }
}

impl Drop for JobCgroup {
    fn drop(&mut self) {
        self.kill();
        let directory = self.directory.clone();
        std::thread::spawn(move || remove(&Kernel, &directory));
    }
}

/// Kills all processes of the group at `directory` at once.
pub(super) fn kill_group(directory: &Path) {
    if let Err(error) = Kernel.write(&directory.join("cgroup.kill"), "1") {
        tracing::debug!(%error, "the processes of a control group cannot be killed at once");
    }
}

/// Removes an empty group. Its last processes may still be ending.
fn remove(files: &impl GroupFiles, directory: &Path) {
    for _ in 0..REMOVALS {
        match files.remove(directory) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => std::thread::sleep(REMOVAL_PAUSE),
            _ => return,
        }
    }
}

/// Starts children in a group: this process is in it meanwhile.
#[derive(Debug)]
pub(super) struct EnteredCgroup {
    home: PathBuf,
}

impl EnteredCgroup {
    /// Moves this process into the group at `directory`, until [`leave`](Self::leave).
    pub fn enter(directory: &Path) -> io::Result<Self> {
        let home = own_group().ok_or_else(|| io::Error::other("this process has no control group"))?;
        Kernel.write(&directory.join("cgroup.procs"), "0")?;
        Ok(Self { home })
    }

    /// Moves this process back.
    pub fn leave(self) -> io::Result<()> {
        Kernel.write(&self.home.join("cgroup.procs"), "0")
    }
}

/// Returns the directory of the control group of this process.
fn own_group() -> Option<PathBuf> {
    Kernel.own_group()
}

#[cfg(test)]
mod tests;
