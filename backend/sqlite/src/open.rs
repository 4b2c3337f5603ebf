//! Opens the stores of a data directory.

use crate::{
    files::{DiskGuarded, DiskReserve, FileKeyStore, FileLogs, FileObjects, directories::make_directory},
    sqlite::Database,
    tables::{SqliteDocuments, SqliteQueue, SqliteRecords},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tidemill_services::{RandomIds, Result, Stores, SystemClock, ports::Clock};

/// The stores, and what of them the server itself needs.
#[derive(Debug)]
pub struct OpenedStores {
    /// The stores for the services.
    pub stores: Stores,
    /// The database behind records, documents and queue.
    pub database: Arc<Database>,
    /// The disk's state, and the space that is kept for records.
    pub reserve: Arc<DiskReserve>,
}

/// The file of the records in a data directory.
#[must_use]
pub fn records_path(data_dir: &Path) -> PathBuf {
    data_dir.join("tidemill.db")
}

/// The stores below a directory, which is made if it is not there.
pub fn open(data_dir: &Path) -> Result<Stores> {
    open_at(data_dir, Arc::new(SystemClock))
}

/// The same on another clock.
pub fn open_at(data_dir: &Path, clock: Arc<dyn Clock>) -> Result<Stores> {
    Ok(open_all(data_dir, clock, None)?.stores)
}

/// The stores and their parts; with less than `min_free_space` bytes free no new work is taken (`None`: as the size of the disk suggests).
pub fn open_all(data_dir: &Path, clock: Arc<dyn Clock>, min_free_space: Option<u64>) -> Result<OpenedStores> {
    make_directory(data_dir)?;
    let reserve = Arc::new(DiskReserve::open(data_dir.join("reserve"), min_free_space));
    let on_full = reserve.clone();
    let database = Arc::new(Database::open_with(&records_path(data_dir), move || on_full.spend())?);
    let stores = Stores {
        records: Arc::new(SqliteRecords::new(database.clone()).within(reserve.clone())),
        documents: Arc::new(SqliteDocuments::new(database.clone(), clock.clone())),
        keys: Arc::new(FileKeyStore::new(data_dir.join("secret.key"))),
        queue: Arc::new(SqliteQueue::new(database.clone(), clock.clone())),
        objects: Arc::new(DiskGuarded {
            store: FileObjects::open(&data_dir.join("artifacts"))?,
            reserve: reserve.clone(),
        }),
        logs: Arc::new(DiskGuarded {
            store: FileLogs::open(&data_dir.join("logs"))?,
            reserve: reserve.clone(),
        }),
        clock,
        ids: Arc::new(RandomIds),
    };
    Ok(OpenedStores { stores, database, reserve })
}
