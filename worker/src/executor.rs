//! JobExecutor: runs one attempt from its assignment to its reported end.

use crate::{
    admission::{Entry, Reservation},
    artifact::ArtifactMover,
    caches::{self, Fetched},
    client::ApiClient,
    dispatch::{Dispatcher, Event, Response},
    engine::{Container, DockerManager, JobNetwork, WORKSPACE, Workspace},
    limits::DiskWatch,
    mask::Mask,
    orders::Orders,
    parking::{Parking, ParkingLot, Place},
    pump::Pump,
    report::{Ending, Reporter},
    running::Running,
    services::Services,
    test_reports,
};
use std::{sync::Arc, time::Duration};
use tidemill_core::{
    api::AttemptEnd,
    assignment::{Artifacts, ArtifactsWhen, Assignment, Preparation},
    discovery::{Discovery, DiscoveryReport},
    failure::{FailureKind, FailureReason},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// How much of the time that preparation takes does not count for the job's `timeout`.
const FREE_PREPARATION: Duration = Duration::from_secs(60);
/// How long the reporter may take to take what a container printed last.
const MAX_DRAIN_TIME: Duration = Duration::from_secs(60);

/// Runs attempts for one worker.
#[derive(Debug, Clone)]
pub struct JobExecutor {
    /// The server.
    pub api: ApiClient,
    /// The engine.
    pub engine: Arc<DockerManager>,
    /// Where containers wait, and networks are kept.
    pub lot: Arc<ParkingLot>,
    /// What jobs hand on.
    pub artifacts: ArtifactMover,
    /// Whether no other worker would take a job that this one gives back.
    pub alone: bool,
}

impl JobExecutor {
    /// Runs `assignment`, in a parked container when one fits; `started` is called once its script runs. The end is
    /// reported (or the lease lost) when this returns; its container is then removed in the background.
    pub async fn run(
        &self,
        assignment: Assignment,
        entry: Admitted,
        shutdown: CancellationToken,
        started: impl FnOnce() + Send,
    ) -> Ending {
        let (sender, mut events) = mpsc::unbounded_channel();
        let job_id = assignment.preparation.job_id;
        let (mask, unmaskable) = match mask(&assignment) {
            Ok(mask) => (mask, None),
            Err(reason) => (Mask::default(), Some(reason)),
        };
        let (reporter, reporting) = Reporter::start(
            self.api.clone(),
            job_id,
            assignment.lease.clone(),
            (mask, self.engine.limits()),
            sender.clone(),
        );
        if unmaskable.is_some() {
            // Nothing of the job may run: whatever it printed would be shown.
            end_early(&reporter, unmaskable).await;
            return reporting.await.unwrap_or(Ending::LeaseLost);
        }
        // The room is held until the script is over.
        let (_reservation, stopped) = match entry.wait(&reporter, &mut events, &shutdown).await {
            Ok(reservation) => (Some(reservation), None),
            Err(stopped) => (None, Some(stopped)),
        };
        if let Some(stopped) = stopped {
            end_early(&reporter, stopped).await;
            return reporting.await.unwrap_or(Ending::LeaseLost);
        }
        if let Some(discovery) = &assignment.extras.discovery {
            started();
            let looking = self.discover(&assignment, discovery, &reporter);
            tokio::select! {
                end = looking => reporter.end(end).await,
                stopped = stopped_early(&mut events, &shutdown) => end_early(&reporter, stopped).await,
                reason = prepared_too_long(assignment.timeout_s) => end_early(&reporter, Some(reason)).await,
            }
            return reporting.await.unwrap_or(Ending::LeaseLost);
        }
        reporter.phase("preparing");
        let mut place = self.lot.take(&assignment.preparation);
        let mut parked = place.parked.take();
        if !assignment.extras.services.is_empty() {
            // Its container gets names of its own, which no later job may find: it shares its network with none.
            place.network = None;
            if let Some(parking) = parked.take() {
                self.engine.dispose_once_made(parking);
            }
        }
        let begun = Instant::now();
        let prepared = tokio::select! {
            prepared = self.prepare(&assignment, &place, &mut parked, &reporter) => prepared.map_err(Some),
            stopped = stopped_early(&mut events, &shutdown) => Err(stopped),
            reason = prepared_too_long(assignment.timeout_s) => Err(Some(reason)),
        };
        // What preparation took beyond what is free for it counts for the job's time.
        let begun = Instant::now() - begun.elapsed().saturating_sub(FREE_PREPARATION);
        match prepared {
            Ok((container, around)) => {
                self.lot.enter(&place);
                started();
                let (container, is_over) = self
                    .run_in((container, &around, begun), &assignment, &reporter, sender, events, shutdown)
                    .await;
                drop(around);
                self.give_back(&place, container, is_over).await;
            }
            Err(stopped) => {
                if let Some(parking) = parked {
                    self.engine.dispose_once_made(parking);
                }
                self.lot.leave(&place, None);
                let stopped = match stopped {
                    Some(reason) => Some(self.excused(reason).await),
                    None => None,
                };
                end_early(&reporter, stopped).await;
            }
        }
        reporting.await.unwrap_or(Ending::LeaseLost)
    }

    /// Looks at a commit and tells the server what it holds, instead of running a script.
    async fn discover(&self, assignment: &Assignment, wanted: &Discovery, reporter: &Reporter) -> AttemptEnd {
        let failed = |kind, words: String| AttemptEnd {
            failure: Some(FailureReason::new(kind, words)),
            exit_code: None,
        };
        reporter.phase("looking at the commit");
        let source = &assignment.preparation.source;
        let found = match self.engine.sources.discover(source, wanted).await {
            Ok(found) => found,
            Err(error) => {
                let words = format!("the commit could not be looked at: {error}");
                reporter.log(format!("{words}\n").as_bytes()).await;
                return failed(error.failure_kind(), words);
            }
        };
        let mistaken = !found.mistakes.is_empty();
        for mistakes in &found.mistakes {
            reporter.log(mistakes.as_bytes()).await;
        }
        let report = DiscoveryReport {
            job_id: assignment.preparation.job_id,
            lease: assignment.lease.token,
            commit: found.commit,
            files: found.files,
            changed: found.changed,
            paths: found.paths,
        };
        match self.api.discovered(&report).await {
            Ok(reply) => {
                for line in &reply.lines {
                    reporter.log(format!("{line}\n").as_bytes()).await;
                }
                if reply.failed || mistaken {
                    let words = "a pipeline file has mistakes; they are in the log";
                    return failed(FailureKind::ScriptFailed, words.to_owned());
                }
                AttemptEnd { failure: None, exit_code: None }
            }
            Err(error) => {
                let words = format!("the server could not be told what the commit holds: {error}");
                reporter.log(format!("{words}\n").as_bytes()).await;
                failed(FailureKind::Internal, words)
            }
        }
    }

    /// Gives `assignment` back with `reason`, `after` a while in which it is nobody else's.
    pub async fn hand_back(
        &self,
        assignment: &Assignment,
        reason: FailureReason,
        after: Duration,
        shutdown: &CancellationToken,
    ) -> Ending {
        let (sender, mut events) = mpsc::unbounded_channel();
        let job_id = assignment.preparation.job_id;
        // Without a mask the reason alone is told, which is the worker's own.
        let hidden = (mask(assignment).unwrap_or_default(), self.engine.limits());
        let (reporter, reporting) =
            Reporter::start(self.api.clone(), job_id, assignment.lease.clone(), hidden, sender);
        let mut end = Some(reason);
        if !after.is_zero() {
            reporter.phase("waiting for another worker");
            tokio::select! {
                () = tokio::time::sleep(after) => {}
                stopped = stopped_early(&mut events, shutdown) => end = stopped,
            }
        }
        end_early(&reporter, end).await;
        reporting.await.unwrap_or(Ending::LeaseLost)
    }

    /// Why the script did not begin, as the server is to know it. An engine that is not there at all is this worker's own
    /// trouble and costs the job nothing: another worker may have it, or this one later.
    async fn excused(&self, reason: FailureReason) -> FailureReason {
        if reason.kind != FailureKind::EngineFailed {
            return reason;
        }
        self.engine.doubt();
        if self.alone || self.engine.answers().await {
            return reason;
        }
        let words = format!(
            "the worker's container engine does not answer, so it gave the job back: {}",
            reason.message
        );
        FailureReason::new(FailureKind::GivenBack, words)
    }

    /// The container for `assignment`, with all laid in. What is still in `parked` afterwards was not used.
    async fn prepare(
        &self,
        assignment: &Assignment,
        place: &Place,
        parked: &mut Option<Parking>,
        reporter: &Reporter,
    ) -> Result<(Container, Around), FailureReason> {
        let network =
            if assignment.extras.services.is_empty() { None } else { self.engine.job_network().await? };
        let container = self.container(assignment, place, network.as_ref(), parked, reporter).await?;
        // Should this be given up meanwhile, the container is removed as it is dropped.
        match self.surround(assignment, &container.workspace, network, reporter).await {
            Ok(around) => Ok((container, around)),
            Err(reason) => {
                self.engine.dispose_later(container);
                Err(reason)
            }
        }
    }

    /// Lays in what the job needs, and starts its services.
    async fn surround(
        &self,
        assignment: &Assignment,
        workspace: &Workspace,
        network: Option<JobNetwork>,
        reporter: &Reporter,
    ) -> Result<Around, FailureReason> {
        let caches = caches::fetch(&self.artifacts, workspace, assignment, reporter).await;
        for needed in &assignment.needs_artifacts {
            self.artifacts.lay_in(workspace, needed).await?;
        }
        if assignment.artifacts.is_some() || !caches.is_empty() {
            // The engine takes the workspace away as the container ends; once open it can be read on.
            self.engine.on_this_machine(workspace).await;
        }
        let wanted = &assignment.extras.services;
        if wanted.is_empty() {
            return Ok(Around { services: None, caches, _network: None });
        }
        let policy = assignment.preparation.pull_policy;
        let name = network.as_ref().map(|network| network.name.as_str());
        let services = Services::start(&self.engine, wanted, name, policy, reporter).await?;
        self.engine.add_hosts(&workspace.container, &services.hosts()).await?;
        Ok(Around { services: Some(services), caches, _network: network })
    }

    async fn container(
        &self,
        assignment: &Assignment,
        place: &Place,
        job_network: Option<&JobNetwork>,
        parked: &mut Option<Parking>,
        reporter: &Reporter,
    ) -> Result<Container, FailureReason> {
        if let Some(parking) = parked {
            let made = parking.made().await;
            *parked = None;
            // One that could not be parked is made anew, so that its failure is told in this job's own words.
            if let Ok(container) = made {
                return Ok(container);
            }
        }
        let preparation = &assignment.preparation;
        let (lines, mut pulled) = mpsc::unbounded_channel::<String>();
        let pull = async {
            let lines = lines;
            self.engine
                .ensure_image(&preparation.image, preparation.pull_policy, |line| drop(lines.send(line)))
                .await
        };
        let show = async {
            while let Some(line) = pulled.recv().await {
                reporter.phase("pulling image");
                reporter.log(line.as_bytes()).await;
            }
        };
        let (image, ()) = tokio::join!(pull, show);
        image?;
        // One that is still being made would take longer than a network of the job's own.
        if let Some(Some(holder)) = place.network.as_ref().and_then(|network| network.peek()) {
            match self.make(preparation, Some(holder.network()), parked).await {
                Ok(mut container) => {
                    container.holder = Some(holder.clone());
                    return Ok(container);
                }
                Err(reason) => {
                    tracing::info!(reason = %reason.message, "the seat's network is gone: the job brings its own");
                    self.lot.give_up_network(place);
                }
            }
        }
        self.make(preparation, job_network.map(|network| network.name.clone()), parked).await
    }

    /// A new container.
    async fn make(
        &self,
        preparation: &Preparation,
        network: Option<String>,
        parked: &mut Option<Parking>,
    ) -> Result<Container, FailureReason> {
        let (engine, preparation) = (self.engine.clone(), preparation.clone());
        let making = parked.insert(Parking::start(move |canceled| async move {
            engine.park(&preparation, network.as_deref(), &canceled).await
        }));
        let made = making.made().await;
        *parked = None;
        made
    }

    /// Runs the script. The container comes back, and whether it is known to be over, with all that ran in it.
    async fn run_in(
        &self,
        (mut container, around, begun): (Container, &Around, Instant),
        assignment: &Assignment,
        reporter: &Reporter,
        sender: mpsc::UnboundedSender<Event>,
        mut events: mpsc::UnboundedReceiver<Event>,
        shutdown: CancellationToken,
    ) -> (Container, bool) {
        reporter.phase("running");
        let nonce = uuid::Uuid::now_v7().simple().to_string();
        let _watch = DiskWatch::start(&self.engine, &container.workspace, sender.clone());
        let mut running = Running::start(&mut container, write_orders(assignment, &nonce), |flushed| {
            Pump::new(&nonce, reporter.clone(), flushed, assignment)
        });
        let ended = running.ended.clone();
        let ending = running.end(self.engine.clone(), sender);
        tokio::spawn(ending.in_current_span());
        let mut dispatcher = Dispatcher::new(Duration::from_secs(assignment.timeout_s));
        let mut ticks = tokio::time::interval(Duration::from_millis(250));
        let mut stopping = false;
        let end = 'run: loop {
            let event = tokio::select! {
                Some(event) = events.recv() => event,
                () = shutdown.cancelled(), if !stopping => {
                    stopping = true;
                    Event::Shutdown
                }
                _ = ticks.tick() => Event::Tick,
            };
            for response in dispatcher.handle(begun.elapsed(), event) {
                match response {
                    Response::Terminate => self.signal(&container.id, "TERM"),
                    Response::Kill => self.signal(&container.id, "KILL"),
                    Response::Finish(end) => break 'run Some(end),
                    Response::Abandon => break 'run None,
                }
            }
        };
        if let Some(mut end) = end {
            if is_script_over(&end) && !container.has_sources() {
                let words = "the worker's sources of the job were removed while it ran, so that its end says nothing; leave the \
                             worker's data directory alone";
                end.failure = Some(FailureReason::new(FailureKind::WorkerFailed, words));
            }
            if is_script_over(&end) {
                let succeeded = end.failure.is_none();
                let end_code = end.exit_code.unwrap_or_default();
                let (workspace, kept) = (&container.workspace, &around.caches);
                let keep = async {
                    // All of it is there: nothing that could print more is left.
                    let drained = tokio::time::timeout(MAX_DRAIN_TIME, running.drained).await;
                    let pump = drained.ok().and_then(Result::ok);
                    let coverage = pump.and_then(|pump| pump.finish(end_code));
                    caches::keep(&self.artifacts, workspace, assignment, kept, succeeded, reporter).await;
                    test_reports::keep(&self.artifacts, workspace, assignment, reporter, coverage).await;
                };
                tokio::select! {
                    () = keep => {}
                    () = lease_lost(&mut events) => return (container, ended.is_cancelled()),
                }
            }
            if let Some(declared) = assignment.artifacts.as_ref().filter(|declared| is_wanted(declared, &end))
            {
                reporter.phase("collecting artifacts");
                let job_id = assignment.preparation.job_id;
                let token = assignment.lease.token;
                let collected = tokio::select! {
                    collected = self.artifacts.collect(&container.workspace, declared, (job_id, token), reporter.mask()) => collected,
                    // Another worker may have the job: nobody wants what this one has.
                    () = lease_lost(&mut events) => return (container, ended.is_cancelled()),
                };
                match collected {
                    Ok(warnings) => reporter.log(warnings.as_bytes()).await,
                    Err(reason) => {
                        reporter.log(format!("{}\n", reason.message).as_bytes()).await;
                        end.failure.get_or_insert(reason);
                    }
                }
            }
            if let (Some(services), Some(_)) = (&around.services, &end.failure) {
                services.show(reporter).await;
            }
            reporter.end(end).await;
        }
        (container, ended.is_cancelled())
    }

    /// Gives the seat back; `is_over` says that nothing runs any more in the container, so that its network can be used on.
    async fn give_back(&self, place: &Place, container: Container, is_over: bool) {
        let restored = match &container.holder {
            Some(holder) => is_over && holder.restore().await,
            None => true,
        };
        if !restored {
            self.lot.give_up_network(place);
        }
        self.lot.leave(place, Some(container));
    }

    /// Signals in the background, so that an engine that hangs cannot hold the job.
    fn signal(&self, container: &str, signal: &'static str) {
        let (engine, container) = (self.engine.clone(), container.to_owned());
        tokio::spawn(async move {
            if let Err(error) = engine.signal(&container, signal).await {
                tracing::debug!(%error, signal, "the container took no signal");
            }
        });
    }
}

