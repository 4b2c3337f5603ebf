//! Queries of the records.

use super::rows::{find_seq, node_ix, node_key, node_seq, parse_json, unpack_column};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params, params_from_iter};
use tidemill_core::execution::status::ExecutionStatus;
use tidemill_core::{
    ids::{ArtifactId, ExecutionId, JobId},
    time::Timestamp,
};
use tidemill_services::ports::{
    ArtifactRecord, DeadLetter, DueNode, ExecutionRecord, ExecutionSnapshot, ExecutionState, KeyRecord,
    ListFilter, Node, NodeKey, NodeSpec, NodeState, repository_key,
};

type SqlResult<T> = rusqlite::Result<T>;

const SELECT_EXECUTION: &str = "SELECT s.spec, e.run_number, e.state, e.version
     FROM executions e";
const SELECT_NODE: &str =
    "SELECT n.node, s.spec, n.state, n.version, n.waits_for, n.failed, n.blocker, n.due_at
     FROM nodes n JOIN node_specs s USING (node)";

/// Maximum index of a node.
const MAX_NODE_INDEX: u32 = u32::MAX;

fn execution_row(row: &Row<'_>) -> SqlResult<ExecutionRecord> {
    Ok(ExecutionRecord {
        spec: unpack_column(row, 0)?,
        run_number: row.get::<_, i64>(1)?.unsigned_abs(),
        state: parse_json(row, 2)?,
        version: row.get::<_, i64>(3)?.unsigned_abs(),
    })
}

/// Reads an execution.
pub fn execution(conn: &Connection, id: ExecutionId) -> SqlResult<Option<ExecutionRecord>> {
    conn.prepare_cached(&format!("{SELECT_EXECUTION} JOIN execution_specs s USING (seq) WHERE e.id = ?1"))?
        .query_row([id.0], execution_row)
        .optional()
}

/// Reads the state of an execution and its version.
pub fn execution_state(conn: &Connection, id: ExecutionId) -> SqlResult<Option<(ExecutionState, u64)>> {
    conn.prepare_cached("SELECT state, version FROM executions WHERE id = ?1")?
        .query_row([id.0], |row| Ok((parse_json(row, 0)?, row.get::<_, i64>(1)?.unsigned_abs())))
        .optional()
}

/// Reads the revision of an execution, which changes with every write to it.
pub fn revision(conn: &Connection, id: ExecutionId) -> SqlResult<Option<u64>> {
    conn.prepare_cached("SELECT revision FROM executions WHERE id = ?1")?
        .query_row([id.0], |row| row.get::<_, i64>(0))
        .optional()
        .map(|revision| revision.map(i64::unsigned_abs))
}

/// Reads a page of executions before `before`, newest first, and whether there are more.
pub fn executions(
    conn: &Connection,
    filter: &ListFilter,
    before: Option<ExecutionId>,
    limit: usize,
) -> SqlResult<(Vec<ExecutionRecord>, bool)> {
    let repo = filter.repo.as_deref().map(repository_key);
    let status = filter.status.map(ExecutionStatus::as_str);
    let number = filter.run_number.map(|number| i64::try_from(number).unwrap_or(-1));
    let before = before.map(|id| id.0);
    let max_rows = sql_limit(limit.saturating_add(1));
    let mut sql =
        format!("{SELECT_EXECUTION} INDEXED BY {} JOIN execution_specs s USING (seq)", index(filter));
    let mut values: Vec<&dyn ToSql> = Vec::new();
    let mut and_where = |condition: &str, value| {
        sql.push_str(if values.is_empty() { " WHERE " } else { " AND " });
        sql.push_str(condition);
        sql.push('?');
        values.push(value);
    };
    if let Some(repo) = &repo {
        and_where("e.repo = ", repo);
    }
    if let Some(pipeline) = &filter.pipeline {
        and_where("e.pipeline = ", pipeline);
    }
    if let Some(branch) = &filter.branch {
        and_where("e.branch = ", branch);
    }
    if let Some(status) = &status {
        and_where("e.status = ", status);
    }
    if let Some(number) = &number {
        and_where("e.run_number = ", number);
    }
    if let Some(before) = &before {
        and_where("e.id < ", before);
    }
    sql.push_str(" ORDER BY e.id DESC LIMIT ?");
    values.push(&max_rows);
    let mut executions: Vec<ExecutionRecord> = conn
        .prepare_cached(&sql)?
        .query_map(params_from_iter(values), execution_row)?
        .collect::<SqlResult<_>>()?;
    let more = executions.len() > limit;
    executions.truncate(limit);
    Ok((executions, more))
}

