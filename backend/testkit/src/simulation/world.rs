//! The world of one run: its clock, its random numbers, and its tasks, of which one at a time runs until its next wait.
//!
//! Everything follows from the seed: tasks are polled by hand, in an order that the seed determines.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// The owner of a task; killing an owner ends its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskOwner {
    Server(usize),
    Worker(usize),
    /// Clients, and the tasks that inject faults.
    Environment,
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    id: u64,
    owner: TaskOwner,
    wake_at: i64,
    work: Work,
}

struct Inner {
    now: i64,
    rng: fastrand::Rng,
    /// The shortest wait that the task that is being polled requested; `None`: it did not.
    pause_ms: Option<i64>,
    current: u64,
    next_id: u64,
    spawned: Vec<Task>,
    woken: Vec<u64>,
    killed: Vec<TaskOwner>,
    hash: u64,
    events: u64,
    last_events: VecDeque<String>,
    violation: Option<String>,
    stopped: bool,
}

impl Inner {
    /// Polls the current task again at this time, or earlier if it also waits for something else.
    fn pause_until(&mut self, time: i64) {
        let ms = time.saturating_sub(self.now);
        self.pause_ms = Some(self.pause_ms.map_or(ms, |shortest| shortest.min(ms)));
    }
}

/// The simulated world.
pub struct World {
    inner: Mutex<Inner>,
    /// Whether to print every event.
    loud: bool,
}

/// Last events that are kept for the report of a violation.
const MAX_RECORDED_EVENTS: usize = 60;
/// A time after the end of every run.
const NEVER: i64 = i64::MAX;

