//! Snapshots a working tree, including uncommitted changes, as git objects outside of the user's repository.

use super::{
    git::{self, SourceError},
    local,
    registry::{RegisteredSnapshot, register},
};
use crate::store::{FileLock, short_hash};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tidemill_core::execution::assignment::Source;
use tidemill_core::repository::{RepositoryAddress, canonical_name};

/// The state of a directory, registered for workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The URL of the repository's `origin`, or its path.
    pub repo: String,
    /// The top directory of the working tree.
    pub top: PathBuf,
    /// The branch, unless HEAD is detached or the directory is not in a repository.
    pub branch: Option<String>,
    /// The commit of HEAD, or a synthetic commit of the tree if there is none.
    pub commit: String,
    /// Hash of the tree on disk.
    pub tree: String,
    /// The source for workers.
    pub source: Source,
    /// Whether the tree differs from the commit's tree.
    pub dirty: bool,
    /// The URL of its `origin`, without credentials.
    pub origin: Option<String>,
    /// The git directory with the commit and the tree.
    pub objects: PathBuf,
}

struct LocalRepository {
    top: PathBuf,
    common: Option<PathBuf>,
    branch: Option<String>,
    head: Option<(String, String)>,
    origin: Option<String>,
}

/// Returns the repository that contains `dir`: the URL of its `origin`, or its path.
pub fn repository_of(dir: &Path) -> Result<String, SourceError> {
    let repository = inspect(dir)?;
    Ok(repository.origin.unwrap_or_else(|| repository.top.to_string_lossy().into_owned()))
}

/// Snapshots the repository (or plain directory) that contains `dir`. Nothing is written to it; objects and an
/// index are kept below `cache`.
pub fn snapshot(dir: &Path, cache: &Path) -> Result<Snapshot, SourceError> {
    let repository = inspect(dir)?;
    let top_name = repository.top.to_string_lossy().into_owned();
    let (repository_dir, _lock) = open_shadow_repository(&top_name, repository.common.as_deref(), cache)?;
    let in_work_tree = || {
        let mut command = git::at(&repository_dir);
        command.arg("--work-tree").arg(&repository.top).current_dir(&repository.top);
        command.args(["-c", "core.bare=false", "-c", "advice.addEmbeddedRepo=false"]);
        command
    };
    git::run(in_work_tree().args(["add", "--all", "--", "."]))?;
    let tree = git::run(in_work_tree().arg("write-tree"))?.trim_end().to_owned();
    let (commit, dirty) = match &repository.head {
        Some((commit, head_tree)) if *head_tree == tree => (commit.clone(), false),
        Some((commit, _)) => (commit.clone(), true),
        None => {
            let stamp = "1970-01-01T00:00:00Z";
            let mut command = git::at(&repository_dir);
            command.args(["commit-tree", "-m", "The directory as it is on disk", &tree]);
            for role in ["AUTHOR", "COMMITTER"] {
                command
                    .env(format!("GIT_{role}_NAME"), "Tidemill")
                    .env(format!("GIT_{role}_EMAIL"), "tidemill@localhost");
                command.env(format!("GIT_{role}_DATE"), stamp);
            }
            (git::run(&mut command)?.trim_end().to_owned(), false)
        }
    };
    let repo = repository.origin.clone().unwrap_or(top_name);
    let source = register(
        cache,
        RegisteredSnapshot {
            repository: &canonical_name(&repo),
            objects: &repository_dir,
            branch: repository.branch.as_deref(),
            commit: &commit,
            tree: dirty.then_some(tree.as_str()),
        },
    )?;
    Ok(Snapshot {
        repo,
        top: repository.top,
        branch: repository.branch,
        commit,
        tree,
        source,
        dirty,
        origin: repository.origin,
        objects: repository_dir,
    })
}

/// Opens and locks Tidemill's own bare repository for `top`. Its alternate is the git directory `common`, so that no
/// command has to run in the user's repository.
pub(super) fn open_shadow_repository(
    top: &str,
    common: Option<&Path>,
    cache: &Path,
) -> Result<(PathBuf, FileLock), SourceError> {
    let failed =
        |error: std::io::Error| SourceError::new(format!("the snapshot cache cannot be written: {error}"));
    let repository_dir = cache.join("snapshots").join(format!("{}.git", short_hash(&[top])));
    let lock = FileLock::wait(&repository_dir.with_extension("lock")).map_err(failed)?;
    if !repository_dir.join("HEAD").exists() {
        git::run(git::command().args(["init", "--quiet", "--bare"]).arg(&repository_dir))?;
    }
    if let Some(common) = common {
        let alternates = format!("{}\n", common.join("objects").display());
        fs::write(repository_dir.join("objects/info/alternates"), alternates).map_err(failed)?;
        fs::create_dir_all(repository_dir.join("info")).map_err(failed)?;
        // The ignore patterns, and the boundary of a shallow clone.
        for name in ["info/exclude", "shallow"] {
            match fs::read(common.join(name)) {
                Ok(text) => fs::write(repository_dir.join(name), text).map_err(failed)?,
                Err(_) => drop(fs::remove_file(repository_dir.join(name))),
            }
        }
    }
    Ok((repository_dir, lock))
}

