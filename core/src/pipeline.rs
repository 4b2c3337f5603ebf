//! The pipeline file: its normalised model, and the reader that turns YAML into it.
//!
//! A file that is right is read once, by serde_yaml into typed structs (`raw`) and from there into the
//! model (`check`). Only when something is wrong, or where merge keys are used, is the text read a second
//! time into a tree with positions (`tree`), which is then walked to the end so that every mistake is found.

pub(crate) mod bounds;
mod check;
mod cron;
mod cycle;
mod dependencies;
mod field;
mod field_shapes;
pub(crate) mod finding;
mod include;
mod job_check;
mod job_parts;
mod model;
mod parts_check;
mod planned;
mod raw;
mod raw_parts;
mod rule_check;
mod rules;
mod shapes;
pub(crate) mod suggest;
mod syntax;
pub(crate) mod templates;
mod top_check;
pub(crate) mod tree;
mod value;
mod writer;

use std::collections::HashSet;
use std::rc::Rc;

pub(crate) use include::file_path as include_path;
pub use include::{DEEPEST as DEEPEST_INCLUDE, MOST_FILES, ReadFile, SourceFile};
pub use job_parts::{
    Cache, CachePolicy, Environment, Health, MOST_SECRETS, Reports, SecretUse, Service, Surroundings,
};
pub use model::{
    Artifacts, ArtifactsWhen, Concurrency, Job, Pipeline, PullPolicy, PullRequestTrigger, PushTrigger,
    Resources, Schedule, Triggers,
};
pub use parts_check::is_label;
pub use rules::{Rule, RuleThen, RunWhen};
pub use syntax::{is_secret_name, is_variable_name};

use crate::diagnostics::{Diagnostic, Location, Related, Severity, render_files};
use field::{Read, Reader};
use finding::{Finding, Path, Spot};
use raw::RawPipeline;
use tree::{Node, Tree};

/// The largest pipeline file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// A pipeline, and what is odd about its file though not wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The checked pipeline.
    pub pipeline: Pipeline,
    /// Diagnostics of [`Severity::Warning`], in the order of the file.
    pub warnings: Vec<Diagnostic>,
}

/// The seconds of a time span such as `90s` or `1h 30m`, read as the file's are; for settings that stand elsewhere.
pub fn span_s(text: &str) -> Result<u64, String> {
    scalar(text).map(|value::Span(seconds)| seconds)
}

/// The bytes of an amount of memory such as `2GiB`, read as the file's are.
pub fn bytes(text: &str) -> Result<u64, String> {
    scalar(text).map(|value::Bytes(bytes)| bytes)
}

/// A number of processors such as `0.5`, read as the file's are.
pub fn cpus(text: &str) -> Result<f64, String> {
    scalar(text).map(|value::Cpus(cpus)| cpus)
}

fn scalar<T: field::Scalar>(text: &str) -> Result<T, String> {
    T::from_text(text).map_err(|fault| match fault.help {
        Some(help) => format!("{} ({help})", fault.message),
        None => fault.message,
    })
}

/// Reads and checks a pipeline file.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file; warnings are among them.
pub fn parse(source: &str) -> Result<Pipeline, Vec<Diagnostic>> {
    parse_with_warnings(source).map(|parsed| parsed.pipeline)
}

/// Reads and checks a pipeline file, and keeps the warnings about one that is accepted.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file; warnings are among them.
pub fn parse_with_warnings(source: &str) -> Result<Parsed, Vec<Diagnostic>> {
    read(source).map_err(|mut found| {
        keep_within(source, &mut found);
        found
    })
}

/// A text that ends within a list, without a line's end, has its mistake on a line that it does not have: the parser has
/// put the line's end in.
fn within_text(source: &str, location: Location) -> Location {
    let text = source.replace("\r\n", "\n").replace('\r', "\n");
    let lines = text.split('\n').count();
    if location.line <= lines { location } else { end_of(&text, lines) }
}

fn end_of(text: &str, lines: usize) -> Location {
    let last = text.rsplit('\n').next().unwrap_or_default();
    Location { line: lines, column: last.chars().count() + 1, length: 1 }
}

/// The same for all of them.
fn keep_within(source: &str, found: &mut [Diagnostic]) {
    let Some(furthest) = found.iter().filter_map(|one| one.location).map(|location| location.line).max()
    else {
        return;
    };
    let text = source.replace("\r\n", "\n").replace('\r', "\n");
    let lines = text.split('\n').count();
    if furthest <= lines {
        return;
    }
    let end = end_of(&text, lines);
    for location in found.iter_mut().filter_map(|one| one.location.as_mut()) {
        if location.line > lines {
            *location = end;
        }
    }
}

