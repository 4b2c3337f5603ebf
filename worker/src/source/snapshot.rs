//! Snapshots a working tree, including uncommitted changes, as git objects outside of the user's repository.

mod changed_files;
mod changes;
mod staged;
mod work_tree;

pub use changed_files::changed_files;
pub use work_tree::make_raw;

use super::{
    git::{self, SourceError},
    local,
    registry::{
        RegisteredSnapshot, SNAPSHOTS_DIR, SnapshotDetails, SnapshotKind, SubmoduleDetails, register,
    },
};
use crate::store::{FileLock, short_hash};
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use tidemill_core::execution::assignment::Source;
use tidemill_core::repository::{RepositoryAddress, canonical_name};
use work_tree::WorkTreeFiles;

/// Branches that are taken for the default branch where `origin` names none.
const USUAL_DEFAULT_BRANCHES: [&str; 2] = ["main", "master"];

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
    /// Whether `commit` is one of the repository, not a synthetic one.
    pub has_commit: bool,
    /// Hash of the tree on disk.
    pub tree: String,
    /// Hash of the tree on disk, if it differs from the commit's: other bytes are other files, changed or not.
    pub other_tree: Option<String>,
    /// The source for workers.
    pub source: Source,
    /// Whether there are uncommitted changes.
    pub dirty: bool,
    /// The URL of its `origin`, without credentials, if others can reach it.
    pub origin: Option<String>,
    /// The git directory with the commit and the tree.
    pub objects: PathBuf,
}

#[derive(Default)]
struct LocalRepository {
    top: PathBuf,
    common: Option<PathBuf>,
    branch: Option<String>,
    head: Option<(String, String)>,
    /// The address of `origin` as configured, without a password.
    remote: Option<String>,
    /// The file of its index.
    index: Option<PathBuf>,
}

impl LocalRepository {
    /// Returns the address of `origin`, if others can reach it.
    fn origin(&self) -> Option<String> {
        self.remote.as_deref().and_then(network_address)
    }
}

/// Returns the repository that contains `dir`: the URL of its `origin`, or its path.
pub fn repository_of(dir: &Path) -> Result<String, SourceError> {
    let repository = inspect(dir)?;
    Ok(repository.origin().unwrap_or_else(|| repository.top.to_string_lossy().into_owned()))
}

/// Snapshots the repository (or plain directory) that contains `dir`. Nothing is written to it; objects and an
/// index are kept below `cache`.
pub fn snapshot(dir: &Path, cache: &Path) -> Result<Snapshot, SourceError> {
    let repository = inspect(dir)?;
    let top_name = repository.top.to_string_lossy().into_owned();
    let (repository_dir, _lock) =
        open_shadow_repository(&work_tree_name(&top_name), repository.common.as_deref(), cache)?;
    let files = match &repository.common {
        Some(_) => work_tree::list(&repository.top)?,
        None => work_tree::list_directory(&repository_dir, &repository.top)?,
    };
    let tree = work_tree::write_tree(&repository_dir, &repository.top, &files)?;
    let (submodules, has_changed_submodule) = submodules(&repository.top, &files, cache)?;
    let other_tree =
        Some(tree.clone()).filter(|tree| repository.head.as_ref().is_some_and(|(_, head)| head != tree));
    // The settings matter only where the bytes on disk are not those of the commit.
    let settings = other_tree.as_ref().map(|_| tree_settings(&repository.top)).unwrap_or_default();
    let (commit, dirty) = match &repository.head {
        Some((commit, head_tree)) => {
            let ignores_modes = settings.iter().any(|(key, _)| key == FILE_MODE);
            let differs = changes::differs(&repository_dir, (head_tree, &tree), &files, ignores_modes)?;
            (commit.clone(), differs || has_changed_submodule)
        }
        None => (staged::synthetic_commit(&repository_dir, &tree, None)?, false),
    };
    let staged = match (&repository.index, &repository.head, &other_tree) {
        (Some(index), Some((commit, tree)), Some(_)) => {
            staged::commit(&repository_dir, index, (commit, tree))
        }
        _ => None,
    };
    let kind = match (&repository.common, &repository.head) {
        (None, _) => SnapshotKind::Directory,
        (Some(_), None) => SnapshotKind::Unborn,
        (Some(_), Some(_)) => SnapshotKind::WorkTree,
    };
    let mut details = SnapshotDetails {
        kind,
        origin: repository.remote.clone(),
        submodules,
        lfs: repository.common.as_ref().map(|common| common.join("lfs/objects")),
        settings,
        hidden: files.hidden.clone(),
        staged,
        ..SnapshotDetails::default()
    };
    if let Some(common) = &repository.common {
        copy_refs(common, &repository_dir, repository.branch.as_deref(), &mut details)?;
    }
    let origin = repository.origin();
    let repo = origin.clone().unwrap_or(top_name);
    let source = register(
        cache,
        RegisteredSnapshot {
            repository: &canonical_name(&repo),
            objects: &repository_dir,
            branch: repository.branch.as_deref(),
            commit: &commit,
            tree: other_tree.as_deref(),
            details: &details,
        },
    )?;
    Ok(Snapshot {
        repo,
        top: repository.top,
        branch: repository.branch,
        commit,
        has_commit: kind == SnapshotKind::WorkTree,
        tree,
        other_tree,
        source,
        dirty,
        origin,
        objects: repository_dir,
    })
}

