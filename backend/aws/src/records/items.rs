//! Converts executions, nodes and artifacts to items and back.

use super::plain;
use crate::{
    keys,
    table::{Item, binary, get_binary, get_number, get_text, number, size, text},
};
use aws_sdk_dynamodb::types::AttributeValue;
use tidemill_core::execution::{cost::Usage, status::JobStatus};
use tidemill_core::{
    ids::{ExecutionId, JobId},
    time::Timestamp,
};
use tidemill_services::error::{Error, Result};
use tidemill_services::pack::{pack, unpack};
use tidemill_services::ports::{
    ArtifactRecord, ExecutionRecord, ExecutionSpec, ExecutionState, JobRecord, NewNode, Node, NodeBody,
    NodeKey, NodeSpec, NodeState, repository_key,
};
use uuid::Uuid;

/// Maximum packed size of a spec in the item of a node: every write to the item pays for the spec.
const MAX_INLINE_SPEC_SIZE: usize = 300;
/// Maximum size of the item of a new node with a spec: there remains some room for its state to grow within one write unit.
const MAX_NEW_NODE_SIZE: usize = 650;
/// Maximum packed size of a node's state; a larger one is stored without its steps. An item takes 400 KB.
const MAX_STATE_SIZE: usize = 350_000;

/// Returns the error for an item that cannot be read.
fn damaged(attribute: &str) -> Error {
    Error::storage("reading a record", format!("its attribute `{attribute}` is missing or invalid"))
}

/// Returns the execution of an item.
pub fn execution_id(item: &Item) -> Result<ExecutionId> {
    let bytes = get_binary(item, "x").and_then(|bytes| Uuid::from_slice(bytes).ok());
    bytes.map(ExecutionId).ok_or_else(|| damaged("x"))
}

/// Creates the attribute with an execution's id.
pub fn execution_attribute(id: ExecutionId) -> AttributeValue {
    binary(id.0.as_bytes().to_vec())
}

/// The counters and the due time of a node, without its state and spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCounters {
    /// The version of the state.
    pub version: u64,
    /// The number of awaited arrivals.
    pub waits_for: u32,
    /// The number of failed arrivals.
    pub failed: u32,
    /// The first failed dependency.
    pub blocker: Option<String>,
    /// When the node is due.
    pub due_at: Option<Timestamp>,
    /// Whether the node has not started yet.
    pub idle: bool,
}

impl NodeCounters {
    /// Parses the counters of an item.
    pub fn parse(item: &Item) -> Result<Self> {
        Ok(Self {
            version: get_number(item, "v").ok_or_else(|| damaged("v"))?,
            waits_for: get_number(item, "w").ok_or_else(|| damaged("w"))?,
            failed: get_number(item, "f").unwrap_or(0),
            blocker: get_text(item, "b").map(str::to_owned),
            due_at: get_number(item, "due").map(Timestamp),
            idle: item.contains_key("i"),
        })
    }
}

/// Whether a node has not started yet: a pending job, a closed gate, an end node.
pub fn is_idle(state: &NodeState) -> bool {
    match &state.body {
        NodeBody::Job(item) => item.job.status == JobStatus::Pending,
        NodeBody::Gate { open } => !open,
        NodeBody::End => true,
    }
}

/// Packs a state. A state that is too large for an item loses its steps.
pub fn pack_state(state: &NodeState) -> Result<Vec<u8>> {
    let packed = pack(state)?;
    let NodeBody::Job(item) = &state.body else { return Ok(packed) };
    if packed.len() <= MAX_STATE_SIZE {
        return Ok(packed);
    }
    let mut job = item.job.clone();
    job.steps.clear();
    let body = NodeBody::Job(Box::new(JobRecord { job, ..(**item).clone() }));
    pack(&NodeState { notified: state.notified, body, approvals: Vec::new() })
}

