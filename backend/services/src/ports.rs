//! Ports: interfaces to storage, queue, network and clock. The comments of each trait are its contract; the conformance suite checks it.

mod compute;
mod documents;
mod keys;
mod messenger;
mod provider_client;
mod records;
mod storage;
mod worker_group;

pub use compute::{Compute, Work};
pub use documents::{Document, DocumentKey, Documents, MAX_DOCUMENT_SIZE, NewDocument};
pub use keys::{Key, KeyStore, Keys};
pub use messenger::{MailError, MailSender, Messenger, RequestError};
pub use provider_client::{ProviderClient, ProviderReply, ProviderRequest, is_provider_address};
pub use records::{
    ApprovalClosing, ApprovalGate, ArrivalOutcome, ArtifactRecord, Commit, CommitResult, Continuation,
    DeadLetter, Deadline, DueNode, ExecutionRecord, ExecutionSnapshot, ExecutionSpec, ExecutionState,
    ExecutionTask, GroupPosition, JobDescription, JobRecord, KeyRecord, LabelRequirement, ListFilter,
    NewNode, Node, NodeBody, NodeKey, NodeSpec, NodeState, ParentLink, Records, Write, list_cursor,
    repository_key,
};
pub use storage::{
    ByteStream, Clock, Ids, JobQueue, Logs, Message, MessageContext, ObjectInfo, Objects, UploadTarget,
    UploadUrl, check_object_key, message_group,
};
pub use tidemill_core::records::QueuedJob;
pub use worker_group::{WorkerGroup, WorkerPool};
