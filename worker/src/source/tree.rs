//! Read-only trees of sources, checked out once and shared by all jobs that need them.

use super::{
    bounds::{OperationBounds, lock_exclusive, lock_shared},
    error::SourceErrorKind,
    git::{
        self, HISTORY_DEPTH, SourceError,
        listing::{Records, parse_entry},
        process::ProcessLimits,
    },
    mirror::{ObjectRepository, detect_disk_full, mirror_with_commit, upload_repository},
    network::HostPolicy,
    registry,
    upload::Download,
};
use crate::{
    store::{FileLock, short_hash},
    workspace::FileOwner,
};
use std::{
    fs::{self, File},
    io::Write,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::Command,
};
use tidemill_core::execution::assignment::Source;

/// The directory of trees, below the cache.
pub const TREES_DIR: &str = "trees";
/// Assumed disk block size in bytes: a file occupies at least one block.
const DISK_BLOCK_SIZE: u64 = 4096;

/// A tree of sources, which is not removed while this exists.
#[derive(Debug)]
pub struct Tree {
    /// The directory of the tree, with a usable `.git`. It must not be written to: all jobs with the same sources share it.
    pub path: PathBuf,
    /// Whether this call created it.
    pub(super) is_new: bool,
    _in_use: FileLock,
}

/// Returns the tree of `source`, which is created if it does not exist; `None` for [`Source::None`]. `download` fetches
/// missing uploads.
pub fn materialize(
    source: &Source,
    cache: &Path,
    reach: &HostPolicy,
    download: Download<'_>,
) -> Result<Option<Tree>, SourceError> {
    materialize_for(source, FileOwner::Worker, cache, reach, download)
}

/// Like [`materialize`], for a tree whose files belong to `owner`. Trees of different owners share nothing, as a file has one owner.
pub fn materialize_for(
    source: &Source,
    owner: FileOwner,
    cache: &Path,
    reach: &HostPolicy,
    download: Download<'_>,
) -> Result<Option<Tree>, SourceError> {
    let no_tree = None;
    let (from, branch, commit, tree) = match source {
        Source::None => return Ok(None),
        Source::Git { url, branch, commit, .. } => (url.clone(), branch, commit, &no_tree),
        Source::Snapshot { snapshot, repository, branch, commit, tree } => {
            (format!("snapshot {snapshot} of {repository}"), branch, commit, tree)
        }
        Source::Uploaded { upload, branch, commit, tree, .. } => {
            (format!("upload {upload}"), branch, commit, tree)
        }
    };
    if !git::is_full_hash(commit) || tree.as_ref().is_some_and(|tree| !git::is_full_hash(tree)) {
        return Err(SourceError::new(format!("`{commit}` is not a full commit hash")));
    }
    let label = owner.label();
    let mut parts = vec![&from, branch.as_deref().unwrap_or(""), commit, tree.as_deref().unwrap_or("")];
    parts.extend(label.as_deref());
    let key = short_hash(&parts);
    let home = cache.join(TREES_DIR);
    let target = home.join(&key);
    let in_use = lock_shared(&home.join(format!("{key}.used")))?;
    in_use.touch();
    let mut is_new = false;
    if !target.join(".git").exists() {
        let _lock = lock_exclusive(&home.join(format!("{key}.lock")))?;
        if !target.join(".git").exists() {
            let (objects, url) = match source {
                Source::None => return Ok(None),
                Source::Uploaded { upload, url, private_host, base, .. } => {
                    if base.as_ref().is_some_and(|base| !git::is_full_hash(base)) {
                        return Err(SourceError::new(
                            "the base of the uploaded sources is not a full commit hash",
                        ));
                    }
                    let remote = url.as_deref().map(|url| reach.remote(url, *private_host)).transpose()?;
                    let from = remote.as_ref().zip(base.as_deref());
                    let required = [Some(commit), tree.as_ref()].into_iter().flatten();
                    let required: Vec<&str> = required.map(String::as_str).collect();
                    let objects = upload_repository(upload, from, &required, cache, download)?;
                    (objects, remote.map(|remote| remote.url().to_owned()))
                }
                Source::Snapshot { snapshot, repository, .. } => {
                    (ObjectRepository::of_snapshot(registry::find(cache, snapshot, repository)?), None)
                }
                Source::Git { url, private_host, .. } => {
                    let remote = reach.remote(url, *private_host)?;
                    let objects = mirror_with_commit(&remote, branch.as_deref(), None, commit, cache)?;
                    (objects, Some(remote.url().to_owned()))
                }
            };
            let checkout = TreeSource {
                objects: &objects.path,
                url: url.as_deref(),
                branch: branch.as_deref(),
                commit,
                tree: tree.as_deref(),
                owner,
            };
            let size = checkout.build(&home.join(format!("{key}.new")), &target)?;
            // Recorded for pruning, which would otherwise have to walk all files.
            let _ = fs::write(home.join(format!("{key}.size")), size.to_string());
            is_new = true;
        }
    }
    Ok(Some(Tree { path: target, is_new, _in_use: in_use }))
}

/// What to check out.
struct TreeSource<'a> {
    objects: &'a Path,
    url: Option<&'a str>,
    branch: Option<&'a str>,
    commit: &'a str,
    tree: Option<&'a str>,
    owner: FileOwner,
}

