//! What the documentation names exists.

use crate::tree::{PACKAGES, assert_none, files, relative, root};
use std::{
    collections::{BTreeSet, HashSet},
    fs,
    path::PathBuf,
};

/// Names in code style that look like types of ours and belong to AWS, to GitLab, to crates or to the standard library.
const FOREIGN_NAMES: &[&str] = &[];

/// Pages for readers of the code and for users.
fn pages() -> Vec<PathBuf> {
    let mut pages = files("docs", &["md"]);
    pages.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|page| root().join(page)));
    pages
}

/// The texts in backquotes of a page, without its code blocks.
fn code_spans(page: &str) -> Vec<String> {
    let mut is_block = false;
    let mut prose = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            is_block = !is_block;
        } else if !is_block {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether a text is written like the name of a type with more than one word: `JobExecutionService`.
fn is_type_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_alphanumeric())
        && text.chars().filter(char::is_ascii_uppercase).count() > 1
        && text.chars().any(|c| c.is_ascii_lowercase())
}

#[test]
fn types_that_docs_name_exist() {
    let mut names = HashSet::new();
    for package in PACKAGES {
        for path in files(package, &["rs"]) {
            let text = fs::read_to_string(path).unwrap();
            names.extend(
                text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .filter(|word| is_type_name(word))
                    .map(str::to_owned),
            );
        }
    }
    let template = fs::read_to_string(root().join("infra/template.yml")).unwrap();
    let mut violations = BTreeSet::new();
    let mut checked = 0;
    for page in pages() {
        for span in code_spans(&fs::read_to_string(&page).unwrap()) {
            for part in span.split("::").filter(|part| is_type_name(part)) {
                checked += 1;
                let is_known =
                    names.contains(part) || template.contains(part) || FOREIGN_NAMES.contains(&part);
                if !is_known {
                    violations.insert(format!("{}: `{part}`", relative(&page)));
                }
            }
        }
    }
    assert!(checked > 20, "only {checked} names were checked");
    assert_none("no type has this name", &violations.into_iter().collect::<Vec<_>>());
}

#[test]
fn source_paths_that_docs_name_exist() {
    let mut violations = BTreeSet::new();
    let mut checked = 0;
    for page in pages() {
        for span in code_spans(&fs::read_to_string(&page).unwrap()) {
            let starts = [
                "core/",
                "backend/",
                "worker/",
                "functions/",
                "cli/",
                "infra/",
                "localstack/",
                "scripts/",
                "bench/",
            ];
            let is_path = starts.iter().any(|start| span.starts_with(start))
                && span.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            if is_path {
                checked += 1;
                if !root().join(&span).exists() {
                    violations.insert(format!("{}: `{span}`", relative(&page)));
                }
            }
        }
    }
    assert!(checked > 50, "only {checked} paths were checked");
    assert_none("nothing is at this path", &violations.into_iter().collect::<Vec<_>>());
}

#[test]
fn glossary_is_sorted_and_linked() {
    let glossary = fs::read_to_string(root().join("docs/glossary.md")).unwrap();
    let terms: Vec<String> = glossary
        .lines()
        .filter_map(|line| line.strip_prefix("- **")?.split("**").next().map(str::to_lowercase))
        .collect();
    assert!(terms.len() > 50, "only {} terms", terms.len());
    assert!(terms.is_sorted(), "the glossary is not in alphabetical order");
    for page in ["README.md", "ARCHITECTURE.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        assert!(text.contains("docs/glossary.md"), "{page} does not link to the glossary");
    }
}
