//! The items of `include` in a GitLab file.

use std::collections::BTreeMap;
use std::rc::Rc;

use data_encoding::BASE64;
use indexmap::IndexMap;

use super::conditions::{MAX_CONDITION_BYTES, too_long_condition};
use crate::gitlab::conditions::cel::CelExpr;
use crate::gitlab::conditions::rules;
use crate::gitlab::findings::Log;
use crate::gitlab::values;
use crate::gitlab::variables::Scope;
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::yaml::tree::{MapEntry, Node};
use crate::text::diagnostics::Location;

/// The keys that name files; an item has one of them.
const KINDS: [&str; 5] = ["local", "project", "remote", "template", "component"];
/// All keys of an item.
const KEYS: [&str; 10] =
    ["local", "project", "remote", "template", "component", "inputs", "rules", "file", "ref", "integrity"];
/// Maximum number of files of an item: that of a pipeline.
const MAX_LISTED_FILES: usize = 150;
/// Length of a SHA-256 in bytes.
const SHA256_LEN: usize = 32;

/// A text of an item, and where it is.
#[derive(Debug, Clone, Copy)]
pub(in crate::gitlab) struct LocatedText<'a> {
    pub(in crate::gitlab) text: &'a str,
    pub(in crate::gitlab) location: Location,
}

