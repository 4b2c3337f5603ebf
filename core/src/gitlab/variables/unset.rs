//! Variables that nobody sets, which are empty.

use std::rc::Rc;

use super::Scope;

impl Scope {
    /// Returns the scope in which a variable is set to the empty text.
    pub(crate) fn with_empty(&self, name: &str) -> Self {
        let mut scope = self.clone();
        Rc::make_mut(&mut scope.external).values.insert(name.to_owned(), String::new());
        scope
    }
}
