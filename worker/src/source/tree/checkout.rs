//! Lays out the files of a tree, and sets up its repositories.

use super::super::{
    git::{self, SourceError},
    mirror::{WantedRefs, mirror_with_commit},
    network::Remote,
    registry::{HiddenFiles, SNAPSHOTS_DIR, SnapshotKind, SubmoduleDetails},
};
use super::{
    index::{hide, in_tree, refresh_index},
    lfs::{LfsSource, replace_pointers},
    measure::{TreeContents, measure},
    repository::RepositorySpec,
    request::{TreeRequest, local_path},
    sharing::set_up_sharing,
    submodule_location::SubmoduleLocation,
    submodules::{SubmoduleEntry, entries, is_inside, resolve_url},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tidemill_core::execution::assignment::CheckoutRefs;
use tidemill_core::repository::RepositoryAddress;

/// Maximum depth of submodules in submodules.
const MAX_NESTING: usize = 20;

/// The files of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeFiles<'a> {
    /// Those of this tree, which has the bytes on a disk.
    OnDisk(&'a str),
    /// Those of the commit, as git checks them out.
    OfCommit,
    /// None.
    None,
}

/// What a checkout has written.
#[derive(Debug, Clone, Copy)]
pub struct CheckedOut {
    /// The approximate size in bytes.
    pub bytes: u64,
    /// Whether the tree can be changed into a similar one.
    pub can_be_changed: bool,
    /// Whether content of Git LFS replaces pointers in it.
    pub uses_lfs: bool,
}

/// What to check out.
pub struct TreeSource<'a> {
    /// The request.
    pub request: TreeRequest<'a>,
    /// The git directory with all objects.
    pub objects: &'a Path,
    /// The address of `origin`.
    pub origin: Option<&'a str>,
    /// The directory of the repository, if it is on this machine: without `origin`, relative addresses of submodules start there.
    pub location: Option<&'a str>,
    /// The branch.
    pub branch: Option<&'a str>,
    /// The commit.
    pub commit: &'a str,
    /// What the repository looks like.
    pub kind: SnapshotKind,
    /// The default branch.
    pub default_branch: Option<&'a str>,
    /// Another branch of `origin` to compare with, if the request names no target branch.
    pub main_branch: Option<&'a str>,
    /// The files.
    pub files: TreeFiles<'a>,
    /// Directories of LFS objects on this machine.
    pub lfs_directories: Vec<PathBuf>,
    /// Submodules on this machine.
    pub submodules: &'a [SubmoduleDetails],
    /// Settings that convert line endings.
    pub settings: &'a [(String, String)],
    /// Files in which git does not look for changes.
    pub hidden: &'a HiddenFiles,
    /// A commit of what is staged, if that differs from the commit.
    pub staged: Option<&'a str>,
    /// The repository that the sources come from.
    pub remote: Option<&'a Remote>,
    /// Whether the host of the repository may have a private address.
    pub private_host: bool,
    /// Whether the repository is on this machine, so that its submodules may be, too.
    pub is_on_disk: bool,
    /// Digest of the refs of the repository, if known.
    pub known_refs: &'a str,
}

