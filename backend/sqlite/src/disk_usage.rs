//! Measures what the stores of a data directory use of the disk, by kind and by repository.

use crate::{files::DiskReserve, sqlite::Database};
use rusqlite::{Connection, OptionalExtension, params};
use std::{
    collections::{HashMap, HashSet},
    fs::{self, Metadata},
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tidemill_core::{
    ids::digest::sha256_hex,
    retention::api::{DiskUsage, RepositoryUsage},
};
use tidemill_services::{
    Disk, DiskMeter,
    error::{Error, Result},
};
use uuid::Uuid;

const OPERATION: &str = "measuring the use of the disk";
/// Time after which files are no longer counted.
const MAX_TIME: Duration = Duration::from_secs(10);
/// Maximum number of listed repositories.
const MAX_REPOSITORIES: usize = 200;
/// Number of files whose repositories are looked up at once.
const BATCH_LEN: usize = 500;
/// Size of the blocks that a file system counts.
const BLOCK_SIZE: u64 = 512;
/// A file of an object has two names if its content is known by its hash, and more if several objects share it.
const MAX_OWN_NAMES: u64 = 2;
/// The names by content.
const CONTENT_DIRECTORY: &str = ".content";

/// Measures a data directory.
#[derive(Debug)]
pub struct DirectoryMeter {
    data_dir: PathBuf,
    database: Arc<Database>,
    reserve: Arc<DiskReserve>,
}

impl DirectoryMeter {
    pub(crate) fn new(data_dir: &Path, database: Arc<Database>, reserve: Arc<DiskReserve>) -> Self {
        Self { data_dir: data_dir.to_owned(), database, reserve }
    }
}

impl DiskMeter for DirectoryMeter {
    fn measure(&self) -> Result<DiskUsage> {
        let mut count = Count::new(&self.database, Instant::now() + MAX_TIME)?;
        for (directory, of_file) in [("artifacts", object as fn(&Path) -> Part), ("logs", log)] {
            count.add_tree(&self.data_dir.join(directory), of_file)?;
        }
        count.flush()?;
        let mut usage = count.into_usage();
        for entry in entries(&self.data_dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Some(metadata) = file(&entry).map_err(failed)? {
                let is_database = entry.file_name().to_string_lossy().starts_with("tidemill.db");
                let bytes = if is_database { &mut usage.record_bytes } else { &mut usage.other_bytes };
                *bytes += size(&metadata);
            }
        }
        usage.free_bytes = self.reserve.state().free_bytes;
        Ok(usage)
    }
}

fn failed(error: io::Error) -> Error {
    Error::io(OPERATION, error)
}

/// What a file is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Log,
    Artifact,
    Cache,
    Upload,
    Other,
}

/// Whose a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owner {
    Job(Uuid),
    Execution(Uuid),
    /// The hash of a repository's name.
    Repository(String),
    Nobody,
}

type Part = (Kind, Owner);

/// Returns what an object is part of, by the parts of its key.
fn object(path: &Path) -> Part {
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    let id = |text: &str| Uuid::parse_str(text).ok();
    match parts.as_slice() {
        ["artifacts", "cache", repository, ..] => (Kind::Cache, Owner::Repository((*repository).to_owned())),
        ["artifacts", job, ..] => (Kind::Artifact, id(job).map_or(Owner::Nobody, Owner::Job)),
        ["logs", "summaries", execution, ..] => {
            (Kind::Log, id(execution).map_or(Owner::Nobody, Owner::Execution))
        }
        ["sources", ..] => (Kind::Upload, Owner::Nobody),
        _ => (Kind::Other, Owner::Nobody),
    }
}

/// Returns what a log is part of: its name is the id of the job, and the attempt.
fn log(path: &Path) -> Part {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let job = name.split('.').next().and_then(|id| Uuid::parse_str(id).ok());
    (Kind::Log, job.map_or(Owner::Nobody, Owner::Job))
}

/// Counts files.
struct Count<'a> {
    database: &'a Database,
    until: Instant,
    usage: DiskUsage,
    /// By repository.
    repositories: HashMap<String, RepositoryUsage>,
    /// Name of a repository by the hash in the keys of its caches.
    names: HashMap<String, String>,
    /// Files with several names that were counted.
    shared: HashSet<u64>,
    /// Files whose repositories are not looked up yet.
    batch: Vec<(Kind, Owner, u64)>,
}

