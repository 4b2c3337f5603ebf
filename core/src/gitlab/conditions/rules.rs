//! Translates `rules` of jobs and of `workflow`.

use std::rc::Rc;

use indexmap::IndexMap;
use serde_yaml::{Mapping, Value};

use crate::execution::predefined;
use crate::gitlab::conditions::cel::CelExpr;
use crate::gitlab::conditions::expression;
use crate::gitlab::findings::Log;
use crate::gitlab::job::duration;
use crate::gitlab::job::services::report_unset;
use crate::gitlab::values;
use crate::gitlab::variables::{self, Piece, Scope, Variable, Variables, WithoutUnset, pieces};
use crate::pipeline::check_inside;
use crate::pipeline::finding::{Finding, FindingLocation, Path, quoted};
use crate::pipeline::yaml::tree::{MapEntry, Node};
use crate::text::diagnostics::Location;

/// Maximum length of a condition in a GitLab file in bytes. What it is translated to has a limit of its own.
const MAX_CONDITION_LEN: usize = 4_000;

/// A rule in terms of the native language.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rule {
    pub(crate) condition: Option<CelExpr>,
    pub(crate) changes: Vec<String>,
    pub(crate) exists: Vec<String>,
    pub(crate) when: Option<&'static str>,
    /// Seconds that the job waits. It is set with `when`, so that it replaces the job's own.
    pub(crate) start_in_s: Option<u64>,
    pub(crate) allow_failure: Option<bool>,
    pub(crate) variables: IndexMap<String, String>,
    /// The native `needs` and `dependencies`, which replace those of the job.
    pub(crate) needs: Option<Value>,
    pub(crate) dependencies: Option<Value>,
    /// Its number in messages, if the rules of `workflow` or of an include are among those of the job; 0: one of these.
    pub(crate) number: Option<u32>,
}

impl Rule {
    /// Returns the whole rule as one condition.
    pub(crate) fn holds(&self) -> CelExpr {
        let mut all = self.condition.clone().unwrap_or_else(|| CelExpr::constant(true));
        if !self.changes.is_empty() {
            all = all.and(CelExpr::changed(&self.changes));
        }
        if !self.exists.is_empty() {
            all = all.and(CelExpr::exists(&self.exists));
        }
        all
    }

    /// Whether the rule decides only that the job takes part, not how.
    pub(crate) fn only_decides(&self) -> bool {
        self.when.is_none()
            && self.variables.is_empty()
            && self.allow_failure.is_none()
            && self.needs.is_none()
    }

    /// Creates a rule of `workflow` or of an include that excludes a job under a condition.
    pub(crate) fn of_pipeline(condition: Option<CelExpr>) -> Self {
        Self { condition, when: Some("never"), number: Some(0), ..Self::default() }
    }

    /// Whether the rule excludes the job.
    pub(crate) fn excludes_job(&self) -> bool {
        self.when == Some("never")
    }

    /// Returns the rule as in a native file.
    pub(crate) fn into_value(self) -> Value {
        let mut all = Mapping::new();
        let texts = |texts: Vec<String>| Value::Sequence(texts.into_iter().map(Value::String).collect());
        if let Some(condition) = self.condition.filter(|it| it.as_constant() != Some(true)) {
            all.insert("if".into(), condition.into_text().into());
        }
        if !self.changes.is_empty() {
            all.insert("changes".into(), texts(self.changes));
        }
        if !self.exists.is_empty() {
            all.insert("exists".into(), texts(self.exists));
        }
        if let Some(when) = self.when {
            all.insert("when".into(), when.into());
        }
        if let Some(seconds) = self.start_in_s {
            all.insert("start_in".into(), duration::native(seconds).into());
        }
        if let Some(allowed) = self.allow_failure {
            all.insert("allow_failure".into(), allowed.into());
        }
        if !self.variables.is_empty() {
            let pairs = self.variables.into_iter().map(|(name, value)| (name.into(), value.into()));
            all.insert("variables".into(), Value::Mapping(pairs.collect()));
        }
        for (key, value) in [("needs", self.needs), ("dependencies", self.dependencies)] {
            if let Some(value) = value {
                all.insert(key.into(), value);
            }
        }
        if all.is_empty() {
            all.insert("when".into(), "on_success".into());
        }
        all.extend(self.number.map(|number| ("number".into(), number.into())));
        Value::Mapping(all)
    }
}

