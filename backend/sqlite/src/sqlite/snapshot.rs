//! Copies of the database, made while it is used.

use super::{
    database::{commits, connect},
    failure::error_of,
};
use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};
use std::{
    fs::{self, OpenOptions},
    io::ErrorKind,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    thread,
    time::Duration,
};
use tidemill_services::error::{Error, Result};

const OPERATION: &str = "copying the database";
/// Pause while another process holds a lock.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
const MAX_BUSY_ROUNDS: u32 = 1_000;

/// Copies the database at `source` to a new file, as it is at one moment, and returns the number of its transactions. Writers are not
/// held up; the write-ahead log grows meanwhile.
pub fn snapshot(source: &Path, target: &Path) -> Result<u64> {
    if !source.exists() {
        return Err(Error::NotFound(format!("there are no records in {}", source.display())));
    }
    match fs::remove_file(target) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Error::io(format!("replacing {}", target.display()), error));
        }
        _ => {}
    }
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(target);
    drop(created.map_err(|error| Error::io(format!("creating {}", target.display()), error))?);
    let from = connect(source, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    from.pragma_update(None, "query_only", true).map_err(error_of(OPERATION))?;
    let mut to = connect(target, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    copy(&from, &mut to).map_err(error_of(OPERATION))?;
    let number = commits(&to).map_err(error_of(OPERATION))?.unwrap_or(0);
    to.close().map_err(|(_, error)| error_of(OPERATION)(error))?;
    Ok(number)
}

/// Copies all pages in one step: with several, each write of another process would begin it anew.
fn copy(from: &Connection, to: &mut Connection) -> rusqlite::Result<()> {
    let backup = Backup::new(from, to)?;
    for _ in 0..MAX_BUSY_ROUNDS {
        match backup.step(-1)? {
            StepResult::Done => return Ok(()),
            _ => thread::sleep(BUSY_PAUSE),
        }
    }
    Err(rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
        Some("the database is locked for too long".to_owned()),
    ))
}

/// Returns an error if the copy at `path` is damaged, or has another number of transactions.
pub fn check_copy(path: &Path, transactions: u64) -> Result<()> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let lines = conn.prepare("PRAGMA quick_check(3)").and_then(|mut check| {
        check.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()
    });
    let lines = lines.map_err(error_of("checking the records"))?;
    if lines != ["ok"] {
        return Err(Error::Damaged(format!("the records are damaged: {}", lines.join("; "))));
    }
    let number = commits(&conn).map_err(error_of("checking the records"))?.unwrap_or(0);
    conn.close().map_err(|(_, error)| error_of("checking the records")(error))?;
    if number == transactions {
        return Ok(());
    }
    Err(Error::Damaged(format!("the records have {number} transactions instead of {transactions}")))
}
