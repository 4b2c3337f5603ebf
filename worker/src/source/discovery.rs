//! Reads a commit's pipeline files and changed paths for the server. The author of the commit is not trusted: what is read has
//! limits in number, size and time.

use super::{
    bounds::OperationBounds,
    git::{
        self, SourceError,
        commit_files::{CommitFiles, READ_LIMITS, all_paths, paths},
        listing::{Records, parse_entry},
        objects::{FileReader, commit_details},
    },
    mirror::{ObjectRepository, WantedRefs, mirror_with_commit},
    network::{HostPolicy, Remote},
    registry,
};
use std::{cell::RefCell, ops::ControlFlow, path::Path};
use tidemill_core::execution::discovery::{
    Discovery, MAX_DIAGNOSTICS_BYTES, MAX_DIRECTORY_ENTRIES, MAX_FILES_BYTES, MAX_PIPELINE_FILES,
    PipelineFile,
};
use tidemill_core::execution::{
    assignment::{CheckoutRefs, Source},
    facts::CommitDetails,
};
use tidemill_core::{
    gitlab,
    pipeline::{ReadFile, assemble},
};

/// The directory of pipeline files.
const PIPELINES_DIR: &str = ".pipelines";
/// The GitLab pipeline file, which is read if that directory has no pipelines.
const GITLAB_FILE: &str = ".gitlab-ci.yml";

/// The pipeline files and paths of a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiscoveryResult {
    /// The commit's full hash.
    pub commit: String,
    /// Its pipeline files, with their includes expanded.
    pub files: Vec<PipelineFile>,
    /// What is known of it besides its hash.
    pub details: CommitDetails,
    /// Whether its message asks that nothing is started; then there are no files.
    pub is_skipped: bool,
    /// Paths that it changed, if known.
    pub changed_paths: Option<Vec<String>>,
    /// Paths of all its files, unless there are too many.
    pub paths: Option<Vec<String>>,
    /// Rendered diagnostics of files that could not be assembled.
    pub diagnostics: Vec<String>,
}

/// Reads `commit` of `remote`; fetched objects stay below `cache`.
pub fn discover(
    remote: &Remote,
    (branch, refs): (Option<&str>, &CheckoutRefs),
    commit: &str,
    request: &Discovery,
    cache: &Path,
) -> Result<DiscoveryResult, SourceError> {
    let (url, reference) = (remote.url(), request.fetch_ref.as_deref());
    let hash =
        if git::is_full_hash(commit) { commit.to_owned() } else { resolve_ref(remote, reference, commit)? };
    let wanted = WantedRefs { branch, refs, reference };
    let objects = mirror_with_commit(remote, wanted, &hash, cache)?;
    let repo = &objects.path;
    // For an annotated tag, the hash may be that of the tag object.
    let mut parse = git::at(repo);
    let commit =
        &git::run_limited(parse.args(["rev-parse", "--verify", &format!("{hash}^{{commit}}")]), READ_LIMITS)?;
    let commit = commit.trim();
    let details = commit_details(repo, commit, READ_LIMITS)?;
    if request.can_skip && details.skips_ci() {
        let (commit, is_skipped) = (commit.to_owned(), true);
        return Ok(DiscoveryResult { commit, details, is_skipped, ..DiscoveryResult::default() });
    }
    let collected = collect(repo, commit, request, url)?;
    let changed = changed(&objects, remote, commit, request);
    let paths = all_paths(repo, commit)?;
    let CollectedFiles { files, diagnostics, .. } = collected;
    let commit = commit.to_owned();
    Ok(DiscoveryResult {
        commit,
        files,
        details,
        is_skipped: false,
        changed_paths: changed,
        paths,
        diagnostics,
    })
}

/// Reads the commit of `source`, a repository that was resolved on this machine; fetched objects stay below `cache`.
pub fn read_resolved(
    source: &Source,
    refs: &CheckoutRefs,
    reach: &HostPolicy,
    cache: &Path,
) -> Result<DiscoveryResult, SourceError> {
    let (objects, name, commit) = match source {
        Source::Git { url, branch, commit, private_host, .. } => {
            let remote = reach.remote(url, *private_host)?;
            let wanted = WantedRefs { branch: branch.as_deref(), refs, reference: None };
            (mirror_with_commit(&remote, wanted, commit, cache)?, url, commit)
        }
        Source::Snapshot { snapshot, repository, commit, .. } => {
            let (objects, _) = registry::find(cache, snapshot, repository)?;
            (ObjectRepository::of_snapshot(objects), repository, commit)
        }
        Source::None | Source::Uploaded { .. } => return Err(SourceError::new("there is no repository")),
    };
    let repo = &objects.path;
    let collected = collect(repo, commit, &Discovery::default(), name)?;
    let (details, paths) = (commit_details(repo, commit, READ_LIMITS)?, all_paths(repo, commit)?);
    let CollectedFiles { files, diagnostics, .. } = collected;
    let commit = commit.clone();
    Ok(DiscoveryResult { commit, files, details, paths, diagnostics, ..DiscoveryResult::default() })
}