/// The files of an item.
pub(in crate::gitlab) enum IncludeKind<'a> {
    Local(LocatedText<'a>),
    Project { project: LocatedText<'a>, reference: Option<LocatedText<'a>>, files: Vec<LocatedText<'a>> },
    Remote { url: LocatedText<'a>, integrity: Option<Vec<u8>> },
    Template(LocatedText<'a>),
    Component(LocatedText<'a>),
}

impl IncludeKind<'_> {
    /// Returns the SHA-256 that the file must have.
    pub(super) fn integrity(&self) -> Option<&[u8]> {
        match self {
            Self::Remote { integrity, .. } => integrity.as_deref(),
            _ => None,
        }
    }
}

/// An item of `include`.
pub(in crate::gitlab) struct IncludeItem<'a> {
    pub(in crate::gitlab) kind: IncludeKind<'a>,
    /// The values of inputs.
    pub(in crate::gitlab) given: Option<&'a MapEntry>,
    /// When the files are included, with `rules`.
    pub(in crate::gitlab) condition: Option<(Rc<CelExpr>, &'a MapEntry)>,
}

impl<'a> IncludeItem<'a> {
    /// Reads an item, whose `rules` know the variables `of_repository`. `None` if it never applies, or is invalid, which is
    /// reported.
    pub(in crate::gitlab) fn read(
        item: &'a Rc<Node>,
        path: &Path,
        of_repository: &BTreeMap<String, String>,
        log: &mut Log,
    ) -> Option<Self> {
        if let Some(text) = values::text(item) {
            let text = LocatedText { text, location: item.location };
            let kind = if text.text.contains("://") {
                IncludeKind::Remote { url: text, integrity: None }
            } else {
                IncludeKind::Local(text)
            };
            return Some(Self { kind, given: None, condition: None });
        }
        let (mut given, mut condition) = (None, None);
        let before = log.findings.len();
        for entry in values::entries(item) {
            match entry.key.as_str() {
                "inputs" => given = Some(entry),
                "rules" => {
                    // Variables of the file are not known where files are included. Those of the repository decide at once.
                    let scope = Scope::default().within_workflow(of_repository.iter(), false);
                    let rules = rules::read(&entry.value, &path.key("rules"), true, &scope, log);
                    condition = Some((rules::any_holds(&rules), entry));
                }
                key if KEYS.contains(&key) => {}
                _ => log.unknown_key(path, entry, &KEYS),
            }
        }
        let condition = match condition {
            Some((condition, _)) if condition.as_constant() == Some(false) => return None,
            Some((condition, entry)) if condition.as_constant().is_none() => {
                if condition.len() > MAX_CONDITION_BYTES {
                    log.invalid(&path.key("rules"), entry.key_location, too_long_condition());
                    return None;
                }
                Some((Rc::new(condition), entry))
            }
            _ => None,
        };
        if log.findings.len() > before && log.has_errors() {
            return None;
        }
        let kind = Self::kind(item, path, log)?;
        Some(Self { kind, given, condition })
    }

    fn kind(item: &'a Rc<Node>, path: &Path, log: &mut Log) -> Option<IncludeKind<'a>> {
        let mut kinds = values::entries(item).iter().filter(|entry| KINDS.contains(&entry.key.as_str()));
        let Some(entry) = kinds.next() else {
            // An unknown key is error enough.
            if !log.has_errors() {
                log.wrong_type(path, item, "the path of a file, or a list of paths");
            }
            return None;
        };
        if let Some(other) = kinds.next() {
            let message = format!("an item of `include` has `{}` or `{}`, not both", entry.key, other.key);
            log.invalid(path, other.key_location, message);
            return None;
        }
        let (mut file, mut reference, mut integrity) = (None, None, None);
        for other in values::entries(item) {
            let needs = match other.key.as_str() {
                "file" => {
                    file = Some(other);
                    "project"
                }
                "ref" => {
                    reference = Some(other);
                    "project"
                }
                "integrity" => {
                    integrity = Some(other);
                    "remote"
                }
                _ => continue,
            };
            if entry.key != needs {
                let message = format!("`{}` is a key of an include with `{needs}`", other.key);
                log.invalid(path, other.key_location, message);
                return None;
            }
        }
        let text = located(entry, path, log)?;
        Some(match entry.key.as_str() {
            "local" if text.text.contains("://") => IncludeKind::Remote { url: text, integrity: None },
            "local" => IncludeKind::Local(text),
            "project" => {
                let reference = match reference {
                    Some(entry) => Some(located(entry, path, log)?),
                    None => None,
                };
                let Some(file) = file.filter(|file| !values::list(&file.value).is_empty()) else {
                    let message = "an include with `project` names no `file`".to_owned();
                    log.invalid(path, item.location, message);
                    return None;
                };
                if values::list(&file.value).len() > MAX_LISTED_FILES {
                    let message = format!("`file` lists at most {MAX_LISTED_FILES} files");
                    log.invalid(&path.key("file"), file.key_location, message);
                    return None;
                }
                let before = log.findings.len();
                let files = values::texts(&file.value, &path.key("file"), log);
                if log.findings.len() > before {
                    return None;
                }
                let files =
                    files.into_iter().map(|(text, node)| LocatedText { text, location: node.location });
                IncludeKind::Project { project: text, reference, files: files.collect() }
            }
            "remote" => {
                let integrity = match integrity {
                    Some(entry) => Some(sha256(entry, path, log)?),
                    None => None,
                };
                IncludeKind::Remote { url: text, integrity }
            }
            "template" => IncludeKind::Template(text),
            _ => IncludeKind::Component(text),
        })
    }
}

fn located<'a>(entry: &'a MapEntry, path: &Path, log: &mut Log) -> Option<LocatedText<'a>> {
    let Some(text) = values::text(&entry.value) else {
        let location = if entry.value.is_null() { entry.key_location } else { entry.value.location };
        log.invalid(&path.key(&entry.key), location, format!("`{}` takes a string", entry.key));
        return None;
    };
    Some(LocatedText { text, location: entry.value.location })
}

/// Returns the hash of `integrity: sha256-...`.
fn sha256(entry: &MapEntry, path: &Path, log: &mut Log) -> Option<Vec<u8>> {
    let LocatedText { text, location } = located(entry, path, log)?;
    let encoded = text.strip_prefix("sha256-").map(str::as_bytes);
    let hash =
        encoded.and_then(|encoded| BASE64.decode(encoded).ok()).filter(|hash| hash.len() == SHA256_LEN);
    if hash.is_none() {
        let message = format!("{} is not `sha256-` and a SHA-256 in Base64", quoted(text));
        let help = "`openssl dgst -sha256 -binary FILE | base64` prints it";
        log.invalid_with_help(&path.key("integrity"), location, message, help);
    }
    hash
}

/// Returns the entries of a mapping of texts.
pub(super) fn texts_of(node: &Node) -> IndexMap<String, String> {
    let text = |entry: &MapEntry| Some((entry.key.clone(), values::text(&entry.value)?.to_owned()));
    values::entries(node).iter().filter_map(text).collect()
}
