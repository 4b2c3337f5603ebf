//! `.dockerignore`: which files of a context a build does not get.

use globset::GlobBuilder;
use regex::bytes::{Regex, RegexBuilder};
use std::{os::unix::ffi::OsStrExt as _, path::Path};

/// Maximum number of patterns.
const MAX_PATTERNS: usize = 1_000;
/// Maximum size of a compiled pattern in bytes.
const MAX_PATTERN_SIZE: usize = 1 << 20;
/// Maximum size of a pattern's cache of states in bytes, of which each pattern has one.
const MAX_CACHE_SIZE: usize = 64 << 10;

/// The patterns of a `.dockerignore`.
#[derive(Debug, Default)]
pub struct IgnoredFiles {
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    regex: Regex,
    /// Whether what matches is part of the context after all.
    is_exception: bool,
}

impl IgnoredFiles {
    /// Reads the patterns, or says which is not valid.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut patterns = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            let (is_exception, line) =
                line.strip_prefix('!').map_or((false, line), |rest| (true, rest.trim_start()));
            let path: Vec<&str> = line.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
            if path.is_empty() {
                continue;
            }
            if patterns.len() == MAX_PATTERNS {
                return Err(format!("it has more than {MAX_PATTERNS} patterns"));
            }
            // Braces are literal characters here.
            let glob = path.join("/").replace('{', "[{]").replace('}', "[}]");
            let glob = GlobBuilder::new(&glob).literal_separator(true).backslash_escape(true).build();
            let invalid = |why: String| format!("line {number}: `{line}` is not a pattern: {why}");
            let glob = glob.map_err(|error| invalid(error.kind().to_string()))?;
            let mut regex = RegexBuilder::new(glob.regex());
            let regex = regex.size_limit(MAX_PATTERN_SIZE).dfa_size_limit(MAX_CACHE_SIZE).build();
            patterns
                .push(Pattern { regex: regex.map_err(|error| invalid(error.to_string()))?, is_exception });
        }
        Ok(Self { patterns })
    }

    /// Whether the file or directory at `path` is left out. The last pattern that matches it or one of its parents decides.
    pub fn is_ignored(&self, path: &Path) -> bool {
        let mut is_ignored = false;
        for pattern in &self.patterns {
            if pattern.is_exception != is_ignored {
                continue;
            }
            if path
                .ancestors()
                .filter(|part| !part.as_os_str().is_empty())
                .any(|part| pattern.regex.is_match(part.as_os_str().as_bytes()))
            {
                is_ignored = !pattern.is_exception;
            }
        }
        is_ignored
    }

    /// Whether something below an ignored directory may be part of the context.
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.is_exception)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::IgnoredFiles;
    use std::path::Path;

    fn left_out<'a>(patterns: &str, paths: &[&'a str]) -> Vec<&'a str> {
        let ignored = IgnoredFiles::parse(patterns).unwrap();
        paths.iter().copied().filter(|path| ignored.is_ignored(Path::new(path))).collect()
    }

    #[test]
    fn patterns_are_relative_to_the_context_and_the_last_match_decides() {
        let paths = ["a.md", "docs/a.md", "README.md", "node_modules/x/y", "src/node_modules/x"];
        assert_eq!(left_out("*.md\n!README.md\n", &paths), ["a.md"]);
        assert_eq!(left_out("# note\n**/*.md", &paths), ["a.md", "docs/a.md", "README.md"]);
        assert_eq!(left_out("/node_modules/\n", &paths), ["node_modules/x/y"]);
        assert_eq!(left_out("**/node_modules", &paths), ["node_modules/x/y", "src/node_modules/x"]);
        assert_eq!(
            left_out("*\n!docs\n", &paths),
            ["a.md", "README.md", "node_modules/x/y", "src/node_modules/x"]
        );
        assert_eq!(left_out("!docs\ndocs\n", &paths), ["docs/a.md"]);
        assert_eq!(left_out(" ./docs/*.md \r\n\r\n", &paths), ["docs/a.md"]);
    }

    #[test]
    fn braces_are_literal_and_invalid_patterns_name_their_line() {
        assert_eq!(left_out("{a,b}", &["a", "{a,b}"]), ["{a,b}"]);
        assert!(IgnoredFiles::parse("ok\n[a").unwrap_err().contains("line 2"));
        assert!(IgnoredFiles::parse(&"a\n".repeat(1_001)).is_err());
        assert!(!IgnoredFiles::parse(".\n/\n").unwrap().is_ignored(Path::new("a")));
    }
}
