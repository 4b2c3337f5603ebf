//! The kinds of fields a pipeline file is made of, each read in two ways from one definition: by serde from a
//! file that is right, and from a [`Node`] when every mistake is to be found.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::finding::{Fault, Finding, Path, Segment, Spot};
use super::planned;
use super::suggest::Suggestions;
use super::tree::{Kind, Node};

/// What a reading of a [`Node`] gathers.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) findings: Vec<Finding>,
    pub(super) suggestions: Suggestions,
}

/// A value that can be read from a [`Node`]; `None` when it could not, which has then been reported.
pub(super) trait Read: Sized {
    fn read(node: &Node, path: &Path, reader: &mut Reader) -> Option<Self>;
}

/// A value written as a single scalar.
pub(super) trait Scalar: Sized {
    /// What it is called when something else stands there, such as "a duration, such as `20m`".
    const EXPECTED: &'static str;
    /// Whether it may be written as a truth value, whatever its spelling.
    const OF_BOOL: bool = false;
    /// Reads the scalar's literal text.
    fn from_text(text: &str) -> Result<Self, Fault>;
}

/// A mapping with known keys.
pub(super) trait Record: Sized + Default {
    /// What it is called in messages, such as "a job".
    const CALLED: &'static str;
    const KEYS: &'static [&'static str];
    /// Reads the value of one of [`Self::KEYS`] into its field.
    fn set(&mut self, key: &str, node: &Node, path: &Path, reader: &mut Reader);
    /// Marks the field of one of [`Self::KEYS`] as written wrongly, unless it is written rightly too.
    fn spoil(&mut self, key: &str);
}

/// A key's value: not written, written wrongly (and reported), or this.
#[derive(Debug, Default)]
pub(super) enum Field<T> {
    #[default]
    Absent,
    Bad,
    Set(T),
}

impl<T> Field<T> {
    pub(super) fn get(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Absent | Self::Bad => None,
        }
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(super) fn read_from(node: &Node, path: &Path, reader: &mut Reader) -> Self
    where
        T: Read,
    {
        T::read(node, path, reader).map_or(Self::Bad, Self::Set)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::Set)
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

pub(super) fn wrong_type(node: &Node, path: &Path, expected: &str) -> Finding {
    let found = match &node.kind {
        Kind::Scalar { text, .. } => {
            if node.is_null() {
                return Finding::value("empty-value", path, format!("{} has no value", path.called()))
                    .help(format!("give it {expected}, or remove the key"));
            }
            super::finding::quoted(text)
        }
        Kind::Sequence(_) => "a list".to_owned(),
        Kind::Mapping(_) => "a mapping".to_owned(),
    };
    Finding::value("wrong-type", path, format!("{} takes {expected}, not {found}", path.called()))
}

/// Reads a scalar by its literal text: `1.10` stays `1.10`.
pub(super) fn scalar<'de, T: Scalar, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Present<T>(PhantomData<T>);
    struct Literal<T>(PhantomData<T>);
    impl<'de, T: Scalar> Visitor<'de> for Present<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(T::EXPECTED)
        }
        fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
            deserializer.deserialize_str(Literal(PhantomData))
        }
    }
    impl<T: Scalar> Visitor<'_> for Literal<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(T::EXPECTED)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            T::from_text(text).map_err(|fault| E::custom(fault.message))
        }
    }
    deserializer.deserialize_option(Present(PhantomData))
}

pub(super) fn read_scalar<T: Scalar>(node: &Node, path: &Path, reader: &mut Reader) -> Option<T> {
    let result = match &node.kind {
        Kind::Scalar { text, .. } if !node.is_null() => T::from_text(text).map_err(|fault| fault.at(path)),
        _ => Err(wrong_type(node, path, T::EXPECTED)),
    };
    result.map_err(|finding| reader.findings.push(finding)).ok()
}

