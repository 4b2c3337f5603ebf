//! Fields that hold several values: lists, mappings with arbitrary keys, jobs.

use std::rc::Rc;

use schemars::{JsonSchema, json_schema};

use super::field::{Field, Read, Reader, inline_schema};
use super::scalars::Text;
use super::unknown_keys;
use crate::pipeline::finding::{Segment, Trail};
use crate::pipeline::yaml::tree::{Kind, Node, wrong_type};

/// A list of values, each with its index in the file.
#[derive(Debug)]
pub(crate) struct IndexedList<T>(pub(crate) Vec<(usize, T)>);

fn read_items<T: Read>(items: &[Rc<Node>], path: &Trail<'_>, reader: &mut Reader) -> Option<Vec<(usize, T)>> {
    let good: Vec<(usize, T)> = items
        .iter()
        .enumerate()
        .filter_map(|(at, item)| T::read(item, &path.index(at), reader).map(|item| (at, item)))
        .collect();
    // Invalid items are reported; valid ones are still checked.
    (!good.is_empty() || items.is_empty()).then_some(good)
}

impl<T: Read> Read for IndexedList<T> {
    fn read(node: &Node, path: &Trail<'_>, reader: &mut Reader) -> Option<Self> {
        let Kind::Sequence(items) = &node.kind else {
            reader.findings.push(
                wrong_type(node, &path.to_path(), "a list")
                    .maybe_help(unknown_keys::shape_advice(&path.to_path(), node)),
            );
            return None;
        };
        read_items(items, path, reader).map(Self)
    }
}

inline_schema!(
    [T: JsonSchema] IndexedList<T>,
    format!("IndexedList_{}", T::schema_name()),
    generator => json_schema!({ "type": "array", "items": generator.subschema_for::<T>() })
);

/// One value, or a list of them, each with its index in the file.
#[derive(Debug)]
pub(crate) struct IndexedOneOrMany<T>(pub(crate) Vec<(usize, T)>);

impl<T: Read> Read for IndexedOneOrMany<T> {
    fn read(node: &Node, path: &Trail<'_>, reader: &mut Reader) -> Option<Self> {
        match &node.kind {
            Kind::Sequence(items) => read_items(items, path, reader).map(Self),
            _ => T::read(node, path, reader).map(|item| Self(vec![(0, item)])),
        }
    }
}

inline_schema!([T: JsonSchema] IndexedOneOrMany<T>, format!("IndexedOneOrMany_{}", T::schema_name()), generator => {
    let one = generator.subschema_for::<T>();
    json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
});

/// One value, or a list of them.
#[derive(Debug, Default)]
pub(crate) struct OneOrMany<T>(pub(crate) Vec<T>);

impl<T: Read> Read for OneOrMany<T> {
    fn read(node: &Node, path: &Trail<'_>, reader: &mut Reader) -> Option<Self> {
        match &node.kind {
            Kind::Sequence(items) => {
                let read = |(at, item): (usize, &Rc<Node>)| T::read(item, &path.index(at), reader);
                let good: Vec<T> = items.iter().enumerate().filter_map(read).collect();
                // Invalid items are reported; valid ones are still checked.
                (!good.is_empty() || items.is_empty()).then_some(Self(good))
            }
            _ => T::read(node, path, reader).map(|item| Self(vec![item])),
        }
    }
}

inline_schema!([T: JsonSchema] OneOrMany<T>, format!("OneOrMany_{}", T::schema_name()), generator => {
    let one = generator.subschema_for::<T>();
    json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
});

/// A mapping with arbitrary keys, in file order.
#[derive(Debug)]
pub(crate) struct NamedValues<V>(pub(crate) Vec<(String, V)>);

impl<V> Default for NamedValues<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V: Read> Read for NamedValues<V> {
    fn read(node: &Node, path: &Trail<'_>, reader: &mut Reader) -> Option<Self> {
        let Kind::Mapping(mapping) = &node.kind else {
            reader.findings.push(
                wrong_type(node, &path.to_path(), "a mapping of names to values")
                    .maybe_help(unknown_keys::shape_advice(&path.to_path(), node)),
            );
            return None;
        };
        let mut pairs = Vec::with_capacity(mapping.entries.len());
        for entry in &mapping.entries {
            if let Some(value) = V::read(&entry.value, &path.key(&entry.key), reader) {
                pairs.push((entry.key.clone(), value));
            }
        }
        Some(Self(pairs))
    }
}

inline_schema!(
    [V: JsonSchema] NamedValues<V>,
    format!("NamedValues_{}", V::schema_name()),
    generator => json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<V>() })
);

/// The jobs, a mapping or a list, each with its last path segment.
#[derive(Debug)]
pub(crate) struct Jobs<J>(pub(crate) Vec<(Segment, Field<J>)>);

impl<J: Read + Default> Read for Jobs<J> {
    fn read(node: &Node, path: &Trail<'_>, reader: &mut Reader) -> Option<Self> {
        let children: Vec<(Segment, &Node)> = match &node.kind {
            Kind::Mapping(mapping) => mapping
                .entries
                .iter()
                .map(|e| (Segment::Key(e.key.as_str().into()), e.value.as_ref()))
                .collect(),
            Kind::Sequence(items) => {
                items.iter().enumerate().map(|(at, item)| (Segment::Index(at), item.as_ref())).collect()
            }
            Kind::Scalar { .. } => {
                reader.findings.push(wrong_type(
                    node,
                    &path.to_path(),
                    "a mapping of job names to jobs, or a list of jobs",
                ));
                return None;
            }
        };
        let read = |(segment, child): (Segment, &Node)| {
            let at = match &segment {
                Segment::Key(key) => path.key(key),
                Segment::Index(index) => path.index(*index),
            };
            let field = Field::read_from(child, &at, reader);
            (segment, field)
        };
        Some(Self(children.into_iter().map(read).collect()))
    }
}

inline_schema!([J: JsonSchema] Jobs<J>, format!("Jobs_{}", J::schema_name()), generator => {
    let job = generator.subschema_for::<J>();
    json_schema!({ "anyOf": [
        { "type": "object", "additionalProperties": job, "minProperties": 1 },
        { "type": "array", "items": { "allOf": [job, { "required": ["name"] }] }, "minItems": 1 },
    ] })
});

/// The names of stages.
#[derive(Debug)]
pub(crate) struct StageNames(pub(crate) Vec<Text>);

impl Read for StageNames {
    fn read(node: &Node, path: &Trail<'_>, reader: &mut Reader) -> Option<Self> {
        if let Some(advice) = unknown_keys::shape_advice(&path.to_path(), node) {
            let finding = wrong_type(node, &path.to_path(), "names of stages");
            reader.findings.push(finding.help(advice));
            return None;
        }
        OneOrMany::read(node, path, reader).map(|names| Self(names.0))
    }
}

inline_schema!([] StageNames, "StageNames", generator => generator.subschema_for::<OneOrMany<Text>>());
