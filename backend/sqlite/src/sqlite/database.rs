//! The SQLite file, with one writer thread and a few read connections. Several processes can share it.

use super::{
    failure::{Failure, error_of, migration_error},
    integrity,
    transaction_counter::TransactionCounter,
    writer::{self, ErasedTask, Task, TaskOutcome, WriterThread},
};
use crate::files::directories::create_directory;
use rusqlite::{Connection, InterruptHandle, OpenFlags, config::DbConfig};
use rusqlite_migration::{M, Migrations};
use std::{
    fmt::{self, Write as _},
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};
use tidemill_services::error::{Error, Result};
use tokio::sync::oneshot;

/// Schema migrations in order. A released migration never changes.
const MIGRATION_STEPS: &[M<'static>] = &[
    M::up(include_str!("schema.sql")),
    // No query uses this index any more, and every change of a status updated it.
    M::up("DROP INDEX nodes_under_way;"),
    M::up("CREATE TABLE dead_letters (at INTEGER, node INTEGER, PRIMARY KEY (at, node)) WITHOUT ROWID;"),
    M::up(include_str!("documents.sql")),
    M::up(
        "ALTER TABLE queue ADD COLUMN labels TEXT NOT NULL DEFAULT '';
         CREATE INDEX queue_labels ON queue (labels) WHERE labels <> '';",
    ),
    // The number of committed transactions. A file next to the database has the number of acknowledged ones.
    M::up("CREATE TABLE commits (number INTEGER NOT NULL); INSERT INTO commits VALUES (0);"),
    // Job definitions are planned again from the recorded execution.
    M::up("DROP TABLE job_specs;"),
    // Messages of different repositories take turns.
    M::up(
        "ALTER TABLE queue ADD COLUMN message_group TEXT NOT NULL DEFAULT '';
         DROP INDEX queue_visible;
         CREATE INDEX queue_group_visible ON queue (message_group, visible_at);",
    ),
    // What belongs to an execution is removed with it, and the newest of a branch is kept longer than others.
    M::up(
        "CREATE INDEX idempotency_keys_execution ON idempotency_keys (execution);
         CREATE INDEX dead_letters_node ON dead_letters (node);
         CREATE INDEX executions_repo_pipeline_branch ON executions (repo, pipeline, branch, id);",
    ),
];
/// Version of the schema, which the file records. A program rejects a file with a newer one.
pub const SCHEMA_VERSION: usize = MIGRATION_STEPS.len();
const MIGRATIONS: Migrations<'static> = Migrations::from_slice(MIGRATION_STEPS);

/// Maximum number of idle read connections.
const MAX_IDLE_READERS: usize = 8;

/// Maximum number of retries while another process holds a lock, 10 ms apart: 20 s.
const MAX_BUSY_RETRIES: i32 = 2_000;

/// The SQLite file.
///
/// Short reads run on the calling thread: they take about 10 microseconds and, in WAL mode, never wait for the writer.
/// Long reads run on a blocking thread.
pub struct Database {
    path: PathBuf,
    tasks: mpsc::Sender<Box<dyn ErasedTask>>,
    readers: Mutex<Vec<Connection>>,
    access: ReadAccess,
}

/// How read connections open the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadAccess {
    /// As those of a server: a reader may have to recover the write-ahead log after a crash.
    Server,
    /// Without changing the file or its write-ahead log.
    ReadOnly,
    /// Like that, and without any other file, as there is no write-ahead log.
    Immutable,
}