/// Translates `when`. If it is not valid, reports that and returns `None`.
pub(crate) fn parse_when(
    entry: &MapEntry,
    path: &Path,
    allowed: &[&str],
    log: &mut Log,
) -> Option<&'static str> {
    let text = values::text(&entry.value).unwrap_or_default();
    let value = ["on_success", "on_failure", "always", "manual", "never", "delayed"]
        .into_iter()
        .find(|value| *value == text && allowed.contains(value));
    if value.is_none() {
        let message = format!("`when` takes one of {}, not {}", allowed.join(", "), quoted(text));
        log.invalid(&path.key("when"), entry.value.location, message);
    }
    value
}

/// Returns the seconds that a job waits according to the `when` and `start_in` of the job or rule.
pub(crate) fn start_in_s(node: &Node) -> Option<u64> {
    let text = |key| node.get(key).and_then(|entry| values::text(&entry.value));
    text("when").filter(|when| *when == "delayed").and_then(|_| duration::seconds(text("start_in")?))
}

/// Returns the condition under which the first matching rule is not `never`.
pub(crate) fn any_holds(rules: &[Rule]) -> CelExpr {
    rules.iter().rev().fold(CelExpr::constant(false), |later, rule| {
        let holds = rule.holds();
        if rule.excludes_job() { holds.not().and(later) } else { holds.or(later) }
    })
}

/// Translates a list of rules.
pub(crate) fn read(
    node: &Rc<Node>,
    path: &Path,
    in_workflow: bool,
    scope: &Scope,
    log: &mut Log,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    for item in values::list(node) {
        if !values::is_mapping(item) {
            log.wrong_type(path, item, "a list of rules, each a mapping");
            continue;
        }
        rules.push(rule(item, path, in_workflow, scope, log));
    }
    rules
}

fn rule(node: &Rc<Node>, path: &Path, in_workflow: bool, scope: &Scope, log: &mut Log) -> Rule {
    const RULE_KEYS: [&str; 9] = [
        "if",
        "changes",
        "exists",
        "when",
        "allow_failure",
        "variables",
        "needs",
        "start_in",
        "interruptible",
    ];
    const WORKFLOW_KEYS: [&str; 6] = ["if", "changes", "exists", "when", "variables", "auto_cancel"];
    let known: &[&str] = if in_workflow { &WORKFLOW_KEYS } else { &RULE_KEYS };
    let mut rule = Rule::default();
    let mut compared = None;
    let mut never_matches = false;
    for entry in values::entries(node) {
        if entry.value.is_null() {
            continue;
        }
        match entry.key.as_str() {
            key if !known.contains(&key) => log.unknown_key(path, entry, known),
            "if" => rule.condition = condition(&entry.value, path, scope, log),
            "changes" | "exists" => {
                let globs = globs(entry, path, scope, log);
                // As in GitLab, without a path the rule matches nothing.
                never_matches |= globs.is_empty();
                if entry.key == "exists" {
                    rule.exists = globs;
                } else if let Some(reference) = compare_to(entry, &path.key("changes"), scope, log) {
                    compared = (!globs.is_empty()).then(|| CelExpr::changed_since(&reference, &globs));
                } else {
                    rule.changes = globs;
                }
            }
            "when" => {
                let allowed: &[&str] = if in_workflow {
                    &["always", "never"]
                } else {
                    &["on_success", "on_failure", "always", "manual", "never", "delayed"]
                };
                rule.when = parse_when(entry, path, allowed, log);
            }
            "allow_failure" => rule.allow_failure = values::flag_of(entry, path, log),
            "variables" => {
                let declared = variables::read(&entry.value, &path.key("variables"), log);
                rule.variables = values(&declared, path, scope, log);
            }
            _ => {}
        }
    }
    if let Some(compared) = compared {
        // Behind the condition, which may say that the ref is not there.
        let condition = rule.condition.take().unwrap_or_else(|| CelExpr::constant(true));
        rule.condition = Some(condition.and(compared));
    }
    if rule.when == Some("delayed") {
        rule.when = Some("on_success");
    }
    rule.start_in_s = rule.when.filter(|when| *when != "never").map(|_| start_in_s(node).unwrap_or(0));
    if never_matches {
        let condition = Some(CelExpr::constant(false));
        rule = Rule { condition, changes: Vec::new(), exists: Vec::new(), ..rule };
    }
    rule
}

