//! `matrix`: variables and the values that a job runs with.

use std::rc::Rc;

use schemars::json_schema;

use super::collections::{IndexedOneOrMany, NamedValues, OneOrMany};
use super::field::{Field, Read, Reader, inline_schema};
use super::scalars::Text;
use crate::pipeline::finding::Trail;
use crate::pipeline::yaml::tree::{Kind, Node, wrong_type};

/// Values of matrix keys.
pub(crate) type RawCells = IndexedOneOrMany<NamedValues<OneOrMany<Text>>>;

/// A matrix: a mapping of keys to values, or a list of them.
#[derive(Debug, Default)]
pub(crate) struct RawMatrix(pub(crate) Vec<RawMatrixPart>);

/// One mapping of a matrix.
#[derive(Debug, Default)]
pub(crate) struct RawMatrixPart {
    /// Its index, if the matrix is a list.
    pub(crate) index: Option<usize>,
    pub(crate) keys: NamedValues<OneOrMany<Text>>,
    pub(crate) exclude: Field<RawCells>,
    pub(crate) include: Field<IndexedOneOrMany<NamedValues<Text>>>,
}

impl Read for RawMatrix {
    fn read(node: &Node, path: &Trail<'_>, reader: &mut Reader) -> Option<Self> {
        match &node.kind {
            Kind::Mapping(_) => Some(Self(vec![part(node, None, path, reader)])),
            Kind::Sequence(items) => {
                let read = |(at, item): (usize, &Rc<Node>)| {
                    let path = path.index(at);
                    if let Kind::Mapping(_) = item.kind {
                        return Some(part(item, Some(at), &path, reader));
                    }
                    reader.findings.push(wrong_type(item, &path.to_path(), "a mapping of names to values"));
                    None
                };
                Some(Self(items.iter().enumerate().filter_map(read).collect()))
            }
            Kind::Scalar { .. } => {
                let expected = "a mapping of names to values, or a list of mappings";
                reader.findings.push(wrong_type(node, &path.to_path(), expected));
                None
            }
        }
    }
}

fn part(node: &Node, index: Option<usize>, path: &Trail<'_>, reader: &mut Reader) -> RawMatrixPart {
    let mut part = RawMatrixPart { index, ..RawMatrixPart::default() };
    let Kind::Mapping(mapping) = &node.kind else { return part };
    for entry in &mapping.entries {
        let at = path.key(&entry.key);
        match entry.key.as_str() {
            "exclude" => part.exclude = Field::read_from(&entry.value, &at, reader),
            "include" => part.include = Field::read_from(&entry.value, &at, reader),
            _ => {
                if let Some(values) = OneOrMany::read(&entry.value, &at, reader) {
                    part.keys.0.push((entry.key.clone(), values));
                }
            }
        }
    }
    part
}

inline_schema!([] RawMatrix, "Matrix", generator => {
    let exclude = generator.subschema_for::<RawCells>();
    let include = generator.subschema_for::<IndexedOneOrMany<NamedValues<Text>>>();
    let values = generator.subschema_for::<OneOrMany<Text>>();
    let part = json_schema!({
        "type": "object",
        "properties": {
            "exclude": exclude,
            "include": include,
        },
        "additionalProperties": values,
    });
    json_schema!({ "anyOf": [part, { "type": "array", "items": part }] })
});
