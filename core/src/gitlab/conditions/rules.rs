//! `rules`, of jobs and of `workflow`.

use std::rc::Rc;

use indexmap::IndexMap;
use serde_yaml::{Mapping, Value};

use crate::execution::predefined;
use crate::gitlab::conditions::cel::CelExpr;
use crate::gitlab::conditions::expression;
use crate::gitlab::findings::Log;
use crate::gitlab::values;
use crate::gitlab::variables::{self, Scope, Variables};
use crate::pipeline::finding::{Finding, FindingLocation, Path, quoted};
use crate::pipeline::yaml::tree::{MapEntry, Node};
use crate::text::diagnostics::Location;

/// Variables of GitLab's that are often looked at, and that nothing is known of here.
const UNKNOWN_VARIABLES: [&str; 4] =
    ["CI_OPEN_MERGE_REQUESTS", "CI_COMMIT_MESSAGE", "CI_COMMIT_TITLE", "CI_COMMIT_DESCRIPTION"];

/// A rule in the native language's terms.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rule {
    pub(crate) condition: Option<CelExpr>,
    pub(crate) changes: Vec<String>,
    pub(crate) exists: Vec<String>,
    pub(crate) when: Option<&'static str>,
    pub(crate) allow_failure: Option<bool>,
    pub(crate) variables: IndexMap<String, String>,
}

impl Rule {
    /// That it holds, in one condition.
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

    /// Whether it leaves out.
    pub(crate) fn is_never(&self) -> bool {
        self.when == Some("never")
    }

    /// As a native file has it.
    pub(crate) fn written(self) -> Value {
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
        if let Some(allowed) = self.allow_failure {
            all.insert("allow_failure".into(), allowed.into());
        }
        if !self.variables.is_empty() {
            let pairs = self.variables.into_iter().map(|(name, value)| (name.into(), value.into()));
            all.insert("variables".into(), Value::Mapping(pairs.collect()));
        }
        if all.is_empty() {
            all.insert("when".into(), "on_success".into());
        }
        Value::Mapping(all)
    }
}

/// What a job does when it is its turn, in native words; `None`, which is reported, where there is none.
pub(crate) fn when_of(
    entry: &MapEntry,
    path: &Path,
    allowed: &[&str],
    log: &mut Log,
) -> Option<&'static str> {
    let text = values::text(&entry.value).unwrap_or_default();
    let word = ["on_success", "on_failure", "always", "manual", "never", "delayed"]
        .into_iter()
        .find(|word| *word == text && allowed.contains(word));
    match word {
        Some("delayed") => {
            log.changed(
                &path.key("when"),
                entry.value.location,
                "`when: delayed` is not supported: the job waits for an approval (`tidemill approve`), not for a time",
            );
            Some("manual")
        }
        Some(word) => Some(word),
        None => {
            let message = format!("`when` takes one of {}, not {}", allowed.join(", "), quoted(text));
            log.wrong(&path.key("when"), entry.value.location, message);
            None
        }
    }
}

/// The rules of a list.
pub(crate) fn read(
    node: &Rc<Node>,
    path: &Path,
    of_workflow: bool,
    scope: &Scope,
    log: &mut Log,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    for item in values::list(node) {
        if !values::is_mapping(item) {
            log.wrong_type(path, item, "a list of rules, each a mapping");
            continue;
        }
        rules.push(one(item, path, of_workflow, scope, log));
    }
    rules
}

fn one(node: &Rc<Node>, path: &Path, of_workflow: bool, scope: &Scope, log: &mut Log) -> Rule {
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
    let mut rule = Rule::default();
    for entry in values::entries(node) {
        if entry.value.is_null() {
            continue;
        }
        match entry.key.as_str() {
            "if" => rule.condition = condition(&entry.value, path, scope, log),
            "changes" => rule.changes = globs(entry, path, scope, log),
            "exists" => rule.exists = globs(entry, path, scope, log),
            "when" => {
                let words: &[&str] = if of_workflow {
                    &["always", "never"]
                } else {
                    &["on_success", "on_failure", "always", "manual", "never", "delayed"]
                };
                rule.when = when_of(entry, path, words, log);
            }
            "allow_failure" => rule.allow_failure = values::flag_of(entry, path, log),
            "variables" => {
                let given = variables::read(&entry.value, &path.key("variables"), log);
                rule.variables = values(&given, path, scope, log);
            }
            "needs" => log.refused(
                path,
                entry,
                "what a job needs does not depend on its rules",
                "write the job twice, with its own `needs` and `rules` each",
            ),
            "start_in" => log.ignored(path, entry, "a job waits for an approval, not for a time"),
            "interruptible" | "auto_cancel" => {
                log.ignored(path, entry, "an execution is canceled as a whole, whatever its jobs' rules say");
            }
            _ => log.unknown(path, entry, &RULE_KEYS),
        }
    }
    rule
}

