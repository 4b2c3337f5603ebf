//! Merges a GitLab file with the files that it includes.

use std::collections::HashMap;
use std::rc::Rc;

use super::event::{self, IncludeMode};
use super::inputs::{self, Inputs};
use super::items::{self, IncludeItem};
use super::merger::{Document, Merger};
use crate::gitlab::conditions::cel::CelExpr;
use crate::gitlab::findings::Log;
use crate::gitlab::settings::TranslateOptions;
use crate::gitlab::values;
use crate::pipeline::compose::files::RepositoryFiles;
use crate::pipeline::compose::include::{SourceFile, include_path};
use crate::pipeline::compose::merge::MergeBudget;
use crate::pipeline::compose::place::{IncludeReader, IncludedFile, Place, Unreadable};
use crate::pipeline::finding::{Finding, Path};
use crate::pipeline::yaml::tree::{Kind, LINES_PER_FILE, MapEntry, Node, Tree, alias_bomb};
use crate::pipeline::yaml::{build_gitlab_file, build_replaced};
use crate::repository::includes::PinnedInclude;
use crate::text::diagnostics::Location;

/// Maximum number of included files of a pipeline: GitLab's limit.
pub const MAX_INCLUDES: usize = 150;
/// Maximum depth of nested includes: GitLab's limit.
const MAX_DEPTH: usize = 100;
/// Maximum size of all files together, in bytes.
const MAX_TOTAL_BYTES: usize = 16 << 20;

/// A file merged with its includes.
pub(crate) struct MergedDocument {
    /// `None` if the file has no content, or an error.
    pub(crate) root: Option<Rc<Node>>,
    pub(crate) files: Vec<SourceFile>,
    /// The conditions of jobs that come from conditional includes.
    pub(crate) conditions: HashMap<String, Rc<CelExpr>>,
    /// The versions of the files from elsewhere.
    pub(crate) pinned: Vec<PinnedInclude>,
    /// Whether it cannot be read for all events at once.
    pub(crate) depends_on_event: bool,
}

/// Reads the file `name` and the files that it includes.
pub(crate) fn read(
    name: &str,
    text: &str,
    files: &dyn RepositoryFiles,
    settings: &TranslateOptions,
    mode: IncludeMode,
    log: &mut Log,
) -> MergedDocument {
    let mut loader = Loader {
        files: vec![SourceFile { name: name.to_owned(), text: text.to_owned() }],
        documents: HashMap::new(),
        chain: vec![IncludedFile::local(include_path(name).unwrap_or_else(|_| name.to_owned()))],
        attempts: 0,
        is_full: false,
        budget: MergeBudget::default(),
        bytes: text.len(),
        reader: IncludeReader::new(files),
        settings,
        mode,
        depends_on_event: false,
        log,
    };
    let nowhere = Location { line: 1, column: 1, length: 0 };
    let (root, mut conditions) = match loader.parse(text, 0, None, nowhere) {
        Some(document) => (Some(document.root), document.conditions),
        None => (None, HashMap::new()),
    };
    // Templates are there whatever the condition.
    conditions.retain(|name, _| !name.starts_with('.'));
    let Loader { files, reader, depends_on_event, log, .. } = loader;
    let mut merged = MergedDocument { root, files, conditions, pinned: reader.pinned, depends_on_event };
    if let Some(root) = &merged.root
        && root.is_too_large()
    {
        log.findings.push(*alias_bomb(root.location));
        merged.root = None;
    }
    merged
}

pub(super) struct Loader<'a> {
    files: Vec<SourceFile>,
    /// The documents of files that are included without inputs.
    documents: HashMap<String, Option<Rc<Document>>>,
    /// The files that are being parsed, each included by the previous one.
    pub(super) chain: Vec<IncludedFile>,
    /// Number of files to read, including those that could not be read.
    attempts: usize,
    /// Whether there are too many files, which was reported.
    is_full: bool,
    budget: MergeBudget,
    bytes: usize,
    pub(super) reader: IncludeReader<'a>,
    pub(super) settings: &'a TranslateOptions,
    mode: IncludeMode,
    /// Whether a document means something else for other events.
    depends_on_event: bool,
    pub(super) log: &'a mut Log,
}

