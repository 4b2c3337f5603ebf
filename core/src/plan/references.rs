//! The values of references in a job's texts, besides its variables.

use indexmap::IndexMap;

use crate::execution::facts::Facts;
use crate::execution::predefined::{self, PlannedNames};
use crate::pipeline::Job;
use crate::text::substitution::substitute;

/// Returns the value of a built-in reference; a variable of the same name takes precedence.
pub(super) fn builtin<'a>(
    reference: &str,
    pipeline: &'a str,
    job: &'a str,
    facts: &'a Facts,
) -> Option<&'a str> {
    match reference {
        "branch" => Some(facts.branch.as_deref().unwrap_or_default()),
        "tag" => Some(facts.tag.as_deref().unwrap_or_default()),
        "job" => Some(job),
        "pipeline" => Some(pipeline),
        _ => None,
    }
}

/// Whether a reference is to the registry of images, without which no image has a valid name.
fn is_registry(reference: &str) -> bool {
    matches!(reference, "CI_REGISTRY" | "CI_REGISTRY_IMAGE")
}

/// The values that references of one variant of a job have.
pub(super) struct JobReferences<'a> {
    pub(super) pipeline: &'a str,
    pub(super) job: &'a str,
    pub(super) facts: &'a Facts,
    /// The predefined variables of the execution.
    pub(super) execution: &'a IndexMap<String, String>,
    /// The predefined variables of the job.
    pub(super) planned: IndexMap<String, String>,
}

impl<'a> JobReferences<'a> {
    /// Creates the references of a variant of `job`, with its name, and its position and number if there are several.
    pub(super) fn new(
        job: &Job,
        (name, node): (&'a str, Option<(usize, usize)>),
        pipeline: &'a str,
        facts: &'a Facts,
        execution: &'a IndexMap<String, String>,
        variables: &IndexMap<String, String>,
    ) -> Self {
        let names = PlannedNames { name, stage: &job.stage, node, environment: None };
        let planned = predefined::planned_variables(names);
        let mut references = Self { pipeline, job: name, facts, execution, planned };
        if let Some(own) = &job.surroundings.environment {
            let environment = substitute(&own.name, |reference| {
                variables.get(reference).map(String::as_str).or_else(|| references.predefined(reference))
            });
            let names = PlannedNames { environment: Some(&environment), ..names };
            references.planned = predefined::planned_variables(names);
            own.add_variables(&mut references.planned);
        }
        references
    }

    /// Returns the variable about the registry of images that `text` refers to although it is not set.
    pub(super) fn unset_registry<'t>(
        &self,
        text: &'t str,
        variables: &IndexMap<String, String>,
    ) -> Option<&'t str> {
        let names = text.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
        let is_set = |name: &str| variables.contains_key(name) || self.predefined(name).is_some();
        names.filter(|name| is_registry(name)).find(|name| !is_set(name))
    }

    /// Returns the value of a reference that is not a variable of the file or the execution. One that does not apply is empty.
    pub(super) fn predefined(&self, reference: &str) -> Option<&str> {
        builtin(reference, self.pipeline, self.job, self.facts)
            .or_else(|| self.execution.get(reference).map(String::as_str))
            .or_else(|| self.planned.get(reference).map(String::as_str))
            .or_else(|| (predefined::is_reference(reference) && !is_registry(reference)).then_some(""))
    }
}