/// Values that a rule sets; native files have them as they are written.
fn values(given: &Variables, path: &Path, scope: &Scope, log: &mut Log) -> IndexMap<String, String> {
    let mut all = IndexMap::new();
    for (name, one) in given {
        let value = if one.expand { scope.known(&one.text) } else { Ok(one.text.clone()) };
        let value = value.unwrap_or_else(|unknown| {
            log.refused_at(
                &path.key("variables").key(name),
                one.location,
                &format!("the value of `{name}`"),
                &format!("`{unknown}` is not known before the job runs, and a rule's values are taken as they are written"),
                "set it in the script",
            );
            one.text.clone()
        });
        all.insert(name.clone(), value);
    }
    all
}

/// A condition of GitLab's in native words; what is wrong with it is reported at its place.
pub(crate) fn condition(node: &Node, path: &Path, scope: &Scope, log: &mut Log) -> Option<CelExpr> {
    let path = path.key("if");
    let Some(text) = values::text(node) else {
        log.wrong_type(&path, node, "a condition");
        return None;
    };
    match expression::translate(text, scope) {
        Ok(condition) => {
            for name in UNKNOWN_VARIABLES.into_iter().chain(predefined::JOB_VARIABLES) {
                if names(text, name) && scope.fixed(name).is_none() {
                    let why = "it is not set before a job runs, so that the condition sees nothing there";
                    log.ignored_at(&path, node.location, &format!("`${name}`"), why);
                }
            }
            Some(condition)
        }
        Err(fault) => {
            let location = within(node, text, fault.at, fault.length);
            let message = format!("{} is not a valid condition: {}", quoted(text), fault.message);
            log.findings.push(Finding::error(
                "gitlab-condition",
                FindingLocation::Text(path, location),
                message,
            ));
            None
        }
    }
}

/// Whether a condition looks at the variable `name`.
fn names(text: &str, name: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    [format!("${name}"), format!("${{{name}")].iter().any(|written| {
        text.match_indices(written.as_str()).any(|(at, found)| ends(&text[at + found.len()..]))
    })
}

/// The place of a part of a text; of all of it where it does not stand on one line as it is.
fn within(node: &Node, text: &str, at: usize, length: usize) -> Location {
    let characters = text.chars().count();
    let before = match node.location.length.checked_sub(characters) {
        Some(0) => 0,
        Some(2) => 1,
        _ => return node.location,
    };
    let at = at.min(characters);
    Location { column: node.location.column + before + at, length, ..node.location }
}

/// Globs of `changes` or `exists`: a list, or a mapping with `paths`.
pub(crate) fn globs(entry: &MapEntry, path: &Path, scope: &Scope, log: &mut Log) -> Vec<String> {
    let path = path.key(&entry.key);
    let mut paths = Some(&entry.value);
    if values::is_mapping(&entry.value) {
        paths = None;
        for part in values::entries(&entry.value) {
            match part.key.as_str() {
                "paths" => paths = Some(&part.value),
                "compare_to" => {
                    log.ignored(&path, part, "what changed is what the push, or the pull request, brings");
                }
                "project" | "ref" => {
                    log.refused(&path, part, "only files of this repository can be looked for", "");
                }
                _ => log.unknown(&path, part, &["paths", "compare_to", "project", "ref"]),
            }
        }
    }
    let Some(paths) = paths else {
        log.wrong_type(&path, &entry.value, "a list of paths");
        return Vec::new();
    };
    let mut globs = Vec::new();
    for (text, node) in values::texts(paths, &path, log) {
        match scope.known(text) {
            Ok(glob) => globs.push(glob),
            Err(unknown) => {
                let (glob, _) = scope.glob(text);
                log.changed(
                    &path,
                    node.location,
                    format!(
                        "`{unknown}` is not known here, so that {} is taken as {}",
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
