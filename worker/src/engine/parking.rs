//! Containers that are made ahead of time for jobs that will likely come, and the seats in which jobs run.
//!
//! A worker has one seat for each slot. A network namespace takes the engine longer to make than all the rest of a
//! container. The first container of an execution in a seat brings one of its own; while its job runs, a holder (a
//! container in which no job ever runs) is made, whose network the seat's later containers of that execution join, each
//! once the one before is over with all its processes. Where it is known that a seat will run several jobs, its holder is
//! made before the first container, which joins it too. A seat runs one job at a time, so that jobs never share a
//! network while they run, and executions never share one at all.

use crate::engine::{Container, DockerManager, SharedHolder, shape};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tidemill_core::execution::{
    assignment::{Preparation, PullPolicy},
    failure::{FailureKind, FailureReason},
};
use tidemill_core::ids::ExecutionId;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Containers are not made ahead while a job waits for its own, which would then take longer; a job that waits for
/// more than this waits for a pull, which nothing else slows.
const MAX_PREPARE_DELAY: Duration = Duration::from_secs(2);

/// A container that is being made, or is parked already.
#[derive(Debug)]
pub struct ContainerCreation {
    making: JoinHandle<Result<Container, FailureReason>>,
    canceled: CancellationToken,
}

impl ContainerCreation {
    /// Has `make` run by a task of its own, so that its container is not lost when nobody waits for it any more. It is
    /// told by the token when its container is not needed.
    pub fn start<F>(make: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = Result<Container, FailureReason>> + Send + 'static,
    {
        let canceled = CancellationToken::new();
        Self { making: tokio::spawn(make(canceled.clone())), canceled }
    }

    /// Says that the container is not needed; it still has to be waited for, as it may be there.
    pub fn cancel(&self) {
        self.canceled.cancel();
    }

    /// The container, once it is made.
    pub async fn made(&mut self) -> Result<Container, FailureReason> {
        let made = (&mut self.making).await;
        made.unwrap_or_else(|error| Err(FailureReason::new(FailureKind::Internal, error.to_string())))
    }
}

/// The seats of one worker, with what is parked in them.
#[derive(Debug)]
pub struct ContainerPool {
    engine: Arc<DockerManager>,
    state: Mutex<PoolState>,
}

#[derive(Debug)]
struct PoolState {
    seats: Vec<PoolSlot>,
    /// What is to be prepared once no job waits for its own container.
    postponed: Option<Vec<Preparation>>,
}

#[derive(Debug, Default)]
struct PoolSlot {
    /// Whether a job has it.
    taken: bool,
    /// The execution whose job had it last, or has it.
    execution: Option<ExecutionId>,
    /// Since when its job waits for a container.
    waiting: Option<Instant>,
    network: Option<SlotNetwork>,
    parked: Option<StandbyContainer>,
}

/// The network of a seat.
#[derive(Debug)]
struct SlotNetwork {
    /// Whose jobs join it; `None`: no job joined it yet, and it belongs to the execution of the first one that does.
    execution: Option<ExecutionId>,
    holding: SharedHolder,
}

impl SlotNetwork {
    /// Whether it could not be created.
    fn failed(&self) -> bool {
        matches!(self.holding.peek(), Some(None))
    }

    fn serves(&self, execution: ExecutionId) -> bool {
        self.execution.is_none_or(|owner| owner == execution)
    }
}

#[derive(Debug)]
struct StandbyContainer {
    shape: String,
    /// Whether it is in the seat's network.
    joins: bool,
    parking: ContainerCreation,
}

impl PoolSlot {
    /// Whether jobs of `execution` can join the seat's network, if it has one.
    fn is_of(&self, execution: ExecutionId) -> Option<bool> {
        self.network.as_ref().filter(|network| !network.failed()).map(|network| network.serves(execution))
    }

    /// Whether a job of `execution` with this shape can run in what is parked, if something is.
    fn fits(&self, shape: &str, execution: ExecutionId) -> Option<bool> {
        let of_execution = self.is_of(execution) == Some(true);
        self.parked.as_ref().map(|parked| parked.shape == shape && (!parked.joins || of_execution))
    }
}

/// A seat, taken for one job.
#[derive(Debug)]
pub struct Place {
    seat: usize,
    /// A container that fits, if one is parked or being made.
    pub parked: Option<ContainerCreation>,
    /// What holds the network that the job's container is to join.
    pub network: Option<SharedHolder>,
}

impl ContainerPool {
    /// An empty lot with this many seats.
    pub fn new(engine: Arc<DockerManager>, seats: usize) -> Self {
        let seats = (0..seats).map(|_| PoolSlot::default()).collect();
        Self { engine, state: Mutex::new(PoolState { seats, postponed: None }) }
    }

