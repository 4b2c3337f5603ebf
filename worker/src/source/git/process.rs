//! Git processes that cannot outstay their bounds: each is the first of a process group of its own, which is killed as a
//! whole; what it prints is read with limits; its memory is limited.

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

/// Memory of its own that a git process may have, files that it maps aside.
const MAX_MEMORY: u64 = 2 << 30;
/// What of a process's errors is kept: the last of them.
const MAX_STDERR_BYTES: usize = 16 << 10;
/// A git server that sends less than this, over the time of [`Limits::silence`](crate::source::Limits), counts as silent.
const MIN_BYTES_PER_SECOND: u64 = 16;
/// How often the growth of what a process writes is looked at.
const MEASURE_INTERVAL: Duration = Duration::from_millis(200);
/// How long a killed process may take to be gone.
const KILL_TIMEOUT: Duration = Duration::from_secs(2);
const BUFFER_SIZE: usize = 64 << 10;

/// What one process may do.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessLimits<'a> {
    /// Whether another machine may be waited for, whose silence has a limit.
    pub network: bool,
    /// How long it may take in all, where that is less than [`Limits::operation`](crate::source::Limits).
    pub time: Option<Duration>,
    /// Memory of its own, where that is less than usual.
    pub memory: Option<u64>,
    /// A directory that it writes into, and how many bytes that may have.
    pub growth: Option<(&'a Path, u64)>,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// `None`: who reads its output had enough.
    pub status: Option<ExitStatus>,
    /// The last of its errors, without progress.
    pub errors: String,
}

/// Runs `command`; `sink` gets what it prints, piece by piece, until it breaks.
pub fn supervise(
    command: &mut Command,
    watch: ProcessLimits<'_>,
    sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<Ended, SourceError> {
    let mut group = ProcessGroup::spawn(command, watch)?;
    let (mut output, mut errors) = (group.child.stdout.take(), group.child.stderr.take());
    let mut vigil = ProcessMonitor::new(watch);
    let mut last_errors = StderrTail::default();
    let mut buffer = vec![0; BUFFER_SIZE];
    while output.is_some() || errors.is_some() {
        let fds = [output.as_ref().map(AsFd::as_fd), errors.as_ref().map(AsFd::as_fd)];
        let [output_ready, errors_ready] = wait_readable(fds)?;
        if output_ready {
            match read(output.as_mut(), &mut buffer)? {
                0 => output = None,
                count => {
                    vigil.heard(count);
                    if sink(&buffer[..count]).is_break() {
                        return Ok(Ended { status: None, errors: last_errors.text() });
                    }
                }
            }
        }
        if errors_ready {
            match read(errors.as_mut(), &mut buffer)? {
                0 => errors = None,
                count => {
                    vigil.heard(count);
                    last_errors.push(&buffer[..count]);
                }
            }
        }
        vigil.check()?;
        // What it started in the background, as ssh may, holds the pipes open.
        if !output_ready && !errors_ready && group.has_ended() {
            break;
        }
    }
    let status = group.finish(&mut vigil)?;
    if !status.success() {
        vigil.check_growth()?;
    }
    Ok(Ended { status: Some(status), errors: last_errors.text() })
}

/// A process that answers questions, one after the other.
#[derive(Debug)]
pub struct QueryProcess {
    // Before the group: a process whose input ends ends by itself.
    input: ChildStdin,
    output: ChildStdout,
    unread: Vec<u8>,
    vigil: ProcessMonitor<'static>,
    _group: ProcessGroup,
}

impl QueryProcess {
    /// Starts `command`, which has its input and output from here.
    pub fn start(command: &mut Command, watch: ProcessLimits<'static>) -> Result<Self, SourceError> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut group = ProcessGroup::spawn(command, watch)?;
        let missing = || SourceError::new("git has no input or output");
        let input = group.child.stdin.take().ok_or_else(missing)?;
        let output = group.child.stdout.take().ok_or_else(missing)?;
        Ok(Self { input, output, unread: Vec::new(), vigil: ProcessMonitor::new(watch), _group: group })
    }

    /// Asks; `question` is short, and one line.
    pub fn ask(&mut self, question: &str) -> Result<(), SourceError> {
        let written = self.input.write_all(question.as_bytes()).and_then(|()| self.input.write_all(b"\n"));
        written.map_err(|error| SourceError::io("git takes no question", &error))
    }

    /// The next line of the answer, of at most `limit` bytes.
    pub fn line(&mut self, limit: usize) -> Result<String, SourceError> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&self.unread[..end]).into_owned();
                self.unread.drain(..=end);
                return Ok(line);
            }
            if self.unread.len() > limit {
                return Err(SourceError::new("git answers with a line that is too long"));
            }
            self.receive()?;
        }
    }

    /// The next `count` bytes of the answer.
    pub fn bytes(&mut self, count: usize) -> Result<Vec<u8>, SourceError> {
        while self.unread.len() < count {
            self.receive()?;
        }
        let rest = self.unread.split_off(count);
        Ok(std::mem::replace(&mut self.unread, rest))
    }

    fn receive(&mut self) -> Result<(), SourceError> {
        let mut buffer = [0; 8 << 10];
        loop {
            let [ready, _] = wait_readable([Some(self.output.as_fd()), None])?;
            if ready {
                let count = read(Some(&mut self.output), &mut buffer)?;
                if count == 0 {
                    return Err(SourceError::new("git stopped answering"));
                }
                self.unread.extend_from_slice(&buffer[..count]);
                return Ok(());
            }
            self.vigil.check()?;
        }
    }
}

