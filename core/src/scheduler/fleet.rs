//! Decides how many machines the workers of a deployment need, and which machines end: pure functions of what is recorded.
//!
//! Jobs are counted, not messages: a message of a job that waits is sent again and again. A machine ends only after its worker was
//! asked to drain and has stopped, so no running job is interrupted.

use crate::{api::UnstartedMachine, ids::WorkerId, time::Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Milliseconds within which the worker of a new machine must report. A machine whose worker is silent for as long is lost.
const MAX_START_MS: u64 = 10 * 60_000;
/// Milliseconds for which there must be more machines than needed before one of them drains.
const SURPLUS_MS: u64 = 2 * 60_000;
/// Age of a machine at which its worker drains once it is idle, so that a new one has the newest image and program.
const MAX_IDLE_AGE_MS: u64 = 6 * 86_400_000;
/// Age of a machine at which its worker drains although it runs jobs: it takes no more of them, and ends with the last one.
const MAX_AGE_MS: u64 = 7 * 86_400_000;
/// Age until which a machine that drains delays the replacement of others.
const MAX_RENEWAL_AGE_MS: u64 = 8 * 86_400_000;
/// Share of the machines that drain at once because of their age.
const RENEWED_SHARE: usize = 10;
/// Milliseconds for which requested machines may be missing before they are requested on demand.
const SHORTAGE_MS: u64 = 2 * 60_000;
/// Milliseconds after a shortage in which missing machines are requested on demand at once.
const SHORTAGE_MEMORY_MS: i64 = 15 * 60_000;
/// Share of the machines that one decision may replace: if no worker reaches the API, not all machines end at once.
const MAX_LOST_SHARE: usize = 10;
/// Share of the machines that are not needed which one decision drains while there are jobs.
const DRAIN_SHARE: usize = 4;
/// Maximum number of remembered machines whose worker did not start.
const MAX_UNSTARTED: usize = 10;
/// Milliseconds after which one more request for capacity is made although the number of jobs has not doubled.
const REQUEST_INTERVAL_MS: u64 = 20_000;

/// Bounds, and the capacity of one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FleetLimits {
    /// Concurrent jobs of a machine's worker; 0 counts as 1.
    pub slots: u32,
    /// Minimum number of machines.
    pub min: u32,
    /// Maximum number of machines.
    pub max: u32,
}

impl FleetLimits {
    /// Returns the number of machines for `jobs`.
    fn machines_for(self, jobs: u32) -> u32 {
        jobs.div_ceil(self.slots.max(1)).clamp(self.min.min(self.max), self.max)
    }

    /// Returns a number of jobs above which more make no difference.
    #[must_use]
    pub fn max_jobs(self) -> u32 {
        self.max.saturating_mul(self.slots.max(1))
    }
}

/// The jobs that need machines of the group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobLoad {
    /// Number of queued jobs that any worker may take now.
    pub waiting: u32,
    /// Number of running jobs by the name of their worker.
    pub running: BTreeMap<String, u32>,
    /// Whether all jobs were counted; otherwise there are at least as many.
    pub is_complete: bool,
}

impl JobLoad {
    fn running_on(&self, machine: &str) -> u32 {
        self.running.get(machine).copied().unwrap_or(0)
    }
}

/// A machine of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its id, which is also the name of its worker.
    pub id: String,
    /// Whether it is about to end, or has ended.
    pub is_leaving: bool,
    /// Whether it was requested on demand, because the group's own market had none.
    pub is_fallback: bool,
}

/// The state of the group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerGroupState {
    /// The requested number of machines, without those of the fallback.
    pub desired: u32,
    /// The number of machines that are requested on demand in place of others; `None`: the group has no such fallback.
    pub fallback: Option<u32>,
    /// The machines.
    pub machines: Vec<Machine>,
}

impl WorkerGroupState {
    fn present(&self) -> impl Iterator<Item = &Machine> {
        self.machines.iter().filter(|machine| !machine.is_leaving)
    }

    /// Whether there are no machines and none is requested.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requested() == 0 && self.machines.is_empty()
    }

    /// Returns the number of requested machines, with those of the fallback.
    #[must_use]
    pub fn requested(&self) -> u32 {
        self.desired.saturating_add(self.fallback.unwrap_or(0))
    }

    /// Returns the number of requested machines that are not there yet, of the fallback or of the others.
    fn missing(&self, of_fallback: bool) -> u32 {
        let present = self.present().filter(|machine| machine.is_fallback == of_fallback).count();
        let requested = if of_fallback { self.fallback.unwrap_or(0) } else { self.desired };
        requested.saturating_sub(count(present))
    }
}

