//! Finds and reads pipeline files.

use crate::{
    args::{FileArgs, VariableArgs},
    failure::{Failure, Outcome},
    output::Printable,
    pipeline::elsewhere::{self, Elsewhere},
    settings::input,
};
use indexmap::IndexMap;
use std::{
    fs,
    path::{Path, PathBuf},
};
use tidemill_core::api::ExternalVariables;
use tidemill_core::execution::facts::Facts;
use tidemill_core::gitlab;
use tidemill_core::pipeline::{
    self, FileError, IncludeSources, MAX_FILE_BYTES, NoSources, Pipeline, PipelineErrors,
    PipelineWithSources, RepositoryFiles, is_variable_name,
};
use tidemill_core::repository::includes::PinnedInclude;
use tidemill_core::text::{nearest, without_byte_order_mark};
use tidemill_worker::source::{DiscoveryResult, IncludeFetcher, repository_name};

/// A valid pipeline file.
#[derive(Debug)]
pub struct PipelineFile {
    /// Path, for messages.
    pub name: String,
    /// Text with includes expanded.
    pub text: String,
    /// The file's own text; `None` for one of a commit.
    pub own_text: Option<String>,
    /// The parsed pipeline.
    pub pipeline: Pipeline,
    /// The versions of the included files that come from elsewhere.
    pub includes: Vec<PinnedInclude>,
    /// Values of inputs for the server; those of a GitLab file are part of its text.
    pub inputs: IndexMap<String, String>,
}

impl PipelineFile {
    /// Returns the values of all inputs for an execution. Fails if one is missing or invalid.
    pub fn input_values(&self, is_manual: bool) -> Outcome<IndexMap<String, String>> {
        let values = self.pipeline.on.input_values(&self.inputs, is_manual);
        values.map_err(|error| Failure::usage(format!("{}: {}", self.name, Printable(error.to_string()))))
    }
}

/// What is set outside of a pipeline file.
#[derive(Debug, Clone, Default)]
pub struct FileContext {
    /// Variables.
    pub external: ExternalVariables,
    /// Values of inputs.
    pub inputs: IndexMap<String, String>,
    /// How files from elsewhere are included.
    pub elsewhere: Elsewhere,
    /// The event for which a GitLab file is read.
    pub event: Option<Box<Facts>>,
    /// Whether such a file becomes one that starts on that event only.
    pub is_for_event: bool,
}

/// Whether the arguments select a file in GitLab's format.
pub fn is_gitlab(args: &FileArgs) -> bool {
    find(args).is_ok_and(|path| FileFormat::of(&path, args.gitlab, true) != FileFormat::Native)
}

/// Reads and checks the file that the arguments select, and prints its warnings.
///
/// `is_remote`: the jobs run on a deployment, whose workers may have labels.
/// `context`: what is set outside of the file.
pub fn load(args: &FileArgs, is_remote: bool, context: &FileContext) -> Outcome<PipelineFile> {
    let path = find(args)?;
    let name = path.display().to_string();
    let own_text = read(&path)?;
    let colour = crate::output::stderr_has_colours();
    let kind = FileFormat::of(&path, args.gitlab, is_remote);
    match assemble(&path, &own_text, kind, context) {
        Ok(assembled) => {
            // Warn on every run about unsupported features of a GitLab file.
            if kind != FileFormat::Native {
                crate::output::print_error_text(&assembled.render_warnings(colour));
            }
            let inputs = if kind == FileFormat::Native { context.inputs.clone() } else { IndexMap::new() };
            let PipelineWithSources { parsed, text, includes, .. } = assembled;
            let own_text = Some(own_text);
            Ok(PipelineFile { name, text, own_text, pipeline: parsed.pipeline, includes, inputs })
        }
        Err(errors) => Err(Failure::usage(errors.render(colour).trim_end().to_owned())),
    }
}

