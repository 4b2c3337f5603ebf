//! Globs, and the paths of an execution that they are tried on.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::execution::facts::Facts;

/// A list of globs, and whether it was tried on the changed paths.
type GlobMatch = (bool, Vec<String>);

/// Paths that globs are tried on: each list of globs once, as many jobs may have the same.
#[derive(Debug)]
pub struct Paths<'a> {
    facts: &'a Facts,
    /// Which path is the first that each list matches.
    seen: RefCell<HashMap<GlobMatch, Option<usize>>>,
}

impl<'a> Paths<'a> {
    /// Those of `facts`.
    #[must_use]
    pub fn of(facts: &'a Facts) -> Self {
        Self { facts, seen: RefCell::default() }
    }

    /// Whether a file changed that one of `globs` matches, or it is not known what changed.
    #[must_use]
    pub fn changed(&self, globs: &[String]) -> bool {
        self.any(true, self.facts.changed.as_deref(), globs)
    }

    /// Whether there is a file that one of `globs` matches, or it is not known which there are.
    #[must_use]
    pub fn exists(&self, globs: &[String]) -> bool {
        self.any(false, self.facts.files.as_deref(), globs)
    }

    fn any(&self, changed: bool, paths: Option<&[String]>, globs: &[String]) -> bool {
        let Some(paths) = paths else { return true };
        let key = (changed, globs.to_vec());
        if let Some(known) = self.seen.borrow().get(&key) {
            return known.is_some();
        }
        let mut set = globset::GlobSetBuilder::new();
        for glob in globs.iter().filter_map(|glob| self::glob(glob).ok()) {
            set.add(glob);
        }
        let first = set.build().ok().and_then(|set| paths.iter().position(|path| set.is_match(path)));
        self.seen.borrow_mut().insert(key, first);
        first.is_some()
    }

    /// Of the paths that changed, and of all files, those that decided: with no others, every list of globs that was tried
    /// has the same answer.
    #[must_use]
    pub fn decisive(&self) -> (Option<Vec<String>>, Option<Vec<String>>) {
        let seen = self.seen.borrow();
        let of = |changed: bool, paths: &[String]| {
            let mut found: Vec<usize> =
                seen.iter().filter(|((of, _), _)| *of == changed).filter_map(|(_, first)| *first).collect();
            found.sort_unstable();
            found.dedup();
            found.into_iter().filter_map(|at| paths.get(at).cloned()).collect()
        };
        (
            self.facts.changed.as_deref().map(|paths| of(true, paths)),
            self.facts.files.as_deref().map(|paths| of(false, paths)),
        )
    }
}

/// A glob of files: `*` stays within a name, and a directory (`docs/`) is all that is in it.
pub(crate) fn glob(text: &str) -> Result<globset::Glob, globset::Error> {
    let text = text.strip_prefix("./").unwrap_or(text);
    let all = if text.ends_with('/') { format!("{text}**") } else { text.to_owned() };
    globset::GlobBuilder::new(&all).literal_separator(true).build()
}