/// Reads the pipeline files of a commit.
fn collect(repo: &Path, commit: &str, request: &Discovery, url: &str) -> Result<CollectedFiles, SourceError> {
    let folder = folder(repo, commit)?;
    let mut collected = CollectedFiles::default();
    if folder.is_too_large {
        collected.add_diagnostic(format!(
            "{PIPELINES_DIR} has more than {MAX_DIRECTORY_ENTRIES} entries; none of them is read\n"
        ));
    }
    let bounds = OperationBounds::current();
    let reader = RefCell::new(FileReader::new(repo, commit, READ_LIMITS));
    let read = |path: &str| {
        // A canceled discovery reads no further includes either.
        bounds.check().map_err(|canceled| canceled.to_string())?;
        reader.borrow_mut().read(path)
    };
    let files = if request.only.is_empty() {
        folder.files
    } else {
        // Sorted like a git tree, without duplicates.
        let requested: std::collections::BTreeSet<&String> =
            request.only.iter().filter(|path| *path != GITLAB_FILE).collect();
        requested
            .into_iter()
            .filter(|path| reader.borrow_mut().is_file(path))
            .take(MAX_PIPELINE_FILES)
            .cloned()
            .collect()
    };
    collected.collect_files(&files, &read, &bounds)?;
    let may_be_gitlab = request.only.is_empty() || request.only.iter().any(|path| path == GITLAB_FILE);
    if collected.is_empty() && may_be_gitlab && folder.has_gitlab {
        match read(GITLAB_FILE) {
            Ok(text) => {
                let options = gitlab::TranslateOptions {
                    external: request.external.clone(),
                    ..gitlab::TranslateOptions::for_pipeline(name_of(url))
                };
                let files = CommitFiles { repo, commit, limits: READ_LIMITS, read: &read };
                match gitlab::translate(GITLAB_FILE, &text, &files, &options) {
                    Ok(assembled) => collected.add(GITLAB_FILE, assembled.text),
                    Err(diagnostics) => collected.add_diagnostic(diagnostics.render(false)),
                }
            }
            Err(error) => collected.add_diagnostic(format!("{GITLAB_FILE} cannot be read: {error}\n")),
        }
        bounds.check()?;
    }
    Ok(collected)
}

/// Files and diagnostics, both within limits.
#[derive(Debug, Default)]
struct CollectedFiles {
    files: Vec<PipelineFile>,
    diagnostics: Vec<String>,
    bytes: usize,
}

impl CollectedFiles {
    const fn is_empty(&self) -> bool {
        self.files.is_empty() && self.diagnostics.is_empty()
    }

    /// Reads pipeline files, each with its includes. Reading one is bounded; cancellation is checked after each.
    fn collect_files(
        &mut self,
        paths: &[String],
        read: &ReadFile<'_>,
        bounds: &OperationBounds,
    ) -> Result<(), SourceError> {
        for path in paths.iter().take(MAX_PIPELINE_FILES) {
            match read(path) {
                Ok(text) => match assemble(path, &text, read) {
                    Ok(assembled) => self.add(path, assembled.text),
                    Err(diagnostics) => self.add_diagnostic(diagnostics.render(false)),
                },
                Err(error) => self.add_diagnostic(format!("{path} cannot be read: {error}\n")),
            }
            bounds.check()?;
        }
        Ok(())
    }

    fn add(&mut self, path: &str, text: String) {
        // A file that is included several times counts several times.
        self.bytes = self.bytes.saturating_add(text.len());
        if self.bytes > MAX_FILES_BYTES {
            self.add_diagnostic(format!(
                "{path}: the pipeline files of this commit have more than {MAX_FILES_BYTES} bytes in total\n"
            ));
        } else {
            self.files.push(PipelineFile { path: path.to_owned(), text });
        }
    }

