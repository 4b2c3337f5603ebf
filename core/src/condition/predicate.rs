//! The checked form of a condition, and its evaluation.

use indexmap::IndexMap;
use regex::{Regex, RegexBuilder};

use super::paths::Paths;
use crate::execution::facts::Facts;
use crate::execution::facts::Trigger;

/// Maximum nesting depth of a condition.
pub(super) const MAX_DEPTH: u16 = 32;

/// Maximum size of a compiled pattern in bytes.
const MAX_PATTERN_SIZE: usize = 256 << 10;

/// Maximum length of a string built with `+`, in bytes.
const MAX_TEXT_LEN: usize = 64 << 10;

/// The data that a condition reads.
#[derive(Debug)]
pub struct Context<'a> {
    /// The facts of the execution.
    pub facts: &'a Facts,
    /// The variables of the job without those of its matrix; later ones win.
    pub variables: &'a IndexMap<String, String>,
    /// The paths, with earlier matches.
    pub paths: &'a Paths<'a>,
}

/// Compiles a pattern of bounded size.
pub(crate) fn compile_pattern(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).size_limit(MAX_PATTERN_SIZE).dfa_size_limit(MAX_PATTERN_SIZE).build().map_err(
        |error| {
            match error {
                regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
                // The parser prints the pattern first; its last line is the error.
                other => {
                    let message = other.to_string();
                    message.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
                }
            }
        },
    )
}

/// An expression of type boolean.
#[derive(Debug, Clone)]
pub(super) enum Predicate {
    Const(bool),
    Fork,
    Draft,
    Not(Box<Predicate>),
    And(Box<Predicate>, Box<Predicate>),
    Or(Box<Predicate>, Box<Predicate>),
    If(Box<Predicate>, Box<Predicate>, Box<Predicate>),
    BoolEqual(Box<Predicate>, Box<Predicate>),
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

/// An expression of type string.
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

/// A fact of type string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fact {
    Branch,
    Tag,
    Event,
    Commit,
    DefaultBranch,
    CommitMessage,
    CommitTitle,
    CommitAuthor,
    TargetBranch,
    Title,
}

/// The possible values of `event`.
pub(super) const EVENTS: [&str; 6] = ["push", "tag", "pull_request", "schedule", "manual", "parent_pipeline"];

/// Returns the value of `event`: a push of a tag is a different event than a push of a branch.
#[must_use]
pub fn event(facts: &Facts) -> &'static str {
    match facts.trigger {
        Trigger::Push if facts.tag.is_some() => "tag",
        Trigger::Push => "push",
        Trigger::PullRequest => "pull_request",
        Trigger::Schedule => "schedule",
        Trigger::ParentPipeline => "parent_pipeline",
        // A retry has the facts of the retried execution.
        Trigger::Manual | Trigger::Retry => "manual",
    }
}

impl Predicate {
    pub(super) fn holds(&self, context: &Context<'_>) -> Result<bool, String> {
        let request = context.facts.pull_request.as_ref();
        Ok(match self {
            Self::Const(value) => *value,
            Self::Fork => context.facts.is_from_fork(),
            Self::Draft => request.is_some_and(|request| request.draft),
            Self::Not(test) => !test.holds(context)?,
            Self::And(left, right) => left.holds(context)? && right.holds(context)?,
            Self::Or(left, right) => left.holds(context)? || right.holds(context)?,
            Self::If(test, then, other) => if test.holds(context)? { then } else { other }.holds(context)?,
            Self::BoolEqual(left, right) => left.holds(context)? == right.holds(context)?,
            Self::Equal(left, right) => left.text(context)? == right.text(context)?,
            Self::In(value, list) => {
                let value = value.text(context)?;
                for one in list {
                    if one.text(context)? == value {
                        return Ok(true);
                    }
                }
                false
            }
            Self::Defined(name) => context.variables.contains_key(&name.text(context)?),
            Self::Changed(globs) => context.paths.changed(globs),
            Self::Exists(globs) => context.paths.exists(globs),
            Self::StartsWith(text, affix) => text.text(context)?.starts_with(&affix.text(context)?),
            Self::EndsWith(text, affix) => text.text(context)?.ends_with(&affix.text(context)?),
            Self::Contains(text, part) => text.text(context)?.contains(&part.text(context)?),
            Self::Matches(text, pattern) => pattern.is_match(&text.text(context)?),
            Self::MatchesValue(text, value) => {
                let written = value.text(context)?;
                let pattern = compile_pattern(&written)
                    .map_err(|why| format!("`{}` is not a pattern: {why}", truncate(&written)))?;
                pattern.is_match(&text.text(context)?)
            }
        })
    }
}

impl Value {
    fn text(&self, context: &Context<'_>) -> Result<String, String> {
        Ok(match self {
            Self::Literal(text) => text.clone(),
            Self::Fact(fact) => fact.text(context.facts).unwrap_or_default().to_owned(),
            Self::Variable(name) => context.variables.get(&name.text(context)?).cloned().unwrap_or_default(),
            Self::Join(parts) => {
                let mut text = String::new();
                for part in parts {
                    text += &part.text(context)?;
                    if text.len() > MAX_TEXT_LEN {
                        return Err(format!("`+` builds a string of more than {MAX_TEXT_LEN} bytes"));
                    }
                }
                text
            }
            Self::Lower(text) => text.text(context)?.to_ascii_lowercase(),
            Self::Upper(text) => text.text(context)?.to_ascii_uppercase(),
            Self::If(test, then, other) => if test.holds(context)? { then } else { other }.text(context)?,
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
            Self::CommitMessage => facts.details.message.as_deref(),
            Self::CommitTitle => facts.details.title(),
            Self::CommitAuthor => facts.details.author.as_deref(),
        }
    }
}

pub(super) fn truncate(text: &str) -> String {
    text.chars().take(60).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
