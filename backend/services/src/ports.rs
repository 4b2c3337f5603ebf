//! What the services need of the world. Each trait's comments are its contract; the conformance suite checks it.

mod compute;
mod documents;
mod keys;
mod messenger;
mod records;
mod storage;

pub use compute::{Compute, Work};
pub use documents::{Document, DocumentKey, Documents, MOST_DOCUMENT_BYTES, NewDocument};
pub use keys::{Key, KeyStore, Keys};
pub use messenger::Messenger;
pub use records::{
    ApprovalClosing, ApprovalGate, Arrival, ArtifactRecord, Commit, Committed, Continuation, DeadLetter,
    Deadline, Demand, ExecutionRecord, ExecutionSpec, ExecutionState, ExecutionTask, GroupPosition, JobItem,
    KeyRecord, Late, ListFilter, NewNode, Node, NodeBody, NodeKey, NodeSpec, NodeState, Records, Whole,
    Write, repository_key,
};
pub use storage::{
    ByteStream, Clock, Ids, JobQueue, Logs, Message, ObjectInfo, Objects, PutAddress, PutPlace,
};
pub use tidemill_core::records::Outgoing;
