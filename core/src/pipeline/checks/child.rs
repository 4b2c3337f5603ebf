//! Checks `pipeline`: a pipeline that a job starts.

use std::collections::HashSet;

use indexmap::IndexMap;

use super::context::{FindingSink, KnownJob, texts, variables};
use crate::pipeline::finding::{Fault, Finding, Path, quoted};
use crate::pipeline::model::{
    ChildInclude, ChildIncludeSource, ChildPipeline, MAX_CHILD_FILES, MAX_CHILDREN, SERVER_VARIABLES,
};
use crate::pipeline::names;
use crate::pipeline::raw::alternatives::Either;
use crate::pipeline::raw::collections::NamedValues;
use crate::pipeline::raw::field::Field;
use crate::pipeline::raw::job_parts::{RawChild, RawChildInclude};
use crate::pipeline::raw::records::RawJob;
use crate::pipeline::raw::scalars::{Forward, Text};
use crate::pipeline::references;

/// The name of GitLab's pipeline file.
const GITLAB_FILE: &str = ".gitlab-ci.yml";

/// Maximum length of a path, in bytes.
const MAX_PATH_BYTES: usize = 4096;

/// Maximum length of the name of a repository or a branch, in bytes.
const MAX_NAME_BYTES: usize = 500;

/// Maximum number of variables, and of inputs.
const MAX_VALUES: usize = 100;

/// Checks the pipeline that a job starts, and returns it.
pub(crate) fn child(raw: &Either<Text, RawChild>, path: &Path, findings: &mut FindingSink) -> ChildPipeline {
    let raw = match raw {
        Either::Short(file) => {
            findings.check(check_file(&file.0), || path.clone());
            return ChildPipeline {
                files: vec![file.0.clone()],
                is_gitlab: is_gitlab_name(&file.0),
                waits: true,
                forwards_job: true,
                ..ChildPipeline::default()
            };
        }
        Either::Long(raw) => raw,
    };
    let files = texts(raw.file.get());
    let includes = includes(raw, path, findings);
    let repository = raw.repository.get().map(|name| name.0.clone());
    check_repository(raw, path, findings);
    let has_file = !files.is_empty() || !raw.include.is_absent() || !raw.repository.is_absent();
    if !has_file && !matches!(raw.file, Field::Invalid) {
        findings.push(
            Finding::key("missing-key", path, "`pipeline` has no `file`")
                .help("add `file:` with the path of the pipeline file to start"),
        );
    }
    for (index, file) in files.iter().enumerate() {
        findings.check(check_file(file), || path.key("file").index(index));
    }
    let is_gitlab = !raw.include.is_absent()
        || raw.gitlab.get().map_or_else(|| files.iter().any(|file| is_gitlab_name(file)), |flag| flag.0);
    let artifact_of = raw.artifact_of.get().map(|job| job.0.clone());
    let limit = if repository.is_some() {
        MAX_CHILD_FILES
    } else if !is_gitlab || artifact_of.is_some() {
        1
    } else {
        MAX_CHILD_FILES
    };
    if files.len() > limit {
        let message = format!("`file` has {} paths, and {limit} is the limit here", files.len());
        let help = "several files are for GitLab files of the sources; a native file can `include` others";
        findings.push(Finding::value("out-of-range", &path.key("file"), message).help(help));
    }
    if !is_gitlab && repository.is_none() && !raw.inputs.is_absent() {
        let message = "`inputs` are those of a GitLab file, and this file is a native one";
        findings.push(
            Finding::key("conflicting-keys", &path.key("inputs"), message)
                .help("use `variables`, or add `gitlab: true` if the file is GitLab's"),
        );
    }
    for (entries, key) in [(&raw.variables, "variables"), (&raw.inputs, "inputs")] {
        check_values(entries.get(), &path.key(key), findings);
    }
    let forward: Vec<Forward> = raw
        .forward
        .get()
        .map_or_else(|| vec![Forward::Job], |list| list.0.iter().map(|value| value.0).collect());
    let inputs = raw.inputs.get().map_or(&[][..], |entries| entries.0.as_slice());
    ChildPipeline {
        files,
        is_gitlab,
        artifact_of: artifact_of.filter(|_| includes.is_empty()),
        waits: raw.wait.get().is_none_or(|flag| flag.0),
        forwards_job: forward.contains(&Forward::Job),
        forwards_run: forward.contains(&Forward::Run),
        variables: variables(raw.variables.get(), || path.key("variables"), findings),
        inputs: inputs.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect(),
        includes,
        repository,
        branch: raw.branch.get().map(|name| name.0.clone()),
    }
}

