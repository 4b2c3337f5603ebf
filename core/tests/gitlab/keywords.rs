//! The table of docs/gitlab.md has each of GitLab's keywords.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::diagnostics;

#[test]
fn documentation_lists_every_keyword_of_gitlab() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = fs::read_to_string(root.join("tests/fixtures/gitlab-keywords.txt")).unwrap();
    let mut keywords: Vec<&str> =
        list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    keywords.sort_unstable();
    assert!(keywords.len() > 130, "{}", keywords.len());
    let page = fs::read_to_string(root.join("../docs/gitlab.md")).unwrap();
    let table = page.split("## Keys").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let mut states: BTreeMap<&str, &str> = BTreeMap::new();
    let mut rows: Vec<&str> = Vec::new();
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let key = cells[1].trim_matches('`');
        assert!(["honoured", "differs", "refused"].contains(&cells[2]), "{line}");
        assert!(cells[2] != "differs" || !cells[3].is_empty(), "how does it differ: {line}");
        states.insert(key, cells[2]);
        rows.push(key);
    }
    assert_eq!(rows, keywords);
    // What the page calls refused is an error, and what it calls honoured is not.
    for (key, value) in [
        ("hooks", "{pre_get_sources_script: [x]}"),
        ("id_tokens", "{A: {aud: b}}"),
        ("identity", "google_cloud"),
        ("inputs", "{a: b}"),
        ("run", "[{name: a}]"),
        ("secrets", "{A: {vault: b}}"),
        ("after_script", "[x]"),
        ("before_script", "[x]"),
        ("cache", "{paths: [a]}"),
        ("coverage", "/x/"),
        ("parallel", "2"),
        ("retry", "1"),
        ("tags", "[a]"),
        ("timeout", "1h"),
        ("release", "{tag_name: a, description: b}"),
        ("resource_group", "a"),
    ] {
        let found = diagnostics(&format!("j: {{ image: x, script: x, {key}: {value} }}"));
        let is_error = found.iter().any(|one| one.contains("error["));
        assert_eq!(is_error, states[key] == "refused", "{key}: {found:?}");
        assert_eq!(found.is_empty(), states[key] == "honoured", "{key}: {found:?}");
    }
}
