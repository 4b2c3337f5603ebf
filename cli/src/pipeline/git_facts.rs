//! Facts for conditions from git: branch, tag, default branch, changed files and all files.

use crate::{
    args::{Event, FactArgs},
    failure::{Failure, Outcome},
    output::Printable,
};
use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};
use tidemill_core::execution::{
    discovery::{MAX_PATH_LEN, MAX_PATHS_BYTES},
    facts::{Comment, CommitDetails, Facts, PullRequest},
};
use tidemill_core::{api::Trigger, pipeline::Pipeline, plan::compared_refs};
use tidemill_worker::source::{changed_files, is_ref_name, local_git_command};

/// Maximum number of changed files; with more, conditions on changes are true.
const MAX_CHANGED_FILES: usize = 10_000;
/// Maximum number of files; with more, conditions on files are true.
const MAX_FILES: usize = 50_000;

/// Facts that a pipeline's conditions use, besides those that are always read. Other facts are not queried.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequiredFacts {
    changed: bool,
    files: bool,
}

impl RequiredFacts {
    /// All facts.
    pub const ALL: Self = Self { changed: true, files: true };

    /// Returns the needs of `pipeline`.
    pub fn of(pipeline: &Pipeline) -> Self {
        let rules = || pipeline.jobs.iter().flat_map(|job| &job.rules);
        let calls = |name: &str| {
            rules().filter_map(|rule| rule.condition.as_deref()).any(|condition| condition.contains(name))
        };
        Self {
            // The conditions of children, which are not known here, may ask for them.
            changed: calls("changed")
                || rules().any(|rule| !rule.changes.is_empty())
                || pipeline.jobs.iter().any(|job| job.surroundings.child.is_some()),
            files: calls("exists") || rules().any(|rule| !rule.exists.is_empty()),
        }
    }
}

/// The repository that contains a directory. Read once, and with few processes: each of them takes milliseconds.
#[derive(Debug, Default)]
pub struct WorkingTree {
    /// The top directory; none if there is no repository.
    top: Option<PathBuf>,
    /// Branch, tag, commit and default branch, as variables of a repository may be for protected branches only.
    facts: Facts,
    /// Whether the user knows that git cannot compare the files.
    has_warned: AtomicBool,
}

impl WorkingTree {
    /// Reads the repository that contains `dir`. What git does not know is absent.
    pub fn read(dir: &Path) -> Self {
        let Some(Head { top, commit, branch }) = Head::read(dir) else { return Self::default() };
        let facts = Facts {
            tag: match branch {
                Some(_) => None,
                None => git(&top, &["describe", "--tags", "--exact-match", "HEAD"]),
            },
            default_branch: default_branch(&top),
            details: details(&top),
            branch,
            commit,
            ..Facts::default()
        };
        Self { top: Some(top), facts, has_warned: AtomicBool::new(false) }
    }

    /// Returns its facts, with those that `needs` names.
    pub fn facts(&self, needs: RequiredFacts) -> Facts {
        let mut facts = self.facts.clone();
        let Some(top) = &self.top else { return facts };
        if needs.changed {
            facts.changed = self.changed(top, facts.default_branch.as_deref());
        }
        if needs.files {
            facts.files = paths(top, &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
                .filter(|files| files.len() <= MAX_FILES)
                .map(|files| files.into_iter().collect());
        }
        facts
    }

    /// Adds the paths that changed since the refs that conditions of `pipeline` name; `assumed` are those paths, if there are any. As on
    /// a worker, what has too many is unknown, and so are refs with longer names than a server takes, and all before the first commit.
    pub fn compare(&self, pipeline: &Pipeline, assumed: &[String], facts: &mut Facts) {
        let Some(top) = &self.top else { return };
        if assumed.is_empty() && self.facts.commit.is_none() {
            return;
        }
        let mut bytes = 0;
        for reference in compared_refs(pipeline, facts).into_iter().filter(|name| name.len() <= MAX_PATH_LEN)
        {
            let paths = if assumed.is_empty() {
                let Some(base) = base_of(top, &reference) else {
                    facts.compared.insert(reference, None);
                    continue;
                };
                match self.changed_since(top, &base) {
                    Some(paths) if paths.len() <= MAX_CHANGED_FILES => paths.into_iter().collect(),
                    _ => continue,
                }
            } else {
                assumed.to_vec()
            };
            bytes += paths.iter().map(String::len).sum::<usize>();
            if bytes <= MAX_PATHS_BYTES {
                facts.compared.insert(reference, Some(paths));
            }
        }
    }
}

impl WorkingTree {
    /// Returns the files that differ from the merge base with the default branch, including uncommitted ones. `None` if there is
    /// no merge base, or if nothing differs: on an unchanged default branch all jobs run.
    fn changed(&self, top: &Path, default_branch: Option<&str>) -> Option<Vec<String>> {
        let base = base_of(top, &format!("refs/heads/{}", default_branch?))?;
        let changed = self.changed_since(top, &base)?;
        (!changed.is_empty() && changed.len() <= MAX_CHANGED_FILES).then(|| changed.into_iter().collect())
    }

