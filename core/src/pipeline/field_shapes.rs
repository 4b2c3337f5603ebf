//! Fields that take one of several shapes: a value or a list of such, a short form or a long one.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::field::{Read, Reader, Record, Scalar, wrong_type};
use super::finding::Path;
use super::planned;
use super::tree::{Kind, Node};

/// A list of values, each with its place.
#[derive(Debug)]
pub(super) struct List<T>(pub(super) Vec<(usize, T)>);

/// One value, or a list of them, each with its place.
#[derive(Debug)]
pub(super) struct Several<T>(pub(super) Vec<(usize, T)>);

struct Items<T> {
    /// Whether one value may stand for a list of one.
    one: bool,
    of: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
    type Value = Vec<(usize, T)>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.one { "a value, or a list of such" } else { "a list" })
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push((items.len(), item));
        }
        Ok(items)
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        if !self.one {
            return Err(E::invalid_type(de::Unexpected::Str(text), &self));
        }
        T::deserialize(de::value::StrDeserializer::new(text)).map(|item| vec![(0, item)])
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        if !self.one {
            return Err(de::Error::invalid_type(de::Unexpected::Map, &self));
        }
        T::deserialize(de::value::MapAccessDeserializer::new(map)).map(|item| vec![(0, item)])
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Items { one: false, of: PhantomData }).map(Self)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Several<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Items { one: true, of: PhantomData }).map(Self)
    }
}

fn read_items<T: Read>(
    items: &[std::rc::Rc<Node>],
    path: &Path,
    reader: &mut Reader,
) -> Option<Vec<(usize, T)>> {
    let good: Vec<(usize, T)> = items
        .iter()
        .enumerate()
        .filter_map(|(at, item)| T::read(item, &path.index(at), reader).map(|item| (at, item)))
        .collect();
    // A bad item has been reported; the rest, if there is any, is still worth checking.
    (!good.is_empty() || items.is_empty()).then_some(good)
}

impl<T: Read> Read for List<T> {
    fn read(node: &Node, path: &Path, reader: &mut Reader) -> Option<Self> {
        let Kind::Sequence(items) = &node.kind else {
            reader
                .findings
                .push(wrong_type(node, path, "a list").maybe_help(planned::shape_advice(path, node)));
            return None;
        };
        read_items(items, path, reader).map(Self)
    }
}

impl<T: Read> Read for Several<T> {
    fn read(node: &Node, path: &Path, reader: &mut Reader) -> Option<Self> {
        match &node.kind {
            Kind::Sequence(items) => read_items(items, path, reader).map(Self),
            _ => T::read(node, path, reader).map(|item| Self(vec![(0, item)])),
        }
    }
}

impl<T: JsonSchema> JsonSchema for List<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("List_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": generator.subschema_for::<T>() })
    }
}

impl<T: JsonSchema> JsonSchema for Several<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Several_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

/// A short form, one scalar, or a long form, a mapping.
#[derive(Debug)]
pub(super) enum Either<S, R> {
    Short(S),
    Long(R),
}

impl<'de, S: Scalar, R: Deserialize<'de>> Deserialize<'de> for Either<S, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form<S, R>(PhantomData<(S, R)>);
        impl<'de, S: Scalar, R: Deserialize<'de>> Visitor<'de> for Form<S, R> {
            type Value = Either<S, R>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}, or a mapping", S::EXPECTED)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                S::from_text(text).map(Either::Short).map_err(|fault| E::custom(fault.message))
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
                if S::OF_BOOL {
                    return self.visit_str(if value { "true" } else { "false" });
                }
                // As it is written, which is not known here.
                Err(E::invalid_type(de::Unexpected::Bool(value), &self))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                R::deserialize(de::value::MapAccessDeserializer::new(map)).map(Either::Long)
            }
        }
        deserializer.deserialize_any(Form(PhantomData))
    }
}

impl<S: Scalar + Read, R: Record + Read> Read for Either<S, R> {
    fn read(node: &Node, path: &Path, reader: &mut Reader) -> Option<Self> {
        match &node.kind {
            Kind::Mapping(_) => R::read(node, path, reader).map(Self::Long),
            Kind::Scalar { .. } if !node.is_null() => S::read(node, path, reader).map(Self::Short),
            _ => {
                let expected = format!("{}, or a mapping with keys such as `{}`", S::EXPECTED, R::KEYS[0]);
                reader.findings.push(wrong_type(node, path, &expected));
                None
            }
        }
    }
}

impl<S: JsonSchema, R: JsonSchema> JsonSchema for Either<S, R> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}_or_{}", S::schema_name(), R::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [generator.subschema_for::<S>(), generator.subschema_for::<R>()] })
    }
}

/// A key that is acted on before the file is read into records, by those who know positions: see `templates`
/// and `include`.
#[derive(Debug, Default)]
pub(super) struct Written<T>(PhantomData<T>);

impl<'de, T> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("this key needs a closer look"))
    }
}

impl<T: Read> Read for Written<T> {
    fn read(node: &Node, path: &Path, reader: &mut Reader) -> Option<Self> {
        T::read(node, path, reader).map(|_| Self(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Written<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
