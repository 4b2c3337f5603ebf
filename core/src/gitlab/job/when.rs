//! Translates `rules`, `only`, `except` and `when` of a job, combined with the rules of `workflow`.

use serde_yaml::Value;

use super::context::Job;
use super::duration;
use super::translation::has_variable;
use crate::gitlab::conditions::cel::CelExpr;
use crate::gitlab::conditions::only;
use crate::gitlab::conditions::rules::{self, Rule};
use crate::gitlab::findings::Log;
use crate::gitlab::values;
use crate::gitlab::variables::{Scope, replaced::complete_together};

/// Maximum number of rules of a native job.
const MAX_RULES: usize = 2_000;

impl Job<'_> {
    /// Returns the key `if` or `rules` and its value, with the conditions of the job and of `workflow`.
    pub(crate) fn participation(&mut self) -> (&'static str, Option<Value>) {
        let own =
            ["rules", "only", "except"].map(|key| self.node.get(key).filter(|entry| !entry.value.is_null()));
        let [rules_entry, only, except] = own;
        if let (Some(_), Some(other)) = (rules_entry, only.or(except)) {
            let message = format!("a job has `rules` or `{}`, not both", other.key);
            self.log.invalid(&self.path, other.key_location, message);
        }
        let mut log = std::mem::take(self.log);
        let of_workflow = self.file.workflow.iter().flat_map(|rule| self.variables_of(rule));
        let scope = self.scope.within_workflow(of_workflow, false);
        let rules = self.own_rules(&scope, &mut log);
        let mut rules = self.within_workflow(rules, rules_entry.is_some());
        *self.log = log;
        self.complete_variables(&mut rules);
        let rules = with_needed_numbers(match self.file.conditions.get(self.name) {
            Some(condition) => within_condition(condition, rules),
            None => rules,
        });
        match rules.as_slice() {
            [only] if only.only_decides() => {
                let condition = only.holds();
                match condition.as_constant() {
                    Some(true) => ("if", None),
                    _ => ("if", Some(condition.into_text().into())),
                }
            }
            _ if rules.len() > MAX_RULES => {
                let message = format!(
                    "together with those of `workflow`, this job has {} rules; the limit is {MAX_RULES}",
                    rules.len()
                );
                self.log.invalid(&self.path, self.at, message);
                ("rules", None)
            }
            _ => ("rules", Some(Value::Sequence(rules.into_iter().map(Rule::into_value).collect()))),
        }
    }

    /// Returns the rules that the job has by itself.
    fn own_rules(&self, scope: &Scope, log: &mut Log) -> Vec<Rule> {
        let entry = |key| self.node.get(key).filter(|entry| !entry.value.is_null());
        let mut rules = match (entry("rules"), entry("only"), entry("except")) {
            (Some(entry), ..) => {
                let mut rules = rules::read(&entry.value, &self.path.key("rules"), false, scope, log);
                self.add_needs(&mut rules, &entry.value, log);
                rules
            }
            (None, None, None) if self.file.excludes_pull_requests => {
                vec![Rule { condition: Some(only::default_condition()), ..Rule::default() }]
            }
            (None, None, None) => vec![Rule::default()],
            (None, only, except) => {
                let condition = only::read(only, except, &self.path, scope, log);
                vec![Rule { condition: Some(condition), ..Rule::default() }]
            }
        };
        if !self.is_delayed() {
            // Nothing to override.
            for rule in &mut rules {
                rule.start_in_s = rule.start_in_s.filter(|seconds| *seconds > 0);
            }
        }
        for (rule, number) in rules.iter_mut().zip(1..) {
            rule.number = Some(number);
        }
        self.with_needs_of_variants(rules)
    }

    /// Restricts the job's rules to the cases in which `workflow` creates an execution.
    fn within_workflow(&self, rules: Vec<Rule>, are_written: bool) -> Vec<Rule> {
        let workflow = &self.file.workflow;
        if workflow.iter().all(|rule| rule.variables.is_empty()) {
            let execution = execution_condition(workflow);
            if execution.as_constant() == Some(true) {
                return rules;
            }
            if let ([only], false) = (rules.as_slice(), are_written) {
                return vec![Rule { condition: Some(execution.and(only.holds())), ..Rule::default() }];
            }
            let none = Rule::of_pipeline(Some(execution.not()));
            return std::iter::once(none).chain(rules).collect();
        }
        let mut all: Vec<Rule> = Vec::new();
        let always = |rule: &Rule| rule.holds().as_constant() == Some(true);
        for outer in workflow {
            let within;
            let inner = if outer.excludes_job() {
                &[][..]
            } else {
                // The job's conditions see the variables. What is wrong with its rules was reported before.
                let scope = self.scope.within_workflow(self.variables_of(outer), true);
                within = self.own_rules(&scope, &mut Log::default());
                within.as_slice()
            };
            for rule in inner {
                let mut combined = Rule {
                    condition: Some(outer.holds().and(rule.holds())),
                    changes: Vec::new(),
                    exists: Vec::new(),
                    ..rule.clone()
                };
                if !combined.excludes_job() {
                    let outer = self.variables_of(outer);
                    combined.variables = outer.map(|(name, value)| (name.clone(), value.clone())).collect();
                    combined.variables.extend(rule.variables.clone());
                }
                all.push(combined);
            }
            let condition = Some(outer.holds());
            if inner.is_empty() {
                all.push(Rule::of_pipeline(condition));
            } else if !inner.iter().any(always) {
                // None of the job's own holds.
                all.push(Rule { condition, when: Some("never"), ..Rule::default() });
            }
            // Later rules are never reached.
            if always(outer) {
                return all;
            }
        }
        all.push(Rule::of_pipeline(None));
        all
    }

    /// Gives each rule the values of the job's variables that others replace, and expands values that refer to ones of the same rule.
    fn complete_variables(&mut self, rules: &mut [Rule]) {
        let matrix = self.file.jobs.get(self.name);
        let replaced = self.scope.replaced(|name| matrix.is_some_and(|of| of.names().any(|key| key == name)));
        for rule in rules.iter_mut().filter(|rule| !rule.excludes_job()) {
            for (name, text) in &replaced.planned {
                rule.variables.entry(name.clone()).or_insert_with(|| text.clone());
            }
            let Some(completed) = complete_together(&rule.variables) else {
                let message = "the expanded values of its variables are too long";
                self.log.invalid(&self.path.key("rules"), self.at, message);
                continue;
            };
            rule.variables = completed;
            for (name, text) in &rule.variables {
                let Some(unknown) = replaced.late_in(text) else { continue };
                let what = format!("the value of `{name}` in a rule");
                let why = format!("`{unknown}` is not known before the job runs");
                self.log.unsupported_at(
                    &self.path.key("rules"),
                    self.at,
                    &what,
                    &why,
                    "set it in the script",
                );
            }
        }
    }

    /// Returns the variables of a rule of `workflow` that the job gets: they replace global ones only, not those that are set
    /// outside of the file.
    fn variables_of<'r>(&self, rule: &'r Rule) -> impl Iterator<Item = (&'r String, &'r String)> {
        let applies = |name: &str| {
            !self.declares(name) && self.inherit.variable(name) && !self.file.external.contains(name)
        };
        rule.variables.iter().filter(move |(name, _)| applies(name))
    }

    /// Whether the job itself has a variable, in its matrix too.
    fn declares(&self, name: &str) -> bool {
        let matrix = self.file.jobs.get(self.name);
        has_variable(self.node, name) || matrix.is_some_and(|matrix| matrix.names().any(|key| key == name))
    }

    /// Returns `when`, and whether the job is then optional.
    pub(crate) fn when(&mut self) -> (Option<&'static str>, bool) {
        let Some(entry) = self.node.get("when").filter(|entry| !entry.value.is_null()) else {
            self.warn_about_approval();
            return (None, false);
        };
        let allowed = ["on_success", "on_failure", "always", "manual", "delayed", "never"];
        let when = rules::parse_when(entry, &self.path, &allowed, self.log);
        if when == Some("never") {
            let message = "`when: never` is allowed only in a rule";
            self.log.invalid(&self.path.key("when"), entry.value.location, message);
            return (None, false);
        }
        // One that a rule makes manual is not optional.
        let optional = when == Some("manual") && self.entry("allow_failure").is_none();
        if when != Some("manual") {
            self.warn_about_approval();
        } else if !optional && !self.may_fail() {
            let path = self.path.key("when");
            self.log.changed(&path, entry.value.location, MANUAL_JOB_WARNING);
        }
        (when.filter(|when| !["on_success", "delayed"].contains(when)), optional)
    }

    /// Returns how long the job waits before it starts.
    pub(crate) fn start_in(&self) -> Option<Value> {
        rules::start_in_s(self.node).map(|seconds| duration::native(seconds).into())
    }

    pub(super) fn is_delayed(&self) -> bool {
        self.node.get("when").and_then(|entry| values::text(&entry.value)) == Some("delayed")
    }

    fn may_fail(&self) -> bool {
        self.entry("allow_failure").is_some_and(|(entry, _)| values::flag(&entry.value) == Some(true))
    }

    fn warn_about_approval(&mut self) {
        let Some(rules) = self.node.get("rules") else { return };
        for rule in values::list(&rules.value) {
            let own = rule.get("allow_failure").and_then(|entry| values::flag(&entry.value));
            let is_required = !own.unwrap_or_else(|| self.may_fail());
            let when = rule.get("when").filter(|when| values::text(&when.value) == Some("manual"));
            if let Some(when) = when.filter(|_| is_required) {
                self.log.changed(&self.path.key("rules"), when.value.location, MANUAL_JOB_WARNING);
            }
        }
    }
}