/// Returns the index that likely has the fewest rows for the filter. The query names it, since SQLite has no statistics
/// to choose by. Each index (except that of run numbers, with few rows per number) has the order of the list.
fn index(filter: &ListFilter) -> &'static str {
    match filter {
        ListFilter { pipeline: Some(_), run_number: Some(_), .. } => "executions_run",
        ListFilter { run_number: Some(_), .. } => "executions_number",
        ListFilter { status: Some(status), .. } if !status.is_terminal() => "executions_status",
        ListFilter { repo: Some(_), pipeline: Some(_), branch: Some(_), .. } => {
            "executions_repo_pipeline_branch"
        }
        ListFilter { repo: Some(_), pipeline: Some(_), .. } => "executions_repo_pipeline",
        ListFilter { repo: Some(_), .. } => "executions_repo",
        ListFilter { pipeline: Some(_), .. } => "executions_pipeline",
        ListFilter { branch: Some(_), .. } => "executions_branch",
        ListFilter { status: Some(_), .. } => "executions_status",
        _ => "executions_id",
    }
}

/// Reads the ids of executions that have not ended, oldest first.
pub fn live(conn: &Connection, after: Option<ExecutionId>, limit: usize) -> SqlResult<Vec<ExecutionId>> {
    // The empty blob sorts before every id.
    let after = after.map(|id| id.0.as_bytes().to_vec()).unwrap_or_default();
    conn.prepare_cached(
        "SELECT id FROM executions INDEXED BY executions_live
         WHERE over = 0 AND id > ?1 ORDER BY id LIMIT ?2",
    )?
    .query_map(params![after, sql_limit(limit)], |row| row.get(0).map(ExecutionId))?
    .collect()
}

fn node_row(execution: ExecutionId) -> impl FnMut(&Row<'_>) -> SqlResult<Node> {
    move |row| {
        let key = NodeKey { execution, ix: node_ix(row.get(0)?) };
        let state: NodeState = parse_json(row, 2)?;
        let job = state.status().map(|_| JobId::of(execution, key.ix));
        Ok(Node {
            key,
            spec: NodeSpec { job, ..parse_json(row, 1)? },
            state,
            version: row.get::<_, i64>(3)?.unsigned_abs(),
            waits_for: row.get(4)?,
            failed: row.get(5)?,
            blocker: row.get(6)?,
            due_at: row.get::<_, Option<i64>>(7)?.map(Timestamp),
        })
    }
}

/// Reads nodes by index.
pub fn nodes(conn: &Connection, execution: ExecutionId, ixs: &[u32]) -> SqlResult<Vec<Node>> {
    let Some(seq) = find_seq(conn, execution)? else { return Ok(Vec::new()) };
    let mut query = conn.prepare_cached(&format!("{SELECT_NODE} WHERE n.node = ?1"))?;
    let mut nodes = Vec::with_capacity(ixs.len());
    for ix in ixs {
        nodes.extend(query.query_row([node_key(seq, *ix)], node_row(execution)).optional()?);
    }
    Ok(nodes)
}

/// Reads all nodes of an execution.
pub fn all_nodes(conn: &Connection, execution: ExecutionId) -> SqlResult<Vec<Node>> {
    let Some(seq) = find_seq(conn, execution)? else { return Ok(Vec::new()) };
    conn.prepare_cached(&format!("{SELECT_NODE} WHERE n.node BETWEEN ?1 AND ?2 ORDER BY n.node"))?
        .query_map([node_key(seq, 0), node_key(seq, MAX_NODE_INDEX)], node_row(execution))?
        .collect()
}

/// Reads the node of a job.
pub fn job(conn: &Connection, id: JobId) -> SqlResult<Option<Node>> {
    let row = conn
        .prepare_cached(
            "SELECT j.node, e.id FROM jobs j JOIN executions e ON e.seq = j.node >> 32 WHERE j.id = ?1",
        )?
        .query_row([id.0], |row| Ok((row.get::<_, i64>(0)?, ExecutionId(row.get(1)?))))
        .optional()?;
    let Some((node, execution)) = row else { return Ok(None) };
    conn.prepare_cached(&format!("{SELECT_NODE} WHERE n.node = ?1"))?
        .query_row([node], node_row(execution))
        .optional()
}

/// Reads an execution with its nodes.
pub fn snapshot(conn: &Connection, id: ExecutionId) -> SqlResult<Option<ExecutionSnapshot>> {
    // One transaction, so that the result is consistent.
    let transaction = conn.unchecked_transaction()?;
    let Some(revision) = revision(&transaction, id)? else { return Ok(None) };
    let content = execution(&transaction, id)?
        .map(|record| Ok::<_, rusqlite::Error>((record, all_nodes(&transaction, id)?)));
    Ok(Some(ExecutionSnapshot { revision, content: content.transpose()? }))
}

/// Reads the indices of the first pending or queued jobs from `from` on.
pub fn upcoming(conn: &Connection, execution: ExecutionId, from: u32, limit: usize) -> SqlResult<Vec<u32>> {
    let Some(seq) = find_seq(conn, execution)? else { return Ok(Vec::new()) };
    conn.prepare_cached(
        "SELECT node FROM nodes INDEXED BY nodes_upcoming
         WHERE status IN ('PENDING', 'QUEUED') AND node BETWEEN ?1 AND ?2 ORDER BY node LIMIT ?3",
    )?
    .query_map([node_key(seq, from), node_key(seq, MAX_NODE_INDEX), sql_limit(limit)], |row| {
        row.get(0).map(node_ix)
    })?
    .collect()
}

