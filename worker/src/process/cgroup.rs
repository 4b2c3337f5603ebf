//! Control groups (version 2) of jobs, where the worker may create some: the kernel ends all processes of one at once, and limits
//! their resources.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};
use tidemill_core::execution::assignment::Resources;

/// The period of `cpu.max`, in microseconds.
const CPU_PERIOD: f64 = 100_000.0;
/// How often, and after which pauses, a group is removed that the kernel still counts as in use.
const REMOVALS: u32 = 20;
const REMOVAL_PAUSE: Duration = Duration::from_millis(25);

/// The control group of a worker, with one of each job below it.
#[derive(Debug)]
pub(super) struct WorkerCgroup {
    directory: PathBuf,
}

impl WorkerCgroup {
    /// Creates the group of `worker` below `parent`, or below that of this process; `None` if it may not, or there are none.
    pub fn create(parent: Option<&Path>, worker: &str) -> Option<Self> {
        let parent = parent.map(Path::to_owned).or_else(own_group)?;
        let directory = parent.join(format!("tidemill-{worker}"));
        if let Err(error) = fs::create_dir(&directory) {
            tracing::info!(%error, "jobs get no control groups; their processes are ended one by one");
            return None;
        }
        let group = Self { directory };
        // Both files exist since Linux 5.14.
        if !group.directory.join("cgroup.kill").exists() {
            drop(fs::remove_dir(&group.directory));
            return None;
        }
        // What the parent does not pass on cannot be limited.
        for controller in ["+memory", "+pids", "+cpu"] {
            drop(fs::write(group.directory.join("cgroup.subtree_control"), controller));
        }
        Some(group)
    }

    /// Creates the group of a job, and limits what the kernel can limit there.
    pub fn create_job(&self, number: u64, resources: Resources, pids: u32) -> Option<JobCgroup> {
        let directory = self.directory.join(number.to_string());
        fs::create_dir(&directory).ok()?;
        let limit = |file: &str, value: String| drop(fs::write(directory.join(file), value));
        limit("pids.max", pids.to_string());
        if let Some(bytes) = resources.memory_bytes {
            limit("memory.max", bytes.to_string());
            limit("memory.swap.max", "0".to_owned());
        }
        if let Some(cpus) = resources.cpus {
            limit("cpu.max", format!("{:.0} {CPU_PERIOD:.0}", cpus * CPU_PERIOD));
        }
        Some(JobCgroup { directory })
    }

    /// Removes it, once its jobs have ended.
    pub fn remove(&self) {
        remove(&self.directory);
    }

    /// Whether the kernel limits the memory of jobs.
    pub fn limits_memory(&self) -> bool {
        let controllers =
            fs::read_to_string(self.directory.join("cgroup.subtree_control")).unwrap_or_default();
        controllers.split_whitespace().any(|name| name == "memory")
    }
}

impl Drop for WorkerCgroup {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Ends what runs in the groups that `worker` left, and removes them.
pub(super) fn remove_groups_of(parent: Option<&Path>, worker: &str) {
    let Some(parent) = parent.map(Path::to_owned).or_else(own_group) else { return };
    let directory = parent.join(format!("tidemill-{worker}"));
    if !directory.exists() {
        return;
    }
    kill_group(&directory);
    for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
        remove(&entry.path());
    }
    remove(&directory);
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
        std::thread::spawn(move || remove(&directory));
    }
}

/// Kills all processes of the group at `directory` at once.
pub(super) fn kill_group(directory: &Path) {
    if let Err(error) = fs::write(directory.join("cgroup.kill"), "1") {
        tracing::debug!(%error, "the processes of a control group cannot be killed at once");
    }
}

/// Removes an empty group. Its last processes may still be ending.
fn remove(directory: &Path) {
    for _ in 0..REMOVALS {
        match fs::remove_dir(directory) {
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
    /// Moves this process into the group at `directory`, until the result is dropped.
    pub fn enter(directory: &Path) -> Option<Self> {
        let home = own_group()?;
        fs::write(directory.join("cgroup.procs"), "0").ok()?;
        Some(Self { home })
    }
}

impl Drop for EnteredCgroup {
    fn drop(&mut self) {
        drop(fs::write(self.home.join("cgroup.procs"), "0"));
    }
}

/// Returns the directory of the control group of this process.
fn own_group() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    group_directory(&mounts, &groups)
}

/// Returns the directory of a group from the files `mountinfo` and `cgroup` of a process.
fn group_directory(mounts: &str, groups: &str) -> Option<PathBuf> {
    let mut mounted = mounts.lines().filter_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        system.starts_with("cgroup2 ").then(|| mount.split(' ').nth(4)).flatten()
    });
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    mounted.next().map(|point| Path::new(point).join(path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{EnteredCgroup, WorkerCgroup, group_directory};
    use std::{fs, path::Path, process::Command};
    use tidemill_core::execution::assignment::Resources;

    #[test]
    fn group_of_a_process_is_found_below_the_mount() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                      31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n";
        let directory = group_directory(mounts, "9:name=systemd:/\n0::/a.slice/b.service\n");
        assert_eq!(directory.as_deref(), Some(Path::new("/sys/fs/cgroup/unified/a.slice/b.service")));
        assert_eq!(group_directory(mounts, "4:memory:/x\n"), None);
        assert_eq!(group_directory("", "0::/\n"), None);
    }

    #[test]
    fn group_ends_everything_in_it_where_there_is_one() {
        let worker = uuid::Uuid::now_v7().to_string();
        let Some(group) = WorkerCgroup::create(None, &worker) else {
            eprintln!("skipped: no control group can be created here");
            return;
        };
        let job = group.create_job(0, Resources::default(), 100).unwrap();
        let entered = EnteredCgroup::enter(&job.directory).unwrap();
        let mut child = Command::new("sleep").arg("100").spawn().unwrap();
        drop(entered);
        let members = fs::read_to_string(job.directory.join("cgroup.procs")).unwrap();
        assert_eq!(members.trim(), child.id().to_string(), "and this process left it");
        job.kill();
        assert_eq!(child.wait().unwrap().code(), None);
        assert!(!job.was_out_of_memory());
    }
}
