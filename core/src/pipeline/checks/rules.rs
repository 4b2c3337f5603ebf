//! Checks `rules` and `if` of a job.

use super::context::{FindingSink, check_paths_inside, variables};
use crate::pipeline::finding::{Finding, FindingLocation, Path, PathPart, quoted};
use crate::pipeline::model::Rule;
use crate::pipeline::raw::collections::OneOrMany;
use crate::pipeline::raw::job_parts::RawRule;
use crate::pipeline::raw::needs::NeedList;
use crate::pipeline::raw::quantities::Duration;
use crate::pipeline::raw::records::RawJob;
use crate::pipeline::raw::scalars::Text;

/// Maximum number of rules of one job.
pub(crate) const MAX_RULES: usize = 2_000;
/// Maximum of `start_in` in seconds: one week, as in GitLab.
const MAX_START_IN_S: u64 = 7 * 86_400;

/// Checks and returns the rules of a job; an `if` becomes the only rule.
pub(crate) fn rules(raw: &RawJob, path: &Path, findings: &mut FindingSink) -> Vec<Rule> {
    if let Some(text) = raw.condition.get() {
        if !raw.rules.is_absent() {
            findings.push(
                Finding::key("conflicting-keys", &path.key("if"), "a job has an `if` or `rules`, not both")
                    .help("move the condition into the rules")
                    .related("the other one", FindingLocation::Path(path.key("rules"), PathPart::Key)),
            );
        }
        condition(&text.0, &path.key("if"), findings);
        return vec![Rule { condition: Some(text.0.clone()), ..Rule::default() }];
    }
    let Some(list) = raw.rules.get() else { return Vec::new() };
    let path = path.key("rules");
    if list.0.is_empty() {
        findings.push(
            Finding::value("empty-list", &path, "`rules` is empty, so the job would never run")
                .help("add a rule, or remove `rules`"),
        );
    }
    if list.0.len() > MAX_RULES {
        let message = format!("this job has {} rules, and {MAX_RULES} is the limit", list.0.len());
        findings.push(Finding::key("out-of-range", &path, message).help("join conditions with `||`"));
    }
    let mut always: Option<Path> = None;
    let mut rules = Vec::with_capacity(list.0.len());
    for (index, rule) in &list.0 {
        let at = path.index(*index);
        if let Some(first) = &always {
            findings.push(
                Finding::value("unreachable-rule", &at, "this rule is never evaluated")
                    .warning()
                    .help("move it up, or remove it")
                    .related(
                        "this rule always matches",
                        FindingLocation::Path(first.clone(), PathPart::Value),
                    ),
            );
        } else if rule.condition.is_absent() && rule.changes.is_absent() && rule.exists.is_absent() {
            always = Some(at.clone());
        }
        rules.push(one(rule, &at, findings));
    }
    rules
}

fn one(raw: &RawRule, path: &Path, findings: &mut FindingSink) -> Rule {
    if let Some(text) = raw.condition.get() {
        condition(&text.0, &path.key("if"), findings);
    }
    for (key, globs) in [("changes", &raw.changes), ("exists", &raw.exists)] {
        let at = path.key(key);
        check_paths_inside(globs.get(), &at, findings);
        if globs.get().is_some_and(|globs| globs.0.is_empty()) {
            let message = format!("`{key}` is empty, so the rule would never match");
            findings.push(
                Finding::value("empty-list", &at, message).help(format!("name files, or remove `{key}`")),
            );
        }
    }
    check_start_in(raw.start_in.get(), path, findings);
    let texts = |globs: Option<&OneOrMany<Text>>| {
        globs.map(|globs| globs.0.iter().map(|glob| glob.0.clone()).collect()).unwrap_or_default()
    };
    Rule {
        condition: raw.condition.get().map(|text| text.0.clone()),
        changes: texts(raw.changes.get()),
        exists: texts(raw.exists.get()),
        then: raw.when.get().map(|when| when.0),
        start_in_s: raw.start_in.get().map(|delay| delay.0),
        allow_failure: raw.allow_failure.get().map(|flag| flag.0),
        variables: variables(raw.variables.get(), || path.key("variables"), findings),
        needs: raw.needs.get().map(NeedList::models),
        dependencies: raw.dependencies.get().map(NeedList::models),
        number: raw.number.get().map(|number| number.0),
    }
}

/// Reports a `start_in` of the job or rule at `path` that is too long.
pub(crate) fn check_start_in(delay: Option<&Duration>, path: &Path, findings: &mut FindingSink) {
    if delay.is_some_and(|delay| delay.0 > MAX_START_IN_S) {
        let message = "`start_in` is longer than one week";
        findings.push(
            Finding::value("out-of-range", &path.key("start_in"), message)
                .help("use a schedule for what is due later"),
        );
    }
}

fn condition(text: &str, path: &Path, findings: &mut FindingSink) {
    let Some(fault) = findings.check_condition(text) else { return };
    let spot = FindingLocation::TextRange(path.clone(), fault.start, fault.length);
    let message = format!("{} is not a valid condition: {}", quoted(text), fault.message);
    findings.push(Finding::error("bad-condition", spot, message).maybe_help(fault.help));
}
