//! Adapters that need nothing but a directory: SQLite for records and queue, files for objects and logs.
//!
//! Several processes may use the same directory at the same time.

mod acknowledged;
mod check;
mod database;
mod documents;
mod failure;
mod files;
mod integrity;
mod key_file;
mod logs;
mod objects;
mod open;
mod queue;
mod record_reads;
mod record_writes;
mod records;
mod reserve;
mod rows;
mod writer;

pub use database::Database;
pub use documents::SqliteDocuments;
pub use integrity::set_aside;
pub use key_file::FileKeyStore;
pub use logs::FileLogs;
pub use objects::FileObjects;
pub use open::{OpenedStores, open, open_all, open_at, records_path};
pub use queue::SqliteQueue;
pub use records::SqliteRecords;
pub use reserve::DiskReserve;
