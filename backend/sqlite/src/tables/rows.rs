//! The rows of the tables, and conversions of records to them.

use rusqlite::{Connection, OptionalExtension, Row, types::Type};
use serde::{Serialize, de::DeserializeOwned};
use tidemill_core::execution::status::JobStatus;
use tidemill_core::{
    ids::{ArtifactId, ExecutionId, JobId},
    time::Timestamp,
};
use tidemill_services::error::{Error, Result};
use tidemill_services::pack::{pack, unpack};
use tidemill_services::ports::{
    DeadLetter, ExecutionState, NewNode, NodeBody, NodeKey, NodeState, Write, repository_key,
};

/// Returns the key of a node: the `seq` of its execution, and its index.
pub fn node_key(seq: i64, ix: u32) -> i64 {
    (seq << 32) | i64::from(ix)
}

/// Returns the index in a node's key.
pub fn node_ix(key: i64) -> u32 {
    // The lower 32 bits always fit.
    u32::try_from(key & 0xffff_ffff).unwrap_or(u32::MAX)
}

/// Returns the `seq` in a node's key.
pub const fn node_seq(key: i64) -> i64 {
    key >> 32
}

/// Reads the `seq` of an execution.
pub fn find_seq(conn: &Connection, id: ExecutionId) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT seq FROM executions WHERE id = ?1")?
        .query_row([id.0], |row| row.get(0))
        .optional()
}

/// Parses the JSON in a column.
pub fn parse_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// Unpacks the value in a column.
pub fn unpack_column<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    unpack(row.get_ref(column)?.as_blob()?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(error)))
}

fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::storage("writing records as JSON", error))
}

/// A write with its values serialized, so that the writer thread only runs SQL.
pub enum RowWrite {
    Create(Box<NewExecution>),
    AddNodes { id: ExecutionId, if_version: u64, row: ExecutionRow, nodes: Vec<NewNodeRow> },
    PutExecution { id: ExecutionId, if_version: u64, row: ExecutionRow },
    PutNode { key: NodeKey, if_version: u64, row: NodeRow, due_at: Option<i64> },
    SetDue { key: NodeKey, if_version: u64, due_at: Option<i64> },
    Arrive(Box<ArrivalRow>),
    PutKey { key: String, if_execution: Option<ExecutionId>, execution: ExecutionId, record: String },
    PutArtifact(Box<ArtifactRow>),
    DeleteArtifact(ArtifactId),
    PutDeadLetter(DeadLetter),
    DeleteDeadLetter(DeadLetter),
}

/// An arrival.
pub struct ArrivalRow {
    pub key: NodeKey,
    pub succeeded: bool,
    pub dependency: String,
    pub now: i64,
    pub continuation: Option<ContinuationRow>,
}

/// What a node becomes with its last arrival.
pub struct ContinuationRow {
    pub if_version: u64,
    pub row: NodeRow,
    pub due_at: Option<i64>,
    pub arrivals: Vec<RowWrite>,
}

/// An execution to insert.
pub struct NewExecution {
    pub id: ExecutionId,
    pub repo: String,
    pub pipeline: String,
    pub branch: Option<String>,
    pub spec: Vec<u8>,
    pub row: ExecutionRow,
    pub nodes: Vec<NewNodeRow>,
}

/// The mutable part of an execution.
pub struct ExecutionRow {
    pub status: &'static str,
    pub over: bool,
    pub state: String,
}

/// A node to insert.
pub struct NewNodeRow {
    pub ix: u32,
    pub row: NodeRow,
    pub waits_for: u32,
    pub failed: u32,
    pub due_at: Option<i64>,
    pub spec: String,
    pub job: Option<JobId>,
}

/// The part of a node that versioned writes change.
pub struct NodeRow {
    pub status: Option<&'static str>,
    pub idle: bool,
    pub state: String,
}

