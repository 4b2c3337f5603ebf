//! Adapters that need nothing but a directory: SQLite for records and queue, files for objects and logs.
//!
//! Several processes may use the same directory at the same time.

mod acknowledged;
mod compute;
mod database;
mod documents;
mod failure;
mod files;
mod integrity;
mod key_file;
mod logs;
mod objects;
mod queue;
mod record_reads;
mod record_writes;
mod records;
mod reserve;
mod rows;
mod server;
mod serving;
mod tls;
mod writer;

pub use compute::ComputeThreads;
pub use database::Database;
pub use documents::SqliteDocuments;
pub use key_file::KeyFile;
pub use logs::FileLogs;
pub use objects::FileObjects;
pub use queue::SqliteQueue;
pub use records::SqliteRecords;
pub use server::{Embedded, EmbeddedConfig, Listeners, open, open_at};
pub use serving::{ConnectionLimits, connections_within, raise_open_files};
pub use tls::Tls;