/// Creates the item of a new node, with its spec if that is small or `inline_spec` is set. Due nodes are spread over `partitions` of
/// their index.
pub fn new_node(
    execution: ExecutionId,
    (ix, node): (u32, &NewNode),
    partitions: u32,
    inline_spec: bool,
) -> Result<Item> {
    let mut item = keys::node(execution, ix).item();
    item.insert("x".into(), execution_attribute(execution));
    item.insert("v".into(), number(1));
    item.insert("w".into(), number(node.waits_for));
    if node.failed > 0 {
        item.insert("f".into(), number(node.failed));
    }
    if is_idle(&node.state) {
        item.insert("i".into(), number(1));
    }
    if node.state.status().is_some() {
        let key = NodeKey { execution, ix };
        plain::add_job(&mut item, key, &node.spec.name, node.described.as_ref(), &node.state);
    }
    if let Some(due) = node.due_at {
        item.insert("dk".into(), text(keys::due_partition(execution, ix, partitions)));
        item.insert("due".into(), number(due.0));
    }
    item.insert("st".into(), binary(pack_state(&node.state)?));
    let spec = pack(&node.spec)?;
    let fits = spec.len() <= MAX_INLINE_SPEC_SIZE && spec.len() + size(&item) <= MAX_NEW_NODE_SIZE;
    if inline_spec || fits {
        item.insert("sp".into(), binary(spec));
    }
    Ok(item)
}

/// Returns a node's spec; `None`: it is in the definition.
pub fn node_spec(item: &Item) -> Result<Option<NodeSpec>> {
    get_binary(item, "sp").map(unpack).transpose()
}

/// Creates a node from its item and its spec.
pub fn node(item: &Item, spec: NodeSpec) -> Result<Node> {
    let ix = get_text(item, "sk").and_then(keys::node_ix).ok_or_else(|| damaged("sk"))?;
    let counts = NodeCounters::parse(item)?;
    let execution = execution_id(item)?;
    let state: NodeState = unpack(get_binary(item, "st").ok_or_else(|| damaged("st"))?)?;
    let job = state.status().map(|_| JobId::of(execution, ix));
    Ok(Node {
        key: NodeKey { execution, ix },
        spec: NodeSpec { job, ..spec },
        state,
        version: counts.version,
        waits_for: counts.waits_for,
        failed: counts.failed,
        blocker: counts.blocker,
        due_at: counts.due_at,
    })
}

/// Returns a node's index and status; `None`: the node is not a job.
pub fn node_status(item: &Item) -> Option<(u32, &str)> {
    Some((keys::node_ix(get_text(item, "sk")?)?, get_text(item, "status")?))
}

/// The location of an execution's spec.
#[derive(Debug)]
pub enum SpecLocation {
    /// In the item.
    Inline(Vec<u8>),
    /// In the object with this key.
    Object(String),
}

/// Creates the item of a new execution.
pub fn new_execution(
    spec: &ExecutionSpec,
    state: &ExecutionState,
    location: SpecLocation,
    run_number: u64,
) -> Result<Item> {
    let id = spec.id;
    let mut item = keys::execution(id).item();
    item.insert("x".into(), execution_attribute(id));
    item.insert("v".into(), number(1));
    item.insert("n".into(), number(run_number));
    item.insert("st".into(), binary(pack(state)?));
    match location {
        SpecLocation::Inline(packed) => item.insert("sp".into(), binary(packed)),
        SpecLocation::Object(key) => item.insert("so".into(), text(key)),
    };
    plain::add_execution(&mut item, spec, state);
    let repo = repository_key(&spec.repo);
    let repo_pipeline = [repo.as_str(), spec.pipeline_name.as_str()];
    item.insert(keys::list::ALL.attribute.into(), text("all"));
    item.insert(keys::list::REPO.attribute.into(), text(keys::short_hash(&[&repo])));
    item.insert(keys::list::REPO_PIPELINE.attribute.into(), text(keys::short_hash(&repo_pipeline)));
    item.insert(keys::list::PIPELINE.attribute.into(), text(keys::short_hash(&[&spec.pipeline_name])));
    if let Some(branch) = &spec.branch {
        item.insert(keys::list::BRANCH.attribute.into(), text(keys::short_hash(&[branch])));
    }
    item.insert(keys::list::STATUS.attribute.into(), text(state.status.as_str()));
    item.insert(keys::list::RUN.attribute.into(), text(run_number.to_string()));
    Ok(item)
}

/// Returns the state of an execution's item, and its version.
pub fn execution_state(item: &Item) -> Result<(ExecutionState, u64)> {
    let state = unpack(get_binary(item, "st").ok_or_else(|| damaged("st"))?)?;
    Ok((state, get_number(item, "v").ok_or_else(|| damaged("v"))?))
}

