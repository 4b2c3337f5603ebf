//! Objects that trees share: the repository of a new tree starts with hard links to the packs of another tree of the same
//! repository and owner, so that git fetches, and the disk holds, only what those lack.

use super::super::git::{self, SourceError};
use super::{record::TreeRecord, repository::RepositorySpec};
use crate::store::FileLock;
use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

/// The ref of the linked history while the rest is fetched; it goes with all others of this directory.
const BASE_REF: &str = "refs/tidemill/base";
/// With more packs than this, git looks objects up slowly: the tree gets one of its own.
const MAX_PACKS: usize = 20;
/// The files of a pack that are linked. Others, such as bitmaps, only make work on large repositories faster.
const LINKED: [&str; 3] = ["pack", "rev", "idx"];

/// Sets `spec` up in the new `git_dir`, with the packs of a complete tree in `home` whose record has the key `objects`, if one
/// can be linked.
pub fn set_up_sharing(
    spec: &RepositorySpec<'_>,
    home: &Path,
    objects: &str,
    git_dir: &Path,
) -> Result<(), SourceError> {
    if let Some(commit) = spec.commit {
        for record in TreeRecord::of_objects(home, objects) {
            let Ok(_in_use) = FileLock::try_shared(&record.path.with_extension("used")) else { continue };
            let linked = Donor::open(&record.path.with_extension(""))
                .and_then(|donor| donor.link(git_dir, &record.commit));
            let is_linked = matches!(linked, Ok(true));
            if is_linked
                && spec.set_up(git_dir).and_then(|()| remove_tags_of_others(spec, git_dir, commit)).is_ok()
            {
                return Ok(());
            }
            // What is there is a part of a repository, or one that git does not take.
            if git_dir.exists() {
                fs::remove_dir_all(git_dir)
                    .map_err(|error| SourceError::io("the source cache cannot be written", &error))?;
            }
            if is_linked {
                break;
            }
        }
    }
    spec.set_up(git_dir)
}

/// Sets `spec` up in the `git_dir` of a changed tree, which has the history of `commit` and refs of other branches and tags.
pub fn set_up_again(spec: &RepositorySpec<'_>, git_dir: &Path, commit: &str) -> Result<(), SourceError> {
    let refs = git_dir.join("refs");
    let remove_all = || {
        fs::remove_dir_all(&refs)?;
        fs::create_dir_all(refs.join("heads"))?;
        fs::create_dir_all(refs.join("tags"))?;
        drop(fs::remove_file(git_dir.join("packed-refs")));
        drop(fs::remove_dir_all(git_dir.join("logs")));
        write_base(git_dir, commit)
    };
    remove_all().map_err(|error| SourceError::io("the source cache cannot be written", &error))?;
    spec.set_up(git_dir)?;
    spec.commit.map_or(Ok(()), |commit| remove_tags_of_others(spec, git_dir, commit))
}

/// Makes `commit` stand for the history that a repository has.
fn write_base(git_dir: &Path, commit: &str) -> io::Result<()> {
    let base = git_dir.join(BASE_REF);
    fs::create_dir_all(base.parent().unwrap_or(git_dir))?;
    fs::write(base, format!("{commit}\n"))
}

/// The repository of a tree whose packs are linked.
struct Donor {
    git_dir: PathBuf,
    files: Vec<OsString>,
}

impl Donor {
    /// Lists what can be linked. A repository with many packs, or with objects outside of packs, has nothing to link.
    fn open(tree: &Path) -> io::Result<Self> {
        let git_dir = tree.join(".git");
        let mut files = Vec::new();
        for entry in fs::read_dir(git_dir.join("objects"))? {
            if !["info", "pack"]
                .iter()
                .any(|name| entry.as_ref().is_ok_and(|entry| entry.file_name() == *name))
            {
                return Ok(Self { git_dir, files });
            }
        }
        for entry in fs::read_dir(git_dir.join("objects/pack"))? {
            let entry = entry?;
            let name = entry.file_name();
            let is_linked =
                Path::new(&name).extension().is_some_and(|ending| LINKED.iter().any(|one| ending == *one));
            if is_linked && entry.file_type()?.is_file() {
                files.push(name);
            }
        }
        let packs = files.iter().filter(|name| name.as_encoded_bytes().ends_with(b".pack")).count();
        if packs > MAX_PACKS {
            files.clear();
        }
        Ok(Self { git_dir, files })
    }

    /// Links the packs into the new `git_dir`, in which `commit` then stands for what is there. Returns false if there are none.
    fn link(&self, git_dir: &Path, commit: &str) -> io::Result<bool> {
        if self.files.is_empty() {
            return Ok(false);
        }
        let packs = git_dir.join("objects/pack");
        fs::create_dir_all(&packs)?;
        for name in &self.files {
            fs::hard_link(self.git_dir.join("objects/pack").join(name), packs.join(name))?;
        }
        // Where the linked history ends.
        match fs::copy(self.git_dir.join("shallow"), git_dir.join("shallow")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        write_base(git_dir, commit)?;
        Ok(true)
    }
}

/// Removes the tags that only the linked history leads to: git follows the tags of all objects that are there.
fn remove_tags_of_others(spec: &RepositorySpec<'_>, git_dir: &Path, commit: &str) -> Result<(), SourceError> {
    if spec.tags.is_some() {
        return Ok(());
    }
    let branches = ["for-each-ref", "--format=%(objectname)", "--", "refs/heads", "refs/remotes"];
    let tips = git::run(git::at(git_dir).args(branches))?;
    let mut command = git::at(git_dir);
    command.args(["for-each-ref", "--format=%(refname:strip=2)", "--no-merged", commit]);
    command.args(tips.lines().map(|tip| format!("--no-merged={tip}")));
    let unreached = git::run(command.args(["--", "refs/tags"]))?;
    let mut unreached: Vec<&str> = unreached.lines().filter(|name| Some(*name) != spec.tag).collect();
    // The number of arguments of a command is limited.
    while !unreached.is_empty() {
        let some = unreached.split_off(unreached.len().saturating_sub(500));
        git::run(git::at(git_dir).args(["tag", "--delete", "--"]).args(some))?;
    }
    Ok(())
}
