//! The processes of this machine, as `/proc` lists them.

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal},
};
use std::{
    collections::{HashMap, HashSet},
    fs,
    time::{Duration, Instant},
};

/// How long [`kill_all_of`] stops processes before it kills those that it has.
const MAX_STOP_TIME: Duration = Duration::from_millis(500);

/// A process. Its number may be another's once it has ended, the time of its start is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub pid: Pid,
    /// When it started, in ticks since the machine did.
    start: u64,
}

impl Process {
    /// Returns the process that has the number `pid` now.
    pub fn find(pid: Pid) -> Option<Self> {
        stat(pid.as_raw_nonzero().get()).map(|stat| Self { pid, start: stat.start })
    }

    /// Sends it a signal, and none to another process that has its number by now.
    fn signal(self, signal: Signal) -> Result<(), Errno> {
        match pidfd_open(self.pid, PidfdFlags::empty()) {
            Ok(process) if Self::find(self.pid) == Some(self) => pidfd_send_signal(process, signal),
            Ok(_) => Err(Errno::SRCH),
            // Where a filter of system calls does not know it.
            Err(Errno::NOSYS | Errno::PERM) => kill_process(self.pid, signal),
            Err(error) => Err(error),
        }
    }
}

/// Returns the processes below `root`, without it.
pub(super) fn descendants(root: Pid) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<(i32, u64)>> = HashMap::new();
    for (pid, stat) in all().filter_map(|pid| Some((pid, stat(pid)?))) {
        children.entry(stat.parent).or_default().push((pid, stat.start));
    }
    let mut pending = vec![root.as_raw_nonzero().get()];
    let mut below = Vec::new();
    // A number that is used again while this reads must not lead in a circle.
    let mut seen = HashSet::from([root.as_raw_nonzero().get()]);
    while let Some(pid) = pending.pop() {
        for (child, start) in children.remove(&pid).unwrap_or_default() {
            if seen.insert(child) {
                pending.push(child);
                below.extend(Pid::from_raw(child).map(|pid| Process { pid, start }));
            }
        }
    }
    below
}

/// Returns the processes whose environment sets `name` to one of the values that `is_wanted` accepts, as far as it can be read.
pub(super) fn with_variable(name: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<Process> {
    let own = std::process::id();
    let prefix = format!("{name}=");
    let with = |pid: i32| {
        let process = Process::find(Pid::from_raw(pid)?)?;
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let mut variables =
            environment.split(|byte| *byte == 0).filter_map(|one| std::str::from_utf8(one).ok());
        let has = variables.any(|variable| variable.strip_prefix(prefix.as_str()).is_some_and(&is_wanted));
        has.then_some(process)
    };
    let others = all().filter(|pid| u32::try_from(*pid).is_ok_and(|pid| pid != own));
    others.filter_map(with).collect()
}

/// Sends a signal to processes. Those that ended meanwhile, or that this user may not signal, are left out.
pub(super) fn signal_all(processes: &[Process], signal: Signal) {
    for process in processes {
        if let Err(error) = process.signal(signal) {
            tracing::debug!(%error, ?process, "a process of a job could not be signaled");
        }
    }
}

/// Kills all processes that `list` returns, and returns whether it returned any.
///
/// They are stopped first, until it returns no new ones: those that are killed would make room for new ones, and a program that
/// starts itself again and again is faster than the list. Those that are stopped count for the limit of processes.
pub(super) fn kill_all_of(list: impl Fn() -> Vec<Process>) -> bool {
    let start = Instant::now();
    let mut stopped = HashSet::new();
    loop {
        let new: Vec<Process> = list().into_iter().filter(|process| stopped.insert(*process)).collect();
        signal_all(&new, Signal::STOP);
        if new.is_empty() || start.elapsed() > MAX_STOP_TIME {
            break;
        }
    }
    let stopped: Vec<Process> = stopped.into_iter().collect();
    signal_all(&stopped, Signal::KILL);
    !stopped.is_empty()
}

/// Whether `/proc` can be read, and shows processes `of_others`.
pub(super) fn can_list(of_others: bool) -> bool {
    let own = i32::try_from(std::process::id()).ok().and_then(stat);
    // The first process has all rights, so that one that hides others (`hidepid`) hides this.
    own.is_some() && (!of_others || stat(1).is_some())
}

fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// What `/proc/PID/stat` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: i32,
    start: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&String::from_utf8_lossy(&stat))
}

/// Reads a line of `/proc/PID/stat`. The name in it, in parentheses, may hold anything.
fn parse_stat(stat: &str) -> Option<Stat> {
    let mut values = stat.rsplit_once(')')?.1.split_whitespace();
    // The state is the third field of the line, the parent the fourth, and the start the 22nd.
    let parent = values.nth(1)?.parse().ok()?;
    let start = values.nth(17)?.parse().ok()?;
    Some(Stat { parent, start })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Process, Stat, descendants, kill_all_of, parse_stat, with_variable};
    use rustix::{
        io::Errno,
        process::{Pid, Signal},
    };
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
    };

    #[test]
    fn parent_is_read_behind_any_name() {
        let line = |name: &str| format!("7 ({name}) S 3 7 7 0 -1 4 1 0 0 0 0 0 0 0 20 0 1 0 4711 9 9");
        for name in ["a", "a) R 9 9", ""] {
            assert_eq!(parse_stat(&line(name)), Some(Stat { parent: 3, start: 4711 }));
        }
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn tree_and_marked_processes_are_found_and_ended() {
        let marker = uuid::Uuid::now_v7().to_string();
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 100 & setsid sleep 100 & echo ready; wait"])
            .env("TIDEMILL_TEST_MARKER", &marker)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = Pid::from_raw(i32::try_from(shell.id()).unwrap()).unwrap();
        let own = Pid::from_raw(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(descendants(own).iter().any(|process| process.pid == pid));
        assert_eq!(descendants(pid).len(), 2);
        let marked = with_variable("TIDEMILL_TEST_MARKER", |value| value == marker);
        assert_eq!(marked.len(), 3, "{marked:?}");
        let list = || with_variable("TIDEMILL_TEST_MARKER", |value| value == marker);
        assert!(kill_all_of(list));
        shell.wait().unwrap();
        assert!(with_variable("TIDEMILL_TEST_MARKER", |value| value == "another").is_empty());
    }

    #[test]
    fn process_that_has_the_number_of_another_gets_no_signal() {
        let mut child = Command::new("sleep").arg("100").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let process = Process::find(pid).unwrap();
        let earlier = Process { start: process.start.wrapping_sub(1), ..process };
        assert_eq!(earlier.signal(Signal::KILL), Err(Errno::SRCH));
        assert!(child.try_wait().unwrap().is_none());
        process.signal(Signal::KILL).unwrap();
        child.wait().unwrap();
    }
}
