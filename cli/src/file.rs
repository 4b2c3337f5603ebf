//! Finds and reads pipeline files.

use crate::{
    args::FileArgs,
    failure::{Failure, Outcome},
};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tidemill_core::gitlab;
use tidemill_core::pipeline::{self, Assembled, MAX_FILE_BYTES, Mistakes, Pipeline};

/// A pipeline file that has no mistakes.
#[derive(Debug)]
pub struct PipelineFile {
    /// Its path, for messages.
    pub name: String,
    /// Its text, what it includes laid in.
    pub text: String,
    /// What it says.
    pub pipeline: Pipeline,
}

/// The file that the arguments name, read and checked; mistakes are printed.
///
/// `for_workers_elsewhere` says whether the jobs run on workers that may have labels, and not on this machine.
pub fn load(args: &FileArgs, for_workers_elsewhere: bool) -> Outcome<PipelineFile> {
    let path = find(args)?;
    let name = path.display().to_string();
    let text = read(&path)?;
    let colour = crate::output::stderr_has_colours();
    let kind = Kind::of(&path, args.gitlab, for_workers_elsewhere);
    match assemble(&path, &text, kind) {
        Ok(made) => {
            // What of another system's file is not honoured is said each time: nobody wrote it for this one.
            if kind != Kind::Native {
                crate::output::print_error_text(&made.render_warnings(colour));
            }
            Ok(PipelineFile { name, text: made.text, pipeline: made.parsed.pipeline })
        }
        Err(mistakes) => Err(Failure::usage(mistakes.render(colour).trim_end().to_owned())),
    }
}

/// Whose language a file is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Tidemill's own.
    Native,
    /// GitLab's.
    GitLab {
        /// Whether `tags` are labels that a job's worker must have.
        tags_are_labels: bool,
    },
}

impl Kind {
    /// What a file is by its name, or because the arguments say so.
    pub fn of(path: &Path, gitlab: bool, tags_are_labels: bool) -> Self {
        let named =
            path.file_name().is_some_and(|name| gitlab::FILE_NAMES.iter().any(|known| name == *known));
        if gitlab || named { Self::GitLab { tags_are_labels } } else { Self::Native }
    }
}

/// Checks a file's text with the files that it includes, which are found from the top of its repository.
pub fn assemble(path: &Path, text: &str, kind: Kind) -> Result<Assembled, Mistakes> {
    let top = repository_of(path);
    let included = |wanted: &str| {
        let path = top.join(wanted);
        match fs::metadata(&path) {
            Ok(found) if found.is_file() => {}
            Ok(_) => return Err("it is not a file".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
        // A link must not lead out of the repository: what a checkout holds is not trusted with the rest of the disk.
        let real = path.canonicalize().map_err(|error| error.to_string())?;
        if !top.canonicalize().is_ok_and(|top| real.starts_with(top)) {
            return Err("it leads out of the repository".to_owned());
        }
        read(&real).map_err(|failure| failure.words)
    };
    let name = path.display().to_string();
    match kind {
        Kind::Native => pipeline::assemble(&name, text, &included),
        Kind::GitLab { tags_are_labels } => {
            let called = top.file_name().map(|name| name.to_string_lossy().into_owned());
            let settings = gitlab::TranslateOptions::of(called.as_deref().unwrap_or("gitlab"));
            let settings = gitlab::TranslateOptions { tags_are_labels, ..settings };
            gitlab::translate(&name, text, &included, &settings)
        }
    }
}

/// The top of the repository that a file is in: where `.git` is, else the directory above `.pipelines`, else its own.
fn repository_of(path: &Path) -> PathBuf {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let own = full.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    if let Some(top) = own.ancestors().find(|above| above.join(".git").exists()) {
        return top.to_owned();
    }
    match own.parent() {
        Some(above) if own.ends_with(".pipelines") => above.to_owned(),
        _ => own,
    }
}

/// A file's text, within the limits of a pipeline file.
pub fn read(path: &Path) -> Outcome<String> {
    let name = path.display();
    let failed = |error: std::io::Error| Failure::usage(format!("{name} cannot be read: {error}"));
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > MAX_FILE_BYTES as u64 {
        return Err(Failure::usage(format!(
            "{name} has {length} bytes; a pipeline file has at most {MAX_FILE_BYTES}"
        )));
    }
    String::from_utf8(fs::read(path).map_err(failed)?)
        .map_err(|_| Failure::usage(format!("{name} is not UTF-8 text")))
}

/// All files below `.pipelines/` of the repository that we stand in; without that directory, GitLab's file.
pub fn all() -> Outcome<Vec<PathBuf>> {
    let Some(directory) = directory() else {
        if let Some(file) = gitlab_file() {
            return Ok(vec![file]);
        }
        return Err(Failure::usage(
            "there is no directory .pipelines here or above; write a starter file with `tidemill init`, or name a \
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

/// GitLab's file of the repository that we stand in.
fn gitlab_file() -> Option<PathBuf> {
    above(|directory| gitlab::FILE_NAMES.iter().map(|name| directory.join(name)).find(|path| path.is_file()))
}

/// Whether there are pipeline files here or above.
pub fn has_pipelines() -> bool {
    directory().is_some() || gitlab_file().is_some()
}

fn directory() -> Option<PathBuf> {
    above(|directory| Some(directory.join(".pipelines")).filter(|path| path.is_dir()))
}

/// What is found here, or in the next directory above that has it.
fn above(look: impl Fn(&Path) -> Option<PathBuf>) -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let found = here.ancestors().find_map(look)?;
    // Shorter to read when we stand at the top.
    Some(found.strip_prefix(&here).map(Path::to_owned).unwrap_or(found))
}

/// The file that the arguments name, or the only one.
pub fn find(args: &FileArgs) -> Outcome<PathBuf> {
    if let Some(path) = &args.file {
        return Ok(path.clone());
    }
    let files = all()?;
    let names = || files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    if let Some(wanted) = &args.pipeline {
        let is_it = |path: &&PathBuf| {
            path.file_stem().is_some_and(|stem| stem.to_string_lossy() == *wanted)
                || read(path)
                    .ok()
                    .and_then(|text| pipeline::parse(&text).ok())
                    .is_some_and(|it| it.name == *wanted)
        };
        return files
            .iter()
            .find(is_it)
            .cloned()
            .ok_or_else(|| Failure::usage(format!("no pipeline is called `{wanted}` among {}", names())));
    }
    match files.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Failure::usage(".pipelines/ holds no .yml file; write one with `tidemill init`")),
        _ => Err(Failure::usage(format!("which one? There are {}: name one with -f or --pipeline", names()))),
    }
}

/// `NAME=VALUE` arguments as variables.
pub fn variables(given: &[String]) -> Outcome<indexmap::IndexMap<String, String>> {
    given
        .iter()
        .map(|text| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(Failure::usage(format!("`{text}` is not NAME=VALUE"))),
        })
        .collect()
}
