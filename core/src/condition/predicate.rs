//! What a condition is once it is checked, and what it evaluates to.

use indexmap::IndexMap;
use regex::{Regex, RegexBuilder};

use super::paths::Paths;
use crate::execution::facts::Facts;
use crate::execution::facts::Trigger;

/// The most that a compiled pattern may take, in bytes.
const MAX_PATTERN_SIZE: usize = 256 << 10;

/// The longest text that `+` makes, in bytes.
const MAX_TEXT_LEN: usize = 64 << 10;

/// What a condition looks at.
#[derive(Debug)]
pub struct Context<'a> {
    /// What is known of the execution.
    pub facts: &'a Facts,
    /// The variables of the job, without those of its matrix; the later winning.
    pub variables: &'a IndexMap<String, String>,
    /// What globs matched before.
    pub paths: &'a Paths<'a>,
}

/// A pattern of bounded size.
pub(crate) fn pattern(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).size_limit(MAX_PATTERN_SIZE).dfa_size_limit(MAX_PATTERN_SIZE).build().map_err(
        |error| {
            match error {
                regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
                // The parser draws the pattern first; its last line says what is wrong.
                other => {
                    let words = other.to_string();
                    words.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
                }
            }
        },
    )
}

/// A truth value to be found out.
#[derive(Debug, Clone)]
pub(super) enum Predicate {
    Const(bool),
    Fork,
    Draft,
    Not(Box<Predicate>),
    And(Box<Predicate>, Box<Predicate>),
    Or(Box<Predicate>, Box<Predicate>),
    If(Box<Predicate>, Box<Predicate>, Box<Predicate>),
    Alike(Box<Predicate>, Box<Predicate>),
    Equal(Value, Value),
    In(Value, Vec<Value>),
    Defined(Value),
    Changed(Vec<String>),
    Exists(Vec<String>),
    StartsWith(Value, Value),
    EndsWith(Value, Value),
    Contains(Value, Value),
    Matches(Value, Regex),
    MatchesValue(Value, Value),
}

/// A text to be found out.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Literal(String),
    Fact(Fact),
    Variable(Box<Value>),
    Join(Vec<Value>),
    Lower(Box<Value>),
    Upper(Box<Value>),
    If(Box<Predicate>, Box<Value>, Box<Value>),
}

/// A text that is known of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fact {
    Branch,
    Tag,
    Event,
    Commit,
    DefaultBranch,
    TargetBranch,
    Title,
}

/// The words that `event` may be.
pub(super) const EVENTS: [&str; 5] = ["push", "tag", "pull_request", "schedule", "manual"];

/// What `event` is: a push of a tag is another event than one of a branch.
#[must_use]
pub fn event(facts: &Facts) -> &'static str {
    match facts.trigger {
        Trigger::Push if facts.tag.is_some() => "tag",
        Trigger::Push => "push",
        Trigger::PullRequest => "pull_request",
        Trigger::Schedule => "schedule",
        // A retry has the facts of what it retries.
        Trigger::Manual | Trigger::Retry => "manual",
    }
}

impl Predicate {
    pub(super) fn holds(&self, known: &Context<'_>) -> Result<bool, String> {
        let request = known.facts.pull_request.as_ref();
        Ok(match self {
            Self::Const(value) => *value,
            Self::Fork => known.facts.is_from_fork(),
            Self::Draft => request.is_some_and(|request| request.draft),
            Self::Not(test) => !test.holds(known)?,
            Self::And(left, right) => left.holds(known)? && right.holds(known)?,
            Self::Or(left, right) => left.holds(known)? || right.holds(known)?,
            Self::If(test, then, other) => if test.holds(known)? { then } else { other }.holds(known)?,
            Self::Alike(left, right) => left.holds(known)? == right.holds(known)?,
            Self::Equal(left, right) => left.text(known)? == right.text(known)?,
            Self::In(value, list) => {
                let value = value.text(known)?;
                for one in list {
                    if one.text(known)? == value {
                        return Ok(true);
                    }
                }
                false
            }
            Self::Defined(name) => known.variables.contains_key(&name.text(known)?),
            Self::Changed(globs) => known.paths.changed(globs),
            Self::Exists(globs) => known.paths.exists(globs),
            Self::StartsWith(text, with) => text.text(known)?.starts_with(&with.text(known)?),
            Self::EndsWith(text, with) => text.text(known)?.ends_with(&with.text(known)?),
            Self::Contains(text, part) => text.text(known)?.contains(&part.text(known)?),
            Self::Matches(text, pattern) => pattern.is_match(&text.text(known)?),
            Self::MatchesValue(text, value) => {
                let written = value.text(known)?;
                let pattern = pattern(&written)
                    .map_err(|why| format!("`{}` is not a pattern: {why}", shortened(&written)))?;
                pattern.is_match(&text.text(known)?)
            }
        })
    }
}

impl Value {
    fn text(&self, known: &Context<'_>) -> Result<String, String> {
        Ok(match self {
            Self::Literal(text) => text.clone(),
            Self::Fact(fact) => fact.text(known.facts).unwrap_or_default().to_owned(),
            Self::Variable(name) => known.variables.get(&name.text(known)?).cloned().unwrap_or_default(),
            Self::Join(parts) => {
                let mut text = String::new();
                for part in parts {
                    text += &part.text(known)?;
                    if text.len() > MAX_TEXT_LEN {
                        return Err(format!("`+` makes a text of more than {MAX_TEXT_LEN} bytes"));
                    }
                }
                text
            }
            Self::Lower(text) => text.text(known)?.to_ascii_lowercase(),
            Self::Upper(text) => text.text(known)?.to_ascii_uppercase(),
            Self::If(test, then, other) => if test.holds(known)? { then } else { other }.text(known)?,
        })
    }
}

impl Fact {
    fn text(self, facts: &Facts) -> Option<&str> {
        let request = facts.pull_request.as_ref();
        match self {
            Self::Branch => facts.branch.as_deref(),
            Self::Tag => facts.tag.as_deref(),
            Self::Event => Some(event(facts)),
            Self::Commit => facts.commit.as_deref(),
            Self::DefaultBranch => facts.default_branch.as_deref(),
            Self::TargetBranch => request.map(|request| request.target_branch.as_str()),
            Self::Title => request.map(|request| request.title.as_str()),
        }
    }
}

pub(super) fn shortened(text: &str) -> String {
    text.chars().take(60).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