/// Checks the files that a child includes, and returns them.
fn includes(raw: &RawChild, path: &Path, findings: &mut FindingSink) -> Vec<ChildInclude> {
    let Some(items) = raw.include.get() else { return Vec::new() };
    let path = path.key("include");
    let conflicts = [
        (!raw.file.is_absent(), "file"),
        (!raw.inputs.is_absent(), "inputs"),
        (raw.gitlab.get().is_some_and(|flag| !flag.0), "gitlab: false"),
    ];
    for (_, key) in conflicts.into_iter().filter(|(is_set, _)| *is_set) {
        let message = format!("`pipeline` has `include`, which is GitLab's, and `{key}`");
        findings.push(Finding::key("conflicting-keys", &path, message).help(
            "list all files under `include`, with `local` for those of the sources and `inputs` in each item",
        ));
    }
    if items.0.is_empty() || items.0.len() > MAX_CHILD_FILES {
        let message = format!("`include` takes 1 to {MAX_CHILD_FILES} items, and has {}", items.0.len());
        findings.push(Finding::value("out-of-range", &path, message).help("let one file include the others"));
    }
    let located = items.0.iter().enumerate().map(|(index, item)| (item, path.index(index)));
    let job = raw.artifact_of.get().map(|job| job.0.as_str());
    let includes: Vec<ChildInclude> =
        located.filter_map(|(item, path)| include(item, job, &path, findings)).collect();
    let takes_job = |item: &Either<Text, RawChildInclude>| matches!(item, Either::Long(raw) if !raw.artifact.is_absent() && raw.job.is_absent());
    if job.is_some() && includes.len() == items.0.len() && !items.0.iter().any(takes_job) {
        let message = "no item of `include` has an `artifact` of the job that `artifact_of` names";
        findings.push(
            Finding::key("conflicting-keys", &path, message)
                .help("add an item `{ artifact: FILE }`, or remove `artifact_of`"),
        );
    }
    includes
}

fn include(
    item: &Either<Text, RawChildInclude>,
    artifact_of: Option<&str>,
    path: &Path,
    findings: &mut FindingSink,
) -> Option<ChildInclude> {
    let raw = match item {
        Either::Short(Text(path)) => {
            let source = ChildIncludeSource::Local { path: path.clone() };
            return Some(ChildInclude { source, inputs: IndexMap::new() });
        }
        Either::Long(raw) => raw,
    };
    let text = |field: &Field<Text>| field.get().map(|text| text.0.clone());
    let job = text(&raw.job).or_else(|| artifact_of.map(str::to_owned)).unwrap_or_default();
    let sources = [
        text(&raw.local).map(|path| ChildIncludeSource::Local { path }),
        text(&raw.project).map(|project| ChildIncludeSource::Project {
            project,
            reference: text(&raw.reference),
            files: texts(raw.file.get()),
        }),
        text(&raw.remote).map(|url| ChildIncludeSource::Remote { url, integrity: text(&raw.integrity) }),
        text(&raw.template).map(|name| ChildIncludeSource::Template { name }),
        text(&raw.component).map(|address| ChildIncludeSource::Component { address }),
        text(&raw.artifact).map(|path| ChildIncludeSource::Artifact { path, job: job.clone() }),
    ];
    let mut sources = sources.into_iter().flatten();
    let (source, other) = (sources.next(), sources.next());
    let of_project = !raw.reference.is_absent() || !raw.file.is_absent();
    let is_complete = match &source {
        Some(ChildIncludeSource::Project { files, .. }) => !files.is_empty(),
        Some(ChildIncludeSource::Artifact { .. }) => !of_project && !job.is_empty(),
        Some(_) => !of_project,
        None => false,
    };
    let is_remote = matches!(source, Some(ChildIncludeSource::Remote { .. }));
    let has_other_job = raw.artifact.is_absent() && !raw.job.is_absent();
    if !is_complete || other.is_some() || has_other_job || (!is_remote && !raw.integrity.is_absent()) {
        let message = "an item of `include` has `local`, `project` with `file`, `remote`, `template`, `component`, or \
                       `artifact` with `job`";
        findings.push(
            Finding::key("bad-include", path, message)
                .help("`ref` is a key beside `project`, and `integrity` one beside `remote`"),
        );
        return None;
    }
    check_values(raw.inputs.get(), &path.key("inputs"), findings);
    let inputs = raw.inputs.get().map_or(&[][..], |entries| entries.0.as_slice());
    let include = ChildInclude {
        source: source?,
        inputs: inputs.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect(),
    };
    for text in include.templates() {
        let is_text = !text.is_empty() && text.len() <= MAX_PATH_BYTES && !text.contains(char::is_control);
        let checked = if is_text || include.inputs.values().any(|value| value == text) {
            references::parse_references(after_server(text)).map(drop)
        } else {
            Err(Fault::new("bad-include", "is not the name of an included file"))
        };
        findings.check(checked, || path.clone());
    }
    Some(include)
}

