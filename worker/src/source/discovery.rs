//! What a commit holds for the server: its pipeline files, and what it changed. Whoever made the commit is not trusted: what
//! is read of it has limits in number, size and time.

use super::{
    bounds::OperationBounds,
    git::{
        self, SourceError,
        listing::{Paths, Records, entry},
        objects::FileReader,
        process::ProcessLimits,
    },
    mirror::{Objects, objects_of},
    reach::Remote,
};
use std::{cell::RefCell, ops::ControlFlow, path::Path, time::Duration};
use tidemill_core::execution::discovery::{
    Discovery, MAX_CHANGED_PATHS, MAX_DIAGNOSTICS_BYTES, MAX_DIRECTORY_ENTRIES, MAX_FILES_BYTES,
    MAX_PATHS_BYTES, MOST_FILES, PipelineFile,
};
use tidemill_core::{
    gitlab,
    pipeline::{ReadFile, assemble},
};

/// Where pipeline files are.
const PIPELINES_DIR: &str = ".pipelines";
/// The file of another system that is read where there is no such folder.
const GITLAB_FILE: &str = ".gitlab-ci.yml";
/// What one look at a commit that is here already may take of time and memory.
const READ_LIMITS: ProcessLimits<'static> = ProcessLimits {
    network: false,
    time: Some(Duration::from_secs(60)),
    memory: Some(512 << 20),
    growth: None,
};

/// What a commit holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryResult {
    /// The commit's full hash.
    pub commit: String,
    /// Its pipeline files, what they include put in.
    pub files: Vec<PipelineFile>,
    /// Paths that it changed, where that is known.
    pub changed: Option<Vec<String>>,
    /// Paths of all its files, unless they are too many.
    pub paths: Option<Vec<String>>,
    /// Mistakes of files that could not be put together, as they are shown.
    pub mistakes: Vec<String>,
}

