//! Fields that take one of several forms: a short form or a long one, a mapping or nothing.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::field::{FromScalar, Read, Reader, Record, inline_schema};
use crate::pipeline::finding::{Fault, Trail};
use crate::pipeline::yaml::tree::{Kind, Node, wrong_type};

/// A short form, one scalar, or a long form, a mapping.
#[derive(Debug)]
pub(crate) enum Either<S, R> {
    Short(S),
    Long(R),
}

impl<S: FromScalar + Read, R: Record + Read> Read for Either<S, R> {
    fn read(node: &Node, path: &Trail<'_>, reader: &mut Reader) -> Option<Self> {
        match &node.kind {
            Kind::Mapping(_) => R::read(node, path, reader).map(Self::Long),
            Kind::Scalar { .. } if !node.is_null() => S::read(node, path, reader).map(Self::Short),
            _ => {
                let expected = format!("{}, or a mapping with keys such as `{}`", S::EXPECTED, R::KEYS[0]);
                reader.findings.push(wrong_type(node, &path.to_path(), &expected));
                None
            }
        }
    }
}

inline_schema!(
    [S: JsonSchema, R: JsonSchema] Either<S, R>,
    format!("{}_or_{}", S::schema_name(), R::schema_name()),
    generator => json_schema!({ "anyOf": [generator.subschema_for::<S>(), generator.subschema_for::<R>()] })
);

/// A value, or a text with references, `${NAME}`, whose value is known when the job is planned.
#[derive(Debug)]
pub(crate) enum OrReference<T> {
    Value(T),
    Reference(String),
}

impl<T> OrReference<T> {
    /// Returns the value, if it is written directly.
    pub(crate) const fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Reference(_) => None,
        }
    }

    /// Returns the text with references.
    pub(crate) fn reference(&self) -> Option<&str> {
        match self {
            Self::Value(_) => None,
            Self::Reference(text) => Some(text),
        }
    }
}

impl<T: FromScalar> FromScalar for OrReference<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_text(text: &str) -> Result<Self, Fault> {
        if text.contains("${") {
            return Ok(Self::Reference(text.to_owned()));
        }
        T::from_text(text).map(Self::Value)
    }
}

inline_schema!(
    [T: JsonSchema] OrReference<T>,
    format!("{}_or_reference", T::schema_name()),
    generator => json_schema!({ "anyOf": [generator.subschema_for::<T>(), { "type": "string", "pattern": r"\$\{" }] })
);

/// A mapping that may also be left without a value, as in `push:`.
#[derive(Debug, Default)]
pub(crate) struct Nullable<T>(pub(crate) T);

impl<T: Read + Default> Read for Nullable<T> {
    fn read(node: &Node, path: &Trail<'_>, reader: &mut Reader) -> Option<Self> {
        if node.is_null() { Some(Self::default()) } else { T::read(node, path, reader).map(Self) }
    }
}

inline_schema!(
    [T: JsonSchema] Nullable<T>,
    format!("Nullable_{}", T::schema_name()),
    generator => json_schema!({ "anyOf": [generator.subschema_for::<T>(), { "type": "null" }] })
);

/// A key that is processed before records are read: see `templates` and `include`.
#[derive(Debug, Default)]
pub(crate) struct Preprocessed<T>(PhantomData<T>);

impl<T: Read> Read for Preprocessed<T> {
    fn read(node: &Node, path: &Trail<'_>, reader: &mut Reader) -> Option<Self> {
        T::read(node, path, reader).map(|_| Self(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Preprocessed<T> {
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
