//! `retry`: a number, or a mapping.

use schemars::json_schema;

use super::collections::OneOrMany;
use super::field::{Field, Read, Reader, Record, inline_schema, read_record, record};
use super::scalars::{ExitCode, Retry, RetryKind};
use crate::pipeline::finding::Trail;
use crate::pipeline::yaml::tree::{Kind, Node};

record! {
    /// How often to retry a failed job, and after which failures.
    struct RawRetry("`retry`") {
        /// Maximum number of retries, 0 to 10. Default: 1.
        max: Retry = "max",
        /// Kinds of failure to retry after; an empty list also means that a lost worker is none. Default: every failure caused by the job itself.
        when: OneOrMany<RetryKind> = "when",
        /// Exit codes of the script to retry after. Default: all.
        exit_codes: OneOrMany<ExitCode> = "exit_codes",
    }
}

/// How often to retry a job, and after which failures: a number, or a mapping.
#[derive(Debug, Default)]
pub(crate) struct RetryPolicy(pub(crate) RawRetry);

impl RetryPolicy {
    fn times(max: Retry) -> Self {
        Self(RawRetry { max: Field::Set(max), ..RawRetry::default() })
    }
}

impl Read for RetryPolicy {
    fn read(node: &Node, path: &Trail<'_>, reader: &mut Reader) -> Option<Self> {
        match &node.kind {
            Kind::Mapping(_) => RawRetry::read(node, path, reader).map(Self),
            _ => Retry::read(node, path, reader).map(Self::times),
        }
    }
}

inline_schema!([] RetryPolicy, "RetryPolicy", generator => {
    let (times, mapping) = (generator.subschema_for::<Retry>(), generator.subschema_for::<RawRetry>());
    json_schema!({ "anyOf": [times, mapping] })
});
