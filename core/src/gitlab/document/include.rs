//! Merges a GitLab file with the files of the same repository that it includes.

use std::collections::HashMap;
use std::rc::Rc;

use crate::gitlab::findings::Log;
use crate::gitlab::values;
use crate::pipeline::compose::include::{MAX_FILES, MAX_INCLUDE_DEPTH, ReadFile, SourceFile, include_path};
use crate::pipeline::compose::merge::merge;
use crate::pipeline::finding::{Finding, FindingLocation, Path, quoted};
use crate::pipeline::yaml::build_gitlab_file;
use crate::pipeline::yaml::limits::MAX_FILE_BYTES;
use crate::pipeline::yaml::tree::{Kind, MapEntry, Node, alias_bomb};

/// Unsupported kinds of `include`, and what to do instead.
const UNSUPPORTED_INCLUDES: [(&str, &str); 4] = [
    ("project", "it is a file of another repository; copy it into this one and include it with `local`"),
    ("remote", "it is a file on the network; copy it into the repository and include it with `local`"),
    ("template", "it comes with GitLab; copy it into the repository and include it with `local`"),
    ("component", "it is a component of GitLab's catalogue; copy what it does into the repository"),
];

/// Returns the document of the file `name` merged with its includes, and all these files.
pub(crate) fn read(
    name: &str,
    text: &str,
    read: &ReadFile<'_>,
    log: &mut Log,
) -> (Option<Rc<Node>>, Vec<SourceFile>) {
    let mut loader = Loader {
        files: vec![SourceFile { name: name.to_owned(), text: text.to_owned() }],
        documents: HashMap::new(),
        chain: vec![include_path(name).unwrap_or_else(|_| name.to_owned())],
        attempts: 0,
        read,
        log,
    };
    let root = loader.parse(text, 0);
    if let Some(root) = &root
        && root.is_too_large()
    {
        loader.log.findings.push(*alias_bomb(root.location));
        return (None, loader.files);
    }
    (root, loader.files)
}

struct Loader<'a> {
    files: Vec<SourceFile>,
    documents: HashMap<String, Option<Rc<Node>>>,
    /// The files that are being parsed, each included by the previous one.
    chain: Vec<String>,
    /// Number of files to read, including those that could not be read.
    attempts: usize,
    read: &'a ReadFile<'a>,
    log: &'a mut Log,
}

impl Loader<'_> {
    fn parse(&mut self, text: &str, index: usize) -> Option<Rc<Node>> {
        let mut tree = match build_gitlab_file(text, index) {
            Ok(tree) => tree,
            Err(finding) => {
                self.log.findings.push(*finding);
                return None;
            }
        };
        self.log.findings.append(&mut tree.findings);
        let root = tree.root?;
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
        let Some(include) = root.get("include") else { return Some(root) };
        let mut base: Option<Rc<Node>> = None;
        let path = Path::default().key("include");
        for (at, item) in values::list(&include.value).into_iter().enumerate() {
            if at == MAX_FILES {
                // Further items are not reported one by one.
                let message = format!("a file includes at most {MAX_FILES} files");
                self.log.invalid(&path, item.location, message);
                break;
            }
            if let Some(document) = self.item(item, &path) {
                base = Some(base.map_or_else(|| Rc::clone(&document), |base| merge(&base, &document)));
            }
        }
        let own: Vec<MapEntry> =
            mapping.entries.iter().filter(|entry| entry.key != "include").cloned().collect();
        let own = Rc::new(Node::mapping(own, root.location));
        Some(base.map_or_else(|| Rc::clone(&own), |base| merge(&base, &own)))
    }

    fn item(&mut self, item: &Rc<Node>, path: &Path) -> Option<Rc<Node>> {
        if let Some(text) = values::text(item) {
            if text.contains("://") {
                let (_, why) = UNSUPPORTED_INCLUDES[1];
                self.log.unsupported_at(path, item.location, &quoted(text), why, "");
                return None;
            }
            return self.file(text, item, path);
        }
        let mut local = None;
        let entries = values::entries(item);
        for entry in entries {
            if let Some((_, why)) = UNSUPPORTED_INCLUDES.iter().find(|(key, _)| *key == entry.key) {
                self.log.unsupported(path, entry, why, "");
                return None;
            }
            match entry.key.as_str() {
                "local" => local = Some(&entry.value),
                "rules" => self.log.unsupported(
                    path,
                    entry,
                    "includes cannot be conditional",
                    "move the rules to the jobs of that file",
                ),
                "inputs" => self.log.unsupported(
                    path,
                    entry,
                    "includes take no inputs",
                    "write the values into that file",
                ),
                "file" | "ref" => {}
                _ => self.log.unknown_key(
                    path,
                    entry,
                    &["local", "project", "remote", "template", "component"],
                ),
            }
        }
        if let Some((text, node)) = local.and_then(|local| values::text(local).map(|text| (text, local))) {
            self.file(text, node, path)
        } else {
            self.log.wrong_type(path, item, "the path of a file, or a list of paths");
            None
        }
    }

    fn file(&mut self, include: &str, at: &Node, path: &Path) -> Option<Rc<Node>> {
        let file = match include_path(include) {
            Ok(file) => file,
            Err((message, help)) => {
                self.log.invalid_with_help(path, at.location, message, help);
                return None;
            }
        };
        if self.chain.contains(&file) {
            let message = format!("these files include each other: {} -> {file}", self.chain.join(" -> "));
            self.log.invalid(path, at.location, message);
            return None;
        }
        if let Some(document) = self.documents.get(&file) {
            return document.clone();
        }
        self.attempts += 1;
        if self.attempts >= MAX_FILES || self.chain.len() > MAX_INCLUDE_DEPTH {
            let message = format!(
                "a pipeline consists of at most {MAX_FILES} files, with at most {MAX_INCLUDE_DEPTH} levels of includes"
            );
            self.log.invalid(path, at.location, message);
            return None;
        }
        let text = (self.read)(&file).and_then(|text| {
            let fits = text.len() <= MAX_FILE_BYTES;
            if fits { Ok(text) } else { Err(format!("it has more than {MAX_FILE_BYTES} bytes")) }
        });
        let document = match text {
            Ok(text) => {
                let index = self.files.len();
                self.files.push(SourceFile { name: file.clone(), text: text.clone() });
                self.chain.push(file.clone());
                let document = self.parse(&text, index);
                self.chain.pop();
                document
            }
            Err(why) => {
                let location = FindingLocation::Position(path.clone(), at.location);
                let message = format!("{} cannot be read: {why}", quoted(&file));
                self.log.findings.push(
                    Finding::error("include-unreadable", location, message)
                        .help("paths are those of the repository, from its top"),
                );
                None
            }
        };
        self.documents.insert(file, document.clone());
        document
    }
}
