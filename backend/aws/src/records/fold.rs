//! Folds a batch of writes into one conditional change per item. It is a pure function of the writes and of the counters
//! that were read for them.

use super::{
    items::{self, NodeCounters},
    plain,
};
use crate::{
    keys,
    table::{Change, Item, Key, binary, number, text},
};
use std::collections::{BTreeMap, HashMap, HashSet, btree_map::Entry};
use tidemill_core::execution::cost::Usage;
use tidemill_core::{ids::ExecutionId, time::Timestamp};
use tidemill_services::error::{Error, Result};
use tidemill_services::pack::pack;
use tidemill_services::ports::{ArrivalOutcome, ExecutionState, NodeKey, NodeState, Write};

/// Counters of the nodes that must be read before a batch can be folded.
pub type ReadCounters = HashMap<NodeKey, NodeCounters>;

/// The result of folding a batch.
#[derive(Debug)]
pub enum FoldResult {
    /// Changes to write atomically, and the outcomes of their arrivals.
    Changes(Vec<PlannedWrite>, Vec<ArrivalOutcome>),
    /// A condition does not hold.
    Conflict,
}

/// A change, and the meaning of a failed condition.
#[derive(Debug, Clone)]
pub struct PlannedWrite {
    /// The change.
    pub change: Change,
    /// Whether a failed condition may result from stale counters, so that reading again helps; otherwise it is a conflict.
    pub retryable: bool,
}

/// Returns the nodes whose counters must be read: those with arrivals or several writes.
pub fn needs_read(writes: &[Write]) -> Vec<NodeKey> {
    let (mut seen, mut needed) = (HashSet::new(), Vec::new());
    add_needed(writes, &mut seen, &mut needed);
    needed
}

fn add_needed(writes: &[Write], seen: &mut HashSet<NodeKey>, needed: &mut Vec<NodeKey>) {
    for write in writes {
        let (key, always) = match write {
            Write::Arrive { key, continuation, .. } => {
                if let Some(next) = continuation {
                    add_needed(&next.arrivals, seen, needed);
                }
                (*key, true)
            }
            Write::PutNode { key, .. } | Write::SetDue { key, .. } => (*key, false),
            _ => continue,
        };
        if (!seen.insert(key) || always) && !needed.contains(&key) {
            needed.push(key);
        }
    }
}

/// A node while writes are applied.
struct NodeDraft<'a> {
    /// The counters that were read; `None`: only the version is known, from the writer.
    read: Option<NodeCounters>,
    if_version: u64,
    now: NodeCounters,
    state: Option<&'a NodeState>,
}

/// What the changes of one batch have in common.
#[derive(Debug, Clone, Copy)]
pub struct BatchMarks<'a> {
    /// Marks the items of the batch.
    pub nonce: &'a [u8],
    /// The number of partitions of the due index over which nodes are spread.
    pub partitions: u32,
}

