//! Shells in jobs that users ask for, and the channels between a user and a worker. They are in the memory of this process.

use bytes::Bytes;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tidemill_core::{execution::debug::ShellRequest, ids::JobId};
use tokio::sync::mpsc;
use uuid::Uuid;

/// Maximum number of open or awaited shells.
const MAX_SHELLS: usize = 64;
/// Messages that wait in each direction; each has a limited size.
const MAX_PENDING: usize = 16;

/// A message of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShellFrame {
    /// Bytes of the terminal.
    Bytes(Bytes),
    /// A message about the shell, as JSON.
    Text(String),
}

/// One end of the channels between a user and a worker. The other end ends when this is dropped.
#[derive(Debug)]
pub struct ShellEnd {
    /// To the other end.
    pub sender: mpsc::Sender<ShellFrame>,
    /// From the other end.
    pub receiver: mpsc::Receiver<ShellFrame>,
}

/// The user's end of a shell. The session ends when this is dropped.
#[derive(Debug)]
pub struct OpenShell {
    /// The channels.
    pub end: ShellEnd,
    sessions: Arc<ShellSessions>,
    job: JobId,
}

/// Why no session was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShellLimit {
    /// Another user has one in the job.
    #[error("another shell is open in this job, or waits for it")]
    InUse,
    /// The server has too many.
    #[error("{MAX_SHELLS} shells are open, which is the limit of this server; try again later")]
    TooMany,
}

#[derive(Debug)]
struct Session {
    request: ShellRequest,
    /// Until the worker has connected.
    worker: Option<ShellEnd>,
}

/// The sessions, by job.
#[derive(Debug, Default)]
pub struct ShellSessions(Mutex<HashMap<JobId, Session>>);

impl ShellSessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session in a job.
    pub fn open(self: &Arc<Self>, job: JobId, on_failure: bool) -> Result<OpenShell, ShellLimit> {
        let mut sessions = self.lock();
        if sessions.contains_key(&job) {
            return Err(ShellLimit::InUse);
        }
        if sessions.len() >= MAX_SHELLS {
            return Err(ShellLimit::TooMany);
        }
        let (to_worker, from_user) = mpsc::channel(MAX_PENDING);
        let (to_user, from_worker) = mpsc::channel(MAX_PENDING);
        let request = ShellRequest { session: Uuid::new_v4(), on_failure };
        let worker = Some(ShellEnd { sender: to_user, receiver: from_user });
        sessions.insert(job, Session { request, worker });
        drop(sessions);
        let end = ShellEnd { sender: to_worker, receiver: from_worker };
        Ok(OpenShell { end, sessions: self.clone(), job })
    }

    /// Returns the shell that the worker of a job has not opened yet.
    pub fn request_of(&self, job: JobId) -> Option<ShellRequest> {
        self.lock().get(&job).filter(|session| session.worker.is_some()).map(|session| session.request)
    }

    /// Returns the worker's end of a session, once.
    pub fn take(&self, session: Uuid) -> Option<ShellEnd> {
        self.lock().values_mut().find(|one| one.request.session == session)?.worker.take()
    }
}

impl Drop for OpenShell {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.job);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{MAX_SHELLS, ShellFrame, ShellLimit, ShellSessions};
    use std::sync::Arc;
    use tidemill_core::ids::JobId;
    use uuid::Uuid;

    #[tokio::test]
    async fn worker_takes_a_session_once_and_its_end_is_seen() {
        let sessions = Arc::new(ShellSessions::default());
        let job = JobId(Uuid::from_u128(1));
        let mut user = sessions.open(job, true).unwrap();
        assert_eq!(sessions.open(job, false).unwrap_err(), ShellLimit::InUse);
        let request = sessions.request_of(job).unwrap();
        assert!(request.on_failure && sessions.take(Uuid::from_u128(9)).is_none());
        let mut worker = sessions.take(request.session).unwrap();
        assert!(sessions.take(request.session).is_none() && sessions.request_of(job).is_none());
        user.end.sender.send(ShellFrame::Text("a".into())).await.unwrap();
        assert_eq!(worker.receiver.recv().await, Some(ShellFrame::Text("a".into())));
        drop(worker);
        assert_eq!(user.end.receiver.recv().await, None);
        drop(user);
        assert!(sessions.open(job, false).is_ok());
    }

    #[test]
    fn number_of_sessions_is_limited() {
        let sessions = Arc::new(ShellSessions::default());
        let open = |number: usize| sessions.open(JobId(Uuid::from_u128(number as u128)), false);
        let all: Vec<_> = (0..MAX_SHELLS).map(|number| open(number).unwrap()).collect();
        assert_eq!(open(MAX_SHELLS).unwrap_err(), ShellLimit::TooMany);
        drop(all);
        assert!(open(0).is_ok());
    }
}
