//! Working trees and repositories as jobs get them, compared with what git has outside.

mod owners;
mod refs;
mod reuse;
mod sharing;

use sha2::{Digest, Sha256};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};
use tidemill_core::execution::assignment::{Checkout, CheckoutContent, CheckoutRefs, Source};
use tidemill_core::pipeline::{SubmoduleLevel, Submodules};
use tidemill_core::repository::AddressPolicy;
use tidemill_worker::source::{
    HostPolicy, Revision, Snapshot, SourceError, Tree, TreeRequest, materialize_as, resolve, snapshot,
};
use tidemill_worker::workspace::FileOwner;

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always"])
        .args(["-c", "init.defaultBranch=main", "-c", "filter.lfs.clean=cat", "-c", "filter.lfs.smudge=cat"])
        .args(args)
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn repository(parent: &Path, name: &str) -> PathBuf {
    let dir = parent.join(name);
    fs::create_dir_all(&dir).unwrap();
    git(&dir, &["init", "-q"]);
    fs::write(dir.join("a.txt"), "one\n").unwrap();
    commit(&dir, "first");
    dir
}

fn commit(dir: &Path, message: &str) {
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "--allow-empty", "-m", message]);
}

fn reach() -> HostPolicy {
    HostPolicy::new(AddressPolicy::unrestricted())
}

fn try_tree(
    source: &Source,
    cache: &Path,
    checkout: &Checkout,
    refs: &CheckoutRefs,
) -> Result<Option<Tree>, SourceError> {
    try_tree_of(FileOwner::Worker, source, cache, (checkout, refs))
}

fn try_tree_of(
    owner: FileOwner,
    source: &Source,
    cache: &Path,
    (checkout, refs): (&Checkout, &CheckoutRefs),
) -> Result<Option<Tree>, SourceError> {
    let reach = reach();
    materialize_as(TreeRequest {
        source,
        checkout,
        refs,
        owner,
        cache,
        reach: &reach,
        download: &|_| Err(SourceError::new("nothing is uploaded")),
        lfs: &|_, _, _| Err(SourceError::new("nothing is downloaded")),
    })
}

fn tree_as(source: &Source, cache: &Path, checkout: &Checkout) -> PathBuf {
    try_tree(source, cache, checkout, &CheckoutRefs::default()).unwrap().unwrap().path.clone()
}

fn tree(source: &Source, cache: &Path) -> PathBuf {
    tree_as(source, cache, &Checkout::default())
}

fn snapshot_of(dir: &Path, cache: &Path) -> Snapshot {
    snapshot(dir, cache).unwrap()
}

fn clone_of(dir: &Path, revision: Revision<'_>, cache: &Path) -> Source {
    resolve(&dir.to_string_lossy(), revision, (cache, &reach())).unwrap().source
}

#[test]
fn case_real_01_bytes_on_disk_reach_the_job_and_clean_stays_clean() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = repository(home.path(), "app");
    fs::write(dir.join(".gitignore"), "*.a\nout/\n").unwrap();
    fs::write(dir.join("lib.a"), "tracked").unwrap();
    fs::write(dir.join("crlf.txt"), "a\r\nb\r\n").unwrap();
    git(&dir, &["add", "-f", "lib.a"]);
    commit(&dir, "files");
    fs::write(dir.join(".gitattributes"), "* text=auto\n*.win text eol=crlf\n").unwrap();
    fs::write(dir.join("script.win"), "x\r\ny\r\n").unwrap();
    commit(&dir, "attributes");
    fs::create_dir(dir.join("out")).unwrap();
    fs::write(dir.join("out/ignored"), "no").unwrap();
    assert_eq!(git(&dir, &["status", "--porcelain"]), "");
    let clean = snapshot_of(&dir, cache.path());
    assert!(!clean.dirty && clean.has_commit);
    let path = tree(&clean.source, cache.path());
    for name in ["lib.a", "crlf.txt", "script.win", ".gitattributes"] {
        assert_eq!(fs::read(path.join(name)).unwrap(), fs::read(dir.join(name)).unwrap(), "{name}");
    }
    assert!(!path.join("out").exists());
    assert_eq!(git(&path, &["status", "--porcelain"]), "");
    fs::write(dir.join("lib.a"), "changed").unwrap();
    let dirty = snapshot_of(&dir, cache.path());
    assert!(dirty.dirty);
    let path = tree(&dirty.source, cache.path());
    assert_eq!(git(&path, &["status", "--porcelain"]), " M lib.a\n");
    let committed = Checkout { clean: true, ..Checkout::default() };
    let path = tree_as(&dirty.source, cache.path(), &committed);
    assert_eq!(fs::read_to_string(path.join("lib.a")).unwrap(), "tracked");
}

