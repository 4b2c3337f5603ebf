//! Checks that every execution ends: from every reachable state, fair actions alone can reach an end.
//!
//! If that holds, a run can avoid an end only if a fair action stays possible for ever and never occurs, which fairness
//! excludes: the number of states is finite, so a fair run meets each path to an end again and again.

use super::{
    protocol::Protocol,
    state::{Action, State},
};
use stateright::Model;
use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

/// The result of an exploration.
pub struct Liveness {
    pub states: usize,
    pub transitions: usize,
    /// Actions that lead to a state from which no fair action leads to an end.
    pub stuck: Option<Vec<Action>>,
}

/// Explores all states of `model`.
pub fn explore(model: &Protocol) -> Liveness {
    let mut ids: HashMap<u128, u32> = HashMap::new();
    let mut predecessors: Vec<Option<(u32, Action)>> = Vec::new();
    let mut fair_predecessors: Vec<Vec<u32>> = Vec::new();
    let mut ended = Vec::new();
    let mut open = VecDeque::new();
    let mut transitions = 0;
    let first = model.initial();
    ids.insert(fingerprint(&first), 0);
    predecessors.push(None);
    fair_predecessors.push(Vec::new());
    open.push_back((0, first));
    let mut actions = Vec::new();
    while let Some((id, state)) = open.pop_front() {
        if Protocol::has_ended(&state) {
            ended.push(id);
        }
        actions.clear();
        model.actions(&state, &mut actions);
        for action in actions.drain(..) {
            let fair = Protocol::is_fair(&state, action);
            let Some(next) = model.next_state(&state, action) else { continue };
            transitions += 1;
            let print = fingerprint(&next);
            let to = if let Some(known) = ids.get(&print) {
                *known
            } else {
                let new = u32::try_from(predecessors.len()).unwrap();
                ids.insert(print, new);
                predecessors.push(Some((id, action)));
                fair_predecessors.push(Vec::new());
                open.push_back((new, next));
                new
            };
            if fair {
                fair_predecessors[to as usize].push(id);
            }
        }
    }
    let mut ends = vec![false; predecessors.len()];
    let mut reached = ended;
    while let Some(id) = reached.pop() {
        if !std::mem::replace(&mut ends[id as usize], true) {
            reached.extend(fair_predecessors[id as usize].iter().copied());
        }
    }
    let stuck = ends.iter().position(|ends| !ends).map(|mut at| {
        let mut path = Vec::new();
        while let Some((from, action)) = predecessors[at] {
            path.push(action);
            at = from as usize;
        }
        path.reverse();
        path
    });
    Liveness { states: predecessors.len(), transitions, stuck }
}

/// Returns a 128-bit hash of a state. All states would not fit into memory, and collisions are unlikely.
fn fingerprint(state: &State) -> u128 {
    let half = |seed: u64| {
        let mut hasher = DefaultHasher::new();
        seed.hash(&mut hasher);
        state.hash(&mut hasher);
        hasher.finish()
    };
    u128::from(half(0)) << 64 | u128::from(half(1))
}