/// Restricts rules to the case in which the file with the job is included.
fn within_condition(condition: &CelExpr, rules: Vec<Rule>) -> Vec<Rule> {
    if let [only] = rules.as_slice()
        && only.when.is_none()
    {
        let holds = condition.clone().and(only.holds());
        let only = only.clone();
        return vec![Rule { condition: Some(holds), changes: Vec::new(), exists: Vec::new(), ..only }];
    }
    let none = Rule::of_pipeline(Some(condition.clone().not()));
    std::iter::once(none).chain(rules).collect()
}

/// Returns the rules of a native job: with their numbers only if other rules are among them.
fn with_needed_numbers(mut rules: Vec<Rule>) -> Vec<Rule> {
    let are_own = rules.len() == 1 || rules.iter().zip(1..).all(|(rule, at)| rule.number == Some(at));
    if are_own {
        for rule in &mut rules {
            rule.number = None;
        }
    }
    rules
}

const MANUAL_JOB_WARNING: &str = "with `when: manual` the execution does not end until this job is approved (`tidemill approve`) or the execution is canceled";

/// Returns the condition under which `workflow` creates an execution.
fn execution_condition(workflow: &[Rule]) -> CelExpr {
    if workflow.is_empty() { CelExpr::constant(true) } else { rules::any_holds(workflow) }
}