#[test]
fn one_changed_file_rewrites_one_file() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = repository(home.path(), "app");
    for number in 0..50 {
        fs::write(dir.join(format!("f{number}")), format!("{number}")).unwrap();
    }
    commit(&dir, "many");
    let first = tree(&snapshot_of(&dir, cache.path()).source, cache.path());
    let inode = |path: &Path, name: &str| fs::metadata(path.join(name)).unwrap().ino();
    let kept = inode(&first, "f1");
    fs::write(dir.join("f2"), "changed").unwrap();
    fs::remove_file(dir.join("f3")).unwrap();
    fs::write(dir.join("new"), "new").unwrap();
    let second = tree(&snapshot_of(&dir, cache.path()).source, cache.path());
    assert_eq!(inode(&second, "f1"), kept, "unchanged files are not written again");
    assert_eq!(fs::read_to_string(second.join("f2")).unwrap(), "changed");
    assert_eq!(git(&second, &["status", "--porcelain"]), " M f2\n D f3\n?? new\n");
    commit(&dir, "changes");
    let third = tree(&snapshot_of(&dir, cache.path()).source, cache.path());
    assert_eq!(inode(&third, "f1"), kept);
    assert_eq!(git(&third, &["status", "--porcelain"]), "");
    assert_eq!(git(&third, &["log", "-1", "--format=%s"]), "changes\n");
    // A tree in use is not changed.
    let source = snapshot_of(&dir, cache.path()).source;
    let in_use =
        try_tree(&source, cache.path(), &Checkout::default(), &CheckoutRefs::default()).unwrap().unwrap();
    fs::write(dir.join("f4"), "changed").unwrap();
    let other = tree(&snapshot_of(&dir, cache.path()).source, cache.path());
    assert_ne!(other, in_use.path);
    assert_eq!(fs::read_to_string(in_use.path.join("f4")).unwrap(), "4");
}

#[test]
fn case_real_05_tags_default_branch_and_origin_are_as_in_a_clone() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = repository(home.path(), "app");
    git(&dir, &["tag", "-a", "v1.0", "-m", "v1.0"]);
    for number in 0..70 {
        commit(&dir, &format!("c{number}"));
    }
    git(&dir, &["checkout", "-q", "-b", "topic"]);
    fs::write(dir.join("topic.txt"), "topic").unwrap();
    commit(&dir, "topic");
    git(&dir, &["remote", "add", "origin", "https://user:secret@git.example.org/group/app.git"]);
    for source in [snapshot_of(&dir, cache.path()).source, clone_of(&dir, Revision::default(), cache.path())]
    {
        let refs = CheckoutRefs { default_branch: Some("main".to_owned()), ..CheckoutRefs::default() };
        let path = try_tree(&source, cache.path(), &Checkout::default(), &refs).unwrap().unwrap();
        let path = &path.path;
        assert!(git(path, &["describe", "--tags"]).starts_with("v1.0-71-g"), "the nearest tag is reached");
        assert_eq!(git(path, &["diff", "--name-only", "origin/main...HEAD"]), "topic.txt\n");
        assert_eq!(git(path, &["rev-parse", "--abbrev-ref", "origin/HEAD"]), "origin/main\n");
        assert_eq!(git(path, &["branch", "--show-current"]), "topic\n");
        let origin = git(path, &["remote", "get-url", "origin"]);
        assert!(!origin.contains("secret") && !origin.contains("cache"), "{origin}");
    }
    let origin = tree(&snapshot_of(&dir, cache.path()).source, cache.path());
    assert_eq!(git(&origin, &["remote", "get-url", "origin"]), "https://git.example.org/group/app.git\n");
    let source = clone_of(&dir, Revision { tag: Some("v1.0"), ..Revision::default() }, cache.path());
    let one = Checkout { depth: Some(1), tags: Some(false), ..Checkout::default() };
    let refs = CheckoutRefs { tag: Some("v1.0".to_owned()), ..CheckoutRefs::default() };
    let path = try_tree(&source, cache.path(), &one, &refs).unwrap().unwrap();
    assert_eq!(git(&path.path, &["describe", "--tags", "--exact-match"]), "v1.0\n");
    let topic = clone_of(&dir, Revision::default(), cache.path());
    let path = tree_as(&topic, cache.path(), &one);
    assert_eq!(git(&path, &["rev-list", "--count", "HEAD"]), "1\n");
    assert_eq!(git(&path, &["tag"]), "");
    let all = Checkout { depth: Some(0), ..Checkout::default() };
    assert_eq!(git(&tree_as(&topic, cache.path(), &all), &["rev-list", "--count", "HEAD"]), "72\n");
}