impl TreeSource<'_> {
    /// Whether the tree has a repository with a commit.
    pub fn has_commit(&self) -> bool {
        matches!(self.kind, SnapshotKind::Commit | SnapshotKind::WorkTree)
    }

    pub(super) fn repository(&self) -> RepositorySpec<'_> {
        let TreeRequest { refs, checkout, .. } = self.request;
        RepositorySpec {
            objects: self.objects,
            origin: self.origin,
            branch: self.branch,
            commit: self.has_commit().then_some(self.commit),
            staged: self.staged,
            default_branch: self.default_branch,
            target_branch: refs.target_branch.as_deref().filter(|name| !name.is_empty()).or(self.main_branch),
            tag: refs.tag.as_deref(),
            depth: checkout.depth,
            tags: checkout.tags,
            work_tree: None,
            settings: self.settings,
        }
    }

    /// Checks out into the empty directory `into`.
    pub fn check_out(&self, into: &Path, index: &Path) -> Result<CheckedOut, SourceError> {
        let git_dir = into.join(".git");
        let contents = match self.files {
            TreeFiles::OnDisk(tree) => measure(self.objects, tree)?,
            TreeFiles::OfCommit => measure(self.objects, self.commit)?,
            TreeFiles::None => TreeContents::default(),
        };
        if self.kind != SnapshotKind::Directory {
            let home = into.parent().unwrap_or(into);
            set_up_sharing(&self.repository(), home, &self.objects_key(), &git_dir)?;
        }
        match self.files {
            TreeFiles::OnDisk(tree) => {
                let mut command = self.in_objects(into, index);
                git::run(command.args(["read-tree", "--reset", "-u", tree]))?;
                self.write_index(
                    &git_dir,
                    into,
                    index,
                    contents.has_attributes || !self.settings.is_empty(),
                )?;
            }
            TreeFiles::OfCommit => {
                git::run(in_tree(&git_dir, into).args(["read-tree", "--reset", "-u", self.commit]))?;
            }
            TreeFiles::None => {}
        }
        let mut size = contents.bytes + packs_size(&git_dir);
        let uses_lfs = contents.uses_lfs && !self.request.checkout.lfs_pointers;
        let mut content = 0;
        if uses_lfs && git_dir.join("index").exists() {
            content = self.replace_pointers((&git_dir, into), self.indexed(), self.objects, self.remote)?;
            size += content;
        }
        let tree = match self.files {
            TreeFiles::OnDisk(tree) => tree,
            _ => self.commit,
        };
        size += self.check_out_submodules(&contents, tree, &git_dir, into)?;
        // A tree of files on disk has an index of its own, in which replaced pointers are changed files.
        let is_exact = !matches!(self.files, TreeFiles::OnDisk(_)) || content == 0;
        Ok(CheckedOut { bytes: size, can_be_changed: is_exact, uses_lfs })
    }

    /// Identifies the repository in the tree: refs, history and configuration.
    pub fn repository_key(&self) -> String {
        let spec = self.repository();
        crate::store::short_hash(&[&format!("{spec:?}"), self.known_refs])
    }

    /// Identifies the repositories whose objects the one in the tree may link: those of the same objects and credential, history and
    /// owner.
    pub fn objects_key(&self) -> String {
        let TreeRequest { owner, checkout, reach, .. } = self.request;
        let options = (owner.label(), checkout.depth, checkout.tags, reach.credential_scope());
        crate::store::short_hash(&[&self.objects.to_string_lossy(), &format!("{options:?}")])
    }

    /// The commit that the index of the repository has.
    fn indexed(&self) -> &str {
        self.staged.unwrap_or(self.commit)
    }

    /// Creates a git command for the repository with all objects, the files at `into`, and an index.
    pub(super) fn in_objects(&self, into: &Path, index: &Path) -> Command {
        let mut command = git::at(self.objects);
        command.arg("--work-tree").arg(into).current_dir(into).env("GIT_INDEX_FILE", index);
        command.args(["-c", "core.bare=false"]);
        command
    }

    /// Writes the index of the repository: the commit's files, or what is staged, of which those that are unchanged on disk are known to be.
    pub(super) fn write_index(
        &self,
        git_dir: &Path,
        into: &Path,
        index: &Path,
        has_attributes: bool,
    ) -> Result<(), SourceError> {
        if !self.has_commit() {
            return Ok(());
        }
        let own = git_dir.join("index");
        fs::copy(index, &own)
            .map_err(|error| SourceError::io("the source cache cannot be written", &error))?;
        if self.files == TreeFiles::OnDisk(self.commit) {
            return Ok(());
        }
        // A merge would refuse files that attributes convert: they differ from the commit until the index is refreshed.
        git::run(in_tree(git_dir, into).args(["read-tree", "--reset", self.indexed()]))?;
        if has_attributes {
            refresh_index(git_dir, into)?;
        }
        let HiddenFiles { skipped, assumed } = self.hidden;
        hide(git_dir, into, "--skip-worktree", skipped)?;
        hide(git_dir, into, "--assume-unchanged", assumed)
    }

    fn replace_pointers(
        &self,
        (git_dir, into): (&Path, &Path),
        commit: &str,
        objects: &Path,
        remote: Option<&Remote>,
    ) -> Result<u64, SourceError> {
        let downloads = objects.join("lfs/objects");
        let source = LfsSource {
            directories: &self.lfs_directories,
            downloads: &downloads,
            remote: remote.filter(|remote| !remote.is_on_disk()),
            download: self.request.lfs,
        };
        let bytes = replace_pointers(git_dir, into, source)?;
        // Git takes a file for changed whose size is not the recorded one: a new index has no sizes.
        fs::remove_file(git_dir.join("index"))
            .map_err(|error| SourceError::io("the source cache cannot be written", &error))?;
        git::run(in_tree(git_dir, into).args(["read-tree", commit]))?;
        refresh_index(git_dir, into)?;
        Ok(bytes)
    }

    /// Checks out the submodules of `tree`, whose files were laid out already if they are on this machine.
    fn check_out_submodules(
        &self,
        contents: &TreeContents,
        tree: &str,
        git_dir: &Path,
        into: &Path,
    ) -> Result<u64, SourceError> {
        if self.files == TreeFiles::None || self.kind == SnapshotKind::Directory {
            return Ok(0);
        }
        let mut size = 0;
        let origin = self.origin.or(self.location);
        let parent = SubmoduleParent { origin, remote: self.remote, path: "", depth: 0 };
        if !contents.submodules.is_empty() {
            let named = entries(self.objects, tree)?;
            size += self.fetch_submodules(&contents.submodules, &named, parent, (git_dir, into))?;
        }
        if matches!(self.files, TreeFiles::OnDisk(_)) {
            for details in self.submodules {
                self.set_up_submodule_on_disk(details, git_dir, into)?;
            }
        }
        Ok(size)
    }

    /// Sets up the repository of a submodule whose files are in the tree.
    fn set_up_submodule_on_disk(
        &self,
        details: &SubmoduleDetails,
        git_dir: &Path,
        into: &Path,
    ) -> Result<(), SourceError> {
        let path = details.path.to_string_lossy().into_owned();
        // The git directory of the closest submodule that this one is in, and its path in it.
        let parent = self
            .submodules
            .iter()
            .filter(|other| details.path != other.path && details.path.starts_with(&other.path))
            .max_by_key(|other| other.path.components().count());
        let inner = parent.and_then(|parent| details.path.strip_prefix(&parent.path).ok());
        let inner = inner.unwrap_or(&details.path).to_string_lossy().into_owned();
        let parent_dir = match parent {
            Some(parent) => into.join(&parent.path),
            None => into.to_owned(),
        };
        let parent_git_dir = match parent {
            Some(_) => git_directory(&parent_dir).unwrap_or_else(|| git_dir.to_owned()),
            None => git_dir.to_owned(),
        };
        if !is_inside(&path) || !into.join(&details.path).is_dir() {
            return Ok(());
        }
        let objects = self.request.cache.join(SNAPSHOTS_DIR).join(&details.objects);
        let known = fs::read_to_string(parent_dir.join(".gitmodules")).ok();
        let named = known.and_then(|_| {
            let in_objects = if parent.is_some() { None } else { Some(self.objects) };
            let tree = match self.files {
                TreeFiles::OnDisk(tree) => tree,
                _ => self.commit,
            };
            in_objects.and_then(|objects| entries(objects, tree).ok())
        });
        let entry = named.and_then(|mut all| all.remove(&inner)).unwrap_or_else(|| SubmoduleEntry {
            name: inner.clone(),
            url: details.origin.clone().unwrap_or_default(),
        });
        let location = SubmoduleLocation {
            parent: &parent_git_dir,
            work_tree: &into.join(&details.path),
            path: &inner,
            entry: &entry,
            url: details.origin.as_deref(),
        };
        let spec = RepositorySpec {
            objects: &objects,
            origin: details.origin.as_deref(),
            branch: details.branch.as_deref(),
            commit: Some(&details.commit),
            staged: None,
            default_branch: None,
            target_branch: None,
            tag: None,
            ..self.submodule_repository()
        };
        let own = location.set_up(&spec)?;
        git::run(in_tree(&own, location.work_tree).args(["read-tree", "--reset", &details.commit]))?;
        refresh_index(&own, location.work_tree)
    }

    fn submodule_repository(&self) -> RepositorySpec<'_> {
        let checkout = self.request.checkout;
        RepositorySpec { depth: checkout.submodules.depth.or(checkout.depth), ..self.repository() }
    }

    /// Fetches and checks out submodules, and theirs.
    fn fetch_submodules(
        &self,
        links: &[(String, String)],
        named: &std::collections::BTreeMap<String, SubmoduleEntry>,
        parent: SubmoduleParent<'_>,
        (git_dir, into): (&Path, &Path),
    ) -> Result<u64, SourceError> {
        let choice = &self.request.checkout.submodules;
        let mut size = 0;
        for (path, commit) in links {
            let full = format!("{}{path}", parent.path);
            if !choice.includes(&full, parent.depth > 0) {
                continue;
            }
            let explain = |why: String| {
                SourceError::new(format!(
                    "the submodule `{full}` cannot be checked out: {why}; write `checkout: {{ submodules: false }}` to leave \
                     submodules out"
                ))
            };
            if parent.depth >= MAX_NESTING {
                return Err(explain(format!("it is in more than {MAX_NESTING} others")));
            }
            let entry = named.get(path).filter(|entry| !entry.url.is_empty());
            let entry = entry.ok_or_else(|| explain("`.gitmodules` has no address for it".to_owned()))?;
            if !is_inside(path) || !is_inside(&entry.name) || !git::is_full_hash(commit) {
                return Err(explain("its path or its name leads out of the repository".to_owned()));
            }
            let url = resolve_url(parent.origin, &entry.url).ok_or_else(|| {
                explain(format!("its address `{}` is relative, and the repository has none", entry.url))
            })?;
            let remote =
                self.submodule_remote(&url, parent.remote).map_err(|error| explain(error.to_string()))?;
            let no_refs = CheckoutRefs::default();
            let wanted = WantedRefs { branch: None, refs: &no_refs, reference: None };
            let mirror = mirror_with_commit(&remote, wanted, commit, self.request.cache)
                .map_err(|error| SourceError::of(error.kind(), explain(error.to_string()).to_string()))?;
            let work_tree = into.join(path);
            let location = SubmoduleLocation {
                parent: git_dir,
                work_tree: &work_tree,
                path,
                entry,
                url: Some(remote.url()),
            };
            let spec = RepositorySpec {
                objects: &mirror.path,
                origin: Some(remote.url()),
                branch: None,
                commit: Some(commit),
                staged: None,
                default_branch: None,
                target_branch: None,
                tag: None,
                ..self.submodule_repository()
            };
            let contents = measure(&mirror.path, commit)?;
            let own = location.set_up(&spec)?;
            git::run(in_tree(&own, &work_tree).args(["read-tree", "--reset", "-u", commit]))?;
            size += contents.bytes + packs_size(&own);
            if contents.uses_lfs && !self.request.checkout.lfs_pointers {
                size += self.replace_pointers((&own, &work_tree), commit, &mirror.path, Some(&remote))?;
            }
            if !contents.submodules.is_empty() {
                let named = entries(&mirror.path, commit)?;
                let parent = SubmoduleParent {
                    origin: Some(remote.url()),
                    remote: Some(&remote),
                    path: &format!("{full}/"),
                    depth: parent.depth + 1,
                };
                size += self.fetch_submodules(&contents.submodules, &named, parent, (&own, &work_tree))?;
            }
        }
        Ok(size)
    }

    /// Returns the repository of a submodule. One on this machine is allowed only to a repository on this machine; one on the
    /// host of its parent may have a private address if that may.
    fn submodule_remote(&self, url: &str, parent: Option<&Remote>) -> Result<Remote, SourceError> {
        if let Some(path) = local_path(url) {
            if self.is_on_disk {
                return Ok(Remote::on_disk(&path));
            }
            return Err(SourceError::new(format!("`{url}` is a path, which a worker does not fetch from")));
        }
        let origin_of = |url: &str| {
            let (address, _) = RepositoryAddress::parse_with_credentials(url).ok()?;
            Some((address.host().clone(), address.to_git_url()))
        };
        let (host, address) = origin_of(url)
            .ok_or_else(|| SourceError::new(format!("`{url}` is not the address of a git repository")))?;
        let is_same_host =
            parent.and_then(|parent| origin_of(parent.url())).is_some_and(|(own, _)| own == host);
        self.request.reach.remote(&address, self.private_host && is_same_host)
    }
}

/// The repository that a submodule is in.
#[derive(Clone, Copy)]
struct SubmoduleParent<'a> {
    origin: Option<&'a str>,
    remote: Option<&'a Remote>,
    /// Its path in the tree, with a `/` at the end unless it is empty.
    path: &'a str,
    depth: usize,
}

/// Returns the git directory that the `.git` file in `work_tree` names.
fn git_directory(work_tree: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(work_tree.join(".git")).ok()?;
    Some(work_tree.join(text.trim().strip_prefix("gitdir: ")?))
}

/// Returns the size of the packs of a repository in bytes.
fn packs_size(git_dir: &Path) -> u64 {
    let packs = fs::read_dir(git_dir.join("objects/pack")).into_iter().flatten().flatten();
    packs.filter_map(|pack| pack.metadata().ok()).map(|meta| meta.len()).sum()
}
