//! Read-only trees of sources, laid out once and shared by all jobs that need them.

use super::{
    bounds::{OperationBounds, lock_alone, lock_shared},
    error::SourceErrorKind,
    git::{
        self, HISTORY_DEPTH, SourceError,
        listing::{Records, entry},
        process::ProcessLimits,
    },
    mirror::{Objects, explained, objects_of, objects_of_upload},
    reach::HostPolicy,
    registry,
    upload::Download,
};
use crate::store::{FileLock, short_hash};
use std::{
    fs::{self, File},
    io::Write,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::Command,
};
use tidemill_core::execution::assignment::Source;

/// Where trees are kept, below the cache.
pub const TREES_DIR: &str = "trees";
/// A file takes at least so much of a disk.
const DISK_BLOCK_SIZE: u64 = 4096;

/// A tree of sources, which is not removed while this lives.
#[derive(Debug)]
pub struct Tree {
    /// The directory that holds it, with a usable `.git`. It must not be written to: every job of the same sources
    /// shares it.
    pub path: PathBuf,
    /// Whether it was laid out just now.
    pub(super) is_new: bool,
    _in_use: FileLock,
}

/// The tree of `source`; `None` when there are no sources. What was uploaded comes from `download`, if it is not here.
pub fn materialise(
    source: &Source,
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
    let key = short_hash(&[&from, branch.as_deref().unwrap_or(""), commit, tree.as_deref().unwrap_or("")]);
    let home = cache.join(TREES_DIR);
    let done = home.join(&key);
    let in_use = lock_shared(&home.join(format!("{key}.used")))?;
    in_use.touch();
    let mut is_new = false;
    if !done.join(".git").exists() {
        let _lock = lock_alone(&home.join(format!("{key}.lock")))?;
        if !done.join(".git").exists() {
            let (objects, url) = match source {
                Source::None => return Ok(None),
                Source::Uploaded { upload, url, private_host, base, .. } => {
                    if base.as_ref().is_some_and(|base| !git::is_full_hash(base)) {
                        return Err(SourceError::new("the uploaded sources build on no full commit hash"));
                    }
                    let remote = url.as_deref().map(|url| reach.remote(url, *private_host)).transpose()?;
                    let from = remote.as_ref().zip(base.as_deref());
                    let wanted = [Some(commit), tree.as_ref()].into_iter().flatten();
                    let wanted: Vec<&str> = wanted.map(String::as_str).collect();
                    let objects = objects_of_upload(upload, from, &wanted, cache, download)?;
                    (objects, remote.map(|remote| remote.url().to_owned()))
                }
                Source::Snapshot { snapshot, repository, .. } => {
                    (Objects::of_snapshot(registry::find(cache, snapshot, repository)?), None)
                }
                Source::Git { url, private_host, .. } => {
                    let remote = reach.remote(url, *private_host)?;
                    let objects = objects_of(&remote, branch.as_deref(), None, commit, cache)?;
                    (objects, Some(remote.url().to_owned()))
                }
            };
            let checkout = TreeSource {
                objects: &objects.path,
                url: url.as_deref(),
                branch: branch.as_deref(),
                commit,
                tree: tree.as_deref(),
            };
            let size = checkout.build(&home.join(format!("{key}.new")), &done)?;
            // For who prunes: to find it out again would be a walk over all files.
            let _ = fs::write(home.join(format!("{key}.size")), size.to_string());
            is_new = true;
        }
    }
    Ok(Some(Tree { path: done, is_new, _in_use: in_use }))
}

/// What a tree is made from.
struct TreeSource<'a> {
    objects: &'a Path,
    url: Option<&'a str>,
    branch: Option<&'a str>,
    commit: &'a str,
    tree: Option<&'a str>,
}

