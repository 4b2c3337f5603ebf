//! Reads values of a document in the forms that GitLab's keys allow.

use std::rc::Rc;

use crate::gitlab::findings::Log;
use crate::pipeline::finding::Path;
use crate::pipeline::yaml::scalars::{self, ScalarType};
use crate::pipeline::yaml::tree::{Kind, MapEntry, Node};

/// Returns the text of a scalar that is not null.
pub(crate) fn text(node: &Node) -> Option<&str> {
    match &node.kind {
        Kind::Scalar { text, .. } if !node.is_null() => Some(text),
        _ => None,
    }
}

/// Returns the entries of a mapping; empty for other kinds.
pub(crate) fn entries(node: &Node) -> &[MapEntry] {
    match &node.kind {
        Kind::Mapping(mapping) => &mapping.entries,
        _ => &[],
    }
}

/// The type of a scalar; [`ScalarType::Text`] for other kinds.
pub(crate) fn kind(node: &Node) -> ScalarType {
    match &node.kind {
        Kind::Scalar { text, plain: true } => scalars::resolve(text).0,
        _ => ScalarType::Text,
    }
}

/// Whether it is a list.
pub(crate) fn is_list(node: &Node) -> bool {
    matches!(node.kind, Kind::Sequence(_))
}

/// Whether it is a mapping.
pub(crate) fn is_mapping(node: &Node) -> bool {
    matches!(node.kind, Kind::Mapping(_))
}

/// Returns the items of a list, with nested lists flattened; a single value is a list of one.
pub(crate) fn list(node: &Rc<Node>) -> Vec<&Rc<Node>> {
    fn add<'a>(node: &'a Rc<Node>, all: &mut Vec<&'a Rc<Node>>) {
        match &node.kind {
            Kind::Sequence(items) => items.iter().for_each(|item| add(item, all)),
            _ => all.push(node),
        }
    }
    let mut all = Vec::new();
    if !node.is_null() {
        add(node, &mut all);
    }
    all
}

/// Returns the texts of a list; other kinds of items are reported.
pub(crate) fn texts<'a>(node: &'a Rc<Node>, path: &Path, log: &mut Log) -> Vec<(&'a str, &'a Rc<Node>)> {
    let mut all = Vec::new();
    for item in list(node) {
        match text(item) {
            Some(text) => all.push((text, item)),
            None => log.wrong_type(path, item, "a string, or a list of strings"),
        }
    }
    all
}

/// Returns the value of a boolean.
pub(crate) fn flag(node: &Node) -> Option<bool> {
    match text(node).filter(|_| kind(node) == ScalarType::Boolean)? {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Returns the value of a boolean; anything else is reported, and `None` is returned.
pub(crate) fn flag_of(entry: &MapEntry, path: &Path, log: &mut Log) -> Option<bool> {
    let value = flag(&entry.value);
    if value.is_none() && !entry.value.is_null() {
        log.wrong_type(&path.key(&entry.key), &entry.value, "`true` or `false`");
    }
    value
}
