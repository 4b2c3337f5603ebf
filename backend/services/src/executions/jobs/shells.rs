//! Shells in the containers of jobs.

use super::service::JobExecutionService;
use crate::{
    context::{
        service_context::job_of,
        shells::{OpenShell, ShellEnd},
    },
    error::{Error, Result},
};
use tidemill_core::{
    execution::{
        debug::{ShellAccess, shell_access},
        status::JobStatus,
    },
    ids::JobId,
    pipeline::NO_IMAGE,
    plan::PlannedJob,
};
use uuid::Uuid;

impl JobExecutionService {
    /// Opens a session for a shell in a job: while it runs, or, `on_failure`, once it has failed. Returns what it waits for.
    pub async fn open_shell(&self, id: JobId, on_failure: bool) -> Result<(OpenShell, ShellAccess)> {
        let node = self.context.job(id).await?;
        let execution = self.context.cached_execution(node.key.execution).await?;
        let planned = self.context.spec(node.key.execution, node.key.ix).await?.planned;
        let has_container = has_container(&planned);
        let status = job_of(&node)?.job.status;
        let access = shell_access(status, execution.spec.facts.is_from_fork(), has_container, on_failure);
        let is_held = match access {
            ShellAccess::Denied(denial) => return Err(Error::Conflict(denial.to_string())),
            ShellAccess::Attach => false,
            ShellAccess::WaitForFailure => true,
        };
        let opened = self.context.shells.open(id, is_held);
        opened.map(|shell| (shell, access)).map_err(|limit| Error::Conflict(limit.to_string()))
    }

    /// Returns the worker's end of a session, once.
    pub fn shell_session(&self, session: Uuid) -> Result<ShellEnd> {
        let end = self.context.shells.take(session);
        end.ok_or_else(|| Error::NotFound("there is no such session, or it has ended".to_owned()))
    }

    /// Returns the status of a job.
    pub async fn status(&self, id: JobId) -> Result<JobStatus> {
        Ok(job_of(&self.context.job(id).await?)?.job.status)
    }
}

/// Whether the script of a job runs in a container.
fn has_container(job: &PlannedJob) -> bool {
    let options = &job.surroundings;
    let only_builds = options.build.is_some() && job.script.is_empty();
    job.discovery.is_none() && options.child.is_none() && job.image != NO_IMAGE && !only_builds
}
