use super::{
    CapacityGate, FleetAction, FleetDecision, FleetLimits, FleetMemory, FleetWorker, JobLoad, MAX_AGE_MS,
    MAX_IDLE_AGE_MS, MAX_START_MS, Machine, REQUEST_INTERVAL_MS, SHORTAGE_MEMORY_MS, SHORTAGE_MS, SURPLUS_MS,
    WorkerGroupState, decide_fleet, required_capacity,
};
use crate::{ids::WorkerId, time::Timestamp};
use uuid::Uuid;

const LIMITS: FleetLimits = FleetLimits { slots: 2, min: 0, max: 10 };
const NOW: Timestamp = Timestamp(100 * 86_400_000);

fn earlier(ms: u64) -> Timestamp {
    NOW.plus_ms(-i64::try_from(ms).unwrap())
}

/// A machine with its worker, in the states that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    New,
    NeverStarted,
    Idle,
    Busy,
    /// Runs a job that its worker has not reported yet.
    JustClaimed,
    Draining,
    DrainingBusy,
    Drained,
    Crashed,
    Leaving,
}

const KINDS: [Kind; 10] = [
    Kind::New,
    Kind::NeverStarted,
    Kind::Idle,
    Kind::Busy,
    Kind::JustClaimed,
    Kind::Draining,
    Kind::DrainingBusy,
    Kind::Drained,
    Kind::Crashed,
    Kind::Leaving,
];

impl Kind {
    const fn runs(self) -> bool {
        matches!(self, Self::Busy | Self::JustClaimed | Self::DrainingBusy)
    }

    const fn serves(self) -> bool {
        matches!(self, Self::New | Self::Idle | Self::Busy | Self::JustClaimed)
    }
}

#[derive(Debug, Clone, Default)]
struct Scene {
    group: WorkerGroupState,
    load: JobLoad,
    workers: Vec<FleetWorker>,
    memory: FleetMemory,
}

fn id(number: usize) -> String {
    format!("i-{number}")
}

fn worker_id(number: usize) -> WorkerId {
    WorkerId(Uuid::from_u128(number as u128))
}

impl Scene {
    /// A group of these machines, of which `coming` more are requested, with this number of waiting jobs.
    fn new(kinds: &[Kind], coming: u32, waiting: u32) -> Self {
        let mut scene =
            Self { load: JobLoad { waiting, is_complete: true, ..JobLoad::default() }, ..Self::default() };
        for (number, kind) in kinds.iter().enumerate() {
            let is_leaving = *kind == Kind::Leaving;
            scene.group.machines.push(Machine { id: id(number), is_leaving, is_fallback: false });
            scene.group.desired += u32::from(!is_leaving);
            let age = if *kind == Kind::New { 0 } else { 2 * MAX_START_MS };
            scene.memory.seen.insert(id(number), earlier(age));
            if kind.runs() {
                scene.load.running.insert(id(number), 1);
            }
            if !matches!(kind, Kind::New | Kind::NeverStarted) {
                scene.workers.push(FleetWorker {
                    id: worker_id(number),
                    machine: id(number),
                    is_busy: matches!(kind, Kind::Busy | Kind::DrainingBusy),
                    is_draining: matches!(kind, Kind::Draining | Kind::DrainingBusy | Kind::Drained),
                    has_stopped: *kind == Kind::Drained,
                    last_seen_at: if *kind == Kind::Crashed {
                        earlier(MAX_START_MS)
                    } else {
                        earlier(30_000)
                    },
                });
            }
        }
        scene.group.desired += coming;
        scene
    }

    fn with_surplus(mut self) -> Self {
        self.memory.surplus_since = Some(earlier(SURPLUS_MS));
        self
    }

    fn decide_within(&self, limits: FleetLimits) -> FleetDecision {
        decide_fleet(&self.group, &self.load, &self.workers, self.memory.clone(), limits, NOW)
    }

    fn decide(&self) -> FleetDecision {
        self.decide_within(LIMITS)
    }

    fn actions(&self) -> Vec<FleetAction> {
        self.decide().actions
    }

    fn required(&self, limits: FleetLimits) -> Option<FleetAction> {
        required_capacity(&self.group, &self.load, &self.memory, limits, NOW)
    }
}

fn remove(number: usize, replace: bool) -> FleetAction {
    FleetAction::Remove { machine: id(number), replace }
}

fn drain(number: usize) -> FleetAction {
    FleetAction::Drain(worker_id(number))
}

