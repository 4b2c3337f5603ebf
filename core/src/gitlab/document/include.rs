//! Merges a GitLab file with the files of the same repository that it includes.

use std::collections::HashMap;
use std::rc::Rc;

use super::conditions::{JoinedConditions, MAX_CONDITION_BYTES, TooLong, too_long_condition};
use super::inputs::{self, Inputs};
use crate::gitlab::conditions::cel::CelExpr;
use crate::gitlab::conditions::rules;
use crate::gitlab::findings::Log;
use crate::gitlab::keys;
use crate::gitlab::settings::TranslateOptions;
use crate::gitlab::values;
use crate::gitlab::variables::{Piece, Scope, pieces};
use crate::pipeline::check_inside;
use crate::pipeline::compose::include::{RepositoryFiles, SourceFile, include_path};
use crate::pipeline::compose::merge::merge;
use crate::pipeline::finding::{Finding, FindingLocation, Path, quoted};
use crate::pipeline::yaml::limits::MAX_FILE_BYTES;
use crate::pipeline::yaml::tree::{Kind, LINES_PER_FILE, MapEntry, Node, Tree, alias_bomb};
use crate::pipeline::yaml::{build_gitlab_file, build_replaced};
use crate::text::diagnostics::Location;
use crate::text::without_byte_order_mark;

/// Maximum number of included files of a pipeline: GitLab's limit.
pub const MAX_INCLUDES: usize = 150;
/// Maximum depth of nested includes: GitLab's limit.
const MAX_DEPTH: usize = 100;
/// Maximum size of all files together, in bytes.
const MAX_TOTAL_BYTES: usize = 16 << 20;

/// Unsupported kinds of `include`, and what to do instead.
const UNSUPPORTED_INCLUDES: [(&str, &str); 4] = [
    ("project", "it is a file of another repository; copy it into this one and include it with `local`"),
    ("remote", "it is a file on the network; copy it into the repository and include it with `local`"),
    ("template", "it comes with GitLab; copy it into the repository and include it with `local`"),
    ("component", "it is a component of GitLab's catalogue; copy what it does into the repository"),
];

/// A file merged with its includes.
pub(crate) struct MergedDocument {
    /// `None` if the file has no content, or an error.
    pub(crate) root: Option<Rc<Node>>,
    pub(crate) files: Vec<SourceFile>,
    /// The conditions of jobs that come from conditional includes.
    pub(crate) conditions: HashMap<String, Rc<CelExpr>>,
}

/// Reads the file `name` and the files that it includes.
pub(crate) fn read(
    name: &str,
    text: &str,
    files: &dyn RepositoryFiles,
    settings: &TranslateOptions,
    log: &mut Log,
) -> MergedDocument {
    let mut loader = Loader {
        files: vec![SourceFile { name: name.to_owned(), text: text.to_owned() }],
        documents: HashMap::new(),
        chain: vec![include_path(name).unwrap_or_else(|_| name.to_owned())],
        attempts: 0,
        bytes: text.len(),
        source: files,
        settings,
        log,
    };
    let nowhere = Location { line: 1, column: 1, length: 0 };
    let (root, mut conditions) = match loader.parse(text, 0, None, nowhere) {
        Some(document) => (Some(document.root), document.conditions),
        None => (None, HashMap::new()),
    };
    // Templates are there whatever the condition.
    conditions.retain(|name, _| !name.starts_with('.'));
    let mut merged = MergedDocument { root, files: loader.files, conditions };
    if let Some(root) = &merged.root
        && root.is_too_large()
    {
        loader.log.findings.push(*alias_bomb(root.location));
        merged.root = None;
    }
    merged
}

/// A file merged with its includes.
struct Document {
    root: Rc<Node>,
    /// The conditions of its jobs and templates that come from conditional includes.
    conditions: HashMap<String, Rc<CelExpr>>,
}

