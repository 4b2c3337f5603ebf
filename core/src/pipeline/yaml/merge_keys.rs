//! Repeated keys, and the merge keys of GitLab files.

use std::collections::HashSet;

use super::tree::{Kind, MapEntry, Mapping, Node, Size};
use crate::pipeline::finding::{Finding, FindingLocation, Path, quoted};

/// A key that a mapping has already.
pub(super) fn duplicate_key(entry: &MapEntry, first: &MapEntry) -> Finding {
    let spot = FindingLocation::Position(Path::default(), entry.key_location);
    let message = format!("{} is written twice in this mapping", quoted(&entry.key));
    let first = FindingLocation::Position(Path::default(), first.key_location);
    Finding::error("duplicate-key", spot, message).related("first written here", first)
}

/// Lays the mappings of a merge key over what a mapping of a GitLab file has so far, the first of several on top; the keys that
/// follow win. Returns the number of keys that were laid over it.
pub(super) fn merge_over(
    mapping: &mut Mapping,
    merged: &mut HashSet<String>,
    entry: &MapEntry,
    size: &mut Size,
    findings: &mut Vec<Finding>,
) -> usize {
    let mut count = 0;
    let bases: Vec<&Node> = match &entry.value.kind {
        Kind::Sequence(items) => items.iter().map(AsRef::as_ref).rev().collect(),
        _ => vec![&entry.value],
    };
    for base in bases {
        let Kind::Mapping(base) = &base.kind else {
            let spot = FindingLocation::Position(Path::default(), entry.key_location);
            let message = "a merge key `<<` takes a mapping, or a list of mappings";
            findings.push(Finding::error("wrong-type", spot, message));
            continue;
        };
        for inherited in &base.entries {
            size.add(inherited.value.size);
            count += 1;
            match mapping.get(&inherited.key) {
                None => {
                    merged.insert(inherited.key.clone());
                    mapping.push(inherited.clone());
                }
                Some(own) => {
                    size.remove(own.value.size);
                    if !merged.contains(&inherited.key) {
                        let spot = FindingLocation::Position(Path::default(), own.key_location);
                        let message =
                            format!("{} is replaced by the merge key that follows", quoted(&inherited.key));
                        let finding = Finding::error("duplicate-key", spot, message)
                            .help("as in GitLab; write `<<` first to keep the own value")
                            .related(
                                "the merge key",
                                FindingLocation::Position(Path::default(), entry.key_location),
                            );
                        findings.push(finding.warning());
                        merged.insert(inherited.key.clone());
                    }
                    mapping.replace(inherited.clone());
                }
            }
        }
    }
    count
}