/// A pipeline and the files that it was made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Assembled {
    /// The checked pipeline, and warnings.
    pub parsed: Parsed,
    /// One text that says the same by itself: that of the file where it includes none.
    pub text: String,
    /// The file, and those that it includes.
    pub files: Vec<SourceFile>,
}

/// What is wrong with a pipeline that is made from several files.
#[derive(Debug, Clone, PartialEq)]
pub struct Mistakes {
    /// Errors and warnings, in the order of the files.
    pub found: Vec<Diagnostic>,
    /// The file, and those that it includes.
    pub files: Vec<SourceFile>,
}

impl Mistakes {
    /// Draws them for people; see [`crate::diagnostics::render_human`].
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        render(&self.files, &self.found, color)
    }
}

impl Assembled {
    /// Draws its warnings for people.
    #[must_use]
    pub fn render_warnings(&self, color: bool) -> String {
        render(&self.files, &self.parsed.warnings, color)
    }
}

fn render(files: &[SourceFile], found: &[Diagnostic], color: bool) -> String {
    let files: Vec<(&str, &str)> =
        files.iter().map(|file| (file.name.as_str(), file.text.as_str())).collect();
    render_files(&files, found, color)
}

/// Reads and checks a pipeline file, called `name`, and the files of the repository that it includes, which `read` gives by
/// their paths from the repository's top.
///
/// # Errors
/// Everything that is wrong with all of them.
pub fn assemble(name: &str, source: &str, read: &ReadFile<'_>) -> Result<Assembled, Mistakes> {
    let gathered = if source.len() > MAX_FILE_BYTES { None } else { include::gather(name, source, read) };
    let Some(include::Gathered { files, tree }) = gathered else {
        let files = vec![SourceFile { name: name.to_owned(), text: source.to_owned() }];
        return match parse_with_warnings(source) {
            Ok(parsed) => Ok(Assembled { parsed, text: source.to_owned(), files }),
            Err(found) => Err(Mistakes { found, files }),
        };
    };
    let (result, root) = with_positions(&tree, None);
    let into_files = |found: Vec<Diagnostic>| -> Vec<Diagnostic> {
        found.into_iter().map(|one| in_files(&files, one)).collect()
    };
    let parsed = match result {
        Ok(Parsed { pipeline, warnings }) => Parsed { pipeline, warnings: into_files(warnings) },
        Err(found) => return Err(Mistakes { found: into_files(found), files }),
    };
    let included: Vec<&str> = files.iter().skip(1).map(|file| file.name.as_str()).collect();
    let written = root.as_deref().map(writer::write).unwrap_or_default();
    let text = format!("# Made from {name}, which includes {}.\n{written}", included.join(", "));
    if text.len() > MAX_FILE_BYTES {
        let message = format!(
            "with the files that it includes this pipeline has {} bytes, and {MAX_FILE_BYTES} (1 MiB) is the limit",
            text.len()
        );
        let finding = Finding::value("file-too-large", &Path::default(), message)
            .help("keep data and long scripts in files of the repository");
        return Err(Mistakes { found: vec![place(&finding, None)], files });
    }
    Ok(Assembled { parsed, text, files })
}

/// Says which file a diagnostic of several is in, and where in it.
pub(crate) fn in_files(files: &[SourceFile], mut found: Diagnostic) -> Diagnostic {
    let name = |file: usize| files.get(file).filter(|_| file > 0).map(|file| file.name.clone());
    if let Some(location) = &mut found.location {
        let (file, within) = tree::place_in_file(*location);
        *location = files.get(file).map_or(within, |file| within_text(&file.text, within));
        found.file = name(file);
    }
    for related in &mut found.related {
        let (file, within) = tree::place_in_file(related.location);
        related.location = within;
        related.file = name(file);
    }
    found
}

fn read(source: &str) -> Result<Parsed, Vec<Diagnostic>> {
    if source.len() > MAX_FILE_BYTES {
        let message = format!(
            "this file has {} bytes, and a pipeline file may have {MAX_FILE_BYTES} (1 MiB)",
            source.len()
        );
        let finding = Finding::value("file-too-large", &Path::default(), message)
            .help("keep data and long scripts in files of the repository");
        return Err(vec![place(&finding, None)]);
    }
    if let Some(location) = bounds::deep_line(source) {
        return Err(vec![place(&tree::too_deep(location), None)]);
    }
    // Aliases could expand without end in the typed reading: first see that they do not.
    let bounded = if tree::may_alias(source) {
        let tree = tree::build(source).map_err(|finding| vec![place(&finding, None)])?;
        if !tree.findings.is_empty() {
            return with_positions(&tree, None).0;
        }
        Some(tree)
    } else {
        None
    };
    let typed = serde_yaml::from_str::<RawPipeline>(source);
    if let Ok(raw) = &typed {
        let (pipeline, findings) = check::pipeline(raw);
        if findings.list.is_empty() {
            return Ok(Parsed { pipeline, warnings: Vec::new() });
        }
    }
    let tree = match bounded {
        Some(tree) => tree,
        None => match tree::build(source) {
            Ok(tree) => tree,
            Err(finding) => return Err(vec![place(&finding, None)]),
        },
    };
    with_positions(&tree, typed.err().map(|_| source)).0
}