impl Loader<'_> {
    /// Returns the document of a file, merged with its includes. `given` are its inputs, and `at` is where it is included.
    fn parse(
        &mut self,
        text: &str,
        index: usize,
        given: Option<&MapEntry>,
        at: Location,
    ) -> Option<Document> {
        let root = self.tree(text, index, given, at)?;
        let Kind::Mapping(mapping) = &root.kind else {
            if !root.is_null() {
                self.log.invalid(
                    &Path::default(),
                    root.location,
                    "a GitLab file is a mapping of keys to values",
                );
            }
            return None;
        };
        let Some(include) = root.get("include") else {
            return Some(Document { root, conditions: HashMap::new() });
        };
        let mut merger = Merger::new(&root, self.settings.event.is_some());
        let path = Path::default().key("include");
        for (at, item) in values::list(&include.value).into_iter().enumerate() {
            if self.is_full {
                break;
            }
            if at == MAX_INCLUDES {
                // Further items are not reported one by one.
                let message = format!("a file includes at most {MAX_INCLUDES} files");
                self.log.invalid(&path, item.location, message);
                break;
            }
            self.item(item, &path, &mut merger);
        }
        let own: Vec<MapEntry> =
            mapping.entries.iter().filter(|entry| entry.key != "include").cloned().collect();
        let own = Document { root: Rc::new(Node::mapping(own, root.location)), conditions: HashMap::new() };
        self.lay_over(&mut merger, &own, None, (&path, include.key_location));
        merger.finish()
    }

    fn lay_over(
        &mut self,
        merger: &mut Merger,
        document: &Document,
        condition: Option<&(Rc<CelExpr>, &MapEntry)>,
        place: (&Path, Location),
    ) {
        self.is_full =
            self.is_full || merger.add(document, condition, place, &mut self.budget, self.log).is_err();
        self.depends_on_event |= merger.depends_on_event;
    }

    /// Decides the condition of an item, if only one event matters. Returns whether its files are included, and the condition that
    /// is left.
    fn decided<'n>(
        &mut self,
        condition: Option<(Rc<CelExpr>, &'n MapEntry)>,
        path: &Path,
    ) -> (bool, Option<(Rc<CelExpr>, &'n MapEntry)>) {
        let Some((condition, rules)) = condition else { return (true, None) };
        let external = &self.settings.external;
        let is_hidden =
            |name: &&str| external.hidden.contains(*name) || external.of_environments.contains(*name);
        if let Some(hidden) = condition.variables().find(is_hidden) {
            let message = format!(
                "the rules refer to `{hidden}`, whose value only jobs get, and would be recorded here"
            );
            let help = "use a variable that is neither masked nor a file nor of one environment";
            self.log.invalid_with_help(&path.key("rules"), rules.key_location, message, help);
            return (false, None);
        }
        let decision = match self.mode {
            IncludeMode::AllEvents => None,
            IncludeMode::OneEvent => event::decide(&condition, self.settings),
        };
        let Some(holds) = decision else { return (true, Some((condition, rules))) };
        let by =
            if condition.depends_on_event() { "for this event" } else { "by the variables that are set" };
        let outcome = if holds { "included" } else { "left out" };
        let message =
            format!("{by}, this is {outcome}; for others, the pipeline may have other keys and jobs");
        self.log.changed(&path.key("rules"), rules.key_location, message);
        (holds, None)
    }

    /// Returns the tree of a file, with the values of its inputs.
    fn tree(&mut self, text: &str, index: usize, given: Option<&MapEntry>, at: Location) -> Option<Rc<Node>> {
        let path = Path::default().key("include").key("inputs");
        // The inputs of the file itself are given where it is run.
        let of_run = if index == 0 { Some(&self.settings.inputs).filter(|of| !of.is_empty()) } else { None };
        let built = match inputs::split(text) {
            None if of_run.is_some() => {
                let message = "the file declares no inputs: it has no header with `spec: inputs`";
                self.log.invalid(&path, Location { line: 1, column: 1, length: 1 }, message);
                return None;
            }
            None => {
                if let Some(entry) = given.filter(|entry| !values::entries(&entry.value).is_empty()) {
                    let why = "the included file declares no inputs: it has no header with `spec: inputs`";
                    self.log.invalid(&path, entry.key_location, why);
                    return None;
                }
                build_gitlab_file(text, index)
            }
            Some((header, rest)) => {
                let header = self.built(build_gitlab_file(header, index))?;
                let spec = header.get("spec")?;
                // The header of the file says which types the values have.
                let untyped = given.filter(|_| self.settings.has_untyped_inputs && self.chain.len() == 2);
                let untyped = untyped.map(|given| items::texts_of(&given.value));
                let typed = of_run.or(untyped.as_ref()).map(|values| inputs::of_run(&spec.value, values));
                let given = typed.as_ref().or(given);
                let inputs: Inputs = inputs::resolve(&spec.value, given, at, &path, self.log)?;
                let known = self.variables();
                let (variable, first_line) = (|name: &str| known.value(name), index * LINES_PER_FILE);
                let replaced = inputs::interpolate(&rest, &inputs, &variable, first_line, self.log)?;
                self.bytes += replaced.text.len().saturating_sub(text.len());
                if self.bytes > MAX_TOTAL_BYTES {
                    self.log.invalid(&path, at, too_many_bytes());
                    return None;
                }
                build_replaced(&replaced, index)
            }
        };
        self.built(built)
    }

    fn built(&mut self, built: Result<Tree, Box<Finding>>) -> Option<Rc<Node>> {
        let mut tree = built.map_err(|finding| self.log.findings.push(*finding)).ok()?;
        self.log.findings.append(&mut tree.findings);
        tree.root
    }

    /// Adds the files of one item of `include`.
    fn item(&mut self, item: &Rc<Node>, path: &Path, merger: &mut Merger) {
        let of_repository = self.variables().of_repository();
        let Some(IncludeItem { kind, given, condition }) =
            IncludeItem::read(item, path, &of_repository, self.log)
        else {
            return;
        };
        let (is_included, condition) = self.decided(condition, path);
        if !is_included {
            return;
        }
        for (file, location) in self.files_of(&kind, path) {
            if self.is_full {
                break;
            }
            let condition_of = condition.as_ref().map(|(condition, _)| condition.as_ref());
            let document = self.file(file, location, path, (given, condition_of), kind.integrity());
            if let Some(document) = document {
                self.lay_over(merger, &document, condition.as_ref(), (path, location));
            }
        }
    }

    fn file(
        &mut self,
        file: IncludedFile,
        at: Location,
        path: &Path,
        (given, condition): (Option<&MapEntry>, Option<&CelExpr>),
        integrity: Option<&[u8]>,
    ) -> Option<Rc<Document>> {
        let (key, label) = (file.key(), file.label());
        if self.chain.iter().any(|before| before.key() == key) {
            let chain: Vec<String> = self.chain.iter().map(IncludedFile::label).collect();
            let message = format!("these files include each other: {} -> {label}", chain.join(" -> "));
            self.log.invalid(path, at, message);
            // A long list of them is an error about the number of files.
            self.attempts += 1;
            return None;
        }
        // A hash is checked each time.
        let is_shared = given.is_none() && integrity.is_none();
        if is_shared && let Some(document) = self.documents.get(&key) {
            return document.clone();
        }
        self.attempts += 1;
        if self.attempts > MAX_INCLUDES || self.chain.len() > MAX_DEPTH {
            let message = format!("a pipeline includes at most {MAX_INCLUDES} files, {MAX_DEPTH} deep");
            self.log.invalid(path, at, message);
            self.is_full = true;
            return None;
        }
        let document = match self.reader.read(&file, integrity) {
            Ok(text) => {
                self.bytes += text.len();
                if self.bytes > MAX_TOTAL_BYTES {
                    self.log.invalid(path, at, too_many_bytes());
                    return None;
                }
                let index = self.files.len();
                self.files.push(SourceFile { name: label, text: text.clone() });
                self.chain.push(file);
                let document = self.parse(&text, index, given, at).map(Rc::new);
                self.chain.pop();
                document
            }
            Err(Unreadable::Local(_)) if condition.is_some_and(|one| self.is_left_out(one)) => return None,
            Err(error) => {
                self.unreadable(&error, &label, at, path);
                None
            }
        };
        if is_shared {
            self.documents.insert(key, document.clone());
        }
        document
    }

    /// Whether the condition of a file that cannot be read leaves it out: for the files of the repository, or possibly for the event,
    /// which is then decided.
    fn is_left_out(&mut self, condition: &CelExpr) -> bool {
        let files = self.reader.list(&Place::Repository, "").ok();
        if files.is_some_and(|files| event::decide_for_files(condition, files, self.settings) == Some(false))
        {
            return true;
        }
        let is_for_all = self.mode == IncludeMode::AllEvents;
        self.depends_on_event |= is_for_all;
        is_for_all
    }
}

fn too_many_bytes() -> String {
    format!("all files together have more than {MAX_TOTAL_BYTES} bytes")
}
