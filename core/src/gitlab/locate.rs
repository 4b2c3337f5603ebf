//! Locates in a GitLab file what is found in the native file that it was translated to.

use std::rc::Rc;

use crate::gitlab::values;
use crate::pipeline::finding::{Finding, FindingLocation, Path, PathPart, Segment};
use crate::pipeline::yaml::tree::{Kind, Node, Tree};
use crate::text::diagnostics::Location;

/// Native keys of a job whose values come from GitLab keys of another name.
const ORIGINS: [(&str, &[&str]); 9] = [
    ("pull_policy", &["image", "pull_policy"]),
    ("runs_on", &["tags"]),
    ("matrix", &["parallel", "matrix"]),
    ("variant_name", &["parallel", "matrix"]),
    ("outputs", &["artifacts", "reports", "dotenv"]),
    ("if", &["rules"]),
    ("checkout", &["variables"]),
    ("resources", &["image"]),
    ("stages", &["stages"]),
];

/// Returns the location of a finding in the GitLab document `root`; `native` is the native document.
pub(crate) fn locate(finding: &Finding, native: &Tree, root: &Rc<Node>) -> Option<Location> {
    let (path, part) = match &finding.location {
        FindingLocation::Path(path, part) => (path, *part),
        FindingLocation::TextRange(path, ..) => (path, PathPart::Value),
        FindingLocation::Position(path, _) => (path, PathPart::Key),
    };
    let segments = path.segments();
    let key = |at: usize| match segments.get(at) {
        Some(Segment::Key(key)) => Some(key.as_ref()),
        _ => None,
    };
    match (key(0)?, key(1)) {
        ("jobs", Some(name)) => {
            let job = root.get(name)?;
            let within = key(2).and_then(|key| {
                let entry = [Some(&job.value), root.get("default").map(|entry| &entry.value), Some(root)];
                entry.into_iter().flatten().find_map(|node| place(key, node, path, 3, part, native))
            });
            Some(within.unwrap_or(job.key_location))
        }
        ("defaults", Some(key)) => {
            let default = root.get("default").map(|entry| &entry.value);
            let jobs = values::entries(root).iter().map(|entry| &entry.value);
            let nodes = default.into_iter().chain([root]).chain(jobs);
            nodes.into_iter().find_map(|node| place(key, node, path, 2, part, native))
        }
        ("name", _) => root.get("workflow")?.value.get("name").map(|entry| entry.value.location),
        (key, _) => place(key, root, path, 1, part, native),
    }
}

/// Returns the location of the value of the native key `key` in `node`, as deep as the rest of `path`, from the segment `next`
/// on, leads.
fn place(
    key: &str,
    node: &Rc<Node>,
    path: &Path,
    next: usize,
    part: PathPart,
    native: &Tree,
) -> Option<Location> {
    let origin = ORIGINS.iter().find(|(known, _)| *known == key).map(|(_, origin)| *origin);
    let own = [key];
    let mut current: Option<&Rc<Node>> = None;
    let mut location = None;
    for name in origin.unwrap_or(&own) {
        let Some(entry) = current.unwrap_or(node).get(name) else { break };
        current = Some(&entry.value);
        location =
            Some(if entry.value.location.length == 0 { entry.key_location } else { entry.value.location });
    }
    let mut current = current?;
    let segments = path.segments();
    // A mapping with only a name is written as the name.
    if next == segments.len()
        && let Some(name) = current.get("name")
        && value_at(native, &segments, next).is_some_and(|text| is_text(&name.value, text))
    {
        return Some(name.value.location);
    }
    for at in next..segments.len() {
        let is_last = at + 1 == segments.len();
        match segments.get(at)? {
            Segment::Key(key) => {
                let alias = if key.as_ref() == "image" { "name" } else { key.as_ref() };
                if let Some(entry) = current.get(key).or_else(|| current.get(alias)) {
                    location =
                        Some(if is_last && part == PathPart::Key || entry.value.location.length == 0 {
                            entry.key_location
                        } else {
                            entry.value.location
                        });
                    current = &entry.value;
                } else if let Some(item) = values::list(current).into_iter().find(|item| is_text(item, key)) {
                    // Labels of workers are a list of tags.
                    location = Some(item.location);
                    current = item;
                }
            }
            Segment::Index(index) => {
                let items = values::list(current);
                // Some items may be left out, so that the same text is a better guide than the index.
                let text = value_at(native, &segments, at + 1);
                let item = items.iter().find(|item| text.is_some_and(|text| is_text(item, text)));
                if let Some(item) = item.or_else(|| items.get(*index)) {
                    location = Some(item.location);
                    current = item;
                }
            }
        }
    }
    location
}

fn is_text(node: &Node, text: &str) -> bool {
    values::text(node) == Some(text)
}

/// Returns the text at the first `count` segments of a path in the native document.
fn value_at<'a>(native: &'a Tree, segments: &[&Segment], count: usize) -> Option<&'a str> {
    let mut node = native.root.as_deref()?;
    for segment in segments.iter().take(count) {
        node = match (segment, &node.kind) {
            (Segment::Key(key), Kind::Mapping(_)) => &node.get(key)?.value,
            (Segment::Index(index), Kind::Sequence(items)) => items.get(*index)?,
            _ => return None,
        };
    }
    values::text(node)
}
