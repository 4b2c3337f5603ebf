//! First phase: prepares a container with sources, artifacts, caches and services.

use super::{
    attempt::{Attempt, EarlyEnd, PREPARATION_ALLOWANCE, preparation_timeout},
    caches::{self, RestoredCache},
    image::{load_image, pull_image},
    job_executor::JobExecutor,
    reporter::Reporter,
    services::Services,
};
use crate::engine::{
    Container, ContainerCreation, ImageConfig, JobLogins, JobNetwork, OccupiedSlot, WorkspaceMount,
};
use tidemill_core::execution::{
    assignment::{Assignment, Preparation},
    failure::{FailureKind, FailureReason},
};
use tokio::time::Instant;

/// What is ready to run the job's script.
#[derive(Debug)]
pub struct Prepared<S> {
    /// What waits for the script.
    pub sandbox: S,
    /// The job's services and caches.
    pub environment: Environment,
    /// When the job's `timeout` began to count.
    pub started: Instant,
}

/// What a job has in addition to its container while it runs.
#[derive(Debug)]
pub struct Environment {
    /// Its services; `None` if it has none.
    pub services: Option<Services>,
    /// Its caches as they were before the script.
    pub caches: Vec<RestoredCache>,
    /// The network of the job and its services, removed after their containers.
    _network: Option<JobNetwork>,
}

impl Environment {
    /// Creates the environment of a job without services.
    pub const fn without_services(caches: Vec<RestoredCache>) -> Self {
        Self { services: None, caches, _network: None }
    }
}

/// Prepares the attempt, in a standby container if one fits. Returns it with the slot that it occupies.
pub async fn prepare(
    executor: &JobExecutor,
    attempt: &mut Attempt,
) -> Result<(Prepared<Container>, OccupiedSlot), EarlyEnd> {
    let Attempt { assignment, reporter, signals, .. } = attempt;
    reporter.phase("preparing");
    let mut slot = executor.pool.occupy(&assignment.preparation);
    let mut creation = slot.standby.take();
    executor.engine.settings.bypass_proxies(assignment);
    executor.engine.permissions.connect_sidecar(assignment);
    if assignment.preparation.container.needs_own_network() {
        slot.network = None;
    }
    if !assignment.extras.services.is_empty() {
        // The services' host names are added to the container's network, so no later job may share it.
        slot.network = None;
        if let Some(standby) = creation.take() {
            executor.engine.dispose_when_created(standby);
        }
    }
    let started = Instant::now();
    let run = PreparationRun { executor, assignment, reporter, slot: &slot, creation: &mut creation };
    let prepared = tokio::select! {
        prepared = run.run() => prepared.map_err(EarlyEnd::Failed),
        stopped = signals.stopped() => Err(stopped),
        timeout = preparation_timeout(assignment.timeout_s) => Err(timeout),
    };
    // Preparation beyond its allowance counts towards the job's timeout.
    let started = Instant::now() - started.elapsed().saturating_sub(PREPARATION_ALLOWANCE);
    match prepared {
        Ok((container, environment)) => {
            executor.pool.container_ready(&slot);
            Ok((Prepared { sandbox: container, environment, started }, slot))
        }
        Err(end) => {
            if let Some(creation) = creation {
                executor.engine.dispose_when_created(creation);
            }
            executor.pool.release(&slot, None);
            Err(match end {
                EarlyEnd::Failed(reason) => EarlyEnd::Failed(classify_failure(executor, reason).await),
                EarlyEnd::LeaseLost => EarlyEnd::LeaseLost,
            })
        }
    }
}

/// Returns the reason to report for a failed preparation. An engine that does not answer is a failure of this worker and not
/// of the job, so the job is given back.
async fn classify_failure(executor: &JobExecutor, reason: FailureReason) -> FailureReason {
    if reason.kind != FailureKind::EngineFailed {
        return reason;
    }
    executor.engine.suspect_outage();
    if executor.is_only_worker || executor.engine.is_responding().await {
        return reason;
    }
    let message =
        format!("the worker's container engine does not answer, so it gave the job back: {}", reason.message);
    FailureReason::new(FailureKind::GivenBack, message)
}

struct PreparationRun<'a> {
    executor: &'a JobExecutor,
    assignment: &'a Assignment,
    reporter: &'a Reporter,
    slot: &'a OccupiedSlot,
    /// The container that is being created, at first the standby container. If it is still here afterwards, it was not used.
    creation: &'a mut Option<ContainerCreation>,
}

