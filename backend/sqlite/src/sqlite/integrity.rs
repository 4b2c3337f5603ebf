//! Detects a lost or incomplete database at startup. A missing database is never silently replaced by an empty one.

use super::transaction_counter::TransactionCounter;
use crate::files::directories::create_directory;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};
use tidemill_services::error::{Error, Result};

/// What the operator can do.
const RESTORE_HINT: &str = "Restore a backup of the whole data directory (docs/operations.md, Backup and restore), or start with an empty \
                      database: `tidemill server --new-database` moves the remaining files to another directory";

/// Ending of the name of a database that is being restored.
pub const UNCHECKED_SUFFIX: &str = ".unchecked";

/// Returns an error if the database is missing or empty although other files show that it existed.
pub fn check_exists(path: &Path) -> Result<()> {
    if length(path) > 0 {
        return Ok(());
    }
    let Some(trace) = trace(path) else { return Ok(()) };
    Err(Error::Damaged(format!(
        "{} is missing or empty, but {} exists: the database was removed, or its disk is not mounted. {RESTORE_HINT}",
        path.display(),
        trace.display()
    )))
}

/// Returns an error if the database has fewer transactions than were acknowledged.
pub fn check_transaction_count(path: &Path, acknowledged: Option<u64>, stored: Option<u64>) -> Result<()> {
    let (Some(acknowledged), stored) = (acknowledged, stored.unwrap_or_default()) else { return Ok(()) };
    if stored >= acknowledged {
        return Ok(());
    }
    Err(Error::Damaged(format!(
        "{} has {stored} transactions, but {acknowledged} were acknowledged: its write-ahead log {} was removed or is damaged, or \
         the database is an older copy. Nothing was changed. To use this copy, remove {} and start again. Otherwise: \
         {RESTORE_HINT}",
        path.display(),
        with_suffix(path, "-wal").display(),
        TransactionCounter::path(path).display()
    )))
}