/// Inspects the repository that contains `dir`, with one git process if it has a commit.
fn inspect(dir: &Path) -> Result<LocalRepository, SourceError> {
    let dir = dir
        .canonicalize()
        .map_err(|error| SourceError::new(format!("{} cannot be read: {error}", dir.display())))?;
    let rev_parse = |args: &[&str]| local::git(&dir, &[&["rev-parse"], args].concat());
    let common = ["--path-format=absolute", "--show-toplevel", "--git-common-dir"];
    let full = [&common[..], &["HEAD", "HEAD^{tree}", "--symbolic-full-name", "HEAD"]].concat();
    let (text, has_head) = match rev_parse(&full) {
        Ok(text) => (text, true),
        Err(_) => match rev_parse(&common) {
            Ok(text) => (text, false),
            Err(error) => {
                return match local::repository_error(&dir, &error) {
                    Some(refused) => Err(refused),
                    None => {
                        Ok(LocalRepository { top: dir, common: None, branch: None, head: None, origin: None })
                    }
                };
            }
        },
    };
    let lines: Vec<&str> = text.lines().collect();
    let line = |index: usize| lines.get(index).copied().unwrap_or_default();
    let common = PathBuf::from(line(1));
    let head = has_head.then(|| (line(2).to_owned(), line(3).to_owned()));
    let branch = line(4).strip_prefix("refs/heads/").map(str::to_owned);
    let top = PathBuf::from(line(0));
    Ok(LocalRepository { origin: origin(&common), top, common: Some(common), branch, head })
}

/// Returns the address of `origin` without credentials, if it is a network address. Reads the file, which costs less
/// than a git process.
fn origin(common: &Path) -> Option<String> {
    let config = fs::read_to_string(common.join("config")).ok()?;
    let mut inside = false;
    for line in config.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[remote \"origin\"]";
        } else if inside && let Some(url) = line.strip_prefix("url") {
            let url = url.trim_start().strip_prefix('=')?.trim().trim_matches('"');
            return network_address(url);
        }
    }
    None
}

fn network_address(url: &str) -> Option<String> {
    let (address, _) = RepositoryAddress::parse_with_credentials(url).ok()?;
    Some(address.to_git_url())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::{Snapshot, git, network_address, snapshot};
    use crate::source::{HostPolicy, materialize};
    use std::{fs, path::Path};
    use tidemill_core::execution::assignment::Source;

    fn repository(dir: &Path) {
        let commit = |args: &[&str]| {
            git::run(
                git::command()
                    .arg("-C")
                    .arg(dir)
                    .args(["-c", "user.name=t", "-c", "user.email=t@t"])
                    .args(args),
            )
            .unwrap()
        };
        commit(&["init", "-q", "-b", "trunk"]);
        fs::write(dir.join(".gitignore"), "ignored\n").unwrap();
        fs::write(dir.join("a.txt"), "one\n").unwrap();
        commit(&["add", "-A"]);
        commit(&["commit", "-q", "-m", "first"]);
    }

    fn checked_out(snapshot: &Snapshot, cache: &Path) -> std::path::PathBuf {
        let policy = HostPolicy::default();
        let tree = materialize(&snapshot.source, cache, &policy, &|_| panic!("nothing is uploaded"));
        tree.unwrap().unwrap().path.clone()
    }

    #[test]
    fn clean_tree_is_its_commit_and_dirty_tree_is_the_state_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let cache = tempfile::tempdir().unwrap();
        repository(dir.path());
        let clean = snapshot(dir.path(), cache.path()).unwrap();
        assert!(!clean.dirty);
        assert_eq!(clean.branch.as_deref(), Some("trunk"));
        assert_eq!(fs::read_to_string(checked_out(&clean, cache.path()).join("a.txt")).unwrap(), "one\n");

        fs::write(dir.path().join("a.txt"), "two\n").unwrap();
        fs::write(dir.path().join("new.txt"), "new\n").unwrap();
        fs::write(dir.path().join("ignored"), "no\n").unwrap();
        let dirty = snapshot(dir.path(), cache.path()).unwrap();
        assert!(dirty.dirty);
        assert_eq!(dirty.commit, clean.commit);
        let tree = checked_out(&dirty, cache.path());
        assert_eq!(fs::read_to_string(tree.join("a.txt")).unwrap(), "two\n");
        assert!(tree.join("new.txt").exists() && !tree.join("ignored").exists());
        let status = git::text(&["-C", &tree.to_string_lossy(), "status", "--porcelain"]).unwrap();
        assert_eq!(status, " M a.txt\n?? new.txt\n");
        let user = git::text(&["-C", &dir.path().to_string_lossy(), "status", "--porcelain"]).unwrap();
        assert_eq!(user, " M a.txt\n?? new.txt\n", "the user's own index is untouched");
    }

    #[test]
    fn plain_directory_and_empty_repository_are_snapshotted() {
        for init in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let cache = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("a.txt"), "one\n").unwrap();
            if init {
                git::run(git::command().args(["init", "-q"]).arg(dir.path())).unwrap();
            }
            let first = snapshot(dir.path(), cache.path()).unwrap();
            assert_eq!(first, snapshot(dir.path(), cache.path()).unwrap());
            assert!(matches!(&first.source, Source::Snapshot { tree: None, .. }));
            assert_eq!(fs::read_to_string(checked_out(&first, cache.path()).join("a.txt")).unwrap(), "one\n");
        }
    }

    #[test]
    fn origin_is_shown_without_its_password() {
        assert_eq!(network_address("https://u:p@host/x.git").as_deref(), Some("https://host/x.git"));
        assert_eq!(network_address("ssh://git@host/x.git").as_deref(), Some("ssh://git@host/x.git"));
        for path in ["/srv/x.git", "../x", "file:///srv/x.git", "ext::sh -c id"] {
            assert_eq!(network_address(path), None, "{path}");
        }
    }
}
