//! Variables that nobody sets, which are empty.

use std::rc::Rc;

use super::Scope;
use super::pieces::WithoutUnset;
use crate::execution::predefined;
use crate::gitlab::predefined_names::is_never_set;

/// Maximum number of variables of a text that nobody sets.
const MAX_UNSET: usize = 16;

impl Scope {
    /// Whether nobody sets `name`, so that it is empty: not even a job that hands variables to others.
    fn is_unset(&self, name: &str) -> bool {
        let may_be_output = self.outputs.of_others && !is_never_set(name);
        name != "$" && !self.is_hidden(name) && !predefined::is_predefined(name) && !may_be_output
    }

    /// Whether other jobs may hand variables to this one.
    pub(crate) const fn has_outputs(&self) -> bool {
        self.outputs.of_others
    }

    /// Translates a text with `translate`, in which variables that nobody sets are empty, as in GitLab. `Err`: one that may be set,
    /// but is not known.
    pub(crate) fn without_unset(
        &self,
        text: &str,
        translate: impl Fn(&Self, &str) -> Result<String, String>,
    ) -> Result<WithoutUnset, String> {
        let (mut scope, mut unset) = (Self { accepts_unset: false, ..self.clone() }, Vec::new());
        loop {
            match translate(&scope, text) {
                Ok(text) => return Ok(WithoutUnset { text, unset }),
                Err(name) if self.is_unset(&name) && unset.len() < MAX_UNSET => {
                    scope = scope.with_empty(&name);
                    unset.push(name);
                }
                Err(name) => return Err(name),
            }
        }
    }

    /// Whether `name` may have a value when the conditions of a job are decided: it is set, by a value that is not known here, or
    /// it is a variable of the execution.
    pub(crate) fn may_be_set(&self, name: &str) -> bool {
        self.is_set(name) || predefined::is_predefined(name)
    }

    /// Returns the scope in which a variable is set to the empty text.
    fn with_empty(&self, name: &str) -> Self {
        let mut scope = self.clone();
        Rc::make_mut(&mut scope.external).values.insert(name.to_owned(), String::new());
        scope
    }
}