#[test]
fn nothing_happens_without_jobs_and_machines() {
    let decision = Scene::new(&[], 0, 0).decide();
    assert_eq!((decision.actions, decision.memory, decision.needed), (vec![], FleetMemory::default(), 0));
    let min = FleetLimits { min: 2, ..LIMITS };
    assert_eq!(Scene::new(&[], 0, 0).decide_within(min).actions, [FleetAction::SetDesired(2)]);
}

#[test]
fn group_grows_at_once_to_what_the_jobs_need() {
    for (jobs, machines) in [(1, 1), (2, 1), (3, 2), (19, 10), (1_000, 10), (u32::MAX, 10)] {
        assert_eq!(Scene::new(&[], 0, jobs).actions(), [FleetAction::SetDesired(machines)], "{jobs}");
        // The same load asks for the same number again, however often it is decided.
        assert_eq!(Scene::new(&[], machines, jobs).actions(), [], "{jobs}");
    }
    assert_eq!(
        Scene::new(&[Kind::Busy], 0, 2).actions(),
        [FleetAction::SetDesired(2)],
        "three jobs need two"
    );
    assert_eq!(Scene::new(&[Kind::Busy, Kind::New], 0, 3).actions(), []);
    // A machine that drains takes none of them.
    assert_eq!(Scene::new(&[Kind::Draining], 0, 1).actions(), [FleetAction::SetDesired(2)]);
    assert_eq!(Scene::new(&[Kind::Leaving], 0, 1).actions(), [FleetAction::SetDesired(1)]);
}

#[test]
fn jobs_of_workers_outside_of_the_group_need_no_machine() {
    let mut scene = Scene::new(&[], 0, 0);
    scene.load.running.insert("builder".into(), 7);
    assert_eq!(scene.actions(), []);
    assert_eq!(scene.required(LIMITS), None);
}

#[test]
fn surplus_must_last_before_a_worker_drains() {
    let scene = Scene::new(&[Kind::Idle, Kind::Busy], 0, 0);
    let decision = scene.decide();
    assert_eq!((decision.actions, decision.memory.surplus_since), (vec![], Some(NOW)));
    assert_eq!(scene.clone().with_surplus().actions(), [drain(0)]);
    // It ends when all machines are needed.
    let needed = Scene::new(&[Kind::Idle, Kind::Busy], 0, 2).with_surplus().decide();
    assert_eq!((needed.actions, needed.memory.surplus_since), (vec![], None));
    // An incomplete count says nothing about a surplus.
    let mut incomplete = scene.with_surplus();
    incomplete.load.is_complete = false;
    assert_eq!(incomplete.actions(), []);
}

#[test]
fn idle_workers_drain_a_few_at_a_time_while_there_are_jobs() {
    let mut kinds = vec![Kind::Idle; 9];
    kinds.push(Kind::Busy);
    assert_eq!(Scene::new(&kinds, 0, 0).with_surplus().actions(), [drain(0), drain(1), drain(2)]);
    // Without any job, all that are not needed drain.
    let idle = Scene::new(&[Kind::Idle; 3], 0, 0).with_surplus();
    assert_eq!(idle.actions(), [drain(0), drain(1), drain(2)]);
    let min = FleetLimits { min: 2, ..LIMITS };
    assert_eq!(idle.decide_within(min).actions, [drain(0)]);
}

#[test]
fn drained_machine_ends_and_is_replaced_only_if_it_is_needed() {
    assert_eq!(Scene::new(&[Kind::Drained, Kind::Busy], 0, 0).actions(), [remove(0, false)]);
    assert_eq!(Scene::new(&[Kind::Drained, Kind::Busy], 0, 3).actions(), [remove(0, true)]);
    let min = FleetLimits { min: 1, ..LIMITS };
    assert_eq!(Scene::new(&[Kind::Drained], 0, 0).decide_within(min).actions, [remove(0, true)]);
    // A worker that was started again after it stopped has reported since.
    let mut again = Scene::new(&[Kind::Drained], 0, 0);
    again.workers.push(FleetWorker {
        id: worker_id(7),
        is_draining: false,
        has_stopped: false,
        last_seen_at: NOW,
        ..again.workers[0].clone()
    });
    assert_eq!(again.actions(), []);
}

