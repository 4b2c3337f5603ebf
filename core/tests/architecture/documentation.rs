//! What the documentation names exists.

use crate::tree::{PACKAGES, assert_none, files, relative, root};
use proc_macro2::{TokenStream, TokenTree};
use std::{
    collections::{BTreeSet, HashSet},
    fs,
    path::PathBuf,
};

/// Names in code style that look like types of ours and belong to AWS, to GitLab, to crates or to the standard library.
const FOREIGN_NAMES: &[&str] = &["HttpOnly", "VmRSS"];

/// Width of a line of prose.
const MAX_COLUMNS: usize = 100;

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

/// The identifiers of a source file: a name that only comments and texts have is none.
fn identifiers(tokens: TokenStream, names: &mut HashSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => identifiers(group.stream(), names),
            TokenTree::Ident(name) => drop(names.insert(name.to_string())),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

#[test]
fn types_that_docs_name_exist() {
    let mut names = HashSet::new();
    for package in PACKAGES {
        for path in files(package, &["rs"]) {
            identifiers(fs::read_to_string(path).unwrap().parse().unwrap(), &mut names);
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
    let twice: Vec<String> =
        terms.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone()).collect();
    assert_none("the glossary has each term once", &twice);
    for page in ["README.md", "ARCHITECTURE.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        assert!(text.contains("docs/glossary.md"), "{page} does not link to the glossary");
    }
}

#[test]
fn prose_of_docs_is_wrapped_at_100_columns() {
    let mut violations = Vec::new();
    for page in pages() {
        let mut is_block = false;
        for (number, line) in fs::read_to_string(&page).unwrap().lines().enumerate() {
            let is_fence = line.trim_start().starts_with("```");
            is_block ^= is_fence;
            // Blocks, tables and addresses cannot be wrapped.
            let is_free =
                is_block || is_fence || line.trim_start().starts_with('|') || line.contains("](http");
            if !is_free && line.chars().count() > MAX_COLUMNS {
                violations.push(format!("{}:{}", relative(&page), number + 1));
            }
        }
    }
    assert_none("wrap these lines at 100 columns", &violations);
}
