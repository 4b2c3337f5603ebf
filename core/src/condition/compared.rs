//! The refs that conditions compare changes with.

use std::collections::BTreeSet;

use super::evaluation_error::EvaluationError;
use super::parser::Condition;
use super::predicate::{Context, Predicate, Source, Value};

impl Condition {
    /// Adds the refs that changes are compared with, as `context` has their names.
    ///
    /// # Errors
    /// Fails like [`Self::decide`].
    pub fn add_compared(
        &self,
        context: &Context<'_>,
        refs: &mut BTreeSet<String>,
    ) -> Result<(), EvaluationError> {
        let mut result = Ok(());
        self.predicate.each_compared(&mut |reference| match reference.reduce(Source::Planned(*context)) {
            Ok(Value::Literal(reference)) => {
                refs.insert(reference);
            }
            Ok(_) => {}
            Err(error) => result = Err(error),
        });
        result
    }
}

impl Predicate {
    /// Calls `visit` with each ref that changes are compared with.
    fn each_compared(&self, visit: &mut dyn FnMut(&Value)) {
        match self {
            Self::ChangedSince(reference, _) => visit(reference),
            Self::Not(test) => test.each_compared(visit),
            Self::And(left, right) | Self::Or(left, right) | Self::BoolEqual(left, right) => {
                left.each_compared(visit);
                right.each_compared(visit);
            }
            Self::If(test, then, other) => {
                for part in [test, then, other] {
                    part.each_compared(visit);
                }
            }
            _ => {}
        }
    }
}