/// The JSON Schema of the pipeline file, for editors.
pub fn json_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(RawPipeline);
    schema.insert("title".to_owned(), "Tidemill pipeline file".into());
    schema.insert("required".to_owned(), serde_json::json!(["name", "jobs"]));
    // Top-level keys that only hold values for anchors.
    schema.insert("patternProperties".to_owned(), serde_json::json!({ "^(\\.|x-)": true }));
    schema.to_value()
}

/// Reads the tree to its end and says where everything that is wrong stands.
///
/// `doubted` is the text when serde_yaml refused it: a text in which nothing is found wrong here must then at
/// least be YAML to it.
///
/// Beside the answer it gives the document with its templates written out.
fn with_positions(tree: &Tree, doubted: Option<&str>) -> (Result<Parsed, Vec<Diagnostic>>, Option<Rc<Node>>) {
    let mut findings = tree.findings.clone();
    let root = tree.root.as_ref().map(|root| templates::apply(root, &mut findings));
    let tree = Tree { root, findings };
    let result = judged(&tree, doubted);
    (result, tree.root)
}

fn judged(tree: &Tree, doubted: Option<&str>) -> Result<Parsed, Vec<Diagnostic>> {
    let mut reader = Reader::default();
    let raw = match &tree.root {
        Some(root) if !root.is_null() => RawPipeline::read(root, &Path::default(), &mut reader),
        _ => {
            let finding = Finding::value("empty-file", &Path::default(), "this file holds no pipeline")
                .help("`tidemill init` writes a starter file");
            let mut found = tree.findings.clone();
            bounds::first_findings(&mut found);
            return Err(found.iter().chain([&finding]).map(|finding| place(finding, Some(tree))).collect());
        }
    };
    let mut findings = tree.findings.clone();
    findings.append(&mut reader.findings);
    let pipeline = raw.map(|raw| {
        let (pipeline, mut checked) = check::pipeline(&raw);
        findings.append(&mut checked.list);
        pipeline
    });
    bounds::first_findings(&mut findings);
    let mut diagnostics: Vec<Diagnostic> =
        findings.iter().map(|finding| place(finding, Some(tree))).collect();
    // One mistake under an anchor shows up wherever the anchor is used.
    let mut seen = HashSet::new();
    diagnostics.retain(|d| seen.insert((d.location, d.code.clone(), d.message.clone())));
    diagnostics.sort_by_key(|d| d.location);
    let failed = diagnostics.iter().any(|d| d.severity == Severity::Error);
    match pipeline {
        Some(pipeline) if !failed => match doubted.map(serde_yaml::from_str::<serde_yaml::Value>) {
            Some(Err(error)) => Err(vec![foreign(&error)]),
            _ => Ok(Parsed { pipeline, warnings: diagnostics }),
        },
        _ => Err(diagnostics),
    }
}

/// The diagnostic of a finding, at its place in `tree`.
pub(crate) fn place(finding: &Finding, tree: Option<&Tree>) -> Diagnostic {
    let locate = |spot: &Spot| -> Option<Location> {
        match spot {
            Spot::Text(_, location) => Some(*location),
            Spot::At(path, part) => tree.map(|tree| tree.locate(path, *part)),
            Spot::Within(path, at, length) => tree.map(|tree| tree.locate_within(path, *at, *length)),
        }
    };
    let (Spot::Text(path, _) | Spot::At(path, _) | Spot::Within(path, ..)) = &finding.spot;
    let related = finding.related.iter().filter_map(|(message, spot)| {
        locate(spot).map(|location| Related { message: message.clone(), location, file: None })
    });
    Diagnostic {
        severity: finding.severity,
        code: finding.code.to_owned(),
        message: finding.message.clone(),
        path: path.to_string(),
        location: locate(&finding.spot),
        file: None,
        help: finding.help.clone(),
        related: related.collect(),
    }
}

/// What serde_yaml says of a text that the other parser takes.
fn foreign(error: &serde_yaml::Error) -> Diagnostic {
    let location = error.location().map(|at| Location { line: at.line(), column: at.column(), length: 1 });
    Diagnostic {
        severity: Severity::Error,
        code: "yaml-syntax".to_owned(),
        message: format!("this is not valid YAML: {error}"),
        path: String::new(),
        location,
        file: None,
        help: None,
        related: Vec::new(),
    }
}