/// Returns the submodules that are checked out, and whether one of them has uncommitted changes or another commit than its
/// parent records.
fn submodules(
    top: &Path,
    files: &WorkTreeFiles,
    cache: &Path,
) -> Result<(Vec<SubmoduleDetails>, bool), SourceError> {
    let (mut all, mut is_changed) = (Vec::new(), false);
    for nested in &files.nested {
        let inner = inspect(&top.join(&nested.path))?;
        let Some((common, (commit, head_tree))) = inner.common.as_ref().zip(inner.head.as_ref()) else {
            continue;
        };
        let name = work_tree_name(&inner.top.to_string_lossy());
        let (objects, _lock) = open_shadow_repository(&name, Some(common), cache)?;
        let mut details = SnapshotDetails::default();
        copy_refs(common, &objects, inner.branch.as_deref(), &mut details)?;
        let own = work_tree::list(&inner.top)?;
        let tree = work_tree::write_tree(&objects, &inner.top, &own)?;
        let ignores_modes =
            *head_tree != tree && tree_settings(&inner.top).iter().any(|(key, _)| key == FILE_MODE);
        is_changed |= nested.recorded.as_ref().is_some_and(|recorded| recorded != commit)
            || changes::differs(&objects, (head_tree, &tree), &own, ignores_modes)?;
        if nested.recorded.is_some() {
            all.push(SubmoduleDetails {
                path: nested.path.clone(),
                objects: objects.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                branch: inner.branch,
                commit: commit.clone(),
                origin: inner.remote,
            });
        }
    }
    Ok((all, is_changed))
}

/// Copies the tags, the default branch and `branch` of the git directory `common` into Tidemill's own repository, and describes
/// them.
pub(super) fn copy_refs(
    common: &Path,
    repository: &Path,
    branch: Option<&str>,
    details: &mut SnapshotDetails,
) -> Result<(), SourceError> {
    let failed = |error: io::Error| SourceError::io("the snapshot cache cannot be written", &error);
    // A commit is checked out as in a clone of the directory, which knows nothing of the directory's own `origin`.
    let is_clone = details.kind == SnapshotKind::Commit;
    let head = if is_clone { common.join("HEAD") } else { common.join("refs/remotes/origin/HEAD") };
    let prefix = if is_clone { "ref: refs/heads/" } else { "ref: refs/remotes/origin/" };
    let head = fs::read_to_string(head).ok();
    let named = head.as_deref().and_then(|text| text.trim().strip_prefix(prefix)).map(str::to_owned);
    let candidates = named.as_deref().into_iter().chain(USUAL_DEFAULT_BRANCHES);
    let candidates: Vec<&str> = candidates.filter(|name| git::is_ref_name(name)).collect();
    let mut command = local::command(common);
    command.args(["for-each-ref", "--format=%(objectname) %(refname)", "refs/tags"]);
    for name in candidates.iter().copied().chain(branch.filter(|name| git::is_ref_name(name))) {
        command.arg(format!("refs/heads/{name}"));
        if !is_clone {
            command.arg(format!("refs/remotes/origin/{name}"));
        }
    }
    let refs = git::run(&mut command)?;
    let exists =
        |name: &str| refs.lines().any(|line| line.split_once(' ').is_some_and(|(_, own)| own == name));
    details.default_branch = candidates
        .iter()
        .find(|name| exists(&format!("refs/remotes/origin/{name}")) || exists(&format!("refs/heads/{name}")))
        .map(|name| (*name).to_owned());
    let is_other = |name: &&str| Some(*name) != details.default_branch.as_deref();
    let mut usual = USUAL_DEFAULT_BRANCHES.into_iter().filter(is_other);
    details.main_branch = usual.find(|name| exists(&format!("refs/heads/{name}"))).map(str::to_owned);
    details.refs = short_hash(&[&refs]);
    let mut lines: Vec<&str> = refs.lines().collect();
    lines.sort_unstable_by_key(|line| line.split_once(' ').map(|(_, name)| name));
    let packed = format!("# pack-refs with: sorted \n{}\n", lines.join("\n"));
    let packed = if lines.is_empty() { String::new() } else { packed };
    let path = repository.join("packed-refs");
    if fs::read_to_string(&path).unwrap_or_default() != packed {
        let new = repository.join("packed-refs.tidemill");
        fs::write(&new, packed).and_then(|()| fs::rename(&new, &path)).map_err(failed)?;
    }
    Ok(())
}