impl TreeSource<'_> {
    /// Creates the tree at `building`, moves it to `target`, and returns its approximate size in bytes. Removes the
    /// tree if this fails.
    fn build(&self, building: &Path, target: &Path) -> Result<u64, SourceError> {
        struct TemporaryTree<'a>(&'a Path);
        impl Drop for TemporaryTree<'_> {
            fn drop(&mut self) {
                let _ = fs::remove_dir_all(self.0);
            }
        }
        let failed = |error| SourceError::io("the source cache cannot be written", &error);
        let _ = fs::remove_dir_all(building);
        let _unfinished = TemporaryTree(building);
        fs::create_dir_all(building).map_err(failed)?;
        let size = self.check_out(building).map_err(|error| detect_disk_full(error, building))?;
        self.give_to_owner(building).map_err(failed)?;
        fs::rename(building, target).map_err(failed)?;
        Ok(size)
    }

    fn give_to_owner(&self, tree: &Path) -> std::io::Result<()> {
        if self.owner == FileOwner::Worker {
            return Ok(());
        }
        self.owner.give_tree(tree)?;
        // The index records the owners and times of the files. If they differ, git reads all files again, in each job. An error
        // means that some files differ from the commit.
        let git_dir = tree.join(".git");
        let mut refresh = git::at(&git_dir);
        refresh.arg("--work-tree").arg(tree).current_dir(tree).args(["update-index", "-q", "--refresh"]);
        let _ = git::run(&mut refresh);
        let index = git_dir.join("index");
        if index.exists() { self.owner.give_path(&index) } else { Ok(()) }
    }

    fn check_out(&self, into: &Path) -> Result<u64, SourceError> {
        if let Some(branch) = self.branch
            && !git::is_ref_name(branch)
        {
            return Err(SourceError::new(format!("`{branch}` is not a valid branch name")));
        }
        let git_dir = into.join(".git");
        let in_tree = || {
            let mut command = git::at(&git_dir);
            command.arg("--work-tree").arg(into).current_dir(into);
            command
        };
        // The tree that is checked out in the end: the snapshot's or the commit's.
        let size = self.measure(self.tree.unwrap_or(self.commit))?;
        let mut init = in_tree();
        init.args(["init", "--quiet", "--template="]);
        if let Some(branch) = self.branch {
            init.arg(format!("--initial-branch={branch}"));
        }
        git::run(&mut init)?;
        let from = format!("file://{}", self.objects.display());
        let fetch = |args: &[&str]| {
            let mut command = git::local_fetch_command(&git_dir);
            command.args(["fetch", "--quiet", "--no-tags", "--update-head-ok"]).args(args);
            git::run(&mut command)
        };
        let commit = self.commit;
        match self.branch {
            // HEAD refers to this branch already.
            Some(branch) => fetch(&[HISTORY_DEPTH, &from, &format!("+{commit}:refs/heads/{branch}")])?,
            None => fetch(&[HISTORY_DEPTH, &from, commit])?,
        };
        let branch_tip;
        let head = if let Some(branch) = self.branch {
            branch_tip = format!("refs/heads/{branch}");
            branch_tip.as_str()
        } else {
            git::run(in_tree().args(["update-ref", "--no-deref", "HEAD", commit]))?;
            commit
        };
        if let Some(tree) = self.tree {
            // The snapshot's changes stay uncommitted, as in the user's working tree.
            fetch(&[&from, tree])?;
            git::run(in_tree().args(["read-tree", "--reset", "-u", tree]))?;
            git::run(in_tree().args(["reset", "--quiet", "--mixed", commit]))?;
        } else {
            git::run(in_tree().args(["read-tree", "--reset", "-u", head]))?;
        }
        if let Some(url) = self.url {
            set_origin(&git_dir, url).map_err(|error| {
                SourceError::io("the remote `origin` of the sources cannot be configured", &error)
            })?;
        }
        let packs = fs::read_dir(git_dir.join("objects/pack")).into_iter().flatten().flatten();
        Ok(size + packs.filter_map(|pack| pack.metadata().ok()).map(|meta| meta.len()).sum::<u64>())
    }

    /// Returns the approximate size of the files of `tree` in bytes, or an error if they exceed the limits of this worker.
    fn measure(&self, tree: &str) -> Result<u64, SourceError> {
        let limits = OperationBounds::current().limits;
        let (mut records, mut files, mut bytes) = (Records::default(), 0_u64, 0_u64);
        let mut list: Command = git::at(self.objects);
        list.args(["ls-tree", "-r", "-z", "-l", "--full-tree", tree]);
        let is_complete = git::stream(&mut list, ProcessLimits::default(), &mut |piece| {
            records.push(piece, &mut |record| {
                let Some(entry) = parse_entry(record) else { return ControlFlow::Break(()) };
                files += 1;
                bytes = bytes.saturating_add(
                    entry.size.unwrap_or(0).next_multiple_of(DISK_BLOCK_SIZE).max(DISK_BLOCK_SIZE),
                );
                if files > limits.checkout_files || bytes > limits.checkout_bytes {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })
        })?;
        if is_complete {
            return Ok(bytes);
        }
        let message = format!(
            "the commit has more than {} files or more than {} bytes of files, the limits of this worker; raise \
             TIDEMILL_CHECKOUT_MAX_FILES or TIDEMILL_CHECKOUT_MAX_SIZE on the worker",
            limits.checkout_files, limits.checkout_bytes
        );
        Err(SourceError::of(SourceErrorKind::TooLarge, message))
    }
}

/// Sets `remote.origin.url` in the repository's configuration.
fn set_origin(git_dir: &Path, url: &str) -> std::io::Result<()> {
    let quoted: String = url.chars().filter(|c| !c.is_control()).fold(String::new(), |mut text, c| {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
        text
    });
    let mut config = File::options().append(true).open(git_dir.join("config"))?;
    write!(config, "[remote \"origin\"]\n\turl = \"{quoted}\"\n")
}