struct Loader<'a> {
    files: Vec<SourceFile>,
    /// The documents of files that are included without inputs.
    documents: HashMap<String, Option<Rc<Document>>>,
    /// The files that are being parsed, each included by the previous one.
    chain: Vec<String>,
    /// Number of files to read, including those that could not be read.
    attempts: usize,
    bytes: usize,
    source: &'a dyn RepositoryFiles,
    settings: &'a TranslateOptions,
    log: &'a mut Log,
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
        let mut merger = Merger::default();
        let path = Path::default().key("include");
        for (at, item) in values::list(&include.value).into_iter().enumerate() {
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
        merger.add(&own, None, &path, self.log);
        Some(Document { root: merger.document?, conditions: merger.conditions })
    }

    /// Returns the tree of a file, with the values of its inputs.
    fn tree(&mut self, text: &str, index: usize, given: Option<&MapEntry>, at: Location) -> Option<Rc<Node>> {
        let path = Path::default().key("include").key("inputs");
        let built = match inputs::split(text) {
            None => {
                if let Some(entry) = given.filter(|entry| !values::entries(&entry.value).is_empty()) {
                    let message =
                        "the included file declares no inputs: it has no header with `spec: inputs`";
                    self.log.invalid(&path, entry.key_location, message);
                    return None;
                }
                build_gitlab_file(text, index)
            }
            Some((header, rest)) => {
                let header = self.built(build_gitlab_file(header, index))?;
                let spec = header.get("spec")?;
                let inputs: Inputs = inputs::resolve(&spec.value, given, at, &path, self.log)?;
                let settings = self.settings;
                let variable = |name: &str| include_variable(name, settings);
                let first_line = index * LINES_PER_FILE;
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
        match built {
            Ok(mut tree) => {
                self.log.findings.append(&mut tree.findings);
                tree.root
            }
            Err(finding) => {
                self.log.findings.push(*finding);
                None
            }
        }
    }

    /// Adds the files of one item of `include`.
    fn item(&mut self, item: &Rc<Node>, path: &Path, merger: &mut Merger) {
        let mut local = values::text(item).map(|_| item);
        let (mut given, mut condition) = (None, None);
        for entry in values::entries(item) {
            if let Some((_, why)) = UNSUPPORTED_INCLUDES.iter().find(|(key, _)| *key == entry.key) {
                self.log.unsupported(path, entry, why, "");
                return;
            }
            match entry.key.as_str() {
                "local" => local = Some(&entry.value),
                "inputs" => given = Some(entry),
                "rules" => {
                    // Variables of the file are not known where files are included.
                    let scope = Scope::default();
                    let rules = rules::read(&entry.value, &path.key("rules"), true, &scope, self.log);
                    condition = Some((rules::any_holds(&rules), entry));
                }
                "file" | "ref" => {}
                _ => self.log.unknown_key(
                    path,
                    entry,
                    &["local", "project", "remote", "template", "component", "inputs", "rules"],
                ),
            }
        }
        let condition = match condition {
            Some((condition, _)) if condition.as_constant() == Some(false) => return,
            Some((condition, entry)) if condition.as_constant().is_none() => {
                if condition.len() > MAX_CONDITION_BYTES {
                    self.log.invalid(&path.key("rules"), entry.key_location, too_long_condition());
                    return;
                }
                Some((Rc::new(condition), entry))
            }
            _ => None,
        };
        let Some((text, node)) = local.and_then(|local| values::text(local).map(|text| (text, local))) else {
            // An unknown key is error enough.
            if !self.log.has_errors() {
                self.log.wrong_type(path, item, "the path of a file, or a list of paths");
            }
            return;
        };
        for file in self.paths(text, node, path) {
            if let Some(document) = self.file(&file, node, path, given) {
                merger.add(&document, condition.as_ref(), path, self.log);
            }
        }
    }

    /// Returns the paths of the files that an include names.
    fn paths(&mut self, written: &str, node: &Node, path: &Path) -> Vec<String> {
        let location = node.location;
        if written.contains("://") {
            let (_, why) = UNSUPPORTED_INCLUDES[1];
            self.log.unsupported_at(path, location, &quoted(written), why, "");
            return Vec::new();
        }
        let mut text = String::with_capacity(written.len());
        for piece in pieces(written) {
            match piece {
                Piece::Text(literal) => text.push_str(&literal),
                Piece::Name(name) => {
                    let Some(value) = include_variable(&name, self.settings) else {
                        let message = format!(
                            "`${name}` is not known where files are included: variables of the file are not, as in GitLab"
                        );
                        let help = format!(
                            "write the path itself, or set the variable for the repository (`tidemill variable set {name}`) or one run (`-e`)"
                        );
                        self.log.invalid_with_help(path, location, message, &help);
                        return Vec::new();
                    };
                    text.push_str(&value);
                }
            }
        }
        if text.contains('*') {
            return self.matching(&text, location, path);
        }
        match include_path(&text) {
            Ok(file) => vec![file],
            Err((message, help)) => {
                self.log.invalid_with_help(path, location, message, help);
                Vec::new()
            }
        }
    }

    /// Returns the paths of the files that a pattern matches.
    fn matching(&mut self, pattern: &str, location: Location, path: &Path) -> Vec<String> {
        let literal = pattern.strip_prefix("./").or_else(|| pattern.strip_prefix('/')).unwrap_or(pattern);
        let before = literal.split('*').next().unwrap_or_default();
        let directory = before.rsplit_once('/').map_or("", |(directory, _)| directory);
        let Some(matcher) = file_matcher(literal) else {
            self.log.invalid(path, location, format!("{} is not a pattern of files", quoted(pattern)));
            return Vec::new();
        };
        let is_yaml =
            |file: &str| file.rsplit_once('.').is_some_and(|(_, end)| matches!(end, "yml" | "yaml"));
        match self.source.list(directory) {
            Ok(files) => {
                let mut files: Vec<String> =
                    files.into_iter().filter(|file| is_yaml(file) && matcher.is_match(file)).collect();
                files.sort();
                if files.is_empty() {
                    let message = format!("{} matches no file of the repository", quoted(pattern));
                    self.unreadable(message, location, path);
                }
                files
            }
            Err(why) => {
                let message = format!("the files of {} cannot be listed: {why}", quoted(pattern));
                self.unreadable(message, location, path);
                Vec::new()
            }
        }
    }

    fn unreadable(&mut self, message: String, location: Location, path: &Path) {
        let location = FindingLocation::Position(path.clone(), location);
        self.log.findings.push(
            Finding::error("include-unreadable", location, message)
                .help("paths are those of the repository, from its top"),
        );
    }

    fn file(&mut self, file: &str, at: &Node, path: &Path, given: Option<&MapEntry>) -> Option<Rc<Document>> {
        if self.chain.iter().any(|before| before == file) {
            let message = format!("these files include each other: {} -> {file}", self.chain.join(" -> "));
            self.log.invalid(path, at.location, message);
            return None;
        }
        if let (Some(document), None) = (self.documents.get(file), given) {
            return document.clone();
        }
        self.attempts += 1;
        if self.attempts > MAX_INCLUDES || self.chain.len() > MAX_DEPTH {
            let message = format!("a pipeline includes at most {MAX_INCLUDES} files, {MAX_DEPTH} deep");
            self.log.invalid(path, at.location, message);
            return None;
        }
        let text = self.source.read(file).and_then(|text| {
            let fits = text.len() <= MAX_FILE_BYTES;
            if fits { Ok(text) } else { Err(format!("it has more than {MAX_FILE_BYTES} bytes")) }
        });
        let document = match text {
            Ok(text) => {
                self.bytes += text.len();
                if self.bytes > MAX_TOTAL_BYTES {
                    self.log.invalid(path, at.location, too_many_bytes());
                    return None;
                }
                let text = without_byte_order_mark(&text).to_owned();
                let index = self.files.len();
                self.files.push(SourceFile { name: file.to_owned(), text: text.clone() });
                self.chain.push(file.to_owned());
                let document = self.parse(&text, index, given, at.location).map(Rc::new);
                self.chain.pop();
                document
            }
            Err(why) => {
                self.unreadable(format!("{} cannot be read: {why}", quoted(file)), at.location, path);
                None
            }
        };
        if given.is_none() {
            self.documents.insert(file.to_owned(), document.clone());
        }
        document
    }
}

fn too_many_bytes() -> String {
    format!("all files together have more than {MAX_TOTAL_BYTES} bytes")
}

/// Returns what matches the files of a pattern; `None` if it is not one.
fn file_matcher(pattern: &str) -> Option<globset::GlobSet> {
    check_inside(pattern).ok()?;
    let glob = globset::GlobBuilder::new(pattern).literal_separator(true).build().ok()?;
    globset::GlobSetBuilder::new().add(glob).build().ok()
}

/// Returns the value of a variable that is known where files are included: those that are set outside of the file.
fn include_variable(name: &str, settings: &TranslateOptions) -> Option<String> {
    let external = &settings.external;
    match name {
        "CI" => Some("true".to_owned()),
        "CI_CONFIG_PATH" => Some(".gitlab-ci.yml".to_owned()),
        // Its value would be shown with the path.
        _ if external.hidden.contains(name) => None,
        _ => external.values.get(name).cloned(),
    }
}

/// Whether the keys that jobs inherit are only `interruptible`.
fn is_interruptible_only(default: &Node) -> bool {
    let keys = values::entries(default);
    !keys.is_empty() && keys.iter().all(|entry| entry.key == "interruptible")
}

/// Merges documents, some of which apply under a condition only.
#[derive(Default)]
struct Merger {
    document: Option<Rc<Node>>,
    /// The conditions of jobs and templates, by name.
    conditions: HashMap<String, Rc<CelExpr>>,
}

impl Merger {
    /// Lays a document over those before it.
    fn add(
        &mut self,
        document: &Document,
        condition: Option<&(Rc<CelExpr>, &MapEntry)>,
        path: &Path,
        log: &mut Log,
    ) {
        let Document { root, conditions } = document;
        let without;
        let mut root = root;
        if condition.is_some()
            && let Some(entry) = root.get("default").filter(|entry| is_interruptible_only(&entry.value))
        {
            let why = "executions are canceled as a whole, regardless of included files";
            values::entries(&entry.value)
                .iter()
                .for_each(|part| log.ignored(&path.key("default"), part, why));
            let others = values::entries(root).iter().filter(|other| other.key != entry.key).cloned();
            without = Rc::new(Node::mapping(others.collect(), root.location));
            root = &without;
        }
        if let Some((_, rules)) = condition {
            for entry in values::entries(root) {
                if keys::TOP.contains(&entry.key.as_str()) {
                    let message = format!(
                        "a file that is included under a condition can only have jobs here, and this one has `{}`",
                        entry.key
                    );
                    let help = "move that key to a file that is always included";
                    log.invalid_with_help(&path.key("rules"), rules.key_location, message, help);
                    return;
                }
            }
        }
        let mut joined = JoinedConditions::default();
        for entry in values::entries(root) {
            let at = condition.map_or(entry.key_location, |(_, rules)| rules.key_location);
            let inner = conditions.get(&entry.key);
            let outer = condition.map(|(condition, _)| condition);
            let own = match (inner, outer) {
                (Some(inner), Some(outer)) => joined.join(outer, inner, CelExpr::and),
                (one, other) => Ok(one.or(other).cloned()),
            };
            let known = self.document.as_ref().and_then(|base| base.get(&entry.key));
            let known_condition = self.conditions.get(&entry.key);
            let is_shared = known.is_some_and(|known| !Rc::ptr_eq(&known.value, &entry.value));
            let is_conditional = known_condition.is_some() || !matches!(own, Ok(None));
            if is_shared && is_conditional {
                let message = format!(
                    "{} is in several files, one of which is included under a condition, which is not supported",
                    quoted(&entry.key)
                );
                log.invalid_with_help(path, at, message, "give it another name in one of them");
                return;
            }
            // The same job, included twice, runs if one of the two includes applies.
            let either = match (known, own) {
                (None, own) => own,
                (Some(_), Ok(own)) => match (known_condition, own) {
                    (Some(known), Some(own)) => joined.join(known, &own, CelExpr::or),
                    _ => Ok(None),
                },
                (Some(_), Err(why)) => Err(why),
            };
            match either {
                Ok(Some(condition)) => {
                    self.conditions.insert(entry.key.clone(), condition);
                }
                Ok(None) => {
                    self.conditions.remove(&entry.key);
                }
                Err(TooLong) => {
                    log.invalid(path, at, too_long_condition());
                    return;
                }
            }
        }
        self.document = Some(match &self.document {
            Some(base) => merge(base, root),
            None => Rc::clone(root),
        });
    }
}
