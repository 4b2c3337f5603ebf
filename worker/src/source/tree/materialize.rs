//! Finds or creates the tree of a job's sources.

use super::super::{
    bounds::{lock_exclusive, lock_shared},
    error::SourceErrorKind,
    git::{self, SourceError},
    mirror::{ObjectRepository, WantedRefs, detect_disk_full, mirror_with_commit, upload_repository},
    network::{HostPolicy, Remote},
    registry::{self, SnapshotDetails, SnapshotKind},
    snapshot::make_raw,
    upload::Download,
};
use super::{
    checkout::{TreeFiles, TreeSource},
    cloning::clone_similar,
    lfs::{LfsDownload, recognize_content},
    record::TreeRecord,
    request::{TreeRequest, local_path},
};
use crate::{
    store::{FileLock, short_hash},
    workspace::FileOwner,
};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tidemill_core::execution::assignment::{Checkout, CheckoutContent, CheckoutRefs, Source};

/// The directory of trees, below the cache.
pub const TREES_DIR: &str = "trees";

/// A tree of sources, which is not removed while this exists.
#[derive(Debug)]
pub struct Tree {
    /// The directory of the tree, with a usable `.git` if it is one of a repository. It must not be written to: all jobs with
    /// the same sources share it.
    pub path: PathBuf,
    /// Whether this call created it.
    pub(in crate::source) is_new: bool,
    _in_use: FileLock,
}

/// Returns the tree of `source` with the default checkout; see [`materialize_as`]. `download` fetches missing uploads.
pub fn materialize(
    source: &Source,
    cache: &Path,
    reach: &HostPolicy,
    download: Download<'_>,
) -> Result<Option<Tree>, SourceError> {
    let (checkout, refs) = (Checkout::default(), CheckoutRefs::default());
    let lfs: LfsDownload<'_> =
        &|_, _, _| Err(SourceError::new("files of Git LFS are downloaded by a worker only"));
    let request = TreeRequest {
        source,
        checkout: &checkout,
        refs: &refs,
        owner: FileOwner::Worker,
        cache,
        reach,
        download,
        lfs,
    };
    materialize_as(request)
}

/// Returns the requested tree, which is created if it does not exist; `None` if no sources are wanted.
pub fn materialize_as(request: TreeRequest<'_>) -> Result<Option<Tree>, SourceError> {
    let TreeRequest { source, checkout, refs, owner, cache, .. } = request;
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
    if checkout.content == CheckoutContent::Nothing {
        return Ok(None);
    }
    if !git::is_full_hash(commit) || tree.as_ref().is_some_and(|tree| !git::is_full_hash(tree)) {
        return Err(SourceError::new(format!("`{commit}` is not a full commit hash")));
    }
    // The right to push changes nothing in the tree.
    let checkout_options = Checkout { push: false, ..checkout.clone() };
    let scope = request.reach.credential_scope().filter(|_| !matches!(source, Source::Snapshot { .. }));
    let options = serde_json::json!([checkout_options, refs, owner.label(), scope]).to_string();
    let (branch_name, tree_name) = (branch.as_deref().unwrap_or(""), tree.as_deref().unwrap_or(""));
    let key = short_hash(&[&from, branch_name, commit, tree_name, &options]);
    let home = cache.join(TREES_DIR);
    let target = home.join(&key);
    let in_use = lock_shared(&home.join(format!("{key}.used")))?;
    in_use.touch();
    let mut is_new = false;
    if !TreeRecord::exists(&home, &key) {
        let _lock = lock_exclusive(&home.join(format!("{key}.lock")))?;
        if !TreeRecord::exists(&home, &key) {
            let prepared = prepare(request)?;
            build(&prepared.source(request), &options, &home, &key)?;
            is_new = true;
        }
    }
    Ok(Some(Tree { path: target, is_new, _in_use: in_use }))
}

/// Returns the repository with the sources, after fetching what it lacks.
pub fn source_objects(request: TreeRequest<'_>) -> Result<ObjectRepository, SourceError> {
    prepare(request).map(|prepared| prepared.objects)
}

/// The repository with the objects of a tree, and what is known of it.
struct PreparedSource {
    objects: ObjectRepository,
    details: SnapshotDetails,
    remote: Option<Remote>,
    /// Whether files are taken unchanged from the tree, as they are those of a working tree.
    is_work_tree: bool,
    private_host: bool,
}