/// Returns the values that a rule sets: native ones may refer to what is known before the job runs.
fn values(declared: &Variables, path: &Path, scope: &Scope, log: &mut Log) -> IndexMap<String, String> {
    let mut all = IndexMap::new();
    for (name, variable) in declared {
        let value = if variable.expand {
            let expanded = scope.expand(&variable.text);
            expanded.or_else(|_| references(variable, &path.key("variables").key(name), scope, log))
        } else {
            Ok(variable.text.clone())
                .and_then(|text| if text.contains("${") { Err("$".to_owned()) } else { Ok(text) })
        };
        let value = value.unwrap_or_else(|unknown| {
            log.unsupported_at(
                &path.key("variables").key(name),
                variable.location,
                &format!("the value of `{name}`"),
                &format!("`{unknown}` is not known before the job runs"),
                "set it in the script",
            );
            variable.text.clone()
        });
        all.insert(name.clone(), value);
    }
    all
}

/// Returns the value of a variable with native references. As in GitLab, those that nobody sets are empty.
fn references(variable: &Variable, path: &Path, scope: &Scope, log: &mut Log) -> Result<String, String> {
    let WithoutUnset { text, unset } = scope.without_unset(&variable.text, Scope::references)?;
    report_unset(&unset, variable.location, path, log);
    Ok(text)
}

/// Translates a condition; reports an error with its position.
pub(crate) fn condition(node: &Node, path: &Path, scope: &Scope, log: &mut Log) -> Option<CelExpr> {
    let path = path.key("if");
    let Some(text) = values::text(node) else {
        log.wrong_type(&path, node, "a condition");
        return None;
    };
    if text.len() > MAX_CONDITION_LEN {
        let message = format!("the condition has {} bytes; the limit is {MAX_CONDITION_LEN}", text.len());
        log.invalid_with_help(&path, node.location, message, "write several rules, each with a part of it");
        return None;
    }
    match expression::translate(text, scope) {
        Ok(condition) => {
            for name in predefined::JOB_VARIABLES.into_iter().chain(predefined::LATE_VARIABLES) {
                if refers_to(text, name) && scope.fixed_value(name).is_none() {
                    let why = "it is not set before a job runs, so it is empty in the condition";
                    log.ignored_at(&path, node.location, &format!("`${name}`"), why);
                }
            }
            if let Some(hidden) = condition.variables().find(|name| scope.is_hidden(name)) {
                let message = format!(
                    "the condition refers to `{hidden}`, whose value only jobs get, and would be recorded here"
                );
                let help = "use a variable that is neither masked nor a file nor of one environment";
                log.invalid_with_help(&path, node.location, message, help);
                return None;
            }
            Some(condition)
        }
        Err(fault) => {
            let location = location_within(node, text, fault.at, fault.length);
            let message = format!("{} is not a valid condition: {}", quoted(text), fault.message);
            let place = FindingLocation::Position(path, location);
            log.findings.push(Finding::error("gitlab-condition", place, message).maybe_help(fault.help));
            None
        }
    }
}

