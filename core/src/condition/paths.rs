//! Matches globs against the paths of an execution.

use std::cell::RefCell;
use std::collections::HashMap;

use super::evaluation_error::EvaluationError;
use crate::execution::facts::{ComparedPaths, Facts};

/// Which paths globs apply to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum PathList {
    /// The changed ones.
    Changed,
    /// Those that changed since a ref.
    Since(String),
    /// Those of all files.
    Files,
}

/// The paths that globs apply to, and the globs.
type GlobQuery = (PathList, Vec<String>);

/// The paths that globs are matched against. Each list of globs is matched once, because many jobs may have the same.
#[derive(Debug)]
pub struct Paths<'a> {
    facts: &'a Facts,
    /// For each list of globs, the index of the first matching path.
    matches: RefCell<HashMap<GlobQuery, Option<usize>>>,
}

impl<'a> Paths<'a> {
    /// Creates the paths of `facts`.
    #[must_use]
    pub fn new(facts: &'a Facts) -> Self {
        Self { facts, matches: RefCell::default() }
    }

    /// Whether one of `globs` matches a changed file, or the changed files are unknown.
    #[must_use]
    pub fn changed(&self, globs: &[String]) -> bool {
        self.any(PathList::Changed, self.facts.changed.as_deref(), globs)
    }

    /// Whether one of `globs` matches a file that changed since the histories of the commit and of a ref parted, or that is unknown.
    ///
    /// # Errors
    /// The repository has no such ref.
    pub fn changed_since(&self, reference: &str, globs: &[String]) -> Result<bool, EvaluationError> {
        match self.facts.compared.get(reference) {
            None => Ok(true),
            Some(None) => {
                Err(EvaluationError::UnknownReference(reference.chars().take(MAX_SHOWN_CHARS).collect()))
            }
            Some(Some(paths)) => Ok(self.any(PathList::Since(reference.to_owned()), Some(paths), globs)),
        }
    }

    /// Whether one of `globs` matches a file, or the files are unknown.
    #[must_use]
    pub fn exists(&self, globs: &[String]) -> bool {
        self.any(PathList::Files, self.facts.files.as_deref(), globs)
    }

    fn any(&self, list: PathList, paths: Option<&[String]>, globs: &[String]) -> bool {
        let Some(paths) = paths else { return true };
        let key = (list, globs.to_vec());
        if let Some(first) = self.matches.borrow().get(&key) {
            return first.is_some();
        }
        let mut set = globset::GlobSetBuilder::new();
        for glob in globs.iter().filter_map(|glob| self::glob(glob).ok()) {
            set.add(glob);
        }
        let first = set.build().ok().and_then(|set| paths.iter().position(|path| set.is_match(path)));
        self.matches.borrow_mut().insert(key, first);
        first.is_some()
    }

    /// Returns the paths that were decisive: with only these, every list of globs that was matched has the same result.
    #[must_use]
    pub fn decisive(&self) -> DecisivePaths {
        let matches = self.matches.borrow();
        let decisive = |list: &PathList, paths: &[String]| -> Vec<String> {
            let mut indices: Vec<usize> =
                matches.iter().filter(|((of, _), _)| of == list).filter_map(|(_, first)| *first).collect();
            indices.sort_unstable();
            indices.dedup();
            indices.into_iter().filter_map(|at| paths.get(at).cloned()).collect()
        };
        let compared = self.facts.compared.iter().map(|(reference, paths)| {
            let list = PathList::Since(reference.clone());
            (reference.clone(), paths.as_deref().map(|paths| decisive(&list, paths)))
        });
        DecisivePaths {
            changed: self.facts.changed.as_deref().map(|paths| decisive(&PathList::Changed, paths)),
            compared: compared.collect(),
            files: self.facts.files.as_deref().map(|paths| decisive(&PathList::Files, paths)),
        }
    }
}

/// The paths of facts that decided something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DecisivePaths {
    /// Of the changed paths.
    pub changed: Option<Vec<String>>,
    /// Of those that changed since other refs.
    pub compared: ComparedPaths,
    /// Of the paths of all files.
    pub files: Option<Vec<String>>,
}

/// Maximum length of the name of a ref in an error, in characters.
const MAX_SHOWN_CHARS: usize = 200;

/// Maximum length of a glob, in bytes.
const MAX_GLOB_BYTES: usize = 1024;

/// Maximum number of alternatives `{a,b}` of a glob that are within each other.
const MAX_GLOB_DEPTH: usize = 8;

/// Checks the length of a glob and the depth of its alternatives, and returns what exceeds the limit.
pub(crate) fn check_size(glob: &str) -> Result<(), String> {
    if glob.len() > MAX_GLOB_BYTES {
        return Err(format!("is a glob of {} bytes, and {MAX_GLOB_BYTES} is the limit", glob.len()));
    }
    let mut depth = 0_usize;
    for byte in glob.bytes() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_GLOB_DEPTH {
            return Err(format!("is a glob with more than {MAX_GLOB_DEPTH} `{{` within each other"));
        }
    }
    Ok(())
}

/// Parses a glob for files: `*` matches within a path segment, and a directory (`docs/`) stands for everything in it.
pub(crate) fn glob(text: &str) -> Result<globset::Glob, globset::Error> {
    let text = text.strip_prefix("./").unwrap_or(text);
    let pattern = if text.ends_with('/') { format!("{text}**") } else { text.to_owned() };
    globset::GlobBuilder::new(&pattern).literal_separator(true).build()
}

#[cfg(test)]
mod tests {
    use super::{MAX_GLOB_BYTES, MAX_GLOB_DEPTH, check_size};

    #[test]
    fn globs_are_bounded() {
        let nested = |depth: usize| "{a,".repeat(depth) + &"}".repeat(depth);
        assert!(check_size(&nested(MAX_GLOB_DEPTH)).is_ok() && check_size(&"{a,b}".repeat(20)).is_ok());
        assert!(check_size(&nested(MAX_GLOB_DEPTH + 1)).is_err());
        assert!(check_size(&"a".repeat(MAX_GLOB_BYTES + 1)).is_err());
    }
}
