//! `include`: composes a document from a file and those that it includes, which the caller reads.

use std::collections::HashMap;
use std::rc::Rc;

use super::merge::merge;
use crate::pipeline::finding::{Finding, FindingLocation, Path, quoted};
use crate::pipeline::names;
use crate::pipeline::yaml::build_file;
use crate::pipeline::yaml::limits::MAX_FILE_BYTES;
use crate::pipeline::yaml::tree::{Kind, MapEntry, Node, Tree};

/// Maximum number of files of one pipeline.
pub const MAX_FILES: usize = 50;

/// Maximum depth of nested includes.
pub const MAX_INCLUDE_DEPTH: usize = 10;

/// A source file of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path in the repository; for the first file, the name that the caller passed.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Reads a file of the repository by its path. An error message follows "cannot be read: ".
pub type ReadFile<'a> = dyn Fn(&str) -> Result<String, String> + 'a;

/// The files of a repository, at one commit or in a working directory.
pub trait RepositoryFiles {
    /// Returns the text of a file by its path from the root.
    ///
    /// # Errors
    /// Returns a message that follows "cannot be read: ".
    fn read(&self, path: &str) -> Result<String, String>;

    /// Returns the paths of the files in a directory and below it; an empty path is the root.
    ///
    /// # Errors
    /// Returns a message that follows "cannot be listed: ".
    fn list(&self, directory: &str) -> Result<Vec<String>, String>;
}

/// Files that can only be read.
impl<F: Fn(&str) -> Result<String, String>> RepositoryFiles for F {
    fn read(&self, path: &str) -> Result<String, String> {
        self(path)
    }

    fn list(&self, _: &str) -> Result<Vec<String>, String> {
        Err("only single files are known here".to_owned())
    }
}

/// A document composed from a file and its includes.
pub(crate) struct ComposedDocument {
    pub(crate) files: Vec<SourceFile>,
    pub(crate) tree: Tree,
}

/// Whether a document includes files.
pub(crate) fn is_used(tree: &Tree) -> bool {
    tree.root.as_ref().is_some_and(|root| root.get("include").is_some())
}

/// Merges the document of the file `name` over those that it includes, and returns it with all files.
pub(crate) fn compose(name: &str, text: &str, tree: Tree, read: &ReadFile<'_>) -> ComposedDocument {
    let mut loader = FileLoader {
        files: vec![SourceFile { name: name.to_owned(), text: text.to_owned() }],
        findings: Vec::new(),
        done: HashMap::new(),
        chain: vec![name.to_owned()],
        attempts: 0,
        read,
    };
    let root = loader.document(tree);
    ComposedDocument { files: loader.files, tree: Tree { root, findings: loader.findings } }
}

struct FileLoader<'a> {
    files: Vec<SourceFile>,
    findings: Vec<Finding>,
    done: HashMap<String, Option<Rc<Node>>>,
    /// The files being read, each included by the previous one.
    chain: Vec<String>,
    /// Number of attempts to read a file, failed ones included.
    attempts: usize,
    read: &'a ReadFile<'a>,
}