    /// Returns the files that differ from a commit, including uncommitted ones. If git cannot list them, a warning says what
    /// that means.
    fn changed_since(&self, top: &Path, base: &str) -> Option<BTreeSet<String>> {
        match changed_files(top, base) {
            Ok(changed) => Some(changed),
            Err(error) => {
                if !self.has_warned.swap(true, Ordering::Relaxed) {
                    crate::output::errln!(
                        "warning: git cannot list the changed files, so every condition on changes holds: {}",
                        Printable(error.to_string())
                    );
                }
                None
            }
        }
    }
}

/// What is checked out.
struct Head {
    /// The top directory of the working tree.
    top: PathBuf,
    /// The commit; none before the first one.
    commit: Option<String>,
    /// The branch; none if it is detached.
    branch: Option<String>,
}

impl Head {
    fn read(dir: &Path) -> Option<Self> {
        let arguments = ["rev-parse", "--show-toplevel", "HEAD", "--symbolic-full-name", "HEAD"];
        if let Some(mut text) = output(dir, &arguments) {
            // The name of the directory may have line breaks, the other two lines have none.
            let name = last_line(&mut text)?;
            let commit = last_line(&mut text)?;
            let branch = name.strip_prefix("refs/heads/").map(str::to_owned);
            text.pop_if(|last| *last == b'\n');
            let top = PathBuf::from(OsString::from_vec(text));
            return Some(Self { top, commit: Some(commit), branch });
        }
        let mut top = output(dir, &["rev-parse", "--show-toplevel"])?;
        top.pop_if(|last| *last == b'\n');
        let top = PathBuf::from(OsString::from_vec(top));
        let branch = git(&top, &["symbolic-ref", "--quiet", "--short", "HEAD"]);
        Some(Self { top, commit: None, branch })
    }
}

/// Takes the last line of `text`, which ends with a line break.
fn last_line(text: &mut Vec<u8>) -> Option<String> {
    text.pop_if(|last| *last == b'\n');
    let begin = text.iter().rposition(|byte| *byte == b'\n')? + 1;
    String::from_utf8(text.split_off(begin)).ok()
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
    const HEAD: &str = "refs/remotes/origin/HEAD";
    let names = ["main", "master"];
    let refs = |name: &str| [format!("refs/remotes/origin/{name}"), format!("refs/heads/{name}")];
    let mut arguments = vec!["for-each-ref".to_owned(), "--format=%(refname) %(symref)".to_owned()];
    arguments.push(HEAD.to_owned());
    arguments.extend(names.into_iter().flat_map(refs));
    let text = String::from_utf8(output(top, &arguments)?).ok()?;
    let known: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    if let Some((_, target)) = known.iter().find(|(name, target)| *name == HEAD && !target.is_empty()) {
        return target.strip_prefix("refs/remotes/origin/").map(str::to_owned);
    }
    let is_known = |name: &&str| known.iter().any(|(known, _)| refs(name).iter().any(|one| one == known));
    names.into_iter().find(is_known).map(str::to_owned)
}

/// Returns the commit at which the histories of HEAD and of a branch, a tag or a commit parted. A branch is that of `origin`, if it
/// is known. As on a worker, other refs are none, and the start of a commit's hash has at least seven digits.
fn base_of(top: &Path, reference: &str) -> Option<String> {
    if !is_ref_name(reference) {
        return None;
    }
    let named = if let Some(branch) = reference.strip_prefix("refs/heads/") {
        vec![format!("refs/remotes/origin/{branch}"), reference.to_owned()]
    } else if reference.starts_with("refs/tags/") {
        vec![reference.to_owned()]
    } else if reference.starts_with("refs/") {
        Vec::new()
    } else {
        let places = ["refs/tags/", "refs/remotes/origin/", "refs/heads/"];
        let is_hash =
            (7..=64).contains(&reference.len()) && reference.bytes().all(|byte| byte.is_ascii_hexdigit());
        let commit = is_hash.then(|| reference.to_owned());
        places.iter().map(|place| format!("{place}{reference}")).chain(commit).collect()
    };
    named.iter().find_map(|name| git(top, &["merge-base", "HEAD", &format!("{name}^{{commit}}")]))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::WorkingTree;
    use std::collections::BTreeSet;
    use tidemill_core::{
        execution::{
            discovery::{MAX_PATH_LEN, MAX_PATHS_BYTES, check_compared},
            facts::Facts,
        },
        pipeline::parse,
    };

    #[test]
    fn changes_beyond_what_a_server_takes_are_unknown() {
        let long = "r".repeat(MAX_PATH_LEN + 1);
        let job = |name: &str, reference: &str| {
            format!("  {name}: {{ script: x, rules: [{{ if: 'changed_since({reference}, \"**\")' }}] }}\n")
        };
        let jobs = job("a", "\"v1\"") + &job("b", "\"v2\"") + &job("c", "env(\"R\")");
        let text = format!("name: ci\ndefaults: {{ image: i }}\nvariables: {{ R: {long} }}\njobs:\n{jobs}");
        let pipeline = parse(&text).unwrap();
        let tree = WorkingTree {
            top: Some(".".into()),
            facts: Facts::default(),
            has_warned: std::sync::atomic::AtomicBool::new(false),
        };
        let path = "p".repeat(MAX_PATH_LEN);
        for (count, expected) in [(1, &["v1", "v2"][..]), (MAX_PATHS_BYTES / MAX_PATH_LEN, &["v1"])] {
            let mut facts = Facts::default();
            tree.compare(&pipeline, &vec![path.clone(); count], &mut facts);
            let known: BTreeSet<&str> = facts.compared.keys().map(String::as_str).collect();
            let expected: BTreeSet<&str> = expected.iter().copied().collect();
            assert_eq!(known, expected);
            assert!(check_compared(&facts.compared).is_ok());
        }
        let mut facts = Facts::default();
        tree.compare(&pipeline, &[], &mut facts);
        assert!(facts.compared.is_empty(), "before the first commit");
    }
}
