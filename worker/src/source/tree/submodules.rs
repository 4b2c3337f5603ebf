//! The submodules that a commit names: their paths, names and addresses.

use super::super::git::{self, SourceError};
use std::{
    collections::BTreeMap,
    path::{Component, Path},
};

/// A submodule as `.gitmodules` describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubmoduleEntry {
    /// Its name, which is a path below `.git/modules`.
    pub name: String,
    /// Its address, which may be relative to that of its parent.
    pub url: String,
}

/// Returns the submodules of `.gitmodules` in `tree`, by path.
pub fn entries(objects: &Path, tree: &str) -> Result<BTreeMap<String, SubmoduleEntry>, SourceError> {
    let file = format!("{tree}:.gitmodules");
    if git::run(git::at(objects).args(["cat-file", "-e", &file])).is_err() {
        return Ok(BTreeMap::new());
    }
    let mut command = git::at(objects);
    command.args(["config", "--blob", &file, "-z", "--list"]);
    let text = git::run(&mut command)?;
    let mut sections: BTreeMap<String, (Option<String>, Option<String>)> = BTreeMap::new();
    for record in text.split('\0') {
        let Some((key, value)) = record.split_once('\n') else { continue };
        let Some(rest) = key.strip_prefix("submodule.") else { continue };
        let Some((name, key)) = rest.rsplit_once('.') else { continue };
        let section = sections.entry(name.to_owned()).or_default();
        match key {
            "path" => section.0 = Some(value.to_owned()),
            "url" => section.1 = Some(value.to_owned()),
            _ => {}
        }
    }
    let entry = |(name, (path, url)): (String, (Option<String>, Option<String>))| {
        Some((path?, SubmoduleEntry { name, url: url.unwrap_or_default() }))
    };
    Ok(sections.into_iter().filter_map(entry).collect())
}

/// Whether `path` stays below the directory that it is relative to.
pub fn is_inside(path: &str) -> bool {
    let path = Path::new(path);
    path.components().count() > 0
        && path.components().all(|part| match part {
            Component::Normal(name) => !name.eq_ignore_ascii_case(".git"),
            _ => false,
        })
}

/// Returns the address of a submodule: relative ones start at the address of the parent's `origin`.
pub fn resolve_url(parent: Option<&str>, url: &str) -> Option<String> {
    if !url.starts_with("./") && !url.starts_with("../") {
        return Some(url.to_owned());
    }
    let mut base = parent?.trim_end_matches('/').to_owned();
    let mut rest = url;
    loop {
        if let Some(after) = rest.strip_prefix("./") {
            rest = after;
        } else if let Some(after) = rest.strip_prefix("../") {
            let cut = base.rfind('/').or_else(|| base.rfind(':'))?;
            // The host is no part of a path.
            if base[..cut].ends_with('/') || base[..cut].ends_with(":/") {
                return None;
            }
            let is_colon = base.as_bytes()[cut] == b':';
            base.truncate(if is_colon { cut + 1 } else { cut });
            rest = after;
        } else {
            break;
        }
    }
    let rest = rest.trim_end_matches('/');
    Some(if base.ends_with(':') { format!("{base}{rest}") } else { format!("{base}/{rest}") })
}

#[cfg(test)]
mod tests {
    use super::{is_inside, resolve_url};

    #[test]
    fn relative_addresses_start_at_the_parents() {
        for (parent, url, expected) in [
            ("https://h/g/app.git", "../lib.git", "https://h/g/lib.git"),
            ("https://h/g/app.git", "../../o/lib.git", "https://h/o/lib.git"),
            ("https://h/g/app.git/", "./lib", "https://h/g/app.git/lib"),
            ("git@h:g/app.git", "../lib.git", "git@h:g/lib.git"),
            ("git@h:app.git", "../lib.git", "git@h:lib.git"),
            ("/srv/app.git", "../lib.git", "/srv/lib.git"),
            ("file:///srv/app", "../lib", "file:///srv/lib"),
            ("https://h/app", "https://o/lib", "https://o/lib"),
        ] {
            assert_eq!(resolve_url(Some(parent), url).as_deref(), Some(expected), "{parent} {url}");
        }
        assert_eq!(resolve_url(None, "../lib"), None);
        assert_eq!(resolve_url(Some("https://h/app"), "../../lib"), None);
        assert_eq!(resolve_url(None, "https://o/lib").as_deref(), Some("https://o/lib"));
    }

    #[test]
    fn paths_stay_inside() {
        assert!(is_inside("lib") && is_inside("a/b c"));
        for path in ["", "/lib", "../lib", "a/../../b", ".git", "a/.GIT/b", "./a"] {
            assert!(!is_inside(path), "{path}");
        }
    }
}