/// How a job came by its room, or waits for it.
#[derive(Debug)]
pub struct Admitted {
    /// What the worker's admission said.
    pub entry: Entry,
    /// How long it may wait before it is given back for another worker; `None`: as long as it takes.
    pub patience: Option<Duration>,
}

impl Admitted {
    /// The room; or why the job is over without it, `None` when its lease is lost.
    async fn wait(
        self,
        reporter: &Reporter,
        events: &mut mpsc::UnboundedReceiver<Event>,
        shutdown: &CancellationToken,
    ) -> Result<Reservation, Option<FailureReason>> {
        let given_back = |words: &str| Some(FailureReason::new(FailureKind::GivenBack, words));
        let waiting = match self.entry {
            Entry::Granted(reservation) => return Ok(reservation),
            Entry::Never(words) => {
                return Err(Some(FailureReason::new(FailureKind::Undeliverable, words)));
            }
            Entry::Waits(waiting) => waiting,
        };
        reporter.phase("waiting for room");
        let room = async {
            match self.patience {
                Some(patience) => tokio::time::timeout(patience, waiting.admitted()).await.ok().flatten(),
                None => waiting.admitted().await,
            }
        };
        tokio::select! {
            room = room => {
                let words = "the worker has no room for what the job asks and gave it back for another one";
                room.ok_or_else(|| given_back(words))
            }
            stopped = stopped_early(events, shutdown) => Err(stopped),
        }
    }
}

