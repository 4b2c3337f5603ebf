//! Finds patterns byte by byte, and maps decoded characters to positions in the stream.

#![allow(clippy::inline_always, reason = "this runs for each byte of output")]

use aho_corasick::{
    Anchored, PatternID, StartKind,
    automaton::{Automaton as _, StateID},
    dfa::DFA,
    nfa::contiguous::NFA,
};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

/// Maximum total size of the patterns of one automaton in bytes: about three times that of the largest secrets of a job.
const MAX_PATTERN_BYTES: usize = 8 << 20;

/// Maximum total pattern size for a DFA, a table of all transitions. It takes about half a KiB per byte and is several times as
/// fast.
const MAX_TABLE_BYTES: usize = 16 << 10;

/// The reason why secrets cannot be masked. A job with such secrets must not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// The secrets are larger than a server sends.
    #[error("the secrets are too large in total; a job gets at most 256 KiB of secrets")]
    TooLarge,
    /// The automaton cannot be built.
    #[error("the search automaton cannot be built")]
    Automaton,
}

/// Whether the characters next to a match also contain bits of the secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PartialEdges {
    /// The character before.
    pub before: bool,
    /// The character after.
    pub after: bool,
}

/// A match that ends at the current byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    /// Length in characters.
    pub length: usize,
    pub edges: PartialEdges,
}

/// A fast or a small automaton.
enum Automaton {
    Table(Box<DFA>),
    Compact(Box<NFA>),
}

/// Finds patterns byte by byte.
pub(super) struct Finder {
    automaton: Automaton,
    /// The initial state.
    pub start: StateID,
    /// For each state, how many of the last bytes are the start of a pattern; sorted by state.
    depths: Box<[(StateID, u32)]>,
    edges: Box<[PartialEdges]>,
    /// The length of the longest pattern.
    pub longest: usize,
}

impl Automaton {
    fn new(patterns: &BTreeMap<Vec<u8>, PartialEdges>, bytes: usize) -> Result<Self, MaskError> {
        let failed = |_| MaskError::Automaton;
        // The automaton runs byte by byte, which never uses a prefilter.
        if bytes <= MAX_TABLE_BYTES {
            let mut builder = DFA::builder();
            let built = builder.start_kind(StartKind::Unanchored).prefilter(false).build(patterns.keys());
            return Ok(Self::Table(Box::new(built.map_err(failed)?)));
        }
        let built = NFA::builder().prefilter(false).build(patterns.keys());
        Ok(Self::Compact(Box::new(built.map_err(failed)?)))
    }

    fn start(&self) -> Result<StateID, MaskError> {
        let start = match self {
            Self::Table(automaton) => automaton.start_state(Anchored::No),
            Self::Compact(automaton) => automaton.start_state(Anchored::No),
        };
        start.map_err(|_| MaskError::Automaton)
    }

    #[inline(always)]
    fn next(&self, state: StateID, byte: u8) -> StateID {
        match self {
            Self::Table(automaton) => automaton.next_state(Anchored::No, state, byte),
            Self::Compact(automaton) => automaton.next_state(Anchored::No, state, byte),
        }
    }

    #[inline(always)]
    fn is_match(&self, state: StateID) -> bool {
        // Special states have the lowest ids: this is one comparison.
        match self {
            Self::Table(automaton) => automaton.is_special(state) && automaton.is_match(state),
            Self::Compact(automaton) => automaton.is_special(state) && automaton.is_match(state),
        }
    }

    fn match_len(&self, state: StateID) -> usize {
        match self {
            Self::Table(automaton) => automaton.match_len(state),
            Self::Compact(automaton) => automaton.match_len(state),
        }
    }

    fn match_pattern(&self, state: StateID, at: usize) -> PatternID {
        match self {
            Self::Table(automaton) => automaton.match_pattern(state, at),
            Self::Compact(automaton) => automaton.match_pattern(state, at),
        }
    }

    fn pattern_len(&self, pattern: PatternID) -> usize {
        match self {
            Self::Table(automaton) => automaton.pattern_len(pattern),
            Self::Compact(automaton) => automaton.pattern_len(pattern),
        }
    }
}

impl fmt::Debug for Finder {
    // The patterns are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finder").field("longest", &self.longest).finish_non_exhaustive()
    }
}