/// Folds `writes`, except those that create executions or put artifacts. `usage` is recorded with the first change.
pub fn fold(
    writes: &[Write],
    read: &ReadCounters,
    marks: BatchMarks<'_>,
    mut usage: Usage,
) -> Result<FoldResult> {
    let mut nodes: BTreeMap<NodeKey, NodeDraft<'_>> = BTreeMap::new();
    let mut arrivals = Vec::new();
    let mut changes = Vec::new();
    for write in writes {
        match write {
            Write::PutNode { key, if_version, state, due_at } => {
                let Some(node) = draft(&mut nodes, *key, read, Some(*if_version)) else {
                    return Ok(FoldResult::Conflict);
                };
                if node.now.version != *if_version {
                    return Ok(FoldResult::Conflict);
                }
                node.now.version += 1;
                node.now.due_at = *due_at;
                node.now.idle = items::is_idle(state);
                node.state = Some(state);
            }
            Write::SetDue { key, if_version, due_at } => {
                let Some(node) = draft(&mut nodes, *key, read, Some(*if_version)) else {
                    return Ok(FoldResult::Conflict);
                };
                if node.now.version != *if_version {
                    return Ok(FoldResult::Conflict);
                }
                node.now.due_at = *due_at;
            }
            Write::Arrive { .. } => apply_arrival(&mut nodes, write, read, &mut arrivals)?,
            Write::PutExecution { id, if_version, state } => {
                let usage = std::mem::take(&mut usage);
                changes.push(put_execution(*id, *if_version, state, marks.nonce, usage)?);
            }
            Write::PutKey { key, if_execution, record } => {
                let mut item = keys::idempotency_key(key).item();
                item.insert("x".into(), items::execution_attribute(record.execution));
                item.insert("r".into(), binary(pack(record)?));
                let (condition, values) = match if_execution {
                    None => ("attribute_not_exists(pk)", Item::new()),
                    Some(known) => {
                        ("x = :x", Item::from([(":x".to_owned(), items::execution_attribute(*known))]))
                    }
                };
                changes.push(Change::Put { item, condition: Some(condition), values });
            }
            Write::DeleteArtifact(id) => changes.push(Change::Delete(keys::artifact(*id))),
            Write::PutDeadLetter(letter) => {
                let item = keys::dead_letter(letter).item();
                changes.push(Change::Put { item, condition: None, values: Item::new() });
            }
            Write::DeleteDeadLetter(letter) => changes.push(Change::Delete(keys::dead_letter(letter))),
            // The caller stages these before, because they are large.
            Write::Create { .. } | Write::AddNodes { .. } | Write::PutArtifact(_) => {}
        }
    }
    let mut planned: Vec<PlannedWrite> =
        changes.into_iter().map(|change| PlannedWrite { change, retryable: false }).collect();
    for (key, node) in nodes {
        planned.push(change_node(key, &node, marks, std::mem::take(&mut usage))?);
    }
    Ok(FoldResult::Changes(planned, arrivals))
}

/// Counts an arrival at its node, and applies its precomputed continuation.
fn apply_arrival<'a>(
    nodes: &mut BTreeMap<NodeKey, NodeDraft<'a>>,
    write: &'a Write,
    read: &ReadCounters,
    arrivals: &mut Vec<ArrivalOutcome>,
) -> Result<()> {
    let Write::Arrive { key, ok, from, now, continuation } = write else { return Ok(()) };
    let node = draft(nodes, *key, read, None).ok_or_else(|| missing_node(*key))?;
    let was_idle = node.now.idle;
    count_arrival(&mut node.now, *ok, from, *now);
    let last = node.now.waits_for == 0 && was_idle;
    let continuation = continuation.as_ref().filter(|next| last && next.if_version == node.now.version);
    if let Some(next) = continuation {
        node.now.version += 1;
        node.now.due_at = next.due_at;
        node.now.idle = items::is_idle(&next.state);
        node.state = Some(&next.state);
    }
    let (waits_for, failed) = (node.now.waits_for, node.now.failed);
    arrivals.push(ArrivalOutcome { key: *key, waits_for, failed, continued: continuation.is_some() });
    for arrival in continuation.iter().flat_map(|next| &next.arrivals) {
        apply_arrival(nodes, arrival, read, arrivals)?;
    }
    Ok(())
}

fn missing_node(key: NodeKey) -> Error {
    Error::storage("writing to the table", format!("execution {} has no node {}", key.execution, key.ix))
}

/// Returns the node as the previous writes left it; `None`: it was not read.
fn draft<'a, 'm>(
    nodes: &'m mut BTreeMap<NodeKey, NodeDraft<'a>>,
    key: NodeKey,
    read: &ReadCounters,
    if_version: Option<u64>,
) -> Option<&'m mut NodeDraft<'a>> {
    let entry = match nodes.entry(key) {
        Entry::Occupied(known) => return Some(known.into_mut()),
        Entry::Vacant(entry) => entry,
    };
    let known = read.get(&key).cloned();
    let (now, if_version) = match (&known, if_version) {
        (Some(counts), _) => (counts.clone(), counts.version),
        // Only version, state and due time are written: the counters need not be known.
        (None, Some(version)) => (unread_counters(version), version),
        (None, None) => return None,
    };
    Some(entry.insert(NodeDraft { read: known, if_version, now, state: None }))
}

