//! First phase: a container for the job, with its sources, artifacts, caches and services.

use super::{
    attempt::{AttemptKey, EarlyEnd, PREPARATION_ALLOWANCE, preparation_timeout},
    caches::{self, RestoredCache},
    job_executor::JobExecutor,
    reporter::Reporter,
    services::Services,
};
use crate::engine::{
    Container, JobNetwork, WorkspaceMount,
    parking::{ContainerCreation, Place},
};
use tidemill_core::execution::{
    assignment::{Assignment, Preparation},
    failure::{FailureKind, FailureReason},
};
use tokio::{sync::mpsc, time::Instant};

/// A container that is ready to run the job's script.
#[derive(Debug)]
pub struct Prepared {
    /// The seat that the job occupies.
    pub place: Place,
    /// The container, which waits for its script.
    pub container: Container,
    /// What runs or was restored beside it.
    pub environment: Environment,
    /// When the job's `timeout` began to count.
    pub begun: Instant,
}

/// What a job has besides its container while it runs.
#[derive(Debug)]
pub struct Environment {
    /// Its services, if it has any.
    pub services: Option<Services>,
    /// Its caches as they were before the script.
    pub caches: Vec<RestoredCache>,
    /// Removed once no container is on it.
    _network: Option<JobNetwork>,
}

/// Prepares the attempt, in a parked container when one fits.
pub async fn prepare(executor: &JobExecutor, attempt: &mut AttemptKey) -> Result<Prepared, EarlyEnd> {
    let AttemptKey { assignment, reporter, signals, .. } = attempt;
    reporter.phase("preparing");
    let mut place = executor.lot.take(&assignment.preparation);
    let mut parked = place.parked.take();
    if !assignment.extras.services.is_empty() {
        // Its container gets host names of its own, which no later job may see: its network is not shared.
        place.network = None;
        if let Some(parking) = parked.take() {
            executor.engine.dispose_once_made(parking);
        }
    }
    let begun = Instant::now();
    let preparing = Preparing { executor, assignment, reporter, place: &place, parked: &mut parked };
    let prepared = tokio::select! {
        prepared = preparing.run() => prepared.map_err(EarlyEnd::Failed),
        stopped = signals.stopped() => Err(stopped),
        timeout = preparation_timeout(assignment.timeout_s) => Err(timeout),
    };
    // Preparation beyond its free time counts for the job's timeout.
    let begun = Instant::now() - begun.elapsed().saturating_sub(PREPARATION_ALLOWANCE);
    match prepared {
        Ok((container, environment)) => {
            executor.lot.enter(&place);
            Ok(Prepared { place, container, environment, begun })
        }
        Err(end) => {
            if let Some(parking) = parked {
                executor.engine.dispose_once_made(parking);
            }
            executor.lot.leave(&place, None);
            Err(match end {
                EarlyEnd::Failed(reason) => EarlyEnd::Failed(blame(executor, reason).await),
                EarlyEnd::LeaseLost => EarlyEnd::LeaseLost,
            })
        }
    }
}

/// The reason to report for a failed preparation. An engine that does not answer is a failure of this worker and not of the
/// job: the job is given back, for another worker or for later.
async fn blame(executor: &JobExecutor, reason: FailureReason) -> FailureReason {
    if reason.kind != FailureKind::EngineFailed {
        return reason;
    }
    executor.engine.doubt();
    if executor.alone || executor.engine.answers().await {
        return reason;
    }
    let message =
        format!("the worker's container engine does not answer, so it gave the job back: {}", reason.message);
    FailureReason::new(FailureKind::GivenBack, message)
}

struct Preparing<'a> {
    executor: &'a JobExecutor,
    assignment: &'a Assignment,
    reporter: &'a Reporter,
    place: &'a Place,
    /// A container that is parked or being made. If it is still here afterwards, it was not used.
    parked: &'a mut Option<ContainerCreation>,
}

impl Preparing<'_> {
    async fn run(mut self) -> Result<(Container, Environment), FailureReason> {
        let engine = &self.executor.engine;
        let has_services = !self.assignment.extras.services.is_empty();
        let network = if has_services { engine.job_network().await? } else { None };
        let container = self.container(network.as_ref()).await?;
        // If this future is dropped meanwhile, so is the container, which removes it.
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
        for artifact in &assignment.needs_artifacts {
            executor.artifacts.restore(workspace, artifact).await?;
        }
        if assignment.artifacts.is_some() || !caches.is_empty() {
            // The engine unmounts the workspace as the container ends; once it is open it can still be read.
            executor.engine.on_this_machine(workspace).await;
        }
        let services = &assignment.extras.services;
        if services.is_empty() {
            return Ok(Environment { services: None, caches, _network: None });
        }
        let policy = assignment.preparation.pull_policy;
        let name = network.as_ref().map(|network| network.name.as_str());
        let services = Services::start(&executor.engine, services, name, policy, reporter).await?;
        executor.engine.add_hosts(&workspace.container, &services.hosts()).await?;
        Ok(Environment { services: Some(services), caches, _network: network })
    }

    /// The parked container, one in the seat's network, or one of its own.
    async fn container(&mut self, job_network: Option<&JobNetwork>) -> Result<Container, FailureReason> {
        if let Some(parking) = self.parked {
            let made = parking.made().await;
            *self.parked = None;
            // If parking failed, a new one is made: its failure is then reported for this job.
            if let Ok(container) = made {
                return Ok(container);
            }
        }
        let preparation = &self.assignment.preparation;
        self.pull(preparation).await?;
        // A network that is still being made would take longer than one of the container's own.
        if let Some(Some(holder)) = self.place.network.as_ref().and_then(|network| network.peek()) {
            match self.make(preparation, Some(holder.network())).await {
                Ok(mut container) => {
                    container.holder = Some(holder.clone());
                    return Ok(container);
                }
                Err(reason) => {
                    tracing::info!(reason = %reason.message, "cannot join the kept network; using a new one");
                    self.executor.lot.give_up_network(self.place);
                }
            }
        }
        self.make(preparation, job_network.map(|network| network.name.clone())).await
    }

    /// Has the image there, with the progress of its pull in the log.
    async fn pull(&self, preparation: &Preparation) -> Result<(), FailureReason> {
        let (lines, mut pulled) = mpsc::unbounded_channel::<String>();
        let pull = async {
            let lines = lines;
            let progress = |line| drop(lines.send(line));
            self.executor.engine.ensure_image(&preparation.image, preparation.pull_policy, progress).await
        };
        let show = async {
            while let Some(line) = pulled.recv().await {
                self.reporter.phase("pulling image");
                self.reporter.log(line.as_bytes()).await;
            }
        };
        tokio::join!(pull, show).0
    }

    async fn make(
        &mut self,
        preparation: &Preparation,
        network: Option<String>,
    ) -> Result<Container, FailureReason> {
        let (engine, preparation) = (self.executor.engine.clone(), preparation.clone());
        let making = self.parked.insert(ContainerCreation::start(move |canceled| async move {
            engine.park(&preparation, network.as_deref(), &canceled).await
        }));
        let made = making.made().await;
        *self.parked = None;
        made
    }
}
