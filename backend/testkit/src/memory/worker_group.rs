//! A group of machines in memory, which starts them when a test says so.

use async_trait::async_trait;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tidemill_core::scheduler::{Machine, WorkerGroupState};
use tidemill_services::error::Result;
use tidemill_services::ports::WorkerGroup;

/// A call to the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupCall {
    /// The state was read.
    State,
    /// This number of machines was requested.
    SetDesired(u32),
    /// This number of machines was requested on demand.
    SetFallback(u32),
    /// This machine was removed, and replaced or not.
    Remove(String, bool),
}

/// A group of machines that records the calls to it.
#[derive(Debug, Default)]
pub struct MemoryWorkerGroup(Mutex<GroupState>);

#[derive(Debug, Default)]
struct GroupState {
    group: WorkerGroupState,
    calls: Vec<GroupCall>,
    started: usize,
}

impl MemoryWorkerGroup {
    fn lock(&self) -> MutexGuard<'_, GroupState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates a group whose machines may be requested on demand as well.
    #[must_use]
    pub fn with_fallback() -> Self {
        let group = WorkerGroupState { fallback: Some(0), ..WorkerGroupState::default() };
        Self(Mutex::new(GroupState { group, ..GroupState::default() }))
    }

    /// Starts the machines that are requested and do not exist yet, and returns the ids of all.
    pub fn start_machines(&self) -> Vec<String> {
        let mut state = self.lock();
        while state.group.machines.len() < state.group.desired as usize {
            state.started += 1;
            let id = format!("i-{:03}", state.started);
            state.group.machines.push(Machine { id, is_leaving: false, is_fallback: false });
        }
        state.group.machines.iter().map(|machine| machine.id.clone()).collect()
    }

    /// Returns the calls since the last call of this function.
    pub fn take_calls(&self) -> Vec<GroupCall> {
        std::mem::take(&mut self.lock().calls)
    }

    /// Returns the changes since the last call of this function or of [`Self::take_calls`].
    pub fn take_changes(&self) -> Vec<GroupCall> {
        self.take_calls().into_iter().filter(|call| *call != GroupCall::State).collect()
    }
}

#[async_trait]
impl WorkerGroup for MemoryWorkerGroup {
    async fn state(&self) -> Result<WorkerGroupState> {
        let mut state = self.lock();
        state.calls.push(GroupCall::State);
        Ok(state.group.clone())
    }

    async fn set_desired(&self, number: u32) -> Result<()> {
        let mut state = self.lock();
        state.calls.push(GroupCall::SetDesired(number));
        state.group.desired = number;
        Ok(())
    }

    async fn set_fallback(&self, number: u32) -> Result<()> {
        let mut state = self.lock();
        state.calls.push(GroupCall::SetFallback(number));
        state.group.fallback = Some(number);
        Ok(())
    }

    async fn remove(&self, machine: &str, replace: bool) -> Result<()> {
        let mut state = self.lock();
        state.calls.push(GroupCall::Remove(machine.to_owned(), replace));
        state.group.machines.retain(|known| known.id != machine);
        if !replace {
            state.group.desired = state.group.desired.saturating_sub(1);
        }
        Ok(())
    }
}
