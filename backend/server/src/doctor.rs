//! Checks of a server's data directory: all of them on demand, and those that cost nothing at each start.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tidemill_core::{access::TokenView, api::RecordsCheck, time::Timestamp};
use tidemill_services::{
    SystemClock,
    error::{Error, Result},
    ports::Clock,
    stored_tokens,
};
use tidemill_sqlite::{Database, DiskReserve, SCHEMA_VERSION, SqliteDocuments, records_path};

/// Size of a write-ahead log that a checkpoint should have shortened.
const MAX_WAL_BYTES: u64 = 256 << 20;
/// How far in the future a file may have been changed.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);
/// A clock that shows an earlier time was never set: 2025.
const FIRST_PLAUSIBLE: Duration = Duration::from_secs(1_735_689_600);
/// How long a job may wait for a worker before it is remarked.
const MAX_WAIT_MS: u64 = 600_000;
/// Time limit of the check of the whole database.
const MAX_CHECK_TIME: Duration = Duration::from_secs(600);
/// Length below which an admin token could be guessed.
const MIN_TOKEN_LEN: usize = 32;
/// Remaining lifetime of a token below which it is remarked: a week.
const MIN_TOKEN_LIFETIME_MS: i64 = 7 * 86_400_000;

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing to do.
    Ok,
    /// A user should look.
    Warning,
    /// The server cannot work so, or is not safe.
    Failed,
}

/// A check with its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was checked.
    pub check: &'static str,
    /// The outcome.
    pub verdict: Verdict,
    /// What was found, and what to do about it.
    pub text: String,
}

impl Finding {
    /// Creates a finding.
    pub fn new(check: &'static str, verdict: Verdict, text: impl Into<String>) -> Self {
        Self { check, verdict, text: text.into() }
    }
}

/// Checks permissions, disk, write-ahead log and clock of a data directory, which exists: at each start.
#[must_use]
pub fn light_checks(data_dir: &Path, min_free_space: Option<u64>) -> Vec<Finding> {
    vec![
        permissions(data_dir),
        disk(data_dir, min_free_space),
        write_ahead_log(data_dir),
        clock(data_dir, SystemTime::now()),
    ]
}

/// Makes all checks of a data directory, which a server may be using. With `quick`, the database is not read as a whole. Blocks.
#[must_use]
pub fn all_checks(data_dir: &Path, quick: bool) -> Vec<Finding> {
    if let Err(error) = fs::read_dir(data_dir) {
        let text =
            format!("{}: {error}; start a server with --data-dir, or restore a backup", data_dir.display());
        return vec![Finding::new("store", Verdict::Failed, text)];
    }
    let mut findings = light_checks(data_dir, None);
    findings.extend(records(data_dir, quick));
    findings.push(token(data_dir));
    findings
}

fn permissions(data_dir: &Path) -> Finding {
    let mut open = Vec::new();
    for name in ["", "tidemill.db", "tidemill.db-wal", "secret.key", "token", "logs", "artifacts"] {
        let path = if name.is_empty() { data_dir.to_owned() } else { data_dir.join(name) };
        match fs::metadata(&path) {
            Ok(metadata) if metadata.mode() & 0o077 != 0 && !(name.is_empty() || metadata.is_dir()) => {
                open.push(path);
            }
            Ok(metadata) if metadata.is_dir() && metadata.mode() & 0o007 != 0 => open.push(path),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let text = format!("{}: {error}; the server's user must own it", path.display());
                return Finding::new("permissions", Verdict::Failed, text);
            }
            _ => {}
        }
    }
    if let Err(error) =
        rustix::fs::access(data_dir, rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK)
    {
        let text = format!("this user may not write to {}: {error}", data_dir.display());
        return Finding::new("permissions", Verdict::Failed, text);
    }
    match open.first() {
        None => Finding::new("permissions", Verdict::Ok, "only this user reads the data directory"),
        Some(path) => {
            let text = format!("others may read {}: `chmod go= {}`", path.display(), path.display());
            Finding::new("permissions", Verdict::Warning, text)
        }
    }
}

