//! The checked form of a condition, and its evaluation.

use indexmap::IndexMap;
use regex::{Regex, RegexBuilder};
use std::collections::BTreeMap;

use super::evaluation_error::{EvaluationError, PatternError};
use super::paths::Paths;
use crate::execution::facts::Facts;
use crate::execution::facts::Trigger;
use crate::execution::status::ExecutionStatus;
use crate::repository::webhook::PullRequestAction;

/// Maximum nesting depth of a condition.
pub(super) const MAX_DEPTH: u16 = 32;

/// Maximum size of a compiled pattern in bytes.
const MAX_PATTERN_SIZE: usize = 256 << 10;

/// Maximum length of a string built with `+`, in bytes.
const MAX_TEXT_LEN: usize = 64 << 10;

/// The data that a condition reads.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The facts of the execution.
    pub facts: &'a Facts,
    /// The variables of the job without those of its matrix; later ones win.
    pub variables: &'a IndexMap<String, String>,
    /// The paths, with earlier matches.
    pub paths: &'a Paths<'a>,
}

/// The outputs of ended jobs by the names of the jobs in the file. What is not set is the empty string.
pub type Outputs = BTreeMap<String, IndexMap<String, String>>;

/// What a condition is evaluated with.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// The facts of an execution whose jobs have not run: outputs are not known.
    Planned(Context<'a>),
    /// The outputs of jobs; facts and variables are literals by now.
    Due(&'a Outputs),
}

impl<'a> Source<'a> {
    const fn planned(self) -> Option<Context<'a>> {
        match self {
            Self::Planned(context) => Some(context),
            Self::Due(_) => None,
        }
    }
}

/// Compiles a pattern of bounded size.
pub(crate) fn compile_pattern(text: &str) -> Result<Regex, PatternError> {
    let compiled =
        RegexBuilder::new(text).size_limit(MAX_PATTERN_SIZE).dfa_size_limit(MAX_PATTERN_SIZE).build();
    compiled.map_err(PatternError::from)
}

/// An expression of type boolean.
#[derive(Debug, Clone, PartialEq)]
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
    ChangedSince(Value, Vec<String>),
    Exists(Vec<String>),
    StartsWith(Value, Value),
    EndsWith(Value, Value),
    Contains(Value, Value),
    Matches(Value, Pattern),
    MatchesValue(Value, Value),
}

/// A compiled pattern. Two are equal if they are written in the same way.
#[derive(Debug, Clone)]
pub(super) struct Pattern(Regex);

impl Pattern {
    /// Compiles a pattern of bounded size.
    pub(super) fn new(text: &str) -> Result<Self, PatternError> {
        compile_pattern(text).map(Self)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// An expression of type string.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Literal(String),
    Fact(Fact),
    Variable(Box<Value>),
    Join(Vec<Value>),
    Lower(Box<Value>),
    Upper(Box<Value>),
    If(Box<Predicate>, Box<Value>, Box<Value>),
    Output { job: String, name: String },
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
    Action,
    Comment,
    CommentAuthor,
    Upstream,
    UpstreamStatus,
}

/// The names of facts of type string.
pub(super) const TEXT_FACTS: [(&str, Fact); 15] = [
    ("branch", Fact::Branch),
    ("tag", Fact::Tag),
    ("event", Fact::Event),
    ("commit", Fact::Commit),
    ("default_branch", Fact::DefaultBranch),
    ("target_branch", Fact::TargetBranch),
    ("title", Fact::Title),
    ("commit_message", Fact::CommitMessage),
    ("commit_title", Fact::CommitTitle),
    ("commit_author", Fact::CommitAuthor),
    ("action", Fact::Action),
    ("comment", Fact::Comment),
    ("comment_author", Fact::CommentAuthor),
    ("upstream", Fact::Upstream),
    ("upstream_status", Fact::UpstreamStatus),
];

/// The possible values of `event`.
pub(super) const EVENTS: [&str; 10] = [
    "push",
    "tag",
    "pull_request",
    "schedule",
    "manual",
    "parent_pipeline",
    "merge_group",
    "release",
    "comment",
    "pipeline",
];

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
        Trigger::MergeGroup => "merge_group",
        Trigger::Release => "release",
        Trigger::Comment => "comment",
        Trigger::Pipeline => "pipeline",
    }
}