impl Database {
    /// Opens the file at `path` and migrates it to the current schema. A missing file is created with mode 0600, its
    /// directory with 0700.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, || {})
    }

    /// Opens the file as [`Self::open`] does, and calls `on_full` whenever a write fails because the disk is full.
    pub fn open_with(path: &Path, on_full: impl Fn() + Send + 'static) -> Result<Self> {
        if let Some(directory) = path.parent() {
            create_directory(directory)?;
        }
        // One process at a time; otherwise two could create the tables.
        let lock = lock(path)?;
        integrity::check_exists(path)?;
        // Read before the database, so that it includes everything that another process acknowledges in between.
        let known = TransactionCounter::read(path);
        create(path)?;
        let mut conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let opening = format!("opening the database {}", path.display());
        let failed = |error: rusqlite::Error| Failure::new(&error).to_error(&opening);
        // If transactions are lost, the remaining write-ahead log must stay unchanged.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
        tune(&conn).map_err(failed)?;
        integrity::check_transaction_count(path, known, commits(&conn).map_err(failed)?)?;
        MIGRATIONS.to_latest(&mut conn).map_err(|error| migration_error(path, error))?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(failed)?;
        let acknowledged = TransactionCounter::open(path)?;
        drop(lock);

        let (tasks, queued) = mpsc::channel();
        let writer = WriterThread { acknowledged, on_full: Box::new(on_full) };
        thread::Builder::new()
            .name("records-writer".to_owned())
            .spawn(move || writer::run(&conn, &queued, &writer))
            .map_err(|error| Error::io("starting the database writer thread", error))?;
        Ok(Self { path: path.to_owned(), tasks, readers: Mutex::default(), access: ReadAccess::Server })
    }

    /// Opens the existing file for reading, whatever its schema, and changes neither it nor its write-ahead log. A server may be using it.
    pub fn open_read_only(path: &Path) -> Result<Self> {
        integrity::check_exists(path)?;
        let known = TransactionCounter::read(path);
        let has_log = fs::metadata(integrity::with_suffix(path, "-wal")).is_ok();
        let access = if has_log { ReadAccess::ReadOnly } else { ReadAccess::Immutable };
        // Nobody receives the tasks: writing fails.
        let (tasks, _) = mpsc::channel();
        let database = Self { path: path.to_owned(), tasks, readers: Mutex::default(), access };
        let stored = database.read("opening the records", commits)?;
        integrity::check_transaction_count(path, known, stored)?;
        Ok(database)
    }

    /// Returns the version of the file's schema.
    pub fn schema_version(&self) -> Result<usize> {
        self.read("reading the schema", |conn| {
            conn.query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0))
        })
        .map(|version| version as usize)
    }

    /// Opens a connection that only reads.
    fn reader(&self) -> Result<Connection> {
        let conn = match self.access {
            ReadAccess::Server => connect(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE),
            ReadAccess::ReadOnly => connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY),
            ReadAccess::Immutable => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
                connect(Path::new(&immutable_uri(&self.path)), flags)
            }
        }?;
        let failed = error_of("opening the records for reading");
        if self.access != ReadAccess::Server {
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(&failed)?;
        }
        conn.pragma_update(None, "query_only", true).map_err(&failed)?;
        Ok(conn)
    }

    /// Queues `work` for the writer immediately, and resolves with its outcome when that is durable. Dropping the
    /// future does not cancel `work`.
    pub fn write<T, F>(
        &self,
        operation: &'static str,
        work: F,
    ) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<TaskOutcome<T>> + Send + 'static,
    {
        let (reply, outcome) = oneshot::channel();
        // If the writer has ended, the task is dropped, and `reply` with it.
        drop(self.tasks.send(Box::new(Task { operation, work, reply })));
        async move {
            outcome
                .await
                .unwrap_or_else(|_| Err(Error::storage(operation, "the database writer thread has ended")))
        }
    }

    /// Checks the whole file and returns the inconsistencies; `None` if there are none. Passes a handle to `begun` first,
    /// with which another thread can interrupt the check.
    pub fn check(&self, begun: impl FnOnce(InterruptHandle)) -> rusqlite::Result<Option<String>> {
        let conn = match self.access {
            ReadAccess::Server => Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?,
            ReadAccess::ReadOnly => {
                let conn = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
                conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
                conn
            }
            ReadAccess::Immutable => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
                Connection::open_with_flags(immutable_uri(&self.path), flags)?
            }
        };
        conn.pragma_update(None, "query_only", true)?;
        begun(conn.get_interrupt_handle());
        let mut statement = conn.prepare("PRAGMA quick_check(3)")?;
        let lines =
            statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
        Ok((lines != ["ok"]).then(|| lines.join("; ")))
    }

    /// Runs `work` on the calling thread; only for reads of a few rows.
    pub fn read<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => self.reader()?,
        };
        let outcome = work(&conn).map_err(error_of(operation));
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < MAX_IDLE_READERS {
            readers.push(conn);
        }
        outcome
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Returns the number of transactions in the file; `None` if the file is new.
pub(super) fn commits(conn: &Connection) -> rusqlite::Result<Option<u64>> {
    let has_table = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'commits')";
    if !conn.query_row(has_table, [], |row| row.get::<_, bool>(0))? {
        return Ok(None);
    }
    conn.query_row("SELECT number FROM commits", [], |row| row.get::<_, i64>(0))
        .map(|number| Some(number.unsigned_abs()))
}

/// Returns the address of a file that nothing changes.
fn immutable_uri(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-~".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri + "?immutable=1"
}

fn lock(path: &Path) -> Result<File> {
    let path = path.with_extension("lock");
    let operation = || format!("locking {}", path.display());
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| Error::io(operation(), error))?;
    file.lock().map_err(|error| Error::io(operation(), error))?;
    Ok(file)
}

