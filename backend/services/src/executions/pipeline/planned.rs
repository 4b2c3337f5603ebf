//! A pipeline file, parsed and planned once.

use crate::error::{Error, Result};
use indexmap::IndexMap;
use tidemill_core::execution::facts::{Facts, Trigger};
use tidemill_core::text::diagnostics::Diagnostic;
use tidemill_core::{
    pipeline::{self, Input, Pipeline},
    plan::{Plan, PlanError},
};

/// A pipeline file with the plan of one run of it.
pub(crate) struct PlannedRun {
    /// The file.
    pub file: Pipeline,
    /// Its plan.
    pub plan: Plan,
    /// Facts of the run, without paths that no condition reads.
    pub facts: Facts,
}

impl PlannedRun {
    /// Parses and plans the text of a file for a run with these facts and inputs.
    pub fn parse(text: &str, facts: Facts, inputs: &IndexMap<String, String>) -> Result<Self> {
        Self::with_inputs(parse_pipeline(text)?, facts, inputs)
    }

    /// Parses and plans the text of a file that a job starts. Its inputs get their values from their variables among `variables`; an
    /// empty one gives no value.
    pub fn parse_child(text: &str, facts: Facts, variables: &IndexMap<String, String>) -> Result<Self> {
        let file = parse_pipeline(text)?;
        let mut inputs = IndexMap::new();
        for input in file.on.all_inputs() {
            let value = variables.get(&Input::variable(&input.name)).filter(|value| !value.is_empty());
            if let Some(value) = value {
                inputs.insert(input.name, value.clone());
            }
        }
        Self::with_inputs(file, facts, &inputs)
    }

    fn with_inputs(file: Pipeline, mut facts: Facts, inputs: &IndexMap<String, String>) -> Result<Self> {
        let is_manual = facts.trigger == Trigger::Manual;
        let values =
            file.on.input_values(inputs, is_manual).map_err(|error| Error::Invalid(error.to_string()))?;
        pipeline::set_inputs(&mut facts, values);
        Self::plan(file, &facts).map_err(|error| Error::Invalid(error.to_string()))
    }

    /// Plans a parsed file.
    pub fn plan(file: Pipeline, facts: &Facts) -> Result<Self, PlanError> {
        let (plan, facts) = Plan::with_decisive_facts(&file, facts)?;
        Ok(Self { file, plan, facts })
    }
}

/// Parses the text of a file.
pub(crate) fn parse_pipeline(text: &str) -> Result<Pipeline> {
    pipeline::parse(text).map_err(|diagnostics| invalid(&diagnostics))
}

fn invalid(diagnostics: &[Diagnostic]) -> Error {
    let values = diagnostics.iter().map(|diagnostic| serde_json::to_value(diagnostic).unwrap_or_default());
    Error::InvalidPipeline(values.collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::PlannedRun;
    use indexmap::IndexMap;
    use tidemill_core::execution::facts::{Facts, Trigger};

    #[test]
    fn inputs_of_a_child_get_the_values_of_its_variables() {
        let text = "name: child\non:\n  manual: { inputs: { env: { type: choice, options: [dev, prod], default: dev } } }\n\
                    jobs: { a: { image: i, script: [x] } }\n";
        let env = |value: &str| {
            let variables = IndexMap::from([("INPUT_ENV".to_owned(), value.to_owned())]);
            let trigger = Trigger::ParentPipeline;
            let facts = Facts { trigger, variables: variables.clone(), ..Facts::default() };
            PlannedRun::parse_child(text, facts, &variables).map(|run| run.facts.inputs["env"].clone())
        };
        assert_eq!(env("prod").unwrap(), "prod");
        assert_eq!(env("").unwrap(), "dev");
        let error = env("staging").unwrap_err().to_string();
        assert!(error.starts_with("the input `env` takes one of"), "{error}");
    }
}