/// Returns an address without the variable for the git server at its start, which is known where the file is read.
fn after_server(text: &str) -> &str {
    SERVER_VARIABLES.into_iter().find_map(|server| text.strip_prefix(server)).unwrap_or(text)
}

/// Checks the keys of a pipeline of another repository.
fn check_repository(raw: &RawChild, path: &Path, findings: &mut FindingSink) {
    let Some(name) = raw.repository.get() else {
        if !raw.branch.is_absent() {
            let message = "`branch` is the branch of another repository, and `pipeline` names none";
            findings.push(
                Finding::key("conflicting-keys", &path.key("branch"), message)
                    .help("add `repository`, or remove `branch`: the child has the commit of its parent"),
            );
        }
        return;
    };
    for (text, key) in [(Some(name), "repository"), (raw.branch.get(), "branch")] {
        let Some(Text(text)) = text else { continue };
        let is_name = !text.is_empty()
            && text.len() <= MAX_NAME_BYTES
            && !text.starts_with('-')
            && !text.contains(|c: char| c.is_control() || c == ' ');
        let checked = if is_name {
            references::parse_references(text).map(drop)
        } else {
            Err(Fault::new("bad-name", "is not the name of a repository or a branch"))
        };
        findings.check(checked, || path.key(key));
    }
    let conflicts = [
        (!raw.include.is_absent(), "include"),
        (!raw.artifact_of.is_absent(), "artifact_of"),
        (!raw.gitlab.is_absent(), "gitlab"),
    ];
    for (_, key) in conflicts.into_iter().filter(|(is_set, _)| *is_set) {
        let message = format!("`{key}` has no effect on a pipeline of another repository");
        findings.push(
            Finding::key("conflicting-keys", &path.key(key), message).help(
                "`file` names one of its pipeline files; without it, the one that starts there is taken",
            ),
        );
    }
    if raw.file.get().is_some_and(|files| files.0.len() > 1) {
        let message = "a pipeline of another repository has one `file`";
        findings.push(Finding::key("out-of-range", &path.key("file"), message));
    }
}

fn is_gitlab_name(path: &str) -> bool {
    path.rsplit('/').next() == Some(GITLAB_FILE)
}

fn check_file(path: &str) -> Result<(), Fault> {
    if path.is_empty() || path.len() > MAX_PATH_BYTES || path.contains(char::is_control) {
        return Err(Fault::new("bad-path", "is not the path of a file"));
    }
    if path.starts_with(['/', '~']) || names::climbs_out(path) {
        return Err(Fault::new("path-outside", format!("leads out of the sources: {}", quoted(path)))
            .help("write it relative to the sources, without `..`"));
    }
    references::parse_references(path).map(drop)
}

