//! Selects the jobs of an execution by their rules.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use super::error::{ExcludedJob, PlanError};
use crate::condition::{self, Condition, Context, Paths};
use crate::execution::facts::Facts;
use crate::execution::predefined::{self, PlannedNames};
use crate::pipeline::{Job, Pipeline, Rule, RuleOutcome};
use crate::text::substitution::first_reference;

/// Applies the rules: returns the pipeline with the selected jobs, without needs that refer to excluded jobs, and
/// without empty stages.
pub(super) fn select<'a>(pipeline: &'a Pipeline, facts: &Facts) -> Result<Selection<'a>, PlanError> {
    if pipeline.jobs.iter().all(|job| job.rules.is_empty()) {
        let paths = Paths::new(facts).decisive();
        return Ok(Selection { pipeline: Cow::Borrowed(pipeline), excluded: Vec::new(), paths });
    }
    let mut selector = JobSelector {
        pipeline,
        facts,
        paths: Paths::new(facts),
        predefined: predefined::execution_variables(facts, &pipeline.name),
        conditions: HashMap::new(),
    };
    let mut jobs = Vec::with_capacity(pipeline.jobs.len());
    let mut left_out = Vec::new();
    for job in &pipeline.jobs {
        match selector.decide(job)? {
            SelectionResult::Out(why) => left_out.push(ExcludedJob { job: job.name.clone(), why }),
            SelectionResult::In(None) => jobs.push(job.clone()),
            SelectionResult::In(Some(rule)) => jobs.push(apply_rule(job, rule)),
        }
    }
    let excluded: HashSet<&str> = left_out.iter().map(|left| left.job.as_str()).collect();
    if !excluded.is_empty() {
        for job in &mut jobs {
            for names in [&mut job.needs, &mut job.dependencies].into_iter().flatten() {
                names.retain(|name| !excluded.contains(name.as_str()));
            }
        }
    }
    let used: HashSet<&str> = jobs.iter().map(|job| job.stage.as_str()).collect();
    let stages = pipeline.stages.iter().filter(|stage| used.contains(stage.as_str())).cloned().collect();
    let selected = Pipeline {
        name: pipeline.name.clone(),
        on: pipeline.on.clone(),
        stages,
        variables: pipeline.variables.clone(),
        concurrency: pipeline.concurrency.clone(),
        timeout_s: pipeline.timeout_s,
        jobs,
    };
    Ok(Selection { pipeline: Cow::Owned(selected), excluded: left_out, paths: selector.paths.decisive() })
}

/// The result of a selection.
pub(super) struct Selection<'a> {
    pub(super) pipeline: Cow<'a, Pipeline>,
    pub(super) excluded: Vec<ExcludedJob>,
    /// The changed paths and the files that were decisive; see [`Paths::decisive`].
    pub(super) paths: (Option<Vec<String>>, Option<Vec<String>>),
}

/// Returns the job as changed by the matching rule.
fn apply_rule(job: &Job, rule: &Rule) -> Job {
    let mut job = job.clone();
    if let Some(RuleOutcome::When(when)) = rule.then {
        job.when = when;
    }
    if let Some(allowed) = rule.allow_failure {
        job.allow_failure = allowed;
        job.allow_exit_codes.clear();
    }
    job.variables.extend(rule.variables.clone());
    job.rules.clear();
    job
}

enum SelectionResult<'a> {
    In(Option<&'a Rule>),
    Out(String),
}

struct JobSelector<'a> {
    pipeline: &'a Pipeline,
    facts: &'a Facts,
    paths: Paths<'a>,
    predefined: IndexMap<String, String>,
    /// Parsed conditions by text: many jobs have the same conditions.
    conditions: HashMap<&'a str, Condition>,
}

impl<'a> JobSelector<'a> {
    fn decide(&mut self, job: &'a Job) -> Result<SelectionResult<'a>, PlanError> {
        if job.rules.is_empty() {
            return Ok(SelectionResult::In(None));
        }
        let mut variables = self.predefined.clone();
        let environment = job.surroundings.environment.as_ref().map(|environment| environment.name.as_str());
        let environment = environment.filter(|name| first_reference(name).is_none());
        let names = PlannedNames { name: &job.name, stage: &job.stage, node: None, environment };
        variables.extend(predefined::planned_variables(names));
        variables.extend(self.pipeline.variables.clone());
        variables.extend(job.variables.clone());
        variables.extend(self.facts.variables.clone());
        for (at, rule) in job.rules.iter().enumerate() {
            if !self.holds(job, rule, &variables)? {
                continue;
            }
            return Ok(match rule.then {
                Some(RuleOutcome::Never) => {
                    SelectionResult::Out(format!("rule {} excludes the job: {}", at + 1, describe(rule)))
                }
                _ => SelectionResult::In(Some(rule)),
            });
        }
        Ok(SelectionResult::Out(match job.rules.as_slice() {
            [Rule { condition: Some(text), changes, exists, .. }]
                if changes.is_empty() && exists.is_empty() =>
            {
                format!("`{}` does not hold", text.trim())
            }
            [rule] => format!("its rule does not hold: {}", describe(rule)),
            rules => format!("none of its {} rules holds", rules.len()),
        }))
    }

    fn holds(
        &mut self,
        job: &Job,
        rule: &'a Rule,
        variables: &IndexMap<String, String>,
    ) -> Result<bool, PlanError> {
        if let Some(text) = &rule.condition {
            let failed =
                |why: String| PlanError::Condition { job: job.name.clone(), condition: text.clone(), why };
            if !self.conditions.contains_key(text.as_str()) {
                let condition = condition::check(text).map_err(|fault| failed(fault.message))?;
                self.conditions.insert(text, condition);
            }
            let context = Context { facts: self.facts, variables, paths: &self.paths };
            if !self.conditions[text.as_str()].holds(&context).map_err(failed)? {
                return Ok(false);
            }
        }
        Ok((rule.changes.is_empty() || self.paths.changed(&rule.changes))
            && (rule.exists.is_empty() || self.paths.exists(&rule.exists)))
    }
}

/// Describes the conditions of a rule.
fn describe(rule: &Rule) -> String {
    let mut parts = Vec::new();
    parts.extend(rule.condition.as_ref().map(|text| format!("if {}", text.trim())));
    for (key, globs) in [("changes", &rule.changes), ("exists", &rule.exists)] {
        if !globs.is_empty() {
            parts.push(format!("{key} {}", globs.join(", ")));
        }
    }
    if parts.is_empty() { "always".to_owned() } else { parts.join("; ") }
}