/// Ends an attempt that has no container; `None`: its lease is lost, and nobody is told.
async fn end_early(reporter: &Reporter, stopped: Option<FailureReason>) {
    if let Some(reason) = stopped {
        reporter.log(format!("{}\n", reason.message).as_bytes()).await;
        reporter.end(AttemptEnd { failure: Some(reason), exit_code: None }).await;
    }
}

/// Resolves once the job took too long before its script could begin.
async fn prepared_too_long(timeout_s: u64) -> FailureReason {
    let limit = Duration::from_secs(timeout_s).saturating_add(FREE_PREPARATION);
    tokio::time::sleep(limit).await;
    let words = format!(
        "the job was still being prepared after {} s, its timeout of {} s and a minute: its sources, its image or what it \
         needs did not come; see that their servers answer, or raise `timeout`",
        limit.as_secs(),
        timeout_s
    );
    FailureReason::new(FailureKind::PreparationTimedOut, words)
}

/// Resolves once the lease is lost.
async fn lease_lost(events: &mut mpsc::UnboundedReceiver<Event>) {
    loop {
        match events.recv().await {
            Some(Event::LeaseLost) => return,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

/// The reason to stop before the script began; `None` when the lease is lost.
async fn stopped_early(
    events: &mut mpsc::UnboundedReceiver<Event>,
    shutdown: &CancellationToken,
) -> Option<FailureReason> {
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::CancelSeen) => {
                    return Some(FailureReason::new(FailureKind::Canceled, "the job was canceled before its script ran"));
                }
                Some(Event::LimitExceeded(reason)) => return Some(reason),
                Some(Event::LeaseLost) | None => return None,
                Some(_) => {}
            },
            () = shutdown.cancelled() => {
                let words = "the worker is stopping and gave the job back";
                return Some(FailureReason::new(FailureKind::GivenBack, words));
            }
        }
    }
}