/// Opens the repository of the sources, and fetches what it lacks.
fn prepare(request: TreeRequest<'_>) -> Result<PreparedSource, SourceError> {
    let TreeRequest { source, refs, cache, reach, .. } = request;
    let no_details = SnapshotDetails::default;
    match source {
        Source::None => Err(SourceError::new("there are no sources")),
        Source::Uploaded { upload, url, private_host, base, commit, tree, .. } => {
            if base.as_ref().is_some_and(|base| !git::is_full_hash(base)) {
                return Err(SourceError::new("the base of the uploaded sources is not a full commit hash"));
            }
            let remote = url.as_deref().map(|url| reach.remote(url, *private_host)).transpose()?;
            let from = remote.as_ref().zip(base.as_deref());
            let required = [Some(commit), tree.as_ref()].into_iter().flatten();
            let required: Vec<&str> = required.map(String::as_str).collect();
            let objects = upload_repository(upload, from, &required, cache, request.download)?;
            make_raw(&objects.path)
                .map_err(|error| SourceError::io("the source cache cannot be written", &error))?;
            let private_host = *private_host;
            Ok(PreparedSource { objects, details: no_details(), remote, is_work_tree: true, private_host })
        }
        Source::Snapshot { snapshot, repository, .. } => {
            let (objects, details) = registry::find(cache, snapshot, repository)?;
            let remote = details.origin.as_deref().and_then(|origin| match local_path(origin) {
                Some(path) => Some(Remote::on_disk(&path)),
                None => reach.remote(origin, false).ok(),
            });
            let is_work_tree = details.kind != SnapshotKind::Commit;
            let objects = ObjectRepository::of_snapshot(objects);
            Ok(PreparedSource { objects, details, remote, is_work_tree, private_host: false })
        }
        Source::Git { url, private_host, branch, commit, .. } => {
            let remote = reach.remote(url, *private_host)?;
            let wanted = WantedRefs { branch: branch.as_deref(), refs, reference: None };
            let objects = mirror_with_commit(&remote, wanted, commit, cache)?;
            let (details, private_host) = (no_details(), *private_host);
            Ok(PreparedSource { objects, details, remote: Some(remote), is_work_tree: false, private_host })
        }
    }
}

impl PreparedSource {
    fn source<'a>(&'a self, request: TreeRequest<'a>) -> TreeSource<'a> {
        let (branch, commit, tree) = match request.source {
            Source::Git { branch, commit, .. } => (branch.as_deref(), commit.as_str(), None),
            Source::Snapshot { branch, commit, tree, .. } | Source::Uploaded { branch, commit, tree, .. } => {
                (branch.as_deref(), commit.as_str(), tree.as_deref())
            }
            Source::None => (None, "", None),
        };
        let details = &self.details;
        let is_clean = request.checkout.clean && details.kind == SnapshotKind::WorkTree;
        let files = match request.checkout.content {
            CheckoutContent::Files if self.is_work_tree && !is_clean => {
                TreeFiles::OnDisk(tree.unwrap_or(commit))
            }
            CheckoutContent::Files => TreeFiles::OfCommit,
            CheckoutContent::Repository | CheckoutContent::Nothing => TreeFiles::None,
        };
        let origin = match request.source {
            Source::Snapshot { .. } => details.origin.as_deref(),
            _ => self.remote.as_ref().map(Remote::url),
        };
        let mut lfs_directories: Vec<PathBuf> = details.lfs.iter().cloned().collect();
        if matches!(request.source, Source::Snapshot { .. })
            && let Some(path) = origin.and_then(local_path)
        {
            lfs_directories.extend([path.join("lfs/objects"), path.join(".git/lfs/objects")]);
        }
        TreeSource {
            request,
            objects: &self.objects.path,
            origin,
            location: match request.source {
                Source::Snapshot { repository, .. } => {
                    Some(repository.as_str()).filter(|name| name.starts_with('/'))
                }
                _ => None,
            },
            branch,
            commit,
            kind: if self.is_work_tree { details.kind } else { SnapshotKind::Commit },
            default_branch: request.refs.default_branch.as_deref().or(details.default_branch.as_deref()),
            main_branch: details.main_branch.as_deref(),
            files,
            lfs_directories,
            submodules: &details.submodules,
            settings: &details.settings,
            hidden: &details.hidden,
            staged: details.staged.as_deref().filter(|_| matches!(files, TreeFiles::OnDisk(_))),
            remote: self.remote.as_ref(),
            private_host: self.private_host,
            is_on_disk: matches!(request.source, Source::Snapshot { .. }),
            known_refs: &details.refs,
        }
    }
}