/// A worker as it reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetWorker {
    /// Its id.
    pub id: WorkerId,
    /// The name of the worker: the id of its machine.
    pub machine: String,
    /// Whether it ran a job at its last report.
    pub is_busy: bool,
    /// Whether it takes no more jobs, or was asked to.
    pub is_draining: bool,
    /// Whether it has stopped after it was asked to drain.
    pub has_stopped: bool,
    /// When it reported last.
    pub last_seen_at: Timestamp,
}

/// What one decision remembers for the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetMemory {
    /// When each machine of the group was seen first.
    pub seen: BTreeMap<String, Timestamp>,
    /// Since when there are more machines than needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surplus_since: Option<Timestamp>,
    /// Since when requested machines are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short_since: Option<Timestamp>,
    /// Until when missing machines are requested on demand at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short_until: Option<Timestamp>,
    /// The last machines that were removed because their worker did not start, or was silent for too long; the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unstarted: Vec<UnstartedMachine>,
}

impl FleetMemory {
    /// Whether the group's own market had no machines a short time ago.
    fn is_short(&self, now: Timestamp) -> bool {
        self.short_until.is_some_and(|until| now < until)
    }
}

/// A change of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FleetAction {
    /// Asks a worker to take no more jobs.
    Drain(WorkerId),
    /// Ends a machine. Without `replace`, the requested number of machines becomes one less in the same step.
    Remove {
        /// The machine.
        machine: String,
        /// Whether the group starts another one.
        replace: bool,
    },
    /// Requests this number of machines. It is not less than that of the machines which are there: the group would choose which of them
    /// ends.
    SetDesired(u32),
    /// Requests this number of machines on demand.
    SetFallback(u32),
}

/// A decision about the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetDecision {
    /// The changes, to be made in this order.
    pub actions: Vec<FleetAction>,
    /// What the next decision needs.
    pub memory: FleetMemory,
    /// Number of machines that the jobs need.
    pub needed: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MachineStatus {
    /// Its worker has not reported yet, or not for a while.
    Silent,
    /// The same, for too long.
    Lost,
    /// Its worker runs jobs.
    Busy,
    Idle,
    /// Its worker takes no more jobs, and may still run some.
    Draining,
    /// Its worker drained and has stopped.
    Drained,
}