const fn unread_counters(version: u64) -> NodeCounters {
    NodeCounters { version, waits_for: 0, failed: 0, blocker: None, due_at: None, idle: false }
}

fn count_arrival(node: &mut NodeCounters, ok: bool, from: &str, now: Timestamp) {
    node.waits_for = node.waits_for.saturating_sub(1);
    if !ok {
        node.failed += 1;
        node.blocker.get_or_insert_with(|| from.to_owned());
    }
    if node.waits_for == 0 && node.idle {
        node.due_at = Some(now);
    }
}

fn change_node(
    key: NodeKey,
    node: &NodeDraft<'_>,
    marks: BatchMarks<'_>,
    usage: Usage,
) -> Result<PlannedWrite> {
    let mut update = "SET q = :q, v = :v".to_owned();
    let mut remove = Vec::new();
    let mut values = Item::from([
        (":q".to_owned(), binary(marks.nonce.to_vec())),
        (":v".to_owned(), number(node.now.version)),
        (":v0".to_owned(), number(node.if_version)),
    ]);
    let mut set = |update: &mut String, name: &str, value| {
        update.push_str(", ");
        update.push_str(name);
        update.push_str(" = :");
        update.push_str(name);
        values.insert(format!(":{name}"), value);
    };
    match node.now.due_at {
        Some(due) => {
            set(&mut update, "due", number(due.0));
            set(&mut update, "dk", text(keys::due_partition(key.execution, key.ix, marks.partitions)));
        }
        None => remove.extend(["due", "dk"]),
    }
    if let Some(state) = node.state {
        set(&mut update, "st", binary(items::pack_state(state)?));
        if node.now.idle {
            set(&mut update, "i", number(1));
        } else {
            remove.push("i");
        }
    }
    let mut condition = "v = :v0";
    if let Some(read) = &node.read {
        set(&mut update, "w", number(node.now.waits_for));
        set(&mut update, "f", number(node.now.failed));
        if let Some(blocker) = &node.now.blocker {
            set(&mut update, "b", text(blocker));
        }
        values.insert(":w0".to_owned(), number(read.waits_for));
        values.insert(":f0".to_owned(), number(read.failed));
        // A concurrent arrival changes `w`; after the last one, only `f` can change.
        condition = if read.failed == 0 {
            "v = :v0 AND w = :w0 AND (attribute_not_exists(f) OR f = :f0)"
        } else {
            "v = :v0 AND w = :w0 AND f = :f0"
        };
    }
    if let Some(state) = node.state {
        remove.extend(plain::update(&mut update, &mut values, plain::job_state(key, state)));
    }
    if !remove.is_empty() {
        update.push_str(" REMOVE ");
        update.push_str(&remove.join(", "));
    }
    items::add_usage(&mut update, &mut values, &usage);
    let change = Change::Update { key: keys::node(key.execution, key.ix), update, condition, values };
    Ok(PlannedWrite { change, retryable: node.read.is_some() })
}

fn put_execution(
    id: ExecutionId,
    if_version: u64,
    state: &ExecutionState,
    nonce: &[u8],
    usage: Usage,
) -> Result<Change> {
    let mut update = "SET q = :q, v = :v, st = :st, ls = :ls".to_owned();
    let mut values = Item::from([
        (":q".to_owned(), binary(nonce.to_vec())),
        (":v".to_owned(), number(if_version + 1)),
        (":v0".to_owned(), number(if_version)),
        (":st".to_owned(), binary(pack(state)?)),
        (":ls".to_owned(), text(state.status.as_str())),
    ]);
    let removed = plain::update(&mut update, &mut values, plain::execution_state(state));
    if !removed.is_empty() {
        update.push_str(" REMOVE ");
        update.push_str(&removed.join(", "));
    }
    items::add_usage(&mut update, &mut values, &usage);
    Ok(Change::Update { key: keys::execution(id), update, condition: "v = :v0", values })
}

