//! Storage adapters that need only a directory: SQLite for records, documents and the queue; files for objects, logs
//! and keys.
//!
//! Several processes can use the same directory at the same time.

pub mod backup;
mod blocking;
mod files;
mod open;
mod sqlite;
mod tables;

pub use files::{DiskReserve, FileKeyStore, FileLogs, FileObjects};
pub use open::{OpenedStores, open, open_all, open_at, records_path};
<<<<<<< HEAD
pub use sqlite::{Database, move_database_away};
pub use tables::{QueueState, SqliteDocuments, SqliteQueue, SqliteRecords};
||||||| 69cb2199
pub use sqlite::{Database, move_database_away};
pub use tables::{SqliteDocuments, SqliteQueue, SqliteRecords};
=======
pub use sqlite::{Database, SCHEMA_VERSION, move_database_away};
pub use tables::{SqliteDocuments, SqliteQueue, SqliteRecords};
>>>>>>> d87fc28184b99a8295cd0f24d8119f5ece60f574