impl TreeSource<'_> {
    /// Makes the tree at `building` and then moves it to `done`; about how many bytes it has. Of one that fails nothing is
    /// left.
    fn build(&self, building: &Path, done: &Path) -> Result<u64, SourceError> {
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
        let size = self.lay_out(building).map_err(|error| explained(error, building))?;
        fs::rename(building, done).map_err(failed)?;
        Ok(size)
    }

    fn lay_out(&self, into: &Path) -> Result<u64, SourceError> {
        if let Some(branch) = self.branch
            && !git::is_ref_name(branch)
        {
            return Err(SourceError::new(format!("`{branch}` is no name of a branch")));
        }
        let git_dir = into.join(".git");
        let inside = || {
            let mut command = git::at(&git_dir);
            command.arg("--work-tree").arg(into).current_dir(into);
            command
        };
        // What is laid out in the end: the snapshot, or the commit.
        let size = self.measure(self.tree.unwrap_or(self.commit))?;
        let mut init = inside();
        init.args(["init", "--quiet", "--template="]);
        if let Some(branch) = self.branch {
            init.arg(format!("--initial-branch={branch}"));
        }
        git::run(&mut init)?;
        let from = format!("file://{}", self.objects.display());
        let fetch = |words: &[&str]| {
            let mut command = git::from_disk(&git_dir);
            command.args(["fetch", "--quiet", "--no-tags", "--update-head-ok"]).args(words);
            git::run(&mut command)
        };
        let commit = self.commit;
        match self.branch {
            // HEAD names this branch already.
            Some(branch) => fetch(&[HISTORY_DEPTH, &from, &format!("+{commit}:refs/heads/{branch}")])?,
            None => fetch(&[HISTORY_DEPTH, &from, commit])?,
        };
        let branch_tip;
        let head = if let Some(branch) = self.branch {
            branch_tip = format!("refs/heads/{branch}");
            branch_tip.as_str()
        } else {
            git::run(inside().args(["update-ref", "--no-deref", "HEAD", commit]))?;
            commit
        };
        if let Some(tree) = self.tree {
            // The snapshot's files lie on top of HEAD as uncommitted changes, as they do on disk.
            fetch(&[&from, tree])?;
            git::run(inside().args(["read-tree", "--reset", "-u", tree]))?;
            git::run(inside().args(["reset", "--quiet", "--mixed", commit]))?;
        } else {
            git::run(inside().args(["read-tree", "--reset", "-u", head]))?;
        }
        if let Some(url) = self.url {
            set_origin(&git_dir, url)
                .map_err(|error| SourceError::io("the sources' origin cannot be noted", &error))?;
        }
        let packs = fs::read_dir(git_dir.join("objects/pack")).into_iter().flatten().flatten();
        Ok(size + packs.filter_map(|pack| pack.metadata().ok()).map(|meta| meta.len()).sum::<u64>())
    }

    /// About how many bytes the files of `tree` take; an error where they are more, or larger, than this worker lays out.
    fn measure(&self, tree: &str) -> Result<u64, SourceError> {
        let limits = OperationBounds::current().limits;
        let (mut records, mut files, mut bytes) = (Records::default(), 0_u64, 0_u64);
        let mut list: Command = git::at(self.objects);
        list.args(["ls-tree", "-r", "-z", "-l", "--full-tree", tree]);
        let is_whole = git::stream(&mut list, ProcessLimits::default(), &mut |piece| {
            records.push(piece, &mut |record| {
                let Some(entry) = entry(record) else { return ControlFlow::Break(()) };
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
        if is_whole {
            return Ok(bytes);
        }
        let words = format!(
            "the files at this commit are more than {} or larger than {} bytes together, this worker's limits; raise \
             TIDEMILL_CHECKOUT_MAX_FILES or TIDEMILL_CHECKOUT_MAX_SIZE there",
            limits.checkout_files, limits.checkout_bytes
        );
        Err(SourceError::of(SourceErrorKind::TooLarge, words))
    }
}

/// Notes where the sources are from, as `git config remote.origin.url` does.
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
