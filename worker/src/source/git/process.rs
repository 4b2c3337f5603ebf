//! Runs git processes within bounds: each leads its own process group, which is killed as a whole; its output and its memory
//! are limited.

use crate::source::{
    bounds::{OperationBounds, POLL_INTERVAL},
    error::{SourceError, SourceErrorKind},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{
        Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, prlimit,
        waitid,
    },
};
use std::{
    io::{self, Read, Write},
    ops::ControlFlow,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// Default memory limit of a git process in bytes, without memory-mapped files.
const MAX_MEMORY: u64 = 2 << 30;
/// How many of the last bytes of stderr are kept.
const MAX_STDERR_BYTES: usize = 16 << 10;
/// A git server that sends less than this during [`Limits::silence`](crate::source::Limits) counts as silent.
const MIN_BYTES_PER_SECOND: u64 = 16;
/// How often the size of the directory that a process writes is measured.
const MEASURE_INTERVAL: Duration = Duration::from_millis(200);
/// How long to wait for a killed process to exit.
const KILL_TIMEOUT: Duration = Duration::from_secs(2);
const BUFFER_SIZE: usize = 64 << 10;

/// Limits of one process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessLimits<'a> {
    /// Whether the process waits for another machine, whose silence is limited.
    pub network: bool,
    /// Maximum duration, if less than [`Limits::operation`](crate::source::Limits).
    pub timeout: Option<Duration>,
    /// Maximum memory in bytes, if less than the default.
    pub memory_bytes: Option<u64>,
    /// The directory that it writes to, and its maximum size in bytes.
    pub directory_limit: Option<(&'a Path, u64)>,
}

/// How a process exited.
#[derive(Debug)]
pub struct ProcessOutcome {
    /// The exit status; `None` if the reader of its output stopped.
    pub status: Option<ExitStatus>,
    /// The end of stderr, without progress lines.
    pub stderr: String,
}

/// Runs `command` and passes its output in chunks to `sink` until that breaks.
pub fn supervise(
    command: &mut Command,
    limits: ProcessLimits<'_>,
    sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<ProcessOutcome, SourceError> {
    let mut group = ProcessGroup::spawn(command, limits)?;
    let (mut output, mut errors) = (group.child.stdout.take(), group.child.stderr.take());
    let mut monitor = ProcessMonitor::new(limits);
    let mut stderr_tail = StderrTail::default();
    let mut buffer = vec![0; BUFFER_SIZE];
    while output.is_some() || errors.is_some() {
        // Asked before the pipes are: what a process wrote before it ended is then read to its last byte.
        let has_ended = group.has_ended();
        let fds = [output.as_ref().map(AsFd::as_fd), errors.as_ref().map(AsFd::as_fd)];
        let wait = if has_ended { Duration::ZERO } else { POLL_INTERVAL };
        let [output_ready, errors_ready] = wait_readable(fds, wait)?;
        if output_ready {
            match read(output.as_mut(), &mut buffer)? {
                0 => output = None,
                count => {
                    monitor.record_bytes(count);
                    if sink(&buffer[..count]).is_break() {
                        return Ok(ProcessOutcome { status: None, stderr: stderr_tail.text() });
                    }
                }
            }
        }
        if errors_ready {
            match read(errors.as_mut(), &mut buffer)? {
                0 => errors = None,
                count => {
                    monitor.record_bytes(count);
                    stderr_tail.push(&buffer[..count]);
                }
            }
        }
        monitor.check()?;
        // Background processes, such as those of ssh, may keep the pipes open.
        if !output_ready && !errors_ready && has_ended {
            break;
        }
    }
    let status = group.finish(&mut monitor)?;
    if !status.success() {
        monitor.check_growth()?;
    }
    Ok(ProcessOutcome { status: Some(status), stderr: stderr_tail.text() })
}

/// A process that answers requests one after another.
#[derive(Debug)]
pub struct QueryProcess {
    // Dropped before the group, so that the process exits by itself at the end of its input.
    input: ChildStdin,
    output: ChildStdout,
    unread: Vec<u8>,
    monitor: ProcessMonitor<'static>,
    _group: ProcessGroup,
}

impl QueryProcess {
    /// Starts `command` with piped input and output.
    pub fn start(command: &mut Command, limits: ProcessLimits<'static>) -> Result<Self, SourceError> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut group = ProcessGroup::spawn(command, limits)?;
        let missing = || SourceError::new("git has no input or output");
        let input = group.child.stdin.take().ok_or_else(missing)?;
        let output = group.child.stdout.take().ok_or_else(missing)?;
        Ok(Self { input, output, unread: Vec::new(), monitor: ProcessMonitor::new(limits), _group: group })
    }

    /// Sends `request`, which must be one short line.
    pub fn send_request(&mut self, request: &str) -> Result<(), SourceError> {
        let written = self.input.write_all(request.as_bytes()).and_then(|()| self.input.write_all(b"\n"));
        written.map_err(|error| SourceError::io("the request to git cannot be written", &error))
    }

    /// Returns the next line of the reply, of at most `limit` bytes.
    pub fn read_line(&mut self, limit: usize) -> Result<String, SourceError> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&self.unread[..end]).into_owned();
                self.unread.drain(..=end);
                return Ok(line);
            }
            if self.unread.len() > limit {
                return Err(SourceError::new("git replied with a line that is too long"));
            }
            self.receive()?;
        }
    }

    /// Returns the next `count` bytes of the reply.
    pub fn read_bytes(&mut self, count: usize) -> Result<Vec<u8>, SourceError> {
        while self.unread.len() < count {
            self.receive()?;
        }
        let rest = self.unread.split_off(count);
        Ok(std::mem::replace(&mut self.unread, rest))
    }

    fn receive(&mut self) -> Result<(), SourceError> {
        let mut buffer = [0; 8 << 10];
        loop {
            let [ready, _] = wait_readable([Some(self.output.as_fd()), None], POLL_INTERVAL)?;
            if ready {
                let count = read(Some(&mut self.output), &mut buffer)?;
                if count == 0 {
                    return Err(SourceError::new("git closed its output"));
                }
                self.unread.extend_from_slice(&buffer[..count]);
                return Ok(());
            }
            self.monitor.check()?;
        }
    }
}

