//! Merges mappings.

use std::rc::Rc;

use indexmap::IndexMap;

use crate::pipeline::yaml::tree::{Kind, MapEntry, Mapping, Node};
use crate::text::diagnostics::Location;

/// Maximum number of entries that are read to merge the files of a pipeline.
pub(crate) const MAX_MERGED_ENTRIES: usize = 1_000_000;

/// Merges `over` into `base`: mappings are merged key by key, other values of `over` win.
pub(crate) fn merge(base: &Rc<Node>, over: &Rc<Node>) -> Rc<Node> {
    if Rc::ptr_eq(base, over) {
        return Rc::clone(base);
    }
    let (Kind::Mapping(below), Kind::Mapping(above)) = (&base.kind, &over.kind) else {
        return Rc::clone(over);
    };
    let mut entries = Vec::with_capacity(below.entries.len() + above.entries.len());
    for entry in &below.entries {
        entries.push(match over.get(&entry.key) {
            Some(own) => MapEntry { value: merge(&entry.value, &own.value), ..own.clone() },
            None => entry.clone(),
        });
    }
    entries.extend(above.entries.iter().filter(|entry| base.get(&entry.key).is_none()).cloned());
    Rc::new(Node::mapping(entries, over.location))
}

/// The number of entries that may still be read to merge the files of a pipeline.
#[derive(Debug)]
pub(crate) struct MergeBudget(usize);

/// Merging the files reads more than [`MAX_MERGED_ENTRIES`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManyEntries;

impl TooManyEntries {
    /// Returns the message about it.
    pub(crate) fn message() -> String {
        format!("merging the included files takes more than {MAX_MERGED_ENTRIES} steps")
    }

    /// What to do about it.
    pub(crate) const HELP: &str = "include large files once, in one place";
}

impl Default for MergeBudget {
    fn default() -> Self {
        Self(MAX_MERGED_ENTRIES)
    }
}

impl MergeBudget {
    /// Takes off the entries of a mapping.
    fn spend(&mut self, mapping: &Mapping) -> Result<(), TooManyEntries> {
        self.0 = self.0.checked_sub(mapping.entries.len()).ok_or(TooManyEntries)?;
        Ok(())
    }
}

/// A document that others are laid over, each in time that grows with its own size only.
pub(crate) enum Merged {
    /// One value, as it is written.
    Single(Rc<Node>),
    /// The mapping that several make together.
    Joined { entries: IndexMap<String, MergedEntry>, location: Location },
}

/// An entry of a mapping that several make together.
pub(crate) struct MergedEntry {
    key_location: Location,
    value: Merged,
}

/// An entry that was found in a merged document.
pub(crate) struct FoundEntry<'a> {
    pub(crate) key_location: Location,
    /// The value, if it is one as it is written; otherwise it is a mapping.
    pub(crate) single: Option<&'a Rc<Node>>,
}

impl Merged {
    /// Lays a document over this one: mappings are merged key by key, other values of `over` win.
    pub(crate) fn add(&mut self, over: &Rc<Node>, budget: &mut MergeBudget) -> Result<(), TooManyEntries> {
        if let Self::Single(node) = self {
            if Rc::ptr_eq(node, over) {
                return Ok(());
            }
            let node = Rc::clone(node);
            let (Kind::Mapping(below), Kind::Mapping(_)) = (&node.kind, &over.kind) else {
                *self = Self::Single(Rc::clone(over));
                return Ok(());
            };
            budget.spend(below)?;
            let entry = |entry: &MapEntry| (entry.key.clone(), MergedEntry::of(entry));
            let entries = below.entries.iter().map(entry).collect();
            *self = Self::Joined { entries, location: node.location };
        }
        let Self::Joined { entries, location } = self else { return Ok(()) };
        let Kind::Mapping(above) = &over.kind else {
            *self = Self::Single(Rc::clone(over));
            return Ok(());
        };
        budget.spend(above)?;
        *location = over.location;
        for entry in &above.entries {
            match entries.get_mut(&entry.key) {
                Some(known) => {
                    known.key_location = entry.key_location;
                    known.value.add(&entry.value, budget)?;
                }
                None => {
                    entries.insert(entry.key.clone(), MergedEntry::of(entry));
                }
            }
        }
        Ok(())
    }