/// Creates the tree `key` below `home`, by changing a similar one that is not in use, or a clone of one that is, if there is one.
/// Removes the tree if this fails.
fn build(source: &TreeSource<'_>, options: &str, home: &Path, key: &str) -> Result<(), SourceError> {
    struct TemporaryTree<'a>(&'a Path);
    impl Drop for TemporaryTree<'_> {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(self.0);
        }
    }
    let failed = |error| SourceError::io("the source cache cannot be written", &error);
    let building = home.join(format!("{key}.new"));
    let _ = fs::remove_dir_all(&building);
    let _unfinished = TemporaryTree(&building);
    let index = home.join(format!("{key}.index"));
    let _ = fs::remove_file(&index);
    let record = record_of(source, options);
    let reused = record.as_ref().and_then(|record| record.take_similar(home, &building, &index));
    let checked_out = if let Some((previous, bytes)) = &reused {
        match source.update(previous, *bytes, &building, &index) {
            // The old tree may be damaged, or git may have lost its objects, or does not recognize files that were given away.
            Err(error)
                if error.kind() == SourceErrorKind::Unavailable
                    || source.request.owner != FileOwner::Worker =>
            {
                source.start_over(&building, &index)
            }
            updated => updated,
        }
    } else if let Some(cloned) =
        record.as_ref().and_then(|record| clone_similar(source, record, home, &building, &index))
    {
        Ok(cloned)
    } else {
        fs::create_dir_all(&building).map_err(failed)?;
        source.check_out(&building, &index)
    };
    let checked_out = checked_out.map_err(|error| detect_disk_full(error, &building))?;
    give_to_owner(source.request.owner, &building).map_err(failed)?;
    fs::rename(&building, home.join(key)).map_err(failed)?;
    let record = record.filter(|_| checked_out.can_be_changed);
    let mut record =
        record.map(|record| TreeRecord { uses_lfs: checked_out.uses_lfs, ..record }).unwrap_or_default();
    if source.has_commit() {
        (record.objects, record.history) = (source.objects_key(), source.commit.to_owned());
    }
    // The size is recorded for pruning, which would otherwise have to walk all files.
    let _ = fs::write(home.join(format!("{key}.size")), checked_out.bytes.to_string());
    record.write(home, key).map_err(failed)
}

/// Returns the record of the tree of `source`, or `None` if it cannot be changed later.
fn record_of(source: &TreeSource<'_>, options: &str) -> Option<TreeRecord> {
    let (kind, tree) = match source.files {
        TreeFiles::OnDisk(tree) => ("disk", tree),
        TreeFiles::OfCommit => ("commit", ""),
        TreeFiles::None => return None,
    };
    if !source.has_commit() {
        return None;
    }
    let hidden = serde_json::to_string(source.hidden).unwrap_or_default();
    let submodules = serde_json::to_string(source.submodules).unwrap_or_default();
    let origin = source.origin.unwrap_or("");
    let parts = [&source.objects.to_string_lossy(), kind, origin, options, &hidden, &submodules];
    Some(TreeRecord {
        family: short_hash(&parts),
        repository: source.repository_key(),
        commit: source.commit.to_owned(),
        tree: tree.to_owned(),
        staged: source.staged.map(str::to_owned),
        ..TreeRecord::default()
    })
}

/// Gives the files to their owner, except those that are its own already, as in a changed tree or in a linked pack. Trees of
/// different owners share nothing, as a file has one owner.
fn give_to_owner(owner: FileOwner, tree: &Path) -> std::io::Result<()> {
    if owner == FileOwner::Worker {
        return Ok(());
    }
    owner.give_tree(tree)?;
    // The index records the owners and times of the files. If they differ, git reads all files again, in each job. An error
    // means that some files differ from the commit.
    let index = tree.join(".git/index");
    if !index.exists() {
        return Ok(());
    }
    let mut refresh = git::at(&tree.join(".git"));
    refresh.arg("--work-tree").arg(tree).current_dir(tree);
    recognize_content(&mut refresh);
    let _ = git::run(refresh.args(["update-index", "-q", "--ignore-submodules", "--refresh"]));
    owner.give_path(&index)
}
