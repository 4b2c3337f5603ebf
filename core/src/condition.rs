//! Conditions, as `if` takes them: expressions in a part of CEL (the Common Expression Language) that always end and, once
//! checked, cannot fail but for a pattern that a variable holds.
//!
//! Values are truth values, texts, and lists of texts. What is not known, or not set, is the empty text: there is no null.
//!
//! | name | type | what it is |
//! | --- | --- | --- |
//! | `branch`, `tag`, `commit`, `default_branch` | text | of the execution |
//! | `event` | text | `push`, `tag`, `pull_request`, `schedule` or `manual` |
//! | `target_branch`, `title` | text | of its pull request |
//! | `fork`, `draft` | truth value | whether the pull request comes from another repository, is a draft |
//! | `env("NAME")` | text | a variable's value |
//! | `defined("NAME")` | truth value | whether it is set, if only to the empty text |
//! | `changed("glob", ..)` | truth value | whether a file that one of the globs matches changed; true where that is not known |
//! | `exists("glob", ..)` | truth value | whether there is such a file; true where that is not known |
//! | `text.startsWith(text)`, `endsWith`, `contains` | truth value | |
//! | `text.matches("regex")` | truth value | whether a part of the text matches; `(?i)` in front ignores case |
//! | `text.lowerAscii()`, `text.upperAscii()` | text | |
//!
//! Operators: `&&`, `||`, `!`, `==`, `!=`, `in`, `+` between texts, and `condition ? a : b`.

mod reading;

use std::cell::RefCell;
use std::collections::HashMap;

use indexmap::IndexMap;
use regex::{Regex, RegexBuilder};

use crate::facts::{Facts, Trigger};

/// How long a condition may be, in bytes.
pub const LONGEST: usize = 2_000;
/// The most that a compiled pattern may take, in bytes.
const LARGEST_PATTERN: usize = 256 << 10;
/// The longest text that `+` makes, in bytes.
const LONGEST_TEXT: usize = 64 << 10;

/// What is wrong with a condition, and where in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The first character meant, counted from 0.
    pub at: usize,
    /// How many characters are meant; at least 1.
    pub length: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// A condition that was checked.
#[derive(Debug, Clone)]
pub struct Condition(Test);

/// Reads and checks a condition.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check(text: &str) -> Result<Condition, Fault> {
    reading::read(text).map(Condition)
}

impl Condition {
    /// Whether it holds in `context`.
    ///
    /// # Errors
    /// Words on a pattern that comes from a variable and is none.
    pub fn holds(&self, context: &Context<'_>) -> Result<bool, String> {
        self.0.holds(context)
    }
}

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

/// A list of globs, and whether it was tried on the changed paths.
type Tried = (bool, Vec<String>);

/// Paths that globs are tried on: each list of globs once, as many jobs may have the same.
#[derive(Debug)]
pub struct Paths<'a> {
    facts: &'a Facts,
    /// Which path is the first that each list matches.
    seen: RefCell<HashMap<Tried, Option<usize>>>,
}

impl<'a> Paths<'a> {
    /// Those of `facts`.
    #[must_use]
    pub fn of(facts: &'a Facts) -> Self {
        Self { facts, seen: RefCell::default() }
    }

    /// Whether a file changed that one of `globs` matches, or it is not known what changed.
    #[must_use]
    pub fn changed(&self, globs: &[String]) -> bool {
        self.any(true, self.facts.changed.as_deref(), globs)
    }

    /// Whether there is a file that one of `globs` matches, or it is not known which there are.
    #[must_use]
    pub fn exists(&self, globs: &[String]) -> bool {
        self.any(false, self.facts.files.as_deref(), globs)
    }

    fn any(&self, changed: bool, paths: Option<&[String]>, globs: &[String]) -> bool {
        let Some(paths) = paths else { return true };
        let key = (changed, globs.to_vec());
        if let Some(known) = self.seen.borrow().get(&key) {
            return known.is_some();
        }
        let mut set = globset::GlobSetBuilder::new();
        for glob in globs.iter().filter_map(|glob| self::glob(glob).ok()) {
            set.add(glob);
        }
        let first = set.build().ok().and_then(|set| paths.iter().position(|path| set.is_match(path)));
        self.seen.borrow_mut().insert(key, first);
        first.is_some()
    }

    /// Of the paths that changed, and of all files, those that decided: with no others, every list of globs that was tried
    /// has the same answer.
    #[must_use]
    pub fn decisive(&self) -> (Option<Vec<String>>, Option<Vec<String>>) {
        let seen = self.seen.borrow();
        let of = |changed: bool, paths: &[String]| {
            let mut found: Vec<usize> =
                seen.iter().filter(|((of, _), _)| *of == changed).filter_map(|(_, first)| *first).collect();
            found.sort_unstable();
            found.dedup();
            found.into_iter().filter_map(|at| paths.get(at).cloned()).collect()
        };
        (
            self.facts.changed.as_deref().map(|paths| of(true, paths)),
            self.facts.files.as_deref().map(|paths| of(false, paths)),
        )
    }
}

/// A glob of files: `*` stays within a name, and a directory (`docs/`) is all that is in it.
pub(crate) fn glob(text: &str) -> Result<globset::Glob, globset::Error> {
    let text = text.strip_prefix("./").unwrap_or(text);
    let all = if text.ends_with('/') { format!("{text}**") } else { text.to_owned() };
    globset::GlobBuilder::new(&all).literal_separator(true).build()
}

/// A pattern of bounded size.
pub(crate) fn pattern(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).size_limit(LARGEST_PATTERN).dfa_size_limit(LARGEST_PATTERN).build().map_err(
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
enum Test {
    Const(bool),
    Fork,
    Draft,
    Not(Box<Test>),
    And(Box<Test>, Box<Test>),
    Or(Box<Test>, Box<Test>),
    If(Box<Test>, Box<Test>, Box<Test>),
    Alike(Box<Test>, Box<Test>),
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
enum Value {
    Literal(String),
    Fact(Fact),
    Variable(Box<Value>),
    Join(Vec<Value>),
    Lower(Box<Value>),
    Upper(Box<Value>),
    If(Box<Test>, Box<Value>, Box<Value>),
}

/// A text that is known of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    Branch,
    Tag,
    Event,
    Commit,
    DefaultBranch,
    TargetBranch,
    Title,
}

/// The words that `event` may be.
const EVENTS: [&str; 5] = ["push", "tag", "pull_request", "schedule", "manual"];

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

impl Test {
    fn holds(&self, known: &Context<'_>) -> Result<bool, String> {
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
                    if text.len() > LONGEST_TEXT {
                        return Err(format!("`+` makes a text of more than {LONGEST_TEXT} bytes"));
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

fn shortened(text: &str) -> String {
    text.chars().take(60).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
