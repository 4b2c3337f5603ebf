//! `needs`: names of jobs.

use std::rc::Rc;

use schemars::json_schema;

use super::field::{Field, Read, Reader, Record, inline_schema, read_record, record};
use super::scalars::{Flag, Text};
use crate::pipeline::finding::{Fault, Trail};
use crate::pipeline::yaml::tree::{Kind, Node, wrong_type};

/// Names of jobs, each with its index in the list.
#[derive(Debug, Default)]
pub(crate) struct NeedList(pub(crate) Vec<Need>);

#[derive(Debug)]
pub(crate) struct Need {
    pub(crate) job: String,
    pub(crate) index: usize,
    /// Whether it is written as `{ job: name }`.
    pub(crate) long: bool,
}

record! {
    /// The long form of an item of `needs`.
    struct RawNeed("an item of `needs`") {
        /// Name of the job.
        job: Text = "job",
        /// Whether the job may be missing from the execution. Accepted for compatibility: it always may.
        optional: Flag = "optional",
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

fn read_need(node: &Node, path: &Trail<'_>, index: usize, reader: &mut Reader) -> Option<Need> {
    if !matches!(node.kind, Kind::Mapping(_)) {
        return Text::read(node, path, reader).map(|job| Need { job: job.0, index, long: false });
    }
    let need = RawNeed::read(node, path, reader)?;
    if need.job.is_absent() {
        let fault =
            Fault::new("missing-key", "has no key `job`").help("write `{ job: name }`, or only the name");
        reader.findings.push(fault.into_finding(&path.to_path()));
    }
    need.job.get().map(|job| Need { job: job.0.clone(), index, long: true })
}

inline_schema!([] NeedList, "NeedList", generator => {
    let need = generator.subschema_for::<RawNeed>();
    json_schema!({ "anyOf": [
        { "type": "string" },
        { "type": "array", "items": { "anyOf": [{ "type": "string" }, need] } },
    ] })
});
