//! Keys and attributes of the table; `docs/data-model.md` says what each is for.

use super::table::Key;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tidemill_core::{
    ids::{ArtifactId, ExecutionId, JobId},
    time::Timestamp,
};
use tidemill_services::ports::{DeadLetter, DocumentKey};

/// Place of the execution's own item among its nodes.
pub const EXECUTION: &str = "x";
/// After every place of a node.
pub const AFTER_LAST_NODE: &str = "n#~";
/// Place of an item that is alone in its partition.
pub const ALONE: &str = "-";

/// Sparse index of what is due.
pub const BY_DUE: &str = "by_due";
/// Parts of that index that nodes are spread over, so that no one partition of it takes all writes.
pub const DUE_PARTITIONS: u32 = 4;
/// The part of it that artifacts to expire are in.
pub const DUE_ARTIFACTS_PARTITION: &str = "a";

/// The partition of an execution and its nodes.
pub fn home(execution: ExecutionId) -> String {
    home_of(&execution.home())
}

/// The same, from what the execution's id shares with those of its jobs.
pub fn home_of(home: &str) -> String {
    format!("e#{home}")
}

/// What is shared, from the partition.
pub fn shared(pk: &str) -> &str {
    pk.strip_prefix("e#").unwrap_or(pk)
}

/// An execution's own item.
pub fn execution(id: ExecutionId) -> Key {
    Key::new(home(id), EXECUTION)
}

/// Place of a node.
pub fn node_place(ix: u32) -> String {
    format!("n#{ix:07}")
}

/// The node's index, from its place.
pub fn node_ix(place: &str) -> Option<u32> {
    place.strip_prefix("n#")?.parse().ok()
}

/// A node.
pub fn node(execution: ExecutionId, ix: u32) -> Key {
    Key::new(home(execution), node_place(ix))
}

/// The node of a job.
pub fn job(id: JobId) -> Key {
    Key::new(home_of(&id.home()), node_place(id.ix()))
}

/// The part of the index of what is due that a node is in.
pub fn due_part(ix: u32) -> String {
    format!("d{}", ix % DUE_PARTITIONS)
}

/// The partition of an execution's definition.
pub fn definition(home: &str) -> String {
    format!("d#{home}")
}

/// A part of it.
pub fn chunk(home: &str, number: u32) -> Key {
    Key::new(definition(home), format!("{number:05}"))
}

/// The partition of an execution's artifacts.
pub fn artifacts(home: &str) -> String {
    format!("a#{home}")
}

/// The beginning of the places of a job's artifacts.
pub fn artifacts_of(ix: u32) -> String {
    format!("{ix:07}#")
}

/// An artifact.
pub fn artifact(id: ArtifactId) -> Key {
    Key::new(artifacts(&id.home()), format!("{}{id}", artifacts_of(id.ix())))
}

/// The partition of an attempt's log.
pub fn log(job: JobId, attempt: u32) -> String {
    format!("l#{job}#{attempt}")
}

/// The place of log bytes that begin at `offset`.
pub fn log_place(offset: u64) -> String {
    format!("{offset:020}")
}

/// The partition of the documents of a kind.
pub fn documents(kind: &str) -> String {
    format!("o#{kind}")
}

/// The kind, from the partition.
pub fn document_kind(pk: &str) -> Option<&str> {
    pk.strip_prefix("o#")
}

/// A document.
pub fn document(key: &DocumentKey) -> Key {
    Key::new(documents(&key.kind), &key.name)
}

/// The part of the index of what is due that documents of a kind are in.
pub fn due_documents(kind: &str) -> String {
    format!("o#{kind}")
}

/// What an idempotency key stands for.
pub fn idempotency_key(key: &str) -> Key {
    Key::new(format!("k#{key}"), ALONE)
}

/// The last run number of a pipeline.
pub fn run_number(repo: &str, pipeline: &str) -> Key {
    Key::new(format!("r#{}", short(&[repo, pipeline])), ALONE)
}

/// The partition of the dead letters.
pub const DEAD_LETTERS: &str = "dead";

/// A dead letter: in the order of time.
pub fn dead_letter(letter: &DeadLetter) -> Key {
    Key::new(DEAD_LETTERS, dead_letter_place(letter))
}

/// Its place.
pub fn dead_letter_place(letter: &DeadLetter) -> String {
    format!("{:020}#{}#{:07}", letter.at.0.max(0), letter.execution, letter.ix)
}

/// The dead letter at a place.
pub fn dead_letter_at(place: &str) -> Option<DeadLetter> {
    let mut parts = place.split('#');
    let letter = DeadLetter {
        at: Timestamp(parts.next()?.parse().ok()?),
        execution: parts.next()?.parse().ok()?,
        ix: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(letter)
}

/// 32 hex digits that stand for `parts`: values of indexes, which are compared and never shown.
pub fn short(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    HEXLOWER.encode(&hash.finalize()[..16])
}

/// The indexes that executions are listed by: name, attribute.
pub mod list {
    /// One execution list index.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Index {
        /// Its name.
        pub name: &'static str,
        /// Its hash key.
        pub attribute: &'static str,
        /// The condition of a query of it.
        pub condition: &'static str,
        /// The same before `:before`.
        pub condition_before: &'static str,
        /// The same after `:after`.
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
        /// All.
        ALL, "by_all", "la"
    );
    index!(
        /// Of a repository.
        REPO, "by_repo", "lr"
    );
    index!(
        /// Of a pipeline of a repository.
        REPO_PIPELINE, "by_repo_pipeline", "lrp"
    );
    index!(
        /// Of pipelines of this name.
        PIPELINE, "by_pipeline", "lp"
    );
    index!(
        /// Of a branch.
        BRANCH, "by_branch", "lb"
    );
    index!(
        /// With a status.
        STATUS, "by_status", "ls"
    );
    index!(
        /// With a run number.
        RUN, "by_run", "ln"
    );
}
