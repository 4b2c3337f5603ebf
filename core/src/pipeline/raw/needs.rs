//! `needs` and `dependencies`: names of jobs.

use std::rc::Rc;

use schemars::json_schema;

use super::field::{Field, Read, Reader, Record, inline_schema, read_record, record};
use super::matrix::RawCells;
use super::scalars::{Flag, Text};
use crate::pipeline::finding::{Fault, Trail};
use crate::pipeline::model::Need;
use crate::pipeline::yaml::tree::{Kind, Node, wrong_type};

/// Names of jobs, each with its index in the list.
#[derive(Debug, Default)]
pub(crate) struct NeedList(pub(crate) Vec<RawJobNeed>);

/// An item of a [`NeedList`].
#[derive(Debug)]
pub(crate) struct RawJobNeed {
    pub(crate) need: Need,
    pub(crate) index: usize,
    /// Whether it is written as `{ job: name }`.
    pub(crate) long: bool,
}

record! {
    /// The long form of an item of `needs` or `dependencies`.
    struct RawNeed("an item of `needs`") {
        /// Name of the job.
        job: Text = "job",
        /// Whether the job may be missing from the execution. Default: false.
        optional: Flag = "optional",
        /// The variants that are needed, by values of the job's matrix. Default: all.
        matrix: RawCells = "matrix",
    }
}

impl NeedList {
    /// Returns the needs as in the model.
    pub(crate) fn models(&self) -> Vec<Need> {
        self.0.iter().map(|raw| raw.need.clone()).collect()
    }
}

impl Read for NeedList {
    fn read(node: &Node, path: &Trail<'_>, reader: &mut Reader) -> Option<Self> {
        match &node.kind {
            Kind::Sequence(items) => {
                let read =
                    |(index, item): (usize, &Rc<Node>)| read_need(item, &path.index(index), index, reader);
                Some(Self(items.iter().enumerate().filter_map(read).collect()))
            }
            Kind::Scalar { .. } if !node.is_null() => {
                read_need(node, path, 0, reader).map(|need| Self(vec![need]))
            }
            _ => {
                reader.findings.push(
                    wrong_type(node, &path.to_path(), "a list of job names")
                        .help("write `needs: [job]`; `needs: []` lets the job start at once"),
                );
                None
            }
        }
    }
}

fn read_need(node: &Node, path: &Trail<'_>, index: usize, reader: &mut Reader) -> Option<RawJobNeed> {
    if !matches!(node.kind, Kind::Mapping(_)) {
        let job = Text::read(node, path, reader)?;
        return Some(RawJobNeed { need: Need::of(&job.0), index, long: false });
    }
    let raw = RawNeed::read(node, path, reader)?;
    if raw.job.is_absent() {
        let fault =
            Fault::new("missing-key", "has no key `job`").help("write `{ job: name }`, or only the name");
        reader.findings.push(fault.into_finding(&path.to_path()));
    }
    let cells = raw.matrix.get().map_or(&[][..], |cells| cells.0.as_slice());
    let values =
        |values: &super::collections::OneOrMany<Text>| values.0.iter().map(|value| value.0.clone()).collect();
    let need = Need {
        job: raw.job.get()?.0.clone(),
        optional: raw.optional.get().is_some_and(|flag| flag.0),
        cells: cells
            .iter()
            .map(|(_, cell)| cell.0.iter().map(|(key, all)| (key.clone(), values(all))).collect())
            .collect(),
    };
    Some(RawJobNeed { need, index, long: true })
}

inline_schema!([] NeedList, "NeedList", generator => {
    let need = generator.subschema_for::<RawNeed>();
    json_schema!({ "anyOf": [
        { "type": "string" },
        { "type": "array", "items": { "anyOf": [{ "type": "string" }, need] } },
    ] })
});
