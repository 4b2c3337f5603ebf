//! Variables that nobody sets, which are empty.

use std::rc::Rc;

use super::Scope;
use crate::execution::predefined;

impl Scope {
    /// Whether `name` may have a value when the conditions of a job are decided: it is set, by a value that is not known here, or
    /// it is a variable of the execution.
    pub(crate) fn may_be_set(&self, name: &str) -> bool {
        self.is_set(name) || predefined::is_predefined(name)
    }

    /// Returns the scope in which a variable is set to the empty text.
    pub(crate) fn with_empty(&self, name: &str) -> Self {
        let mut scope = self.clone();
        Rc::make_mut(&mut scope.external).values.insert(name.to_owned(), String::new());
        scope
    }
}
