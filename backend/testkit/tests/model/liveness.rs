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
    hash::{Hash, Hasher},
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
    let mut hasher = Fingerprint(MULTIPLIER);
    state.hash(&mut hasher);
    hasher.0
}

/// An odd number whose multiples are well distributed, as random number generators use it.
const MULTIPLIER: u128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;

/// Hashes to 128 bits in one pass. Nobody chooses the states, so that it need not resist attacks; the default hasher would take half
/// of the time of the test.
struct Fingerprint(u128);

impl Fingerprint {
    #[inline]
    fn add(&mut self, value: u128) {
        self.0 = (self.0 ^ value).wrapping_mul(MULTIPLIER).rotate_left(64);
    }
}

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(16) {
            let mut value = [0; 16];
            value[..chunk.len()].copy_from_slice(chunk);
            self.add(u128::from_le_bytes(value));
        }
    }

    #[inline]
    fn write_u8(&mut self, value: u8) {
        self.add(value.into());
    }

    #[inline]
    fn write_usize(&mut self, value: usize) {
        self.add(value as u128);
    }

    // Variants of enums.
    #[inline]
    fn write_isize(&mut self, value: isize) {
        self.write_usize(value.cast_unsigned());
    }

    fn finish(&self) -> u64 {
        u64::try_from(self.0 >> 64).unwrap()
    }
}
