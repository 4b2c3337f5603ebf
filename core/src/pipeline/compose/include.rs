//! `include`: composes a document from a file and those that it includes, which the caller reads.

use std::collections::HashMap;
use std::rc::Rc;

use super::elsewhere::{GitSource, IncludeError};
use super::files::RepositoryFiles;
use super::inputs::{self, GivenInputs};
use super::items::{Item, ItemFiles};
use super::merge::{MergeBudget, Merged, TooManyEntries};
use super::place::{IncludeReader, IncludedFile, Place, Version, check_address};
use crate::pipeline::finding::{Finding, FindingLocation, MAX_FINDINGS, Path, quoted};
use crate::pipeline::names;
use crate::pipeline::yaml::build_file;
use crate::pipeline::yaml::tree::{Kind, Node, Tree};
use crate::repository::RepositoryAddress;
use crate::repository::includes::PinnedInclude;
use crate::text::diagnostics::Location;

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

/// A document composed from a file and its includes.
pub(crate) struct ComposedDocument {
    pub(crate) files: Vec<SourceFile>,
    pub(crate) tree: Tree,
    /// The versions of the files from elsewhere.
    pub(crate) pinned: Vec<PinnedInclude>,
    /// Whether every file could be included.
    pub(crate) is_complete: bool,
}

/// Whether a document includes files.
pub(crate) fn is_used(tree: &Tree) -> bool {
    tree.root.as_ref().is_some_and(|root| root.get("include").is_some())
}

/// Merges the document of the file `name` over those that it includes, and returns it with all files.
pub(crate) fn compose(name: &str, text: &str, tree: Tree, files: &dyn RepositoryFiles) -> ComposedDocument {
    let mut loader = FileLoader {
        files: vec![SourceFile { name: name.to_owned(), text: text.to_owned() }],
        findings: Vec::new(),
        done: HashMap::new(),
        chain: vec![IncludedFile::local(include_path(name).unwrap_or_else(|_| name.to_owned()))],
        attempts: 0,
        has_too_many_files: false,
        is_complete: true,
        budget: MergeBudget::default(),
        reader: IncludeReader::new(files),
    };
    let root = loader.document(tree, None);
    let FileLoader { files, findings, reader, is_complete, .. } = loader;
    ComposedDocument { files, tree: Tree { root, findings }, pinned: reader.pinned, is_complete }
}

struct FileLoader<'a> {
    files: Vec<SourceFile>,
    findings: Vec<Finding>,
    /// The documents of files that are included without inputs.
    done: HashMap<String, Option<Rc<Node>>>,
    /// The files being read, each included by the previous one.
    chain: Vec<IncludedFile>,
    /// Number of attempts to read a file, failed ones included.
    attempts: usize,
    /// Whether there are too many files, which was reported.
    has_too_many_files: bool,
    /// Whether every file could be included so far.
    is_complete: bool,
    budget: MergeBudget,
    reader: IncludeReader<'a>,
}

