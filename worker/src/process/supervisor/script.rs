//! The shells of a job, and the tree of processes below its supervisor.

use super::order::SupervisorOrder;
use crate::{
    engine::OOM_SCORE,
    process::{
        cgroup::{EnteredCgroup, kill_group},
        environment::summary_file,
        processes::{Process, descendants, kill_all_of, signal_all},
    },
};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags},
    io::Errno,
    process::{Resource, Signal, WaitOptions, getrlimit, wait},
};
use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Command, Stdio},
    time::Duration,
};
use tidemill_core::summary::markdown::MAX_SUMMARY_BYTES;
use tokio::time::Instant;

/// Writes the scripts of a job, and which shell runs them with which options; see the file.
const PREPARE: &str = concat!(
    "exec 3<&0 </dev/null\n",
    include_str!("../../engine/script_files.sh"),
    r#"
umask 077
cd "$1" || exit 1
tm_dir=.
tm_shell=$(command -v bash || command -v sh)
tm_options=
case $tm_shell in
*/bash) tm_options='-o pipefail' ;;
*) (set -o pipefail) 2>/dev/null && tm_options='-o pipefail' ;;
esac
printf '%s\n%s\n' "$tm_shell" "$tm_options" >shell || exit 1
IFS= read -r tm_nonce <&3 || exit 1
copy >environment && script step >script && script after >after_script || exit 1
: >summary.md
"#
);

/// Becomes a shell of the job: `$1` is the limit of open files, which may be empty, `$2` how likely the kernel ends the job when the
/// machine runs out of memory, and the command follows.
///
/// Files that the worker was started with are closed, and no core dumps are written. What a service manager or a shell made the
/// worker ignore has its effect again, where the machine has a program for that.
const LAUNCH: &str = r#"
for tm_fd in /proc/$$/fd/*; do
  tm_fd=${tm_fd##*/}
  case $tm_fd in
  [012]|*[!0-9]*) ;;
  [3-9]) eval "exec $tm_fd>&-" ;;
  # Other shells than bash take this for a command.
  *) [ -z "$BASH_VERSION" ] || eval "exec $tm_fd>&-" ;;
  esac
done
exec 7>&1
umask 022
ulimit -c 0 2>/dev/null
[ -z "$1" ] || ulimit -n "$1" || exit 126
{ echo "$2" >/proc/$$/oom_score_adj; } 2>/dev/null
shift 2
! env --default-signal=INT,QUIT,HUP true >/dev/null 2>&1 || set -- env --default-signal=INT,QUIT,HUP "$@"
unset tm_fd
exec "$@"
"#;

/// The first lines of a file: longer ones cannot name a shell.
const MAX_SHELL_BYTES: u64 = 4096;
/// Time between two checks whether the killed processes have ended, at first and at most.
const KILL_INTERVAL: Duration = Duration::from_millis(5);
const MAX_KILL_INTERVAL: Duration = Duration::from_millis(100);

/// Starts the shells of a job.
pub(super) struct JobShell {
    order: SupervisorOrder,
    /// The directory with its scripts: the job may replace what is in it.
    run: OwnedFd,
    shell: String,
    options: Vec<String>,
}

