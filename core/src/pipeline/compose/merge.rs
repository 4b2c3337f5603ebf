//! Merges mappings.

use std::rc::Rc;

use crate::pipeline::yaml::tree::{Kind, MapEntry, Node};

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
