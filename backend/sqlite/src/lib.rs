//! Storage adapters that need only a directory: SQLite for records, documents and the queue; files for objects, logs
//! and keys.
//!
//! Several processes can use the same directory at the same time.

pub mod backup;
mod blocking;
mod disk_usage;
mod files;
mod open;
mod sqlite;
mod tables;

pub use disk_usage::DirectoryMeter;
pub use files::{DiskReserve, FileKeyStore, FileLogs, FileObjects};
pub use open::{OpenedStores, open, open_all, open_at, records_path};
pub use sqlite::{Database, SCHEMA_VERSION, move_database_away};
pub use tables::{QueueState, SqliteDocuments, SqliteQueue, SqliteRecords};
