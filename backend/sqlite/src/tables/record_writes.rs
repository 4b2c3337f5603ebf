//! Batches of writes as SQL, in the writer's transaction.

use super::rows::{
    ArrivalRow, ExecutionRow, NewExecution, NewNodeRow, RowWrite, find_seq, node_ix, node_key,
};
use crate::sqlite::TaskOutcome;
use rusqlite::{Connection, OptionalExtension, params};
use tidemill_core::{
    ids::{ExecutionId, JobId},
    time::Timestamp,
};
use tidemill_services::ports::{ArrivalOutcome, Commit, CommitResult, DeadLetter, DueNode, NodeKey};

/// The executions that a batch changes, with their `seq`; mostly one.
type ChangedExecutions = Vec<(ExecutionId, i64)>;

/// Applies all writes, or none if a condition does not hold.
pub fn apply(conn: &Connection, writes: &[RowWrite]) -> rusqlite::Result<TaskOutcome<Commit>> {
    let mut touched = ChangedExecutions::new();
    let mut done = CommitResult::default();
    for write in writes {
        if !apply_one(conn, write, &mut touched, &mut done)? {
            return Ok(TaskOutcome::Rollback(Commit::Conflict));
        }
    }
    let mut bump = conn.prepare_cached("UPDATE executions SET revision = revision + 1 WHERE seq = ?1")?;
    for (_, seq) in touched {
        bump.execute([seq])?;
    }
    Ok(TaskOutcome::Commit(Commit::Done(done)))
}

/// Moves the due time of a node. Returns false if its due time is no longer `late.due_at`.
pub fn postpone(conn: &Connection, late: DueNode, until: Timestamp) -> rusqlite::Result<TaskOutcome<bool>> {
    let Some(seq) = find_seq(conn, late.key.execution)? else { return Ok(TaskOutcome::Commit(false)) };
    let moved = conn
        .prepare_cached("UPDATE nodes SET due_at = ?3 WHERE node = ?1 AND due_at = ?2")?
        .execute(params![node_key(seq, late.key.ix), late.due_at.0, until.0])?;
    Ok(TaskOutcome::Commit(moved > 0))
}

/// Applies a write if its condition holds, and returns whether it does.
fn apply_one(
    conn: &Connection,
    write: &RowWrite,
    touched: &mut ChangedExecutions,
    done: &mut CommitResult,
) -> rusqlite::Result<bool> {
    let changed = match write {
        RowWrite::Create(new) => match create(conn, new)? {
            Some((seq, run_number)) => {
                touched.push((new.id, seq));
                done.run_number = run_number;
                1
            }
            None => 0,
        },
        RowWrite::PutExecution { id, if_version, row } => {
            let Some(seq) = touch(conn, *id, touched)? else { return Ok(false) };
            put_execution(conn, seq, *if_version, row)?
        }
        RowWrite::AddNodes { id, if_version, row, nodes } => {
            let Some(seq) = touch(conn, *id, touched)? else { return Ok(false) };
            let changed = put_execution(conn, seq, *if_version, row)?;
            if changed > 0 {
                insert_nodes(conn, seq, nodes)?;
            }
            changed
        }
        RowWrite::PutNode { key, if_version, row, due_at } => {
            let Some(node) = touch_node(conn, *key, touched)? else { return Ok(false) };
            conn.prepare_cached(
                "UPDATE nodes SET version = version + 1, status = ?3, idle = ?4, state = ?5, due_at = ?6
                 WHERE node = ?1 AND version = ?2",
            )?
            .execute(params![
                node,
                version(*if_version),
                row.status,
                row.idle,
                row.state,
                due_at
            ])?
        }
        RowWrite::SetDue { key, if_version, due_at } => {
            let Some(node) = touch_node(conn, *key, touched)? else { return Ok(false) };
            conn.prepare_cached("UPDATE nodes SET due_at = ?3 WHERE node = ?1 AND version = ?2")?
                .execute(params![node, version(*if_version), due_at])?
        }
        RowWrite::Arrive(row) => {
            let arrival = arrive(conn, row, touched)?;
            done.arrivals.push(arrival);
            for next_arrival in
                row.continuation.iter().filter(|_| arrival.continued).flat_map(|next| &next.arrivals)
            {
                apply_one(conn, next_arrival, touched, done)?;
            }
            1
        }
        RowWrite::PutKey { key, if_execution, execution, record } => match if_execution {
            None => conn
                .prepare_cached(
                    "INSERT INTO idempotency_keys (key, execution, record) VALUES (?1, ?2, ?3)
                     ON CONFLICT (key) DO NOTHING",
                )?
                .execute(params![key, execution.0, record])?,
            Some(expected) => conn
                .prepare_cached(
                    "UPDATE idempotency_keys SET execution = ?2, record = ?3
                     WHERE key = ?1 AND execution = ?4",
                )?
                .execute(params![key, execution.0, record, expected.0])?,
        },
        RowWrite::PutArtifact(row) => {
            touch(conn, row.execution, touched)?;
            conn.prepare_cached(
                "INSERT INTO artifacts (id, execution, ix, job, expires_at, record)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (id) DO UPDATE SET execution = ?2, ix = ?3, job = ?4, expires_at = ?5, record = ?6",
            )?
            .execute(params![row.id.0, row.execution.0, row.ix, row.job.0, row.expires_at, row.record])?
        }
        RowWrite::PutDeadLetter(letter) => {
            let Some(node) = touch_node(conn, key_of(letter), touched)? else { return Ok(false) };
            conn.prepare_cached("INSERT OR IGNORE INTO dead_letters (at, node) VALUES (?1, ?2)")?
                .execute(params![letter.at.0, node])?;
            1
        }
        RowWrite::DeleteDeadLetter(letter) => {
            if let Some(node) = touch_node(conn, key_of(letter), touched)? {
                conn.prepare_cached("DELETE FROM dead_letters WHERE at = ?1 AND node = ?2")?
                    .execute(params![letter.at.0, node])?;
            }
            1
        }
        RowWrite::DeleteArtifact(id) => {
            let execution = conn
                .prepare_cached("DELETE FROM artifacts WHERE id = ?1 RETURNING execution")?
                .query_row([id.0], |row| row.get(0).map(ExecutionId))
                .optional()?;
            if let Some(execution) = execution {
                touch(conn, execution, touched)?;
            }
            1
        }
    };
    Ok(changed > 0)
}

