//! The processes of this machine, as `/proc` lists them.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::{HashMap, HashSet},
    fs,
};

/// Returns the processes below `root`, without it.
pub(super) fn descendants(root: Pid) -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for (pid, parent) in all().filter_map(|pid| Some((pid, parent_of(pid)?))) {
        children.entry(parent).or_default().push(pid);
    }
    let mut pending = vec![root.as_raw_nonzero().get()];
    let mut below = Vec::new();
    // A number that is used again while this reads must not lead in a circle.
    let mut seen = HashSet::from([root.as_raw_nonzero().get()]);
    while let Some(pid) = pending.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            if seen.insert(child) {
                pending.push(child);
                below.extend(Pid::from_raw(child));
            }
        }
    }
    below
}

/// Returns the processes whose environment sets `name` to one of the values that `is_wanted` accepts, as far as it can be read.
pub(super) fn with_variable(name: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<Pid> {
    let own = std::process::id();
    let prefix = format!("{name}=");
    let has_variable = |pid: &i32| {
        let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
        let mut variables =
            environment.split(|byte| *byte == 0).filter_map(|one| std::str::from_utf8(one).ok());
        variables.any(|variable| variable.strip_prefix(prefix.as_str()).is_some_and(&is_wanted))
    };
    let others = all().filter(|pid| u32::try_from(*pid).is_ok_and(|pid| pid != own));
    others.filter(has_variable).filter_map(Pid::from_raw).collect()
}

/// Sends a signal to processes. Those that ended meanwhile, or that this user may not signal, are left out.
pub(super) fn signal_all(processes: &[Pid], signal: Signal) {
    for process in processes {
        if let Err(error) = kill_process(*process, signal) {
            tracing::debug!(%error, ?process, "a process of a job could not be signaled");
        }
    }
}

/// Whether `/proc` can be read.
pub(super) fn can_list() -> bool {
    i32::try_from(std::process::id()).ok().and_then(parent_of).is_some()
}

fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parent_in(&String::from_utf8_lossy(&stat))
}

/// Returns the parent that a line of `/proc/PID/stat` has. The name before it, in parentheses, may hold anything.
fn parent_in(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{descendants, parent_in, signal_all, with_variable};
    use rustix::process::{Pid, Signal};
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
    };

    #[test]
    fn parent_is_read_behind_any_name() {
        assert_eq!(parent_in("7 (a) S 3 7 7 0"), Some(3));
        assert_eq!(parent_in("7 (a) R 9) S 3 7"), Some(3));
        assert_eq!(parent_in(""), None);
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
        assert!(descendants(own).contains(&pid));
        assert_eq!(descendants(pid).len(), 2);
        let marked = with_variable("TIDEMILL_TEST_MARKER", |value| value == marker);
        assert_eq!(marked.len(), 3, "{marked:?}");
        signal_all(&marked, Signal::KILL);
        shell.wait().unwrap();
        assert!(with_variable("TIDEMILL_TEST_MARKER", |value| value == "another").is_empty());
    }
}
