//! The attributes that programs other than Tidemill read in the table, under the names of the record layout. Tidemill itself reads
//! only `status`.

use crate::{
    keys,
    table::{Item, number, text},
};
use aws_sdk_dynamodb::types::AttributeValue;
use std::fmt::Write as _;
use tidemill_core::{ids::JobId, time::Timestamp};
use tidemill_services::ports::{
    ArtifactRecord, ExecutionSpec, ExecutionState, JobDescription, NodeBody, NodeKey, NodeState,
};

/// An attribute; `None`: the item does not have it.
type Attribute = (&'static str, Option<AttributeValue>);

fn time(at: Option<Timestamp>) -> Option<AttributeValue> {
    at.map(|at| text(at.to_string()))
}

fn add(item: &mut Item, attributes: impl IntoIterator<Item = Attribute>) {
    let present = attributes.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    item.extend(present);
}

/// Returns the attributes of an execution that change.
pub fn execution_state(state: &ExecutionState) -> [Attribute; 3] {
    [
        ("status", Some(text(state.status.as_str()))),
        ("start_time", time(state.start_time)),
        ("end_time", time(state.end_time)),
    ]
}

/// Adds the attributes of an execution.
pub fn add_execution(item: &mut Item, spec: &ExecutionSpec, state: &ExecutionState) {
    let immutable = [
        ("id", Some(text(spec.id.to_string()))),
        ("pipeline_name", Some(text(&spec.pipeline_name))),
        ("repo", Some(text(&spec.repo))),
        ("branch", spec.branch.as_ref().map(text)),
        ("commit", spec.commit.as_ref().map(text)),
    ];
    add(item, immutable.into_iter().chain(execution_state(state)));
}

/// Returns the attributes of a node that change; none if it is not a job.
pub fn job_state(key: NodeKey, state: &NodeState) -> Vec<Attribute> {
    let NodeBody::Job(record) = &state.body else { return Vec::new() };
    let job = &record.job;
    let log = match record.carried_from {
        Some(from) => Some((from, record.carried_attempt)),
        None => Some((JobId::of(key.execution, key.ix), job.attempt)),
    };
    let log = log.filter(|(_, attempt)| *attempt > 0).map(|(job, attempt)| text(keys::log(job, attempt)));
    vec![
        ("status", Some(text(job.status.as_str()))),
        ("logs", log),
        ("start_time", time(job.started_at)),
        ("end_time", time(job.ended_at)),
    ]
}

/// Adds the attributes of a job's node.
pub fn add_job(
    item: &mut Item,
    key: NodeKey,
    name: &str,
    described: Option<&JobDescription>,
    state: &NodeState,
) {
    let immutable = described.map(|described| {
        [
            ("id", Some(text(JobId::of(key.execution, key.ix).to_string()))),
            ("pipeline_execution_id", Some(text(key.execution.to_string()))),
            ("stage", Some(text(&described.stage))),
            ("job_name", Some(text(name))),
            ("docker_image", Some(text(&described.docker_image))),
        ]
    });
    add(item, immutable.into_iter().flatten().chain(job_state(key, state)));
}

/// Adds the attributes of an artifact.
pub fn add_artifact(item: &mut Item, record: &ArtifactRecord) {
    let attributes = [
        ("id", Some(text(record.id.to_string()))),
        ("job_execution_id", Some(text(record.job.to_string()))),
        ("file_path", Some(text(&record.file_path))),
        ("uploaded_at", time(Some(record.uploaded_at))),
        ("size", Some(number(record.size))),
    ];
    add(item, attributes);
}

/// Adds changed attributes to an update expression that begins with `SET`, and returns the names of those to remove.
pub fn update(
    expression: &mut String,
    values: &mut Item,
    attributes: impl IntoIterator<Item = Attribute>,
) -> Vec<&'static str> {
    let mut removed = Vec::new();
    for (name, value) in attributes {
        let Some(value) = value else {
            removed.push(name);
            continue;
        };
        // `status` is a reserved word of expressions.
        let sign = if name == "status" { "#" } else { "" };
        let _ = write!(expression, ", {sign}{name} = :{name}");
        values.insert(format!(":{name}"), value);
    }
    removed
}
