//! Handling of SIGINT (Ctrl-C), SIGTERM and SIGHUP.

use crate::{
    failure::Exit,
    output::{errln, restore_terminal},
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    thread,
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// The interrupts of this process. While a value exists, they do not end the process by themselves.
#[derive(Debug)]
pub struct Interrupts {
    receiver: mpsc::UnboundedReceiver<()>,
    /// Whether an interrupt came while something was started, and waits for [`Self::recv`].
    is_pending: bool,
}

impl Interrupts {
    /// Starts to receive interrupts.
    pub fn listen() -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::unbounded_channel();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let mut signals = signal(kind)?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    if sender.send(()).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self { receiver, is_pending: false })
    }

    /// Waits for the next interrupt, or returns the one that [`Self::during_start`] kept.
    pub async fn recv(&mut self) -> Option<()> {
        if std::mem::take(&mut self.is_pending) { Some(()) } else { self.receiver.recv().await }
    }

    /// Finishes `start`, a request that starts an execution: until its reply is known, the execution that an interrupt is meant for
    /// is not. The first interrupt is kept for [`Self::recv`], and the second one exits.
    pub async fn during_start<T>(&mut self, start: impl Future<Output = T>) -> T {
        tokio::pin!(start);
        loop {
            tokio::select! {
                done = &mut start => return done,
                Some(()) = self.receiver.recv() => {
                    if self.is_pending {
                        exit_now(Exit::Canceled as i32);
                    }
                    self.is_pending = true;
                    errln!("canceling once the execution has started; interrupt again to exit immediately");
                }
            }
        }
    }
}

/// Finishes `work` after an execution was watched. An interrupt exits at once: the user has interrupted before, or does not want to
/// wait.
pub async fn or_exit_on_interrupt<T>(work: impl Future<Output = T>, exit_code: i32) -> std::io::Result<T> {
    let mut interrupts = Interrupts::listen()?;
    tokio::select! {
        done = work => Ok(done),
        Some(()) = interrupts.recv() => exit_now(exit_code),
    }
}

/// Time for an orderly exit after the second interrupt, and for writing the message of a forced exit.
const EXIT_GRACE: Duration = Duration::from_millis(500);

/// Forces this process to exit `limit` after the first interrupt, or shortly after the second, unless it exits earlier. A separate
/// thread does so even if all others hang, and writes a message to standard error.
pub fn force_exit_after(limit: Duration, exit_code: i32) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    thread::Builder::new().name("interrupts".into()).spawn(move || {
        let mut signals = signals.forever();
        if signals.next().is_none() {
            return;
        }
        thread::spawn(move || {
            thread::sleep(limit);
            let reason = format!("shutdown did not finish within {} s of the signal", limit.as_secs());
            force_exit(reason, exit_code);
        });
        if signals.next().is_some() {
            thread::sleep(EXIT_GRACE);
            force_exit("shutdown did not finish after the second signal".into(), exit_code);
        }
    })?;
    Ok(())
}

/// Exits at once, and leaves a usable terminal.
pub fn exit_now(exit_code: i32) -> ! {
    restore_terminal();
    std::process::exit(exit_code)
}

/// Writes the reason to standard error and exits. Writing may block, so a separate thread does it, with a time limit.
fn force_exit(reason: String, exit_code: i32) -> ! {
    let writer = thread::Builder::new().name("exit-message".into()).spawn(move || {
        errln!("tidemill: {reason}; exiting; the next start resumes the remaining work");
    });
    let started = Instant::now();
    while writer.as_ref().is_ok_and(|writer| !writer.is_finished()) && started.elapsed() < EXIT_GRACE {
        thread::sleep(Duration::from_millis(5));
    }
    exit_now(exit_code)
}
