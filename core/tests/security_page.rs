//! The security page names a test for each promise; a test that it names exists.

use std::{fs, path::Path};

/// The quoted texts of a Markdown line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn tests_named_by_security_page_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let start = page.find("### Promises, and the tests that hold them").unwrap();
    let promises = &page[start..start + page[start..].find("### Known limits").unwrap()];
    let mut named = 0;
    for row in promises.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let mut source = String::new();
        for text in quoted(tests) {
            if Path::new(text).extension().is_some_and(|extension| extension == "rs") {
                source = fs::read_to_string(root.join(text)).unwrap();
            } else {
                assert!(
                    source.contains(&format!("fn {text}(")),
                    "no test `{text}` in the file named before it: {row}"
                );
                named += 1;
            }
        }
    }
    assert!(named >= 50, "only {named} tests are named");
}
