//! Whether and when a job runs: `rules`, `only`, `except` and `when`, within the rules of `workflow`.

use serde_yaml::Value;

use super::context::Job;
use crate::gitlab::conditions::cel::CelExpr;
use crate::gitlab::conditions::only;
use crate::gitlab::conditions::rules::{self, Rule};
use crate::gitlab::values;

/// How many rules a native job may have.
const MAX_RULES: usize = 100;

impl Job<'_> {
    /// `if` or `rules`, and the conditions of the job and of `workflow` in it.
    pub(crate) fn participation(&mut self) -> (&'static str, Option<Value>) {
        let own =
            ["rules", "only", "except"].map(|key| self.node.get(key).filter(|entry| !entry.value.is_null()));
        let [ruled, only, except] = own;
        let rules = match (ruled, only.or(except)) {
            (Some(ruled), other) => {
                if let Some(other) = other {
                    let message = format!("a job has `rules` or `{}`, not both", other.key);
                    self.log.wrong(&self.path, other.key_location, message);
                }
                rules::read(&ruled.value, &self.path.key("rules"), false, &self.scope, self.log)
            }
            (None, Some(_)) => {
                let condition = only::read(only, except, &self.path, &self.scope, self.log);
                vec![Rule { condition: Some(condition), ..Rule::default() }]
            }
            (None, None) if self.file.requests_apart => {
                vec![Rule { condition: Some(only::usual()), ..Rule::default() }]
            }
            (None, None) => vec![Rule::default()],
        };
        let rules = if rules.is_empty() {
            vec![Rule { when: Some("never"), ..Rule::default() }]
        } else {
            self.within_workflow(rules, ruled.is_some())
        };
        match rules.as_slice() {
            [only] if only.when.is_none() && only.variables.is_empty() && only.allow_failure.is_none() => {
                let condition = only.holds();
                match condition.as_constant() {
                    Some(true) => ("if", None),
                    _ => ("if", Some(condition.into_text().into())),
                }
            }
            _ if rules.len() > MAX_RULES => {
                let message = format!(
                    "with those of `workflow` this job has {} rules, and {MAX_RULES} is the limit",
                    rules.len()
                );
                self.log.wrong(&self.path, self.at, message);
                ("rules", None)
            }
            _ => ("rules", Some(Value::Sequence(rules.into_iter().map(Rule::written).collect()))),
        }
    }

    /// The job's rules so that they hold only where `workflow` has an execution.
    fn within_workflow(&self, rules: Vec<Rule>, are_written: bool) -> Vec<Rule> {
        let workflow = &self.file.workflow;
        if workflow.iter().all(|rule| rule.variables.is_empty()) {
            let wanted = execution_condition(workflow);
            if wanted.as_constant() == Some(true) {
                return rules;
            }
            if let ([only], false) = (rules.as_slice(), are_written) {
                return vec![Rule { condition: Some(wanted.and(only.holds())), ..Rule::default() }];
            }
            let none = Rule { condition: Some(wanted.not()), when: Some("never"), ..Rule::default() };
            return std::iter::once(none).chain(rules).collect();
        }
        let mut all: Vec<Rule> = Vec::new();
        let always = |rule: &Rule| rule.holds().as_constant() == Some(true);
        for outer in workflow {
            let inner = if outer.is_never() { &[][..] } else { rules.as_slice() };
            for rule in inner {
                let mut one = Rule {
                    condition: Some(outer.holds().and(rule.holds())),
                    changes: Vec::new(),
                    exists: Vec::new(),
                    ..rule.clone()
                };
                if !one.is_never() {
                    one.variables.clone_from(&outer.variables);
                    one.variables.extend(rule.variables.clone());
                }
                all.push(one);
            }
            if !inner.iter().any(always) {
                let condition = Some(outer.holds());
                all.push(Rule { condition, when: Some("never"), ..Rule::default() });
            }
            // No later rule is ever looked at.
            if always(outer) {
                break;
            }
        }
        all
    }

    /// `when`, and whether the job may then be left undone.
    pub(crate) fn when(&mut self) -> (Option<&'static str>, bool) {
        let Some(entry) = self.node.get("when").filter(|entry| !entry.value.is_null()) else {
            self.warn_about_approval();
            return (None, false);
        };
        let words = ["on_success", "on_failure", "always", "manual", "delayed", "never"];
        let when = rules::when_of(entry, &self.path, &words, self.log);
        if when == Some("never") {
            let message = "`when: never` stands in a rule only";
            self.log.wrong(&self.path.key("when"), entry.value.location, message);
            return (None, false);
        }
        let ruled = self.node.get("rules").is_some();
        let optional = when == Some("manual") && !ruled && self.entry("allow_failure").is_none();
        if when != Some("manual") || values::text(&entry.value) != Some("manual") {
            self.warn_about_approval();
        } else if !optional && !self.may_fail() {
            let path = self.path.key("when");
            self.log.changed(&path, entry.value.location, MANUAL_JOB_WARNING);
        }
        (when.filter(|when| *when != "on_success"), optional)
    }

    fn may_fail(&self) -> bool {
        self.entry("allow_failure").is_some_and(|(entry, _)| values::flag(&entry.value) == Some(true))
    }

    fn warn_about_approval(&mut self) {
        let Some(rules) = self.node.get("rules") else { return };
        for rule in values::list(&rules.value) {
            let own = rule.get("allow_failure").and_then(|entry| values::flag(&entry.value));
            let waits = !own.unwrap_or_else(|| self.may_fail());
            let when = rule.get("when").filter(|when| values::text(&when.value) == Some("manual"));
            if let Some(when) = when.filter(|_| waits) {
                self.log.changed(&self.path.key("rules"), when.value.location, MANUAL_JOB_WARNING);
            }
        }
    }
}

const MANUAL_JOB_WARNING: &str = "with `when: manual` the execution is not over until this job is approved (`tidemill approve`) or the execution is canceled";

/// The condition under which `workflow` creates an execution: the first of its rules that matches decides.
fn execution_condition(workflow: &[Rule]) -> CelExpr {
    if workflow.is_empty() {
        return CelExpr::constant(true);
    }
    workflow.iter().rev().fold(CelExpr::constant(false), |later, rule| {
        let holds = rule.holds();
        if rule.is_never() { holds.not().and(later) } else { holds.or(later) }
    })
}