/// Creates the empty file. An existing file is not opened: closing it would release the locks that SQLite holds on it
/// elsewhere in this process.
fn create(path: &Path) -> Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(Error::io(format!("creating {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

pub(super) fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    // The borrow checker ensures that only one thread at a time uses a connection.
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)
        .and_then(|conn| conn.busy_handler(Some(wait_for_lock)).map(|()| conn))
        .map_err(|error| {
            Failure::new(&error).to_error(&format!("opening the database {}", path.display()))
        })?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}

fn tune(conn: &Connection) -> rusqlite::Result<()> {
    // FULL: a commit is on disk before it is acknowledged. A longer WAL makes checkpoints rarer; a checkpoint writes a
    // page once, however often it changed.
    conn.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 4000;
         PRAGMA journal_size_limit = 67108864;
         PRAGMA cache_size = -16000;
         PRAGMA temp_store = MEMORY;",
    )
}

/// Busy handler. SQLite's own delay grows to 100 ms, too long for transactions of a few ms; this one stays at 10 ms.
fn wait_for_lock(retries: i32) -> bool {
    thread::sleep(Duration::from_millis(if retries < 10 { 1 } else { 10 }));
    retries < MAX_BUSY_RETRIES
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Database, TaskOutcome};
    use rusqlite::{Connection, params};
    use std::{fs, os::unix::fs::PermissionsExt};
    use tidemill_services::Error;

    fn insert(conn: &Connection, key: &str, bytes: usize) -> rusqlite::Result<TaskOutcome<()>> {
        conn.execute("INSERT INTO idempotency_keys VALUES (?1, x'', ?2)", params![key, "x".repeat(bytes)])?;
        Ok(TaskOutcome::Commit(()))
    }

    fn keys(database: &Database) -> Vec<String> {
        let read = database.read("testing", |conn| {
            conn.prepare("SELECT key FROM idempotency_keys ORDER BY key")?
                .query_map([], |row| row.get(0))?
                .collect()
        });
        read.unwrap()
    }

    #[tokio::test]
    async fn full_disk_returns_disk_full_and_keeps_fitting_writes() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(&directory.path().join("a.db")).unwrap();
        let limit = database.write("testing", |conn| {
            let pages: i64 = conn.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            conn.query_row(&format!("PRAGMA max_page_count = {}", pages + 20), [], |row| row.get::<_, i64>(0))
                .map(TaskOutcome::Commit)
        });
        limit.await.unwrap();
        let full = database.write("writing a large value", |conn| insert(conn, "large", 1 << 20)).await;
        assert!(matches!(full, Err(Error::DiskFull(operation)) if operation == "writing a large value"));
        database.write("testing", |conn| insert(conn, "small", 10)).await.unwrap();
        assert_eq!(keys(&database), ["small"]);
    }

    #[tokio::test]
    async fn failed_task_rolls_back_only_itself() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(&directory.path().join("a.db")).unwrap();
        // Queued before any of them is awaited, so that they share a transaction.
        let committed = database.write("testing", |conn| insert(conn, "a", 1));
        let rolled_back =
            database.write("testing", |conn| insert(conn, "b", 1).map(|_| TaskOutcome::Rollback(7)));
        let failed = database.write("testing", |conn| {
            insert(conn, "c", 1)?;
            insert(conn, "a", 1)
        });
        let last = database.write("testing", |conn| insert(conn, "d", 1));
        committed.await.unwrap();
        assert_eq!(rolled_back.await.unwrap(), 7);
        assert!(failed.await.is_err());
        last.await.unwrap();
        assert_eq!(keys(&database), ["a", "d"]);
    }

    #[tokio::test]
    async fn database_file_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/a.db");
        let database = Database::open(&path).unwrap();
        database.write("testing", |conn| insert(conn, "a", 1)).await.unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(directory.path().join("new")), 0o700);
        for name in ["a.db", "a.db-wal", "a.db-shm", "a.lock"] {
            assert_eq!(mode(path.with_file_name(name)), 0o600, "{name}");
        }
    }

    #[test]
    fn newer_schema_and_damaged_file_return_errors() {
        let directory = tempfile::tempdir().unwrap();
        let newer = directory.path().join("newer.db");
        drop(Database::open(&newer).unwrap());
        Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let error = Database::open(&newer).unwrap_err().to_string();
        assert!(error.contains("newer.db") && error.contains("newer tidemill"), "{error}");
        let damaged = directory.path().join("damaged.db");
        fs::write(&damaged, "this is not a database, however long it is".repeat(200)).unwrap();
        let error = Database::open(&damaged).unwrap_err().to_string();
        assert!(error.contains("damaged.db") && error.contains("the file is damaged"), "{error}");
    }

    #[test]
    fn concurrent_opens_create_one_database() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| drop(Database::open(&path).unwrap()));
            }
        });
        assert_eq!(keys(&Database::open(&path).unwrap()), Vec::<String>::new());
    }
}