impl FileLoader<'_> {
    /// Reports why a file cannot be included.
    fn fail(&mut self, finding: Finding) {
        self.is_complete = false;
        self.findings.push(finding);
    }

    /// Whether no more files are included, because there are too many of them or too many errors.
    fn is_exceeded(&self) -> bool {
        self.has_too_many_files || (!self.is_complete && self.findings.len() >= MAX_FINDINGS)
    }

    /// Whether what the file includes must be public: the file, or one that includes it, is public.
    fn is_public(&self) -> bool {
        self.chain.iter().any(|file| file.place.is_public())
    }

    /// Merges the document of a file over those that it includes. `given`: the inputs of an included file.
    fn document(&mut self, mut tree: Tree, given: Option<GivenInputs<'_>>) -> Option<Rc<Node>> {
        self.findings.append(&mut tree.findings);
        let mut root = tree.root?;
        if let Some(given) = given {
            let applied = inputs::apply(&root, given, &mut self.findings);
            self.is_complete &= applied.is_some();
            root = applied?;
        }
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
        let mut merged: Option<Merged> = None;
        let path = Path::default().key("include");
        let items: Vec<(Path, Rc<Node>)> = match &include.value.kind {
            Kind::Sequence(items) => {
                items.iter().enumerate().map(|(at, item)| (path.index(at), Rc::clone(item))).collect()
            }
            _ => vec![(path, Rc::clone(&include.value))],
        };
        for (at, (path, item)) in items.into_iter().enumerate() {
            if self.is_exceeded() {
                break;
            }
            if at == MAX_FILES {
                // The remaining files are not reported one by one.
                let message = format!("a file includes at most {MAX_FILES} files");
                let spot = FindingLocation::Position(path, item.location);
                self.fail(Finding::error("too-many-files", spot, message).help("merge some of them"));
                break;
            }
            for document in self.item(&path, &item) {
                self.lay_over(&mut merged, &document, (&path, item.location));
            }
        }
        let own = mapping.entries.iter().filter(|entry| entry.key != "include").cloned().collect();
        let own = Rc::new(Node::mapping(own, root.location));
        self.lay_over(&mut merged, &own, (&Path::default().key("include"), include.key_location));
        merged.map(Merged::into_node)
    }

    /// Lays a document over those that are merged so far. `place`: that of the include.
    fn lay_over(&mut self, merged: &mut Option<Merged>, over: &Rc<Node>, place: (&Path, Location)) {
        let Some(base) = merged else {
            *merged = Some(Merged::Single(Rc::clone(over)));
            return;
        };
        let is_list = |node: &Rc<Node>| matches!(node.kind, Kind::Sequence(_));
        if let (Some(below), Some(above)) = (base.find("jobs"), over.get("jobs"))
            && let Some(list) = [(above.key_location, Some(&above.value)), (below.key_location, below.single)]
                .into_iter()
                .find(|(_, value)| value.is_some_and(is_list))
        {
            let spot = FindingLocation::Position(Path::default().key("jobs"), list.0);
            let message = "`jobs` is a list here, and lists of several files cannot be put together";
            self.findings.push(
                Finding::error("wrong-type", spot, message)
                    .help("write the jobs as a mapping of names to jobs"),
            );
        }
        if base.add(over, &mut self.budget).is_err() && !self.has_too_many_files {
            let spot = FindingLocation::Position(place.0.clone(), place.1);
            let finding = Finding::error("too-many-files", spot, TooManyEntries::message());
            self.fail(finding.help(TooManyEntries::HELP));
            self.has_too_many_files = true;
        }
    }

    /// Returns the documents of one item of `include`.
    fn item(&mut self, path: &Path, item: &Rc<Node>) -> Vec<Rc<Node>> {
        let Item { files, with } = match Item::read(item, path) {
            Ok(item) => item,
            Err(finding) => {
                self.fail(*finding);
                return Vec::new();
            }
        };
        let (place, files) = match files {
            // A path is one of the repository that has the including file.
            ItemFiles::Local(file) => (self.place(), vec![file]),
            ItemFiles::Git { url, reference, files } => {
                let reference = reference.map(|(reference, _)| reference);
                match self.git_place(url, reference) {
                    Some(place) => (place, files),
                    None => return Vec::new(),
                }
            }
        };
        if let Some((_, spot)) = files.get(MAX_FILES) {
            let message = format!("`file` lists at most {MAX_FILES} files");
            self.fail(Finding::error("too-many-files", spot.clone(), message).help("merge some of them"));
            return Vec::new();
        }
        let with_path = path.key("with");
        let include = FindingLocation::Position(path.clone(), item.location);
        let given = GivenInputs { entry: with, path: &with_path, include: &include };
        let mut documents = Vec::new();
        for (written, spot) in files {
            if self.is_exceeded() {
                break;
            }
            match include_path(written) {
                Ok(path) => {
                    let file = IncludedFile { place: place.clone(), path };
                    documents.extend(self.file(file, spot, given));
                }
                Err((message, help)) => {
                    self.fail(Finding::error("bad-include", spot, message).help(help));
                }
            }
        }
        documents
    }

    /// Returns the place of the file that is being read.
    fn place(&self) -> Place {
        self.chain.last().map_or(Place::Repository, |file| file.place.clone())
    }

    fn git_place(&mut self, (url, spot): (&str, FindingLocation), reference: Option<&str>) -> Option<Place> {
        let own = self.reader.sources().repository();
        let address = match RepositoryAddress::parse(url) {
            Ok(address) => check_address(&address, own).map(|()| address).map_err(str::to_owned),
            Err(error) => Err(error.to_string()),
        };
        let address = match address {
            Ok(address) => address,
            Err(message) => {
                let finding = Finding::error("bad-include", spot, message);
                self.fail(finding.help("write the address as for `git clone`, without a password"));
                return None;
            }
        };
        let name = address.canonical();
        let source = GitSource { address, is_public: self.is_public() };
        match self.reader.git(source, &name, Version::Reference(reference)) {
            Ok(place) => Some(place),
            Err(error) => {
                self.unreadable(error, &name, spot);
                None
            }
        }
    }

    fn unreadable(&mut self, error: IncludeError, label: &str, spot: FindingLocation) {
        self.fail(super::place::Unreadable::from(error).finding(label, spot));
    }

    fn file(
        &mut self,
        file: IncludedFile,
        spot: FindingLocation,
        given: GivenInputs<'_>,
    ) -> Option<Rc<Node>> {
        let key = file.key();
        if let Some(start) = self.chain.iter().position(|before| before.key() == key) {
            let mut cycle: Vec<String> = self.chain[start..].iter().map(IncludedFile::label).collect();
            cycle.push(file.label());
            let message = format!("these files include each other: {}", cycle.join(" -> "));
            self.fail(Finding::error("include-cycle", spot, message).help("remove one of these"));
            // A long list of them is an error about the number of files.
            self.attempts += 1;
            return None;
        }
        if let (Some(done), None) = (self.done.get(&key), given.entry) {
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
            self.fail(Finding::error("too-many-files", spot, message).help("merge some of them"));
            self.has_too_many_files = true;
            return None;
        }
        let label = file.label();
        let document = match self.reader.read(&file, None) {
            Err(error) => {
                self.fail(error.finding(&label, spot));
                None
            }
            Ok(text) => {
                let index = self.files.len();
                let built = build_file(&text, index);
                self.files.push(SourceFile { name: label, text });
                match built {
                    Err(finding) => {
                        self.fail(*finding);
                        None
                    }
                    Ok(tree) => {
                        self.chain.push(file);
                        let document = self.document(tree, Some(given));
                        self.chain.pop();
                        document
                    }
                }
            }
        };
        if given.entry.is_none() {
            self.done.insert(key, document.clone());
        }
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