/// An artifact to insert.
pub struct ArtifactRow {
    pub id: ArtifactId,
    pub execution: ExecutionId,
    pub ix: u32,
    pub job: JobId,
    pub expires_at: Option<i64>,
    pub record: String,
}

impl RowWrite {
    /// Converts a write to rows.
    pub fn new(write: Write) -> Result<Self> {
        Ok(match write {
            Write::Create { spec, state, nodes } => Self::Create(Box::new(NewExecution {
                id: spec.id,
                spec: pack(&spec)?,
                repo: repository_key(&spec.repo),
                pipeline: spec.pipeline_name,
                branch: spec.branch,
                row: ExecutionRow::new(&state)?,
                nodes: NewNodeRow::all(&nodes)?,
            })),
            Write::AddNodes { id, if_version, state, nodes } => Self::AddNodes {
                id,
                if_version,
                row: ExecutionRow::new(&state)?,
                nodes: NewNodeRow::all(&nodes)?,
            },
            Write::PutExecution { id, if_version, state } => {
                Self::PutExecution { id, if_version, row: ExecutionRow::new(&state)? }
            }
            Write::PutNode { key, if_version, state, due_at } => {
                Self::PutNode { key, if_version, row: NodeRow::new(&state)?, due_at: ms(due_at) }
            }
            Write::SetDue { key, if_version, due_at } => Self::SetDue { key, if_version, due_at: ms(due_at) },
            Write::Arrive { key, ok, from, now, continuation } => {
                let continuation = continuation.map(|next| {
                    Ok::<_, Error>(ContinuationRow {
                        if_version: next.if_version,
                        row: NodeRow::new(&next.state)?,
                        due_at: ms(next.due_at),
                        arrivals: next.arrivals.into_iter().map(Self::new).collect::<Result<_>>()?,
                    })
                });
                Self::Arrive(Box::new(ArrivalRow {
                    key,
                    succeeded: ok,
                    dependency: from,
                    now: now.0,
                    continuation: continuation.transpose()?,
                }))
            }
            Write::PutKey { key, if_execution, record } => {
                Self::PutKey { key, if_execution, execution: record.execution, record: to_json(&record)? }
            }
            Write::PutArtifact(record) => Self::PutArtifact(Box::new(ArtifactRow {
                id: record.id,
                execution: record.execution,
                ix: record.ix,
                job: record.job,
                expires_at: ms(record.expires_at),
                record: to_json(&record)?,
            })),
            Write::PutDeadLetter(letter) => Self::PutDeadLetter(letter),
            Write::DeleteDeadLetter(letter) => Self::DeleteDeadLetter(letter),
            Write::DeleteArtifact(id) => Self::DeleteArtifact(id),
        })
    }
}

impl ExecutionRow {
    fn new(state: &ExecutionState) -> Result<Self> {
        Ok(Self { status: state.status.as_str(), over: state.status.is_terminal(), state: to_json(state)? })
    }
}

impl NewNodeRow {
    fn all(nodes: &[(u32, NewNode)]) -> Result<Vec<Self>> {
        nodes.iter().map(|(ix, node)| Self::new(*ix, node)).collect()
    }

    fn new(ix: u32, node: &NewNode) -> Result<Self> {
        Ok(Self {
            ix,
            row: NodeRow::new(&node.state)?,
            waits_for: node.waits_for,
            failed: node.failed,
            due_at: ms(node.due_at),
            spec: to_json(&node.spec)?,
            job: node.spec.job,
        })
    }
}

impl NodeRow {
    fn new(state: &NodeState) -> Result<Self> {
        let idle = match &state.body {
            NodeBody::Job(item) => item.job.status == JobStatus::Pending,
            NodeBody::Gate { open } => !open,
            NodeBody::End => true,
        };
        Ok(Self { status: state.status().map(JobStatus::as_str), idle, state: to_json(state)? })
    }
}

fn ms(time: Option<Timestamp>) -> Option<i64> {
    time.map(|time| time.0)
}