#[test]
fn case_real_06_submodules_are_there_from_disk_and_fetched() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    repository(home.path(), "leaf");
    let inner = repository(home.path(), "inner");
    git(&inner, &["submodule", "--quiet", "add", "../leaf", "deep/leaf"]);
    commit(&inner, "leaf");
    let outer = repository(home.path(), "outer");
    git(&outer, &["submodule", "--quiet", "add", "../inner", "lib"]);
    commit(&outer, "inner");
    git(&outer, &["submodule", "--quiet", "update", "--init", "--recursive"]);
    let on_disk = snapshot_of(&outer, cache.path());
    assert!(!on_disk.dirty);
    for source in [on_disk.source.clone(), clone_of(&outer, Revision::default(), cache.path())] {
        let path = tree(&source, cache.path());
        assert_eq!(fs::read_to_string(path.join("lib/deep/leaf/a.txt")).unwrap(), "one\n");
        assert_eq!(git(&path, &["status", "--porcelain"]), "");
        let status = git(&path, &["submodule", "status"]);
        assert!(status.starts_with(' ') && status.contains(" lib"), "{status}");
        assert_eq!(git(&path.join("lib"), &["status", "--porcelain"]), "");
        assert_eq!(git(&path.join("lib"), &["log", "-1", "--format=%s"]), "leaf\n");
    }
    let fetched = clone_of(&outer, Revision::default(), cache.path());
    let level =
        |level| Checkout { submodules: Submodules { level, ..Submodules::default() }, ..Checkout::default() };
    let direct = tree_as(&fetched, cache.path(), &level(SubmoduleLevel::Direct));
    assert!(direct.join("lib/a.txt").exists() && !direct.join("lib/deep/leaf/a.txt").exists());
    let off = tree_as(&fetched, cache.path(), &level(SubmoduleLevel::Off));
    assert!(!off.join("lib/a.txt").exists());
    fs::write(outer.join("lib/a.txt"), "changed\n").unwrap();
    let changed = snapshot_of(&outer, cache.path());
    assert!(changed.dirty);
    assert_eq!(
        fs::read_to_string(tree(&changed.source, cache.path()).join("lib/a.txt")).unwrap(),
        "changed\n"
    );
    fs::remove_dir_all(home.path().join("inner")).unwrap();
    fs::remove_dir_all(cache.path().join("repos")).unwrap();
    fs::remove_dir_all(cache.path().join("trees")).unwrap();
    let error = try_tree(&fetched, cache.path(), &Checkout::default(), &CheckoutRefs::default());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("submodule `lib`") && error.contains("submodules: false"), "{error}");
}

