//! Bounds of all work on sources: the duration of each git operation, how much it may fetch and write, and its cancellation.

use super::error::{SourceError, SourceErrorKind};
use crate::store::FileLock;
use std::{
    cell::RefCell,
    io,
    path::Path,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// How often waiting work checks for cancellation.
pub const POLL_INTERVAL: Duration = Duration::from_millis(50);

const GIB: u64 = 1 << 30;

/// Limits of the operations that get sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long a git server may send almost nothing.
    pub silence: Duration,
    /// Maximum duration of one git operation.
    pub operation: Duration,
    /// Maximum size of a repository's mirror.
    pub repository_bytes: u64,
    /// Maximum total size of the files of one checkout.
    pub checkout_bytes: u64,
    /// Maximum number of files in one checkout.
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

/// The limits of one operation, and its cancellation token.
#[derive(Debug, Clone, Default)]
pub struct OperationBounds {
    /// The limits.
    pub limits: Limits,
    /// Cancels the operation: its git processes are killed, and its locks are released.
    pub cancel: CancellationToken,
    /// Whether these are the defaults: the work runs in a command, and an interrupt at the terminal must also end its
    /// git processes.
    is_default: bool,
}

thread_local! {
    static CURRENT_BOUNDS: RefCell<Option<OperationBounds>> = const { RefCell::new(None) };
}

impl OperationBounds {
    /// Creates bounds of an operation that `cancel` cancels.
    #[must_use]
    pub const fn new(limits: Limits, cancel: CancellationToken) -> Self {
        Self { limits, cancel, is_default: false }
    }

    /// Returns the same bounds with other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Whether git processes share the process group of this process.
    pub(super) const fn shares_process_group(&self) -> bool {
        self.is_default
    }

    /// Runs `work` on this thread within these bounds, which [`OperationBounds::current`] returns meanwhile. So the
    /// code that runs git needs no parameter for them.
    pub fn scope<T>(self, work: impl FnOnce() -> T) -> T {
        struct BoundsGuard(Option<OperationBounds>);
        impl Drop for BoundsGuard {
            fn drop(&mut self) {
                let previous = self.0.take();
                CURRENT_BOUNDS.with(|current| *current.borrow_mut() = previous);
            }
        }
        let previous = CURRENT_BOUNDS.with(|current| current.borrow_mut().replace(self));
        let _restore = BoundsGuard(previous);
        work()
    }

    /// Returns the bounds of this thread, or the default limits if none are set.
    pub fn current() -> Self {
        CURRENT_BOUNDS
            .with(|current| current.borrow().clone())
            .unwrap_or_else(|| Self { is_default: true, ..Self::default() })
    }

    /// Returns an error if the operation is canceled.
    pub fn check(&self) -> Result<(), SourceError> {
        if self.cancel.is_cancelled() {
            return Err(SourceError::of(
                SourceErrorKind::Canceled,
                "the operation on the sources was canceled",
            ));
        }
        Ok(())
    }
}

/// Takes the exclusive lock on `path`, waiting within the current bounds.
pub fn lock_exclusive(path: &Path) -> Result<FileLock, SourceError> {
    lock(path, FileLock::try_exclusive)
}

/// Takes the shared lock on `path`, waiting within the current bounds.
pub fn lock_shared(path: &Path) -> Result<FileLock, SourceError> {
    lock(path, FileLock::try_shared)
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
            let message = format!(
                "another job has locked {} for {} s: its git operation may hang",
                path.display(),
                bounds.limits.operation.as_secs()
            );
            return Err(SourceError::of(SourceErrorKind::TimedOut, message));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(POLL_INTERVAL);
    }
}
