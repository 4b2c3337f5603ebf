//! Variables whose values depend on others that the file does not set, and which some rules replace.

use std::collections::{BTreeSet, HashMap};

use indexmap::IndexMap;

use super::pieces::{Piece, quote_for_shell};
use super::{Known, MAX_DEPTH, MAX_VALUE_BYTES, Scope, Value};
use crate::text::substitution::substitute_bounded;

/// The variables of a job that have their values only if no rule sets them.
#[derive(Debug, Default)]
pub(crate) struct Replaced {
    /// Those whose values are known when the job is planned, as native texts.
    pub(crate) planned: IndexMap<String, String>,
    /// The others: only a running job knows their values.
    late: BTreeSet<String>,
}

impl Replaced {
    /// Returns the first variable that only a running job knows among those that a native text refers to.
    pub(crate) fn late_in<'r>(&'r self, text: &str) -> Option<&'r str> {
        references(text).find_map(|name| self.late.get(name)).map(String::as_str)
    }
}

impl Scope {
    /// Returns the variables that some rules replace; `is_of_matrix` says which are of the job's matrix.
    pub(crate) fn replaced(&self, is_of_matrix: impl Fn(&str) -> bool) -> Replaced {
        let mut replaced = Replaced::default();
        let of_rules = self.values.iter().filter_map(|(name, value)| match value {
            Value::Runtime(pieces) if self.varying.contains(name) && !is_of_matrix(name) => {
                Some((name, pieces))
            }
            _ => None,
        });
        for (name, pieces) in of_rules {
            if let Some(text) = self.planned(name, pieces) {
                replaced.planned.insert(name.clone(), text);
            } else {
                replaced.late.insert(name.clone());
            }
        }
        // What refers to a value that is known late is known late too.
        loop {
            let is_late = |name: &&String| {
                let used = self.names_in(name);
                used.into_iter().any(|used| replaced.late.contains(used))
            };
            let late: Vec<String> = replaced.planned.keys().filter(is_late).cloned().collect();
            if late.is_empty() {
                return replaced;
            }
            replaced.planned.retain(|name, _| !late.contains(name));
            replaced.late.extend(late);
        }
    }

    /// Returns the native text of a value, if all that it refers to is known when the job is planned.
    fn planned(&self, name: &str, pieces: &[Piece]) -> Option<String> {
        let mut text = String::new();
        let scope = Self { accepts_unset: false, ..self.clone() };
        let is_own = |piece: &Piece| matches!(piece, Piece::Name(used) if used == name);
        if pieces.iter().any(is_own) {
            return None;
        }
        scope.write(pieces, Known::Planned, &mut text).ok()?;
        Some(text)
    }

    /// Returns the variables that the value of `name` refers to.
    fn names_in(&self, name: &str) -> Vec<&str> {
        let Some(Value::Runtime(pieces)) = self.values.get(name) else { return Vec::new() };
        let names = pieces.iter().filter_map(|piece| match piece {
            Piece::Name(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        });
        names.collect()
    }

    /// Returns the shell commands that set the variables whose values only a running job knows. First those that a rule may have set,
    /// in an order in which each follows those that it refers to.
    pub(crate) fn exports(&self, is_of_matrix: impl Fn(&str) -> bool) -> Vec<String> {
        let late = self.replaced(is_of_matrix).late;
        let mut ordered = Vec::new();
        for name in &late {
            self.add_after_used(name, &late, &mut Vec::new(), &mut ordered);
        }
        let guarded = ordered.into_iter().filter_map(|name| {
            let command = self.export(name)?;
            Some(format!("[ -n \"${{{name}+x}}\" ] || {command}"))
        });
        let others = self.runtime_names().filter_map(|name| self.export(name));
        guarded.chain(others).collect()
    }

    fn add_after_used<'s>(
        &'s self,
        name: &'s str,
        late: &'s BTreeSet<String>,
        chain: &mut Vec<&'s str>,
        ordered: &mut Vec<&'s str>,
    ) {
        if ordered.contains(&name) || chain.contains(&name) || chain.len() >= MAX_DEPTH {
            return;
        }
        chain.push(name);
        for used in self.names_in(name).into_iter().filter(|used| late.contains(*used)) {
            self.add_after_used(used, late, chain, ordered);
        }
        chain.pop();
        if !ordered.contains(&name) {
            ordered.push(name);
        }
    }

    fn export(&self, name: &str) -> Option<String> {
        match self.values.get(name) {
            Some(Value::Runtime(pieces)) => Some(format!("export {name}=\"{}\"", quote_for_shell(pieces))),
            _ => None,
        }
    }
}

/// Returns the values of one rule, in which references to each other are expanded, as GitLab expands them together; `None` if one
/// becomes too long.
pub(crate) fn complete_together(values: &IndexMap<String, String>) -> Option<IndexMap<String, String>> {
    let mut done = HashMap::new();
    values
        .keys()
        .map(|name| Some((name.clone(), complete(name, values, &mut Vec::new(), &mut done)?)))
        .collect()
}

fn complete<'v>(
    name: &'v str,
    values: &'v IndexMap<String, String>,
    chain: &mut Vec<&'v str>,
    done: &mut HashMap<&'v str, String>,
) -> Option<String> {
    if let Some(value) = done.get(name) {
        return Some(value.clone());
    }
    let text = values.get(name)?;
    chain.push(name);
    let mut inner = HashMap::new();
    for used in references(text) {
        let Some((used, _)) = values.get_key_value(used) else { continue };
        if !chain.contains(&used.as_str()) && chain.len() < MAX_DEPTH {
            inner.insert(used.as_str(), complete(used, values, chain, done)?);
        }
    }
    chain.pop();
    let value = substitute_bounded(text, MAX_VALUE_BYTES, |name| inner.get(name).map(String::as_str))?;
    done.insert(name, value.clone());
    Some(value)
}

/// Returns the variables that a native text refers to.
fn references(text: &str) -> impl Iterator<Item = &str> {
    text.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
}