/// The possible values of `upstream_status`.
pub(super) const UPSTREAM_STATUSES: [&str; 3] = ["success", "failed", "canceled"];

const fn upstream_status(status: ExecutionStatus) -> &'static str {
    match status {
        ExecutionStatus::Success => "success",
        ExecutionStatus::Failed => "failed",
        ExecutionStatus::Canceled => "canceled",
        ExecutionStatus::Pending | ExecutionStatus::Running => "",
    }
}

impl Predicate {
    /// Evaluates `changed_since`. A function of its own, as its values need not be on the stack at every level of a condition.
    fn changed_since(
        reference: &Value,
        globs: &[String],
        source: Source<'_>,
    ) -> Result<Self, EvaluationError> {
        Ok(match (reference.reduce(source)?, source.planned()) {
            (Value::Literal(reference), Some(of)) => Self::Const(of.paths.changed_since(&reference, globs)?),
            (reference, _) => Self::ChangedSince(reference, globs.to_vec()),
        })
    }

    /// Evaluates what `source` decides: returns a constant, or a predicate of outputs that are not known yet, with literals
    /// for everything else. Both sides of such a predicate are evaluated, so that all its globs are matched.
    pub(super) fn reduce(&self, source: Source<'_>) -> Result<Self, EvaluationError> {
        Ok(match self {
            Self::Not(test) => match test.reduce(source)? {
                Self::Const(value) => Self::Const(!value),
                open => Self::Not(Box::new(open)),
            },
            Self::And(left, right) => match left.reduce(source)? {
                Self::Const(false) => Self::Const(false),
                Self::Const(true) => right.reduce(source)?,
                left => match right.reduce(source)? {
                    Self::Const(false) => Self::Const(false),
                    Self::Const(true) => left,
                    right => Self::And(Box::new(left), Box::new(right)),
                },
            },
            Self::Or(left, right) => match left.reduce(source)? {
                Self::Const(true) => Self::Const(true),
                Self::Const(false) => right.reduce(source)?,
                left => match right.reduce(source)? {
                    Self::Const(true) => Self::Const(true),
                    Self::Const(false) => left,
                    right => Self::Or(Box::new(left), Box::new(right)),
                },
            },
            Self::If(test, then, other) => match test.reduce(source)? {
                Self::Const(true) => then.reduce(source)?,
                Self::Const(false) => other.reduce(source)?,
                test => {
                    let (then, other) = (then.reduce(source)?, other.reduce(source)?);
                    Self::If(Box::new(test), Box::new(then), Box::new(other))
                }
            },
            Self::BoolEqual(left, right) => match (left.reduce(source)?, right.reduce(source)?) {
                (Self::Const(left), Self::Const(right)) => Self::Const(left == right),
                (left, right) => Self::BoolEqual(Box::new(left), Box::new(right)),
            },
            simple => simple.reduce_simple(source)?,
        })
    }

