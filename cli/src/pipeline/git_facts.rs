//! Facts for conditions from git: branch, tag, default branch, changed files and all files.

use crate::{
    args::{Event, FactArgs},
    failure::{Failure, Outcome},
};
use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};
use tidemill_core::execution::facts::{Comment, CommitDetails, Facts, PullRequest};
use tidemill_core::{api::Trigger, pipeline::Pipeline};
use tidemill_worker::source::local_git_command;

/// Maximum number of changed files; with more, conditions on changes are true.
const MAX_CHANGED_FILES: usize = 10_000;
/// Maximum number of files; with more, conditions on files are true.
const MAX_FILES: usize = 50_000;

/// Facts that a pipeline's conditions and references use. Other facts are not queried.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools)]
pub struct RequiredFacts {
    refs: bool,
    changed: bool,
    files: bool,
}

impl RequiredFacts {
    /// Branch, tag, commit and default branch.
    pub const REFS: Self = Self { refs: true, changed: false, files: false };

    /// All facts.
    pub const ALL: Self = Self { refs: true, changed: true, files: true };

    /// Returns the needs of `pipeline`.
    pub fn of(pipeline: &Pipeline) -> Self {
        let rules = || pipeline.jobs.iter().flat_map(|job| &job.rules);
        let calls = |name: &str| {
            rules().filter_map(|rule| rule.condition.as_deref()).any(|condition| condition.contains(name))
        };
        Self {
            // Variables of the repository may be for protected branches only.
            refs: true,
            // The conditions of children, which are not known here, may ask for them.
            changed: calls("changed")
                || rules().any(|rule| !rule.changes.is_empty())
                || pipeline.jobs.iter().any(|job| job.surroundings.child.is_some()),
            files: calls("exists") || rules().any(|rule| !rule.exists.is_empty()),
        }
    }
}

