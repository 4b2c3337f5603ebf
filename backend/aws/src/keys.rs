//! Keys of the table; `docs/data-model.md` describes them.

use super::table::Key;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tidemill_core::{
    ids::{ArtifactId, ExecutionId, JobId},
    time::Timestamp,
};
use tidemill_services::ports::{DeadLetter, DocumentKey};

/// Sort key of an execution's own item in the partition of its nodes.
pub const EXECUTION: &str = "x";
/// Sorts after every node.
pub const AFTER_LAST_NODE: &str = "n#~";
/// Sort key of the only item of a partition.
pub const ONLY_ITEM: &str = "-";

/// The sparse index of due items.
pub const BY_DUE: &str = "by_due";
/// The partition of that index for artifacts with an expiry time.
pub const DUE_ARTIFACTS_PARTITION: &str = "a";

/// Returns the partition of an execution and its nodes.
pub fn home(execution: ExecutionId) -> String {
    home_partition(&execution.partition())
}

/// Returns the same partition from the part that the execution's id shares with the ids of its jobs.
pub fn home_partition(home: &str) -> String {
    format!("e#{home}")
}

/// Returns the shared part of the ids, from the partition.
pub fn home_of_partition(pk: &str) -> &str {
    pk.strip_prefix("e#").unwrap_or(pk)
}

/// Returns the key of an execution.
pub fn execution(id: ExecutionId) -> Key {
    Key::new(home(id), EXECUTION)
}

/// Returns the sort key of a node.
pub fn node_sort_key(ix: u32) -> String {
    format!("n#{ix:07}")
}

/// Returns a node's index from its sort key.
pub fn node_ix(sort_key: &str) -> Option<u32> {
    sort_key.strip_prefix("n#")?.parse().ok()
}

/// Returns the key of a node.
pub fn node(execution: ExecutionId, ix: u32) -> Key {
    Key::new(home(execution), node_sort_key(ix))
}

/// Returns the key of a job's node.
pub fn job(id: JobId) -> Key {
    Key::new(home_partition(&id.partition()), node_sort_key(id.ix()))
}

/// Returns the partition of the due index for a node, if nodes are spread over `partitions` of them. The executions are spread,
/// so that many small ones are, and the nodes of an execution, so that those of a large one are.
pub fn due_partition(execution: ExecutionId, ix: u32, partitions: u32) -> String {
    let (high, low) = execution.0.as_u64_pair();
    // The random bits of a UUIDv7 are the last ones; those of a UUID in a test may be any.
    let hash = (high ^ low.rotate_left(17)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    due_partition_at(u32::try_from(hash).unwrap_or(u32::MAX).wrapping_add(ix) % partitions.max(1))
}

/// Returns a partition of the due index by its number.
pub fn due_partition_at(number: u32) -> String {
    format!("d{number}")
}

/// Returns the key of the item that says over how many partitions of the due index nodes are spread.
pub fn due_spread() -> Key {
    Key::new("due", ONLY_ITEM)
}

/// Returns the partition of an execution's definition.
pub fn definition(home: &str) -> String {
    format!("d#{home}")
}

/// Returns the key of a chunk of the definition.
pub fn chunk(home: &str, number: u32) -> Key {
    Key::new(definition(home), format!("{number:05}"))
}

/// Returns the partition of an execution's artifacts.
pub fn artifacts(home: &str) -> String {
    format!("a#{home}")
}

/// Returns the prefix of the sort keys of a job's artifacts.
pub fn artifact_prefix(ix: u32) -> String {
    format!("{ix:07}#")
}

/// Returns the key of an artifact.
pub fn artifact(id: ArtifactId) -> Key {
    Key::new(artifacts(&id.partition()), format!("{}{id}", artifact_prefix(id.ix())))
}

/// Returns the partition of an attempt's log.
pub fn log(job: JobId, attempt: u32) -> String {
    format!("l#{job}#{attempt}")
}

/// Returns the sort key of the log chunk that begins at `offset`.
pub fn log_sort_key(offset: u64) -> String {
    format!("{offset:020}")
}

/// Returns the partition of the documents of a kind.
pub fn documents(kind: &str) -> String {
    format!("o#{kind}")
}

/// Returns the kind of documents from the partition.
pub fn document_kind(pk: &str) -> Option<&str> {
    pk.strip_prefix("o#")
}

/// Returns the key of a document.
pub fn document(key: &DocumentKey) -> Key {
    Key::new(documents(&key.kind), &key.name)
}

/// Returns the partition of the due index for documents of a kind.
pub fn due_documents_partition(kind: &str) -> String {
    format!("o#{kind}")
}

/// Returns the key of the record of an idempotency key.
pub fn idempotency_key(key: &str) -> Key {
    Key::new(format!("k#{key}"), ONLY_ITEM)
}

/// Returns the key of the counter of a pipeline's run numbers.
pub fn run_number(repo: &str, pipeline: &str) -> Key {
    Key::new(format!("r#{}", short_hash(&[repo, pipeline])), ONLY_ITEM)
}

/// The partition of the dead letters.
pub const DEAD_LETTERS: &str = "dead";

/// Returns the key of a dead letter.
pub fn dead_letter(letter: &DeadLetter) -> Key {
    Key::new(DEAD_LETTERS, dead_letter_sort_key(letter))
}

/// Returns the sort key of a dead letter, ordered by time.
pub fn dead_letter_sort_key(letter: &DeadLetter) -> String {
    format!("{:020}#{}#{:07}", letter.at.0.max(0), letter.execution, letter.ix)
}

/// Parses the sort key of a dead letter.
pub fn parse_dead_letter(sort_key: &str) -> Option<DeadLetter> {
    let mut parts = sort_key.split('#');
    let letter = DeadLetter {
        at: Timestamp(parts.next()?.parse().ok()?),
        execution: parts.next()?.parse().ok()?,
        ix: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(letter)
}

/// Returns 32 hex digits of a hash of `parts`, for values of indexes that are compared and never shown.
pub fn short_hash(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    HEXLOWER.encode(&hash.finalize()[..16])
}

/// The indexes by which executions are listed.
pub mod list {
    /// An index of executions.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Index {
        /// The index's name.
        pub name: &'static str,
        /// Its partition key attribute.
        pub attribute: &'static str,
        /// The key condition of a query.
        pub condition: &'static str,
        /// The key condition for ids less than `:before`.
        pub condition_before: &'static str,
        /// The key condition for ids greater than `:after`.
        pub condition_after: &'static str,
    }

    macro_rules! index {
        ($(#[$doc:meta])* $constant:ident, $name:literal, $attribute:literal) => {
            $(#[$doc])*
            pub const $constant: Index = Index {
                name: $name,
                attribute: $attribute,
                condition: concat!($attribute, " = :value"),
                condition_before: concat!($attribute, " = :value AND id < :before"),
                condition_after: concat!($attribute, " = :value AND id > :after"),
            };
        };
    }

    index!(
        /// All executions.
        ALL, "by_all", "la"
    );
    index!(
        /// Executions of a repository.
        REPO, "by_repo", "lr"
    );
    index!(
        /// Executions of a pipeline of a repository.
        REPO_PIPELINE, "by_repo_pipeline", "lrp"
    );
    index!(
        /// Executions of pipelines with this name.
        PIPELINE, "by_pipeline", "lp"
    );
    index!(
        /// Executions of a branch.
        BRANCH, "by_branch", "lb"
    );
    index!(
        /// Executions with a status.
        STATUS, "by_status", "ls"
    );
    index!(
        /// Executions with a run number.
        RUN, "by_run", "ln"
    );
}
