//! Opens the stores of a data directory.

use crate::{
    disk_usage::DirectoryMeter,
    files::{DiskGuarded, DiskReserve, FileKeyStore, FileLogs, FileObjects, directories::create_directory},
    sqlite::Database,
    tables::{SqliteDocuments, SqliteQueue, SqliteRecords},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tidemill_services::{RandomIds, Result, Stores, SystemClock, ports::Clock};

/// The stores, with the parts that the server uses directly.
#[derive(Debug)]
pub struct OpenedStores {
    /// The stores for the services.
    pub stores: Stores,
    /// The database of records, documents and the queue.
    pub database: Arc<Database>,
    /// The state of the disk, and the space reserved for records.
    pub reserve: Arc<DiskReserve>,
    /// Measures what the stores use of the disk.
    pub meter: Arc<DirectoryMeter>,
}

/// Returns the path of the database in a data directory.
#[must_use]
pub fn records_path(data_dir: &Path) -> PathBuf {
    data_dir.join("tidemill.db")
}

/// Opens the stores in a directory, which is created if it does not exist.
pub fn open(data_dir: &Path) -> Result<Stores> {
    open_at(data_dir, Arc::new(SystemClock))
}

/// Opens the stores with a given clock.
pub fn open_at(data_dir: &Path, clock: Arc<dyn Clock>) -> Result<Stores> {
    Ok(open_all(data_dir, clock, None)?.stores)
}

/// Opens the stores and returns their parts. New work is rejected while fewer than `min_free_space` bytes are free;
/// `None` derives the threshold from the size of the disk.
pub fn open_all(data_dir: &Path, clock: Arc<dyn Clock>, min_free_space: Option<u64>) -> Result<OpenedStores> {
    create_directory(data_dir)?;
    let reserve = Arc::new(DiskReserve::open(data_dir.join("reserve"), min_free_space));
    let on_full = reserve.clone();
    let database = Arc::new(Database::open_with(&records_path(data_dir), move || on_full.spend())?);
    let stores = Stores {
        records: Arc::new(SqliteRecords::new(database.clone()).with_reserve(reserve.clone())),
        documents: Arc::new(SqliteDocuments::new(database.clone(), clock.clone())),
        keys: Arc::new(FileKeyStore::new(data_dir.join("secret.key"))),
        queue: Arc::new(SqliteQueue::new(database.clone(), clock.clone())),
        objects: Arc::new(DiskGuarded {
            store: FileObjects::open_shared(&data_dir.join("artifacts"))?,
            reserve: reserve.clone(),
        }),
        logs: Arc::new(DiskGuarded {
            store: FileLogs::open(&data_dir.join("logs"))?,
            reserve: reserve.clone(),
        }),
        clock,
        ids: Arc::new(RandomIds),
    };
    let meter = Arc::new(DirectoryMeter::new(data_dir, database.clone(), reserve.clone()));
    Ok(OpenedStores { stores, database, reserve, meter })
}
