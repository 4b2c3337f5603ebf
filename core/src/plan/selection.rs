//! Selects the jobs of an execution by their rules.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};

use indexmap::IndexMap;

use super::due_condition::{DueCondition, DueRule};
use super::error::{ExcludedJob, MAX_RULE_EVALUATIONS, MAX_VALUE_BYTES, PlanError};
use super::matrix::{self, Variant, max_variants};
use super::references;
use crate::condition::{self, Condition, Context, DecisivePaths, OpenCondition, Paths};
use crate::execution::discovery::MAX_COMPARED_REFS;
use crate::execution::facts::Facts;
use crate::execution::predefined::{self, PlannedNames};
use crate::pipeline::{Job, Need, Pipeline, Rule, RuleOutcome};
use crate::text::substitution::{first_reference, substitute_bounded};

/// Returns the refs that the conditions of `pipeline` compare changes with (`changed_since`), as they name them.
#[must_use]
pub fn compared_refs(pipeline: &Pipeline, facts: &Facts) -> BTreeSet<String> {
    let mut refs = BTreeSet::new();
    let compares = |rule: &Rule| rule.condition.as_deref().is_some_and(|text| text.contains("changed_since"));
    if !pipeline.jobs.iter().flat_map(|job| &job.rules).any(compares) {
        return refs;
    }
    let selector = JobSelector::new(pipeline, facts);
    for job in pipeline.jobs.iter().filter(|job| job.rules.iter().any(compares)) {
        let variables = selector.variables(job, None);
        let context = Context { facts, variables: &variables, paths: &selector.paths };
        for text in
            job.rules.iter().filter(|rule| compares(rule)).filter_map(|rule| rule.condition.as_deref())
        {
            let Ok(condition) = condition::check(text) else { continue };
            // Planning the job says what is wrong.
            drop(condition.add_compared(&context, &mut refs));
        }
    }
    refs.into_iter().take(MAX_COMPARED_REFS).collect()
}

/// Applies the rules: returns the pipeline with the selected jobs, without needs that refer to excluded jobs, and
/// without empty stages.
pub(super) fn select<'a>(pipeline: &'a Pipeline, facts: &Facts) -> Result<Selection<'a>, PlanError> {
    if pipeline.jobs.iter().all(|job| job.rules.is_empty()) {
        let paths = Paths::new(facts).decisive();
        let variants = pipeline.jobs.iter().map(all_variants).collect();
        return Ok(Selection { pipeline: Cow::Borrowed(pipeline), variants, excluded: Vec::new(), paths });
    }
    let evaluations = pipeline.jobs.iter().fold(0_usize, |count, job| {
        let times = if depends_on_matrix(job) { max_variants(job) } else { 1 };
        count.saturating_add(job.rules.len().saturating_mul(times))
    });
    if evaluations > MAX_RULE_EVALUATIONS {
        return Err(PlanError::TooManyRules(evaluations));
    }
    let mut selector = JobSelector::new(pipeline, facts);
    let mut jobs = Vec::with_capacity(pipeline.jobs.len());
    let mut variants = Vec::with_capacity(pipeline.jobs.len());
    let mut excluded = Vec::new();
    for job in &pipeline.jobs {
        let (selected, of_job) = selector.select(job, &mut excluded)?;
        if !of_job.is_empty() {
            jobs.push(selected);
            variants.push(of_job);
        }
    }
    remove_excluded_needs(&mut jobs, &mut variants, &excluded)?;
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
    Ok(Selection { pipeline: Cow::Owned(selected), variants, excluded, paths: selector.paths.decisive() })
}

/// The result of a selection.
pub(super) struct Selection<'a> {
    pub(super) pipeline: Cow<'a, Pipeline>,
    /// The selected variants of each job of the pipeline.
    pub(super) variants: Vec<Vec<SelectedVariant>>,
    pub(super) excluded: Vec<ExcludedJob>,
    /// The paths that were decisive; see [`Paths::decisive`].
    pub(super) paths: DecisivePaths,
}

/// A variant of a job that takes part.
pub(super) struct SelectedVariant {
    pub(super) variant: Variant,
    /// The job as the rule that matched for this variant changes it, if others have another one.
    pub(super) job: Option<Box<Job>>,
    /// The rules that outputs of other jobs decide.
    pub(super) condition: Option<DueCondition>,
}

/// Returns the different needs of a job's variants, as the rules changed them.
pub(super) fn needs_of<'a>(job: &'a Job, variants: &'a [SelectedVariant]) -> Vec<Option<&'a [Need]>> {
    let own = job.needs.as_deref();
    let mut all: Vec<Option<&[Need]>> = Vec::new();
    for selected in variants {
        let needs = selected.job.as_deref().map_or(own, |changed| changed.needs.as_deref());
        if all.last() != Some(&needs) && !all.contains(&needs) {
            all.push(needs);
        }
    }
    all
}

