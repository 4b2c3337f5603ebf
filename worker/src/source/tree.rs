//! Read-only trees of sources, laid out once and shared by all jobs that need them.

use super::{
    git::{self, SourceError},
    handed,
    reach::{Reach, Remote},
    upload,
};
use crate::store::{FileLock, short_hash, unused_for};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tidemill_core::assignment::Source;

/// How many commits of history a workspace's repository has.
pub const DEPTH: &str = "--depth=20";
/// Trees that are kept at most, and for how long without use.
const MOST_TREES: usize = 20;
const LONGEST_UNUSED: Duration = Duration::from_secs(14 * 24 * 3600);
/// How long a mirror is kept without use.
const MIRROR_UNUSED: Duration = Duration::from_secs(90 * 24 * 3600);

/// A tree of sources, which is not removed while this lives.
#[derive(Debug)]
pub struct Tree {
    /// The directory that holds it, with a usable `.git`. It must not be written to: every job of the same sources
    /// shares it.
    pub path: PathBuf,
    _in_use: FileLock,
}

/// Gives the bytes of an upload by its name.
pub type Download<'a> = &'a dyn Fn(&str) -> Result<File, SourceError>;

/// The tree of `source`; `None` when there are no sources. What was uploaded comes from `download`, if it is not here.
pub fn materialise(
    source: &Source,
    cache: &Path,
    reach: &Reach,
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
    let failed = |error: io::Error| SourceError::new(format!("the source cache cannot be written: {error}"));
    let key = short_hash(&[&from, branch.as_deref().unwrap_or(""), commit, tree.as_deref().unwrap_or("")]);
    let home = cache.join("trees");
    let done = home.join(&key);
    let in_use = FileLock::share(&home.join(format!("{key}.used"))).map_err(failed)?;
    in_use.touch();
    if !done.join(".git").exists() {
        let _lock = FileLock::wait(&home.join(format!("{key}.lock"))).map_err(failed)?;
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
                    (handed::find(cache, snapshot, repository)?, None)
                }
                Source::Git { url, private_host, .. } => {
                    let remote = reach.remote(url, *private_host)?;
                    let objects = objects_of(&remote, branch.as_deref(), None, commit, cache)?;
                    (objects, Some(remote.url().to_owned()))
                }
            };
            let building = home.join(format!("{key}.new"));
            let _ = fs::remove_dir_all(&building);
            fs::create_dir_all(&building).map_err(failed)?;
            lay_out(&objects, url.as_deref(), branch.as_deref(), commit, tree.as_deref(), &building)?;
            fs::rename(&building, &done).map_err(failed)?;
        }
    }
    Ok(Some(Tree { path: done, _in_use: in_use }))
}

/// A mirror of `remote` on this machine that has `commit`.
/// `reference` is fetched where the commit may be reachable from nothing else.
pub(super) fn objects_of(
    remote: &Remote,
    branch: Option<&str>,
    reference: Option<&str>,
    commit: &str,
    cache: &Path,
) -> Result<PathBuf, SourceError> {
    let url = remote.url();
    let (mirror, _lock) = repository(url, cache)?;
    if has(&mirror, commit) {
        return Ok(mirror);
    }
    let fetch = |what: &[&str]| {
        let mut command = git::at(&mirror);
        let connection = remote.connect(&mut command)?;
        let fetched = command.args(["fetch", "--quiet", "--force", "--", &connection.url]).args(what);
        git::run(fetched).map_err(|error| connection.explain(error))
    };
    if let Some(reference) = reference
        && fetch(&[reference]).is_ok()
        && has(&mirror, commit)
    {
        return Ok(mirror);
    }
    let named = branch.map(|branch| format!("refs/heads/{branch}:refs/heads/{branch}"));
    let tried = named.map_or_else(|| fetch(&[commit]), |name| fetch(&[&name]));
    if tried.is_ok() && has(&mirror, commit) {
        return Ok(mirror);
    }
    fetch(&["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"])?;
    if !has(&mirror, commit) {
        fetch(&[commit])
            .map_err(|error| SourceError::new(format!("{url} has no commit {commit} ({error})")))?;
    }
    Ok(mirror)
}

/// A repository on this machine that has all that was uploaded. It is the upload's own: what it builds on is found beside it, and
/// nothing of an upload is written where other sources come from.
fn objects_of_upload(
    upload: &str,
    from: Option<(&Remote, &str)>,
    wanted: &[&str],
    cache: &Path,
    download: Download<'_>,
) -> Result<PathBuf, SourceError> {
    let mirror = match from {
        Some((remote, base)) => Some(objects_of(remote, None, None, base, cache).map_err(|error| {
            let url = remote.url();
            SourceError::new(format!(
                "the uploaded sources build on commit {base} of {url}, which could not be fetched: {error}; push it \
                 where workers can fetch it, or run with --upload-all"
            ))
        })?),
        None => None,
    };
    let place = from.map_or("", |(remote, _)| remote.url());
    let (repo, _lock) = repository(&format!("upload {upload} on {place}"), cache)?;
    if let Some(mirror) = &mirror {
        let alternates = format!("{}\n", mirror.join("objects").display());
        fs::write(repo.join("objects/info/alternates"), alternates)
            .map_err(|error| SourceError::new(format!("the source cache cannot be written: {error}")))?;
    }
    let lacking = |object: &&&str| git::run(git::at(&repo).args(["cat-file", "-e", object])).is_err();
    if wanted.iter().any(|object| lacking(&object)) {
        upload::unpack(download(upload)?, &repo, from.is_none())?;
        if let Some(object) = wanted.iter().find(lacking) {
            return Err(SourceError::new(format!(
                "upload {upload} does not hold {object}; start the run again"
            )));
        }
    }
    Ok(repo)
}

