//! The record of an environment: who deployed what, when, and how it is stopped.
//!
//! The record is derived from its jobs. Each write holds all that is known of one job, so that it can be repeated, come
//! late or in another order: an end is never undone, and of two deployments the one whose first attempt started later is
//! the newer one, whichever ended first.

use crate::{
    api::{Deployment, EnvironmentState, EnvironmentView},
    execution::status::JobStatus,
    ids::{ExecutionId, JobId},
    pipeline::{DeploymentTier, EnvironmentAction},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// Maximum number of deployments and stops in a record; the newest are kept, and the newest successful deployment.
pub const MAX_DEPLOYMENTS: usize = 20;
/// Interval at which the job of a deployment is checked whose end is not recorded.
pub const UNSETTLED_RECHECK_MS: i64 = 60_000;

/// An environment as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentRecord {
    /// Name of the repository.
    pub repo: String,
    /// Its name.
    pub name: String,
    /// What it is for, as the newest deployment says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<DeploymentTier>,
    /// Deployments and stops, newest first.
    pub deployments: Vec<Deployment>,
    /// When a job that only uses it last moved the time at which it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<AutoStopExtension>,
    /// The last accepted request to stop it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopRequest>,
    /// When it was marked as stopped, as no job stops it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marked_stopped_at: Option<Timestamp>,
    /// Why the deployment with this job cannot be stopped by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_failure: Option<(JobId, String)>,
}

/// A time at which the environment is stopped, set by a job that only uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoStopExtension {
    /// The job.
    pub job_id: JobId,
    /// Its attempt.
    pub attempt: u32,
    /// When the attempt started.
    pub at: Timestamp,
    /// When the environment is stopped.
    pub until: Timestamp,
}

/// An accepted request to stop an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRequest {
    /// The job of the deployment that it stops.
    pub deployment: JobId,
    /// The execution of the job that stops it.
    pub execution: ExecutionId,
    /// The number of this request among those of the environment, from 1.
    pub number: u32,
}

