//! Reads a commit's pipeline files and changed paths for the server. The author of the commit is not trusted: what is read has
//! limits in number, size and time.

use super::{
    bounds::OperationBounds,
    git::{
        self, SourceError,
        commit_files::{CommitFiles, READ_LIMITS, all_paths, paths},
        compared::RefSource,
        listing::{Records, parse_entry},
        objects::{FileReader, commit_details},
    },
    mirror::{ObjectRepository, WantedRefs, mirror_with_commit},
    network::{HostPolicy, Remote},
    registry,
};
use indexmap::IndexMap;
use std::{cell::RefCell, collections::BTreeSet, fmt::Write as _, ops::ControlFlow, path::Path};
use tidemill_core::execution::discovery::{
    Discovery, MAX_DIAGNOSTICS_BYTES, MAX_DIRECTORY_ENTRIES, MAX_FILES_BYTES, MAX_PIPELINE_FILES,
    PipelineFile,
};
use tidemill_core::execution::{
    assignment::{CheckoutRefs, Source},
    facts::{CommitDetails, ComparedPaths, ExternalVariables, Facts},
};
use tidemill_core::{
    gitlab,
    pipeline::{FileError, IncludeSources, PipelineWithSources, RepositoryFiles, assemble_from},
    plan::compared_refs,
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
    /// Paths that changed since the refs that conditions of the files compare with.
    pub compared_paths: ComparedPaths,
    /// Paths of all its files, unless there are too many.
    pub paths: Option<Vec<String>>,
    /// Rendered diagnostics of files that could not be assembled.
    pub diagnostics: Vec<String>,
}

/// Reads `commit` of `remote`; fetched objects stay below `cache`. Files that are not of this repository are included from
/// `elsewhere`.
pub fn discover(
    remote: &Remote,
    (branch, refs): (Option<&str>, &CheckoutRefs),
    commit: &str,
    request: &Discovery,
    (cache, elsewhere): (&Path, &dyn IncludeSources),
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
    let changed = changed(&objects, remote, commit, request);
    let paths = all_paths(repo, commit)?;
    let event = request.event.as_ref().map(|facts| {
        Box::new(Facts {
            repo: url.to_owned(),
            commit: Some(commit.to_owned()),
            details: details.clone(),
            changed: changed.clone(),
            files: paths.clone(),
            ..Facts::clone(facts)
        })
    });
    let values = GitlabValues { external: request.external.clone(), inputs: request.inputs.clone(), event };
    let collected = collect(repo, commit, (request, &values), (url, elsewhere))?;
    let CollectedFiles { files, diagnostics, compared, .. } = collected;
    let refs = RefSource { objects: &objects, remote: Some(remote) };
    let compared_paths = refs.compare((commit, commit), compared)?;
    let commit = commit.to_owned();
    Ok(DiscoveryResult {
        commit,
        files,
        details,
        is_skipped: false,
        changed_paths: changed,
        compared_paths,
        paths,
        diagnostics,
    })
}

/// What is set outside of a commit for its GitLab file.
#[derive(Debug, Clone, Default)]
pub struct GitlabValues {
    /// Variables.
    pub external: ExternalVariables,
    /// Values of the inputs that the file declares.
    pub inputs: IndexMap<String, String>,
    /// The event for which the file is read.
    pub event: Option<Box<Facts>>,
}

/// Reads the commit of `source`, a repository that was resolved on this machine; fetched objects stay below `cache`. `values`: what
/// is set for its GitLab file, if it has one.
pub fn read_resolved(
    source: &Source,
    refs: &CheckoutRefs,
    values: &GitlabValues,
    reach: &HostPolicy,
    (cache, elsewhere): (&Path, &dyn IncludeSources),
) -> Result<DiscoveryResult, SourceError> {
    let (objects, remote, name, commit) = match source {
        Source::Git { url, branch, commit, private_host, .. } => {
            let remote = reach.remote(url, *private_host)?;
            let wanted = WantedRefs { branch: branch.as_deref(), refs, reference: None };
            (mirror_with_commit(&remote, wanted, commit, cache)?, Some(remote), url, commit)
        }
        Source::Snapshot { snapshot, repository, commit, .. } => {
            let (objects, _) = registry::find(cache, snapshot, repository)?;
            (ObjectRepository::of_snapshot(objects), None, repository, commit)
        }
        Source::None | Source::Uploaded { .. } => return Err(SourceError::new("there is no repository")),
    };
    let repo = &objects.path;
    let collected = collect(repo, commit, (&Discovery::default(), values), (name, elsewhere))?;
    let (details, paths) = (commit_details(repo, commit, READ_LIMITS)?, all_paths(repo, commit)?);
    let CollectedFiles { files, diagnostics, compared, .. } = collected;
    let refs = RefSource { objects: &objects, remote: remote.as_ref() };
    let compared_paths = refs.compare((commit, commit), compared)?;
    let commit = commit.clone();
    let base = DiscoveryResult::default();
    Ok(DiscoveryResult { commit, files, details, compared_paths, paths, diagnostics, ..base })
}

