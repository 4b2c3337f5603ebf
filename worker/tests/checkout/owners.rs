//! Trees whose files belong to the user of an image.

use super::{clone_of, commit, git, repository, snapshot_of, try_tree_of};
use std::{fs, os::unix::fs::MetadataExt, path::Path};
use tidemill_core::execution::assignment::{Checkout, CheckoutRefs, Source};
use tidemill_worker::{source::Revision, workspace::FileOwner};

#[test]
fn one_changed_file_rewrites_one_file_of_another_user() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let own = fs::metadata(home.path()).unwrap();
    // Only root may give files away.
    let (uid, gid) = if own.uid() == 0 { (1000, 1000) } else { (own.uid(), own.gid()) };
    let owner = FileOwner::User { uid, gid };
    let dir = repository(home.path(), "app");
    for number in 0..50 {
        fs::write(dir.join(format!("f{number}")), format!("{number}")).unwrap();
    }
    commit(&dir, "many");
    let tree_of = |source: &Source| {
        let defaults = (&Checkout::default(), &CheckoutRefs::default());
        try_tree_of(owner, source, cache.path(), defaults).unwrap().unwrap().path.clone()
    };
    // It would write the index anew, as the user of the test.
    let options = ["--no-optional-locks", "-c", "safe.directory=*", "status", "--porcelain"];
    let status = |tree: &Path| git(tree, &options);
    let inode = |path: &Path| fs::metadata(path.join("f1")).unwrap().ino();
    let assert_given = |tree: &Path, names: &[&str]| {
        for name in names {
            let metadata = fs::symlink_metadata(tree.join(name)).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (uid, gid), "{name}");
        }
    };

    // The working tree, and commits.
    let first = tree_of(&snapshot_of(&dir, cache.path()).source);
    let kept = inode(&first);
    fs::write(dir.join("f2"), "changed").unwrap();
    fs::create_dir(dir.join("d")).unwrap();
    fs::write(dir.join("d/new"), "new").unwrap();
    let second = tree_of(&snapshot_of(&dir, cache.path()).source);
    assert_eq!(inode(&second), kept, "unchanged files are not written again");
    assert_eq!(fs::read_to_string(second.join("f2")).unwrap(), "changed");
    assert_eq!(status(&second), " M f2\n?? d/\n");
    assert_given(&second, &[".", "f1", "f2", "d", "d/new", ".git", ".git/index", ".git/HEAD"]);
    commit(&dir, "changes");
    let third = tree_of(&snapshot_of(&dir, cache.path()).source);
    assert_eq!((inode(&third), status(&third).as_str()), (kept, ""));

    let first = tree_of(&clone_of(&dir, Revision::default(), cache.path()));
    let kept = inode(&first);
    fs::write(dir.join("f4"), "changed").unwrap();
    commit(&dir, "again");
    let second = tree_of(&clone_of(&dir, Revision::default(), cache.path()));
    assert_eq!((inode(&second), status(&second).as_str()), (kept, ""));
    assert_eq!(fs::read_to_string(second.join("f4")).unwrap(), "changed");
    assert_given(&second, &["f1", "f4", ".git/index"]);
}