/// Reads the record of an idempotency key.
pub fn key(conn: &Connection, key: &str) -> SqlResult<Option<KeyRecord>> {
    conn.prepare_cached("SELECT record FROM idempotency_keys WHERE key = ?1")?
        .query_row([key], |row| parse_json(row, 0))
        .optional()
}

/// Reads the nodes that are due, ordered by due time.
pub fn due_nodes(conn: &Connection, now: Timestamp, limit: usize) -> SqlResult<Vec<DueNode>> {
    let mut query = conn.prepare_cached(
        "SELECT node, due_at FROM nodes INDEXED BY nodes_due
         WHERE due_at IS NOT NULL AND due_at <= ?1 ORDER BY due_at, node LIMIT ?2",
    )?;
    let mut id_of = conn.prepare_cached("SELECT id FROM executions WHERE seq = ?1")?;
    let mut previous: Option<(i64, ExecutionId)> = None;
    let mut due_nodes = Vec::new();
    let mut rows = query.query(params![now.0, sql_limit(limit)])?;
    while let Some(row) = rows.next()? {
        let node = row.get(0)?;
        let seq = node_seq(node);
        let execution = match previous {
            Some((previous_seq, id)) if previous_seq == seq => id,
            _ => id_of.query_row([seq], |row| row.get(0).map(ExecutionId))?,
        };
        previous = Some((seq, execution));
        let key = NodeKey { execution, ix: node_ix(node) };
        due_nodes.push(DueNode { key, due_at: Timestamp(row.get(1)?) });
    }
    Ok(due_nodes)
}

/// Reads an artifact.
pub fn artifact(conn: &Connection, id: ArtifactId) -> SqlResult<Option<ArtifactRecord>> {
    conn.prepare_cached("SELECT record FROM artifacts WHERE id = ?1")?
        .query_row([id.0], |row| parse_json(row, 0))
        .optional()
}

/// Reads the artifacts of an execution.
pub fn artifacts(conn: &Connection, execution: ExecutionId) -> SqlResult<Vec<ArtifactRecord>> {
    conn.prepare_cached("SELECT record FROM artifacts WHERE execution = ?1 ORDER BY ix, id")?
        .query_map([execution.0], |row| parse_json(row, 0))?
        .collect()
}

/// Reads the artifacts of a job.
pub fn artifacts_of_job(conn: &Connection, job: JobId) -> SqlResult<Vec<ArtifactRecord>> {
    conn.prepare_cached("SELECT record FROM artifacts WHERE job = ?1 ORDER BY id")?
        .query_map([job.0], |row| parse_json(row, 0))?
        .collect()
}

/// Reads the expired artifacts, ordered by expiry time.
pub fn expired_artifacts(conn: &Connection, now: Timestamp, limit: usize) -> SqlResult<Vec<ArtifactRecord>> {
    conn.prepare_cached(
        "SELECT record FROM artifacts INDEXED BY artifacts_expiry
         WHERE expires_at IS NOT NULL AND expires_at <= ?1 ORDER BY expires_at, seq LIMIT ?2",
    )?
    .query_map(params![now.0, sql_limit(limit)], |row| parse_json(row, 0))?
    .collect()
}

/// Reads a page of dead letters before `before`, newest first, and whether there are more.
pub fn dead_letters(
    conn: &Connection,
    before: Option<DeadLetter>,
    limit: usize,
) -> SqlResult<(Vec<DeadLetter>, bool)> {
    // A dead letter of a deleted execution sorts before all others of the same time.
    let position = |letter: DeadLetter| {
        let seq = find_seq(conn, letter.execution)?.unwrap_or(0);
        SqlResult::Ok((letter.at.0, node_key(seq, letter.ix)))
    };
    let (at, node) = before.map_or(Ok((i64::MAX, i64::MAX)), position)?;
    let mut letters: Vec<DeadLetter> = conn
        .prepare_cached(
            "SELECT d.at, d.node, e.id FROM dead_letters d JOIN executions e ON e.seq = d.node >> 32
             WHERE (d.at, d.node) < (?1, ?2) ORDER BY d.at DESC, d.node DESC LIMIT ?3",
        )?
        .query_map(params![at, node, sql_limit(limit.saturating_add(1))], |row| {
            Ok(DeadLetter {
                at: Timestamp(row.get(0)?),
                execution: ExecutionId(row.get(2)?),
                ix: node_ix(row.get(1)?),
            })
        })?
        .collect::<SqlResult<_>>()?;
    let more = letters.len() > limit;
    letters.truncate(limit);
    Ok((letters, more))
}

fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