/// Decides about the group at `now`. It grows at once to what the jobs need. It shrinks when for a while there were more machines than
/// needed: some idle workers drain, and machines end whose workers have drained. Machines whose worker does not start are replaced.
#[must_use]
pub fn decide_fleet(
    group: &WorkerGroupState,
    load: &JobLoad,
    workers: &[FleetWorker],
    mut memory: FleetMemory,
    limits: FleetLimits,
    now: Timestamp,
) -> FleetDecision {
    let newest = newest_by_machine(workers);
    memory.seen.retain(|id, _| group.present().any(|machine| machine.id == *id));
    for machine in group.present() {
        memory.seen.entry(machine.id.clone()).or_insert(now);
    }
    let statuses: Vec<(&str, MachineStatus)> = group
        .present()
        .map(|machine| {
            let id = machine.id.as_str();
            let since = memory.seen.get(id).copied().unwrap_or(now);
            (id, status(load.running_on(id), newest.get(id).copied(), since, now))
        })
        .collect();
    let with = |wanted: &[MachineStatus]| -> Vec<&str> {
        statuses.iter().filter(|(_, is)| wanted.contains(is)).map(|(id, _)| *id).collect()
    };
    let serving = with(&[MachineStatus::Silent, MachineStatus::Busy, MachineStatus::Idle]);
    let on_serving = serving.iter().fold(0, |jobs: u32, id| jobs.saturating_add(load.running_on(id)));
    let needed = limits.machines_for(load.waiting.saturating_add(on_serving));
    let is_fallback = |id: &str| group.present().any(|machine| machine.id == id && machine.is_fallback);
    let mut requests = Requests::of(group, &mut memory, limits, now);
    let mut available = count(serving.len()).saturating_add(requests.coming);
    let mut actions = Vec::new();

    let lost = with(&[MachineStatus::Lost]);
    let max_lost = (statuses.len() / MAX_LOST_SHARE).max(1);
    let drained = with(&[MachineStatus::Drained]);
    for id in drained.iter().chain(lost.iter().take(max_lost)) {
        let replace = requests.replaces(is_fallback(id), available < needed, limits);
        if replace {
            available += 1;
        }
        actions.push(FleetAction::Remove { machine: (*id).to_owned(), replace });
    }
    for id in lost.iter().take(max_lost) {
        let seen_at = memory.seen.get(*id).copied().unwrap_or(now);
        memory.unstarted.push(UnstartedMachine { machine: (*id).to_owned(), seen_at, removed_at: now });
    }
    let excess = memory.unstarted.len().saturating_sub(MAX_UNSTARTED);
    memory.unstarted.drain(..excess);

    let ready = with(&[MachineStatus::Busy, MachineStatus::Idle]);
    let surplus = load.is_complete && available > needed;
    memory.surplus_since = surplus.then(|| memory.surplus_since.unwrap_or(now));
    let is_lasting = memory.surplus_since.is_some_and(|since| now.since_ms(since) >= SURPLUS_MS);
    let age = |id: &str| memory.seen.get(id).map_or(0, |seen| now.since_ms(*seen));
    let oldest_first = |mut ids: Vec<&str>| {
        ids.sort_by_key(|id| (std::cmp::Reverse(age(id)), (*id).to_owned()));
        ids.into_iter().map(str::to_owned).collect::<Vec<String>>()
    };
    let mut draining = 0;
    if is_lasting {
        let extra = ready.len().saturating_sub(needed as usize);
        let has_jobs = load.waiting > 0 || on_serving > 0;
        draining = if has_jobs { extra.div_ceil(DRAIN_SHARE) } else { extra };
    }
    let idle = oldest_first(with(&[MachineStatus::Idle]));
    let mut chosen: Vec<String> = idle.iter().take(draining).cloned().collect();
    // Those that leave because of their age, a few at a time: the oldest, idle ones some time before the others.
    let leaving = with(&[MachineStatus::Draining]);
    let leaving = leaving.iter().filter(|id| age(id) < MAX_RENEWAL_AGE_MS).count();
    let renewed = (statuses.len() / RENEWED_SHARE).max(1).saturating_sub(leaving + chosen.len());
    let is_old = |id: &&String| {
        age(id) >= MAX_AGE_MS
            || (age(id) >= MAX_IDLE_AGE_MS && idle.contains(id) && load.waiting == 0 && load.is_complete)
    };
    let kept: Vec<&str> =
        ready.iter().copied().filter(|id| !chosen.iter().any(|other| other == *id)).collect();
    chosen.extend(oldest_first(kept).iter().filter(is_old).take(renewed).cloned());
    let drains = chosen.iter().filter_map(|id| newest.get(id.as_str()));
    actions.extend(drains.map(|worker| FleetAction::Drain(worker.id)));

    requests.grow(needed.saturating_sub(available), limits);
    actions.extend(requests.changes(group, &actions, is_fallback));
    FleetDecision { actions, memory, needed }
}

/// The numbers of machines to request.
struct Requests {
    desired: u32,
    fallback: Option<u32>,
    /// Whether the group's own market has no machines now.
    is_short: bool,
    /// Number of requested machines that will come.
    coming: u32,
}

impl Requests {
    /// Returns what is requested now. When machines were missing for a while, it gives their requests up; the fallback then gets those
    /// that are still needed.
    fn of(group: &WorkerGroupState, memory: &mut FleetMemory, limits: FleetLimits, now: Timestamp) -> Self {
        let missing = group.missing(false);
        let is_missing = missing > 0 && group.fallback.is_some();
        memory.short_since = is_missing.then(|| memory.short_since.unwrap_or(now));
        memory.short_until = memory.short_until.filter(|_| memory.is_short(now));
        let (mut desired, mut coming) = (group.desired, missing);
        if memory.short_since.is_some_and(|since| now.since_ms(since) >= SHORTAGE_MS) {
            memory.short_since = None;
            memory.short_until = Some(now.plus_ms(SHORTAGE_MEMORY_MS));
            desired = (desired - missing).max(limits.min);
            coming = 0;
        }
        let coming = coming.saturating_add(group.missing(true));
        Self { desired, fallback: group.fallback, is_short: memory.is_short(now), coming }
    }

    /// Whether a machine that ends is replaced by its group; otherwise the requested number becomes one less.
    fn replaces(&mut self, is_fallback: bool, is_needed: bool, limits: FleetLimits) -> bool {
        if is_fallback {
            if !is_needed {
                self.fallback = self.fallback.map(|number| number.saturating_sub(1));
            }
            return is_needed;
        }
        let replace = (is_needed && !self.is_short) || self.desired <= limits.min;
        if !replace {
            self.desired -= 1;
        }
        replace
    }