    /// Parks containers for the first of `upcoming`, and lets go of those that none of them can use: now, or once no
    /// job waits for its own.
    pub fn prepare(&self, upcoming: &[Preparation]) {
        let mut state = self.lock();
        self.hold_networks(&mut state.seats, upcoming);
        if state
            .seats
            .iter()
            .any(|seat| seat.waiting.is_some_and(|since| since.elapsed() < MAX_PREPARE_DELAY))
        {
            state.postponed = Some(upcoming.to_vec());
        } else {
            state.postponed = None;
            self.park(&mut state.seats, upcoming);
        }
    }

    /// Parks containers for the `first` jobs of an execution whose ID is not known yet, and which has `jobs` jobs in all.
    pub fn prepare_execution(&self, first: &[Preparation], jobs: usize) {
        let mut state = self.lock();
        if pays_ahead(jobs, state.seats.len()) {
            for (seat, preparation) in state.seats.iter_mut().zip(first) {
                let hold = || self.engine.hold_network_later(&preparation.image);
                seat.network.get_or_insert_with(|| SlotNetwork { execution: None, holding: hold() });
            }
        }
        self.park(&mut state.seats, first);
    }

    /// Makes networks that are kept for seats that had a job of an execution and will have another: from then on they pay, even
    /// when a job has to wait a little longer for its container meanwhile.
    fn hold_networks(&self, seats: &mut [PoolSlot], upcoming: &[Preparation]) {
        for preparation in upcoming.iter().take(seats.len()) {
            let execution = preparation.execution_id;
            let lacks = |seat: &&mut PoolSlot| {
                seat.execution == Some(execution) && seat.is_of(execution) != Some(true)
            };
            let Some(seat) = seats.iter_mut().find(lacks) else { return };
            let holding = self.engine.hold_network_later(&preparation.image);
            seat.network = Some(SlotNetwork { execution: Some(execution), holding });
        }
    }

    fn park(&self, seats: &mut [PoolSlot], upcoming: &[Preparation]) {
        let mut missing: Vec<(String, &Preparation)> =
            upcoming.iter().take(seats.len()).map(|preparation| (shape(preparation), preparation)).collect();
        for seat in seats.iter_mut() {
            let Some(parked) = &seat.parked else { continue };
            match missing.iter().position(|(shape, _)| *shape == parked.shape) {
                Some(at) => drop(missing.remove(at)),
                None => self.let_go(seat.parked.take()),
            }
        }
        // A free seat is where the next job goes.
        let (free, busy): (Vec<_>, Vec<_>) = seats.iter_mut().partition(|seat| !seat.taken);
        let empty = free.into_iter().chain(busy).filter(|seat| seat.parked.is_none());
        for (seat, (shape, preparation)) in empty.zip(missing) {
            let execution = preparation.execution_id;
            let known =
                seat.network.as_ref().filter(|network| network.serves(execution) && !network.failed());
            let network = known.map(|network| network.holding.clone());
            let joins = network.is_some();
            let (engine, preparation) = (self.engine.clone(), preparation.clone());
            let parking = ContainerCreation::start(move |canceled| async move {
                park(&engine, &preparation, network, &canceled).await
            });
            seat.parked = Some(StandbyContainer { shape, joins, parking });
        }
    }