impl Finder {
    /// Creates a finder of non-empty `patterns`, or `None` if there are no patterns.
    pub fn new(patterns: BTreeMap<Vec<u8>, PartialEdges>) -> Result<Option<Self>, MaskError> {
        let Some(longest) = patterns.keys().map(Vec::len).max() else { return Ok(None) };
        let bytes: usize = patterns.keys().map(Vec::len).sum();
        if bytes > MAX_PATTERN_BYTES {
            return Err(MaskError::TooLarge);
        }
        let automaton = Automaton::new(&patterns, bytes)?;
        let start = automaton.start()?;
        let mut depths = vec![(start, 0)];
        for pattern in patterns.keys() {
            let mut state = start;
            for (depth, byte) in (1..).zip(pattern) {
                state = automaton.next(state, *byte);
                depths.push((state, depth));
            }
        }
        depths.sort_unstable();
        depths.dedup();
        let edges = patterns.into_values().collect();
        Ok(Some(Self { automaton, start, depths: depths.into(), edges, longest }))
    }

    /// Returns the state after one more byte.
    #[inline(always)]
    pub fn next(&self, state: StateID, byte: u8) -> StateID {
        self.automaton.next(state, byte)
    }

    /// Returns the longest pattern that ends in `state`.
    #[inline(always)]
    pub fn matched(&self, state: StateID) -> Option<Match> {
        if self.automaton.is_match(state) { Some(self.longest(state)) } else { None }
    }

    #[cold]
    fn longest(&self, state: StateID) -> Match {
        let mut longest = Match { length: 0, edges: PartialEdges::default() };
        for at in 0..self.automaton.match_len(state) {
            let pattern = self.automaton.match_pattern(state, at);
            let edges = self.edges.get(pattern.as_usize()).copied().unwrap_or_default();
            let length = self.automaton.pattern_len(pattern);
            longest.edges.after |= edges.after;
            if length > longest.length {
                longest.length = length;
                longest.edges.before = edges.before;
            }
        }
        longest
    }

    /// Returns how many of the last bytes may be the start of a pattern.
    pub fn depth(&self, state: StateID) -> usize {
        let index = self.depths.binary_search_by_key(&state, |(id, _)| *id);
        index.ok().and_then(|index| self.depths.get(index)).map_or(0, |(_, depth)| *depth as usize)
    }
}

/// Stream positions of the last characters of a finder: one character may be encoded by several bytes, and bytes between two
/// characters may be skipped.
#[derive(Debug)]
pub(super) struct CharPositions {
    /// Number of characters so far.
    count: usize,
    /// Starts of runs of single-byte characters: the number of the character and its position.
    runs: VecDeque<(usize, usize)>,
    /// End of the last run.
    end: usize,
}

impl Default for CharPositions {
    fn default() -> Self {
        // No next position is expected: the first character starts a run.
        Self { count: 0, runs: VecDeque::new(), end: usize::MAX }
    }
}

impl CharPositions {
    /// Resets to a stream in which each byte before `at` is a character.
    pub fn set_contiguous(&mut self, at: usize, longest: usize) {
        self.count = at.min(longest);
        self.end = at;
        self.runs.clear();
        self.runs.push_back((0, at - self.count));
    }

    /// Adds a character at `start..end`. Only the last `longest` + 1 characters are kept.
    #[inline(always)]
    pub fn push(&mut self, start: usize, end: usize, longest: usize) {
        if self.end != start {
            self.start_run(start, longest);
        }
        self.count += 1;
        // A character of several bytes ends its run.
        self.end = if end == start + 1 { end } else { usize::MAX };
    }

    #[cold]
    fn start_run(&mut self, start: usize, longest: usize) {
        self.runs.push_back((self.count, start));
        while self.runs.get(1).is_some_and(|(first, _)| first + longest < self.count) {
            self.runs.pop_front();
        }
    }

    /// Removes the last character.
    pub fn pop(&mut self) {
        self.count = self.count.saturating_sub(1);
        if self.runs.back().is_some_and(|(first, _)| *first >= self.count) {
            self.runs.pop_back();
        }
        self.end = usize::MAX;
    }

    /// Returns the start of the last `length` characters.
    pub fn start_of(&self, length: usize) -> Option<usize> {
        let target = self.count.checked_sub(length)?;
        let (first, position) = self.runs.iter().rev().find(|(first, _)| *first <= target)?;
        Some(position + (target - first))
    }

    /// Returns the number of characters so far.
    pub const fn count(&self) -> usize {
        self.count
    }
}