/// Returns the pipeline of a commit that the arguments select: by name, or the only one.
pub fn of_commit(
    args: &FileArgs,
    commit: &DiscoveryResult,
    inputs: &IndexMap<String, String>,
) -> Outcome<PipelineFile> {
    let names = || commit.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>().join(", ");
    let stem = |path: &str| Path::new(path).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let mut selected = Vec::new();
    for file in &commit.files {
        let parsed = pipeline::parse(&file.text);
        let is_selected = args.pipeline.as_ref().is_none_or(|name| {
            stem(&file.path).as_ref() == Some(name)
                || parsed.as_ref().is_ok_and(|pipeline| pipeline.name == *name)
        });
        if is_selected {
            selected.push((file, parsed));
        }
    }
    if selected.is_empty() && !commit.diagnostics.is_empty() {
        return Err(Failure::usage(commit.diagnostics.concat().trim_end().to_owned()));
    }
    if selected.len() > 1 {
        return Err(Failure::usage(format!(
            "several pipeline files in the commit: {}; select one with --pipeline",
            names()
        )));
    }
    match (selected.pop(), &args.pipeline) {
        (Some((file, Ok(pipeline))), _) => {
            // Those of a GitLab file are part of its text.
            let is_gitlab = gitlab::FILE_NAMES.contains(&file.path.as_str());
            let inputs = if is_gitlab { IndexMap::new() } else { inputs.clone() };
            let (name, text) = (file.path.clone(), file.text.clone());
            let includes = file.includes.clone();
            Ok(PipelineFile { name, text, own_text: None, pipeline, includes, inputs })
        }
        (Some((file, Err(diagnostics))), _) => {
            let lines: Vec<String> =
                diagnostics.iter().map(|one| format!("{}: {}", file.path, one.message)).collect();
            Err(Failure::usage(lines.join("\n")))
        }
        (None, Some(name)) => Err(Failure::usage(format!(
            "no pipeline `{name}` in the commit {}: it has {}",
            commit.commit,
            names()
        ))),
        (None, None) => Err(Failure::usage(format!(
            "the commit {} has no pipeline file below .pipelines/ and no .gitlab-ci.yml; select a file of this machine \
             with -f",
            commit.commit
        ))),
    }
}

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// Tidemill.
    Native,
    /// GitLab CI.
    GitLab {
        /// Whether `tags` become labels that a job requires of its worker.
        tags_are_labels: bool,
        /// How variables that nobody sets are treated.
        unset_variables: UnsetVariables,
    },
}

/// How variables of a GitLab file that nobody sets are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsetVariables {
    /// Where the value must be known, it is an error; elsewhere they are empty.
    Reject,
    /// Each is a warning.
    Report,
    /// Each is a warning, and also an error where the value must be known.
    ReportAndReject,
}

impl FileFormat {
    /// Returns the format of a file: GitLab if `gitlab` is set or by its name.
    pub fn of(path: &Path, gitlab: bool, tags_are_labels: bool) -> Self {
        let is_gitlab_name =
            path.file_name().is_some_and(|name| gitlab::FILE_NAMES.iter().any(|known| name == *known));
        if gitlab || is_gitlab_name {
            Self::GitLab { tags_are_labels, unset_variables: UnsetVariables::Reject }
        } else {
            Self::Native
        }
    }

    /// Returns the format with this treatment of variables that nobody sets, for a GitLab file.
    pub const fn with_unset_variables(self, unset_variables: UnsetVariables) -> Self {
        match self {
            Self::GitLab { tags_are_labels, .. } => Self::GitLab { tags_are_labels, unset_variables },
            Self::Native => self,
        }
    }
}

/// Checks a file's text with its includes, whose paths are relative to the root of its repository. Native files
/// take inputs later.
pub fn assemble(
    path: &Path,
    text: &str,
    kind: FileFormat,
    context: &FileContext,
) -> Result<PipelineWithSources, PipelineErrors> {
    // Most files include nothing.
    let files = Checkout::of(path, text.contains("include").then_some(&context.elsewhere));
    let name = path.display().to_string();
    match kind {
        FileFormat::Native => pipeline::assemble_from(&name, text, &files),
        FileFormat::GitLab { tags_are_labels, unset_variables } => {
            // As on a server, the pipeline is named like the repository.
            let directory = || files.root.file_name().map(|name| name.to_string_lossy().into_owned());
            let repository = elsewhere::origin(&files.root).map(|url| repository_name(&url).to_owned());
            let repository = repository.filter(|name| !name.is_empty()).or_else(directory);
            let settings = gitlab::TranslateOptions::for_pipeline(repository.as_deref().unwrap_or("gitlab"));
            let settings = gitlab::TranslateOptions {
                tags_are_labels,
                reports_unset_variables: unset_variables != UnsetVariables::Reject,
                rejects_unset_variables: unset_variables != UnsetVariables::Report,
                external: context.external.clone(),
                inputs: context.inputs.clone(),
                event: context.event.clone(),
                is_for_event: context.is_for_event,
                ..settings
            };
            gitlab::translate(&name, text, &files, &settings)
        }
    }
}