    /// Evaluates a predicate without others in it. A function of its own, as its values need not be on the stack at every level.
    fn reduce_simple(&self, source: Source<'_>) -> Result<Self, EvaluationError> {
        let known = source.planned();
        let unchanged = || self.clone();
        let fact =
            |value: &dyn Fn(Context<'_>) -> bool| known.map_or_else(unchanged, |of| Self::Const(value(of)));
        let texts = |left: &Value, right: &Value| {
            Ok::<_, EvaluationError>((left.reduce(source)?, right.reduce(source)?))
        };
        let compared = |(left, right): (Value, Value),
                        test: fn(&str, &str) -> bool,
                        open: fn(Value, Value) -> Self| match (&left, &right) {
            (Value::Literal(left), Value::Literal(right)) => Self::Const(test(left, right)),
            _ => open(left, right),
        };
        Ok(match self {
            Self::Const(value) => Self::Const(*value),
            Self::Fork => fact(&|of| of.facts.is_from_fork()),
            Self::Draft => fact(&|of| of.facts.pull_request.as_ref().is_some_and(|request| request.draft)),
            Self::Changed(globs) => fact(&|of| of.paths.changed(globs)),
            Self::ChangedSince(reference, globs) => Self::changed_since(reference, globs, source)?,
            Self::Exists(globs) => fact(&|of| of.paths.exists(globs)),
            Self::Equal(left, right) => compared(texts(left, right)?, |a, b| a == b, Self::Equal),
            Self::In(value, list) => value.reduce_in(list, source)?,
            Self::Defined(name) => match (name.reduce(source)?, known) {
                (Value::Literal(name), Some(of)) => Self::Const(of.variables.contains_key(&name)),
                (name, _) => Self::Defined(name),
            },
            Self::StartsWith(text, affix) => {
                compared(texts(text, affix)?, |text, affix| text.starts_with(affix), Self::StartsWith)
            }
            Self::EndsWith(text, affix) => {
                compared(texts(text, affix)?, |text, affix| text.ends_with(affix), Self::EndsWith)
            }
            Self::Contains(text, part) => {
                compared(texts(text, part)?, |text, part| text.contains(part), Self::Contains)
            }
            Self::Matches(text, pattern) => match text.reduce(source)? {
                Value::Literal(text) => Self::Const(pattern.0.is_match(&text)),
                text => Self::Matches(text, pattern.clone()),
            },
            Self::MatchesValue(text, value) => match value.reduce(source)? {
                Value::Literal(written) => {
                    let pattern = Pattern::new(&written)
                        .map_err(|error| EvaluationError::Pattern { pattern: truncate(&written), error })?;
                    Self::Matches(text.clone(), pattern).reduce(source)?
                }
                // The parser takes no pattern from an output.
                value => Self::MatchesValue(text.clone(), value),
            },
            Self::Not(_) | Self::And(..) | Self::Or(..) | Self::If(..) | Self::BoolEqual(..) => {
                self.reduce(source)?
            }
        })
    }

    /// Calls `visit` with each text of the predicate.
    pub(super) fn each_value(&self, visit: &mut dyn FnMut(&Value)) {
        match self {
            Self::Const(_) | Self::Fork | Self::Draft | Self::Changed(_) | Self::Exists(_) => {}
            Self::Not(test) => test.each_value(visit),
            Self::And(left, right) | Self::Or(left, right) | Self::BoolEqual(left, right) => {
                left.each_value(visit);
                right.each_value(visit);
            }
            Self::If(test, then, other) => {
                for part in [test, then, other] {
                    part.each_value(visit);
                }
            }
            Self::Defined(text) | Self::Matches(text, _) | Self::ChangedSince(text, _) => {
                text.each_value(visit);
            }
            Self::In(text, list) => {
                text.each_value(visit);
                for item in list {
                    item.each_value(visit);
                }
            }
            Self::Equal(left, right)
            | Self::StartsWith(left, right)
            | Self::EndsWith(left, right)
            | Self::Contains(left, right)
            | Self::MatchesValue(left, right) => {
                left.each_value(visit);
                right.each_value(visit);
            }
        }
    }
}

impl Value {
    /// Like [`Predicate::reduce`].
    pub(super) fn reduce(&self, source: Source<'_>) -> Result<Self, EvaluationError> {
        Ok(match self {
            Self::Literal(text) => Self::Literal(text.clone()),
            Self::Fact(fact) => source.planned().map_or_else(
                || self.clone(),
                |of| Self::Literal(fact.text(of.facts).unwrap_or_default().to_owned()),
            ),
            Self::Variable(name) => match (name.reduce(source)?, source.planned()) {
                (Self::Literal(name), Some(of)) => {
                    Self::Literal(of.variables.get(&name).cloned().unwrap_or_default())
                }
                (name, _) => Self::Variable(Box::new(name)),
            },
            Self::Join(parts) => Self::join(parts, source)?,
            Self::Lower(text) => match text.reduce(source)? {
                Self::Literal(text) => Self::Literal(text.to_ascii_lowercase()),
                text => Self::Lower(Box::new(text)),
            },
            Self::Upper(text) => match text.reduce(source)? {
                Self::Literal(text) => Self::Literal(text.to_ascii_uppercase()),
                text => Self::Upper(Box::new(text)),
            },
            Self::If(test, then, other) => match test.reduce(source)? {
                Predicate::Const(true) => then.reduce(source)?,
                Predicate::Const(false) => other.reduce(source)?,
                test => {
                    let (then, other) = (then.reduce(source)?, other.reduce(source)?);
                    Self::If(Box::new(test), Box::new(then), Box::new(other))
                }
            },
            Self::Output { job, name } => match source {
                Source::Planned(_) => self.clone(),
                Source::Due(outputs) => {
                    let value = outputs.get(job).and_then(|of| of.get(name));
                    Self::Literal(value.cloned().unwrap_or_default())
                }
            },
        })
    }

