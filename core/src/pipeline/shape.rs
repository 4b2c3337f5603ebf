//! Values that may be written in more than one way. A file that uses the longer ways is read with positions at once: the
//! typed reading takes only what needs no choice.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer};

use super::field::{Read, Reader, Record};
use super::finding::Path;
use super::tree::{Kind, Node};

/// A value by itself, or a mapping that says more.
#[derive(Debug)]
pub(super) enum Either<S, R> {
    /// The value by itself.
    Short(S),
    /// The mapping.
    Long(R),
}

impl<S: Read, R: Read> Read for Either<S, R> {
    fn read(node: &Node, path: &Path, reader: &mut Reader) -> Option<Self> {
        match &node.kind {
            Kind::Mapping(_) => R::read(node, path, reader).map(Self::Long),
            _ => S::read(node, path, reader).map(Self::Short),
        }
    }
}

/// One item, or a list of items; each knows its place.
#[derive(Debug)]
pub(super) struct Items<T>(pub(super) Vec<Item<T>>);

/// An item of a list, or a value that stands for a list of one.
#[derive(Debug)]
pub(super) struct Item<T> {
    pub(super) value: T,
    /// Its place in the list.
    pub(super) index: usize,
}

impl<T: Read> Read for Items<T> {
    fn read(node: &Node, path: &Path, reader: &mut Reader) -> Option<Self> {
        match &node.kind {
            Kind::Sequence(items) => {
                let mut read = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    if let Some(value) = T::read(item, &path.index(index), reader) {
                        read.push(Item { value, index });
                    }
                }
                Some(Self(read))
            }
            _ => T::read(node, path, reader).map(|value| Self(vec![Item { value, index: 0 }])),
        }
    }
}

/// Refuses the typed reading, so that the text is read with positions.
fn closer_look<'de, T, D: Deserializer<'de>>() -> Result<T, D::Error> {
    Err(de::Error::custom("this needs a closer look"))
}

impl<'de, S, R> Deserialize<'de> for Either<S, R> {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        closer_look::<Self, D>()
    }
}

impl<'de, T> Deserialize<'de> for Items<T> {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        closer_look::<Self, D>()
    }
}

impl<S: JsonSchema, R: JsonSchema + Record> JsonSchema for Either<S, R> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Either_{}_{}", S::schema_name(), R::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [generator.subschema_for::<S>(), generator.subschema_for::<R>()] })
    }
}

impl<T: JsonSchema> JsonSchema for Items<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Items_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}
