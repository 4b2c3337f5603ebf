//! The ports that are stored in tables: records, documents and the queue.

mod documents;
mod inspection;
mod queue;
mod record_reads;
mod record_writes;
mod records;
mod rows;

pub use documents::SqliteDocuments;
pub use inspection::QueueState;
pub use queue::SqliteQueue;
pub use records::SqliteRecords;