fn disk(data_dir: &Path, min_free_space: Option<u64>) -> Finding {
    let state = DiskReserve::inspect(&data_dir.join("reserve"), min_free_space);
    let free = format!("{} MiB are free", state.free_bytes >> 20);
    if state.is_reserve_spent || state.free_bytes < state.low_bytes {
        let limit = state.low_bytes >> 20;
        let text = format!("{free}, less than {limit} MiB: no new work is accepted; free some space");
        return Finding::new("disk", Verdict::Failed, text);
    }
    if state.free_bytes < state.low_bytes.saturating_mul(2) {
        return Finding::new("disk", Verdict::Warning, format!("{free}: see `tidemill gc --dry-run`"));
    }
    Finding::new("disk", Verdict::Ok, free)
}

fn write_ahead_log(data_dir: &Path) -> Finding {
    let bytes = fs::metadata(data_dir.join("tidemill.db-wal")).map_or(0, |metadata| metadata.len());
    let text = format!("the write-ahead log has {} MiB", bytes >> 20);
    if bytes > MAX_WAL_BYTES {
        let text =
            format!("{text}: a process reads the records for very long, such as a copy of them; end it");
        return Finding::new("write-ahead log", Verdict::Warning, text);
    }
    Finding::new("write-ahead log", Verdict::Ok, text)
}

/// Checks that the clock does not lie before what was written under it.
fn clock(data_dir: &Path, now: SystemTime) -> Finding {
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if since_epoch < FIRST_PLAUSIBLE {
        let text = "the clock was never set: leases, schedules and certificates depend on it";
        return Finding::new("clock", Verdict::Failed, text);
    }
    for name in ["tidemill.db", "tidemill.db-wal", "tidemill.acknowledged"] {
        let changed = fs::metadata(data_dir.join(name)).and_then(|metadata| metadata.modified());
        let ahead = changed.ok().and_then(|changed| changed.duration_since(now).ok()).unwrap_or_default();
        if ahead > MAX_CLOCK_SKEW {
            let text = format!(
                "the clock is {} s behind the last change of {name}: it was set back, or was wrong before",
                ahead.as_secs()
            );
            return Finding::new("clock", Verdict::Warning, text);
        }
    }
    Finding::new("clock", Verdict::Ok, Timestamp(since_epoch.as_millis().try_into().unwrap_or(0)).to_string())
}

/// Checks the records and the queue.
fn records(data_dir: &Path, quick: bool) -> Vec<Finding> {
    let path = records_path(data_dir);
    let opened = Database::open_read_only(&path).and_then(|opened| Ok((opened.schema_version()?, opened)));
    let (schema, opened) = match opened {
        Ok(opened) => opened,
        Err(error) => return vec![Finding::new("store", Verdict::Failed, error.to_string())],
    };
    if schema > SCHEMA_VERSION {
        let text = format!(
            "the records have schema {schema}, and this program knows {SCHEMA_VERSION}: a newer tidemill wrote them; run that version"
        );
        return vec![Finding::new("store", Verdict::Failed, text)];
    }
    if schema < SCHEMA_VERSION {
        let text = format!(
            "the records have schema {schema}: the next start of the server migrates them to {SCHEMA_VERSION}, and they were not checked"
        );
        return vec![Finding::new("store", Verdict::Warning, text)];
    }
    let size = fs::metadata(&path).map_or(0, |metadata| metadata.len()) >> 20;
    let store = if quick {
        Finding::new(
            "store",
            Verdict::Ok,
            format!("the records open ({size} MiB); they were not read as a whole"),
        )
    } else {
        match opened.check_records(MAX_CHECK_TIME) {
            RecordsCheck::Whole => {
                Finding::new("store", Verdict::Ok, format!("the records are whole ({size} MiB)"))
            }
            RecordsCheck::Damaged => {
                let text = "the records are damaged: stop the server and restore a backup (docs/backup.md)";
                Finding::new("store", Verdict::Failed, text)
            }
            _ => Finding::new("store", Verdict::Warning, "the check of the records did not finish in time"),
        }
    };
    let queue = queue(&opened, SystemClock.now());
    let queue = queue.unwrap_or_else(|error| Finding::new("queue", Verdict::Failed, error.to_string()));
    vec![store, queue]
}

