//! Finds patterns byte by byte, and knows where the bytes that it saw are in the stream.

#![allow(clippy::inline_always, reason = "what runs for each byte of output")]

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

/// Bytes that all patterns of one automaton have together at most: about three times what the largest secrets of a job come to.
const MAX_PATTERN_BYTES: usize = 8 << 20;

/// Up to so many an automaton is a table with all transitions, which takes about half a KiB for each byte, and is several
/// times as fast.
const MAX_TABLE_BYTES: usize = 16 << 10;

/// Why secrets cannot be masked; a job that has them must not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// They are longer than a server ever hands out.
    #[error("they are too long together; a job gets at most 256 KiB of secrets")]
    TooLarge,
    /// The automaton that finds them cannot be built.
    #[error("what finds them cannot be built")]
    Automaton,
}

/// Whether the characters around a match hold bits of the secret, too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PartialEdges {
    /// The character before.
    pub before: bool,
    /// The character after.
    pub after: bool,
}

/// What ends with the byte at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    /// Its length in characters.
    pub length: usize,
    pub edges: PartialEdges,
}

/// An automaton, fast or small.
enum Automaton {
    Table(Box<DFA>),
    Compact(Box<NFA>),
}

/// Finds patterns byte by byte.
pub(super) struct Finder {
    automaton: Automaton,
    /// Where every stream begins.
    pub start: StateID,
    /// How many of the last bytes a state stands for (they are the beginning of a pattern), sorted by state.
    depths: Box<[(StateID, u32)]>,
    edges: Box<[PartialEdges]>,
    /// The length of the longest pattern.
    pub longest: usize,
}

impl Automaton {
    fn new(patterns: &BTreeMap<Vec<u8>, PartialEdges>, bytes: usize) -> Result<Self, MaskError> {
        let failed = |_| MaskError::Automaton;
        // What follows is looked at byte by byte: a prefilter would never be used.
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
        // The special states come first: this is one comparison.
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
    /// A finder of `patterns`, none of which is empty; `None` when there are none.
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

    /// The state after one more byte.
    #[inline(always)]
    pub fn next(&self, state: StateID, byte: u8) -> StateID {
        self.automaton.next(state, byte)
    }

    /// The longest pattern that ends in `state`.
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

    /// How many of the last bytes may be the beginning of a pattern.
    pub fn depth(&self, state: StateID) -> usize {
        let found = self.depths.binary_search_by_key(&state, |(known, _)| *known);
        found.ok().and_then(|at| self.depths.get(at)).map_or(0, |(_, depth)| *depth as usize)
    }
}

/// Where in the stream the last characters were that a finder saw: one character may stand for several bytes, and bytes between
/// two characters may not count.
#[derive(Debug)]
pub(super) struct CharPositions {
    /// Characters so far.
    count: usize,
    /// Where runs of characters of one byte each begin: the number of the character, and its place.
    runs: VecDeque<(usize, usize)>,
    /// Where the last run ends.
    end: usize,
}

impl Default for CharPositions {
    fn default() -> Self {
        // No character is expected next: the first one begins a run.
        Self { count: 0, runs: VecDeque::new(), end: usize::MAX }
    }
}

impl CharPositions {
    /// As if all the bytes before `at` had been characters.
    pub fn set_contiguous(&mut self, at: usize, longest: usize) {
        self.count = at.min(longest);
        self.end = at;
        self.runs.clear();
        self.runs.push_back((0, at - self.count));
    }

    /// Adds a character that is at `begin..end`; nobody asks for more than the last `longest` and one.
    #[inline(always)]
    pub fn push(&mut self, begin: usize, end: usize, longest: usize) {
        if self.end != begin {
            self.begin_run(begin, longest);
        }
        self.count += 1;
        // A longer one ends its run, as what follows is elsewhere.
        self.end = if end == begin + 1 { end } else { usize::MAX };
    }

    #[cold]
    fn begin_run(&mut self, begin: usize, longest: usize) {
        self.runs.push_back((self.count, begin));
        while self.runs.get(1).is_some_and(|(first, _)| first + longest < self.count) {
            self.runs.pop_front();
        }
    }

    /// Forgets the last character.
    pub fn pop(&mut self) {
        self.count = self.count.saturating_sub(1);
        if self.runs.back().is_some_and(|(first, _)| *first >= self.count) {
            self.runs.pop_back();
        }
        self.end = usize::MAX;
    }

    /// Where the last `length` characters begin.
    pub fn begin_of(&self, length: usize) -> Option<usize> {
        let wanted = self.count.checked_sub(length)?;
        let (first, place) = self.runs.iter().rev().find(|(first, _)| *first <= wanted)?;
        Some(place + (wanted - first))
    }

    /// How many characters there were.
    pub const fn count(&self) -> usize {
        self.count
    }
}
