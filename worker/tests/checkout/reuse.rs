//! Trees that are changed into the next one although they have submodules, files of Git LFS, attributes, or owners.

use super::{clone_of, commit, git, repository, snapshot_of, try_tree_of};
use sha2::{Digest, Sha256};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};
use tidemill_core::execution::assignment::{Checkout, CheckoutRefs, Source};
use tidemill_worker::{source::Revision, workspace::FileOwner};

fn tree_for(owner: FileOwner, source: &Source, cache: &Path) -> PathBuf {
    let defaults = (&Checkout::default(), &CheckoutRefs::default());
    try_tree_of(owner, source, cache, defaults).unwrap().unwrap().path.clone()
}

/// Without a filter: git does not know the content of a pointer, except by what the index records.
fn status(dir: &Path) -> String {
    let args = ["--no-optional-locks", "-c", "safe.directory=*", "status", "--porcelain"];
    let output = std::process::Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[test]
fn one_changed_file_rewrites_one_file_beside_submodules() {
    for owner in [FileOwner::Worker, FileOwner::Everyone] {
        let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let inner = repository(home.path(), "inner");
        let outer = repository(home.path(), "outer");
        git(&outer, &["submodule", "--quiet", "add", "../inner", "lib"]);
        fs::write(outer.join("f1"), "1").unwrap();
        commit(&outer, "inner");
        let kept = |tree: &Path| [inode(&tree.join("f1")), inode(&tree.join("lib/a.txt"))];
        let check = |tree: &Path, expected: &str| {
            assert_eq!(status(tree), expected);
            assert_eq!(status(&tree.join("lib")), "");
            let listed = git(tree, &["-c", "safe.directory=*", "submodule", "status"]);
            assert!(listed.starts_with(' ') && listed.contains(" lib"), "{listed}");
        };

        let first = tree_for(owner, &snapshot_of(&outer, cache.path()).source, cache.path());
        let before = kept(&first);
        fs::write(outer.join("a.txt"), "changed\n").unwrap();
        let second = tree_for(owner, &snapshot_of(&outer, cache.path()).source, cache.path());
        assert_eq!(kept(&second), before, "unchanged files are not written again");
        check(&second, " M a.txt\n");
        commit(&outer, "change");
        let third = tree_for(owner, &snapshot_of(&outer, cache.path()).source, cache.path());
        assert_eq!(kept(&third), before);
        check(&third, "");
        assert_eq!(git(&third, &["-c", "safe.directory=*", "log", "-1", "--format=%s"]), "change\n");

        let first = tree_for(owner, &clone_of(&outer, Revision::default(), cache.path()), cache.path());
        let before = kept(&first);
        fs::write(outer.join("new"), "new\n").unwrap();
        commit(&outer, "new file");
        let second = tree_for(owner, &clone_of(&outer, Revision::default(), cache.path()), cache.path());
        assert_eq!(kept(&second), before);
        check(&second, "");
        assert!(second.join("new").exists());

        // A change of the submodule is there in both.
        fs::write(inner.join("a.txt"), "two\n").unwrap();
        commit(&inner, "two");
        git(&outer.join("lib"), &["pull", "-q", "origin", "main"]);
        fs::write(outer.join("lib/b.txt"), "on disk\n").unwrap();
        let dirty = tree_for(owner, &snapshot_of(&outer, cache.path()).source, cache.path());
        assert_eq!(fs::read_to_string(dirty.join("lib/a.txt")).unwrap(), "two\n");
        assert_eq!(status(&dirty.join("lib")), "?? b.txt\n");
        fs::remove_file(outer.join("lib/b.txt")).unwrap();
        commit(&outer, "next submodule");
        let fetched = tree_for(owner, &clone_of(&outer, Revision::default(), cache.path()), cache.path());
        assert_eq!(fs::read_to_string(fetched.join("lib/a.txt")).unwrap(), "two\n");
        check(&fetched, "");
    }
}

/// Writes the pointer of `content` as `big.bin`, and the content to where git-lfs keeps it.
fn write_pointer(dir: &Path, content: &str) {
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(content));
    let size = content.len();
    let text = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{hash}\nsize {size}\n");
    fs::write(dir.join("big.bin"), text).unwrap();
    let objects = dir.join(".git/lfs/objects").join(&hash[..2]).join(&hash[2..4]);
    fs::create_dir_all(&objects).unwrap();
    fs::write(objects.join(&hash), content).unwrap();
}