impl World {
    pub fn new(seed: u64, loud: bool) -> Arc<Self> {
        let inner = Inner {
            now: 1_780_000_000_000,
            rng: fastrand::Rng::with_seed(seed),
            pause_ms: None,
            current: 0,
            next_id: 0,
            spawned: Vec::new(),
            woken: Vec::new(),
            killed: Vec::new(),
            hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
            last_events: VecDeque::new(),
            violation: None,
            stopped: false,
        };
        Arc::new(Self { inner: Mutex::new(inner), loud })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the time in milliseconds.
    pub fn now(&self) -> i64 {
        self.lock().now
    }

    /// Returns a random number less than `below`.
    pub fn random_below(&self, below: u64) -> u64 {
        self.lock().rng.u64(..below.max(1))
    }

    /// Returns true with a probability of `per_mille` in a thousand.
    pub fn random_chance(&self, per_mille: u32) -> bool {
        per_mille > 0 && self.lock().rng.u32(..1000) < per_mille
    }

    pub fn random_u128(&self) -> u128 {
        self.lock().rng.u128(..)
    }

    /// Records an event in the trace, by which runs are compared.
    pub fn record_event(&self, event: std::fmt::Arguments<'_>) {
        let mut inner = self.lock();
        let mut line = String::new();
        let _ = write!(line, "{:>9} ", inner.now - 1_780_000_000_000);
        let _ = line.write_fmt(event);
        for byte in line.bytes() {
            // FNV-1a.
            inner.hash = (inner.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        inner.events += 1;
        if self.loud {
            println!("{line}");
        }
        if inner.last_events.len() == MAX_RECORDED_EVENTS {
            inner.last_events.pop_front();
        }
        inner.last_events.push_back(line);
    }

    /// Records a broken promise, which ends the run.
    pub fn record_violation(&self, message: String) {
        self.record_event(format_args!("VIOLATION: {message}"));
        self.lock().violation.get_or_insert(message);
    }

    /// Returns the hash of all events, their number, the violation, and the last events.
    pub fn outcome(&self) -> (u64, u64, Option<String>, Vec<String>) {
        let inner = self.lock();
        (inner.hash, inner.events, inner.violation.clone(), inner.last_events.iter().cloned().collect())
    }

    /// Waits, while other tasks run.
    pub fn sleep(self: &Arc<Self>, ms: u64) -> Sleep {
        Sleep { world: self.clone(), ms, due: None }
    }

    pub fn spawn(&self, owner: TaskOwner, work: impl Future<Output = ()> + Send + 'static) {
        let mut inner = self.lock();
        inner.next_id += 1;
        let task = Task { id: inner.next_id, owner, wake_at: inner.now, work: Box::pin(work) };
        inner.spawned.push(task);
    }

    /// Drops all tasks of an owner.
    pub fn kill(&self, owner: TaskOwner) {
        self.lock().killed.push(owner);
    }

    /// Ends the run after this step.
    pub fn stop(&self) {
        self.lock().stopped = true;
    }

    /// Creates a one-shot channel.
    pub fn channel<T>(self: &Arc<Self>) -> (Sender<T>, Receiver<T>) {
        let slot = Arc::new(Mutex::new(Slot { value: None, sender_dropped: false, waiting_task: None }));
        (
            Sender { slot: slot.clone(), world: self.clone() },
            Receiver { slot, world: self.clone(), deadline: NEVER },
        )
    }

    /// Runs until no task can continue, a promise is broken, or the time is `until`.
    pub fn run(&self, until: i64) {
        let mut tasks: Vec<Task> = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let (new, woken, killed, stopped) = {
                let mut inner = self.lock();
                let stopped = inner.stopped || inner.violation.is_some();
                (
                    std::mem::take(&mut inner.spawned),
                    std::mem::take(&mut inner.woken),
                    std::mem::take(&mut inner.killed),
                    stopped,
                )
            };
            tasks.extend(new);
            if stopped {
                return;
            }
            if !killed.is_empty() {
                // Dropped outside of the lock, because their values may use the world when dropped.
                let (dead, alive) = tasks.into_iter().partition(|task| killed.contains(&task.owner));
                tasks = alive;
                drop::<Vec<Task>>(dead);
                continue;
            }
            let now = self.now();
            for task in &mut tasks {
                if woken.contains(&task.id) {
                    task.wake_at = now;
                }
            }
            let ready = tasks.iter().filter(|task| task.wake_at <= now).count();
            if ready == 0 {
                let Some(next) = tasks.iter().map(|task| task.wake_at).min().filter(|at| *at < NEVER) else {
                    return;
                };
                if next > until {
                    return;
                }
                self.lock().now = next;
                continue;
            }
            let pick = self.random_below(ready as u64);
            let mut ready = tasks.iter().enumerate().filter(|(_, task)| task.wake_at <= now);
            let Some((at, _)) = ready.nth(usize::try_from(pick).unwrap_or(0)) else { continue };
            {
                let mut inner = self.lock();
                inner.current = tasks[at].id;
                inner.pause_ms = None;
            }
            let done = tasks[at].work.as_mut().poll(&mut context).is_ready();
            if done {
                drop(tasks.swap_remove(at));
            } else {
                let inner = self.lock();
                tasks[at].wake_at = inner.now.saturating_add(inner.pause_ms.unwrap_or(0));
            }
        }
    }
}

/// A future that waits for a simulated time.
pub struct Sleep {
    world: Arc<World>,
    ms: u64,
    /// The time at which it is over; `None`: it was not polled yet.
    due: Option<i64>,
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let (due, ms) = (self.due, i64::try_from(self.ms).unwrap_or(NEVER));
        let mut inner = self.world.lock();
        if due.is_some_and(|due| inner.now >= due) {
            return Poll::Ready(());
        }
        let due = due.unwrap_or_else(|| inner.now.saturating_add(ms));
        inner.pause_until(due);
        drop(inner);
        self.due = Some(due);
        // A collection of many futures polls only those that were woken.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

struct Slot<T> {
    value: Option<T>,
    sender_dropped: bool,
    waiting_task: Option<u64>,
}

pub struct Sender<T> {
    slot: Arc<Mutex<Slot<T>>>,
    world: Arc<World>,
}

pub struct Receiver<T> {
    slot: Arc<Mutex<Slot<T>>>,
    world: Arc<World>,
    deadline: i64,
}

impl<T> Sender<T> {
    pub fn send(self, value: T) {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).value = Some(value);
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.sender_dropped = true;
        if let Some(task) = slot.waiting_task.take() {
            self.world.lock().woken.push(task);
        }
    }
}

impl<T> Receiver<T> {
    /// Receives the value; `None`: its sender was dropped, or the time-out expired.
    pub async fn within(mut self, ms: u64) -> Option<T> {
        self.deadline = self.world.now().saturating_add(i64::try_from(ms).unwrap_or(NEVER));
        self.await
    }
}

impl<T> Future for Receiver<T> {
    type Output = Option<T>;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = slot.value.take() {
            return Poll::Ready(Some(value));
        }
        let mut inner = self.world.lock();
        if slot.sender_dropped || inner.now >= self.deadline {
            return Poll::Ready(None);
        }
        inner.pause_until(self.deadline);
        slot.waiting_task = Some(inner.current);
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
