//! What git knows of the sources here, for conditions: branch, tag, default branch, changed files, files.

use crate::args::FactArgs;
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tidemill_core::{
    api::Trigger,
    facts::{Facts, PullRequest},
    pipeline::Pipeline,
};

/// More changed files than this are not told one by one: conditions on changes then hold.
const MOST_CHANGED: usize = 10_000;
/// The same, of all files.
const MOST_FILES: usize = 50_000;

/// What a pipeline's conditions and references look at; the rest need not be found out.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools)]
pub struct Wanted {
    refs: bool,
    changed: bool,
    files: bool,
}

impl Wanted {
    /// What `pipeline`, whose file's text is `text`, looks at.
    pub fn of(pipeline: &Pipeline, text: &str) -> Self {
        let rules = || pipeline.jobs.iter().flat_map(|job| &job.rules);
        let calls =
            |name: &str| rules().filter_map(|rule| rule.condition.as_deref()).any(|it| it.contains(name));
        Self {
            refs: rules().next().is_some() || text.contains("${") || text.contains("CI_"),
            changed: calls("changed") || rules().any(|rule| !rule.changes.is_empty()),
            files: calls("exists") || rules().any(|rule| !rule.exists.is_empty()),
        }
    }
}

/// What is known of the sources that `dir` is in, as far as it is wanted. What git does not know is not known.
pub fn of_working_tree(dir: &Path, wanted: Wanted) -> Facts {
    let mut facts = Facts::default();
    let Some(top) = git(dir, &["rev-parse", "--show-toplevel"]).map(PathBuf::from) else { return facts };
    if wanted.refs || wanted.changed {
        facts.branch = git(&top, &["symbolic-ref", "--quiet", "--short", "HEAD"]);
        if facts.branch.is_none() {
            facts.tag = git(&top, &["describe", "--tags", "--exact-match", "HEAD"]);
        }
        facts.commit = git(&top, &["rev-parse", "--verify", "--quiet", "HEAD"]);
        facts.default_branch = default_branch(&top);
    }
    if wanted.changed {
        facts.changed = changed(&top, facts.default_branch.as_deref());
    }
    if wanted.files {
        facts.files = paths(&top, &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .filter(|files| files.len() <= MOST_FILES)
            .map(|files| files.into_iter().collect());
    }
    facts
}

/// The facts that the arguments give, over those of git.
pub fn given(args: &FactArgs, mut facts: Facts) -> Facts {
    if let Some(event) = args.event {
        facts.trigger = event.trigger();
    }
    if let Some(branch) = &args.branch {
        facts.branch = Some(branch.clone());
        facts.tag = None;
    }
    if let Some(tag) = &args.tag {
        facts.tag = Some(tag.clone());
        facts.branch = None;
        // A tag comes with a push, unless something else is said.
        if args.event.is_none() {
            facts.trigger = Trigger::Push;
        }
    }
    if let Some(branch) = &args.default_branch {
        facts.default_branch = Some(branch.clone());
    }
    if facts.trigger == Trigger::PullRequest {
        let target = args.target_branch.clone().or_else(|| facts.default_branch.clone());
        facts.pull_request = Some(PullRequest {
            target_branch: target.unwrap_or_default(),
            from_fork: args.fork,
            draft: args.draft,
            ..PullRequest::default()
        });
    }
    if !args.changed.is_empty() {
        facts.changed = Some(args.changed.clone());
    }
    facts
}

/// `origin`'s default branch, or the usual one that there is.
fn default_branch(top: &Path) -> Option<String> {
    if let Some(head) = git(top, &["symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD"]) {
        return head.strip_prefix("origin/").map(str::to_owned);
    }
    ["main", "master"].into_iter().map(str::to_owned).find(|name| {
        let refs = [format!("refs/remotes/origin/{name}"), format!("refs/heads/{name}")];
        refs.iter().any(|name| git(top, &["rev-parse", "--verify", "--quiet", name]).is_some())
    })
}

/// The files that differ from where this branch left the default branch: commits since then, and what is not committed.
/// `None` where that cannot be told, and where nothing differs: all of a default branch that was just fetched is to run.
fn changed(top: &Path, default_branch: Option<&str>) -> Option<Vec<String>> {
    let name = default_branch?;
    let base = [format!("refs/remotes/origin/{name}"), format!("refs/heads/{name}")]
        .iter()
        .find_map(|name| git(top, &["merge-base", "HEAD", name]))?;
    let mut changed = paths(top, &["diff", "--name-only", "--no-renames", "-z", &base, "--"])?;
    changed.extend(paths(top, &["ls-files", "-z", "--others", "--exclude-standard"])?);
    (!changed.is_empty() && changed.len() <= MOST_CHANGED).then(|| changed.into_iter().collect())
}

fn git(dir: &Path, arguments: &[&str]) -> Option<String> {
    let text = String::from_utf8(output(dir, arguments)?).ok()?;
    let text = text.trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Paths that end with a NUL each. Those that are not UTF-8 can be in no pipeline file.
fn paths(dir: &Path, arguments: &[&str]) -> Option<BTreeSet<String>> {
    let bytes = output(dir, arguments)?;
    let paths = bytes.split(|byte| *byte == 0).filter(|path| !path.is_empty());
    Some(paths.map(|path| String::from_utf8_lossy(path).into_owned()).collect())
}

fn output<S: AsRef<OsStr>>(dir: &Path, arguments: &[S]) -> Option<Vec<u8>> {
    let done = Command::new("git")
        .arg("-C")
        .arg(dir)
        // Nothing that the repository names is run for what is only looked at.
        .args(["-c", "core.quotePath=false", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"])
        .args(["-c", "protocol.allow=never"])
        .args(arguments)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_NO_LAZY_FETCH", "1")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    done.status.success().then_some(done.stdout)
}
