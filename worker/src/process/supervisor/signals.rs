//! What the worker asks of a supervisor: signals, as a container's first process gets them, and lines of stdin.

use std::io::{self, BufRead, Read};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

/// Maximum number of bytes of a line; the longest is one of a script.
const MAX_LINE: u64 = 64 << 20;
/// Lines that are read ahead.
const LINES_AHEAD: usize = 64;

/// A request of the worker, or something to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Ask the script to end, which the `after_script` learns as this status.
    Stop(&'static str),
    /// The same, and nothing runs afterwards.
    StopFinally,
    /// Kill the script.
    KillScript,
    /// Kill the `after_script`.
    KillAfterScript,
    /// Kill everything, also because the worker is gone.
    Kill,
    /// A child may have ended.
    ChildEnded,
    /// Nothing to do.
    Ignored,
}

/// Receives commands.
pub(super) struct Commands {
    stop: Signal,
    cancel: Signal,
    stop_finally: Signal,
    kill_script: Signal,
    kill_after_script: Signal,
    kill: Signal,
    child: Signal,
    lines: mpsc::Receiver<Vec<u8>>,
}

impl Commands {
    /// Starts to receive them. All signals are recorded from now on.
    pub fn listen() -> io::Result<Self> {
        let (sender, lines) = mpsc::channel(LINES_AHEAD);
        std::thread::Builder::new().spawn(move || {
            let mut input = io::stdin().lock();
            loop {
                let mut line = Vec::new();
                let read = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
                let is_complete = matches!(read, Ok(count) if count > 0) && line.pop() == Some(b'\n');
                if !is_complete || sender.blocking_send(line).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self {
            stop: signal(SignalKind::terminate())?,
            cancel: signal(SignalKind::user_defined1())?,
            stop_finally: signal(SignalKind::quit())?,
            kill_script: signal(SignalKind::user_defined2())?,
            kill_after_script: signal(SignalKind::hangup())?,
            kill: signal(SignalKind::interrupt())?,
            child: signal(SignalKind::child())?,
            lines,
        })
    }

    /// Returns the next line of stdin; `None` once the worker is gone.
    pub async fn line(&mut self) -> Option<Vec<u8>> {
        tokio::select! {
            line = self.lines.recv() => line,
            _ = self.kill.recv() => None,
        }
    }

    /// Waits for the next command.
    pub async fn next(&mut self) -> Command {
        tokio::select! {
            _ = self.stop.recv() => Command::Stop("failed"),
            _ = self.cancel.recv() => Command::Stop("canceled"),
            _ = self.stop_finally.recv() => Command::StopFinally,
            _ = self.kill_script.recv() => Command::KillScript,
            _ = self.kill_after_script.recv() => Command::KillAfterScript,
            _ = self.kill.recv() => Command::Kill,
            _ = self.child.recv() => Command::ChildEnded,
            line = self.lines.recv() => match line {
                // A marker that a job printed itself was answered.
                Some(_) => Command::Ignored,
                None => Command::Kill,
            },
        }
    }
}