/// Calls `change` for each job, as the rules changed it, with a function that says whether a need's variants take part.
pub(super) fn change_jobs(
    jobs: &mut [Job],
    variants: &mut [Vec<SelectedVariant>],
    mut change: impl FnMut(&mut Job, &dyn Fn(&Need) -> bool) -> Result<(), PlanError>,
) -> Result<(), PlanError> {
    let by_name: HashMap<String, usize> =
        jobs.iter().enumerate().map(|(ix, job)| (job.name.clone(), ix)).collect();
    let mut changed: Vec<Vec<Option<Box<Job>>>> = variants
        .iter_mut()
        .map(|of_job| of_job.iter_mut().map(|selected| selected.job.take()).collect())
        .collect();
    let is_present = |need: &Need| {
        by_name
            .get(&need.job)
            .is_some_and(|ix| variants[*ix].iter().any(|selected| need.includes(&selected.variant.cell)))
    };
    for (job, of_job) in jobs.iter_mut().zip(&mut changed) {
        // Otherwise no variant is as the file has it.
        if of_job.iter().any(Option::is_none) {
            change(job, &is_present)?;
        }
        of_job.iter_mut().flatten().try_for_each(|job| change(job, &is_present))?;
    }
    for (selected, job) in variants.iter_mut().flatten().zip(changed.into_iter().flatten()) {
        selected.job = job;
    }
    Ok(())
}

/// Returns the name of a variant.
pub(super) fn name(variant: &Variant, job: &Job) -> Result<String, PlanError> {
    variant.name(job).ok_or_else(|| PlanError::NameTooLong(job.name.clone()))
}

fn all_variants(job: &Job) -> Vec<SelectedVariant> {
    let selected = |variant| SelectedVariant { variant, job: None, condition: None };
    matrix::variants(job).into_iter().map(selected).collect()
}

/// Whether a rule of the job refers to a key of its matrix, or to its position in it.
fn depends_on_matrix(job: &Job) -> bool {
    if job.rules.is_empty() || max_variants(job) <= 1 {
        return false;
    }
    let names: HashSet<&str> = job.matrix.keys().chain(["CI_NODE_INDEX"]).collect();
    let is_separator = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let mut texts = job.rules.iter().flat_map(|rule| rule.variables.values().chain(&rule.condition));
    texts.any(|text| text.split(is_separator).any(|word| names.contains(word)))
}

/// Removes needs and dependencies that refer to excluded jobs. A need that is not optional is an error.
fn remove_excluded_needs(
    jobs: &mut [Job],
    variants: &mut [Vec<SelectedVariant>],
    excluded: &[ExcludedJob],
) -> Result<(), PlanError> {
    if excluded.is_empty() {
        return Ok(());
    }
    let present: HashSet<String> = jobs.iter().map(|job| job.name.clone()).collect();
    let why: HashMap<&str, &str> =
        excluded.iter().map(|excluded| (excluded.job.as_str(), excluded.why.as_str())).collect();
    change_jobs(jobs, variants, |job, is_present| {
        // A name that is not that of a job is reported later.
        let is_job = |need: &Need| why.contains_key(need.job.as_str()) || present.contains(&need.job);
        let is_missing = |need: &&Need| !need.optional && is_job(need) && !is_present(need);
        if let Some(missing) = job.needs.iter().flatten().find(is_missing) {
            let reason = why.get(missing.job.as_str()).copied();
            let why = reason.unwrap_or("its rules exclude the variants that are needed").to_owned();
            return Err(PlanError::NeedExcluded { job: job.name.clone(), need: missing.job.clone(), why });
        }
        for needs in [&mut job.needs, &mut job.dependencies].into_iter().flatten() {
            needs.retain(|need| is_present(need) || !is_job(need));
        }
        Ok(())
    })
}

enum Decision<'a> {
    In(Option<&'a Rule>),
    /// Outputs decide; no rule changes the job.
    WhenDue(DueCondition),
    Out(String),
}

/// Whether a rule matches, as far as facts decide it.
enum Match {
    No,
    Yes,
    Open(OpenCondition),
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
    fn new(pipeline: &'a Pipeline, facts: &'a Facts) -> Self {
        let predefined = predefined::execution_variables(facts, &pipeline.name);
        Self { pipeline, facts, paths: Paths::new(facts), predefined, conditions: HashMap::new() }
    }