/// Returns the change that gives a run number back, if no later one was taken.
pub fn give_back_run_number(key: &Key, taken: u64) -> Change {
    let before = taken.saturating_sub(1);
    Change::Update {
        key: key.clone(),
        update: "SET c = :before".to_owned(),
        condition: "c = :taken",
        values: Item::from([(":taken".to_owned(), number(taken)), (":before".to_owned(), number(before))]),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::{BatchMarks, Change, FoldResult, NodeCounters, ReadCounters, fold, needs_read};
    use tidemill_core::execution::cost::Usage;
    use tidemill_core::{ids::ExecutionId, time::Timestamp};
    use tidemill_services::ports::{NodeBody, NodeKey, NodeState, Write};
    use uuid::Uuid;

    const MARKS: BatchMarks<'_> = BatchMarks { nonce: &[1], partitions: 4 };

    fn key(ix: u32) -> NodeKey {
        NodeKey { execution: ExecutionId(Uuid::from_u128(7)), ix }
    }

    fn put(ix: u32, if_version: u64) -> Write {
        let state = NodeState { notified: 1, body: NodeBody::Gate { open: true }, approvals: Vec::new() };
        Write::PutNode { key: key(ix), if_version, state, due_at: None }
    }

    fn arrive(ix: u32, ok: bool) -> Write {
        Write::Arrive { key: key(ix), ok, from: "x".into(), now: Timestamp(5), continuation: None }
    }

    fn counts(version: u64, waits_for: u32) -> NodeCounters {
        NodeCounters { version, waits_for, failed: 0, blocker: None, due_at: None, idle: true }
    }

    fn changes(writes: &[Write], read: &ReadCounters) -> Vec<Change> {
        match fold(writes, read, MARKS, Usage::default()).unwrap() {
            FoldResult::Changes(planned, _) => planned.into_iter().map(|write| write.change).collect(),
            FoldResult::Conflict => panic!("a conflict"),
        }
    }

    #[test]
    fn only_counted_or_repeated_nodes_are_read() {
        assert_eq!(needs_read(&[put(1, 1)]), []);
        assert_eq!(needs_read(&[put(1, 1), arrive(2, true), arrive(2, true)]), [key(2)]);
        assert_eq!(needs_read(&[put(1, 1), arrive(1, true)]), [key(1)]);
        assert_eq!(needs_read(&[put(1, 1), put(1, 2)]), [key(1)]);
    }

    #[test]
    fn writes_to_same_node_are_merged() {
        let read = ReadCounters::from([(key(1), counts(3, 2))]);
        let all = [put(1, 3), arrive(1, true), arrive(1, false), put(1, 4)];
        let changes = changes(&all, &read);
        let [Change::Update { condition, values, update, .. }] = changes.as_slice() else {
            panic!("{changes:?}")
        };
        assert!(condition.contains("w = :w0") && update.contains("v = :v"), "{condition} {update}");
        assert_eq!((values[":v0"].as_n().unwrap(), values[":v"].as_n().unwrap()), (&"3".into(), &"5".into()));
        assert_eq!((values[":w"].as_n().unwrap(), values[":f"].as_n().unwrap()), (&"0".into(), &"1".into()));
    }

    #[test]
    fn stale_version_conflicts_and_arrival_at_missing_node_fails() {
        let read = ReadCounters::from([(key(1), counts(3, 2))]);
        let folded = fold(&[put(1, 2), arrive(1, true)], &read, MARKS, Usage::default());
        assert!(matches!(folded, Ok(FoldResult::Conflict)));
        assert!(fold(&[arrive(9, true)], &read, MARKS, Usage::default()).is_err());
    }

    #[test]
    fn last_arrival_makes_only_idle_node_due() {
        for (idle, waits_for, due) in [(true, 1, true), (true, 2, false), (false, 1, false)] {
            let read = ReadCounters::from([(key(1), NodeCounters { idle, ..counts(1, waits_for) })]);
            let changes = changes(&[arrive(1, true)], &read);
            let [Change::Update { update, .. }] = changes.as_slice() else { panic!("{changes:?}") };
            assert_eq!(update.contains("due = :due"), due, "{idle} {waits_for}: {update}");
        }
    }
}