/// Whether a condition refers to the variable `name`.
fn refers_to(text: &str, name: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    [format!("${name}"), format!("${{{name}")].iter().any(|reference| {
        text.match_indices(reference.as_str()).any(|(at, matched)| ends(&text[at + matched.len()..]))
    })
}

/// Returns the location of a part of a text, or of the whole text if it is not written literally on one line.
pub(crate) fn location_within(node: &Node, text: &str, at: usize, length: usize) -> Location {
    location_in(node, text.chars().count(), at, length)
}

/// Like [`location_within`], for a text with this many characters.
pub(crate) fn location_in(node: &Node, characters: usize, at: usize, length: usize) -> Location {
    let before = match node.location.length.checked_sub(characters) {
        Some(0) => 0,
        Some(2) => 1,
        _ => return node.location,
    };
    let at = at.min(characters);
    Location { column: node.location.column + before + at, length, ..node.location }
}

/// Returns the ref that `compare_to` of `changes` names.
fn compare_to(changes: &MapEntry, path: &Path, scope: &Scope, log: &mut Log) -> Option<CelExpr> {
    let entry = changes.value.get("compare_to").filter(|_| values::is_mapping(&changes.value))?;
    let path = path.key("compare_to");
    let Some(text) = values::text(&entry.value).filter(|text| !text.trim().is_empty()) else {
        log.wrong_type(&path, &entry.value, "the name of a branch or tag, or a commit");
        return None;
    };
    let mut parts = Vec::new();
    for piece in pieces(text) {
        parts.push(match piece {
            Piece::Text(text) => CelExpr::literal(&text),
            Piece::Name(name) => match scope.fixed_value(&name) {
                Some(value) => CelExpr::literal(&value),
                None if predefined::is_execution_variable(&name) => CelExpr::variable(&name),
                None => {
                    let what = format!("`${name}` in `compare_to`");
                    let why = "it is not known when the rule is decided";
                    log.unsupported_at(&path, entry.value.location, &what, why, "write the ref itself");
                    return None;
                }
            },
        });
    }
    Some(CelExpr::concat(parts))
}

/// Returns the globs of `changes` or `exists`: a list, or a mapping with `paths`.
pub(crate) fn globs(entry: &MapEntry, path: &Path, scope: &Scope, log: &mut Log) -> Vec<String> {
    let path = path.key(&entry.key);
    let mut paths = Some(&entry.value);
    if values::is_mapping(&entry.value) {
        paths = None;
        for part in values::entries(&entry.value) {
            match part.key.as_str() {
                "paths" => paths = Some(&part.value),
                "compare_to" if entry.key == "changes" => {}
                "project" | "ref" if entry.key == "exists" => {
                    let help = "copy the file into this repository, or include it";
                    log.unsupported(&path, part, "only files of this repository can be checked", help);
                }
                _ if entry.key == "changes" => log.unknown_key(&path, part, &["paths", "compare_to"]),
                _ => log.unknown_key(&path, part, &["paths", "project", "ref"]),
            }
        }
    }
    let Some(paths) = paths else {
        log.wrong_type(&path, &entry.value, "a list of paths");
        return Vec::new();
    };
    let mut globs = Vec::new();
    for (text, node) in values::texts(paths, &path, log) {
        match scope.expand(text) {
            Ok(glob) if glob.is_empty() => {}
            Ok(glob) => match check_inside(&glob) {
                Ok(()) => globs.push(glob),
                Err(fault) => {
                    log.invalid(&path, node.location, format!("{} {}", path.label(), fault.message));
                }
            },
            Err(unknown) => {
                let (glob, _) = scope.glob(text);
                log.changed(
                    &path,
                    node.location,
                    format!(
                        "`{unknown}` is not known here, so {} is replaced by {}",
                        quoted(text),
                        quoted(&glob)
                    ),
                );
                globs.push(glob);
            }
        }
    }
    globs
}
