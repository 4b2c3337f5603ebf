//! What trees of one repository share on disk.

use super::{clone_of, commit, git, repository, snapshot_of, try_tree, try_tree_of};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};
use tidemill_core::execution::assignment::{Checkout, CheckoutRefs, Source};
use tidemill_worker::{
    source::{Revision, Tree},
    workspace::FileOwner,
};

/// Size of a file that does not compress.
const BULK: usize = 200_000;
/// What a change of some lines needs at most.
const SMALL: u64 = 20_000;

/// Creates a repository with much content and two branches, which differ in a line each.
fn branches(parent: &Path) -> PathBuf {
    let dir = repository(parent, "app");
    let mut state = 1_u32;
    let bulk: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(BULK)
    .collect();
    fs::write(dir.join("bulk"), bulk).unwrap();
    commit(&dir, "bulk");
    git(&dir, &["tag", "base"]);
    git(&dir, &["checkout", "-q", "-b", "topic"]);
    fs::write(dir.join("a.txt"), "topic\n").unwrap();
    commit(&dir, "topic");
    git(&dir, &["tag", "on-topic"]);
    git(&dir, &["checkout", "-q", "main"]);
    fs::write(dir.join("a.txt"), "main\n").unwrap();
    commit(&dir, "main");
    dir
}

fn tree(source: &Source, cache: &Path, checkout: &Checkout) -> Tree {
    try_tree(source, cache, checkout, &CheckoutRefs::default()).unwrap().unwrap()
}

fn branch(dir: &Path, name: &str, cache: &Path) -> Source {
    clone_of(dir, Revision { branch: Some(name), ..Revision::default() }, cache)
}

/// Returns inode, size and number of links of each pack.
fn packs(tree: &Path) -> Vec<(u64, u64, u64)> {
    let entries = fs::read_dir(tree.join(".git/objects/pack")).unwrap().map(|entry| entry.unwrap().path());
    let packs = entries.filter(|path| path.extension().is_some_and(|ending| ending == "pack"));
    packs.map(|path| fs::metadata(path).unwrap()).map(|meta| (meta.ino(), meta.len(), meta.nlink())).collect()
}

/// The packs that only this tree has, in bytes.
fn own_bytes(tree: &Path) -> u64 {
    packs(tree).iter().filter(|(.., links)| *links == 1).map(|(_, bytes, _)| bytes).sum()
}

fn bulk_pack(tree: &Path) -> u64 {
    packs(tree).iter().find(|(_, bytes, _)| *bytes > BULK as u64 / 2).unwrap().0
}

#[test]
fn trees_of_one_repository_hold_its_objects_once() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = branches(home.path());
    let defaults = Checkout::default();
    let topic = tree(&branch(&dir, "topic", cache.path()), cache.path(), &defaults);
    let main_source = branch(&dir, "main", cache.path());
    let main = tree(&main_source, cache.path(), &defaults);
    assert_ne!(topic.path, main.path);
    assert_eq!(bulk_pack(&main.path), bulk_pack(&topic.path), "the pack is the same file");
    assert!(own_bytes(&main.path) < SMALL, "{:?}", packs(&main.path));

    assert_is_as_if_alone(&main.path, &dir);
    // The files of one do not depend on the other.
    fs::remove_dir_all(topic.path.join(".git")).unwrap();
    git(&main.path, &["fsck", "--full", "--strict"]);
}

#[test]
fn changed_tree_of_another_branch_has_refs_and_tags_of_its_own_only() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = branches(home.path());
    let path =
        |name: &str| tree(&branch(&dir, name, cache.path()), cache.path(), &Checkout::default()).path.clone();
    let inode = |path: &Path| fs::metadata(path.join("bulk")).unwrap().ino();
    let kept = inode(&path("topic"));
    let main = path("main");
    assert_eq!(inode(&main), kept, "the tree was changed");
    assert_is_as_if_alone(&main, &dir);
}

/// Compares the repository of a tree of the branch `main` with the one that a worker without any other tree has.
fn assert_is_as_if_alone(main: &Path, dir: &Path) {
    let other_cache = tempfile::tempdir().unwrap();
    let alone = tree(&branch(dir, "main", other_cache.path()), other_cache.path(), &Checkout::default());
    for arguments in [
        &["log", "--format=%H %D", "--all"][..],
        &["for-each-ref"],
        &["status", "--porcelain", "--branch"],
        &["describe", "--tags"],
        &["remote", "-v"],
    ] {
        assert_eq!(git(main, arguments), git(&alone.path, arguments), "{arguments:?}");
    }
    assert_eq!(git(main, &["tag"]), "base\n", "a tag of the other branch is not there");
    git(main, &["fsck", "--full", "--strict"]);
}