/// Returns the needed facts of the repository that contains `dir`. Facts that git does not know are absent.
pub fn of_working_tree(dir: &Path, needs: RequiredFacts) -> Facts {
    let mut facts = Facts::default();
    let Some(top) = top(dir) else { return facts };
    if needs.refs || needs.changed {
        facts.branch = git(&top, &["symbolic-ref", "--quiet", "--short", "HEAD"]);
        if facts.branch.is_none() {
            facts.tag = git(&top, &["describe", "--tags", "--exact-match", "HEAD"]);
        }
        facts.commit = git(&top, &["rev-parse", "--verify", "--quiet", "HEAD"]);
        facts.default_branch = default_branch(&top);
    }
    facts.details = details(&top);
    if needs.changed {
        facts.changed = changed(&top, facts.default_branch.as_deref());
    }
    if needs.files {
        facts.files = paths(&top, &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .filter(|files| files.len() <= MAX_FILES)
            .map(|files| files.into_iter().collect());
    }
    facts
}

/// Returns the message and the author of HEAD.
fn details(top: &Path) -> CommitDetails {
    let text = git(top, &["log", "-1", "--no-show-signature", "--format=%an <%ae>%n%B", "HEAD"]);
    let Some(text) = text else { return CommitDetails::default() };
    let (author, message) = text.split_once('\n').unwrap_or((&text, ""));
    CommitDetails::new(message, author)
}

/// Overrides facts with arguments. `dir` is a directory of the repository.
pub fn override_with(args: &FactArgs, dir: &Path, mut facts: Facts) -> Outcome<Facts> {
    if let Some(event) = args.event {
        facts.trigger = event.trigger();
    }
    if args.event.is_some_and(Event::is_of_tag) && args.tag.is_none() {
        let tag = facts.tag.take().or_else(|| git(dir, &["describe", "--tags", "--exact-match", "HEAD"]));
        let Some(tag) = tag else {
            return Err(Failure::usage(
                "--event tag and release: the commit has no tag; create one with git tag, or see what would run with: tidemill plan --tag NAME",
            ));
        };
        facts.tag = Some(tag);
        facts.branch = None;
    }
    if let Some(branch) = &args.branch {
        facts.branch = Some(branch.clone());
        facts.tag = None;
    }
    if let Some(tag) = &args.tag {
        facts.tag = Some(tag.clone());
        facts.branch = None;
        // Tags imply a push, unless --event is set.
        if args.event.is_none() {
            facts.trigger = Trigger::Push;
        }
    }
    if let Some(text) = &args.comment {
        facts.comment = Some(Box::new(Comment { text: text.clone(), author: String::new() }));
        // Comments imply their event, as tags do.
        if args.event.is_none() {
            facts.trigger = Trigger::Comment;
        }
    }
    if let Some(branch) = &args.default_branch {
        facts.default_branch = Some(branch.clone());
    }
    if matches!(facts.trigger, Trigger::PullRequest | Trigger::Comment) {
        let target = args.target_branch.clone().or_else(|| facts.default_branch.clone());
        facts.pull_request = Some(PullRequest {
            target_branch: target.unwrap_or_default(),
            from_fork: args.fork,
            draft: args.draft,
            ..PullRequest::default()
        });
    }
    if facts.trigger == Trigger::MergeGroup {
        facts.merge_target = args.target_branch.clone().or_else(|| facts.default_branch.clone());
    }
    if !args.changed.is_empty() {
        facts.changed = Some(args.changed.clone());
    } else if facts.tag.is_some() || facts.trigger == Trigger::Schedule {
        // As on a server: no branch was pushed, so that every condition on changes holds.
        facts.changed = None;
    }
    Ok(facts)
}

/// Returns the default branch of `origin`; otherwise `main` or `master` if it exists.
fn default_branch(top: &Path) -> Option<String> {
    if let Some(head) = git(top, &["symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD"]) {
        return head.strip_prefix("origin/").map(str::to_owned);
    }
    ["main", "master"].into_iter().map(str::to_owned).find(|name| {
        let refs = [format!("refs/remotes/origin/{name}"), format!("refs/heads/{name}")];
        refs.iter().any(|name| git(top, &["rev-parse", "--verify", "--quiet", name]).is_some())
    })
}

/// Returns the files that differ from the merge base with the default branch, including uncommitted ones. `None` if there is no
/// merge base, or if nothing differs: on an unchanged default branch all jobs run.
fn changed(top: &Path, default_branch: Option<&str>) -> Option<Vec<String>> {
    let name = default_branch?;
    let base = [format!("refs/remotes/origin/{name}"), format!("refs/heads/{name}")]
        .iter()
        .find_map(|name| git(top, &["merge-base", "HEAD", name]))?;
    let mut changed = paths(top, &["diff", "--name-only", "--no-renames", "-z", &base, "--"])?;
    changed.extend(paths(top, &["ls-files", "-z", "--others", "--exclude-standard"])?);
    (!changed.is_empty() && changed.len() <= MAX_CHANGED_FILES).then(|| changed.into_iter().collect())
}

/// Returns the top directory of the working tree that contains `dir`.
fn top(dir: &Path) -> Option<PathBuf> {
    let mut path = output(dir, &["rev-parse", "--show-toplevel"])?;
    // A name may end with a space or a line break.
    path.pop_if(|last| *last == b'\n');
    Some(PathBuf::from(OsString::from_vec(path)))
}

fn git(dir: &Path, arguments: &[&str]) -> Option<String> {
    let text = String::from_utf8(output(dir, arguments)?).ok()?;
    let text = text.trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Returns the NUL-terminated paths in git's output. Pipeline files cannot name paths that are not UTF-8.
fn paths(dir: &Path, arguments: &[&str]) -> Option<BTreeSet<String>> {
    let bytes = output(dir, arguments)?;
    let paths = bytes.split(|byte| *byte == 0).filter(|path| !path.is_empty());
    Some(paths.map(|path| String::from_utf8_lossy(path).into_owned()).collect())
}

fn output<S: AsRef<OsStr>>(dir: &Path, arguments: &[S]) -> Option<Vec<u8>> {
    let output = local_git_command(dir).args(arguments).output().ok()?;
    output.status.success().then_some(output.stdout)
}
