//! The repository in a job's workspace: as in a clone, with a bounded history, the tags that it leads to, and the default and
//! the target branch as branches of `origin`.

use super::super::git::{self, SourceError};
use std::{collections::BTreeMap, fmt::Write as _, fs, io, path::Path};

/// How many commits of history a repository has by default.
const DEFAULT_DEPTH: u32 = 50;
/// Up to how many commits the default history grows to reach the nearest tag and the base of the branch.
const MAX_DEFAULT_DEPTH: u32 = 1000;
/// The ref of a commit that is on no branch, while it is fetched.
const HEAD_REF: &str = "refs/tidemill/head";
/// The ref of what is staged, while it is fetched.
const STAGED_REF: &str = "refs/tidemill/staged";

/// The repository to set up.
#[derive(Debug, Clone, Copy)]
pub struct RepositorySpec<'a> {
    /// The git directory on this machine with all objects and refs.
    pub objects: &'a Path,
    /// The address of the remote `origin`.
    pub origin: Option<&'a str>,
    /// The checked-out branch.
    pub branch: Option<&'a str>,
    /// The checked-out commit; `None`: the repository has no commit.
    pub commit: Option<&'a str>,
    /// A commit whose objects are there for the index.
    pub staged: Option<&'a str>,
    /// The default branch.
    pub default_branch: Option<&'a str>,
    /// The branch that a pull request targets.
    pub target_branch: Option<&'a str>,
    /// The tag that the execution is for.
    pub tag: Option<&'a str>,
    /// Commits of history; 0: all; `None`: the default.
    pub depth: Option<u32>,
    /// Whether all tags are there, or none. `None`: those that the history leads to.
    pub tags: Option<bool>,
    /// The working tree, relative to the git directory, if the git directory is not in it.
    pub work_tree: Option<&'a str>,
    /// Settings of `core` that convert line endings.
    pub settings: &'a [(String, String)],
}