/// Returns the location of the spec of an execution's item.
pub fn spec_location(item: &Item) -> Result<SpecLocation> {
    if let Some(packed) = get_binary(item, "sp") {
        return Ok(SpecLocation::Inline(packed.to_vec()));
    }
    let key = get_text(item, "so").ok_or_else(|| damaged("sp"))?;
    Ok(SpecLocation::Object(key.to_owned()))
}

/// Creates an execution from its item and its spec.
pub fn execution(item: &Item, spec: ExecutionSpec) -> Result<ExecutionRecord> {
    let (state, version) = execution_state(item)?;
    let run_number = get_number(item, "n").ok_or_else(|| damaged("n"))?;
    Ok(ExecutionRecord { spec, run_number, state, version })
}

/// Creates an artifact's item. The caller stores the list of files separately if the item is too large.
pub fn artifact(record: &ArtifactRecord) -> Result<Item> {
    let mut item = keys::artifact(record.id).item();
    item.insert("r".into(), binary(pack(record)?));
    plain::add_artifact(&mut item, record);
    if let Some(expires_at) = record.expires_at {
        item.insert("dk".into(), text(keys::DUE_ARTIFACTS_PARTITION));
        item.insert("due".into(), number(expires_at.0));
    }
    Ok(item)
}

/// Returns the artifact of an item, and the key of the object with its list of files if the item has none.
pub fn artifact_record(item: &Item) -> Result<(ArtifactRecord, Option<String>)> {
    let record = unpack(get_binary(item, "r").ok_or_else(|| damaged("r"))?)?;
    Ok((record, get_text(item, "o").map(str::to_owned)))
}

/// Returns a number that changes with every change of these items (an execution and its nodes).
pub fn revision(items: &[Item]) -> u64 {
    // FNV-1a, 64 bits: stable across versions; a collision only delays a client's view of a change.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        hash = (hash ^ 0xff).wrapping_mul(0x0100_0000_01b3);
    };
    for item in items {
        for name in ["sk", "v", "w", "f", "due"] {
            match item.get(name) {
                Some(AttributeValue::S(value) | AttributeValue::N(value)) => add(value.as_bytes()),
                _ => add(b"-"),
            }
        }
    }
    hash
}

/// Attributes of an item's usage, in the order of [`parts`].
const USAGE_ATTRIBUTES: [&str; 9] = ["u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8"];

/// Returns the parts of a usage. Never reorder them: they are stored by position.
const fn parts(usage: &Usage) -> [u64; 9] {
    [
        usage.api_requests,
        usage.function_mib_ms,
        usage.table_requests,
        usage.table_writes,
        usage.table_write_halves,
        usage.table_read_halves,
        usage.queue_requests,
        usage.object_puts,
        usage.object_gets,
    ]
}

/// Adds usage to an update expression and its values.
pub fn add_usage(update: &mut String, values: &mut Item, usage: &Usage) {
    let mut verb = " ADD ";
    for (name, part) in USAGE_ATTRIBUTES.iter().zip(parts(usage)) {
        if part > 0 {
            update.push_str(verb);
            verb = ", ";
            update.push_str(name);
            update.push_str(" :");
            update.push_str(name);
            values.insert(format!(":{name}"), number(part));
        }
    }
}

/// Adds usage to a new item.
pub fn put_usage(item: &mut Item, usage: &Usage) {
    for (name, part) in USAGE_ATTRIBUTES.iter().zip(parts(usage)) {
        if part > 0 {
            item.insert((*name).to_owned(), number(part));
        }
    }
}

/// Returns the usage stored in an item.
pub fn usage(item: &Item) -> Usage {
    let part = |ix: usize| get_number(item, USAGE_ATTRIBUTES[ix]).unwrap_or(0);
    Usage {
        api_requests: part(0),
        function_mib_ms: part(1),
        table_requests: part(2),
        table_writes: part(3),
        table_write_halves: part(4),
        table_read_halves: part(5),
        queue_requests: part(6),
        object_puts: part(7),
        object_gets: part(8),
    }
}

/// Whether an item is larger than `max_size` bytes.
pub fn is_large(item: &Item, max_size: usize) -> bool {
    size(item) > max_size
}
