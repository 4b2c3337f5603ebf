//! Shells in the containers of jobs: where a job is held for one, who may open one, and when a session ends.

use super::status::JobStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// The longest message of a session in bytes.
pub const MAX_MESSAGE: usize = 64 << 10;
/// The longest session on a server.
pub const MAX_SESSION: Duration = Duration::from_secs(30 * 60);
/// How long a session on a server may be without a byte of input.
pub const MAX_IDLE: Duration = Duration::from_secs(10 * 60);

/// Where a job is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum HoldPoint {
    /// Its container is ready, with services, artifacts and caches, and no command of the job has run.
    BeforeScript,
    /// Its script runs, and continues to: the job is not held.
    DuringScript,
    /// Its script and its `after_script` have ended, and nothing was collected yet.
    AfterScript {
        /// The exit code of the script.
        exit_code: i32,
        /// Whether the script was stopped before it ended by itself, as after a timeout.
        was_stopped: bool,
    },
}

impl HoldPoint {
    /// Whether the script failed.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        match self {
            Self::BeforeScript | Self::DuringScript => false,
            Self::AfterScript { exit_code, was_stopped } => exit_code != 0 || was_stopped,
        }
    }

    /// Returns the status of the job that its shell shows in `TIDEMILL_JOB_STATUS`.
    #[must_use]
    pub const fn job_status(self) -> &'static str {
        match self {
            Self::BeforeScript | Self::DuringScript => "running",
            Self::AfterScript { .. } if self.is_failure() => "failed",
            Self::AfterScript { .. } => "success",
        }
    }
}

/// A shell that a user of a server asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShellRequest {
    /// Identifies the session. Only the worker of the job learns it, and connects under it.
    pub session: Uuid,
    /// Whether the job is held for it when it fails; otherwise the shell opens while the script runs.
    pub on_failure: bool,
}

/// A message of a session on a server. The first one of the user says what the session is for; messages of bytes are those of the
/// terminal, of the tar that is copied, or of forwarded connections ([`connection_bytes`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ShellMessage {
    /// Opens a shell, for this type and size of terminal.
    Start {
        /// The type, such as `xterm-256color`.
        term: String,
        /// The size.
        size: TerminalSize,
    },
    /// The user's terminal has another size.
    Resize {
        /// The size.
        size: TerminalSize,
    },
    /// Copies out of the container: the worker sends a tar, and then [`Self::Complete`].
    Download {
        /// The path, absolute or relative to the directory in which the job's script starts.
        path: String,
    },
    /// Copies into the container: after [`Self::Opened`] the user sends a tar, and then [`Self::Complete`], which the worker repeats once
    /// it is unpacked.
    Upload {
        /// The directory in which it is unpacked, given like the path of a download.
        directory: String,
    },
    /// All bytes of a copy were sent, or all of them are in the container.
    Complete,
    /// Forwards connections to services of the job.
    Forward {
        /// The services, at most [`MAX_TARGETS`].
        targets: Vec<ForwardTarget>,
    },
    /// The user's end has a new connection.
    Connect {
        /// Its number, which no earlier one has.
        connection: u32,
        /// The position of its service in [`Self::Forward`].
        target: u16,
    },
    /// No more bytes of a connection follow from this end.
    Disconnect {
        /// Its number.
        connection: u32,
        /// Why there is no connection.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The first message of a worker that is ready for bytes.
    Opened {
        /// A line for the user.
        text: String,
    },
    /// A line for the user: why the session ends, or never begins.
    Note {
        /// The line.
        text: String,
        /// Whether it ended for another reason than its own end.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_failure: bool,
    },
}

/// The most services whose ports a session forwards.
pub const MAX_TARGETS: usize = 16;
/// The most connections that a session forwards at the same time.
pub const MAX_CONNECTIONS: usize = 32;
/// The most bytes that one copy transfers.
pub const MAX_COPY_BYTES: u64 = 4 << 30;

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForwardTarget {
    /// One of the names of the service.
    pub service: String,
    /// The TCP port.
    pub port: u16,
}

/// Returns the message with bytes of a forwarded connection.
#[must_use]
pub fn connection_message(connection: u32, bytes: &[u8]) -> Vec<u8> {
    [&connection.to_be_bytes(), bytes].concat()
}

/// Returns the connection and the bytes of such a message; `None` if it is none.
#[must_use]
pub fn connection_bytes(message: &[u8]) -> Option<(u32, &[u8])> {
    let (number, bytes) = message.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), bytes))
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TerminalSize {
    /// Its columns.
    pub columns: u16,
    /// Its rows.
    pub rows: u16,
}

/// Which jobs of an execution are held, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BreakPoints {
    /// Whether each job that fails is held.
    pub on_failure: bool,
    /// Jobs that are held before their script. A name without matrix values stands for all variants.
    pub before: Vec<String>,
    /// Jobs that are held after their script, however it ended.
    pub after: Vec<String>,
}

impl BreakPoints {
    /// Whether no job is ever held.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        !self.on_failure && self.before.is_empty() && self.after.is_empty()
    }

    /// Whether a job is held at `point`. `base` is its name without matrix values ([`super::report::base_name`]).
    #[must_use]
    pub fn holds(&self, (job, base): (&str, &str), point: HoldPoint) -> bool {
        let names = |list: &[String]| list.iter().any(|name| name == job || name == base);
        match point {
            HoldPoint::BeforeScript => names(&self.before),
            HoldPoint::DuringScript => false,
            HoldPoint::AfterScript { .. } => names(&self.after) || (self.on_failure && point.is_failure()),
        }
    }
}

/// What a request for a shell leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShellAccess {
    /// A shell in the container of the running job.
    Attach,
    /// The job is held when it fails.
    WaitForFailure,
    /// No shell, for this reason.
    Denied(ShellDenial),
}