    /// Requests this number of machines more, within the limits.
    fn grow(&mut self, number: u32, limits: FleetLimits) {
        let room = limits.max.saturating_sub(self.desired.saturating_add(self.fallback.unwrap_or(0)));
        let number = number.min(room);
        match &mut self.fallback {
            Some(fallback) if self.is_short => *fallback += number,
            _ => self.desired += number,
        }
    }

    /// Returns the requests that differ from those of the group after `actions`.
    fn changes(
        &self,
        group: &WorkerGroupState,
        actions: &[FleetAction],
        is_fallback: impl Fn(&str) -> bool,
    ) -> Vec<FleetAction> {
        let removed = |of_fallback: bool| {
            let ended = actions.iter().filter(|action| {
                matches!(action, FleetAction::Remove { machine, replace: false } if is_fallback(machine) == of_fallback)
            });
            count(ended.count())
        };
        let mut changes = Vec::new();
        if self.desired != group.desired.saturating_sub(removed(false)) {
            changes.push(FleetAction::SetDesired(self.desired));
        }
        if let (Some(fallback), Some(now)) = (self.fallback, group.fallback)
            && fallback != now.saturating_sub(removed(true))
        {
            changes.push(FleetAction::SetFallback(fallback));
        }
        changes
    }
}

/// Returns the newest worker of each machine: a worker that was started again has another id.
fn newest_by_machine(workers: &[FleetWorker]) -> BTreeMap<&str, &FleetWorker> {
    let mut newest: BTreeMap<&str, &FleetWorker> = BTreeMap::new();
    for worker in workers {
        let known = newest.entry(&worker.machine).or_insert(worker);
        if (worker.last_seen_at, worker.id) > (known.last_seen_at, known.id) {
            *known = worker;
        }
    }
    newest
}

fn status(running: u32, worker: Option<&FleetWorker>, seen_at: Timestamp, now: Timestamp) -> MachineStatus {
    let reported_at = worker.map_or(seen_at, |worker| worker.last_seen_at.max(seen_at));
    let is_silent = now.since_ms(reported_at) >= MAX_START_MS;
    match worker {
        Some(worker) if worker.is_draining && worker.has_stopped && running == 0 => MachineStatus::Drained,
        Some(worker) if worker.is_draining && (running > 0 || !is_silent) => MachineStatus::Draining,
        _ if running > 0 => MachineStatus::Busy,
        _ if is_silent => MachineStatus::Lost,
        Some(worker) if worker.is_busy => MachineStatus::Busy,
        Some(_) => MachineStatus::Idle,
        None => MachineStatus::Silent,
    }
}

/// Returns the request for machines to make now that jobs were queued; `None`: enough are requested. It never lowers a number.
#[must_use]
pub fn required_capacity(
    group: &WorkerGroupState,
    load: &JobLoad,
    memory: &FleetMemory,
    limits: FleetLimits,
    now: Timestamp,
) -> Option<FleetAction> {
    let running =
        group.present().fold(0, |jobs: u32, machine| jobs.saturating_add(load.running_on(&machine.id)));
    let needed = limits.machines_for(load.waiting.saturating_add(running));
    let more = needed.checked_sub(group.requested()).filter(|more| *more > 0)?;
    Some(match group.fallback {
        Some(fallback) if memory.is_short(now) => FleetAction::SetFallback(fallback + more),
        _ => FleetAction::SetDesired(group.desired + more),
    })
}

/// Bounds the requests for capacity of one process: a request is made for the first job, whenever the number of jobs since the last
/// interval began has doubled, and again after an interval. So a flood of jobs makes few requests, and none of its size is missed.
#[derive(Debug, Default)]
pub struct CapacityGate {
    /// Begin of the current interval.
    since: Option<Timestamp>,
    /// Jobs that were queued in it.
    jobs: u64,
    /// Number of jobs at which the next request is made.
    next_at: u64,
}

impl CapacityGate {
    /// Whether to request capacity, now that `jobs` more jobs were queued.
    pub fn admits(&mut self, jobs: u32, now: Timestamp) -> bool {
        if jobs == 0 {
            return false;
        }
        if self.since.is_none_or(|since| now.since_ms(since) >= REQUEST_INTERVAL_MS) {
            *self = Self { since: Some(now), ..Self::default() };
        }
        self.jobs += u64::from(jobs);
        let admits = self.jobs >= self.next_at;
        if admits {
            self.next_at = self.jobs * 2;
        }
        admits
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
