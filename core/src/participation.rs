//! Which jobs of a pipeline take part in an execution, and how: what their rules say of what is known.

use crate::{
    condition::{Condition, Known, any_path},
    facts::Facts,
    pipeline::{Job, Pipeline, Rule, RuleThen, RunWhen},
};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// A job that does not take part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name in the file.
    pub job: String,
    /// Why, in words.
    pub why: String,
}

/// A condition that cannot be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    /// The job.
    pub job: String,
    /// The condition.
    pub condition: String,
    /// Why.
    pub why: String,
}

/// The pipeline with only the jobs that take part, each as its rule has it, and those that do not. A need of a job that is
/// left out is dropped, and so is a stage without jobs.
///
/// # Errors
/// A condition cannot be told.
pub fn taking_part(pipeline: &Pipeline, facts: &Facts) -> Result<(Pipeline, Vec<LeftOut>), Untold> {
    let mut taking = Pipeline { jobs: Vec::with_capacity(pipeline.jobs.len()), ..pipeline.clone() };
    let mut left_out = Vec::new();
    for job in &pipeline.jobs {
        match decide(pipeline, job, facts)? {
            Ok(job) => taking.jobs.push(job),
            Err(why) => left_out.push(LeftOut { job: job.name.clone(), why }),
        }
    }
    if !left_out.is_empty() {
        let gone: HashSet<&str> = left_out.iter().map(|left| left.job.as_str()).collect();
        for job in &mut taking.jobs {
            if let Some(needs) = &mut job.needs {
                needs.retain(|need| !gone.contains(need.as_str()));
            }
        }
        let used: HashSet<&str> = taking.jobs.iter().map(|job| job.stage.as_str()).collect();
        taking.stages.retain(|stage| used.contains(stage.as_str()));
    }
    Ok((taking, left_out))
}

/// The job as it takes part, or why it does not.
fn decide(pipeline: &Pipeline, job: &Job, facts: &Facts) -> Result<Result<Job, String>, Untold> {
    if job.rules.is_empty() {
        return Ok(Ok(job.clone()));
    }
    let mut variables = pipeline.variables.clone();
    variables.extend(job.variables.clone());
    variables.extend(facts.variables.clone());
    for (at, rule) in job.rules.iter().enumerate() {
        if !holds(rule, facts, &variables).map_err(|(condition, why)| Untold {
            job: job.name.clone(),
            condition,
            why,
        })? {
            continue;
        }
        return Ok(match rule.then {
            Some(RuleThen::Never) => Err(format!("rule {} says never", at + 1)),
            Some(RuleThen::When(when)) => Ok(as_told(job, rule, when)),
            None => Ok(as_told(job, rule, job.when)),
        });
    }
    Ok(Err(match job.rules.as_slice() {
        [Rule { condition: Some(condition), .. }] => format!("`{condition}` does not hold"),
        [_] => "its rule does not hold".to_owned(),
        rules => format!("none of its {} rules holds", rules.len()),
    }))
}

fn as_told(job: &Job, rule: &Rule, when: RunWhen) -> Job {
    let mut told = Job { when, ..job.clone() };
    if let Some(allow) = rule.allow_failure {
        told.allow_failure = allow;
    }
    told.variables.extend(rule.variables.clone());
    told
}

fn holds(rule: &Rule, facts: &Facts, variables: &IndexMap<String, String>) -> Result<bool, (String, String)> {
    if let Some(text) = &rule.condition {
        let untold = |why: String| (text.clone(), why);
        let condition = Condition::parse(text).map_err(|mistakes| {
            untold(mistakes.into_iter().next().map(|mistake| mistake.message).unwrap_or_default())
        })?;
        if !condition.holds(Known { facts, variables }).map_err(untold)? {
            return Ok(false);
        }
    }
    let any = |globs: &Vec<String>, paths: &Option<Vec<String>>| {
        globs.is_empty() || any_path(globs, paths.as_deref())
    };
    Ok(any(&rule.changes, &facts.changed) && any(&rule.exists, &facts.files))
}