/// A process and all that it started, none of which is left once this is dropped.
#[derive(Debug)]
struct ProcessGroup {
    child: Child,
    /// Whether it is a process group of its own.
    is_own: bool,
    reaped: bool,
}

impl ProcessGroup {
    fn spawn(command: &mut Command, watch: ProcessLimits<'_>) -> Result<Self, SourceError> {
        let is_own = !OperationBounds::current().share_group();
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
                // Where a lower limit holds already, this fails, and that one stays.
                let _ = prlimit(Some(pid), resource, limit);
            }
        };
        limit(Resource::Data, watch.memory.unwrap_or(MAX_MEMORY));
        if let Some((_, bytes)) = watch.growth {
            limit(Resource::Fsize, bytes);
        }
        Ok(group)
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    /// Whether the first process ended. It is not reaped, so that its id stays its own.
    fn has_ended(&self) -> bool {
        let Some(pid) = self.pid() else { return true };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(pid), options), Ok(None))
    }

    /// Waits for the end of a process whose output ended; what it left is killed.
    fn finish(mut self, vigil: &mut ProcessMonitor<'_>) -> Result<ExitStatus, SourceError> {
        let mut pause = Duration::from_micros(100);
        while !self.has_ended() {
            vigil.check()?;
            std::thread::sleep(pause);
            pause = (pause * 2).min(POLL_INTERVAL);
        }
        self.kill();
        self.reaped = true;
        self.child.wait().map_err(|error| SourceError::new(format!("git's end cannot be seen: {error}")))
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
        let begun = Instant::now();
        // One that hangs in the kernel is left to it.
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < KILL_TIMEOUT {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Watches one process.
#[derive(Debug)]
struct ProcessMonitor<'a> {
    bounds: OperationBounds,
    watch: ProcessLimits<'a>,
    begun: Instant,
    time: Duration,
    /// Since when bytes are counted, and how many came.
    heard: (Instant, u64),
    measured: (Instant, u64),
}

impl<'a> ProcessMonitor<'a> {
    fn new(watch: ProcessLimits<'a>) -> Self {
        let bounds = OperationBounds::current();
        let begun = Instant::now();
        let time = watch.time.unwrap_or(bounds.limits.operation).min(bounds.limits.operation);
        let size = watch.growth.map_or(0, |(path, _)| size_of(path));
        Self { bounds, watch, begun, time, heard: (begun, 0), measured: (begun, size) }
    }

    fn heard(&mut self, count: usize) {
        self.heard.1 += count as u64;
    }

    fn check(&mut self) -> Result<(), SourceError> {
        self.bounds.check()?;
        if self.begun.elapsed() >= self.time {
            let words = format!("git took longer than {} s and was ended", self.time.as_secs());
            return Err(SourceError::of(SourceErrorKind::TimedOut, words));
        }
        if self.measured.0.elapsed() >= MEASURE_INTERVAL {
            self.check_growth()?;
        }
        let silence = self.bounds.limits.silence;
        if self.watch.network && self.heard.0.elapsed() >= silence {
            let wanted = (MIN_BYTES_PER_SECOND * silence.as_secs()).max(1);
            if self.heard.1 < wanted {
                let words = format!(
                    "the git server sent {} bytes within {} s, as good as nothing, and was given up; see that it answers",
                    self.heard.1,
                    silence.as_secs()
                );
                return Err(SourceError::of(SourceErrorKind::TimedOut, words));
            }
            self.heard = (Instant::now(), 0);
        }
        Ok(())
    }

    fn check_growth(&mut self) -> Result<(), SourceError> {
        let Some((path, limit)) = self.watch.growth else { return Ok(()) };
        let size = size_of(path);
        self.heard.1 += size.saturating_sub(self.measured.1);
        self.measured = (Instant::now(), size);
        if size >= limit {
            let words = format!(
                "the repository has more than {limit} bytes, which is this worker's limit; raise TIDEMILL_GIT_MAX_SIZE there, or \
                 make it smaller"
            );
            return Err(SourceError::of(SourceErrorKind::TooLarge, words));
        }
        Ok(())
    }
}

/// The bytes of the files that lie in `directory` itself.
fn size_of(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}

/// Waits a moment until one of `fds` has something to read, or ends; which of them do.
fn wait_readable(fds: [Option<BorrowedFd<'_>>; 2]) -> Result<[bool; 2], SourceError> {
    let timeout = Timespec::try_from(POLL_INTERVAL).map_err(|error| SourceError::new(error.to_string()))?;
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(SourceError::io("git's output cannot be waited for", &error.into())),
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

/// The end of what a process says of errors.
#[derive(Debug, Default)]
struct StderrTail(Vec<u8>);

impl StderrTail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 2 * MAX_STDERR_BYTES {
            self.0.drain(..self.0.len() - MAX_STDERR_BYTES);
        }
    }

    /// It as text, without the lines in which progress is shown.
    fn text(&self) -> String {
        let from = self.0.len().saturating_sub(MAX_STDERR_BYTES);
        let text = String::from_utf8_lossy(&self.0[from..]);
        let is_progress = |line: &&str| line.contains('\r') || line.trim_end().ends_with(", done.");
        let lines: Vec<&str> = text.lines().filter(|line| !is_progress(line)).collect();
        lines.join("\n").trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_STDERR_BYTES, StderrTail};

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