impl FileLoader<'_> {
    /// Merges the document of a file over those that it includes.
    fn document(&mut self, mut tree: Tree) -> Option<Rc<Node>> {
        self.findings.append(&mut tree.findings);
        let root = tree.root?;
        let Kind::Mapping(mapping) = &root.kind else {
            if !root.is_null() {
                let spot = FindingLocation::Position(Path::default(), root.location);
                self.findings.push(Finding::error(
                    "wrong-type",
                    spot,
                    "a pipeline file is a mapping of keys to values",
                ));
            }
            return None;
        };
        let Some(include) = root.get("include") else { return Some(root) };
        let mut base: Option<Rc<Node>> = None;
        let path = Path::default().key("include");
        let items: Vec<(Path, Rc<Node>)> = match &include.value.kind {
            Kind::Sequence(items) => {
                items.iter().enumerate().map(|(at, item)| (path.index(at), Rc::clone(item))).collect()
            }
            _ => vec![(path, Rc::clone(&include.value))],
        };
        for (at, (path, item)) in items.into_iter().enumerate() {
            if at == MAX_FILES {
                // The remaining files are not reported one by one.
                let message = format!("a file includes at most {MAX_FILES} files");
                let spot = FindingLocation::Position(path, item.location);
                self.findings
                    .push(Finding::error("too-many-files", spot, message).help("merge some of them"));
                break;
            }
            if let Some(document) = self.item(&path, &item) {
                base = Some(self.laid_over(base.as_ref(), &document));
            }
        }
        let own = mapping.entries.iter().filter(|entry| entry.key != "include").cloned().collect();
        Some(self.laid_over(base.as_ref(), &Rc::new(Node::mapping(own, root.location))))
    }

    fn laid_over(&mut self, base: Option<&Rc<Node>>, over: &Rc<Node>) -> Rc<Node> {
        let Some(base) = base else { return Rc::clone(over) };
        let list = |entry: &&MapEntry| matches!(entry.value.kind, Kind::Sequence(_));
        if let (Some(below), Some(above)) = (base.get("jobs"), over.get("jobs"))
            && let Some(list) = [above, below].into_iter().find(list)
        {
            let spot = FindingLocation::Position(Path::default().key("jobs"), list.key_location);
            let message = "`jobs` is a list here, and lists of several files cannot be put together";
            self.findings.push(
                Finding::error("wrong-type", spot, message)
                    .help("write the jobs as a mapping of names to jobs"),
            );
        }
        merge(base, over)
    }

    fn item(&mut self, path: &Path, item: &Node) -> Option<Rc<Node>> {
        let wrong = |findings: &mut Vec<Finding>, spot: FindingLocation, message: String, help: &str| {
            findings.push(Finding::error("bad-include", spot, message).help(help));
        };
        let (written, spot) = match &item.kind {
            Kind::Scalar { text, .. } if !item.is_null() => {
                (text, FindingLocation::Position(path.clone(), item.location))
            }
            Kind::Mapping(mapping) => {
                if let Some(other) = mapping.entries.iter().find(|entry| entry.key != "local") {
                    let spot = FindingLocation::Position(path.key(&other.key), other.key_location);
                    let message = format!("`include` has no key {}", quoted(&other.key));
                    let help = "only files of the same repository can be included: `include: ci/base.yml`";
                    wrong(&mut self.findings, spot, message, help);
                    return None;
                }
                match mapping.entries.first().map(|entry| (&entry.value, &entry.value.kind)) {
                    Some((value, Kind::Scalar { text, .. })) if !value.is_null() => {
                        (text, FindingLocation::Position(path.key("local"), value.location))
                    }
                    _ => {
                        let spot = FindingLocation::Position(path.clone(), item.location);
                        let message = "an item of `include` names no file".to_owned();
                        wrong(&mut self.findings, spot, message, "write `include: ci/base.yml`");
                        return None;
                    }
                }
            }
            _ => {
                let spot = FindingLocation::Position(path.clone(), item.location);
                let message = "`include` takes the path of a file, or a list of paths".to_owned();
                wrong(&mut self.findings, spot, message, "write `include: ci/base.yml`");
                return None;
            }
        };
        match include_path(written) {
            Ok(file) => self.file(&file, spot),
            Err((message, help)) => {
                wrong(&mut self.findings, spot, message, help);
                None
            }
        }
    }

    fn file(&mut self, file: &str, spot: FindingLocation) -> Option<Rc<Node>> {
        if let Some(start) =
            self.chain.iter().position(|before| include_path(before).is_ok_and(|path| path == file))
        {
            let mut cycle: Vec<&str> = self.chain[start..].iter().map(String::as_str).collect();
            cycle.push(file);
            let message = format!("these files include each other: {}", cycle.join(" -> "));
            self.findings.push(Finding::error("include-cycle", spot, message).help("remove one of these"));
            return None;
        }
        if let Some(done) = self.done.get(file) {
            return done.clone();
        }
        self.attempts += 1;
        let rejection = if self.attempts >= MAX_FILES {
            Some(format!("a pipeline consists of at most {MAX_FILES} files"))
        } else if self.chain.len() > MAX_INCLUDE_DEPTH {
            Some(format!("files include each other more than {MAX_INCLUDE_DEPTH} deep here"))
        } else {
            None
        };
        if let Some(message) = rejection {
            self.findings.push(Finding::error("too-many-files", spot, message).help("merge some of them"));
            return None;
        }
        let text = match (self.read)(file) {
            Ok(text) if text.len() > MAX_FILE_BYTES => {
                Err(format!("it has more than {MAX_FILE_BYTES} bytes"))
            }
            other => other,
        };
        let document = match text {
            Err(why) => {
                let message = format!("{} cannot be read: {why}", quoted(file));
                self.findings.push(
                    Finding::error("include-unreadable", spot, message)
                        .help("paths are relative to the root of the repository"),
                );
                None
            }
            Ok(text) => {
                let index = self.files.len();
                let built = build_file(&text, index);
                self.files.push(SourceFile { name: file.to_owned(), text });
                match built {
                    Err(finding) => {
                        self.findings.push(*finding);
                        None
                    }
                    Ok(tree) => {
                        self.chain.push(file.to_owned());
                        let document = self.document(tree);
                        self.chain.pop();
                        document
                    }
                }
            }
        };
        self.done.insert(file.to_owned(), document.clone());
        document
    }
}

/// The path from the root of the repository that an `include` names.
pub(crate) fn include_path(written: &str) -> Result<String, (String, &'static str)> {
    let path = written.strip_prefix("./").or_else(|| written.strip_prefix('/')).unwrap_or(written);
    if written.contains("://") {
        let message = format!("{} is not a file of this repository", quoted(written));
        return Err((message, "copy it into the repository"));
    }
    if path.contains(['*', '?', '\\']) || path.contains(char::is_control) {
        let message = format!("{} is not the path of one file", quoted(written));
        return Err((message, "name each file"));
    }
    if path.is_empty() || path.ends_with('/') || names::climbs_out(path) {
        let message = format!("{} is not the path of a file in the repository", quoted(written));
        return Err((message, "write it relative to the root of the repository, without `..`"));
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    Ok(parts.join("/"))
}