impl PreparationRun<'_> {
    async fn run(mut self) -> Result<(Container, Environment), FailureReason> {
        let engine = &self.executor.engine;
        let is_chosen = engine.chosen_network(&self.assignment.preparation.container).is_some();
        let services = if is_chosen { 0 } else { self.assignment.extras.services.len() };
        // No other job may reach a Docker engine that listens without TLS.
        let private = engine.permissions.sidecar(self.assignment).is_some();
        let network = engine.job_network(services, private).await?;
        let container = self.container(network.as_ref()).await?;
        // If this future is dropped, so is the container, which removes it.
        match self.environment(&container.workspace, network).await {
            Ok(environment) => Ok((container, environment)),
            Err(reason) => {
                engine.dispose_later(container);
                Err(reason)
            }
        }
    }

    /// Restores caches and artifacts into the workspace, and starts the services.
    async fn environment(
        &self,
        workspace: &WorkspaceMount,
        network: Option<JobNetwork>,
    ) -> Result<Environment, FailureReason> {
        let Self { executor, assignment, reporter, .. } = self;
        let caches = caches::restore(&executor.artifacts, workspace, assignment, reporter).await;
        for artifact in assignment.files() {
            executor.artifacts.restore(workspace, artifact).await?;
        }
        if assignment.artifacts.is_some() || assignment.extras.build.is_some() || !caches.is_empty() {
            // The engine unmounts the workspace when the container exits; opened before, it can still be read.
            executor.engine.host_workspace(workspace).await;
        }
        let services = &assignment.extras.services;
        if services.is_empty() {
            return Ok(Environment::without_services(caches));
        }
        let inherited = assignment.preparation.pull_policy;
        for service in services {
            let policy = executor.engine.pull_policy(service.pull_policy.or(inherited));
            let logins = JobLogins::of(assignment);
            let image = (service.image.as_str(), service.platform.as_deref());
            load_image(executor, assignment, reporter, (&service.image, policy)).await?;
            pull_image(&executor.engine, image, policy, &logins, reporter).await?;
        }
        let chosen = executor.engine.chosen_network(&assignment.preparation.container);
        let name = chosen.or(network.as_ref().map(|network| network.name.as_str()));
        let mut services = Services::start(&executor.engine, assignment, name, reporter).await?;
        let hosts = services.hosts();
        // The names are written while the services start.
        let (named, ready) = tokio::join!(
            executor.engine.add_hosts(&workspace.container, &hosts),
            services.wait_until_ready(reporter)
        );
        named.and(ready)?;
        Ok(Environment { services: Some(services), caches, _network: network })
    }

    /// Returns the standby container, or a new one in the slot's network or in one of its own.
    async fn container(&mut self, job_network: Option<&JobNetwork>) -> Result<Container, FailureReason> {
        if let Some(standby) = self.creation {
            let created = standby.wait().await;
            *self.creation = None;
            // If that failed, a new container is created, whose failure is reported for this job.
            if let Ok(container) = created {
                return Ok(container);
            }
        }
        let preparation = &self.assignment.preparation;
        let image = self.pull(preparation).await?;
        // A network that is still being created would take longer than one of the container's own.
        if let Some(Some(holder)) = self.slot.network.as_ref().and_then(|network| network.peek()) {
            match self.create(preparation, &image, Some(holder.network())).await {
                Ok(mut container) => {
                    container.holder = Some(holder.clone());
                    return Ok(container);
                }
                Err(reason) => {
                    tracing::info!(reason = %reason.message, "cannot join the slot's network; using a new one");
                    self.executor.pool.discard_network(self.slot);
                }
            }
        }
        self.create(preparation, &image, job_network.map(|network| network.name.clone())).await
    }

    /// Ensures that the image is present, and logs the progress of its pull. Returns its configuration.
    async fn pull(&self, preparation: &Preparation) -> Result<ImageConfig, FailureReason> {
        let platform = preparation.image_options.platform.as_deref();
        let logins = JobLogins::of(self.assignment);
        let policy = self.executor.engine.pull_policy(preparation.pull_policy);
        load_image(self.executor, self.assignment, self.reporter, (&preparation.image, policy)).await?;
        pull_image(&self.executor.engine, (&preparation.image, platform), policy, &logins, self.reporter)
            .await
    }

    async fn create(
        &mut self,
        preparation: &Preparation,
        image: &ImageConfig,
        network: Option<String>,
    ) -> Result<Container, FailureReason> {
        let (engine, preparation, image) = (self.executor.engine.clone(), preparation.clone(), image.clone());
        let creation = self.creation.insert(ContainerCreation::start(move |canceled| async move {
            engine.create_container(&preparation, &image, network.as_deref(), &canceled).await
        }));
        let created = creation.wait().await;
        *self.creation = None;
        created
    }
}
