//! Conditions on outputs of other jobs, which are decided when their job is due.

use super::error::PlanError;
use crate::condition::{OpenCondition, Outputs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Maximum total size of the texts of one job's open conditions, in bytes.
const MAX_TEXT_BYTES: usize = 4 << 10;

/// The rules of a job that outputs of other jobs decide. The first that holds says whether the job runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DueCondition {
    /// The rules, in order.
    pub rules: Vec<DueRule>,
    /// Whether the job runs if none of them holds.
    pub otherwise: bool,
    /// The jobs that the conditions refer to, by their names in the file: the variants that this job waits for.
    #[serde(skip)]
    pub providers: BTreeMap<String, Vec<u32>>,
}

/// A rule with a condition on outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DueRule {
    /// The condition as written.
    #[serde(rename = "if")]
    pub text: String,
    /// Whether the job runs if it holds.
    pub runs: bool,
    /// What facts leave open of it; `None` in a plan that was read from JSON, which is for display.
    #[serde(skip)]
    pub(super) open: Option<OpenCondition>,
}

impl DueCondition {
    /// Creates the condition of the job named `job`. `None`: the job runs or does not run, whatever the outputs are.
    pub(super) fn new(job: &str, rules: Vec<DueRule>, otherwise: bool) -> Result<Option<Self>, PlanError> {
        let sizes = rules
            .iter()
            .map(|rule| rule.text.len() + rule.open.as_ref().map_or(0, OpenCondition::text_bytes));
        let bytes: usize = sizes.sum();
        if bytes > MAX_TEXT_BYTES {
            return Err(PlanError::Condition {
                job: job.to_owned(),
                condition: rules.first().map(|rule| rule.text.clone()).unwrap_or_default(),
                why: format!(
                    "with the values of variables, the conditions on outputs come to {bytes} bytes; {MAX_TEXT_BYTES} is the limit"
                ),
            });
        }
        let decides = rules.iter().any(|rule| rule.runs != otherwise);
        Ok(decides.then(|| Self { rules, otherwise, providers: BTreeMap::new() }))
    }

    /// Returns the indices of the jobs whose outputs decide, in order.
    pub fn provider_indices(&self) -> impl Iterator<Item = u32> {
        self.providers.values().flatten().copied()
    }

    /// Returns whether the job runs with these outputs, and the rule that decided; `None`: no rule holds.
    #[must_use]
    pub fn decide(&self, outputs: &Outputs) -> (bool, Option<&DueRule>) {
        let holds = |rule: &&DueRule| rule.open.as_ref().is_some_and(|open| open.holds(outputs));
        match self.rules.iter().find(holds) {
            Some(rule) => (rule.runs, Some(rule)),
            None => (self.otherwise, None),
        }
    }

    /// Returns the total length of the conditions as written, in bytes.
    #[must_use]
    pub fn rules_bytes(&self) -> usize {
        self.rules.iter().map(|rule| rule.text.len()).sum()
    }

    /// Describes the rules, such as `if needs.build.outputs.CHANGED == "true"`.
    #[must_use]
    pub fn describe(&self) -> String {
        let rules: Vec<String> = self
            .rules
            .iter()
            .map(|rule| {
                let word = if rule.runs { "if" } else { "unless" };
                format!("{word} {}", rule.text.trim())
            })
            .collect();
        rules.join("; ")
    }
}
