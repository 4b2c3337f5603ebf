//! Chooses the commit that a name of a version stands for.

use super::elsewhere::RepositoryRefs;

/// Whether a text is the full hash of a commit.
pub(crate) fn is_full_hash(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// Returns the commit of a tag or branch, tags first as in git; of the default branch without a name.
pub(crate) fn of_reference<'a>(refs: &'a RepositoryRefs, name: Option<&str>) -> Option<&'a str> {
    let RepositoryRefs { head, branches, tags } = refs;
    let found = match name {
        None | Some("HEAD") => head.as_ref(),
        Some(name) => match (name.strip_prefix("refs/tags/"), name.strip_prefix("refs/heads/")) {
            (Some(tag), _) => tags.get(tag),
            (None, Some(branch)) => branches.get(branch),
            (None, None) => tags.get(name).or_else(|| branches.get(name)),
        },
    };
    found.map(String::as_str)
}

/// Returns the commit of a component's version: a tag or branch, `~latest`, or the first parts of a released version.
pub(crate) fn of_component<'a>(refs: &'a RepositoryRefs, version: &str) -> Option<&'a str> {
    of_reference(refs, Some(version)).or_else(|| {
        let wanted = if version == "~latest" { Vec::new() } else { partial(version)? };
        let released = refs.tags.iter().filter_map(|(name, commit)| Some((released_version(name)?, commit)));
        let matching = released.filter(|(parts, _)| parts.starts_with(&wanted));
        matching.max_by_key(|(parts, _)| *parts).map(|(_, commit)| commit.as_str())
    })
}

/// Parses `1` or `1.2`.
fn partial(text: &str) -> Option<Vec<u64>> {
    let parts = text.split('.').map(number).collect::<Option<Vec<u64>>>()?;
    (parts.len() <= 2).then_some(parts)
}

/// Parses `1.2.3` or `v1.2.3`; versions that are not released, such as `1.2.3-rc1`, are none.
fn released_version(tag: &str) -> Option<[u64; 3]> {
    let text = tag.strip_prefix('v').unwrap_or(tag);
    let text = text.split_once('+').map_or(text, |(version, _)| version);
    let parts = text.split('.').map(number).collect::<Option<Vec<u64>>>()?;
    parts.try_into().ok()
}

fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::{RepositoryRefs, of_component, of_reference};

    fn refs() -> RepositoryRefs {
        let pairs =
            |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), format!("of {name}"))).collect();
        RepositoryRefs {
            head: Some("of HEAD".to_owned()),
            branches: pairs(&["main", "1", "both"]),
            tags: pairs(&["1.0.0", "1.2.9", "v1.2.10", "1.10.0", "2.0.0", "3.0.0-rc1", "2.x", "both"]),
        }
    }

    #[test]
    fn names_are_tags_first_and_then_branches() {
        let refs = refs();
        for (name, commit) in [
            (None, Some("of HEAD")),
            (Some("main"), Some("of main")),
            (Some("refs/heads/main"), Some("of main")),
            (Some("refs/tags/main"), None),
            (Some("1.0.0"), Some("of 1.0.0")),
            (Some("both"), Some("of both")),
            (Some("none"), None),
            (Some("~latest"), None),
        ] {
            assert_eq!(of_reference(&refs, name), commit, "{name:?}");
        }
    }

    #[test]
    fn component_versions_are_the_highest_that_match() {
        let refs = refs();
        for (version, commit) in [
            ("~latest", Some("of 2.0.0")),
            ("1", Some("of 1")),
            ("2", Some("of 2.0.0")),
            ("1.2", Some("of v1.2.10")),
            ("1.10", Some("of 1.10.0")),
            ("1.2.3", None),
            ("3", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(of_component(&refs, version), commit, "{version}");
        }
    }
}
