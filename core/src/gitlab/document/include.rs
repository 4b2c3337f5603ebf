//! One document from a GitLab file and the files of the same repository that it includes.

use std::collections::HashMap;
use std::rc::Rc;

use crate::gitlab::findings::Log;
use crate::gitlab::values;
use crate::pipeline::compose::include::{MAX_FILES, MAX_INCLUDE_DEPTH, ReadFile, SourceFile, include_path};
use crate::pipeline::compose::merge::merged;
use crate::pipeline::finding::{Finding, FindingLocation, Path, quoted};
use crate::pipeline::yaml::build_gitlab_file;
use crate::pipeline::yaml::limits::MAX_FILE_BYTES;
use crate::pipeline::yaml::tree::{Kind, MapEntry, Node, alias_bomb};

/// Kinds of `include` that lie elsewhere, and what to do instead.
const UNSUPPORTED_INCLUDES: [(&str, &str); 4] = [
    ("project", "it is a file of another repository; copy it into this one and include it with `local`"),
    ("remote", "it is a file of the network; copy it into the repository and include it with `local`"),
    ("template", "it comes with GitLab; copy it into the repository and include it with `local`"),
    ("component", "it is a component of GitLab's catalogue; copy what it does into the repository"),
];

/// The document of a file, called `name`, with those that it includes below it, and all of these files.
pub(crate) fn read(
    name: &str,
    text: &str,
    read: &ReadFile<'_>,
    log: &mut Log,
) -> (Option<Rc<Node>>, Vec<SourceFile>) {
    let mut loader = Loader {
        files: vec![SourceFile { name: name.to_owned(), text: text.to_owned() }],
        done: HashMap::new(),
        chain: vec![include_path(name).unwrap_or_else(|_| name.to_owned())],
        attempts: 0,
        read,
        log,
    };
    let root = loader.parsed(text, 0);
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
    done: HashMap<String, Option<Rc<Node>>>,
    /// The files that are being read, each included by the one before.
    chain: Vec<String>,
    /// How many files were to be read, those included that could not be.
    attempts: usize,
    read: &'a ReadFile<'a>,
    log: &'a mut Log,
}

impl Loader<'_> {
    fn parsed(&mut self, text: &str, index: usize) -> Option<Rc<Node>> {
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
                self.log.wrong(
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
                // The rest is not refused one by one.
                let message = format!("a file includes at most {MAX_FILES} files");
                self.log.wrong(&path, item.location, message);
                break;
            }
            if let Some(document) = self.item(item, &path) {
                base = Some(base.map_or_else(|| Rc::clone(&document), |base| merged(&base, &document)));
            }
        }
        let own: Vec<MapEntry> =
            mapping.entries.iter().filter(|entry| entry.key != "include").cloned().collect();
        let own = Rc::new(Node::mapping(own, root.location));
        Some(base.map_or_else(|| Rc::clone(&own), |base| merged(&base, &own)))
    }

    fn item(&mut self, item: &Rc<Node>, path: &Path) -> Option<Rc<Node>> {
        if let Some(text) = values::text(item) {
            if text.contains("://") {
                let (_, why) = UNSUPPORTED_INCLUDES[1];
                self.log.refused_at(path, item.location, &quoted(text), why, "");
                return None;
            }
            return self.file(text, item, path);
        }
        let mut wanted = None;
        let entries = values::entries(item);
        for entry in entries {
            if let Some((_, why)) = UNSUPPORTED_INCLUDES.iter().find(|(key, _)| *key == entry.key) {
                self.log.refused(path, entry, why, "");
                return None;
            }
            match entry.key.as_str() {
                "local" => wanted = Some(&entry.value),
                "rules" => self.log.refused(
                    path,
                    entry,
                    "a file is included always or not at all",
                    "move the rules to the jobs of that file",
                ),
                "inputs" => self.log.refused(
                    path,
                    entry,
                    "files are included as they are",
                    "write the values into that file",
                ),
                "file" | "ref" => {}
                _ => self.log.unknown(path, entry, &["local", "project", "remote", "template", "component"]),
            }
        }
        if let Some((text, node)) = wanted.and_then(|wanted| values::text(wanted).map(|text| (text, wanted)))
        {
            self.file(text, node, path)
        } else {
            self.log.wrong_type(path, item, "the path of a file, or a list of such");
            None
        }
    }

    fn file(&mut self, written: &str, at: &Node, path: &Path) -> Option<Rc<Node>> {
        let file = match include_path(written) {
            Ok(file) => file,
            Err((message, help)) => {
                self.log.wrong_with_help(path, at.location, message, help);
                return None;
            }
        };
        if self.chain.contains(&file) {
            let message = format!("these files include each other: {} -> {file}", self.chain.join(" -> "));
            self.log.wrong(path, at.location, message);
            return None;
        }
        if let Some(done) = self.done.get(&file) {
            return done.clone();
        }
        self.attempts += 1;
        if self.attempts >= MAX_FILES || self.chain.len() > MAX_INCLUDE_DEPTH {
            let message = format!(
                "a pipeline is made from at most {MAX_FILES} files, which include each other at most {MAX_INCLUDE_DEPTH} deep"
            );
            self.log.wrong(path, at.location, message);
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
                let document = self.parsed(&text, index);
                self.chain.pop();
                document
            }
            Err(why) => {
                let spot = FindingLocation::Text(path.clone(), at.location);
                let message = format!("{} cannot be read: {why}", quoted(&file));
                self.log.findings.push(
                    Finding::error("include-unreadable", spot, message)
                        .help("paths are those of the repository, from its top"),
                );
                None
            }
        };
        self.done.insert(file, document.clone());
        document
    }
}