impl JobShell {
    /// Opens the directory of the scripts.
    pub fn new(order: SupervisorOrder) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let run = rustix::fs::open(&order.run, flags, Mode::empty())?;
        Ok(Self { order, run, shell: "sh".to_owned(), options: Vec::new() })
    }

    /// Starts to write the scripts. Returns the process that does.
    pub fn prepare(&mut self, text: &[u8]) -> io::Result<i32> {
        // It has no name, so that nothing else of the job's user can be there instead.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let input = rustix::fs::openat(&self.run, "input", flags, Mode::RUSR | Mode::WUSR)?;
        rustix::fs::unlinkat(&self.run, "input", AtFlags::empty())?;
        let mut input = File::from(input);
        input.write_all(text)?;
        input.rewind()?;
        let mut command = Command::new("sh");
        command.args(["-c", PREPARE, "prepare"]).arg(&self.order.run).stdin(input);
        self.spawn(command)
    }

    /// Reads which shell runs the scripts.
    pub fn read_shell(&mut self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.run, "shell", flags, Mode::empty())?;
        if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("the name of the shell is not in a file"));
        }
        let mut text = String::new();
        File::from(file).take(MAX_SHELL_BYTES).read_to_string(&mut text)?;
        let mut lines = text.lines();
        lines.next().filter(|shell| !shell.is_empty()).unwrap_or("/bin/sh").clone_into(&mut self.shell);
        self.options = lines.next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        Ok(())
    }

    /// Starts the script. Returns its process.
    pub fn start_script(&mut self) -> io::Result<i32> {
        self.start("script", true, "running")
    }

    /// Starts the `after_script` of a job with this status. Returns its process.
    pub fn start_after_script(&mut self, status: &str) -> io::Result<i32> {
        self.start("after_script", false, status)
    }

    /// Whether there is an `after_script`.
    pub fn has_after_script(&self) -> bool {
        let file = rustix::fs::statat(&self.run, "after_script", AtFlags::SYMLINK_NOFOLLOW);
        file.is_ok_and(|file| file.st_size > 0)
    }

    fn start(&mut self, name: &str, is_strict: bool, status: &str) -> io::Result<i32> {
        // A shell that closes more than the first ten files, if there is one.
        let mut command = Command::new(&self.shell);
        command.args(["-c", LAUNCH, "launch", &self.open_files(), &OOM_SCORE.to_string(), &self.shell]);
        if is_strict {
            command.arg("-e").args(&self.options);
        }
        command.arg(self.order.run.join(name)).stdin(Stdio::null());
        command.env("CI_JOB_STATUS", status).env("TIDEMILL_JOB_STATUS", status);
        self.spawn(command)
    }

    /// Returns the number of files that a process may have open, which is at most what this one may allow; empty: as many as this one.
    fn open_files(&self) -> String {
        let max = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        match self.order.open_files {
            0 => String::new(),
            files => u64::from(files).min(max).to_string(),
        }
    }

    /// Starts a process of the job in its control group, as its user, and with its environment. Returns its id. Its end is seen by
    /// [`reap`].
    fn spawn(&mut self, mut command: Command) -> io::Result<i32> {
        let mut environment = self.order.environment.clone();
        for (name, value) in command.get_envs() {
            if let (Some(name), Some(value)) = (name.to_str(), value.and_then(|value| value.to_str())) {
                environment.insert(name.to_owned(), value.to_owned());
            }
        }
        command
            .env_clear()
            .envs(environment)
            .current_dir(&self.order.run)
            .stdout(io::stdout())
            .stderr(io::stdout())
            .process_group(0);
        if let Some((uid, gid)) = self.order.user {
            command.uid(uid).gid(gid);
        }
        let entered = self.order.cgroup.as_deref().map(EnteredCgroup::enter).transpose()?;
        let child = command.spawn();
        if let Some(Err(error)) = entered.map(EnteredCgroup::leave) {
            // What ends the group would end this process as well.
            self.order.cgroup = None;
            return Err(io::Error::new(error.kind(), format!("its control group cannot be left: {error}")));
        }
        child.and_then(|child| i32::try_from(child.id()).map_err(io::Error::other))
    }

    /// Kills all processes of the job that are there now.
    pub fn kill_tree(&self) {
        if let Some(cgroup) = &self.order.cgroup {
            kill_group(cgroup);
        }
        kill_all_of(tree);
    }

    /// Kills all processes of the job until none is left, or `max` has passed. Returns whether none is left.
    pub async fn kill_all(&self, max: Duration) -> bool {
        let start = Instant::now();
        let mut pause = KILL_INTERVAL;
        loop {
            let has_children = loop {
                match wait(WaitOptions::NOHANG) {
                    Ok(Some(_)) | Err(Errno::INTR) => {}
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            };
            // This process adopts all that lose their parent, so without children there is no other process.
            if !has_children {
                return true;
            }
            if start.elapsed() > max {
                return false;
            }
            self.kill_tree();
            tokio::time::sleep(pause).await;
            pause = MAX_KILL_INTERVAL.min(pause * 2);
        }
    }

    /// Returns the summary that the job wrote, with at most one byte more than it may have; `None`: there is none.
    pub fn summary(&self) -> Option<Vec<u8>> {
        let name = summary_file(std::path::Path::new(""));
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.run, name, flags, Mode::empty()).ok()?;
        let stat = rustix::fs::fstat(&file).ok()?;
        let is_of_job = self.order.user.is_none_or(|(uid, _)| stat.st_uid == uid);
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_size == 0 || !is_of_job {
            return None;
        }
        let mut bytes = Vec::new();
        File::from(file).take(MAX_SUMMARY_BYTES as u64 + 1).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
}

/// Takes the exit codes of children that have ended, and returns that of `child` if it is among them.
pub(super) fn reap(child: i32) -> Option<i32> {
    let mut code = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid.as_raw_nonzero().get() == child {
            let signal = status.terminating_signal().map(|signal| 128 + signal);
            code = status.exit_status().or(signal);
        }
    }
    code
}

/// Returns the processes of the job.
pub(super) fn tree() -> Vec<Process> {
    descendants(rustix::process::getpid())
}

/// Asks all processes of the job to end.
pub(super) fn terminate_tree() {
    signal_all(&tree(), Signal::TERM);
}
