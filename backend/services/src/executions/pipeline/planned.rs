//! A pipeline file, parsed and planned once for whoever needs it.

use crate::error::{Error, Result};
use tidemill_core::execution::facts::Facts;
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
    /// What is known of the run, without the paths that decided nothing.
    pub facts: Facts,
}

impl PlannedRun {
    /// Parses and plans the text of a file for a run of which `facts` are known.
    pub fn parse(text: &str, facts: &Facts) -> Result<Self> {
        let file = pipeline::parse(text).map_err(|mistakes| invalid(&mistakes))?;
        Self::of(file, facts).map_err(|error| Error::Invalid(error.to_string()))
    }

    /// Plans a file that is parsed already.
    pub fn of(file: Pipeline, facts: &Facts) -> Result<Self, PlanError> {
        let (plan, facts) = Plan::of_decisive(&file, facts)?;
        Ok(Self { file, plan, facts })
    }
}

fn invalid(mistakes: &[Diagnostic]) -> Error {
    let values = mistakes.iter().map(|mistake| serde_json::to_value(mistake).unwrap_or_default());
    Error::InvalidPipeline(values.collect())
}