/// Makes a [`Scalar`] readable both ways.
macro_rules! readable_scalar {
    ($($name:ty),* $(,)?) => {$(
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::pipeline::field::scalar(deserializer)
            }
        }
        impl $crate::pipeline::field::Read for $name {
            fn read(
                node: &$crate::pipeline::tree::Node,
                path: &$crate::pipeline::finding::Path,
                reader: &mut $crate::pipeline::field::Reader,
            ) -> Option<Self> {
                $crate::pipeline::field::read_scalar(node, path, reader)
            }
        }
    )*};
}
pub(super) use readable_scalar;

/// Defines a mapping with known keys, readable both ways.
macro_rules! record {
    ($(#[$meta:meta])* struct $name:ident ($called:literal) {
        $($(#[$field_meta:meta])* $field:ident: $type:ty = $key:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[$field_meta])* #[serde(rename = $key, default)] pub(super) $field: Field<$type>,)*
        }
        impl Record for $name {
            const CALLED: &'static str = $called;
            const KEYS: &'static [&'static str] = &[$($key),*];
            fn set(&mut self, key: &str, node: &Node, path: &Path, reader: &mut Reader) {
                match key {
                    $($key => self.$field = Field::read_from(node, path, reader),)*
                    _ => {}
                }
            }
            fn spoil(&mut self, key: &str) {
                match key {
                    $($key if self.$field.is_absent() => self.$field = Field::Bad,)*
                    _ => {}
                }
            }
        }
        impl Read for $name {
            fn read(node: &Node, path: &Path, reader: &mut Reader) -> Option<Self> {
                read_record(node, path, reader)
            }
        }
    };
}
pub(super) use record;

pub(super) fn read_record<T: Record>(node: &Node, path: &Path, reader: &mut Reader) -> Option<T> {
    let Kind::Mapping(mapping) = &node.kind else {
        let typical = if T::KEYS.contains(&"script") { "script" } else { T::KEYS[0] };
        let finding = wrong_type(node, path, &format!("a mapping with keys such as `{typical}`"))
            .maybe_help(planned::shape_advice(path, node));
        reader.findings.push(finding);
        return None;
    };
    let mut record = T::default();
    let mut meant = Vec::new();
    for entry in &mapping.entries {
        let at = path.key(&entry.key);
        if T::KEYS.contains(&entry.key.as_str()) {
            record.set(&entry.key, &entry.value, &at, reader);
        } else if !(path.0.is_empty() && planned::holds_anchors(&entry.key)) {
            let spot = Spot::Text(at.clone(), entry.key_location);
            let unknown = planned::unknown_key(&at, spot, &entry.value, T::CALLED, T::KEYS, reader);
            reader.findings.push(unknown.finding);
            meant.extend(unknown.meant);
        }
    }
    // A misspelt `script` is one mistake, not also a missing `script`.
    for key in meant {
        record.spoil(key);
    }
    Some(record)
}

/// One value, or a list of them.
#[derive(Debug, Default)]
pub(super) struct OneOrMany<T>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de> + Scalar> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + Scalar> Visitor<'de> for Items<T> {
            type Value = Vec<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}, or a list of such", T::EXPECTED)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(items)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
                T::from_text(text).map(|item| vec![item]).map_err(|fault| E::custom(fault.message))
            }
        }
        deserializer.deserialize_any(Items(PhantomData)).map(Self)
    }
}