    /// A free seat for `preparation`, if it can be one with a container that fits.
    pub fn take(&self, preparation: &Preparation) -> Place {
        let shape = shape(preparation);
        let execution = preparation.execution_id;
        let seats = &mut self.lock().seats;
        let rank = |seat: &PoolSlot| match (seat.fits(&shape, execution), seat.is_of(execution)) {
            // What is parked for others is best left alone, and so is another execution's network.
            (Some(true), Some(true) | None) => 0,
            (Some(true), Some(false)) => 1,
            (None, Some(true)) => 2,
            (None, None) => 3,
            (Some(false), Some(true) | None) => 4,
            (Some(false) | None, Some(false)) => 5,
        };
        let free = (0..seats.len()).filter(|at| !seats[*at].taken).min_by_key(|at| rank(&seats[*at]));
        // There is a seat for each slot; were there none, the job would get a container that nothing is kept of.
        let Some(at) = free else {
            return Place { seat: usize::MAX, parked: None, network: None };
        };
        let seat = &mut seats[at];
        seat.taken = true;
        seat.execution = Some(execution);
        seat.waiting = Some(Instant::now());
        let fits = seat.fits(&shape, execution) == Some(true);
        let parked = seat.parked.take();
        let parked = if fits {
            parked.map(|parked| parked.parking)
        } else {
            self.let_go(parked);
            None
        };
        seat.network.take_if(|network| network.failed() || !network.serves(execution));
        let network = seat.network.as_mut().map(|network| {
            network.execution = Some(execution);
            network.holding.clone()
        });
        Place { seat: at, parked, network }
    }

    /// Says that the job of `place` has its container.
    pub fn enter(&self, place: &Place) {
        self.stop_waiting(&mut self.lock(), place);
    }

    /// Gives the seat back with the container that the job ran in.
    pub fn leave(&self, place: &Place, container: Option<Container>) {
        let mut state = self.lock();
        self.stop_waiting(&mut state, place);
        if let Some(seat) = state.seats.get_mut(place.seat) {
            seat.taken = false;
        }
        if let Some(container) = container {
            self.engine.dispose_later(container);
        }
    }

    /// Forgets the seat's network, which cannot be joined, or in which something may still run; and what is parked in it.
    pub fn give_up_network(&self, place: &Place) {
        if let Some(seat) = self.lock().seats.get_mut(place.seat) {
            self.empty(seat);
        }
    }

    /// Lets go of what is kept in free seats: nothing came for long.
    pub fn rest(&self) {
        for seat in self.lock().seats.iter_mut().filter(|seat| !seat.taken) {
            self.empty(seat);
        }
    }

    /// Lets go of all; it is removed in the background.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.postponed = None;
        for seat in &mut state.seats {
            self.empty(seat);
        }
    }

    fn stop_waiting(&self, state: &mut PoolState, place: &Place) {
        if let Some(seat) = state.seats.get_mut(place.seat) {
            seat.waiting = None;
        }
        if state.seats.iter().all(|seat| seat.waiting.is_none())
            && let Some(upcoming) = state.postponed.take()
        {
            self.park(&mut state.seats, &upcoming);
        }
    }

    fn empty(&self, seat: &mut PoolSlot) {
        self.let_go(seat.parked.take());
        // It is removed once nothing uses it.
        seat.network = None;
    }

    fn let_go(&self, parked: Option<StandbyContainer>) {
        if let Some(StandbyContainer { parking, .. }) = parked {
            self.engine.dispose_once_made(parking);
        }
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the networks of all `seats` are created before the first containers of an execution with `jobs` jobs.
///
/// A first container that joins a network starts a little later than one that brings its own, as the holder starts before
/// it; but its seat needs one network instead of two. That pays where each seat has a second job at least.
const fn pays_ahead(jobs: usize, seats: usize) -> bool {
    jobs / 2 >= seats
}

async fn park(
    engine: &Arc<DockerManager>,
    preparation: &Preparation,
    network: Option<SharedHolder>,
    canceled: &CancellationToken,
) -> Result<Container, FailureReason> {
    // A pull is shown in the log of the job that needs it, so it is not made ahead.
    if preparation.pull_policy == PullPolicy::Always || !engine.has_image(&preparation.image).await? {
        return Err(FailureReason::new(
            FailureKind::ImageUnavailable,
            "not parked ahead: the image must be pulled",
        ));
    }
    // Without a holder, which could not be made, the container brings a network of its own.
    let holder = match network {
        Some(holding) => holding.await,
        None => None,
    };
    let network = holder.as_ref().map(|holder| holder.network());
    let mut container = engine.park(preparation, network.as_deref(), canceled).await?;
    container.holder = holder;
    Ok(container)
}

#[cfg(test)]
mod tests {
    use super::pays_ahead;

    #[test]
    fn networks_are_created_ahead_for_two_jobs_per_seat() {
        assert!(pays_ahead(8, 4) && pays_ahead(50, 4) && pays_ahead(2, 1));
        assert!(!pays_ahead(7, 4) && !pays_ahead(1, 1) && !pays_ahead(4, 4));
    }
}