/// What to do to stop an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopStep<'a> {
    /// Nothing: it is stopped.
    AlreadyStopped,
    /// Nothing: this job is stopping it.
    Stopping(&'a Deployment),
    /// Nothing now: this deployment is running.
    Deploying(&'a Deployment),
    /// Record that it is stopped, as no job stops it.
    Mark,
    /// Run the `on_stop` job of this deployment.
    RunJob(&'a Deployment, &'a str),
}

impl EnvironmentRecord {
    /// Creates the record of an environment without deployments.
    #[must_use]
    pub fn new(repo: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            repo: repo.into(),
            name: name.into(),
            tier: None,
            deployments: Vec::new(),
            extension: None,
            stop: None,
            marked_stopped_at: None,
            stop_failure: None,
        }
    }

    /// Returns the record with what is known of the job of a deployment or stop; `None` if that changes nothing.
    #[must_use]
    pub fn with_deployment(&self, known: Deployment, tier: Option<DeploymentTier>) -> Option<Self> {
        let job_id = known.job_id;
        let mut next = self.clone();
        if let Some(own) = next.deployments.iter_mut().find(|own| own.job_id == job_id) {
            let is_ahead = (known.attempt, known.status.is_terminal()) > (own.attempt, false);
            if own.status.is_terminal() || !is_ahead {
                return None;
            }
            *own = Deployment { start_time: own.start_time, ..known };
            return Some(next);
        }
        if known.status.is_terminal() {
            // Its start is recorded first; without it, the job never ran, or is older than the record goes back.
            return None;
        }
        let at = next.deployments.partition_point(|other| order(other) > order(&known));
        next.deployments.insert(at, known);
        next.drop_oldest();
        if !next.deployments.iter().any(|own| own.job_id == job_id) {
            return None;
        }
        if next.newest_start().is_some_and(|newest| newest.job_id == job_id) {
            next.tier = tier;
        }
        Some(next)
    }

    /// Removes the oldest entries beyond the limit, except the newest successful deployment.
    fn drop_oldest(&mut self) {
        let current = self.current().map(|current| current.job_id);
        while self.deployments.len() > MAX_DEPLOYMENTS {
            let Some(oldest) = self.deployments.iter().rposition(|own| Some(own.job_id) != current) else {
                return;
            };
            self.deployments.remove(oldest);
        }
    }

    /// Returns the record after a job that only uses the environment moved the time at which it is stopped; `None` if
    /// that changes nothing.
    #[must_use]
    pub fn with_extension(&self, extension: AutoStopExtension) -> Option<Self> {
        let is_newer = self.extension.is_none_or(|known| {
            (known.at, known.job_id, known.attempt) < (extension.at, extension.job_id, extension.attempt)
                && (known.job_id, known.attempt) != (extension.job_id, extension.attempt)
        });
        (is_newer && self.state() == EnvironmentState::Available)
            .then(|| Self { extension: Some(extension), ..self.clone() })
    }

    /// Returns the newest successful deployment.
    #[must_use]
    pub fn current(&self) -> Option<&Deployment> {
        self.starts().find(|one| one.status == JobStatus::Success)
    }

    fn starts(&self) -> impl Iterator<Item = &Deployment> {
        self.deployments.iter().filter(|one| one.action == EnvironmentAction::Start)
    }

    fn newest_start(&self) -> Option<&Deployment> {
        self.starts().next()
    }

    /// Returns the newest stop after the newest deployment.
    fn newest_stop(&self) -> Option<&Deployment> {
        self.deployments.first().filter(|one| one.action == EnvironmentAction::Stop)
    }

    /// Returns when the environment was stopped; `None` if it was deployed to since, or never.
    #[must_use]
    pub fn stopped_at(&self) -> Option<Timestamp> {
        let deployed = self.newest_start().map(|one| one.start_time);
        let after_start = self.deployments.iter().take_while(|one| one.action == EnvironmentAction::Stop);
        let by_job = after_start.filter(|one| one.status == JobStatus::Success);
        let by_job = by_job.filter_map(|one| one.end_time).max();
        let marked = self.marked_stopped_at.filter(|at| deployed.is_none_or(|deployed| deployed <= *at));
        by_job.max(marked)
    }

    /// Returns whether something is deployed.
    #[must_use]
    pub fn state(&self) -> EnvironmentState {
        match self.stopped_at() {
            Some(_) => EnvironmentState::Stopped,
            None => EnvironmentState::Available,
        }
    }

    /// Returns when the environment is to be stopped: after the newest successful deployment, or when a later job that
    /// uses it says. Not while a job deploys or stops it, and only once.
    #[must_use]
    pub fn auto_stop_at(&self) -> Option<Timestamp> {
        let current = self.current()?;
        let is_live = |one: &Deployment| !one.status.is_terminal();
        if self.stopped_at().is_some()
            || self.newest_start().is_some_and(is_live)
            || self.newest_stop().is_some()
            || self.stop.as_ref().is_some_and(|stop| stop.deployment == current.job_id)
            || self.stop_failure.as_ref().is_some_and(|(job, _)| *job == current.job_id)
        {
            return None;
        }
        let ended = current.end_time.unwrap_or(current.start_time);
        if let Some(extension) = self.extension.filter(|extension| extension.at >= ended) {
            return Some(extension.until);
        }
        let seconds = i64::try_from(current.auto_stop_in_s?).unwrap_or(i64::MAX);
        Some(ended.plus_ms(seconds.saturating_mul(1_000)))
    }

    /// Returns the entries whose end is not recorded.
    pub fn unsettled(&self) -> impl Iterator<Item = &Deployment> {
        self.deployments.iter().filter(|one| !one.status.is_terminal())
    }

    /// Returns when the record must be processed next.
    #[must_use]
    pub fn due_at(&self, now: Timestamp) -> Option<Timestamp> {
        let unsettled = self.unsettled().next().map(|_| now.plus_ms(UNSETTLED_RECHECK_MS));
        [unsettled, self.auto_stop_at()].into_iter().flatten().min()
    }

    /// Returns what to do to stop the environment.
    #[must_use]
    pub fn stop_step(&self) -> StopStep<'_> {
        if self.stopped_at().is_some() {
            return StopStep::AlreadyStopped;
        }
        if let Some(stop) = self.newest_stop().filter(|stop| !stop.status.is_terminal()) {
            return StopStep::Stopping(stop);
        }
        if let Some(newest) = self.newest_start().filter(|newest| !newest.status.is_terminal()) {
            return StopStep::Deploying(newest);
        }
        let deployed = self.current().or_else(|| self.newest_start());
        match deployed.and_then(|one| Some((one, one.on_stop.as_deref()?))) {
            Some((deployment, job)) => StopStep::RunJob(deployment, job),
            None => StopStep::Mark,
        }
    }

    /// Returns the number that the next request to stop the environment gets.
    #[must_use]
    pub fn next_stop_number(&self) -> u32 {
        self.stop.as_ref().map_or(0, |stop| stop.number).saturating_add(1)
    }

    /// Returns the environment as shown by the API.
    #[must_use]
    pub fn view(&self, with_deployments: bool) -> EnvironmentView {
        let current = self.current();
        let is_current = |job: &JobId| current.is_some_and(|current| current.job_id == *job);
        EnvironmentView {
            repo: self.repo.clone(),
            name: self.name.clone(),
            tier: self.tier,
            state: self.state(),
            current: current.cloned(),
            newest: self.deployments.first().cloned(),
            auto_stop_at: self.auto_stop_at(),
            stopped_at: self.stopped_at(),
            stop_failure: self
                .stop_failure
                .as_ref()
                .filter(|(job, _)| is_current(job))
                .map(|(_, why)| why.clone()),
            deployments: if with_deployments { self.deployments.clone() } else { Vec::new() },
        }
    }
}

/// Returns by what deployments are ordered: the later one is the newer one.
fn order(one: &Deployment) -> (Timestamp, JobId) {
    (one.start_time, one.job_id)
}