#[test]
fn state_of_a_working_tree_links_the_objects_of_the_one_before() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = branches(home.path());
    let defaults = Checkout::default();
    let first = tree(&snapshot_of(&dir, cache.path()).source, cache.path(), &defaults);
    fs::write(dir.join("a.txt"), "changed\n").unwrap();
    git(&dir, &["add", "a.txt"]);
    let second = tree(&snapshot_of(&dir, cache.path()).source, cache.path(), &defaults);
    assert_eq!(bulk_pack(&second.path), bulk_pack(&first.path));
    assert!(own_bytes(&second.path) < SMALL, "{:?}", packs(&second.path));
    assert_eq!(git(&second.path, &["status", "--porcelain"]), "M  a.txt\n");
    git(&second.path, &["fsck", "--full"]);
}

#[test]
fn trees_with_another_history_or_owner_share_nothing() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = branches(home.path());
    let source = branch(&dir, "main", cache.path());
    let limited = tree(&source, cache.path(), &Checkout { depth: Some(1), ..Checkout::default() });
    let all = tree(&source, cache.path(), &Checkout { depth: Some(0), ..Checkout::default() });
    assert_ne!(bulk_pack(&limited.path), bulk_pack(&all.path));
    assert_eq!(git(&all.path, &["rev-list", "--count", "HEAD"]), "3\n");
    let own = fs::metadata(home.path()).unwrap();
    let owner = FileOwner::User { uid: own.uid(), gid: own.gid() };
    let defaults = (&Checkout { depth: Some(0), ..Checkout::default() }, &CheckoutRefs::default());
    let given = try_tree_of(owner, &source, cache.path(), defaults).unwrap().unwrap();
    assert_ne!(bulk_pack(&given.path), bulk_pack(&all.path));
}

#[test]
fn damaged_tree_is_not_linked() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = branches(home.path());
    let defaults = Checkout::default();
    let topic = tree(&branch(&dir, "topic", cache.path()), cache.path(), &defaults);
    fs::write(topic.path.join(".git/shallow"), "damaged\n").unwrap();
    let main = tree(&branch(&dir, "main", cache.path()), cache.path(), &defaults);
    assert_ne!(bulk_pack(&main.path), bulk_pack(&topic.path));
    git(&main.path, &["fsck", "--full", "--strict"]);
}

/// Returns the bytes that are in use on the file system of `path`.
fn used_bytes(path: &Path) -> u64 {
    assert!(std::process::Command::new("sync").arg("-f").arg(path).status().unwrap().success());
    let disk = rustix::fs::statvfs(path).unwrap();
    (disk.f_blocks - disk.f_bfree) * disk.f_frsize
}

/// Where files can share blocks (`TMPDIR` on XFS or Btrfs), the second tree is a clone of the first one; elsewhere, it is checked out.
#[test]
fn tree_in_use_is_cloned_where_files_can_share_blocks() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = branches(home.path());
    fs::write(dir.join("large"), vec![b'x'; 16 << 20]).unwrap();
    fs::write(dir.join("program"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(dir.join("program"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("large", dir.join("link")).unwrap();
    commit(&dir, "large");
    let clone = fs::File::create(cache.path().join("probe")).unwrap();
    let can_clone = rustix::fs::ioctl_ficlone(clone, fs::File::open(dir.join("large")).unwrap()).is_ok();
    println!("files can share blocks: {can_clone}");

    let defaults = Checkout::default();
    for is_work_tree in [true, false] {
        let source = || {
            if is_work_tree {
                snapshot_of(&dir, cache.path()).source
            } else {
                branch(&dir, "main", cache.path())
            }
        };
        let first = tree(&source(), cache.path(), &defaults);
        let before = used_bytes(cache.path());
        fs::write(dir.join("a.txt"), format!("changed {is_work_tree}\n")).unwrap();
        if !is_work_tree {
            commit(&dir, "changed");
        }
        let second = tree(&source(), cache.path(), &defaults);
        assert_ne!(first.path, second.path);
        let grown = used_bytes(cache.path()).saturating_sub(before);
        assert!(!can_clone || grown < 8 << 20, "{grown} bytes");
        let expected = if is_work_tree { " M a.txt\n" } else { "" };
        // What is in the index is what is on disk: git reads no file again.
        let stale = git(&second.path, &["--no-optional-locks", "diff-files", "--name-only"]);
        assert_eq!(stale, expected.replace(" M ", ""));
        assert_eq!(git(&second.path, &["status", "--porcelain"]), expected);
        assert_eq!(git(&first.path, &["status", "--porcelain"]), "");
        assert_eq!(fs::read(second.path.join("link")).unwrap().len(), 16 << 20);
        assert_eq!(fs::metadata(second.path.join("program")).unwrap().mode() & 0o777, 0o755);
        git(&second.path, &["fsck", "--full"]);
    }
}