/// The bare repository that is kept for `name`, made if it is not there, and its lock.
fn repository(name: &str, cache: &Path) -> Result<(PathBuf, FileLock), SourceError> {
    let repo = cache.join("repos").join(format!("{}.git", short_hash(&[name])));
    let lock = FileLock::wait(&repo.with_extension("lock"))
        .map_err(|error| SourceError::new(format!("the source cache cannot be written: {error}")))?;
    lock.touch();
    if !repo.join("HEAD").exists() {
        git::run(git::command().args(["init", "--quiet", "--bare"]).arg(&repo))?;
    }
    Ok((repo, lock))
}

fn has(git_dir: &Path, commit: &str) -> bool {
    git::run(git::at(git_dir).args(["cat-file", "-e", &format!("{commit}^{{commit}}")])).is_ok()
}

fn lay_out(
    objects: &Path,
    url: Option<&str>,
    branch: Option<&str>,
    commit: &str,
    tree: Option<&str>,
    into: &Path,
) -> Result<(), SourceError> {
    let inside = || {
        let mut command = git::command();
        command.arg("-C").arg(into);
        command
    };
    git::run(inside().args(["init", "--quiet"]))?;
    let from = format!("file://{}", objects.display());
    git::run(inside().args(["fetch", "--quiet", "--no-tags", DEPTH, &from, commit]))?;
    match branch {
        Some(branch) => git::run(inside().args(["checkout", "--quiet", "-B", branch, commit]))?,
        None => git::run(inside().args(["checkout", "--quiet", "--detach", commit]))?,
    };
    if let Some(tree) = tree {
        // The snapshot's files lie on top of HEAD as uncommitted changes, as they do on disk.
        git::run(inside().args(["fetch", "--quiet", "--no-tags", &from, tree]))?;
        git::run(inside().args(["read-tree", "--reset", "-u", tree]))?;
        git::run(inside().args(["reset", "--quiet", "--mixed", commit]))?;
    }
    match url {
        Some(url) => git::run(inside().args(["config", "remote.origin.url", url])).map(drop),
        None => Ok(()),
    }
}

/// Removes what nobody used for long: trees, the least used beyond the number that is kept, and mirrors.
pub fn prune(cache: &Path) {
    let home = cache.join("trees");
    let mut trees = unused(&home, ".used");
    trees.sort_by(|a, b| b.cmp(a));
    let over = trees.len().saturating_sub(MOST_TREES);
    for (at, (unused, key)) in trees.into_iter().enumerate() {
        let mark = home.join(format!("{key}.used"));
        if (unused > LONGEST_UNUSED || at < over)
            // Who uses it shares the lock.
            && let Ok(_alone) = FileLock::try_now(&mark)
        {
            let _ = fs::remove_dir_all(home.join(&key));
            let _ = fs::remove_file(home.join(format!("{key}.lock")));
            let _ = fs::remove_file(mark);
        }
    }
    let home = cache.join("repos");
    for (unused, key) in unused(&home, ".lock") {
        if unused > MIRROR_UNUSED
            && let Ok(_alone) = FileLock::try_now(&home.join(format!("{key}.lock")))
        {
            let _ = fs::remove_dir_all(home.join(format!("{key}.git")));
        }
    }
}

/// For each file in `home` with this suffix, how long nobody used what it stands for, and its name without the suffix.
fn unused(home: &Path, suffix: &str) -> Vec<(Duration, String)> {
    let Ok(entries) = fs::read_dir(home) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let found = names
        .filter_map(|name| Some((unused_for(&home.join(&name))?, name.strip_suffix(suffix)?.to_owned())));
    found.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{LONGEST_UNUSED, MIRROR_UNUSED, MOST_TREES, prune};
    use crate::store::FileLock;
    use std::{
        fs::{self, File},
        path::Path,
        time::{Duration, SystemTime},
    };

    fn aged(path: &Path, age: Duration) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::create(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
    }

    #[test]
    fn what_is_in_use_stays_and_what_was_used_longest_ago_goes() {
        let cache = tempfile::tempdir().unwrap();
        let trees = cache.path().join("trees");
        for number in 0..MOST_TREES as u64 + 3 {
            fs::create_dir_all(trees.join(format!("t{number}"))).unwrap();
            aged(&trees.join(format!("t{number}.used")), Duration::from_secs(1000 - number));
        }
        let _in_use = FileLock::share(&trees.join("t0.used")).unwrap();
        prune(cache.path());
        let kept = |number: u64| trees.join(format!("t{number}")).exists();
        assert_eq!((kept(0), kept(1), kept(2), kept(3)), (true, false, false, true));
        aged(&trees.join("t9.used"), LONGEST_UNUSED + Duration::from_secs(1));
        prune(cache.path());
        assert!(!kept(9) && kept(10));
    }

    #[test]
    fn a_mirror_goes_when_it_was_not_used_for_long() {
        let cache = tempfile::tempdir().unwrap();
        let repos = cache.path().join("repos");
        for (name, age) in [("old", MIRROR_UNUSED + Duration::from_secs(1)), ("new", Duration::ZERO)] {
            fs::create_dir_all(repos.join(format!("{name}.git"))).unwrap();
            aged(&repos.join(format!("{name}.lock")), age);
        }
        prune(cache.path());
        assert!(!repos.join("old.git").exists() && repos.join("new.git").exists());
    }
}