/// Maximum number of directory entries that are visited to find included files.
const MAX_LISTED_ENTRIES: usize = 100_000;

/// The files of a repository on this machine.
pub struct Checkout {
    root: PathBuf,
    elsewhere: Option<IncludeFetcher>,
}

impl Checkout {
    /// Returns those of the repository of the file at `path`, and what they may include from elsewhere.
    pub fn of(path: &Path, elsewhere: Option<&Elsewhere>) -> Self {
        let root = repository_root(path);
        let elsewhere = elsewhere.and_then(|elsewhere| elsewhere.of_working_tree(&root));
        Self { root, elsewhere }
    }
}

impl RepositoryFiles for Checkout {
    fn read(&self, path: &str) -> Result<String, FileError> {
        let path = self.root.join(path);
        if !fs::metadata(&path)?.is_file() {
            return Err(FileError::NotAFile);
        }
        // The checkout is untrusted: a symbolic link must not give access to files outside of the repository.
        let resolved = path.canonicalize()?;
        if !self.root.canonicalize().is_ok_and(|root| resolved.starts_with(root)) {
            return Err(FileError::Outside);
        }
        read(&resolved).map_err(|failure| FileError::Repository(failure.message))
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, FileError> {
        let mut pending = vec![directory.to_owned()];
        let (mut files, mut visited) = (Vec::new(), 0);
        while let Some(directory) = pending.pop() {
            let entries = fs::read_dir(self.root.join(&directory))?;
            for entry in entries.flatten() {
                visited += 1;
                if visited > MAX_LISTED_ENTRIES {
                    return Err(FileError::TooMany(MAX_LISTED_ENTRIES));
                }
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = if directory.is_empty() { name.clone() } else { format!("{directory}/{name}") };
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && name != ".git" => pending.push(path),
                    Ok(kind) if kind.is_file() => files.push(path),
                    _ => {}
                }
            }
        }
        Ok(files)
    }

    fn elsewhere(&self) -> &dyn IncludeSources {
        match &self.elsewhere {
            Some(fetcher) => fetcher,
            None => &NoSources,
        }
    }
}

/// Returns the root of a file's repository: the directory with `.git`, else the parent of `.pipelines`, else the file's directory.
fn repository_root(path: &Path) -> PathBuf {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let directory = full.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    if let Some(root) = directory.ancestors().find(|ancestor| ancestor.join(".git").exists()) {
        return root.to_owned();
    }
    match directory.parent() {
        Some(ancestor) if directory.ends_with(".pipelines") => ancestor.to_owned(),
        _ => directory,
    }
}

/// Reads a file. Fails if it is larger than the maximum size of a pipeline file.
pub fn read(path: &Path) -> Outcome<String> {
    input::read_file(path, MAX_FILE_BYTES as u64)
}

/// Returns all files in `.pipelines/` of the current repository; without that directory, the GitLab CI file.
pub fn pipeline_files() -> Outcome<Vec<PathBuf>> {
    let Some(directory) = directory() else {
        if let Some(file) = gitlab_file() {
            return Ok(vec![file]);
        }
        return Err(Failure::usage(
            "no directory .pipelines here or in a parent directory; create a starter file with `tidemill init`, or select a \
             file with -f",
        ));
    };
    let entries = fs::read_dir(&directory)
        .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", directory.display())))?;
    let is_yaml = |path: &PathBuf| path.extension().is_some_and(|end| end == "yml" || end == "yaml");
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_yaml).collect();
    files.sort();
    Ok(files)
}