    fn add_diagnostic(&mut self, mut text: String) {
        if text.len() > MAX_DIAGNOSTICS_BYTES {
            let end = (0..=MAX_DIAGNOSTICS_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
            text.push_str("\n...\n");
        }
        self.diagnostics.push(text);
    }
}

/// The pipeline files that a commit has.
#[derive(Debug, Default)]
struct PipelineFolder {
    files: Vec<String>,
    has_gitlab: bool,
    is_too_large: bool,
}

/// Lists the directory of pipeline files, and no other.
fn folder(repo: &Path, commit: &str) -> Result<PipelineFolder, SourceError> {
    let (mut records, mut folder, mut count) = (Records::default(), PipelineFolder::default(), 0);
    let mut list = git::at(repo);
    list.args(["ls-tree", "-z", "--full-tree", commit, "--", &format!("{PIPELINES_DIR}/"), GITLAB_FILE]);
    let is_complete = git::stream(&mut list, READ_LIMITS, &mut |piece| {
        records.push(piece, &mut |record| {
            count += 1;
            if count > MAX_DIRECTORY_ENTRIES {
                return ControlFlow::Break(());
            }
            if let Some(entry) = parse_entry(record)
                && entry.is_file
                && let Ok(path) = std::str::from_utf8(entry.path)
            {
                folder.has_gitlab |= path == GITLAB_FILE;
                if is_pipeline(path) {
                    folder.files.push(path.to_owned());
                }
            }
            ControlFlow::Continue(())
        })
    })?;
    if !is_complete {
        return Ok(PipelineFolder { is_too_large: true, ..PipelineFolder::default() });
    }
    Ok(folder)
}

/// Returns the last segment of a repository's address.
fn name_of(url: &str) -> &str {
    let path = url.trim_end_matches('/').trim_end_matches(".git").trim_end_matches('/');
    path.rsplit(['/', ':']).next().unwrap_or(path)
}

/// Returns the commit that a ref of `remote` points to now; its hash must begin with `short`.
fn resolve_ref(remote: &Remote, reference: Option<&str>, short: &str) -> Result<String, SourceError> {
    let url = remote.url();
    let reference = reference.filter(|name| git::is_ref_name(name));
    let reference =
        reference.ok_or_else(|| SourceError::new(format!("`{short}` is not a full commit hash")))?;
    let refs = remote.list_refs(&[], &[reference])?;
    let is_match = |line: &&str| line.split_once('\t').is_some_and(|(_, name)| name == reference);
    let line = refs.lines().find(is_match);
    let hash = line.and_then(|line| line.split_once('\t')).map(|(hash, _)| hash);
    let hash = hash.ok_or_else(|| SourceError::new(format!("{url} has no {reference}")))?;
    if !git::is_full_hash(hash) || !hash.starts_with(short) {
        return Err(SourceError::new(format!("{reference} of {url} is no longer at {short}, but at {hash}")));
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

/// Returns the paths that changed since the previous commit, or since the merge base with the target branch. `None` if they
/// cannot be determined; then every condition on changes holds.
fn changed(
    objects: &ObjectRepository,
    remote: &Remote,
    commit: &str,
    request: &Discovery,
) -> Option<Vec<String>> {
    let repo = &objects.path;
    // The mirror may have an older state of the branch, or lack the commit.
    let fetch = |what: &str| objects.fetch(remote, &[what]);
    let from = match (&request.before, &request.target_branch) {
        (_, Some(branch)) if git::is_ref_name(branch) => {
            let name = format!("refs/heads/{branch}");
            drop(fetch(&format!("+{name}:{name}")));
            git::run_limited(git::at(repo).args(["merge-base", &name, commit]), READ_LIMITS)
                .ok()?
                .trim()
                .to_owned()
        }
        (Some(before), None) if git::is_full_hash(before) && before.bytes().any(|digit| digit != b'0') => {
            let exists = git::run(git::at(repo).args(["cat-file", "-e", &format!("{before}^{{commit}}")]));
            if exists.is_err() {
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
    use super::{CheckoutRefs, CollectedFiles, DiscoveryResult, discover};
    use crate::source::{Limits, OperationBounds, Remote, SourceErrorKind, git};
    use std::{cell::RefCell, fs, path::Path};
    use tidemill_core::execution::discovery::Discovery;
    use tokio_util::sync::CancellationToken;

    fn git_in(dir: &Path, args: &[&str]) -> String {
        let identity =
            ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"];
        git::run(git::command().current_dir(dir).args(identity).args(args)).unwrap().trim().to_owned()
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

    fn find(dir: &Path, cache: &Path, commit: &str, request: &Discovery) -> DiscoveryResult {
        discover(&Remote::on_disk(dir), (Some("main"), &CheckoutRefs::default()), commit, request, cache)
            .unwrap()
    }

    #[test]
    fn canceled_collection_reads_no_further_file() {
        let paths: Vec<String> = (0..5).map(|number| format!(".pipelines/{number}.yml")).collect();
        let cancel = CancellationToken::new();
        let bounds = OperationBounds::new(Limits::default(), cancel.clone());
        let paths_read = RefCell::new(Vec::new());
        let read = |path: &str| {
            paths_read.borrow_mut().push(path.to_owned());
            if paths_read.borrow().len() == 2 {
                cancel.cancel();
            }
            Ok("name: ci\njobs: { j: { image: i, script: x } }\n".to_owned())
        };
        let mut collected = CollectedFiles::default();
        let error = collected.collect_files(&paths, &read, &bounds).unwrap_err();
        assert_eq!((error.kind(), paths_read.into_inner().len()), (SourceErrorKind::Canceled, 2));
    }

    #[test]
    fn canceled_discovery_returns_an_error() {
        let (repository, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dir = repository.path();
        git_in(dir, &["init", "-q", "-b", "main"]);
        let first = commit(dir, &[(".pipelines/ci.yml", "name: ci\njobs: { j: { image: i, script: x } }\n")]);
        find(dir, cache.path(), &first, &Discovery::default());
        let cancel = CancellationToken::new();
        cancel.cancel();
        let attempt = || {
            discover(
                &Remote::on_disk(dir),
                (Some("main"), &CheckoutRefs::default()),
                &first,
                &Discovery::default(),
                cache.path(),
            )
        };
        let error = OperationBounds::new(Limits::default(), cancel).scope(attempt).unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Canceled);
    }

    #[test]
    fn pipeline_files_and_changes_are_found_at_commit() {
        let (repository, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dir = repository.path();
        git_in(dir, &["init", "-q", "-b", "main"]);
        let jobs = "jobs: { j: { image: i, script: x } }\n";
        let first =
            commit(dir, &[(".gitlab-ci.yml", "job: { image: $GROUP/a, script: x }\n"), ("src/a.rs", "1")]);
        let mut request = Discovery::default();
        request.external.values.insert("GROUP".to_owned(), "tools".to_owned());
        let result = find(dir, cache.path(), &first, &request);
        assert!(result.files[0].text.contains("image: tools/a"), "native: {}", result.files[0].text);
        assert_eq!((result.files[0].path.as_str(), result.changed_paths), (".gitlab-ci.yml", None));
        let first_file = format!("name: one\n{jobs}");
        let second_file = "name: two\ninclude: shared/jobs.yml\n";
        let second = commit(
            dir,
            &[
                (".pipelines/one.yml", first_file.as_str()),
                (".pipelines/two.yaml", second_file),
                (".pipelines/notes.txt", "no"),
                (".pipelines/deeper/three.yml", "no"),
                ("shared/jobs.yml", jobs),
                ("src/b c.rs", "1"),
            ],
        );
        let since = Discovery { before: Some(first.clone()), ..Discovery::default() };
        let result = find(dir, cache.path(), &second, &since);
        let names: Vec<&str> = result.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(names, [".pipelines/one.yml", ".pipelines/two.yaml"]);
        assert!(result.files[1].text.contains("script"), "{}", result.files[1].text);
        assert_eq!(result.changed_paths.unwrap().len(), 6);
        assert!(result.paths.unwrap().contains(&"src/b c.rs".to_owned()) && result.diagnostics.is_empty());

        git_in(dir, &["checkout", "-q", "-b", "topic", &first]);
        let topic =
            commit(dir, &[("src/a.rs", "2"), (".pipelines/bad.yml", "name: bad\ninclude: none.yml\n")]);
        let onto = Discovery { target_branch: Some("main".into()), ..Discovery::default() };
        let result = discover(
            &Remote::on_disk(dir),
            (Some("topic"), &CheckoutRefs::default()),
            &topic,
            &onto,
            cache.path(),
        )
        .unwrap();
        assert_eq!(result.changed_paths.unwrap(), [".pipelines/bad.yml", "src/a.rs"]);
        assert!(result.diagnostics[0].contains("none.yml"), "{:?}", result.diagnostics);
        // The commit that a ref points to, if the requested hash is empty or abbreviated.
        let resolved = |commit: &str, reference: &str| {
            let request = Discovery {
                fetch_ref: Some(reference.into()),
                only: vec![".pipelines/one.yml".into()],
                ..Discovery::default()
            };
            discover(&Remote::on_disk(dir), (None, &CheckoutRefs::default()), commit, &request, cache.path())
        };
        git_in(dir, &["branch", "main", &second, "--force"]);
        let result = resolved("", "refs/heads/main").unwrap();
        assert_eq!((&result.commit, result.files.len()), (&second, 1));
        assert_eq!(resolved(&second[..12], "refs/heads/main").unwrap().commit, second);
        assert!(
            resolved(&first[..12], "refs/heads/main").is_err() && resolved("", "refs/heads/none").is_err()
        );
        git_in(dir, &["tag", "-a", "v1", "-m", "x", &second]);
        let object = git_in(dir, &["rev-parse", "refs/tags/v1"]);
        assert_ne!(object, second);
        assert_eq!(find(dir, cache.path(), &object, &Discovery::default()).commit, second);
        let new_branch = Discovery { before: Some("0".repeat(40)), ..Discovery::default() };
        assert_eq!(find(dir, cache.path(), &topic, &new_branch).changed_paths, None);
    }
}