#[test]
fn machine_whose_worker_does_not_start_is_reported_and_replaced() {
    for kind in [Kind::NeverStarted, Kind::Crashed] {
        let decision = Scene::new(&[kind], 0, 1).decide();
        assert_eq!(decision.actions, [remove(0, true)], "{kind:?}");
        let unstarted = &decision.memory.unstarted;
        assert_eq!(unstarted.len(), 1);
        assert_eq!((unstarted[0].machine.as_str(), unstarted[0].removed_at), ("i-0", NOW));
        assert_eq!(Scene::new(&[kind], 0, 0).actions(), [remove(0, false)], "{kind:?} is not needed");
    }
    // Not before its time: until then it counts as coming.
    let mut early = Scene::new(&[Kind::NeverStarted], 0, 1);
    early.memory.seen.insert(id(0), earlier(MAX_START_MS - 1));
    assert_eq!(early.actions(), []);
}

#[test]
fn few_machines_are_replaced_at_once_and_ten_are_remembered() {
    let mut scene = Scene::new(&[Kind::NeverStarted; 40], 0, 80);
    let limits = FleetLimits { max: 40, ..LIMITS };
    let mut decision = scene.decide_within(limits);
    assert_eq!(decision.actions.len(), 4);
    for _ in 0..4 {
        scene.memory = decision.memory;
        decision = scene.decide_within(limits);
    }
    assert_eq!(decision.memory.unstarted.len(), 10);
}

#[test]
fn old_machine_drains_once_it_is_idle_and_after_a_week_in_any_case() {
    let mut scene = Scene::new(&[Kind::Busy, Kind::Idle], 0, 0);
    let limits = FleetLimits { min: 2, ..LIMITS };
    let aged = |scene: &mut Scene, ages: [u64; 2]| {
        for (number, age) in ages.into_iter().enumerate() {
            scene.memory.seen.insert(id(number), earlier(age));
        }
    };
    aged(&mut scene, [MAX_IDLE_AGE_MS; 2]);
    assert_eq!(scene.decide_within(limits).actions, [drain(1)]);
    scene.load.waiting = 1;
    assert_eq!(scene.decide_within(limits).actions, [], "not while jobs wait");
    // After a week a worker that always has jobs takes no more of them, whatever waits.
    aged(&mut scene, [MAX_AGE_MS, MAX_IDLE_AGE_MS]);
    assert_eq!(scene.decide_within(limits).actions, [drain(0)]);
    scene.load.waiting = 5;
    assert_eq!(scene.decide_within(limits).actions, [drain(0), FleetAction::SetDesired(3)]);
}

/// A machine whose job takes a month drains for all of that time, and is never ended before.
#[test]
fn long_job_ends_on_a_machine_that_drains_and_delays_others_for_a_day() {
    const DAY_MS: u64 = 86_400_000;
    let limits = FleetLimits { min: 2, ..LIMITS };
    for (days, drains) in [(7, false), (9, true), (37, true)] {
        let mut scene = Scene::new(&[Kind::DrainingBusy, Kind::Busy], 0, 0);
        scene.memory.seen.insert(id(0), earlier(days * DAY_MS));
        scene.memory.seen.insert(id(1), earlier(MAX_AGE_MS));
        let actions = scene.decide_within(limits).actions;
        assert_eq!(actions.contains(&drain(1)), drains, "after {days} days: {actions:?}");
        assert!(!actions.iter().any(|action| matches!(action, FleetAction::Remove { .. })), "{actions:?}");
    }
}

/// A group with spot instances, of which `missing` more are requested than there are, and its fallback.
fn on_spot(kinds: &[Kind], missing: u32, waiting: u32, fallback: u32) -> Scene {
    let mut scene = Scene::new(kinds, missing, waiting);
    scene.group.fallback = Some(fallback);
    scene
}

#[test]
fn missing_spot_instances_are_requested_on_demand_after_two_minutes() {
    let mut scene = on_spot(&[Kind::Busy], 3, 7, 0);
    let decision = scene.decide();
    assert_eq!((decision.actions, decision.memory.short_since), (vec![], Some(NOW)));
    scene.memory.short_since = Some(earlier(SHORTAGE_MS));
    let decision = scene.decide();
    assert_eq!(decision.actions, [FleetAction::SetDesired(1), FleetAction::SetFallback(3)]);
    assert_eq!(decision.memory.short_until, Some(NOW.plus_ms(SHORTAGE_MEMORY_MS)));
    // Then they come.
    let mut after = on_spot(&[Kind::Busy, Kind::New, Kind::New, Kind::New], 0, 7, 3);
    for machine in &mut after.group.machines[1..] {
        machine.is_fallback = true;
    }
    after.group.desired = 1;
    after.memory.short_until = decision.memory.short_until;
    assert_eq!(after.actions(), []);
    // For a while, more are requested on demand as well, also when jobs are queued.
    after.load.waiting = 9;
    assert_eq!(after.actions(), [FleetAction::SetFallback(4)]);
    assert_eq!(after.required(LIMITS), Some(FleetAction::SetFallback(4)));
    after.memory.short_until = Some(NOW);
    assert_eq!(after.actions(), [FleetAction::SetDesired(2)]);
    assert_eq!(after.required(LIMITS), Some(FleetAction::SetDesired(2)));
}