impl RepositorySpec<'_> {
    /// Sets the repository up in `git_dir`, or updates it there.
    pub fn set_up(&self, git_dir: &Path) -> Result<(), SourceError> {
        for name in [self.branch, self.default_branch, self.target_branch, self.tag].into_iter().flatten() {
            if !git::is_ref_name(name) {
                return Err(SourceError::new(format!("`{name}` is not a valid name of a branch or tag")));
            }
        }
        let failed = |error: io::Error| SourceError::io("the source cache cannot be written", &error);
        if !git_dir.join("HEAD").exists() {
            git::run(git::command().args(["init", "--quiet", "--bare", "--template="]).arg(git_dir))?;
        }
        fs::write(git_dir.join("config"), self.config()).map_err(failed)?;
        // A clone has this file, so scripts that look for refs themselves read it.
        let packed = git_dir.join("packed-refs");
        if !packed.exists() {
            fs::write(packed, "# pack-refs with: peeled fully-peeled sorted \n").map_err(failed)?;
        }
        if let Some(commit) = self.commit {
            self.fetch(git_dir, commit)?;
        }
        let head = match (self.branch, self.commit) {
            (Some(branch), _) => format!("ref: refs/heads/{branch}\n"),
            (None, Some(commit)) => format!("{commit}\n"),
            (None, None) => "ref: refs/heads/main\n".to_owned(),
        };
        fs::write(git_dir.join("HEAD"), head).map_err(failed)?;
        drop(fs::remove_dir_all(git_dir.join("refs/tidemill")));
        Ok(())
    }

    fn config(&self) -> String {
        let mut text = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\
                        \tlogallrefupdates = true\n"
            .to_owned();
        for (key, value) in self.settings {
            let _ = writeln!(text, "\t{key} = {value}");
        }
        if let Some(work_tree) = self.work_tree {
            let _ = writeln!(text, "\tworktree = {}", quoted(work_tree));
        }
        if let Some(origin) = self.origin {
            let _ = write!(
                text,
                "[remote \"origin\"]\n\turl = {}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n",
                quoted(origin)
            );
            if let Some(branch) = self.branch {
                let _ = write!(
                    text,
                    "[branch {}]\n\tremote = origin\n\tmerge = {}\n",
                    quoted(branch),
                    quoted(&format!("refs/heads/{branch}"))
                );
            }
        }
        text
    }

    fn fetch(&self, git_dir: &Path, commit: &str) -> Result<(), SourceError> {
        let tips = self.tips()?;
        let tip = |name: &str| {
            let refs = [format!("refs/remotes/origin/{name}"), format!("refs/heads/{name}")];
            refs.iter().find_map(|name| tips.get(name.as_str()))
        };
        let mut refspecs = vec![match self.branch {
            Some(branch) => format!("+{commit}:refs/heads/{branch}"),
            None => format!("+{commit}:{HEAD_REF}"),
        }];
        refspecs.extend(self.staged.map(|staged| format!("+{staged}:{STAGED_REF}")));
        let mut bases = Vec::new();
        let mut remote_branches = vec![self.default_branch, self.target_branch];
        remote_branches.sort_unstable();
        remote_branches.dedup();
        for name in remote_branches.into_iter().flatten() {
            if let Some(tip) = tip(name) {
                refspecs.push(format!("+{tip}:refs/remotes/origin/{name}"));
                bases.push(tip.as_str());
            }
        }
        if let Some(branch) = self.branch
            && ![self.default_branch, self.target_branch].contains(&Some(branch))
        {
            let known = tips.get(format!("refs/remotes/origin/{branch}").as_str());
            if self.origin.is_some() {
                let tip = known.map_or(commit, String::as_str);
                refspecs.push(format!("+{tip}:refs/remotes/origin/{branch}"));
            }
        }
        if let Some(tag) = self.tag
            && tips.contains_key(format!("refs/tags/{tag}").as_str())
        {
            refspecs.push(format!("+refs/tags/{tag}:refs/tags/{tag}"));
        }
        let depth = match self.depth {
            Some(0) => None,
            Some(depth) => Some(depth),
            None => self.default_depth(commit, &bases)?,
        };
        let mut command = git::local_fetch_command(git_dir);
        command.args(["fetch", "--quiet", "--update-head-ok", "--no-write-fetch-head", "--update-shallow"]);
        command.args(["--no-auto-maintenance", "--no-recurse-submodules"]);
        command.args(depth.map(|depth| format!("--depth={depth}")));
        command.args(self.tags.map(|all| if all { "--tags" } else { "--no-tags" }));
        command.arg("--").arg(format!("file://{}", self.objects.display())).args(refspecs);
        git::run(&mut command)?;
        if let Some(name) = self.default_branch.filter(|name| tip(name).is_some()) {
            let directory = git_dir.join("refs/remotes/origin");
            fs::create_dir_all(&directory)
                .and_then(|()| {
                    fs::write(directory.join("HEAD"), format!("ref: refs/remotes/origin/{name}\n"))
                })
                .map_err(|error| SourceError::io("the source cache cannot be written", &error))?;
        }
        Ok(())
    }

    /// Returns the commits of the refs that may be needed, by name.
    fn tips(&self) -> Result<BTreeMap<String, String>, SourceError> {
        let mut command = git::at(self.objects);
        command.args(["for-each-ref", "--format=%(objectname) %(refname)", "--"]);
        let branches = [self.branch, self.default_branch, self.target_branch];
        for name in branches.into_iter().flatten() {
            command.args([format!("refs/remotes/origin/{name}"), format!("refs/heads/{name}")]);
        }
        match self.tag {
            Some(tag) => command.arg(format!("refs/tags/{tag}")),
            // Without any pattern, all refs would be listed.
            None => command.arg(HEAD_REF),
        };
        let lines = git::run(&mut command)?;
        Ok(lines
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(hash, name)| (name.to_owned(), hash.to_owned()))
            .collect())
    }

    /// Returns the depth at which the nearest tag and the merge bases with `branches` are in the history; `None`: all of it.
    fn default_depth(&self, commit: &str, branches: &[&str]) -> Result<Option<u32>, SourceError> {
        let count = |args: &[&str]| -> Result<u32, SourceError> {
            let limit = format!("--max-count={}", MAX_DEFAULT_DEPTH + 1);
            let text = git::run(git::at(self.objects).args(["rev-list", "--count", &limit]).args(args))?;
            Ok(text.trim().parse().unwrap_or(0))
        };
        let mut all = vec![commit];
        all.extend(branches);
        let short = format!("--max-count={}", DEFAULT_DEPTH + 1);
        let text = git::run(git::at(self.objects).args(["rev-list", "--count", &short]).args(&all))?;
        if text.trim().parse::<u32>().is_ok_and(|count| count <= DEFAULT_DEPTH) {
            return Ok(Some(DEFAULT_DEPTH));
        }
        let mut depth = DEFAULT_DEPTH;
        for branch in branches {
            let base = git::run(git::at(self.objects).args(["merge-base", commit, branch]));
            // Without a common commit, there is nothing to reach.
            let Ok(base) = base else { continue };
            let not_base = format!("^{}", base.trim());
            depth = depth.max(count(&[commit, &not_base])? + 1).max(count(&[branch, &not_base])? + 1);
        }
        if self.tags != Some(false) {
            let describe = ["describe", "--tags", "--abbrev=0", "--candidates=1", commit];
            if let Ok(tag) = git::run(git::at(self.objects).args(describe)) {
                depth = depth.max(count(&[commit, &format!("^refs/tags/{}", tag.trim())])? + 1);
            }
        }
        Ok(Some(depth.min(MAX_DEFAULT_DEPTH)))
    }
}

/// Returns `text` as a value of git's configuration.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}
