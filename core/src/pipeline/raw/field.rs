//! Fields of a pipeline file, each read from a [`Node`]. Reading continues after an error, so that all errors are reported.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::unknown_keys;
use crate::pipeline::finding::{Fault, Finding, FindingLocation, Trail};
use crate::pipeline::yaml::tree::{Kind, Node, wrong_type};
use crate::pipeline::yaml::writer::is_anchor_holder;
use crate::text::suggest::Suggestions;

/// Collects the findings of reading a [`Node`].
#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) findings: Vec<Finding>,
    pub(crate) suggestions: Suggestions,
}

/// A value that can be read from a [`Node`]; `None` if it is invalid, which is reported.
pub(crate) trait Read: Sized {
    fn read(node: &Node, path: &Trail<'_>, reader: &mut Reader) -> Option<Self>;
}

/// A value that is a single scalar.
pub(crate) trait FromScalar: Sized {
    /// Describes the expected value in error messages, such as "a duration, such as `20m`".
    const EXPECTED: &'static str;
    /// Reads the scalar's literal text.
    fn from_text(text: &str) -> Result<Self, Fault>;
}

/// A mapping with known keys.
pub(crate) trait Record: Sized + Default {
    /// Its name in messages, such as "a job".
    const LABEL: &'static str;
    const KEYS: &'static [&'static str];
    /// Reads the value of one of [`Self::KEYS`] into its field; false for any other key.
    fn set(&mut self, key: &str, node: &Node, path: &Trail<'_>, reader: &mut Reader) -> bool;
    /// Marks the field of one of [`Self::KEYS`] as invalid if it is absent.
    fn mark_invalid(&mut self, key: &str);
}

/// The value of a key: absent, invalid (and reported), or set.
#[derive(Debug, Default)]
pub(crate) enum Field<T> {
    #[default]
    Absent,
    Invalid,
    Set(T),
}

impl<T> Field<T> {
    pub(crate) fn get(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Absent | Self::Invalid => None,
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(crate) fn read_from(node: &Node, path: &Trail<'_>, reader: &mut Reader) -> Self
    where
        T: Read,
    {
        T::read(node, path, reader).map_or(Self::Invalid, Self::Set)
    }
}

impl<T: JsonSchema> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl<T: FromScalar> Read for T {
    fn read(node: &Node, path: &Trail<'_>, reader: &mut Reader) -> Option<Self> {
        let result = match &node.kind {
            Kind::Scalar { text, .. } if !node.is_null() => {
                T::from_text(text).map_err(|fault| fault.into_finding(&path.to_path()))
            }
            _ => Err(wrong_type(node, &path.to_path(), T::EXPECTED)),
        };
        result.map_err(|finding| reader.findings.push(finding)).ok()
    }
}

/// Implements `JsonSchema` for a type whose schema is inlined where it is used.
macro_rules! inline_schema {
    ([$($generics:tt)*] $type:ty, $name:expr, $generator:pat => $schema:expr) => {
        impl<$($generics)*> schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema($generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $schema
            }
        }
    };
}
pub(crate) use inline_schema;

/// Defines a mapping with known keys.
macro_rules! record {
    ($(#[$meta:meta])* struct $name:ident ($called:literal) {
        $($(#[$field_meta:meta])* $field:ident: $type:ty = $key:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Default, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub(crate) struct $name {
            $($(#[$field_meta])* #[schemars(rename = $key, default)] pub(crate) $field: Field<$type>,)*
        }
        impl Record for $name {
            const LABEL: &'static str = $called;
            const KEYS: &'static [&'static str] = &[$($key),*];
            fn set(&mut self, key: &str, node: &Node, path: &Trail<'_>, reader: &mut Reader) -> bool {
                match key {
                    $($key => self.$field = Field::read_from(node, path, reader),)*
                    _ => return false,
                }
                true
            }
            fn mark_invalid(&mut self, key: &str) {
                match key {
                    $($key if self.$field.is_absent() => self.$field = Field::Invalid,)*
                    _ => {}
                }
            }
        }
        impl Read for $name {
            fn read(node: &Node, path: &Trail<'_>, reader: &mut Reader) -> Option<Self> {
                read_record(node, path, reader)
            }
        }
    };
}

pub(crate) use record;

pub(crate) fn read_record<T: Record>(node: &Node, path: &Trail<'_>, reader: &mut Reader) -> Option<T> {
    let Kind::Mapping(mapping) = &node.kind else {
        let typical = if T::KEYS.contains(&"script") { "script" } else { T::KEYS[0] };
        let finding = wrong_type(node, &path.to_path(), &format!("a mapping with keys such as `{typical}`"))
            .maybe_help(unknown_keys::shape_advice(&path.to_path(), node));
        reader.findings.push(finding);
        return None;
    };
    if let Some(finding) = unknown_keys::named_services(&path.to_path(), node, T::KEYS) {
        reader.findings.push(finding);
        return None;
    }
    let mut record = T::default();
    let mut meant = Vec::new();
    for entry in &mapping.entries {
        let at = path.key(&entry.key);
        let is_known = record.set(&entry.key, &entry.value, &at, reader);
        let is_accepted = is_known || path.is_root() && is_anchor_holder(&entry.key);
        if !is_accepted {
            let spot = FindingLocation::Position(at.to_path(), entry.key_location);
            let unknown = unknown_keys::unknown_key(
                &at.to_path(),
                spot,
                &entry.value,
                T::LABEL,
                T::KEYS,
                &reader.suggestions,
            );
            reader.findings.push(unknown.finding);
            meant.extend(unknown.suggested_key);
        }
    }
    if path.is_root() || node.get("container").is_some() {
        meant.extend(unknown_keys::keys_written_elsewhere(&path.to_path(), node));
    }
    // A misspelled `script` is one error, not also a missing `script`.
    for key in meant {
        record.mark_invalid(key);
    }
    Some(record)
}