fn put_execution(
    conn: &Connection,
    seq: i64,
    if_version: u64,
    row: &ExecutionRow,
) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "UPDATE executions SET version = version + 1, status = ?3, over = ?4, state = ?5
         WHERE seq = ?1 AND version = ?2",
    )?
    .execute(params![seq, version(if_version), row.status, row.over, row.state])
}

/// Applies an arrival. A missing node is an error: the caller named a wrong one.
fn arrive(
    conn: &Connection,
    row: &ArrivalRow,
    touched: &mut ChangedExecutions,
) -> rusqlite::Result<ArrivalOutcome> {
    let ArrivalRow { key, succeeded: ok, dependency: from, now, continuation } = row;
    let key = *key;
    let node = touch_node(conn, key, touched)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    if let Some(next) = continuation {
        let failed = conn
            .prepare_cached(
                "UPDATE nodes SET
                    waits_for = 0,
                    failed = failed + ?3,
                    blocker = iif(?3 AND blocker IS NULL, ?4, blocker),
                    version = version + 1, status = ?5, idle = ?6, state = ?7, due_at = ?8
                 WHERE node = ?1 AND version = ?2 AND waits_for = 1 AND idle RETURNING failed",
            )?
            .query_row(
                params![
                    node,
                    version(next.if_version),
                    !ok,
                    from,
                    next.row.status,
                    next.row.idle,
                    next.row.state,
                    next.due_at
                ],
                |row| row.get(0),
            )
            .optional()?;
        if let Some(failed) = failed {
            return Ok(ArrivalOutcome { key, waits_for: 0, failed, continued: true });
        }
    }
    conn.prepare_cached(
        "UPDATE nodes SET
            waits_for = max(waits_for - 1, 0),
            failed = failed + ?2,
            blocker = iif(?2 AND blocker IS NULL, ?3, blocker),
            due_at = iif(waits_for <= 1 AND idle, ?4, due_at)
         WHERE node = ?1 RETURNING waits_for, failed",
    )?
    .query_row(params![node, !ok, from, now], |row| {
        Ok(ArrivalOutcome { key, waits_for: row.get(0)?, failed: row.get(1)?, continued: false })
    })
}

