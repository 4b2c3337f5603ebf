//! A pipeline file, parsed and planned once.

use crate::error::{Error, Result};
use indexmap::IndexMap;
use tidemill_core::execution::facts::{Facts, Trigger};
use tidemill_core::text::diagnostics::Diagnostic;
use tidemill_core::{
    pipeline::{self, Pipeline},
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
    pub fn parse(text: &str, mut facts: Facts, inputs: &IndexMap<String, String>) -> Result<Self> {
        let file = parse_pipeline(text)?;
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
