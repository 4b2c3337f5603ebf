//! Whether the records are all there: what is missing is never made anew in silence.

use super::transaction_counter::TransactionCounter;
use crate::files::directories::make_directory;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};
use tidemill_services::error::{Error, Result};

/// What to do about it.
const RESTORE_HINT: &str = "Restore a backup of the whole data directory (docs/operations.md, Backup and restore), or begin without these \
                      records: `tidemill server --new-database` moves what is left of them aside";

/// Refuses where the file of the records is gone, or empty, while other things say that there was one.
pub fn must_be_whole(path: &Path) -> Result<()> {
    if length(path) > 0 {
        return Ok(());
    }
    let Some(trace) = trace(path) else { return Ok(()) };
    Err(Error::Damaged(format!(
        "{} is missing or empty, but {} is there: the records were removed or not mounted. {RESTORE_HINT}",
        path.display(),
        trace.display()
    )))
}

/// Refuses where the records have fewer transactions than were acknowledged.
pub fn must_have_all(path: &Path, acknowledged: Option<u64>, there: Option<u64>) -> Result<()> {
    let (Some(acknowledged), there) = (acknowledged, there.unwrap_or_default()) else { return Ok(()) };
    if there >= acknowledged {
        return Ok(());
    }
    Err(Error::Damaged(format!(
        "{} has {there} transactions, but {acknowledged} were acknowledged: its log {} was removed or is damaged, or the records are an \
         older copy. Nothing was changed. If this is a backup that you mean to use, remove {} and start again. Else: {RESTORE_HINT}",
        path.display(),
        beside(path, "-wal").display(),
        TransactionCounter::path(path).display()
    )))
}

/// Something that is there only once there were records.
fn trace(path: &Path) -> Option<PathBuf> {
    let directory = path.parent()?;
    let filled = |path: &PathBuf| length(path) > 0;
    let used = |path: &PathBuf| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    [beside(path, "-wal"), TransactionCounter::path(path), directory.join("secret.key")]
        .into_iter()
        .find(filled)
        .or_else(|| [directory.join("logs"), directory.join("artifacts")].into_iter().find(used))
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Moves the records at `path`, or what is left of them, and the logs and artifacts that they tell of into a directory of their own, so
/// that new ones begin. Gives that directory, unless there was nothing.
pub fn set_aside(path: &Path) -> Result<Option<PathBuf>> {
    let Some(directory) = path.parent() else { return Ok(None) };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let aside = directory.join(format!("replaced-{now}"));
    let parts = [
        path.to_owned(),
        beside(path, "-wal"),
        beside(path, "-shm"),
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
        let failed = |error: io::Error| Error::io(format!("moving {} aside", part.display()), error);
        if !moved {
            make_directory(&aside)?;
        }
        moved = true;
        fs::rename(&part, aside.join(name)).map_err(failed)?;
    }
    Ok(moved.then_some(aside))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::set_aside;
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
            Ok(TaskOutcome::Keep(()))
        });
        written.await.unwrap();
    }

    /// The files of records that a killed process leaves: three transactions, all in the log.
    async fn left_by_a_kill(directory: &Path) -> PathBuf {
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

    /// Waits until the last connection has written the log back and removed it.
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

    fn refusal(path: &Path) -> String {
        let error = Database::open(path).unwrap_err();
        assert!(matches!(error, Error::Damaged(_)), "{error}");
        error.to_string()
    }

    #[tokio::test]
    async fn records_survive_kill() {
        let directory = tempfile::tempdir().unwrap();
        let path = left_by_a_kill(directory.path()).await;
        assert_eq!(count(&path), 3);
        // What SQLite's own tools do is no loss.
        rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        assert_eq!(count(&path), 3);
    }

    #[tokio::test]
    async fn missing_database_refuses_start_without_new_database_flag() {
        let directory = tempfile::tempdir().unwrap();
        let path = left_by_a_kill(directory.path()).await;
        fs::remove_file(&path).unwrap();
        let words = refusal(&path);
        assert!(words.contains("--new-database") && words.contains("tidemill.db-wal"), "{words}");
        assert!(!path.exists(), "it was not made");
        fs::write(&path, "").unwrap();
        refusal(&path);
        fs::remove_file(path.with_file_name("tidemill.db-wal")).unwrap();
        assert!(refusal(&path).contains("acknowledged"));
        fs::remove_file(path.with_file_name("tidemill.acknowledged")).unwrap();
        fs::create_dir_all(path.with_file_name("logs").join("0")).unwrap();
        assert!(refusal(&path).contains("logs"));
        let aside = set_aside(&path).unwrap().unwrap();
        assert!(aside.join("logs/0").exists());
        assert_eq!(count(&path), 0);
    }

    #[tokio::test]
    async fn damaged_wal_refuses_start_and_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = left_by_a_kill(directory.path()).await;
        let wal = path.with_file_name("tidemill.db-wal");
        let whole = fs::read(&wal).unwrap();
        let frames = (whole.len() - 32) / 4_120;
        assert!(frames > 5, "{frames}");
        // In the header, the first frame, and the last, which SQLite takes for never written.
        for at in [8, 32 + 16, 32 + 2_000, 32 + (frames - 1) * 4_120 + 2_000] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&wal, &damaged).unwrap();
            let words = refusal(&path);
            assert!(words.contains("were acknowledged") && words.contains("tidemill.db-wal"), "{words}");
            assert_eq!(fs::read(&wal).unwrap(), damaged, "at {at}");
        }
        fs::remove_file(&wal).unwrap();
        refusal(&path);
        fs::write(&wal, &whole[..whole.len() - 4_120]).unwrap();
        refusal(&path);
        fs::write(&wal, &whole).unwrap();
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
        assert!(refusal(&path).contains("remove"));
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
        // Pages of the records of keys, from the third on: their headers.
        for page in (length / 2 / 4_096..length / 4_096).map(|page| page * 4_096) {
            bytes[page..page + 8].fill(0xff);
        }
        fs::write(&path, bytes).unwrap();
        let found = Database::open(&path).map(|database| database.check(drop));
        assert!(!matches!(found, Ok(Ok(None))), "{found:?}");
    }
}
