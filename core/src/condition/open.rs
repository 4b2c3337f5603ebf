//! Conditions that are decided in two steps: what facts decide before any job runs, and outputs when a job is due.

use super::predicate::{Outputs, Predicate, Source, Value};
use std::collections::BTreeSet;

/// What is known of a condition before any job runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Whether it holds.
    Known(bool),
    /// It depends on outputs.
    Open(OpenCondition),
}

/// A condition of outputs and literals: everything else is decided.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenCondition(pub(super) Predicate);

impl OpenCondition {
    /// Whether it holds with these outputs.
    #[must_use]
    pub fn holds(&self, outputs: &Outputs) -> bool {
        // Patterns are compiled, and the outputs of a condition are bounded, so that it cannot fail.
        self.0.reduce(Source::Due(outputs)) == Ok(Predicate::Const(true))
    }

    /// Returns the names of the jobs whose outputs it refers to.
    #[must_use]
    pub fn jobs(&self) -> BTreeSet<String> {
        let mut jobs = BTreeSet::new();
        self.0.each_value(&mut |value| {
            if let Value::Output { job, .. } = value {
                jobs.insert(job.clone());
            }
        });
        jobs
    }

    /// Returns the total length of its texts, in bytes.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let mut bytes = 0_usize;
        self.0.each_value(&mut |value| {
            bytes += match value {
                Value::Literal(text) => text.len(),
                Value::Output { job, name } => job.len() + name.len(),
                _ => 0,
            };
        });
        bytes
    }
}
