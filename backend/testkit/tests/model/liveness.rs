//! Whether every execution ends: from every state that can be reached, an end can be reached by fair actions alone.
//!
//! Where that holds, the only runs that never end are those in which some fair action stays possible for ever and is never
//! taken, which fairness rules out: the states are finite, so a fair run that stays in them comes by each path to the end
//! again and again.

use super::{
    protocol::Protocol,
    state::{Action, State},
};
use stateright::Model;
use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

/// What was found.
pub struct Liveness {
    pub states: usize,
    pub transitions: usize,
    /// Actions that lead to a state from which no fair action leads to an end.
    pub stuck: Option<Vec<Action>>,
}

/// Explores all of `model`'s states.
pub fn explore(model: &Protocol) -> Liveness {
    let mut ids: HashMap<u128, u32> = HashMap::new();
    let mut came_by: Vec<Option<(u32, Action)>> = Vec::new();
    let mut fair_into: Vec<Vec<u32>> = Vec::new();
    let mut over = Vec::new();
    let mut open = VecDeque::new();
    let mut transitions = 0;
    let first = model.initial();
    ids.insert(fingerprint(&first), 0);
    came_by.push(None);
    fair_into.push(Vec::new());
    open.push_back((0, first));
    let mut actions = Vec::new();
    while let Some((id, state)) = open.pop_front() {
        if Protocol::is_over(&state) {
            over.push(id);
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
                let new = u32::try_from(came_by.len()).unwrap();
                ids.insert(print, new);
                came_by.push(Some((id, action)));
                fair_into.push(Vec::new());
                open.push_back((new, next));
                new
            };
            if fair {
                fair_into[to as usize].push(id);
            }
        }
    }
    let mut ends = vec![false; came_by.len()];
    let mut reached = over;
    while let Some(id) = reached.pop() {
        if !std::mem::replace(&mut ends[id as usize], true) {
            reached.extend(fair_into[id as usize].iter().copied());
        }
    }
    let stuck = ends.iter().position(|ends| !ends).map(|mut at| {
        let mut path = Vec::new();
        while let Some((from, action)) = came_by[at] {
            path.push(action);
            at = from as usize;
        }
        path.reverse();
        path
    });
    Liveness { states: came_by.len(), transitions, stuck }
}

/// Stands for a state, of which there are too many to keep: two of 2^128 values are hardly ever the same by chance.
fn fingerprint(state: &State) -> u128 {
    let half = |seed: u64| {
        let mut hasher = DefaultHasher::new();
        seed.hash(&mut hasher);
        state.hash(&mut hasher);
        hasher.finish()
    };
    u128::from(half(0)) << 64 | u128::from(half(1))
}