    /// Returns a job as its rules change it, and its selected variants.
    fn select(
        &mut self,
        job: &'a Job,
        excluded: &mut Vec<ExcludedJob>,
    ) -> Result<(Job, Vec<SelectedVariant>), PlanError> {
        if !depends_on_matrix(job) {
            return match self.decide(job, None)? {
                Decision::Out(why) => {
                    excluded.push(ExcludedJob { job: job.name.clone(), why });
                    Ok((job.clone(), Vec::new()))
                }
                Decision::In(rule) => {
                    let selected =
                        rule.map_or_else(|| Ok(job.clone()), |rule| self.apply(job, rule, None))?;
                    let variants = all_variants(job);
                    Ok((selected, variants))
                }
                Decision::WhenDue(condition) => {
                    let mut variants = all_variants(job);
                    for selected in &mut variants {
                        selected.condition = Some(condition.clone());
                    }
                    Ok((Job { rules: Vec::new(), ..job.clone() }, variants))
                }
            };
        }
        let mut variants = Vec::new();
        let mut left_out = Vec::new();
        for variant in matrix::variants(job) {
            match self.decide(job, Some(&variant))? {
                Decision::Out(why) => left_out.push(ExcludedJob { job: name(&variant, job)?, why }),
                Decision::In(rule) => {
                    let changed = rule.map(|rule| self.apply(job, rule, Some(&variant))).transpose()?;
                    variants.push(SelectedVariant { variant, job: changed.map(Box::new), condition: None });
                }
                Decision::WhenDue(condition) => {
                    variants.push(SelectedVariant { variant, job: None, condition: Some(condition) });
                }
            }
        }
        match left_out.as_slice() {
            [first, ..] if variants.is_empty() => {
                excluded.push(ExcludedJob { job: job.name.clone(), why: first.why.clone() });
            }
            _ => excluded.extend(left_out),
        }
        let mut selected = job.clone();
        selected.rules.clear();
        Ok((selected, variants))
    }

    fn variables(&self, job: &Job, variant: Option<&Variant>) -> IndexMap<String, String> {
        let mut variables = self.predefined.clone();
        let environment = job.surroundings.environment.as_ref().map(|environment| environment.name.as_str());
        let environment = environment.filter(|name| first_reference(name).is_none());
        let names = PlannedNames { name: &job.name, stage: &job.stage, node: None, environment };
        variables.extend(predefined::planned_variables(names));
        if let Some(environment) = &job.surroundings.environment {
            environment.add_variables(&mut variables);
        }
        variables.extend(self.pipeline.variables.clone());
        variables.extend(job.variables.clone());
        variables.extend(self.facts.variables.clone());
        if let Some(variant) = variant {
            variables.extend(variant.cell.clone());
            variant.add_position(&mut variables);
        }
        variables
    }

    /// Returns the job as changed by the matching rule. Values of its variables may refer to variables.
    fn apply(&self, job: &Job, rule: &Rule, variant: Option<&Variant>) -> Result<Job, PlanError> {
        let mut changed = job.clone();
        if let Some(RuleOutcome::When(when)) = rule.then {
            changed.when = when;
        }
        changed.start_in_s = rule.start_in_s.or(changed.start_in_s);
        if let Some(allowed) = rule.allow_failure {
            changed.allow_failure = allowed;
            changed.allow_exit_codes.clear();
        }
        if let Some(needs) = &rule.needs {
            changed.needs = Some(needs.clone());
            changed.dependencies = None;
        }
        if let Some(dependencies) = &rule.dependencies {
            changed.dependencies = Some(dependencies.clone());
        }
        changed.rules.clear();
        if rule.variables.values().any(|value| value.contains("${")) {
            let known = self.variables(job, variant);
            let name = variant.map_or_else(|| Ok(job.name.clone()), |variant| name(variant, job))?;
            for (variable, value) in &rule.variables {
                let expanded = substitute_bounded(value, MAX_VALUE_BYTES, |reference| {
                    let builtin = || references::builtin(reference, &self.pipeline.name, &name, self.facts);
                    known
                        .get(reference)
                        .map(String::as_str)
                        .or_else(builtin)
                        .or_else(|| predefined::is_execution_variable(reference).then_some(""))
                });
                let expanded = expanded.ok_or_else(|| PlanError::ValueTooLong {
                    job: job.name.clone(),
                    variable: variable.clone(),
                })?;
                changed.variables.insert(variable.clone(), expanded);
            }
        } else {
            changed.variables.extend(rule.variables.clone());
        }
        Ok(changed)
    }