fn queue(database: &Database, now: Timestamp) -> Result<Finding> {
    let state = database.queue_state(now)?;
    let waited = state.oldest.map_or(0, |oldest| now.since_ms(oldest));
    let text = format!("{} job(s) wait, {} execution(s) have not ended", state.waiting, state.live);
    if state.overdue > 0 {
        let text =
            format!("{text}; {} step(s) are overdue: no server runs, or its sweep fails", state.overdue);
        return Ok(Finding::new("queue", Verdict::Warning, text));
    }
    if state.waiting > 0 && waited > MAX_WAIT_MS {
        let minutes = waited / 60_000;
        let text = format!(
            "{text}; the first has waited for {minutes} min: no worker has its labels, or too few run"
        );
        return Ok(Finding::new("queue", Verdict::Warning, text));
    }
    Ok(Finding::new("queue", Verdict::Ok, text))
}

/// Checks when the tokens in the records expire, without changing the records; `None` if there are none, or if their schema is another
/// one, about which the check of the records says more.
pub async fn tokens(data_dir: &Path, now: Timestamp) -> Option<Finding> {
    let path = records_path(data_dir);
    if !path.exists() {
        return None;
    }
    let opened = tokio::task::spawn_blocking(move || {
        let database = Database::open_read_only(&path)?;
        Ok::<_, Error>((database.schema_version()?, database))
    });
    let listed = match opened.await {
        Ok(Ok((schema, _))) if schema != SCHEMA_VERSION => return None,
        Ok(Ok((_, database))) => {
            let documents = SqliteDocuments::new(Arc::new(database), Arc::new(SystemClock));
            stored_tokens(&documents).await.map_err(|error| error.to_string())
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    Some(listed.map_or_else(|why| Finding::new("tokens", Verdict::Failed, why), |all| lifetimes(&all, now)))
}

fn lifetimes(tokens: &[TokenView], now: Timestamp) -> Finding {
    let soon = now.plus_ms(MIN_TOKEN_LIFETIME_MS);
    let ending = tokens.iter().filter(|token| token.expires_at.is_some_and(|at| at < soon));
    let ending: Vec<&str> = ending.map(|token| token.name.as_str()).collect();
    if ending.is_empty() {
        let text = format!("{} token(s), none expires within a week", tokens.len());
        return Finding::new("tokens", Verdict::Ok, text);
    }
    let text = format!(
        "expired, or expire within a week: {}; replace them with `tidemill token create`",
        ending.join(", ")
    );
    Finding::new("tokens", Verdict::Warning, text)
}

/// Checks the admin token in the data directory.
fn token(data_dir: &Path) -> Finding {
    let path = data_dir.join("token");
    match fs::read_to_string(&path) {
        Ok(text) if text.trim().len() >= MIN_TOKEN_LEN => {
            Finding::new("token", Verdict::Ok, "the admin token is long enough")
        }
        Ok(_) => {
            let text = format!(
                "the admin token in {} is short: remove the file, and start the server again",
                path.display()
            );
            Finding::new("token", Verdict::Failed, text)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::new("token", Verdict::Ok, "the first start of a server creates the admin token")
        }
        Err(error) => Finding::new("token", Verdict::Failed, format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Finding, Verdict, all_checks, clock, light_checks, token, tokens};
    use std::{
        fs,
        os::unix::fs::PermissionsExt,
        path::Path,
        time::{Duration, SystemTime},
    };
    use tidemill_core::time::Timestamp;
    use tidemill_sqlite::{Database, SCHEMA_VERSION, records_path};

    fn verdict(findings: &[Finding], check: &str) -> Verdict {
        findings.iter().find(|finding| finding.check == check).unwrap().verdict
    }

    fn new_directory() -> tempfile::TempDir {
        use std::os::unix::fs::PermissionsExt as _;
        let private = fs::Permissions::from_mode(0o700);
        let directory = tempfile::Builder::new().permissions(private).tempdir().unwrap();
        drop(Database::open(&records_path(directory.path())).unwrap());
        // The writer closes the records in its thread.
        let log = directory.path().join("tidemill.db-wal");
        let end = std::time::Instant::now() + Duration::from_secs(10);
        while log.exists() && std::time::Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        directory
    }

    #[test]
    fn new_data_directory_has_no_findings() {
        let directory = new_directory();
        let findings = all_checks(directory.path(), false);
        assert!(findings.iter().all(|finding| finding.verdict == Verdict::Ok), "{findings:?}");
        assert_eq!(findings.len(), 7);
        assert!(!directory.path().join("reserve").exists(), "the checks take no space of a full disk");
    }

    #[tokio::test]
    async fn checks_change_nothing_beside_a_server_and_without_one() {
        let listed = |directory: &Path| {
            let mut files: Vec<_> = fs::read_dir(directory)
                .unwrap()
                .map(Result::unwrap)
                // Readers of a server's records share its index of the write-ahead log.
                .filter(|entry| !entry.file_name().to_string_lossy().ends_with("-shm"))
                .map(|entry| {
                    (
                        entry.file_name(),
                        entry.metadata().unwrap().modified().unwrap(),
                        fs::read(entry.path()).unwrap(),
                    )
                })
                .collect();
            files.sort();
            files
        };
        let directory = new_directory();
        let before = listed(directory.path());
        assert!(all_checks(directory.path(), false).iter().all(|finding| finding.verdict == Verdict::Ok));
        let of_tokens = tokens(directory.path(), Timestamp(0)).await.unwrap();
        assert_eq!(of_tokens.verdict, Verdict::Ok, "{}", of_tokens.text);
        assert_eq!(listed(directory.path()), before, "without a server");
        let server = Database::open(&records_path(directory.path())).unwrap();
        let before = listed(directory.path());
        assert!(all_checks(directory.path(), false).iter().all(|finding| finding.verdict == Verdict::Ok));
        assert_eq!(tokens(directory.path(), Timestamp(0)).await.unwrap().verdict, Verdict::Ok);
        assert_eq!(listed(directory.path()), before, "with a server");
        drop(server);
    }

    #[tokio::test]
    async fn records_of_another_schema_are_not_migrated() {
        let directory = new_directory();
        let path = records_path(directory.path());
        let older = u32::try_from(SCHEMA_VERSION - 1).unwrap();
        // The version is at this place of the head of the file.
        let set_version = |version: u32| {
            let mut bytes = fs::read(&path).unwrap();
            bytes[60..64].copy_from_slice(&version.to_be_bytes());
            fs::write(&path, bytes).unwrap();
        };
        for (version, expected) in [(older, Verdict::Warning), (older + 2, Verdict::Failed)] {
            set_version(version);
            let before = fs::read(&path).unwrap();
            assert_eq!(verdict(&all_checks(directory.path(), false), "store"), expected);
            assert_eq!(tokens(directory.path(), Timestamp(0)).await, None);
            assert_eq!(fs::read(&path).unwrap(), before, "{version}");
        }
    }

    #[test]
    fn missing_directory_and_records_fail() {
        let directory = new_directory();
        let missing = all_checks(&directory.path().join("missing"), true);
        assert_eq!(verdict(&missing, "store"), Verdict::Failed);
        fs::create_dir_all(directory.path().join("logs/00")).unwrap();
        fs::remove_file(records_path(directory.path())).unwrap();
        assert_eq!(verdict(&all_checks(directory.path(), true), "store"), Verdict::Failed);
    }

    #[test]
    fn readable_key_and_short_token_are_found() {
        let directory = new_directory();
        let key = directory.path().join("secret.key");
        fs::write(&key, "key").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(verdict(&light_checks(directory.path(), None), "permissions"), Verdict::Warning);
        fs::write(directory.path().join("token"), "short").unwrap();
        assert_eq!(token(directory.path()).verdict, Verdict::Failed);
    }

    #[test]
    fn full_disk_is_found() {
        let directory = new_directory();
        assert_eq!(verdict(&light_checks(directory.path(), Some(u64::MAX)), "disk"), Verdict::Failed);
    }

    #[test]
    fn clock_that_was_set_back_is_found() {
        let directory = new_directory();
        let check = |directory: &Path, now| clock(directory, now).verdict;
        let now = SystemTime::now();
        assert_eq!(check(directory.path(), now), Verdict::Ok);
        assert_eq!(check(directory.path(), now - Duration::from_secs(3_600)), Verdict::Warning);
        assert_eq!(check(directory.path(), SystemTime::UNIX_EPOCH), Verdict::Failed);
    }
}
