//! The bounds of all work on sources: how long each git operation may take, how much it may fetch and write, and who may
//! cancel it.

use super::error::{SourceError, SourceErrorKind};
use crate::store::FileLock;
use std::{
    cell::RefCell,
    io,
    path::Path,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// How often work that waits looks whether it was canceled.
pub const POLL_INTERVAL: Duration = Duration::from_millis(50);

const GIB: u64 = 1 << 30;

/// Limits of the operations that get sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long a git server may send next to nothing.
    pub silence: Duration,
    /// How long one git operation may take in all.
    pub operation: Duration,
    /// How large the mirror of a repository may become.
    pub repository_bytes: u64,
    /// How much the files of one checkout may have together.
    pub checkout_bytes: u64,
    /// How many files one checkout may have.
    pub checkout_files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(60),
            operation: Duration::from_secs(30 * 60),
            repository_bytes: 20 * GIB,
            checkout_bytes: 20 * GIB,
            checkout_files: 1_000_000,
        }
    }
}

/// The limits of one piece of work, and what cancels it.
#[derive(Debug, Clone, Default)]
pub struct OperationBounds {
    /// The limits.
    pub limits: Limits,
    /// Cancels the work: its git processes are killed, and its locks come free.
    pub cancel: CancellationToken,
    /// Whether nobody set these: the work is a command's own, and an interrupt at the terminal is to end its git processes,
    /// too.
    is_default: bool,
}

thread_local! {
    static CURRENT_BOUNDS: RefCell<Option<OperationBounds>> = const { RefCell::new(None) };
}

impl OperationBounds {
    /// Bounds of work that `cancel` cancels.
    #[must_use]
    pub const fn new(limits: Limits, cancel: CancellationToken) -> Self {
        Self { limits, cancel, is_default: false }
    }

    /// Whether git processes are to be in the process group of this process.
    pub(super) const fn share_group(&self) -> bool {
        self.is_default
    }

    /// Does `work`, on this thread, within these bounds. Git is run in many places that need not know who waits for them:
    /// each asks for [`OperationBounds::current`].
    pub fn hold<T>(self, work: impl FnOnce() -> T) -> T {
        struct BoundsGuard(Option<OperationBounds>);
        impl Drop for BoundsGuard {
            fn drop(&mut self) {
                let before = self.0.take();
                CURRENT_BOUNDS.with(|current| *current.borrow_mut() = before);
            }
        }
        let before = CURRENT_BOUNDS.with(|current| current.borrow_mut().replace(self));
        let _restore = BoundsGuard(before);
        work()
    }

    /// The bounds of what this thread does; the default limits where nobody set any.
    pub fn current() -> Self {
        CURRENT_BOUNDS
            .with(|current| current.borrow().clone())
            .unwrap_or_else(|| Self { is_default: true, ..Self::default() })
    }

    /// An error once the work was canceled.
    pub fn check(&self) -> Result<(), SourceError> {
        if self.cancel.is_cancelled() {
            return Err(SourceError::of(SourceErrorKind::Canceled, "the sources are not needed any more"));
        }
        Ok(())
    }
}

/// The lock on `path` that nobody else has, waited for within the current bounds.
pub fn lock_alone(path: &Path) -> Result<FileLock, SourceError> {
    lock(path, FileLock::try_now)
}

/// The lock on `path` that others may share, waited for within the current bounds.
pub fn lock_shared(path: &Path) -> Result<FileLock, SourceError> {
    lock(path, FileLock::try_share)
}

fn lock(path: &Path, attempt: fn(&Path) -> io::Result<FileLock>) -> Result<FileLock, SourceError> {
    let bounds = OperationBounds::current();
    let deadline = Instant::now() + bounds.limits.operation;
    let mut pause = Duration::from_millis(1);
    loop {
        match attempt(path) {
            Ok(lock) => return Ok(lock),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(SourceError::io("the source cache cannot be written", &error)),
        }
        bounds.check()?;
        if Instant::now() >= deadline {
            let words = format!(
                "another job has used {} for {} s: its git operation may hang",
                path.display(),
                bounds.limits.operation.as_secs()
            );
            return Err(SourceError::of(SourceErrorKind::TimedOut, words));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(POLL_INTERVAL);
    }
}