/// What of a job's output nobody may see.
fn mask(assignment: &Assignment) -> Result<Mask, FailureReason> {
    let mask = Mask::new(assignment.extras.secrets.iter().map(|secret| secret.value.as_str()));
    mask.map_err(|error| {
        let words = format!("the job did not begin, as its secrets could not be masked: {error}");
        FailureReason::new(FailureKind::MaskingFailed, words)
    })
}

fn write_orders(assignment: &Assignment, nonce: &str) -> String {
    let mut variables = assignment.variables.clone();
    for (name, value) in [
        // The sources belong to the worker's user, not to the container's: git must not mind.
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "safe.directory"),
        ("GIT_CONFIG_VALUE_0", "*"),
    ] {
        variables.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    let directory = match assignment.preparation.working_dir.as_deref() {
        None => WORKSPACE.to_owned(),
        Some(path) if path.starts_with('/') => path.to_owned(),
        Some(path) => format!("{WORKSPACE}/{path}"),
    };
    let extras = &assignment.extras;
    let orders = Orders {
        nonce,
        script: &assignment.script,
        after_script: &extras.after_script,
        variables: &variables,
        secrets: &extras.secrets,
        directory: &directory,
        workspace: WORKSPACE,
    };
    orders.text()
}

/// What a job has around its script while it runs.
struct Around {
    services: Option<Services>,
    caches: Vec<Fetched>,
    /// Removed once nothing is on it.
    _network: Option<JobNetwork>,
}