/// Why there is no shell in a job's container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShellDenial {
    /// Its commit is one of a fork.
    #[error("the job runs a commit of a fork: nobody gets a shell in it, as its container is not trusted")]
    Fork,
    /// It has ended.
    #[error("the job has ended; retry it, and open the shell while the new execution waits or runs")]
    Ended,
    /// It has no container.
    #[error(
        "the job has no container that runs its script: it starts another pipeline, reads pipeline files, only builds an image, or \
         runs as plain processes (`image: none`)"
    )]
    NoContainer,
}

/// Decides on a request for a shell in a job. `on_failure`: the user asks to hold the job when it fails.
#[must_use]
pub const fn shell_access(
    status: JobStatus,
    is_fork: bool,
    has_container: bool,
    on_failure: bool,
) -> ShellAccess {
    if is_fork {
        return ShellAccess::Denied(ShellDenial::Fork);
    }
    if !has_container {
        return ShellAccess::Denied(ShellDenial::NoContainer);
    }
    match status {
        JobStatus::Running if !on_failure => ShellAccess::Attach,
        JobStatus::Pending | JobStatus::Queued | JobStatus::Running => ShellAccess::WaitForFailure,
        _ => ShellAccess::Denied(ShellDenial::Ended),
    }
}

/// Why a session ends, although neither side closed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionLimit {
    /// It is too old.
    #[error("the shell was open for {} minutes, which is the limit", MAX_SESSION.as_secs() / 60)]
    Age,
    /// It had no input.
    #[error("the shell had no input for {} minutes", MAX_IDLE.as_secs() / 60)]
    Idle,
}

/// Returns the limit that a session of this age has reached whose last input was `idle` ago, or how long it may go on without
/// input.
pub fn session_limit(age: Duration, idle: Duration) -> Result<Duration, SessionLimit> {
    if age >= MAX_SESSION {
        return Err(SessionLimit::Age);
    }
    if idle >= MAX_IDLE {
        return Err(SessionLimit::Idle);
    }
    Ok(MAX_SESSION.saturating_sub(age).min(MAX_IDLE.saturating_sub(idle)))
}

#[cfg(test)]
mod tests {
    use super::{
        BreakPoints, Duration, HoldPoint, JobStatus, MAX_IDLE, MAX_SESSION, SessionLimit, ShellAccess,
        ShellDenial, connection_bytes, connection_message, session_limit, shell_access,
    };

    const fn after(exit_code: i32, was_stopped: bool) -> HoldPoint {
        HoldPoint::AfterScript { exit_code, was_stopped }
    }

    #[test]
    fn break_points_hold_failures_and_named_jobs() {
        let (a, b) = (("a [os=x]", "a"), ("b [os=x]", "b"));
        let on_failure = BreakPoints { on_failure: true, ..BreakPoints::default() };
        assert!(on_failure.holds(a, after(1, false)) && on_failure.holds(a, after(0, true)));
        assert!(!on_failure.holds(a, after(0, false)) && !on_failure.holds(a, HoldPoint::BeforeScript));
        let named = BreakPoints {
            before: vec!["a".into()],
            after: vec!["b [os=x]".into()],
            ..BreakPoints::default()
        };
        assert!(named.holds(a, HoldPoint::BeforeScript) && named.holds(("a", "a"), HoldPoint::BeforeScript));
        assert!(!named.holds(("ab", "ab"), HoldPoint::BeforeScript) && !named.holds(a, after(1, false)));
        assert!(named.holds(b, after(0, false)) && !named.holds(("b [os=y]", "b"), after(0, false)));
        assert!(!named.holds(b, HoldPoint::DuringScript));
        assert!(BreakPoints::default().is_empty() && !named.is_empty());
    }

    #[test]
    fn shell_needs_a_live_job_that_is_not_of_a_fork() {
        use JobStatus::{Canceled, Failed, Pending, Queued, Running, Skipped, Success};
        for status in [Pending, Queued, Running, Success, Failed, Canceled, Skipped] {
            for on_failure in [true, false] {
                let fork = shell_access(status, true, true, on_failure);
                assert_eq!(fork, ShellAccess::Denied(ShellDenial::Fork), "{status:?}");
                let none = shell_access(status, false, false, on_failure);
                assert_eq!(none, ShellAccess::Denied(ShellDenial::NoContainer), "{status:?}");
            }
            let expected = match status {
                Running => ShellAccess::Attach,
                Pending | Queued => ShellAccess::WaitForFailure,
                _ => ShellAccess::Denied(ShellDenial::Ended),
            };
            assert_eq!(shell_access(status, false, true, false), expected, "{status:?}");
        }
        assert_eq!(shell_access(Running, false, true, true), ShellAccess::WaitForFailure);
    }

    #[test]
    fn message_of_a_connection_has_its_number_and_bytes() {
        assert_eq!(connection_bytes(&connection_message(7, b"abc")), Some((7, &b"abc"[..])));
        assert_eq!(connection_bytes(&connection_message(u32::MAX, b"")), Some((u32::MAX, &b""[..])));
        assert_eq!(connection_bytes(b"abc"), None);
    }

    #[test]
    fn session_ends_at_its_age_or_without_input() {
        let s = Duration::from_secs;
        assert_eq!(session_limit(s(0), s(0)), Ok(MAX_IDLE));
        assert_eq!(session_limit(s(1700), s(10)), Ok(s(100)));
        assert_eq!(session_limit(s(700), s(599)), Ok(s(1)));
        assert_eq!(session_limit(s(700), MAX_IDLE), Err(SessionLimit::Idle));
        assert_eq!(session_limit(MAX_SESSION, s(0)), Err(SessionLimit::Age));
    }
}