impl<T: Read> Read for OneOrMany<T> {
    fn read(node: &Node, path: &Path, reader: &mut Reader) -> Option<Self> {
        match &node.kind {
            Kind::Sequence(items) => {
                let read = |(at, item): (usize, &std::rc::Rc<Node>)| T::read(item, &path.index(at), reader);
                let good: Vec<T> = items.iter().enumerate().filter_map(read).collect();
                // A bad item has been reported; the rest, if there is any, is still worth checking.
                (!good.is_empty() || items.is_empty()).then_some(Self(good))
            }
            _ => T::read(node, path, reader).map(|item| Self(vec![item])),
        }
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

/// A mapping with keys of the user's choice, in the order they are written.
#[derive(Debug)]
pub(super) struct Entries<V>(pub(super) Vec<(String, V)>);

impl<V> Default for Entries<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Pairs<V> {
            type Value = Vec<(String, V)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs: Vec<(String, V)> = Vec::new();
                let mut seen = std::collections::HashSet::new();
                while let Some(key) = map.next_key::<String>()? {
                    // Merge keys and repeated keys are left to the reading that knows positions.
                    if key == "<<" || !seen.insert(key.clone()) {
                        return Err(de::Error::custom(format!("the key `{key}` needs a closer look")));
                    }
                    pairs.push((key, map.next_value()?));
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_map(Pairs(PhantomData)).map(Self)
    }
}

impl<V: Read> Read for Entries<V> {
    fn read(node: &Node, path: &Path, reader: &mut Reader) -> Option<Self> {
        let Kind::Mapping(mapping) = &node.kind else {
            reader.findings.push(
                wrong_type(node, path, "a mapping of names to values")
                    .maybe_help(planned::shape_advice(path, node)),
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

impl<V: JsonSchema> JsonSchema for Entries<V> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Entries_{}", V::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<V>() })
    }
}

/// A mapping that may also be left without a value, as in `push:`.
#[derive(Debug, Default)]
pub(super) struct OrNothing<T>(pub(super) T);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for OrNothing<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<T>::deserialize(deserializer).map(|value| Self(value.unwrap_or_default()))
    }
}

impl<T: Read + Default> Read for OrNothing<T> {
    fn read(node: &Node, path: &Path, reader: &mut Reader) -> Option<Self> {
        if node.is_null() { Some(Self::default()) } else { T::read(node, path, reader).map(Self) }
    }
}

impl<T: JsonSchema> JsonSchema for OrNothing<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OrNothing_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [generator.subschema_for::<T>(), { "type": "null" }] })
    }
}

/// The jobs by name or as a list, each with the step that leads to it.
#[derive(Debug)]
pub(super) struct Jobs<J>(pub(super) Vec<(Segment, Field<J>)>);

impl<'de, J: Deserialize<'de>> Deserialize<'de> for Jobs<J> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<J>(PhantomData<J>);
        impl<'de, J: Deserialize<'de>> Visitor<'de> for Either<J> {
            type Value = Vec<(Segment, Field<J>)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of job names to jobs, or a list of jobs")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let entries = Entries::<Field<J>>::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(entries.0.into_iter().map(|(name, job)| (Segment::Key(name), job)).collect())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut jobs = Vec::new();
                while let Some(job) = seq.next_element()? {
                    jobs.push((Segment::Index(jobs.len()), job));
                }
                Ok(jobs)
            }
        }
        deserializer.deserialize_any(Either(PhantomData)).map(Self)
    }
}

impl<J: Read + Default> Read for Jobs<J> {
    fn read(node: &Node, path: &Path, reader: &mut Reader) -> Option<Self> {
        let children: Vec<(Segment, &Node)> = match &node.kind {
            Kind::Mapping(mapping) => {
                mapping.entries.iter().map(|e| (Segment::Key(e.key.clone()), e.value.as_ref())).collect()
            }
            Kind::Sequence(items) => {
                items.iter().enumerate().map(|(at, item)| (Segment::Index(at), item.as_ref())).collect()
            }
            Kind::Scalar { .. } => {
                reader.findings.push(wrong_type(
                    node,
                    path,
                    "a mapping of job names to jobs, or a list of jobs",
                ));
                return None;
            }
        };
        let read = |(segment, child): (Segment, &Node)| {
            let path = path.with(segment.clone());
            (segment, Field::read_from(child, &path, reader))
        };
        Some(Self(children.into_iter().map(read).collect()))
    }
}

impl<J: JsonSchema> JsonSchema for Jobs<J> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Jobs_{}", J::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let job = generator.subschema_for::<J>();
        json_schema!({ "anyOf": [
            { "type": "object", "additionalProperties": job, "minProperties": 1 },
            { "type": "array", "items": { "allOf": [job, { "required": ["name"] }] }, "minItems": 1 },
        ] })
    }
}