/// Inserts an execution with its nodes, and returns its `seq` and run number; `None` if the id already exists.
fn create(conn: &Connection, new: &NewExecution) -> rusqlite::Result<Option<(i64, u64)>> {
    if find_seq(conn, new.id)?.is_some() {
        return Ok(None);
    }
    let run_number: i64 = conn
        .prepare_cached(
            "INSERT INTO run_numbers (repo, pipeline, last) VALUES (?1, ?2, 1)
             ON CONFLICT (repo, pipeline) DO UPDATE SET last = last + 1 RETURNING last",
        )?
        .query_row([&new.repo, &new.pipeline], |row| row.get(0))?;
    conn.prepare_cached(
        "INSERT INTO executions
            (id, repo, pipeline, branch, run_number, status, over, version, revision, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1, 0, ?8)",
    )?
    .execute(params![
        new.id.0,
        new.repo,
        new.pipeline,
        new.branch,
        run_number,
        new.row.status,
        new.row.over,
        new.row.state
    ])?;
    let seq = conn.last_insert_rowid();
    conn.prepare_cached("INSERT INTO execution_specs (seq, spec) VALUES (?1, ?2)")?
        .execute(params![seq, new.spec])?;
    insert_nodes(conn, seq, &new.nodes)?;
    // Run numbers count from 1.
    Ok(Some((seq, run_number.unsigned_abs())))
}

fn insert_nodes(conn: &Connection, seq: i64, nodes: &[NewNodeRow]) -> rusqlite::Result<()> {
    let mut insert_node = conn.prepare_cached(
        "INSERT INTO nodes (node, version, waits_for, failed, idle, due_at, status, state)
         VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let mut insert_spec = conn.prepare_cached("INSERT INTO node_specs (node, spec) VALUES (?1, ?2)")?;
    let mut insert_job = conn.prepare_cached("INSERT INTO jobs (id, node) VALUES (?1, ?2)")?;
    for node in nodes {
        let key = node_key(seq, node.ix);
        let row = &node.row;
        insert_node.execute(params![
            key,
            node.waits_for,
            node.failed,
            row.idle,
            node.due_at,
            row.status,
            row.state
        ])?;
        insert_spec.execute(params![key, node.spec])?;
        if let Some(id) = &node.job {
            insert_job.execute(params![id.0, key])?;
        }
    }
    Ok(())
}

/// Marks an execution as changed by the batch, and returns its `seq`; `None` if there is no such execution.
fn touch(
    conn: &Connection,
    id: ExecutionId,
    touched: &mut ChangedExecutions,
) -> rusqlite::Result<Option<i64>> {
    if let Some((_, seq)) = touched.iter().find(|(known, _)| *known == id) {
        return Ok(Some(*seq));
    }
    let seq = find_seq(conn, id)?;
    touched.extend(seq.map(|seq| (id, seq)));
    Ok(seq)
}

fn touch_node(
    conn: &Connection,
    key: NodeKey,
    touched: &mut ChangedExecutions,
) -> rusqlite::Result<Option<i64>> {
    Ok(touch(conn, key.execution, touched)?.map(|seq| node_key(seq, key.ix)))
}

/// Removes an execution and what belongs to it.
pub fn remove(conn: &Connection, id: ExecutionId) -> rusqlite::Result<TaskOutcome<()>> {
    let Some(seq) = find_seq(conn, id)? else { return Ok(TaskOutcome::Commit(())) };
    let nodes = [node_key(seq, 0), node_key(seq, u32::MAX)];
    // The ids of jobs are in no index by node, and follow from the index of the node.
    let jobs: Vec<i64> = conn
        .prepare_cached("SELECT node FROM nodes WHERE node BETWEEN ?1 AND ?2 AND status IS NOT NULL")?
        .query_map(nodes, |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut remove_job = conn.prepare_cached("DELETE FROM jobs WHERE id = ?1")?;
    for node in jobs {
        remove_job.execute([JobId::of(id, node_ix(node)).0])?;
    }
    for statement in [
        "DELETE FROM nodes WHERE node BETWEEN ?1 AND ?2",
        "DELETE FROM node_specs WHERE node BETWEEN ?1 AND ?2",
        "DELETE FROM dead_letters WHERE node BETWEEN ?1 AND ?2",
    ] {
        conn.prepare_cached(statement)?.execute(nodes)?;
    }
    for statement in [
        "DELETE FROM idempotency_keys WHERE execution = ?1",
        "DELETE FROM artifacts WHERE execution = ?1",
        "DELETE FROM queue WHERE execution = ?1",
    ] {
        conn.prepare_cached(statement)?.execute([id.0])?;
    }
    conn.prepare_cached("DELETE FROM execution_specs WHERE seq = ?1")?.execute([seq])?;
    conn.prepare_cached("DELETE FROM executions WHERE seq = ?1")?.execute([seq])?;
    Ok(TaskOutcome::Commit(()))
}

const fn key_of(letter: &DeadLetter) -> NodeKey {
    NodeKey { execution: letter.execution, ix: letter.ix }
}

/// Converts a version to an SQL integer; one that is too large matches no row.
fn version(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(-1)
}
