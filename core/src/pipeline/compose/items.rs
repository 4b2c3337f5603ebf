//! The items of `include` in a pipeline file.

use std::rc::Rc;

use crate::pipeline::finding::{Finding, FindingLocation, Path, quoted};
use crate::pipeline::yaml::tree::{Kind, MapEntry, Node};

/// What is written where an item is wrong.
const EXAMPLE: &str = "write `include: ci/base.yml`";
const GIT_EXAMPLE: &str = "write `include: { git: https://HOST/PATH, ref: v2, file: ci/base.yml }`";
/// Keys of an item.
const KEYS: [&str; 5] = ["local", "git", "ref", "file", "with"];

/// An item of `include`.
pub(crate) struct Item<'a> {
    pub(crate) files: ItemFiles<'a>,
    /// The values of the inputs of its files.
    pub(crate) with: Option<&'a MapEntry>,
}

/// A text, and where it is.
pub(crate) type LocatedText<'a> = (&'a str, FindingLocation);

/// The files of an item.
pub(crate) enum ItemFiles<'a> {
    /// A file of the same repository.
    Local(LocatedText<'a>),
    /// Files of another repository.
    Git { url: LocatedText<'a>, reference: Option<LocatedText<'a>>, files: Vec<LocatedText<'a>> },
}

fn bad(location: FindingLocation, message: String, help: &str) -> Box<Finding> {
    Box::new(Finding::error("bad-include", location, message).help(help))
}

fn text(node: &Node) -> Option<&str> {
    match &node.kind {
        Kind::Scalar { text, .. } if !node.is_null() => Some(text),
        _ => None,
    }
}

impl<'a> Item<'a> {
    /// Reads an item, or returns what is wrong with it.
    pub(crate) fn read(item: &'a Rc<Node>, path: &Path) -> Result<Self, Box<Finding>> {
        let location = || FindingLocation::Position(path.clone(), item.location);
        let Kind::Mapping(mapping) = &item.kind else {
            let file = text(item).ok_or_else(|| {
                let message = "`include` takes the path of a file, or a list of paths".to_owned();
                bad(location(), message, EXAMPLE)
            })?;
            return Ok(Self { files: ItemFiles::Local((file, location())), with: None });
        };
        if let Some(other) = mapping.entries.iter().find(|entry| !KEYS.contains(&entry.key.as_str())) {
            let spot = FindingLocation::Position(path.key(&other.key), other.key_location);
            let message = format!("`include` has no key {}", quoted(&other.key));
            let help = match other.key.as_str() {
                "project" | "component" | "remote" | "template" => {
                    "a file of another repository is included with `git: URL`, `ref` and `file`"
                }
                "inputs" => "values of inputs are written under `with`",
                _ => "its keys are `local`, or `git`, `ref` and `file`; and `with`",
            };
            return Err(bad(spot, message, help));
        }
        let located = |entry: &'a MapEntry| {
            let location = FindingLocation::Position(path.key(&entry.key), entry.value.location);
            text(&entry.value).map(|text| (text, location))
        };
        let entry = |key: &str| mapping.get(key);
        let with = entry("with");
        let wrong = |entry: &MapEntry, expected: &str| {
            let spot = FindingLocation::Position(path.key(&entry.key), entry.key_location);
            bad(spot, format!("`{}` of an include takes {expected}", entry.key), GIT_EXAMPLE)
        };
        let Some(git) = entry("git") else {
            if let Some(other) = entry("ref").or_else(|| entry("file")) {
                let spot = FindingLocation::Position(path.key(&other.key), other.key_location);
                let message = format!("`{}` needs `git`, the address of a repository", other.key);
                return Err(bad(spot, message, GIT_EXAMPLE));
            }
            let local = entry("local")
                .and_then(located)
                .ok_or_else(|| bad(location(), "an item of `include` names no file".to_owned(), EXAMPLE))?;
            return Ok(Self { files: ItemFiles::Local(local), with });
        };
        if let Some(local) = entry("local") {
            let spot = FindingLocation::Position(path.key("local"), local.key_location);
            let message = "an item of `include` has `local` or `git`, not both".to_owned();
            return Err(bad(spot, message, GIT_EXAMPLE));
        }
        let url = located(git).ok_or_else(|| wrong(git, "the address of a repository"))?;
        let reference = match entry("ref") {
            None => None,
            Some(entry) => Some(located(entry).ok_or_else(|| wrong(entry, "a branch, a tag or a commit"))?),
        };
        let file = entry("file").ok_or_else(|| {
            let message = "an item of `include` with `git` names no `file`".to_owned();
            bad(location(), message, GIT_EXAMPLE)
        })?;
        let expected = "the path of a file, or a list of paths";
        let files = match &file.value.kind {
            Kind::Sequence(items) if !items.is_empty() => {
                let path = path.key("file");
                let located = |(at, item): (usize, &'a Rc<Node>)| {
                    Some((text(item)?, FindingLocation::Position(path.index(at), item.location)))
                };
                items.iter().enumerate().map(located).collect::<Option<Vec<_>>>()
            }
            _ => located(file).map(|file| vec![file]),
        };
        let files = files.ok_or_else(|| wrong(file, expected))?;
        Ok(Self { files: ItemFiles::Git { url, reference, files }, with })
    }
}