#[test]
fn one_changed_file_rewrites_one_file_beside_those_of_lfs() {
    let (one, two) = ("the content of a large file", "the next content of this file");
    for owner in [FileOwner::Worker, FileOwner::Everyone] {
        let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dir = repository(home.path(), "app");
        fs::write(dir.join(".gitattributes"), "*.bin filter=lfs diff=lfs merge=lfs -text\n*.win eol=crlf\n")
            .unwrap();
        fs::write(dir.join("s.win"), "x\n").unwrap();
        fs::write(dir.join("f1"), "1").unwrap();
        write_pointer(&dir, one);
        commit(&dir, "lfs");
        let commit_file = |name: &str| {
            git(&dir, &["add", name]);
            git(&dir, &["commit", "-q", "-m", "change", "--", name]);
        };
        let kept = |tree: &Path| ["f1", "big.bin"].map(|name| inode(&tree.join(name)));
        let content = |tree: &Path| fs::read_to_string(tree.join("big.bin")).unwrap();

        // Commits, in which pointers are replaced.
        let of_commit = || tree_for(owner, &clone_of(&dir, Revision::default(), cache.path()), cache.path());
        let first = of_commit();
        let before = kept(&first);
        fs::write(dir.join("a.txt"), "changed\n").unwrap();
        commit_file("a.txt");
        let second = of_commit();
        assert_eq!((kept(&second), content(&second).as_str()), (before, one));
        assert_eq!(fs::read_to_string(second.join("s.win")).unwrap(), "x\r\n");
        assert_eq!(status(&second), "");

        // The working tree, with the content on disk.
        fs::write(dir.join("big.bin"), one).unwrap();
        let first = tree_for(owner, &snapshot_of(&dir, cache.path()).source, cache.path());
        let before = kept(&first);
        fs::write(dir.join("a.txt"), "again\n").unwrap();
        let second = tree_for(owner, &snapshot_of(&dir, cache.path()).source, cache.path());
        assert_eq!((kept(&second), content(&second).as_str()), (before, one));
        assert_eq!(status(&second), " M a.txt\n");
        commit_file("a.txt");
        let third = tree_for(owner, &snapshot_of(&dir, cache.path()).source, cache.path());
        assert_eq!((kept(&third), content(&third).as_str()), (before, one));
        assert_eq!(status(&third), "");

        // Changed files of LFS, as pointers and as content.
        write_pointer(&dir, two);
        commit_file("big.bin");
        let pointers = tree_for(owner, &snapshot_of(&dir, cache.path()).source, cache.path());
        assert_eq!((content(&pointers).as_str(), status(&pointers).as_str()), (two, ""));
        let changed = of_commit();
        assert_eq!((content(&changed).as_str(), status(&changed).as_str()), (two, ""));
    }
}

#[test]
fn one_changed_file_rewrites_one_file_that_everyone_may_change() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = repository(home.path(), "app");
    fs::write(dir.join("f1"), "1").unwrap();
    fs::write(dir.join("run"), "1").unwrap();
    fs::set_permissions(dir.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    commit(&dir, "files");
    let tree = || tree_for(FileOwner::Everyone, &snapshot_of(&dir, cache.path()).source, cache.path());
    let first = tree();
    let metadata = |path: PathBuf| fs::metadata(path).unwrap();
    let before = metadata(first.join("f1"));
    fs::write(dir.join("a.txt"), "changed\n").unwrap();
    fs::create_dir(dir.join("d")).unwrap();
    fs::write(dir.join("d/new"), "new\n").unwrap();
    let second = tree();
    let after = metadata(second.join("f1"));
    let times = |file: &fs::Metadata| (file.ino(), file.ctime(), file.ctime_nsec());
    assert_eq!(times(&after), times(&before), "not even its permissions are set again");
    for (name, mode) in [("a.txt", 0o666), ("f1", 0o666), ("run", 0o777), ("d", 0o777), ("d/new", 0o666)] {
        assert_eq!(metadata(second.join(name)).permissions().mode() & 0o777, mode, "{name}");
    }
    assert_eq!(status(&second), " M a.txt\n?? d/\n");
}