    fn decide(&mut self, job: &'a Job, variant: Option<&Variant>) -> Result<Decision<'a>, PlanError> {
        if job.rules.is_empty() {
            return Ok(Decision::In(None));
        }
        let variables = self.variables(job, variant);
        let mut open = Vec::new();
        let mut decided = None;
        for (at, rule) in job.rules.iter().enumerate() {
            match self.matches(job, rule, &variables)? {
                Match::No => {}
                Match::Yes => {
                    decided = Some((at, rule));
                    break;
                }
                Match::Open(condition) => open.push(DueRule {
                    text: rule.condition.clone().unwrap_or_default(),
                    runs: rule.then != Some(RuleOutcome::Never),
                    open: Some(condition),
                }),
            }
        }
        let otherwise = decided.is_some_and(|(_, rule)| rule.then != Some(RuleOutcome::Never));
        if let Some(condition) = DueCondition::new(&job.name, open, otherwise)? {
            return Ok(Decision::WhenDue(condition));
        }
        Ok(match decided {
            Some((at, rule)) if !otherwise => Decision::Out(exclusion(job, at, rule)),
            Some((_, rule)) => Decision::In(Some(rule)),
            None => Decision::Out(no_rule_holds(job)),
        })
    }

    fn matches(
        &mut self,
        job: &Job,
        rule: &'a Rule,
        variables: &IndexMap<String, String>,
    ) -> Result<Match, PlanError> {
        let mut result = Match::Yes;
        if let Some(text) = &rule.condition {
            let failed =
                |why: String| PlanError::Condition { job: job.name.clone(), condition: text.clone(), why };
            if !self.conditions.contains_key(text.as_str()) {
                let condition = condition::check(text).map_err(|fault| failed(fault.message))?;
                self.conditions.insert(text, condition);
            }
            let context = Context { facts: self.facts, variables, paths: &self.paths };
            match self.conditions[text.as_str()]
                .decide(&context)
                .map_err(|error| failed(error.to_string()))?
            {
                condition::Decision::Known(true) => {}
                condition::Decision::Known(false) => return Ok(Match::No),
                condition::Decision::Open(open) => result = Match::Open(open),
            }
        }
        let matches = (rule.changes.is_empty() || self.paths.changed(&rule.changes))
            && (rule.exists.is_empty() || self.paths.exists(&rule.exists));
        Ok(if matches { result } else { Match::No })
    }
}

/// Says why a job takes no part that its rule at `at` excludes.
fn exclusion(job: &Job, at: usize, rule: &Rule) -> String {
    match rule.number {
        Some(0) => {
            let conditions = Some(describe(rule)).filter(|text| text != ALWAYS);
            let conditions = conditions.map_or_else(String::new, |text| format!(": {text}"));
            format!("the rules of the pipeline (`workflow`, or those of an include) exclude it{conditions}")
        }
        Some(number) => format!("rule {number} excludes the job: {}", describe(rule)),
        None if job.rules.iter().any(|rule| rule.number.is_some()) => no_rule_holds(job),
        None => format!("rule {} excludes the job: {}", at + 1, describe(rule)),
    }
}

/// Says why a job takes no part that none of its rules includes.
fn no_rule_holds(job: &Job) -> String {
    let numbered = job.rules.iter().filter_map(|rule| rule.number).max();
    let count = numbered.map_or(job.rules.len(), |number| number as usize);
    // The rules with numbers are those that the job was written with, each once or in several cases.
    let mut own =
        job.rules.iter().filter(|rule| numbered.is_none() || rule.number.is_some_and(|number| number > 0));
    match (count, own.next(), own.next()) {
        (1, Some(Rule { condition: Some(text), changes, exists, .. }), None)
            if changes.is_empty() && exists.is_empty() =>
        {
            format!("`{}` does not hold", text.trim())
        }
        (1, Some(rule), None) => format!("its rule does not hold: {}", describe(rule)),
        (1, ..) => "its rule does not hold".to_owned(),
        _ => format!("none of its {count} rules holds"),
    }
}

/// The description of a rule without conditions.
const ALWAYS: &str = "always";

/// Describes the conditions of a rule.
fn describe(rule: &Rule) -> String {
    let mut parts = Vec::new();
    parts.extend(rule.condition.as_ref().map(|text| format!("if {}", shortened(text.trim()))));
    for (key, globs) in [("changes", &rule.changes), ("exists", &rule.exists)] {
        if !globs.is_empty() {
            parts.push(format!("{key} {}", globs.join(", ")));
        }
    }
    if parts.is_empty() { ALWAYS.to_owned() } else { parts.join("; ") }
}

/// Returns the beginning of a condition that is too long to be recorded for each job.
fn shortened(condition: &str) -> String {
    const MAX_CHARS: usize = 2_000;
    match condition.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}...", &condition[..end]),
        None => condition.to_owned(),
    }
}