/// Looks at `commit` of `remote`; what is fetched stays below `cache`.
pub fn discover(
    remote: &Remote,
    branch: Option<&str>,
    commit: &str,
    wanted: &Discovery,
    cache: &Path,
) -> Result<DiscoveryResult, SourceError> {
    let (url, reference) = (remote.url(), wanted.fetch_ref.as_deref());
    let shown =
        if git::is_full_hash(commit) { commit.to_owned() } else { shown_by(remote, reference, commit)? };
    let objects = objects_of(remote, branch, reference, &shown, cache)?;
    let repo = &objects.path;
    // Of an annotated tag, what is known may be the tag's own object.
    let mut parse = git::at(repo);
    let commit =
        &git::watched(parse.args(["rev-parse", "--verify", &format!("{shown}^{{commit}}")]), READ_LIMITS)?;
    let commit = commit.trim();
    let folder = folder(repo, commit)?;
    let mut gathered = CollectedFiles::default();
    if folder.is_too_large {
        gathered.mistaken(format!(
            "{PIPELINES_DIR} has more than {MAX_DIRECTORY_ENTRIES} entries: none is read\n"
        ));
    }
    let bounds = OperationBounds::current();
    let reader = RefCell::new(FileReader::new(repo, commit, READ_LIMITS));
    let read = |path: &str| {
        // What a file includes is not read any more either.
        bounds.check().map_err(|canceled| canceled.to_string())?;
        reader.borrow_mut().read(path)
    };
    let files = if wanted.only.is_empty() {
        folder.files
    } else {
        // Sorted as a tree is, and each once.
        let asked: std::collections::BTreeSet<&String> =
            wanted.only.iter().filter(|path| *path != GITLAB_FILE).collect();
        asked.into_iter().filter(|path| reader.borrow_mut().is_file(path)).take(MOST_FILES).cloned().collect()
    };
    gathered.gather(&files, &read, &bounds)?;
    let may_be_gitlab = wanted.only.is_empty() || wanted.only.iter().any(|path| path == GITLAB_FILE);
    if gathered.is_empty() && may_be_gitlab && folder.has_gitlab {
        match read(GITLAB_FILE) {
            Ok(text) => {
                match gitlab::translate(
                    GITLAB_FILE,
                    &text,
                    &read,
                    &gitlab::TranslateOptions::of(name_of(url)),
                ) {
                    Ok(assembled) => gathered.add(GITLAB_FILE, assembled.text),
                    Err(found) => gathered.mistaken(found.render(false)),
                }
            }
            Err(why) => gathered.mistaken(format!("{GITLAB_FILE} cannot be read: {why}\n")),
        }
        bounds.check()?;
    }
    let changed = changed(&objects, remote, commit, wanted);
    let paths = paths(git::at(repo).args(["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit]))?;
    let CollectedFiles { files, mistakes, .. } = gathered;
    Ok(DiscoveryResult { commit: commit.to_owned(), files, changed, paths, mistakes })
}

/// Files and mistakes, both within limits.
#[derive(Debug, Default)]
struct CollectedFiles {
    files: Vec<PipelineFile>,
    mistakes: Vec<String>,
    bytes: usize,
}

impl CollectedFiles {
    const fn is_empty(&self) -> bool {
        self.files.is_empty() && self.mistakes.is_empty()
    }

    /// Reads pipeline files, each with what it includes. Reading one is bounded; between two of them it is seen whether anybody still
    /// waits for them.
    fn gather(
        &mut self,
        paths: &[String],
        read: &ReadFile<'_>,
        bounds: &OperationBounds,
    ) -> Result<(), SourceError> {
        for path in paths.iter().take(MOST_FILES) {
            match read(path) {
                Ok(text) => match assemble(path, &text, read) {
                    Ok(assembled) => self.add(path, assembled.text),
                    Err(found) => self.mistaken(found.render(false)),
                },
                Err(why) => self.mistaken(format!("{path} cannot be read: {why}\n")),
            }
            bounds.check()?;
        }
        Ok(())
    }

    fn add(&mut self, path: &str, text: String) {
        // What is included many times is there many times.
        self.bytes = self.bytes.saturating_add(text.len());
        if self.bytes > MAX_FILES_BYTES {
            self.mistaken(format!(
                "{path}: the files of this commit have more than {MAX_FILES_BYTES} bytes together\n"
            ));
        } else {
            self.files.push(PipelineFile { path: path.to_owned(), text });
        }
    }

    fn mistaken(&mut self, mut words: String) {
        if words.len() > MAX_DIAGNOSTICS_BYTES {
            let end = (0..=MAX_DIAGNOSTICS_BYTES).rev().find(|at| words.is_char_boundary(*at)).unwrap_or(0);
            words.truncate(end);
            words.push_str("\n...\n");
        }
        self.mistakes.push(words);
    }
}

/// What there is at the places where pipeline files are.
#[derive(Debug, Default)]
struct PipelineFolder {
    files: Vec<String>,
    has_gitlab: bool,
    is_too_large: bool,
}

/// Looks into the folder of pipeline files, and into no other.
fn folder(repo: &Path, commit: &str) -> Result<PipelineFolder, SourceError> {
    let (mut records, mut found, mut count) = (Records::default(), PipelineFolder::default(), 0);
    let mut list = git::at(repo);
    list.args(["ls-tree", "-z", "--full-tree", commit, "--", &format!("{PIPELINES_DIR}/"), GITLAB_FILE]);
    let whole = git::stream(&mut list, READ_LIMITS, &mut |piece| {
        records.push(piece, &mut |record| {
            count += 1;
            if count > MAX_DIRECTORY_ENTRIES {
                return ControlFlow::Break(());
            }
            if let Some(entry) = entry(record)
                && entry.is_file
                && let Ok(path) = std::str::from_utf8(entry.path)
            {
                found.has_gitlab |= path == GITLAB_FILE;
                if is_pipeline(path) {
                    found.files.push(path.to_owned());
                }
            }
            ControlFlow::Continue(())
        })
    })?;
    if !whole {
        return Ok(PipelineFolder { is_too_large: true, ..PipelineFolder::default() });
    }
    Ok(found)
}

/// The paths that `list` prints, each ended by a NUL; `None` when they are too many to be told.
fn paths(list: &mut std::process::Command) -> Result<Option<Vec<String>>, SourceError> {
    let mut paths = Paths::new(MAX_CHANGED_PATHS, MAX_PATHS_BYTES);
    git::stream(list, READ_LIMITS, &mut |piece| paths.push(piece))?;
    Ok(paths.all())
}

/// The last part of a repository's address.
fn name_of(url: &str) -> &str {
    let path = url.trim_end_matches('/').trim_end_matches(".git").trim_end_matches('/');
    path.rsplit(['/', ':']).next().unwrap_or(path)
}

/// The commit that a ref of `remote` shows now; its hash begins with `short`.
fn shown_by(remote: &Remote, reference: Option<&str>, short: &str) -> Result<String, SourceError> {
    let url = remote.url();
    let reference = reference.filter(|name| git::is_ref_name(name));
    let reference =
        reference.ok_or_else(|| SourceError::new(format!("`{short}` is not a full commit hash")))?;
    let shown = remote.list_refs(&[], &[reference])?;
    let is_it = |line: &&str| line.split_once('\t').is_some_and(|(_, name)| name == reference);
    let line = shown.lines().find(is_it);
    let hash = line.and_then(|line| line.split_once('\t')).map(|(hash, _)| hash);
    let hash = hash.ok_or_else(|| SourceError::new(format!("{url} has no {reference}")))?;
    if !git::is_full_hash(hash) || !hash.starts_with(short) {
        return Err(SourceError::new(format!(
            "{reference} of {url} is not at {short} any more, but at {hash}"
        )));
    }
    Ok(hash.to_owned())
}

fn is_pipeline(path: &str) -> bool {
    let name = path.strip_prefix(PIPELINES_DIR).and_then(|rest| rest.strip_prefix('/'));
    name.is_some_and(|name| {
        let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
        !name.contains('/') && matches!(extension, Some("yml" | "yaml"))
    })
}

/// What changed since the commit before, or since the branch that it is to go into was left. Whatever cannot be told is not
/// known, and then every condition on changes holds.
fn changed(objects: &Objects, remote: &Remote, commit: &str, wanted: &Discovery) -> Option<Vec<String>> {
    let repo = &objects.path;
    // The mirror may have an older branch, or not have the commit.
    let fetch = |what: &str| objects.fetch(remote, &[what]);
    let from = match (&wanted.before, &wanted.target_branch) {
        (_, Some(branch)) if git::is_ref_name(branch) => {
            let name = format!("refs/heads/{branch}");
            drop(fetch(&format!("+{name}:{name}")));
            git::watched(git::at(repo).args(["merge-base", &name, commit]), READ_LIMITS)
                .ok()?
                .trim()
                .to_owned()
        }
        (Some(before), None) if git::is_full_hash(before) && before.bytes().any(|digit| digit != b'0') => {
            let there = git::run(git::at(repo).args(["cat-file", "-e", &format!("{before}^{{commit}}")]));
            if there.is_err() {
                fetch(before).ok()?;
            }
            before.clone()
        }
        _ => return None,
    };
    let diff = [
        "diff-tree",
        "-r",
        "--name-only",
        "-z",
        "--no-renames",
        "--no-ext-diff",
        "--no-textconv",
        &from,
        commit,
    ];
    paths(git::at(repo).args(diff)).ok()?
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{CollectedFiles, DiscoveryResult, discover};
    use crate::source::{Limits, OperationBounds, Remote, SourceErrorKind, git};
    use std::{cell::RefCell, fs, path::Path};
    use tidemill_core::execution::discovery::Discovery;
    use tokio_util::sync::CancellationToken;

    fn git_in(dir: &Path, words: &[&str]) -> String {
        let identity =
            ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"];
        git::run(git::command().current_dir(dir).args(identity).args(words)).unwrap().trim().to_owned()
    }

    fn commit(dir: &Path, files: &[(&str, &str)]) -> String {
        for (path, text) in files {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        git_in(dir, &["add", "-A"]);
        git_in(dir, &["commit", "-q", "-m", "x"]);
        git_in(dir, &["rev-parse", "HEAD"])
    }

    fn find(dir: &Path, cache: &Path, commit: &str, wanted: &Discovery) -> DiscoveryResult {
        discover(&Remote::on_disk(dir), Some("main"), commit, wanted, cache).unwrap()
    }

    #[test]
    fn canceled_look_reads_no_further_file() {
        let paths: Vec<String> = (0..5).map(|number| format!(".pipelines/{number}.yml")).collect();
        let cancel = CancellationToken::new();
        let bounds = OperationBounds::new(Limits::default(), cancel.clone());
        let seen = RefCell::new(Vec::new());
        let read = |path: &str| {
            seen.borrow_mut().push(path.to_owned());
            if seen.borrow().len() == 2 {
                cancel.cancel();
            }
            Ok("name: ci\njobs: { j: { image: i, script: x } }\n".to_owned())
        };
        let mut gathered = CollectedFiles::default();
        let error = gathered.gather(&paths, &read, &bounds).unwrap_err();
        assert_eq!((error.kind(), seen.into_inner().len()), (SourceErrorKind::Canceled, 2));
    }

    #[test]
    fn canceled_look_at_a_commit_is_an_error_and_no_result() {
        let (place, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dir = place.path();
        git_in(dir, &["init", "-q", "-b", "main"]);
        let first = commit(dir, &[(".pipelines/ci.yml", "name: ci\njobs: { j: { image: i, script: x } }\n")]);
        find(dir, cache.path(), &first, &Discovery::default());
        let cancel = CancellationToken::new();
        cancel.cancel();
        let look =
            || discover(&Remote::on_disk(dir), Some("main"), &first, &Discovery::default(), cache.path());
        let error = OperationBounds::new(Limits::default(), cancel).hold(look).unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Canceled);
    }

    #[test]
    fn pipeline_files_and_changes_are_found_at_commit() {
        let (place, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dir = place.path();
        git_in(dir, &["init", "-q", "-b", "main"]);
        let jobs = "jobs: { j: { image: i, script: x } }\n";
        let first = commit(dir, &[(".gitlab-ci.yml", "job: { script: x }\n"), ("src/a.rs", "1")]);
        let found = find(dir, cache.path(), &first, &Discovery::default());
        assert!(found.files[0].text.contains("image"), "native: {}", found.files[0].text);
        assert_eq!((found.files[0].path.as_str(), found.changed), (".gitlab-ci.yml", None));
        let one = format!("name: one\n{jobs}");
        let two = "name: two\ninclude: shared/jobs.yml\n";
        let second = commit(
            dir,
            &[
                (".pipelines/one.yml", one.as_str()),
                (".pipelines/two.yaml", two),
                (".pipelines/notes.txt", "no"),
                (".pipelines/deeper/three.yml", "no"),
                ("shared/jobs.yml", jobs),
                ("src/b c.rs", "1"),
            ],
        );
        let since = Discovery { before: Some(first.clone()), ..Discovery::default() };
        let found = find(dir, cache.path(), &second, &since);
        let names: Vec<&str> = found.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(names, [".pipelines/one.yml", ".pipelines/two.yaml"]);
        assert!(found.files[1].text.contains("script"), "{}", found.files[1].text);
        assert_eq!(found.changed.unwrap().len(), 6);
        assert!(found.paths.unwrap().contains(&"src/b c.rs".to_owned()) && found.mistakes.is_empty());

        git_in(dir, &["checkout", "-q", "-b", "topic", &first]);
        let topic =
            commit(dir, &[("src/a.rs", "2"), (".pipelines/bad.yml", "name: bad\ninclude: none.yml\n")]);
        let onto = Discovery { target_branch: Some("main".into()), ..Discovery::default() };
        let found = discover(&Remote::on_disk(dir), Some("topic"), &topic, &onto, cache.path()).unwrap();
        assert_eq!(found.changed.unwrap(), [".pipelines/bad.yml", "src/a.rs"]);
        assert!(found.mistakes[0].contains("none.yml"), "{:?}", found.mistakes);
        // What a ref shows, where the commit is not known or shortened.
        let shown = |commit: &str, reference: &str| {
            let wanted = Discovery {
                fetch_ref: Some(reference.into()),
                only: vec![".pipelines/one.yml".into()],
                ..Discovery::default()
            };
            discover(&Remote::on_disk(dir), None, commit, &wanted, cache.path())
        };
        git_in(dir, &["branch", "main", &second, "--force"]);
        let found = shown("", "refs/heads/main").unwrap();
        assert_eq!((&found.commit, found.files.len()), (&second, 1));
        assert_eq!(shown(&second[..12], "refs/heads/main").unwrap().commit, second);
        assert!(shown(&first[..12], "refs/heads/main").is_err() && shown("", "refs/heads/none").is_err());
        git_in(dir, &["tag", "-a", "v1", "-m", "x", &second]);
        let object = git_in(dir, &["rev-parse", "refs/tags/v1"]);
        assert_ne!(object, second);
        assert_eq!(find(dir, cache.path(), &object, &Discovery::default()).commit, second);
        let new_branch = Discovery { before: Some("0".repeat(40)), ..Discovery::default() };
        assert_eq!(find(dir, cache.path(), &topic, &new_branch).changed, None);
    }
}