fn check_values(entries: Option<&NamedValues<Text>>, path: &Path, findings: &mut FindingSink) {
    let entries = entries.map_or(&[][..], |entries| entries.0.as_slice());
    if entries.len() > MAX_VALUES {
        let message =
            format!("{} has {} entries, and {MAX_VALUES} is the limit", path.label(), entries.len());
        findings.push(Finding::value("out-of-range", path, message).help("pass a file instead"));
    }
    for (name, value) in entries {
        findings.check(references::parse_references(&value.0).map(drop), || path.key(name));
    }
}

/// Reports keys that have no effect on a job that starts a pipeline.
pub(crate) fn check_other_keys(raw: &RawJob, path: &Path, findings: &mut FindingSink) {
    let keys = [
        (!raw.script.is_absent(), "script"),
        (!raw.before_script.is_absent(), "before_script"),
        (!raw.after_script.is_absent(), "after_script"),
        (!raw.image.is_absent(), "image"),
        (!raw.build.is_absent(), "build"),
        (!raw.services.is_absent(), "services"),
        (!raw.cache.is_absent(), "cache"),
        (!raw.secrets.is_absent(), "secrets"),
        (!raw.checkout.is_absent(), "checkout"),
        (!raw.environment.is_absent(), "environment"),
        (!raw.coverage.is_absent(), "coverage"),
        (!raw.outputs.is_absent(), "outputs"),
        (!raw.container.is_absent(), "container"),
        (!raw.artifacts.is_absent(), "artifacts"),
        (!raw.working_dir.is_absent(), "working_dir"),
        (!raw.resources.is_absent(), "resources"),
        (!raw.pull_policy.is_absent(), "pull_policy"),
        (!raw.id_tokens.is_absent(), "id_tokens"),
    ];
    for (_, key) in keys.into_iter().filter(|(is_set, _)| *is_set) {
        let message = format!("`{key}` has no effect on a job with `pipeline`, which has no container");
        findings.push(
            Finding::key("conflicting-keys", &path.key(key), message)
                .help("remove it, or put it into a job of its own that this one needs"),
        );
    }
    if !raw.concurrency.is_absent() {
        let message =
            "`concurrency` has no effect on a job with `pipeline`, which starts an execution of its own";
        findings.push(
            Finding::key("conflicting-keys", &path.key("concurrency"), message)
                .help("put `concurrency` into the file of the child"),
        );
    }
}

/// Checks that the jobs exist whose artifacts have files of pipelines, and the number of jobs that start one.
pub(crate) fn check_all(known: &[KnownJob<'_>], findings: &mut FindingSink) {
    let names: HashSet<&str> = known.iter().filter_map(|job| job.name).collect();
    let mut starting = 0;
    for job in known {
        let Some(child) = job.raw.and_then(|raw| raw.pipeline.get()) else { continue };
        starting += 1;
        if starting == MAX_CHILDREN + 1 {
            let message = format!("more than {MAX_CHILDREN} jobs of this pipeline start another one");
            findings.push(
                Finding::key("too-many-jobs", &job.path.key("pipeline"), message)
                    .help("let some of them start a pipeline that starts others"),
            );
        }
        let Either::Long(child) = child else { continue };
        let path = job.path.key("pipeline");
        let named = child.artifact_of.get().map(|from| (from.0.as_str(), path.key("artifact_of")));
        let items = child.include.get().map_or(&[][..], |items| items.0.as_slice());
        let included = items.iter().enumerate().filter_map(|(index, item)| {
            let Either::Long(item) = item else { return None };
            Some((item.job.get()?.0.as_str(), path.key("include").index(index).key("job")))
        });
        for (from, path) in named.into_iter().chain(included) {
            if names.contains(from) && job.name != Some(from) {
                continue;
            }
            let others = names.iter().copied().filter(|name| Some(*name) != job.name);
            let help = findings.suggestions.did_you_mean(from, others);
            let message = format!("there is no job {} whose artifacts could have the file", quoted(from));
            findings.push(Finding::value("unknown-dependency", &path, message).maybe_help(help));
        }
    }
}