#[test]
fn case_real_07_lfs_content_is_there_or_an_error_says_why_not() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = repository(home.path(), "app");
    let content = b"the content of a large file".to_vec();
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(&content));
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{hash}\nsize {}\n", content.len());
    fs::write(dir.join(".gitattributes"), "*.bin filter=lfs diff=lfs merge=lfs -text\n").unwrap();
    fs::write(dir.join("big.bin"), &pointer).unwrap();
    commit(&dir, "lfs");
    let source = clone_of(&dir, Revision::default(), cache.path());
    let error = try_tree(&source, cache.path(), &Checkout::default(), &CheckoutRefs::default());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("`big.bin` is a pointer of Git LFS") && error.contains("lfs: false"), "{error}");
    let pointers = Checkout { lfs_pointers: true, ..Checkout::default() };
    let path = tree_as(&source, cache.path(), &pointers);
    assert_eq!(fs::read_to_string(path.join("big.bin")).unwrap(), pointer);
    let objects = dir.join(".git/lfs/objects").join(&hash[..2]).join(&hash[2..4]);
    fs::create_dir_all(&objects).unwrap();
    fs::write(objects.join(&hash), &content).unwrap();
    let path = tree(&source, cache.path());
    assert_eq!(fs::read(path.join("big.bin")).unwrap(), content);
    let status = |path: &Path| {
        let output = Command::new("git").arg("-C").arg(path).args(["status", "--porcelain"]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    assert_eq!(status(&path), "", "git takes the content for the pointer without its filter");
    fs::write(dir.join("big.bin"), &content).unwrap();
    let on_disk = snapshot_of(&dir, cache.path());
    assert!(!on_disk.dirty, "the content is that of the pointer");
    let path = tree(&on_disk.source, cache.path());
    assert_eq!(fs::read(path.join("big.bin")).unwrap(), content);
    assert_eq!(status(&path), "");
    fs::write(dir.join("big.bin"), "other content").unwrap();
    assert!(snapshot_of(&dir, cache.path()).dirty);
}

#[test]
fn directories_without_commits_have_none() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let plain = home.path().join("plain");
    fs::create_dir(&plain).unwrap();
    fs::write(plain.join("a.txt"), "one\n").unwrap();
    let on_disk = snapshot_of(&plain, cache.path());
    assert!(!on_disk.has_commit && !on_disk.dirty);
    let path = tree(&on_disk.source, cache.path());
    assert!(path.join("a.txt").exists() && !path.join(".git").exists());
    git(&plain, &["init", "-q"]);
    let unborn = snapshot_of(&plain, cache.path());
    assert!(!unborn.has_commit);
    let path = tree(&unborn.source, cache.path());
    assert_eq!(git(&path, &["status", "--porcelain"]), "?? a.txt\n");
}

#[test]
fn workspace_can_start_empty_or_without_files() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = repository(home.path(), "app");
    let source = snapshot_of(&dir, cache.path()).source;
    let content = |content| Checkout { content, ..Checkout::default() };
    let nothing = content(CheckoutContent::Nothing);
    assert!(try_tree(&source, cache.path(), &nothing, &CheckoutRefs::default()).unwrap().is_none());
    let path = tree_as(&source, cache.path(), &content(CheckoutContent::Repository));
    assert!(path.join(".git").exists() && !path.join("a.txt").exists());
    git(&path, &["checkout", "-q", "--force", "HEAD"]);
    assert!(path.join("a.txt").exists());
}

#[test]
fn worktree_and_detached_head_are_run() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = repository(home.path(), "app");
    let other = home.path().join("other");
    git(&dir, &["worktree", "add", "-q", "--detach", &other.to_string_lossy()]);
    fs::write(other.join("b.txt"), "two\n").unwrap();
    let on_disk = snapshot_of(&other, cache.path());
    assert!(on_disk.dirty && on_disk.branch.is_none());
    let path = tree(&on_disk.source, cache.path());
    assert_eq!(git(&path, &["status", "--porcelain"]), "?? b.txt\n");
    assert_eq!(git(&path, &["branch", "--show-current"]), "");
}

#[test]
fn repository_that_git_places_elsewhere_is_refused() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // Git's output about the second directory begins with the path of the first.
    repository(home.path(), "app");
    let split = repository(home.path(), "app\nlication");
    let moved = repository(home.path(), "moved");
    git(&moved, &["config", "core.worktree", &home.path().join("app").to_string_lossy()]);
    for dir in [split, moved] {
        let error = snapshot(&dir, cache.path()).unwrap_err().to_string();
        assert!(error.contains("is not in the working tree that git reports"), "{}: {error}", dir.display());
    }
}

