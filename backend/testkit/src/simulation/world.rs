//! The world of one run: its time, its chance, and its tasks, of which one at a time goes on, until its next wait.
//!
//! Everything that happens follows from the seed: tasks are polled by hand, in an order that the seed gives.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// Whose a task is: what dies with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskOwner {
    Server(usize),
    Worker(usize),
    /// Clients, and what plays fate.
    Nobody,
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
    /// How long the task that is being polled wants to wait.
    pause_ms: i64,
    current: u64,
    next_id: u64,
    spawned: Vec<Task>,
    woken: Vec<u64>,
    killed: Vec<TaskOwner>,
    hash: u64,
    events: u64,
    last: VecDeque<String>,
    broken: Option<String>,
    stopped: bool,
}

/// The world.
pub struct World {
    inner: Mutex<Inner>,
    /// Whether every event is printed.
    loud: bool,
}

/// What is kept of the last events, for a violation.
const MAX_RECORDED_EVENTS: usize = 60;
/// Never, as far as a run goes.
const NEVER: i64 = i64::MAX;

impl World {
    pub fn new(seed: u64, loud: bool) -> Arc<Self> {
        let inner = Inner {
            now: 1_780_000_000_000,
            rng: fastrand::Rng::with_seed(seed),
            pause_ms: 0,
            current: 0,
            next_id: 0,
            spawned: Vec::new(),
            woken: Vec::new(),
            killed: Vec::new(),
            hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
            last: VecDeque::new(),
            broken: None,
            stopped: false,
        };
        Arc::new(Self { inner: Mutex::new(inner), loud })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds.
    pub fn now(&self) -> i64 {
        self.lock().now
    }

    /// A number below `below`.
    pub fn below(&self, below: u64) -> u64 {
        self.lock().rng.u64(..below.max(1))
    }

    /// True so many times in a thousand.
    pub fn chance(&self, per_mille: u32) -> bool {
        per_mille > 0 && self.lock().rng.u32(..1000) < per_mille
    }

    pub fn random(&self) -> u128 {
        self.lock().rng.u128(..)
    }

    /// Something happened: part of the trace by which runs are compared.
    pub fn event(&self, words: std::fmt::Arguments<'_>) {
        let mut inner = self.lock();
        let mut line = String::new();
        let _ = write!(line, "{:>9} ", inner.now - 1_780_000_000_000);
        let _ = line.write_fmt(words);
        for byte in line.bytes() {
            // FNV-1a.
            inner.hash = (inner.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        inner.events += 1;
        if self.loud {
            println!("{line}");
        }
        if inner.last.len() == MAX_RECORDED_EVENTS {
            inner.last.pop_front();
        }
        inner.last.push_back(line);
    }

    /// A promise was broken: the run ends here.
    pub fn violation(&self, words: String) {
        self.event(format_args!("VIOLATION: {words}"));
        self.lock().broken.get_or_insert(words);
    }

    /// The hash of all events, their number, what was broken, and the last events.
    pub fn outcome(&self) -> (u64, u64, Option<String>, Vec<String>) {
        let inner = self.lock();
        (inner.hash, inner.events, inner.broken.clone(), inner.last.iter().cloned().collect())
    }

    /// Waits, while others go on.
    pub fn pause(self: &Arc<Self>, ms: u64) -> Sleep {
        Sleep { world: self.clone(), ms, waited: false }
    }

    pub fn spawn(&self, owner: TaskOwner, work: impl Future<Output = ()> + Send + 'static) {
        let mut inner = self.lock();
        inner.next_id += 1;
        let task = Task { id: inner.next_id, owner, wake_at: inner.now, work: Box::pin(work) };
        inner.spawned.push(task);
    }

    /// Ends all tasks of an owner, wherever they wait.
    pub fn kill(&self, owner: TaskOwner) {
        self.lock().killed.push(owner);
    }

    /// Ends the run after this step.
    pub fn stop(&self) {
        self.lock().stopped = true;
    }

    /// A place for one value that one task waits for.
    pub fn slot<T>(self: &Arc<Self>) -> (Sender<T>, Receiver<T>) {
        let slot = Arc::new(Mutex::new(Slot { value: None, gone: false, waits: None }));
        (
            Sender { slot: slot.clone(), world: self.clone() },
            Receiver { slot, world: self.clone(), deadline: NEVER },
        )
    }

    /// Runs until nothing is left to do, something is broken, or the time is `until`.
    pub fn run(&self, until: i64) {
        let mut tasks: Vec<Task> = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let (new, woken, killed, stopped) = {
                let mut inner = self.lock();
                let stopped = inner.stopped || inner.broken.is_some();
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
                // Dropped outside of the lock: what they hold may speak to the world.
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
            let pick = self.below(ready as u64);
            let mut ready = tasks.iter().enumerate().filter(|(_, task)| task.wake_at <= now);
            let Some((at, _)) = ready.nth(usize::try_from(pick).unwrap_or(0)) else { continue };
            {
                let mut inner = self.lock();
                inner.current = tasks[at].id;
                inner.pause_ms = 0;
            }
            let done = tasks[at].work.as_mut().poll(&mut context).is_ready();
            if done {
                drop(tasks.swap_remove(at));
            } else {
                let inner = self.lock();
                tasks[at].wake_at = inner.now.saturating_add(inner.pause_ms);
            }
        }
    }
}

/// A wait.
pub struct Sleep {
    world: Arc<World>,
    ms: u64,
    waited: bool,
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.waited, true) {
            return Poll::Ready(());
        }
        self.world.lock().pause_ms = i64::try_from(self.ms).unwrap_or(NEVER);
        Poll::Pending
    }
}

struct Slot<T> {
    value: Option<T>,
    gone: bool,
    waits: Option<u64>,
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
        slot.gone = true;
        if let Some(task) = slot.waits.take() {
            self.world.lock().woken.push(task);
        }
    }
}

impl<T> Receiver<T> {
    /// The value; `None`: its sender died, or the time is over.
    pub async fn within(mut self, ms: u64) -> Option<T> {
        self.deadline = self.world.now().saturating_add(i64::try_from(ms).unwrap_or(NEVER));
        self.await
    }
}

impl<T> Future for Receiver<T> {
    type Output = Option<T>;
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<T>> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = slot.value.take() {
            return Poll::Ready(Some(value));
        }
        let mut inner = self.world.lock();
        if slot.gone || inner.now >= self.deadline {
            return Poll::Ready(None);
        }
        inner.pause_ms = self.deadline.saturating_sub(inner.now);
        slot.waits = Some(inner.current);
        Poll::Pending
    }
}