    fn join(parts: &[Self], source: Source<'_>) -> Result<Self, EvaluationError> {
        let mut joined: Vec<Self> = Vec::with_capacity(parts.len());
        for part in parts {
            match (joined.last_mut(), part.reduce(source)?) {
                (Some(Self::Literal(text)), Self::Literal(more)) => {
                    *text += &more;
                    if text.len() > MAX_TEXT_LEN {
                        return Err(EvaluationError::TextTooLong(MAX_TEXT_LEN));
                    }
                }
                (_, part) => joined.push(part),
            }
        }
        Ok(match joined.as_slice() {
            [Self::Literal(text)] => Self::Literal(text.clone()),
            _ => Self::Join(joined),
        })
    }

    /// Returns whether the value is one of `list`, as far as `source` decides it.
    fn reduce_in(&self, list: &[Self], source: Source<'_>) -> Result<Predicate, EvaluationError> {
        let value = self.reduce(source)?;
        let mut open = Vec::new();
        for item in list {
            match (&value, item.reduce(source)?) {
                (Self::Literal(value), Self::Literal(item)) if *value == item => {
                    return Ok(Predicate::Const(true));
                }
                (Self::Literal(_), Self::Literal(_)) => {}
                (_, item) => open.push(item),
            }
        }
        Ok(if open.is_empty() { Predicate::Const(false) } else { Predicate::In(value, open) })
    }

    /// Calls `visit` with the value and each text in it.
    fn each_value(&self, visit: &mut dyn FnMut(&Self)) {
        visit(self);
        match self {
            Self::Literal(_) | Self::Fact(_) | Self::Output { .. } => {}
            Self::Variable(inner) | Self::Lower(inner) | Self::Upper(inner) => inner.each_value(visit),
            Self::Join(parts) => parts.iter().for_each(|part| part.each_value(visit)),
            Self::If(test, then, other) => {
                test.each_value(visit);
                then.each_value(visit);
                other.each_value(visit);
            }
        }
    }

    /// Whether a part of it is an output.
    pub(super) fn has_output(&self) -> bool {
        let mut found = false;
        self.each_value(&mut |value| found |= matches!(value, Self::Output { .. }));
        found
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
            Self::TargetBranch => {
                request.map(|request| request.target_branch.as_str()).or(facts.merge_target.as_deref())
            }
            Self::Title => request.map(|request| request.title.as_str()),
            Self::CommitMessage => facts.details.message.as_deref(),
            Self::CommitTitle => facts.details.title(),
            Self::CommitAuthor => facts.details.author.as_deref(),
            Self::Action => request.and_then(|request| request.action).map(PullRequestAction::as_str),
            Self::Comment => facts.comment.as_ref().map(|comment| comment.text.as_str()),
            Self::CommentAuthor => facts.comment.as_ref().map(|comment| comment.author.as_str()),
            Self::Upstream => facts.upstream.as_ref().map(|upstream| upstream.pipeline.as_str()),
            Self::UpstreamStatus => facts.upstream.as_ref().map(|upstream| upstream_status(upstream.status)),
        }
    }
}

pub(super) fn truncate(text: &str) -> String {
    text.chars().take(60).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