#[test]
fn status_is_as_clean_as_outside_with_hidden_files_and_line_endings() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let checked = |dir: &Path, expected: &str| {
        assert_eq!(git(dir, &["status", "--porcelain"]), expected, "outside");
        let snapshot = snapshot_of(dir, cache.path());
        assert_eq!(snapshot.dirty, !expected.is_empty(), "{}", dir.display());
        let path = tree(&snapshot.source, cache.path());
        assert_eq!(git(&path, &["status", "--porcelain"]), expected, "{}", dir.display());
        path
    };
    let sparse = repository(home.path(), "sparse");
    for name in ["x", "y z"] {
        fs::create_dir(sparse.join(name)).unwrap();
        fs::write(sparse.join(name).join("f"), name).unwrap();
    }
    commit(&sparse, "directories");
    git(&sparse, &["sparse-checkout", "set", "--cone", "x"]);
    let path = checked(&sparse, "");
    assert!(path.join("x/f").exists() && !path.join("y z").exists());
    fs::write(sparse.join("a.txt"), "changed").unwrap();
    checked(&sparse, " M a.txt\n");

    let assumed = repository(home.path(), "assumed");
    git(&assumed, &["update-index", "--assume-unchanged", "a.txt"]);
    fs::write(assumed.join("a.txt"), "changed").unwrap();
    let path = checked(&assumed, "");
    assert_eq!(fs::read_to_string(path.join("a.txt")).unwrap(), "changed", "the bytes are those on disk");
    git(&assumed, &["update-index", "--no-assume-unchanged", "a.txt"]);
    checked(&assumed, " M a.txt\n");

    let converted = repository(home.path(), "converted");
    git(&converted, &["config", "core.autocrlf", "true"]);
    fs::remove_file(converted.join("a.txt")).unwrap();
    git(&converted, &["checkout", "-q", "a.txt"]);
    let path = checked(&converted, "");
    assert_eq!(fs::read_to_string(path.join("a.txt")).unwrap(), "one\r\n");

    let modes = repository(home.path(), "modes");
    git(&modes, &["config", "core.fileMode", "false"]);
    fs::set_permissions(modes.join("a.txt"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = checked(&modes, "");
    assert_eq!(fs::metadata(path.join("a.txt")).unwrap().permissions().mode() & 0o111, 0o111);
    git(&modes, &["config", "core.fileMode", "true"]);
    checked(&modes, " M a.txt\n");
}

#[test]
fn repository_with_sha_256_names_is_refused() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = home.path().join("app");
    fs::create_dir(&dir).unwrap();
    git(&dir, &["init", "-q", "--object-format=sha256"]);
    commit(&dir, "first");
    let error = snapshot(&dir, cache.path()).unwrap_err().to_string();
    assert!(error.contains("SHA-256 object names, which are not supported"), "{error}");
}

#[test]
fn clone_of_a_directory_on_another_branch_has_its_main_branch() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = repository(home.path(), "app");
    git(&dir, &["checkout", "-q", "-b", "topic"]);
    commit(&dir, "topic");
    let path = tree(&clone_of(&dir, Revision::default(), cache.path()), cache.path());
    assert_eq!(git(&path, &["rev-parse", "--abbrev-ref", "origin/HEAD"]), "origin/topic\n");
    assert_eq!(git(&path, &["log", "--format=%s", "origin/main..HEAD"]), "topic\n");
    assert!(path.join(".git/packed-refs").exists());
}

