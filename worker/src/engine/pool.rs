//! Containers and networks that are prepared ahead of time for jobs that will likely come.
//!
//! The pool has one slot for each slot of the worker. A network namespace takes the engine longer to create than the rest
//! of a container. The first container of an execution in a slot has a network of its own; while its job runs, a network
//! holder (a container in which no job ever runs) is created, whose network the slot's later containers of that execution
//! join, each after the previous one has ended with all its processes. Where a slot is known to run several jobs, its
//! holder is created before the first container, which joins it too. A slot runs one job at a time, so that jobs never
//! share a network while they run, and executions never share one at all.

use super::{
    container::Container,
    creation::{ContainerCreation, container_key},
    manager::DockerManager,
    network::SharedHolder,
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tidemill_core::execution::{
    assignment::{Preparation, PullPolicy},
    failure::{FailureKind, FailureReason},
};
use tidemill_core::ids::ExecutionId;
use tokio_util::sync::CancellationToken;

/// No standby containers are created while a job waits for its own container, which would then take longer. A job that
/// waits longer than this waits for an image pull, which nothing else slows down.
const MAX_PREPARE_DELAY: Duration = Duration::from_secs(2);

/// The slots of one worker, with their standby containers and networks.
#[derive(Debug)]
pub struct ContainerPool {
    engine: Arc<DockerManager>,
    state: Mutex<PoolState>,
}

#[derive(Debug)]
struct PoolState {
    slots: Vec<PoolSlot>,
    /// Jobs to prepare for once no job waits for its own container.
    postponed: Option<Vec<Preparation>>,
}

#[derive(Debug, Default)]
struct PoolSlot {
    /// Whether a job occupies it.
    is_occupied: bool,
    /// The execution of the job that occupies it, or did last.
    execution: Option<ExecutionId>,
    /// Since when its job waits for a container.
    waiting_since: Option<Instant>,
    network: Option<SlotNetwork>,
    standby: Option<StandbyContainer>,
}

/// The network of a slot.
#[derive(Debug)]
struct SlotNetwork {
    /// The execution whose jobs join it; `None`: no job joined it yet, and it belongs to the execution of the first one that
    /// does.
    execution: Option<ExecutionId>,
    holder: SharedHolder,
}

impl SlotNetwork {
    /// Whether it could not be created.
    fn has_failed(&self) -> bool {
        matches!(self.holder.peek(), Some(None))
    }

    /// Whether jobs of `execution` may join it.
    fn accepts(&self, execution: ExecutionId) -> bool {
        self.execution.is_none_or(|owner| owner == execution)
    }
}

/// A container for a job that is not known to start yet.
#[derive(Debug)]
struct StandbyContainer {
    /// See [`container_key`].
    key: String,
    /// Whether it is in the slot's network.
    joins_network: bool,
    creation: ContainerCreation,
}

impl PoolSlot {
    /// Whether jobs of `execution` can join the slot's network; `None` if it has none.
    fn network_accepts(&self, execution: ExecutionId) -> Option<bool> {
        self.network
            .as_ref()
            .filter(|network| !network.has_failed())
            .map(|network| network.accepts(execution))
    }

    /// Whether a job of `execution` with this key can run in the standby container; `None` if there is none.
    fn standby_fits(&self, key: &str, execution: ExecutionId) -> Option<bool> {
        let accepts = self.network_accepts(execution) == Some(true);
        self.standby.as_ref().map(|standby| standby.key == key && (!standby.joins_network || accepts))
    }
}

/// A slot that one job occupies.
#[derive(Debug)]
pub struct OccupiedSlot {
    index: usize,
    /// A standby container that fits the job, if there is one.
    pub standby: Option<ContainerCreation>,
    /// The holder of the network that the job's container joins.
    pub network: Option<SharedHolder>,
}

impl ContainerPool {
    /// Creates an empty pool with `slots` slots.
    pub fn new(engine: Arc<DockerManager>, slots: usize) -> Self {
        let slots = (0..slots).map(|_| PoolSlot::default()).collect();
        Self { engine, state: Mutex::new(PoolState { slots, postponed: None }) }
    }

    /// Creates standby containers for the first of `upcoming`, and discards those that none of these jobs can use: now, or
    /// once no job waits for its own container.
    pub fn prepare(&self, upcoming: &[Preparation]) {
        let mut state = self.lock();
        self.create_networks(&mut state.slots, upcoming);
        if state
            .slots
            .iter()
            .any(|slot| slot.waiting_since.is_some_and(|since| since.elapsed() < MAX_PREPARE_DELAY))
        {
            state.postponed = Some(upcoming.to_vec());
        } else {
            state.postponed = None;
            self.create_standbys(&mut state.slots, upcoming);
        }
    }

    /// Creates standby containers for the `first` jobs of an execution whose ID is not known yet, and which has `jobs` jobs in
    /// all.
    pub fn prepare_execution(&self, first: &[Preparation], jobs: usize) {
        let mut state = self.lock();
        if creates_networks_first(jobs, state.slots.len()) {
            for (slot, preparation) in state.slots.iter_mut().zip(first) {
                let create = || self.engine.start_network_holder(&preparation.image);
                slot.network.get_or_insert_with(|| SlotNetwork { execution: None, holder: create() });
            }
        }
        self.create_standbys(&mut state.slots, first);
    }

    /// Creates networks for slots that had a job of an execution and will have another: from then on a network saves time,
    /// even if a job has to wait a little longer for its container meanwhile.
    fn create_networks(&self, slots: &mut [PoolSlot], upcoming: &[Preparation]) {
        for preparation in upcoming.iter().take(slots.len()) {
            let execution = preparation.execution_id;
            let lacks_network = |slot: &&mut PoolSlot| {
                slot.execution == Some(execution) && slot.network_accepts(execution) != Some(true)
            };
            let Some(slot) = slots.iter_mut().find(lacks_network) else { return };
            let holder = self.engine.start_network_holder(&preparation.image);
            slot.network = Some(SlotNetwork { execution: Some(execution), holder });
        }
    }

    fn create_standbys(&self, slots: &mut [PoolSlot], upcoming: &[Preparation]) {
        let mut missing: Vec<(String, &Preparation)> = upcoming
            .iter()
            .take(slots.len())
            .map(|preparation| (container_key(preparation), preparation))
            .collect();
        for slot in slots.iter_mut() {
            let Some(standby) = &slot.standby else { continue };
            match missing.iter().position(|(key, _)| *key == standby.key) {
                Some(index) => drop(missing.remove(index)),
                None => self.discard(slot.standby.take()),
            }
        }
        // The next job goes to a free slot.
        let (free, busy): (Vec<_>, Vec<_>) = slots.iter_mut().partition(|slot| !slot.is_occupied);
        let empty = free.into_iter().chain(busy).filter(|slot| slot.standby.is_none());
        for (slot, (key, preparation)) in empty.zip(missing) {
            let execution = preparation.execution_id;
            let usable =
                slot.network.as_ref().filter(|network| network.accepts(execution) && !network.has_failed());
            let network = usable.map(|network| network.holder.clone());
            let joins_network = network.is_some();
            let (engine, preparation) = (self.engine.clone(), preparation.clone());
            let creation = ContainerCreation::start(move |canceled| async move {
                create_standby(&engine, &preparation, network, &canceled).await
            });
            slot.standby = Some(StandbyContainer { key, joins_network, creation });
        }
    }

    /// Occupies a free slot for `preparation`, preferably one whose standby container fits.
    pub fn occupy(&self, preparation: &Preparation) -> OccupiedSlot {
        let key = container_key(preparation);
        let execution = preparation.execution_id;
        let slots = &mut self.lock().slots;
        let rank = |slot: &PoolSlot| {
            // Standby containers for other jobs are best kept, and so are networks of other executions.
            match (slot.standby_fits(&key, execution), slot.network_accepts(execution)) {
                (Some(true), Some(true) | None) => 0,
                (Some(true), Some(false)) => 1,
                (None, Some(true)) => 2,
                (None, None) => 3,
                (Some(false), Some(true) | None) => 4,
                (Some(false) | None, Some(false)) => 5,
            }
        };
        let free = (0..slots.len()).filter(|index| !slots[*index].is_occupied);
        // The pool has a slot for each slot of the worker; without a free one, the job's container is not pooled.
        let Some(index) = free.min_by_key(|index| rank(&slots[*index])) else {
            return OccupiedSlot { index: usize::MAX, standby: None, network: None };
        };
        let slot = &mut slots[index];
        slot.is_occupied = true;
        slot.execution = Some(execution);
        slot.waiting_since = Some(Instant::now());
        let fits = slot.standby_fits(&key, execution) == Some(true);
        let standby = slot.standby.take();
        let standby = if fits {
            standby.map(|standby| standby.creation)
        } else {
            self.discard(standby);
            None
        };
        slot.network.take_if(|network| network.has_failed() || !network.accepts(execution));
        let network = slot.network.as_mut().map(|network| {
            network.execution = Some(execution);
            network.holder.clone()
        });
        OccupiedSlot { index, standby, network }
    }

    /// Records that the job in `slot` has its container.
    pub fn container_ready(&self, slot: &OccupiedSlot) {
        self.stop_waiting(&mut self.lock(), slot);
    }

    /// Frees the slot, and removes the container in which the job ran.
    pub fn release(&self, slot: &OccupiedSlot, container: Option<Container>) {
        let mut state = self.lock();
        self.stop_waiting(&mut state, slot);
        if let Some(slot) = state.slots.get_mut(slot.index) {
            slot.is_occupied = false;
        }
        if let Some(container) = container {
            self.engine.dispose_later(container);
        }
    }

    /// Discards the slot's network, which cannot be joined or in which something may still run, and its standby container.
    pub fn discard_network(&self, slot: &OccupiedSlot) {
        if let Some(slot) = self.lock().slots.get_mut(slot.index) {
            self.discard_contents(slot);
        }
    }

    /// Discards the contents of free slots, as no job came for long.
    pub fn discard_idle(&self) {
        for slot in self.lock().slots.iter_mut().filter(|slot| !slot.is_occupied) {
            self.discard_contents(slot);
        }
    }

    /// Discards the contents of all slots. They are removed in the background.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.postponed = None;
        for slot in &mut state.slots {
            self.discard_contents(slot);
        }
    }

    fn stop_waiting(&self, state: &mut PoolState, slot: &OccupiedSlot) {
        if let Some(slot) = state.slots.get_mut(slot.index) {
            slot.waiting_since = None;
        }
        if state.slots.iter().all(|slot| slot.waiting_since.is_none())
            && let Some(upcoming) = state.postponed.take()
        {
            self.create_standbys(&mut state.slots, &upcoming);
        }
    }

    fn discard_contents(&self, slot: &mut PoolSlot) {
        self.discard(slot.standby.take());
        // The network is removed once nothing uses it.
        slot.network = None;
    }

    fn discard(&self, standby: Option<StandbyContainer>) {
        if let Some(StandbyContainer { creation, .. }) = standby {
            self.engine.dispose_when_created(creation);
        }
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the networks of all `slots` are created before the first containers of an execution with `jobs` jobs.
///
/// A first container that joins a network starts a little later than one with its own, as the holder starts before it; but
/// its slot needs one network instead of two. That saves time if each slot has at least a second job.
const fn creates_networks_first(jobs: usize, slots: usize) -> bool {
    jobs / 2 >= slots
}

async fn create_standby(
    engine: &Arc<DockerManager>,
    preparation: &Preparation,
    network: Option<SharedHolder>,
    canceled: &CancellationToken,
) -> Result<Container, FailureReason> {
    // The progress of a pull belongs into the log of the job that needs the image, so no image is pulled ahead.
    if !engine.permissions.allows(&preparation.container, &preparation.origin) {
        return Err(FailureReason::new(
            FailureKind::NotAllowed,
            "the job asks for more than its worker allows",
        ));
    }
    let image = match engine.pull_policy(preparation.pull_policy) {
        PullPolicy::Always | PullPolicy::AlwaysOrPresent => None,
        PullPolicy::IfNotPresent | PullPolicy::Never => engine.inspect_image(&preparation.image).await?,
    };
    let platform = preparation.image_options.platform.as_deref();
    let Some(image) = image.filter(|image| platform.is_none_or(|platform| image.is_for(platform))) else {
        return Err(FailureReason::new(
            FailureKind::ImageUnavailable,
            "no standby container was created: its image must be pulled",
        ));
    };
    // If the holder could not be created, the container has a network of its own.
    let network = network.filter(|_| !preparation.container.needs_own_network());
    let holder = match network {
        Some(pending) => pending.await,
        None => None,
    };
    let network = holder.as_ref().map(|holder| holder.network());
    let mut container = engine.create_container(preparation, &image, network.as_deref(), canceled).await?;
    container.holder = holder;
    Ok(container)
}

#[cfg(test)]
mod tests {
    use super::creates_networks_first;

    #[test]
    fn networks_are_created_first_for_two_jobs_per_slot() {
        assert!(
            creates_networks_first(8, 4) && creates_networks_first(50, 4) && creates_networks_first(2, 1)
        );
        assert!(
            !creates_networks_first(7, 4) && !creates_networks_first(1, 1) && !creates_networks_first(4, 4)
        );
    }
}
