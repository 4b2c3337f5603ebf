//! Values that are written in more shapes than one: scripts, retries, needs.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use super::field::{Field, Read, Reader, Record, Scalar, read_record, record, wrong_type};
use super::finding::{Fault, Finding, Path};
use super::raw::RawRetry;
use super::tree::{Kind, Node};
use super::value::{Flag, Retry, Text};

/// Shell lines; lists within the list are laid flat, so that anchors can share lines.
#[derive(Debug, Default)]
pub(super) struct Script(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Script {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lines;
        impl<'de> Visitor<'de> for Lines {
            type Value = Vec<String>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a line of shell, or a list of lines")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
                let mut lines = Vec::new();
                while let Some(line) = seq.next_element::<Text>()? {
                    lines.push(line.0);
                }
                Ok(lines)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<String>, E> {
                Text::from_text(text).map(|line| vec![line.0]).map_err(|fault| E::custom(fault.message))
            }
        }
        deserializer.deserialize_any(Lines).map(Self)
    }
}

impl Read for Script {
    fn read(node: &Node, path: &Path, reader: &mut Reader) -> Option<Self> {
        let mut lines = Vec::new();
        collect_lines(node, path, reader, &mut lines).then_some(Self(lines))
    }
}

fn collect_lines(node: &Node, path: &Path, reader: &mut Reader, lines: &mut Vec<String>) -> bool {
    match &node.kind {
        Kind::Sequence(items) => {
            let mut good = true;
            for (at, item) in items.iter().enumerate() {
                good &= collect_lines(item, &path.index(at), reader, lines);
            }
            good
        }
        Kind::Mapping(_) => {
            let finding = wrong_type(node, path, "a line of shell").help(
                "YAML reads `name: value` as a mapping; put the line between quotes, or use a block (`- |`)",
            );
            reader.findings.push(finding);
            false
        }
        Kind::Scalar { .. } => match Text::read(node, path, reader) {
            Some(line) => {
                lines.push(line.0);
                true
            }
            None => false,
        },
    }
}

impl JsonSchema for Script {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Script".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": ["string", "boolean", "number"] },
            { "type": "array", "items": { "type": ["string", "boolean", "number", "array"] } },
        ] })
    }
}

/// How often, and after what, a job is tried again: a number, or a mapping.
#[derive(Debug, Default)]
pub(super) struct Again(pub(super) RawRetry);

impl Again {
    fn times(max: Retry) -> Self {
        Self(RawRetry { max: Field::Set(max), ..RawRetry::default() })
    }
}

impl<'de> Deserialize<'de> for Again {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Again;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number from 0 to 10, or a mapping")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Again, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Again, E> {
                Retry::from_text(text).map(Again::times).map_err(|fault| E::custom(fault.message))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Again, A::Error> {
                RawRetry::deserialize(de::value::MapAccessDeserializer::new(map)).map(Again)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Read for Again {
    fn read(node: &Node, path: &Path, reader: &mut Reader) -> Option<Self> {
        match &node.kind {
            Kind::Mapping(_) => RawRetry::read(node, path, reader).map(Self),
            _ => Retry::read(node, path, reader).map(Self::times),
        }
    }
}

impl JsonSchema for Again {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Again".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (times, mapping) = (generator.subschema_for::<Retry>(), generator.subschema_for::<RawRetry>());
        json_schema!({ "anyOf": [times, mapping] })
    }
}

/// Names of jobs, each with its place in the list.
#[derive(Debug, Default)]
pub(super) struct Needs(pub(super) Vec<Need>);

#[derive(Debug)]
pub(super) struct Need {
    pub(super) job: String,
    pub(super) index: usize,
    /// Whether it is written as `{ job: name }`.
    pub(super) long: bool,
}

record! {
    /// The long form of an item of `needs`.
    struct RawNeed("an item of `needs`") {
        /// The job's name.
        job: Text = "job",
        /// Whether it may be left out; it always may, so this only says so.
        optional: Flag = "optional",
    }
}

impl<'de> Deserialize<'de> for Needs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        struct Item(String, bool);
        struct OneItem;
        impl<'de> Visitor<'de> for OneItem {
            type Value = Item;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a job's name")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Item, E> {
                Ok(Item(text.to_owned(), false))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Item, A::Error> {
                let need = RawNeed::deserialize(de::value::MapAccessDeserializer::new(map))?;
                match need.job {
                    Field::Set(job) => Ok(Item(job.0, true)),
                    _ => Err(de::Error::missing_field("job")),
                }
            }
        }
        impl<'de> Deserialize<'de> for Item {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(OneItem)
            }
        }
        impl<'de> Visitor<'de> for Items {
            type Value = Vec<Need>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of job names")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Need>, A::Error> {
                let mut needs = Vec::new();
                while let Some(Item(job, long)) = seq.next_element()? {
                    needs.push(Need { job, index: needs.len(), long });
                }
                Ok(needs)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<Need>, E> {
                Ok(vec![Need { job: text.to_owned(), index: 0, long: false }])
            }
        }
        deserializer.deserialize_any(Items).map(Self)
    }
}

impl Read for Needs {
    fn read(node: &Node, path: &Path, reader: &mut Reader) -> Option<Self> {
        match &node.kind {
            Kind::Sequence(items) => {
                let read = |(index, item): (usize, &std::rc::Rc<Node>)| {
                    read_need(item, &path.index(index), index, reader)
                };
                Some(Self(items.iter().enumerate().filter_map(read).collect()))
            }
            Kind::Scalar { .. } if !node.is_null() => {
                read_need(node, path, 0, reader).map(|need| Self(vec![need]))
            }
            _ => {
                reader.findings.push(
                    wrong_type(node, path, "a list of job names")
                        .help("write `needs: [job]`; `needs: []` lets the job start at once"),
                );
                None
            }
        }
    }
}

fn read_need(node: &Node, path: &Path, index: usize, reader: &mut Reader) -> Option<Need> {
    if !matches!(node.kind, Kind::Mapping(_)) {
        return Text::read(node, path, reader).map(|job| Need { job: job.0, index, long: false });
    }
    let need = RawNeed::read(node, path, reader)?;
    if need.job.is_absent() {
        let fault =
            Fault::new("missing-key", "has no key `job`").help("write `{ job: name }`, or only the name");
        let finding: Finding = fault.at(path);
        reader.findings.push(finding);
    }
    need.job.get().map(|job| Need { job: job.0.clone(), index, long: true })
}

impl JsonSchema for Needs {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Needs".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let need = generator.subschema_for::<RawNeed>();
        json_schema!({ "anyOf": [
            { "type": "string" },
            { "type": "array", "items": { "anyOf": [{ "type": "string" }, need] } },
        ] })
    }
}