/// Returns a file or directory that exists only if the database existed, or is being restored.
fn trace(path: &Path) -> Option<PathBuf> {
    let directory = path.parent()?;
    let unchecked = with_suffix(path, UNCHECKED_SUFFIX);
    if unchecked.exists() {
        return Some(unchecked);
    }
    let has_content = |path: &PathBuf| length(path) > 0;
    let has_entries = |path: &PathBuf| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    [with_suffix(path, "-wal"), TransactionCounter::path(path), directory.join("secret.key")]
        .into_iter()
        .find(has_content)
        .or_else(|| [directory.join("logs"), directory.join("artifacts")].into_iter().find(has_entries))
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Moves the database at `path`, or its remaining files, with its logs and artifacts into a new directory, so that the
/// server starts with an empty database. Returns the directory; `None` if there was nothing to move.
pub fn move_database_away(path: &Path) -> Result<Option<PathBuf>> {
    let Some(directory) = path.parent() else { return Ok(None) };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let aside = directory.join(format!("replaced-{now}"));
    let parts = [
        path.to_owned(),
        with_suffix(path, "-wal"),
        with_suffix(path, "-shm"),
        with_suffix(path, UNCHECKED_SUFFIX),
        TransactionCounter::path(path),
        directory.join("logs"),
        directory.join("artifacts"),
        directory.join("secret.key"),
    ];
    let mut moved = false;
    for part in parts {
        let Some(name) = part.file_name() else { continue };
        if !part.try_exists().unwrap_or(true) {
            continue;
        }
        let failed =
            |error: io::Error| Error::io(format!("moving {} to {}", part.display(), aside.display()), error);
        if !moved {
            create_directory(&aside)?;
        }
        moved = true;
        fs::rename(&part, aside.join(name)).map_err(failed)?;
    }
    Ok(moved.then_some(aside))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::move_database_away;
    use crate::sqlite::{Database, TaskOutcome};
    use rusqlite::params;
    use std::{
        fs,
        path::{Path, PathBuf},
    };
    use tidemill_services::Error;

    async fn write(database: &Database, key: &str) {
        let key = key.to_owned();
        let written = database.write("testing", move |conn| {
            conn.execute("INSERT INTO idempotency_keys VALUES (?1, x'', '')", params![key])?;
            Ok(TaskOutcome::Commit(()))
        });
        written.await.unwrap();
    }

    /// Copies the database files as a killed process leaves them: three transactions, all in the write-ahead log.
    async fn copy_of_killed(directory: &Path) -> PathBuf {
        let path = directory.join("live/tidemill.db");
        let database = Database::open(&path).unwrap();
        for key in ["a", "b", "c"] {
            write(&database, key).await;
        }
        let left = directory.join("left");
        fs::create_dir(&left).unwrap();
        for name in ["tidemill.db", "tidemill.db-wal", "tidemill.acknowledged"] {
            fs::copy(path.with_file_name(name), left.join(name)).unwrap();
        }
        left.join("tidemill.db")
    }

    /// Waits until the last connection has checkpointed and removed the write-ahead log.
    async fn close(database: Database, path: &Path) {
        drop(database);
        while path.with_file_name("tidemill.db-wal").exists() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    fn count(path: &Path) -> i64 {
        let database = Database::open(path).unwrap();
        let counting = |conn: &rusqlite::Connection| {
            conn.query_row("SELECT count(*) FROM idempotency_keys", [], |row| row.get(0))
        };
        database.read("testing", counting).unwrap()
    }

    fn open_error(path: &Path) -> String {
        let error = Database::open(path).unwrap_err();
        assert!(matches!(error, Error::Damaged(_)), "{error}");
        error.to_string()
    }

    #[tokio::test]
    async fn records_survive_kill() {
        let directory = tempfile::tempdir().unwrap();
        let path = copy_of_killed(directory.path()).await;
        assert_eq!(count(&path), 3);
        // A checkpoint by another tool is not a loss.
        rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        assert_eq!(count(&path), 3);
    }

    #[tokio::test]
    async fn missing_database_refuses_start_without_new_database_flag() {
        let directory = tempfile::tempdir().unwrap();
        let path = copy_of_killed(directory.path()).await;
        fs::remove_file(&path).unwrap();
        let error = open_error(&path);
        assert!(error.contains("--new-database") && error.contains("tidemill.db-wal"), "{error}");
        assert!(!path.exists(), "the file was not created");
        fs::write(&path, "").unwrap();
        open_error(&path);
        fs::remove_file(path.with_file_name("tidemill.db-wal")).unwrap();
        assert!(open_error(&path).contains("acknowledged"));
        fs::remove_file(path.with_file_name("tidemill.acknowledged")).unwrap();
        fs::create_dir_all(path.with_file_name("logs").join("0")).unwrap();
        assert!(open_error(&path).contains("logs"));
        let aside = move_database_away(&path).unwrap().unwrap();
        assert!(aside.join("logs/0").exists());
        assert_eq!(count(&path), 0);
    }

    #[tokio::test]
    async fn damaged_wal_refuses_start_and_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = copy_of_killed(directory.path()).await;
        let wal = path.with_file_name("tidemill.db-wal");
        let intact = fs::read(&wal).unwrap();
        let frames = (intact.len() - 32) / 4_120;
        assert!(frames > 5, "{frames}");
        // In the header, the first frame, and the last frame, which SQLite then ignores.
        for offset in [8, 32 + 16, 32 + 2_000, 32 + (frames - 1) * 4_120 + 2_000] {
            let mut damaged = intact.clone();
            damaged[offset] ^= 1;
            fs::write(&wal, &damaged).unwrap();
            let error = open_error(&path);
            assert!(error.contains("were acknowledged") && error.contains("tidemill.db-wal"), "{error}");
            assert_eq!(fs::read(&wal).unwrap(), damaged, "offset {offset}");
        }
        fs::remove_file(&wal).unwrap();
        open_error(&path);
        fs::write(&wal, &intact[..intact.len() - 4_120]).unwrap();
        open_error(&path);
        fs::write(&wal, &intact).unwrap();
        assert_eq!(count(&path), 3);
    }

    #[tokio::test]
    async fn backup_opens_without_transaction_counter() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidemill.db");
        let database = Database::open(&path).unwrap();
        write(&database, "a").await;
        let backup = directory.path().join("backup.db");
        let conn = rusqlite::Connection::open(&path).unwrap();
        conn.execute("VACUUM INTO ?1", params![backup.to_str()]).unwrap();
        drop(conn);
        write(&database, "b").await;
        close(database, &path).await;
        fs::copy(&backup, &path).unwrap();
        assert!(open_error(&path).contains("remove"));
        fs::remove_file(path.with_file_name("tidemill.acknowledged")).unwrap();
        assert_eq!(count(&path), 1);
    }

    #[tokio::test]
    async fn full_check_finds_damage() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidemill.db");
        let database = Database::open(&path).unwrap();
        for number in 0..100 {
            write(&database, &format!("{number:0>3000}")).await;
        }
        assert_eq!(database.check(drop).unwrap(), None);
        close(database, &path).await;
        let mut bytes = fs::read(&path).unwrap();
        let length = bytes.len();
        // The headers of pages in the second half, which hold idempotency keys.
        for page in (length / 2 / 4_096..length / 4_096).map(|page| page * 4_096) {
            bytes[page..page + 8].fill(0xff);
        }
        fs::write(&path, bytes).unwrap();
        let checked = Database::open(&path).map(|database| database.check(drop));
        assert!(!matches!(checked, Ok(Ok(None))), "{checked:?}");
    }
}
