//! The shells of a job, and the tree of processes below its supervisor.

use super::order::SupervisorOrder;
use crate::process::{
    cgroup::{EnteredCgroup, kill_group},
    environment::summary_file,
    processes::{descendants, signal_all},
};
use rustix::{
    fs::{FileType, Mode, OFlags},
    io::Errno,
    process::{Pid, Signal, WaitOptions, wait},
};
use std::{
    fs::{self, File},
    io::{self, Read},
    os::{
        fd::OwnedFd,
        unix::{fs::OpenOptionsExt, process::CommandExt},
    },
    process::{Command, Stdio},
    time::Duration,
};
use tidemill_core::summary::markdown::MAX_SUMMARY_BYTES;
use tokio::time::Instant;

/// Writes the scripts of a job, and which shell runs them with which options; see the file.
const PREPARE: &str = concat!(
    "exec 3<\"$1\" </dev/null\n",
    include_str!("../../engine/script_files.sh"),
    r#"
umask 077
cd "$2" || exit 1
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

/// Becomes a shell of the job. What a service manager or a shell made the worker ignore has its effect again, no core dumps are
/// written, and no program gives more rights, where the machine has the programs for that.
const LAUNCH: &str = r#"
exec 7>&1
umask 022
ulimit -c 0 2>/dev/null
tm_no_new_privileges=$1
shift
[ -z "$tm_no_new_privileges" ] || ! setpriv --no-new-privs true >/dev/null 2>&1 || set -- setpriv --no-new-privs "$@"
! env --default-signal=INT,QUIT,HUP true >/dev/null 2>&1 || set -- env --default-signal=INT,QUIT,HUP "$@"
unset tm_no_new_privileges
exec "$@"
"#;

/// How long the processes of a job may take to end once they were killed.
const MAX_KILL_TIME: Duration = Duration::from_secs(2);
/// Time between two checks whether they have.
const KILL_INTERVAL: Duration = Duration::from_millis(5);

/// Starts the shells of a job.
pub(super) struct JobShell {
    order: SupervisorOrder,
    /// The directory with its scripts: the job may replace what is at its path.
    run: OwnedFd,
    shell: String,
    options: Vec<String>,
}

impl JobShell {
    /// Writes the input of the scripts.
    pub fn new(order: SupervisorOrder, text: &[u8]) -> io::Result<Self> {
        let run = rustix::fs::open(&order.run, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let input = order.run.join("input");
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&input)?;
        io::Write::write_all(&mut file, text)?;
        if let Some((uid, gid)) = order.user {
            std::os::unix::fs::chown(&input, Some(uid), Some(gid))?;
        }
        Ok(Self { order, run, shell: "sh".to_owned(), options: Vec::new() })
    }

    /// Starts to write the scripts. Returns the process that does.
    pub fn prepare(&self) -> io::Result<i32> {
        let mut command = Command::new("sh");
        command.args(["-c", PREPARE, "prepare"]).arg(self.order.run.join("input")).arg(&self.order.run);
        self.spawn(command)
    }

    /// Reads which shell runs the scripts.
    pub fn read_shell(&mut self) -> io::Result<()> {
        let text = fs::read_to_string(self.order.run.join("shell"))?;
        let mut lines = text.lines();
        lines.next().filter(|shell| !shell.is_empty()).unwrap_or("/bin/sh").clone_into(&mut self.shell);
        self.options = lines.next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        fs::remove_file(self.order.run.join("input"))
    }

    /// Starts the script. Returns its process.
    pub fn start_script(&self) -> io::Result<i32> {
        self.start("script", true, "running")
    }

    /// Starts the `after_script` of a job with this status. Returns its process.
    pub fn start_after_script(&self, status: &str) -> io::Result<i32> {
        self.start("after_script", false, status)
    }

    /// Whether there is an `after_script`.
    pub fn has_after_script(&self) -> bool {
        fs::metadata(self.order.run.join("after_script")).is_ok_and(|file| file.len() > 0)
    }

    fn start(&self, name: &str, is_strict: bool, status: &str) -> io::Result<i32> {
        let mut command = Command::new("sh");
        let flag = if self.order.no_new_privileges { "1" } else { "" };
        command.args(["-c", LAUNCH, "launch", flag, &self.shell]);
        if is_strict {
            command.arg("-e").args(&self.options);
        }
        command.arg(self.order.run.join(name));
        command.env("CI_JOB_STATUS", status).env("TIDEMILL_JOB_STATUS", status);
        self.spawn(command)
    }

    /// Starts a process of the job in its control group, as its user, and with its environment. Returns its id. Its end is seen by
    /// [`reap`].
    fn spawn(&self, mut command: Command) -> io::Result<i32> {
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
            .stdin(Stdio::null())
            .stdout(io::stdout())
            .stderr(io::stdout())
            .process_group(0);
        if let Some((uid, gid)) = self.order.user {
            command.uid(uid).gid(gid);
        }
        let entered = self.order.cgroup.as_deref().and_then(EnteredCgroup::enter);
        let child = command.spawn();
        drop(entered);
        child.and_then(|child| i32::try_from(child.id()).map_err(io::Error::other))
    }

    /// Kills all processes of the job that are there now.
    pub fn kill_tree(&self) {
        if let Some(cgroup) = &self.order.cgroup {
            kill_group(cgroup);
        }
        // A process that is stopped cannot start others meanwhile.
        let processes = tree();
        signal_all(&processes, Signal::STOP);
        signal_all(&processes, Signal::KILL);
    }

    /// Kills all processes of the job until none is left. Returns whether that was possible.
    pub async fn kill_all(&self) -> bool {
        let start = Instant::now();
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
            if start.elapsed() > MAX_KILL_TIME {
                return false;
            }
            self.kill_tree();
            tokio::time::sleep(KILL_INTERVAL).await;
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
pub(super) fn tree() -> Vec<Pid> {
    descendants(rustix::process::getpid())
}

/// Asks all processes of the job to end.
pub(super) fn terminate_tree() {
    signal_all(&tree(), Signal::TERM);
}