#[test]
fn staged_changes_are_staged_in_the_job_too() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = repository(home.path(), "app");
    for name in ["b", "c", "d", "both", "cached"] {
        fs::write(dir.join(name), format!("{name} one\n")).unwrap();
    }
    commit(&dir, "files");
    let checked = |dir: &Path, expected: &str| {
        let cached = ["diff", "--cached", "--no-renames"];
        assert_eq!(git(dir, &["status", "--porcelain"]), expected, "outside");
        let index =
            fs::read(git(dir, &["rev-parse", "--path-format=absolute", "--git-path", "index"]).trim());
        let path = tree(&snapshot_of(dir, cache.path()).source, cache.path());
        assert_eq!(git(&path, &["status", "--porcelain"]), expected);
        assert_eq!(git(&path, &cached), git(dir, &cached));
        assert_eq!(git(&path, &["log", "--format=%s"]), git(dir, &["log", "--format=%s"]));
        assert_eq!(git(&path, &["for-each-ref", "refs/tidemill"]), "");
        let after =
            fs::read(git(dir, &["rev-parse", "--path-format=absolute", "--git-path", "index"]).trim());
        assert_eq!(index.unwrap(), after.unwrap(), "the user's index is untouched");
        path
    };
    checked(&dir, "");
    fs::write(dir.join("b"), "staged\n").unwrap();
    fs::write(dir.join("both"), "staged\n").unwrap();
    fs::write(dir.join("new"), "new\n").unwrap();
    git(&dir, &["add", "b", "both", "new"]);
    git(&dir, &["rm", "-q", "c"]);
    git(&dir, &["rm", "-q", "--cached", "cached"]);
    fs::write(dir.join("both"), "not staged\n").unwrap();
    fs::write(dir.join("d"), "not staged\n").unwrap();
    let expected = "M  b\nMM both\nD  c\nD  cached\n M d\nA  new\n?? cached\n";
    let path = checked(&dir, expected);
    assert_eq!(git(&path, &["show", ":both"]), "staged\n", "the objects are there");
    // The tree is changed into the next one, in which less is staged.
    git(&dir, &["reset", "-q", "--", "b", "new"]);
    let expected = " M b\nMM both\nD  c\nD  cached\n M d\n?? cached\n?? new\n";
    checked(&dir, expected);
    let committed = Checkout { clean: true, ..Checkout::default() };
    let path = tree_as(&snapshot_of(&dir, cache.path()).source, cache.path(), &committed);
    assert_eq!(git(&path, &["status", "--porcelain"]), "");
    let one = Checkout { depth: Some(1), ..Checkout::default() };
    let path = tree_as(&snapshot_of(&dir, cache.path()).source, cache.path(), &one);
    assert_eq!(git(&path, &["status", "--porcelain"]), expected);
    assert_eq!(git(&path, &["rev-list", "--count", "HEAD"]), "1\n");

    let other = home.path().join("other");
    git(&dir, &["worktree", "add", "-q", "--detach", &other.to_string_lossy()]);
    fs::write(other.join("b"), "in the worktree\n").unwrap();
    git(&other, &["add", "b"]);
    checked(&other, "M  b\n");
}

#[test]
fn index_with_conflicts_shows_files_as_not_staged() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = repository(home.path(), "app");
    git(&dir, &["checkout", "-q", "-b", "topic"]);
    fs::write(dir.join("a.txt"), "topic\n").unwrap();
    commit(&dir, "topic");
    git(&dir, &["checkout", "-q", "main"]);
    fs::write(dir.join("a.txt"), "main\n").unwrap();
    commit(&dir, "main");
    let user = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
    let merge =
        Command::new("git").arg("-C").arg(&dir).args(user).args(["merge", "-q", "topic"]).output().unwrap();
    assert!(!merge.status.success());
    let path = tree(&snapshot_of(&dir, cache.path()).source, cache.path());
    assert_eq!(git(&path, &["status", "--porcelain"]), " M a.txt\n");
    assert!(fs::read_to_string(path.join("a.txt")).unwrap().contains("<<<<<<<"));
}

#[test]
fn submodule_with_a_relative_address_is_found_beside_a_repository_without_origin() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    repository(home.path(), "inner");
    let outer = repository(home.path(), "outer");
    git(&outer, &["submodule", "--quiet", "add", "../inner", "lib"]);
    commit(&outer, "inner");
    git(&outer, &["submodule", "--quiet", "deinit", "-f", "lib"]);
    assert!(!outer.join("lib/a.txt").exists());
    let path = tree(&snapshot_of(&outer, cache.path()).source, cache.path());
    assert_eq!(fs::read_to_string(path.join("lib/a.txt")).unwrap(), "one\n");
    assert_eq!(git(&path, &["status", "--porcelain"]), "");
}