#[test]
fn shortage_of_what_is_not_needed_any_more_requests_nothing() {
    let mut scene = on_spot(&[], 3, 0, 0);
    scene.memory.short_since = Some(earlier(SHORTAGE_MS));
    assert_eq!(scene.actions(), [FleetAction::SetDesired(0)]);
    // The minimum stays requested, and is replaced on demand.
    let min = FleetLimits { min: 2, ..LIMITS };
    assert_eq!(scene.decide_within(min).actions, [FleetAction::SetDesired(2), FleetAction::SetFallback(2)]);
    // A group without a fallback goes on asking.
    scene.group.fallback = None;
    assert_eq!(scene.actions(), []);
}

#[test]
fn machines_of_both_markets_are_at_most_the_maximum() {
    let mut scene = on_spot(&[Kind::Busy; 4], 6, 1_000, 0);
    scene.memory.short_since = Some(earlier(SHORTAGE_MS));
    assert_eq!(scene.actions(), [FleetAction::SetDesired(4), FleetAction::SetFallback(6)]);
    let mut scene = on_spot(&[Kind::Busy; 4], 0, 1_000, 6);
    scene.memory.short_until = Some(NOW.plus_ms(1));
    assert_eq!((scene.actions(), scene.required(LIMITS)), (vec![], None));
}

#[test]
fn machine_on_demand_that_is_not_needed_ends_without_another_one() {
    let mut scene = on_spot(&[Kind::Busy, Kind::Drained], 0, 0, 1);
    scene.group.machines[1].is_fallback = true;
    scene.group.desired = 1;
    assert_eq!(scene.actions(), [remove(1, false)]);
    scene.load.waiting = 3;
    assert_eq!(scene.actions(), [remove(1, true)]);
}

/// All groups of up to three machines in all states, with all loads that matter.
#[test]
fn every_decision_protects_running_jobs_and_keeps_what_is_needed() {
    let mut groups: Vec<Vec<Kind>> = vec![Vec::new()];
    for size in 0..3 {
        let smaller: Vec<Vec<Kind>> = groups.iter().filter(|group| group.len() == size).cloned().collect();
        for group in smaller {
            groups.extend(KINDS.iter().map(|kind| [group.as_slice(), &[*kind]].concat()));
        }
    }
    let mut decisions = 0;
    for kinds in &groups {
        for (coming, waiting, min) in [0, 1, 3]
            .iter()
            .flat_map(|coming| (0..=5).flat_map(move |waiting| [0, 2].map(|min| (*coming, waiting, min))))
        {
            for (is_complete, is_lasting) in [(true, true), (true, false), (false, true)] {
                let mut scene = Scene::new(kinds, coming, waiting);
                scene.load.is_complete = is_complete;
                if is_lasting {
                    scene = scene.with_surplus();
                }
                let limits = FleetLimits { slots: 2, min, max: 4 };
                check(kinds, coming, &scene, limits);
                decisions += 1;
            }
        }
    }
    assert_eq!(decisions, (1 + 10 + 100 + 1_000) * 36 * 3);
}

