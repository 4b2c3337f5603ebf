//! The tags and branches that a job's repository has.

use super::{clone_of, commit, git, repository, tree_as, try_tree};
use std::fs;
use tidemill_core::execution::assignment::{Checkout, CheckoutRefs};
use tidemill_worker::source::Revision;

#[test]
fn case_real_05_push_of_a_tag_has_the_tag_and_the_default_branch() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = repository(home.path(), "app");
    git(&dir, &["tag", "-a", "v1.0", "-m", "v1.0"]);
    commit(&dir, "on main");
    git(&dir, &["checkout", "-q", "-b", "release"]);
    fs::write(dir.join("released.txt"), "x").unwrap();
    commit(&dir, "release");
    git(&dir, &["tag", "-a", "v2.0", "-m", "v2.0"]);
    git(&dir, &["checkout", "-q", "main"]);
    fs::write(dir.join("later.txt"), "x").unwrap();
    commit(&dir, "later");
    let refs = CheckoutRefs {
        tag: Some("v2.0".to_owned()),
        default_branch: Some("main".to_owned()),
        ..CheckoutRefs::default()
    };
    let source = clone_of(&dir, Revision { tag: Some("v2.0"), ..Revision::default() }, cache.path());
    let path = &try_tree(&source, cache.path(), &Checkout::default(), &refs).unwrap().unwrap().path;
    assert_eq!(git(path, &["describe", "--tags"]), "v2.0\n");
    assert_eq!(git(path, &["describe", "--tags", "--abbrev=0", "HEAD^"]), "v1.0\n");
    assert_eq!(git(path, &["diff", "--name-only", "origin/main...HEAD"]), "released.txt\n");
    assert_eq!(git(path, &["tag", "--points-at", "HEAD"]), "v2.0\n");
    assert_eq!(git(path, &["branch", "--show-current"]), "", "a tag is no branch");
}

#[test]
fn all_tags_are_there_where_they_are_asked_for() {
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = repository(home.path(), "app");
    git(&dir, &["checkout", "-q", "-b", "other"]);
    commit(&dir, "elsewhere");
    git(&dir, &["tag", "elsewhere"]);
    git(&dir, &["checkout", "-q", "main"]);
    git(&dir, &["tag", "here"]);
    let source = || clone_of(&dir, Revision { branch: Some("main"), ..Revision::default() }, cache.path());
    for (tags, expected) in [(None, "here\n"), (Some(true), "elsewhere\nhere\n"), (Some(false), "")] {
        let checkout = Checkout { tags, ..Checkout::default() };
        let path = tree_as(&source(), cache.path(), &checkout);
        assert_eq!(git(&path, &["tag"]), expected, "{tags:?}");
    }
}
