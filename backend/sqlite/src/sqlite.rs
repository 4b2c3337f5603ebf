//! The SQLite file: connections, the writer thread, schema migrations and integrity checks.

mod database;
mod failure;
mod full_check;
mod integrity;
mod snapshot;
mod transaction_counter;
mod writer;

pub use database::{Database, SCHEMA_VERSION};
pub use integrity::{UNCHECKED_SUFFIX, move_database_away};
pub use snapshot::{check_copy, snapshot};
pub use writer::TaskOutcome;