fn check(kinds: &[Kind], coming: u32, scene: &Scene, limits: FleetLimits) {
    let decision = scene.decide_within(limits);
    let shown = || format!("{kinds:?} {coming} {scene:?} {decision:?}");
    let mut serving = u32::try_from(kinds.iter().filter(|kind| kind.serves()).count()).unwrap() + coming;
    let before = serving;
    let mut desired = scene.group.desired;
    for action in &decision.actions {
        match action {
            FleetAction::Drain(worker) => {
                let kind = kinds[usize::try_from(worker.0.as_u128()).unwrap()];
                assert_eq!(kind, Kind::Idle, "{}", shown());
                assert!(scene.load.is_complete, "{}", shown());
                serving -= 1;
            }
            FleetAction::Remove { machine, replace } => {
                let kind = kinds[machine[2..].parse::<usize>().unwrap()];
                let may_end = matches!(kind, Kind::Drained | Kind::NeverStarted | Kind::Crashed);
                assert!(may_end, "{}", shown());
                desired -= u32::from(!replace);
                serving += u32::from(*replace);
            }
            FleetAction::SetDesired(number) => {
                assert!(*number >= limits.min && *number <= limits.max, "{}", shown());
                assert!(*number > desired, "it never lets the group choose which machine ends: {}", shown());
                serving += *number - desired;
                desired = *number;
            }
            FleetAction::SetFallback(_) => panic!("the group has no fallback: {}", shown()),
        }
    }
    let needed = decision.needed;
    assert!((limits.min..=limits.max).contains(&needed));
    // It never ends more than what is left over, and requests what is missing, up to the maximum.
    let at_max = desired >= limits.max;
    assert!(serving >= needed.min(before) && (serving >= needed || at_max), "{}", shown());
    match scene.required(limits) {
        None => {}
        Some(FleetAction::SetDesired(required)) => {
            assert!(required > scene.group.desired && required <= limits.max, "{}", shown());
        }
        other => panic!("{other:?}: {}", shown()),
    }
}

/// A trickle of jobs after a peak: the group of a simulated provider goes back to one machine while work goes on.
#[test]
fn group_shrinks_while_work_goes_on() {
    let mut kinds = vec![Kind::Idle; 8];
    kinds[3] = Kind::Busy;
    let mut memory = FleetMemory::default();
    let mut passes = 0;
    while kinds.len() > 1 {
        passes += 1;
        assert!(passes < 100, "{kinds:?}");
        let mut scene = Scene::new(&kinds, 0, 0);
        scene.memory.surplus_since = memory.surplus_since.map(|_| earlier(SURPLUS_MS));
        let decision = scene.decide();
        let mut removed = Vec::new();
        for action in decision.actions {
            match action {
                FleetAction::Drain(worker) => {
                    kinds[usize::try_from(worker.0.as_u128()).unwrap()] = Kind::Drained;
                }
                FleetAction::Remove { machine, replace: false } => {
                    removed.push(machine[2..].parse::<usize>().unwrap());
                }
                other => panic!("{other:?}"),
            }
        }
        let mut number = 0;
        kinds.retain(|_| {
            number += 1;
            !removed.contains(&(number - 1))
        });
        memory = decision.memory;
    }
    assert_eq!(kinds, [Kind::Busy]);
}

#[test]
fn request_for_capacity_never_lowers_the_number() {
    let required = |desired, waiting, limits| {
        let load = JobLoad { waiting, ..JobLoad::default() };
        let group = WorkerGroupState { desired, ..WorkerGroupState::default() };
        required_capacity(&group, &load, &FleetMemory::default(), limits, NOW)
    };
    assert_eq!(required(0, 1, LIMITS), Some(FleetAction::SetDesired(1)));
    assert_eq!(required(0, 1_000, LIMITS), Some(FleetAction::SetDesired(10)));
    assert_eq!(required(5, 10, LIMITS), None);
    assert_eq!(required(10, 1_000, LIMITS), None);
    assert_eq!(required(0, 1, FleetLimits { max: 0, ..LIMITS }), None);
    assert_eq!(required(0, 3, FleetLimits { slots: 0, ..LIMITS }), Some(FleetAction::SetDesired(3)));
    assert_eq!(Scene::new(&[Kind::Busy], 0, 2).required(LIMITS), Some(FleetAction::SetDesired(2)));
}

#[test]
fn flood_of_jobs_makes_few_requests() {
    let mut gate = CapacityGate::default();
    let requests = (0..1_000).filter(|_| gate.admits(1, NOW)).count();
    assert_eq!(requests, 10, "1, 2, 4, ... 512");
    assert!(!gate.admits(0, NOW));
    let later = NOW.plus_ms(i64::try_from(REQUEST_INTERVAL_MS).unwrap());
    assert!(!gate.admits(1, later.plus_ms(-1)));
    assert!(gate.admits(1, later));
    let mut all_at_once = CapacityGate::default();
    assert!(all_at_once.admits(1_000, NOW));
    assert!(!all_at_once.admits(999, NOW));
    assert!(all_at_once.admits(1, NOW));
}