/// Whether the script came to its own end, well or not.
fn is_script_over(end: &AttemptEnd) -> bool {
    matches!(end.failure.as_ref().map(|reason| reason.kind), None | Some(FailureKind::ScriptFailed))
}

fn is_wanted(declared: &Artifacts, end: &AttemptEnd) -> bool {
    let reached = is_script_over(end);
    let succeeded = end.failure.is_none();
    if declared.paths.is_empty() {
        return false;
    }
    match declared.when {
        ArtifactsWhen::OnSuccess => succeeded,
        ArtifactsWhen::OnFailure => reached && !succeeded,
        ArtifactsWhen::Always => reached,
    }
}

#[cfg(test)]
mod tests {
    use super::{FREE_PREPARATION, prepared_too_long};
    use std::time::Duration;
    use tidemill_core::failure::FailureKind;

    #[tokio::test(start_paused = true)]
    async fn preparation_ends_with_the_jobs_timeout_and_a_minute() {
        let begun = tokio::time::Instant::now();
        let reason = prepared_too_long(30).await;
        assert_eq!(reason.kind, FailureKind::PreparationTimedOut);
        let took = begun.elapsed();
        assert!(
            (Duration::from_secs(30) + FREE_PREPARATION..Duration::from_secs(100)).contains(&took),
            "{took:?}"
        );
    }
}