impl<'a> Count<'a> {
    fn new(database: &'a Database, until: Instant) -> Result<Self> {
        let counted = database.read(OPERATION, |conn| {
            let mut statement = conn.prepare("SELECT repo, count(*) FROM executions GROUP BY repo")?;
            let rows =
                statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let mut count = Self {
            database,
            until,
            usage: DiskUsage::default(),
            repositories: HashMap::new(),
            names: HashMap::new(),
            shared: HashSet::new(),
            batch: Vec::new(),
        };
        for (repo, executions) in counted {
            // A line break separates the parts of a cache's name.
            count.names.insert(sha256_hex(repo.replace('\n', " ").as_bytes()), repo.clone());
            let executions = executions.unsigned_abs();
            let usage = RepositoryUsage { repo: repo.clone(), executions, ..RepositoryUsage::default() };
            count.repositories.insert(repo, usage);
        }
        Ok(count)
    }

    /// Counts the files below `root`. A file that disappears meanwhile does not count.
    fn add_tree(&mut self, root: &Path, of_file: fn(&Path) -> Part) -> Result<()> {
        let mut directories = vec![root.to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in entries(&directory).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                if Instant::now() >= self.until {
                    self.usage.partial = true;
                    return Ok(());
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    if entry.file_name() != CONTENT_DIRECTORY {
                        directories.push(entry.path());
                    }
                } else if let Some(metadata) = file(&entry).map_err(failed)? {
                    let path = entry.path();
                    let (kind, owner) = of_file(path.strip_prefix(root).unwrap_or(&path));
                    self.add(kind, owner, &metadata)?;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, kind: Kind, owner: Owner, metadata: &Metadata) -> Result<()> {
        let bytes = size(metadata);
        let is_shared = metadata.nlink() > MAX_OWN_NAMES;
        if !is_shared || self.shared.insert(metadata.ino()) {
            *match kind {
                Kind::Log => &mut self.usage.log_bytes,
                Kind::Artifact => &mut self.usage.artifact_bytes,
                Kind::Cache => &mut self.usage.cache_bytes,
                Kind::Upload => &mut self.usage.upload_bytes,
                Kind::Other => &mut self.usage.other_bytes,
            } += bytes;
        }
        if owner != Owner::Nobody {
            self.batch.push((kind, owner, bytes));
        }
        if self.batch.len() >= BATCH_LEN {
            self.flush()?;
        }
        Ok(())
    }

    /// Adds the files of the batch to their repositories.
    fn flush(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let names = &self.names;
        let owners = self.database.read(OPERATION, |conn| {
            batch
                .iter()
                .map(|(_, owner, _)| repository(conn, names, owner))
                .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        for ((kind, _, bytes), repo) in batch.into_iter().zip(owners) {
            let Some(repo) = repo else { continue };
            let usage = self.repositories.entry(repo).or_insert_with_key(|repo| RepositoryUsage {
                repo: repo.clone(),
                ..RepositoryUsage::default()
            });
            match kind {
                Kind::Log => usage.log_bytes += bytes,
                Kind::Artifact => usage.artifact_bytes += bytes,
                Kind::Cache => usage.cache_bytes += bytes,
                Kind::Upload | Kind::Other => {}
            }
        }
        Ok(())
    }

    /// Returns what was counted, with the largest repositories.
    fn into_usage(self) -> DiskUsage {
        let mut repositories: Vec<RepositoryUsage> = self.repositories.into_values().collect();
        repositories.sort_by(|a, b| (b.total_bytes(), &a.repo).cmp(&(a.total_bytes(), &b.repo)));
        let unlisted = repositories.len().saturating_sub(MAX_REPOSITORIES);
        repositories.truncate(MAX_REPOSITORIES);
        DiskUsage { repositories, unlisted_repositories: unlisted as u64, ..self.usage }
    }
}

/// Returns the repository of a file, if the records still have its execution.
fn repository(
    conn: &Connection,
    names: &HashMap<String, String>,
    owner: &Owner,
) -> rusqlite::Result<Option<String>> {
    let (sql, id) = match owner {
        Owner::Job(id) => {
            ("SELECT repo FROM executions WHERE seq = (SELECT node >> 32 FROM jobs WHERE id = ?1)", id)
        }
        Owner::Execution(id) => ("SELECT repo FROM executions WHERE id = ?1", id),
        Owner::Repository(hash) => return Ok(names.get(hash).cloned()),
        Owner::Nobody => return Ok(None),
    };
    conn.prepare_cached(sql)?.query_row(params![id], |row| row.get(0)).optional()
}

/// Returns the entries of a directory; none if it does not exist.
fn entries(directory: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        read => Ok(Some(read?).into_iter().flatten()),
    }
}

/// Returns what the file system says about a file; `None` if it is none, or was removed.
fn file(entry: &fs::DirEntry) -> io::Result<Option<Metadata>> {
    match entry.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(|metadata| Some(metadata).filter(Metadata::is_file)),
    }
}

/// Returns the bytes that a file uses, as `du` counts them.
fn size(metadata: &Metadata) -> u64 {
    metadata.blocks() * BLOCK_SIZE
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::{OpenedStores, open_all};
    use bytes::Bytes;
    use futures_util::{StreamExt, stream};
    use std::sync::Arc;
    use tidemill_core::{
        api::ExecuteRequest,
        ids::{ArtifactId, ExecutionId, JobId, digest::sha256_hex},
    };
    use tidemill_services::{DiskMeter, Services, Settings, SystemClock};
    use tokio_util::sync::CancellationToken;

    const KIB: u64 = 1 << 10;

    async fn execution(services: &Services, repo: &str) -> ExecutionId {
        let request = ExecuteRequest {
            pipeline: "name: ci\ndefaults: { image: i }\njobs: { a: { script: x } }\n".into(),
            repo: format!("https://git.example.org/{repo}"),
            force: true,
            ..ExecuteRequest::default()
        };
        services.pipelines.execute(request, None, None).await.unwrap().execution_id
    }

    async fn put(opened: &OpenedStores, key: &str, byte: u8, size: u64) {
        let bytes = Bytes::from(vec![byte; usize::try_from(size).unwrap()]);
        opened.stores.objects.put(key, stream::iter([Ok(bytes)]).boxed()).await.unwrap();
    }

    #[tokio::test]
    async fn files_are_counted_by_kind_and_repository() {
        let directory = tempfile::tempdir().unwrap();
        let opened = open_all(directory.path(), Arc::new(SystemClock), Some(0)).unwrap();
        let services = Services::new(opened.stores.clone(), Settings::default(), CancellationToken::new());
        let large = execution(&services, "team/large").await;
        let small = execution(&services, "team/small").await;
        execution(&services, "team/small").await;
        // Both have an artifact of the same content, which is stored once.
        for id in [large, small] {
            let key = format!("artifacts/{}/{}", JobId::of(id, 0), ArtifactId::of(id, 0, 1, 0));
            put(&opened, &key, 1, 64 * KIB).await;
            let summary = format!("logs/summaries/{id}/{}/1", JobId::of(id, 0));
            put(&opened, &summary, 2, KIB).await;
        }
        opened.stores.logs.append(JobId::of(large, 0), 1, 0, &vec![3; 100 * 1024]).await.unwrap();
        let hash = sha256_hex(b"git.example.org/team/large");
        put(&opened, &format!("artifacts/cache/{hash}/ab/cd/ef"), 4, 32 * KIB).await;
        put(&opened, "sources/ab", 5, 48 * KIB).await;
        let removed = "artifacts/00000000-0000-0000-0000-000000000000/x";
        put(&opened, removed, 6, 8 * KIB).await;

        let usage = opened.meter.measure().unwrap();
        // A file ends with a trailer, and uses whole blocks.
        let close = |bytes: u64, kib: u64| (kib * KIB..(kib + 12) * KIB).contains(&bytes);
        assert!(close(usage.artifact_bytes, 64 + 8), "{usage:?}");
        assert!(close(usage.log_bytes, 100 + 2), "{usage:?}");
        assert!(close(usage.cache_bytes, 32) && close(usage.upload_bytes, 48), "{usage:?}");
        assert!(usage.record_bytes > 0 && usage.other_bytes >= 8 << 20 && usage.free_bytes > 0, "{usage:?}");
        assert!(!usage.partial && usage.unlisted_repositories == 0, "{usage:?}");
        let [first, second] = usage.repositories.as_slice() else { panic!("{usage:?}") };
        assert_eq!((first.repo.as_str(), first.executions), ("git.example.org/team/large", 1));
        assert_eq!((second.repo.as_str(), second.executions), ("git.example.org/team/small", 2));
        assert!(close(first.artifact_bytes, 64) && close(second.artifact_bytes, 64), "{usage:?}");
        assert!(close(first.log_bytes, 101) && close(second.log_bytes, 1), "{usage:?}");
        assert!(close(first.cache_bytes, 32) && second.cache_bytes == 0, "{usage:?}");
    }
}