/// A process with all its descendants, which are killed when this is dropped.
#[derive(Debug)]
struct ProcessGroup {
    child: Child,
    /// Whether it has its own process group.
    is_own: bool,
    reaped: bool,
}

impl ProcessGroup {
    fn spawn(command: &mut Command, limits: ProcessLimits<'_>) -> Result<Self, SourceError> {
        let is_own = !OperationBounds::current().shares_process_group();
        if is_own {
            command.process_group(0);
        }
        let child = command.spawn().map_err(|error| {
            SourceError::new(format!("git could not be started: {error}; install git and put it on the PATH"))
        })?;
        let group = Self { child, is_own, reaped: false };
        let limit = |resource, bytes: u64| {
            let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
            if let Some(pid) = group.pid() {
                // This fails if a lower limit applies already, which then stays in force.
                let _ = prlimit(Some(pid), resource, limit);
            }
        };
        limit(Resource::Data, limits.memory_bytes.unwrap_or(MAX_MEMORY));
        if let Some((_, bytes)) = limits.directory_limit {
            limit(Resource::Fsize, bytes);
        }
        Ok(group)
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    /// Returns whether the leader has exited. It is not reaped, so that its id is not reused.
    fn has_ended(&self) -> bool {
        let Some(pid) = self.pid() else { return true };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(pid), options), Ok(None))
    }

    /// Waits until the process has exited, then kills the rest of the group.
    fn finish(mut self, monitor: &mut ProcessMonitor<'_>) -> Result<ExitStatus, SourceError> {
        let mut pause = Duration::from_micros(100);
        while !self.has_ended() {
            monitor.check()?;
            std::thread::sleep(pause);
            pause = (pause * 2).min(POLL_INTERVAL);
        }
        self.kill();
        self.reaped = true;
        self.child.wait().map_err(|error| SourceError::new(format!("cannot wait for git: {error}")))
    }

    fn kill(&self) {
        if let Some(pid) = self.pid() {
            let kill = if self.is_own { kill_process_group } else { kill_process };
            let _ = kill(pid, Signal::KILL);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        self.kill();
        let started = Instant::now();
        // A process that hangs in the kernel is abandoned.
        while matches!(self.child.try_wait(), Ok(None)) && started.elapsed() < KILL_TIMEOUT {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Watches one process.
#[derive(Debug)]
struct ProcessMonitor<'a> {
    bounds: OperationBounds,
    limits: ProcessLimits<'a>,
    started: Instant,
    time: Duration,
    /// Start of the current interval, and the bytes received in it.
    received: (Instant, u64),
    measured: (Instant, u64),
}

impl<'a> ProcessMonitor<'a> {
    fn new(limits: ProcessLimits<'a>) -> Self {
        let bounds = OperationBounds::current();
        let started = Instant::now();
        let time = limits.timeout.unwrap_or(bounds.limits.operation).min(bounds.limits.operation);
        let size = limits.directory_limit.map_or(0, |(path, _)| size_of(path));
        Self { bounds, limits, started, time, received: (started, 0), measured: (started, size) }
    }

    fn record_bytes(&mut self, count: usize) {
        self.received.1 += count as u64;
    }

    fn check(&mut self) -> Result<(), SourceError> {
        self.bounds.check()?;
        if self.started.elapsed() >= self.time {
            let message = format!("git took longer than {} s and was killed", self.time.as_secs());
            return Err(SourceError::of(SourceErrorKind::TimedOut, message));
        }
        if self.measured.0.elapsed() >= MEASURE_INTERVAL {
            self.check_growth()?;
        }
        let silence = self.bounds.limits.silence;
        if self.limits.network && self.received.0.elapsed() >= silence {
            let required = (MIN_BYTES_PER_SECOND * silence.as_secs()).max(1);
            if self.received.1 < required {
                let message = format!(
                    "the git server sent only {} bytes within {} s; check that it responds",
                    self.received.1,
                    silence.as_secs()
                );
                return Err(SourceError::of(SourceErrorKind::TimedOut, message));
            }
            self.received = (Instant::now(), 0);
        }
        Ok(())
    }

    fn check_growth(&mut self) -> Result<(), SourceError> {
        let Some((path, limit)) = self.limits.directory_limit else { return Ok(()) };
        let size = size_of(path);
        self.received.1 += size.saturating_sub(self.measured.1);
        self.measured = (Instant::now(), size);
        if size >= limit {
            let message = format!(
                "the repository has more than {limit} bytes, the limit of this worker; raise TIDEMILL_GIT_MAX_SIZE on the worker, or \
                 make the repository smaller"
            );
            return Err(SourceError::of(SourceErrorKind::TooLarge, message));
        }
        Ok(())
    }
}

/// Returns the total size of the files directly in `directory`.
pub fn size_of(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}

/// Waits up to `timeout` until one of `fds` is readable or closed, and returns which of them are.
fn wait_readable(fds: [Option<BorrowedFd<'_>>; 2], timeout: Duration) -> Result<[bool; 2], SourceError> {
    let timeout = Timespec::try_from(timeout).map_err(|error| SourceError::new(error.to_string()))?;
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(SourceError::io("waiting for git's output failed", &error.into())),
    }
    let mut ready = polled.iter().map(|fd| !fd.revents().is_empty());
    Ok(fds.map(|fd| fd.is_some() && ready.next().unwrap_or(false)))
}

fn read(from: Option<&mut impl Read>, buffer: &mut [u8]) -> Result<usize, SourceError> {
    let Some(from) = from else { return Ok(0) };
    loop {
        match from.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map_err(|error| SourceError::io("git's output cannot be read", &error)),
        }
    }
}

/// The end of a process's stderr.
#[derive(Debug, Default)]
struct StderrTail(Vec<u8>);

impl StderrTail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 2 * MAX_STDERR_BYTES {
            self.0.drain(..self.0.len() - MAX_STDERR_BYTES);
        }
    }

    /// Returns the text without progress lines.
    fn text(&self) -> String {
        let from = self.0.len().saturating_sub(MAX_STDERR_BYTES);
        let text = String::from_utf8_lossy(&self.0[from..]);
        let is_progress = |line: &&str| line.contains('\r') || line.trim_end().ends_with(", done.");
        let lines: Vec<&str> = text.lines().filter(|line| !is_progress(line)).collect();
        lines.join("\n").trim().to_owned()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{MAX_STDERR_BYTES, ProcessLimits, StderrTail, supervise};
    use std::{
        ops::ControlFlow,
        process::{Command, Stdio},
        time::{Duration, Instant},
    };

    #[test]
    fn output_is_complete_although_another_process_keeps_the_pipes_open() {
        let started = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & head -c 100000 /dev/zero; echo end >&2"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut count = 0;
        let outcome = supervise(&mut command, ProcessLimits::default(), &mut |bytes| {
            count += bytes.len();
            ControlFlow::Continue(())
        })
        .unwrap();
        assert!(outcome.status.unwrap().success(), "{outcome:?}");
        assert_eq!((count, outcome.stderr.as_str()), (100_000, "end"));
        assert!(started.elapsed() < Duration::from_secs(50), "it waits for the process in the background");
    }

    #[test]
    fn stderr_is_bounded_without_progress_lines() {
        let mut tail = StderrTail::default();
        tail.push(b"remote: Counting objects:  50% (1/2)\rremote: Counting objects: 100% (2/2), done.\n");
        tail.push(b"fatal: early EOF\n");
        assert_eq!(tail.text(), "fatal: early EOF");
        for _ in 0..100 {
            tail.push(&[b'x'; 1000]);
        }
        assert!(tail.text().len() <= MAX_STDERR_BYTES && tail.0.len() <= 2 * MAX_STDERR_BYTES);
    }
}