    /// Returns the entry of a key.
    pub(crate) fn find(&self, key: &str) -> Option<FoundEntry<'_>> {
        match self {
            Self::Single(node) => node
                .get(key)
                .map(|entry| FoundEntry { key_location: entry.key_location, single: Some(&entry.value) }),
            Self::Joined { entries, .. } => entries.get(key).map(|entry| FoundEntry {
                key_location: entry.key_location,
                single: match &entry.value {
                    Self::Single(node) => Some(node),
                    Self::Joined { .. } => None,
                },
            }),
        }
    }

    /// Returns the merged document.
    pub(crate) fn into_node(self) -> Rc<Node> {
        match self {
            Self::Single(node) => node,
            Self::Joined { entries, location } => {
                let entry = |(key, entry): (String, MergedEntry)| MapEntry {
                    key,
                    key_location: entry.key_location,
                    value: entry.value.into_node(),
                };
                Rc::new(Node::mapping(entries.into_iter().map(entry).collect(), location))
            }
        }
    }
}

impl MergedEntry {
    fn of(entry: &MapEntry) -> Self {
        Self { key_location: entry.key_location, value: Merged::Single(Rc::clone(&entry.value)) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{MAX_MERGED_ENTRIES, MergeBudget, Merged, TooManyEntries, merge};
    use crate::pipeline::yaml::build;
    use crate::pipeline::yaml::tree::{Kind, Node};
    use std::rc::Rc;

    fn document(text: &str) -> Rc<Node> {
        build(text).unwrap().root.unwrap()
    }

    /// Returns a value with its positions, as text.
    fn shown(node: &Node) -> String {
        let inner = match &node.kind {
            Kind::Scalar { text, .. } => text.clone(),
            Kind::Sequence(items) => items.iter().map(|item| shown(item) + ",").collect(),
            Kind::Mapping(mapping) => mapping
                .entries
                .iter()
                .map(|entry| format!("{}@{}={} ", entry.key, entry.key_location.column, shown(&entry.value)))
                .collect::<Vec<_>>()
                .concat(),
        };
        format!("{}:{}[{inner}]", node.location.line, node.location.column)
    }

    #[test]
    fn documents_laid_over_each_other_are_merged_one_by_one() {
        let texts = [
            "a: {x: 1, y: {p: 1}}\nb: [1]\n",
            "b: {z: 1}\nc: x\n  \n",
            "\na: {y: {p: 2, q: 3}, w: 1}\nc: {d: e}\n",
            "a: {y: 5}\nb: {z: {s: 1}}\n",
            "a: {y: {r: 1}}\n",
        ];
        let documents = texts.map(document);
        let mut merged = Merged::Single(Rc::clone(&documents[0]));
        let mut one_by_one = Rc::clone(&documents[0]);
        for over in &documents[1..] {
            merged.add(over, &mut MergeBudget::default()).unwrap();
            one_by_one = merge(&one_by_one, over);
        }
        assert_eq!(shown(&merged.into_node()), shown(&one_by_one));
        let mut same = Merged::Single(Rc::clone(&documents[0]));
        same.add(&documents[0], &mut MergeBudget(0)).unwrap();
        assert!(Rc::ptr_eq(&same.into_node(), &documents[0]));
    }

    #[test]
    fn cost_of_merging_grows_with_the_merged_documents() {
        let documents: Vec<Rc<Node>> = (0..500)
            .map(|n| {
                let jobs: String =
                    (0..10).map(|job| format!("  j{n}-{job}: x\n")).collect::<Vec<_>>().concat();
                document(&format!("jobs:\n{jobs}"))
            })
            .collect();
        let mut merged = Merged::Single(Rc::clone(&documents[0]));
        let mut budget = MergeBudget::default();
        for over in &documents[1..] {
            merged.add(over, &mut budget).unwrap();
        }
        assert_eq!(MAX_MERGED_ENTRIES - budget.0, 500 * 11);
        let jobs = merged.into_node();
        assert_eq!(jobs.node_count(), 1 + 2 + 2 * 5_000);
    }

    #[test]
    fn entries_beyond_the_budget_are_an_error() {
        let (base, over) = (document("a: {b: 1}\n"), document("a: {c: 1, d: 1}\n"));
        for (budget, outcome) in [(4, Err(TooManyEntries)), (5, Ok(()))] {
            let mut merged = Merged::Single(Rc::clone(&base));
            assert_eq!(merged.add(&over, &mut MergeBudget(budget)), outcome, "{budget}");
        }
    }
}