/// The name of the repository for the working tree at `top`. Its files are stored unchanged; commits of the same directory
/// are checked out from another one, with the conversions of git.
fn work_tree_name(top: &str) -> String {
    format!("working tree {top}")
}

/// Opens and locks Tidemill's own bare repository for `name`. Its alternate is the git directory `common`, so that no
/// command has to run in the user's repository.
pub(super) fn open_shadow_repository(
    name: &str,
    common: Option<&Path>,
    cache: &Path,
) -> Result<(PathBuf, FileLock), SourceError> {
    let failed =
        |error: io::Error| SourceError::new(format!("the snapshot cache cannot be written: {error}"));
    let repository_dir = cache.join(SNAPSHOTS_DIR).join(format!("{}.git", short_hash(&[name])));
    let lock = FileLock::wait(&repository_dir.with_extension("lock")).map_err(failed)?;
    if !repository_dir.join("HEAD").exists() {
        git::run(git::command().args(["init", "--quiet", "--bare", "--template="]).arg(&repository_dir))?;
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

/// Length of an object's name.
const SHA1_LEN: usize = 40;

/// Inspects the repository that contains `dir`, with one git process if it has a commit.
fn inspect(dir: &Path) -> Result<LocalRepository, SourceError> {
    let dir = dir
        .canonicalize()
        .map_err(|error| SourceError::new(format!("{} cannot be read: {error}", dir.display())))?;
    let rev_parse = |args: &[&str]| local::git(&dir, &[&["rev-parse"], args].concat());
    let common = ["--path-format=absolute", "--show-toplevel", "--git-common-dir", "--git-path", "index"];
    let full = [&common[..], &["HEAD", "HEAD^{tree}", "--symbolic-full-name", "HEAD"]].concat();
    let (text, has_head) = match rev_parse(&full) {
        Ok(text) => (text, true),
        Err(_) => match rev_parse(&common) {
            Ok(text) => (text, false),
            Err(error) => {
                return match local::repository_error(&dir, &error) {
                    Some(refused) => Err(refused),
                    None => Ok(LocalRepository { top: dir, ..LocalRepository::default() }),
                };
            }
        },
    };
    let lines: Vec<&str> = text.lines().collect();
    let line = |index: usize| lines.get(index).copied().unwrap_or_default();
    // A path with a line break would be read as another directory, and `core.worktree` can name one.
    if lines.len() != if has_head { 6 } else { 3 } || !dir.starts_with(line(0)) {
        return Err(SourceError::new(format!(
            "the directory {} is not in the working tree that git reports for it; rename directories whose names have line \
             breaks or are not UTF-8, and unset core.worktree in the repository's settings",
            dir.display()
        )));
    }
    if has_head && line(3).len() > SHA1_LEN {
        return Err(SourceError::new(format!(
            "the repository {} has SHA-256 object names, which are not supported; use a repository with SHA-1 names, the default \
             of git",
            line(0)
        )));
    }
    let common = PathBuf::from(line(1));
    let head = has_head.then(|| (line(3).to_owned(), line(4).to_owned()));
    let branch = if has_head {
        line(5).strip_prefix("refs/heads/").map(str::to_owned)
    } else {
        local::git(&dir, &["symbolic-ref", "--quiet", "--short", "HEAD"])
            .ok()
            .map(|name| name.trim_end().to_owned())
    };
    let top = PathBuf::from(line(0));
    let index = Some(PathBuf::from(line(2)));
    Ok(LocalRepository { remote: remote(&common), top, common: Some(common), branch, head, index })
}

/// The setting of git that ignores the modes of files, if it is `false`.
const FILE_MODE: &str = "filemode";

/// Returns the user's settings of git that convert line endings, and the one that ignores the modes of files.
fn tree_settings(top: &Path) -> Vec<(String, String)> {
    let pattern = r"^core\.(autocrlf|eol|filemode)$";
    let text = local::git(top, &["config", "--get-regexp", pattern]).unwrap_or_default();
    let is_known = |key: &str, value: &str| match key {
        // Every repository says `true`, which is the default.
        FILE_MODE => value == "false",
        _ => matches!(value, "true" | "false" | "input" | "lf" | "crlf" | "native"),
    };
    let setting = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        let key = key.trim_start_matches("core.");
        is_known(key, value).then(|| (key.to_owned(), value.to_owned()))
    };
    text.lines().filter_map(setting).collect()
}

/// Returns the address of `origin` without a password. Reads the file, which costs less than a git process.
fn remote(common: &Path) -> Option<String> {
    let config = fs::read_to_string(common.join("config")).ok()?;
    let mut inside = false;
    for line in config.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[remote \"origin\"]";
        } else if inside && let Some(url) = line.strip_prefix("url") {
            let url = url.trim_start().strip_prefix('=')?.trim().trim_matches('"');
            return Some(network_address(url).unwrap_or_else(|| url.to_owned()))
                .filter(|url| !url.contains('@') || network_address(url).is_some());
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