/// Reads the pipeline files of a commit.
fn collect(
    repo: &Path,
    commit: &str,
    (request, values): (&Discovery, &GitlabValues),
    (url, elsewhere): (&str, &dyn IncludeSources),
) -> Result<CollectedFiles, SourceError> {
    let folder = folder(repo, commit)?;
    let mut facts = values.event.as_deref().cloned().unwrap_or_default();
    facts.add_external(values.external.clone());
    let mut collected = CollectedFiles { facts, ..CollectedFiles::default() };
    if folder.is_too_large {
        collected.add_diagnostic(format!(
            "{PIPELINES_DIR} has more than {MAX_DIRECTORY_ENTRIES} entries; none of them is read\n"
        ));
    }
    let bounds = OperationBounds::current();
    let reader = RefCell::new(FileReader::new(repo, commit, READ_LIMITS));
    let read = |path: &str| {
        // A canceled discovery reads no further includes either.
        bounds.check().map_err(|canceled| FileError::Repository(canceled.to_string()))?;
        reader.borrow_mut().read(path)
    };
    let sources = CommitFiles { repo, commit, limits: READ_LIMITS, read: &read, elsewhere };
    let files = if request.only.is_empty() {
        folder.files
    } else {
        // Sorted like a git tree, without duplicates.
        let requested: BTreeSet<&String> = request.only.iter().filter(|path| *path != GITLAB_FILE).collect();
        requested
            .into_iter()
            .filter(|path| reader.borrow_mut().is_file(path))
            .take(MAX_PIPELINE_FILES)
            .cloned()
            .collect()
    };
    collected.collect_files(&files, &sources, &bounds)?;
    let may_be_gitlab = request.only.is_empty() || request.only.iter().any(|path| path == GITLAB_FILE);
    if collected.is_empty() && may_be_gitlab && folder.has_gitlab {
        match read(GITLAB_FILE) {
            Ok(text) => {
                let options = gitlab::TranslateOptions {
                    external: values.external.clone(),
                    inputs: values.inputs.clone(),
                    event: values.event.clone(),
                    ..gitlab::TranslateOptions::for_pipeline(repository_name(url))
                };
                match gitlab::translate(GITLAB_FILE, &text, &sources, &options) {
                    Ok(assembled) => collected.add(GITLAB_FILE, assembled),
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
    /// The facts of the event.
    facts: Facts,
    /// The refs that conditions of the files compare changes with.
    compared: BTreeSet<String>,
}

impl CollectedFiles {
    const fn is_empty(&self) -> bool {
        self.files.is_empty() && self.diagnostics.is_empty()
    }

    /// Reads pipeline files, each with its includes. Reading one is bounded; cancellation is checked after each.
    fn collect_files(
        &mut self,
        paths: &[String],
        files: &dyn RepositoryFiles,
        bounds: &OperationBounds,
    ) -> Result<(), SourceError> {
        for path in paths.iter().take(MAX_PIPELINE_FILES) {
            match files.read(path) {
                Ok(text) => match assemble_from(path, &text, files) {
                    Ok(assembled) => self.add(path, assembled),
                    Err(diagnostics) => self.add_diagnostic(diagnostics.render(false)),
                },
                Err(error) => self.add_diagnostic(format!("{path} cannot be read: {error}\n")),
            }
            bounds.check()?;
        }
        Ok(())
    }

    fn add(&mut self, path: &str, assembled: PipelineWithSources) {
        let PipelineWithSources { parsed, text, includes, .. } = assembled;
        self.compared.extend(compared_refs(&parsed.pipeline, &self.facts));
        // A file that is included several times counts several times.
        self.bytes = self.bytes.saturating_add(text.len());
        if self.bytes > MAX_FILES_BYTES {
            self.add_diagnostic(format!(
                "{path}: the pipeline files of this commit have more than {MAX_FILES_BYTES} bytes in total\n"
            ));
        } else {
            self.files.push(PipelineFile { path: path.to_owned(), text, includes });
        }
    }

    fn add_diagnostic(&mut self, mut text: String) {
        if text.len() > MAX_DIAGNOSTICS_BYTES {
            let end = (0..=MAX_DIAGNOSTICS_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let heads = |line: &&str| line.starts_with("error[") || line.starts_with("warning[");
            let left_out = text.get(end..).unwrap_or_default().lines().filter(heads).count();
            text.truncate(end);
            let _ = write!(text, "\n... {left_out} more are not shown: `tidemill check` shows them\n");
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
#[must_use]
pub fn repository_name(url: &str) -> &str {
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
mod tests;