/// Returns the GitLab CI file of the current repository.
fn gitlab_file() -> Option<PathBuf> {
    search_up(|directory| {
        gitlab::FILE_NAMES.iter().map(|name| directory.join(name)).find(|path| path.is_file())
    })
}

/// Returns whether the current directory or a parent has pipeline files.
pub fn has_pipelines() -> bool {
    directory().is_some() || gitlab_file().is_some()
}

fn directory() -> Option<PathBuf> {
    search_up(|directory| Some(directory.join(".pipelines")).filter(|path| path.is_dir()))
}

/// Calls `find` on the current directory and its parents, and returns the first match.
fn search_up(find: impl Fn(&Path) -> Option<PathBuf>) -> Option<PathBuf> {
    let current_dir = std::env::current_dir().ok()?;
    let path = current_dir.ancestors().find_map(find)?;
    // Relative paths are easier to read.
    Some(path.strip_prefix(&current_dir).map(Path::to_owned).unwrap_or(path))
}

/// Returns the file that the arguments select, by default the only one.
pub fn find(args: &FileArgs) -> Outcome<PathBuf> {
    if let Some(path) = &args.file {
        return Ok(path.clone());
    }
    let files = pipeline_files()?;
    let names = || files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    if let Some(name) = &args.pipeline {
        let mut known = Vec::new();
        for path in &files {
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            let parsed = read(path).ok().and_then(|text| pipeline::parse(&text).ok());
            let names: Vec<String> = parsed.map(|pipeline| pipeline.name).into_iter().chain(stem).collect();
            if names.contains(name) {
                return Ok(path.clone());
            }
            known.extend(names);
        }
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let directory = directory().unwrap_or_default();
        return Err(Failure::usage(match nearest(name, known) {
            Some(nearest) => format!(
                "no pipeline `{name}` in {}; did you mean `{}`?",
                directory.display(),
                Printable(nearest)
            ),
            None => format!("no pipeline `{name}` in {}", names()),
        }));
    }
    match files.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Failure::usage("no .yml file in .pipelines/; create one with `tidemill init`")),
        _ => Err(Failure::usage(format!(
            "several pipeline files: {}; select one with -f or --pipeline",
            names()
        ))),
    }
}

/// Returns the variables of arguments and of the files that they name. Arguments override files, and later ones earlier ones.
pub fn variables(args: &VariableArgs) -> Outcome<IndexMap<String, String>> {
    let mut variables = IndexMap::new();
    for path in &args.env_files {
        let text = read(path)?;
        for (number, line) in (1..).zip(without_byte_order_mark(&text).lines()) {
            if line.trim().is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            // The message does not repeat the line: it may be part of a secret.
            let (name, value) = variable(line)
                .map_err(|message| Failure::usage(format!("{}:{number}: {message}", path.display())))?;
            variables.insert(name, value);
        }
    }
    for text in &args.variables {
        let name = text.split('=').next().unwrap_or_default();
        let (name, value) = variable(text)
            .map_err(|message| Failure::usage(format!("--env `{}`: {message}", Printable(name))))?;
        variables.insert(name, value);
    }
    Ok(variables)
}

/// Returns the values of inputs of arguments; later ones override earlier ones.
pub fn inputs(args: &VariableArgs) -> Outcome<IndexMap<String, String>> {
    input_pairs(&args.inputs)
}

/// Returns the values of `--input` arguments; later ones override earlier ones.
pub fn input_pairs(inputs: &[String]) -> Outcome<IndexMap<String, String>> {
    let pair = |text: &String| -> Outcome<(String, String)> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("--input `{}`: expected NAME=VALUE", Printable(text))))?;
        Ok((name.trim().to_owned(), value.to_owned()))
    };
    inputs.iter().map(pair).collect()
}

/// Splits `NAME=VALUE`.
fn variable(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let name = name.trim();
    if !is_variable_name(name) {
        return Err(
            "expected NAME=VALUE, with letters, digits and `_` in the name, which does not start with a digit",
        );
    }
    if value.contains('\0') {
        return Err("the value has a NUL character, which no variable can have");
    }
    Ok((name.to_owned(), value.to_owned()))
}
