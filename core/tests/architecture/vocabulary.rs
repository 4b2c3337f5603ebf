//! Words that the project does not use, in names, comments, messages and documentation. `docs/glossary.md` has those that it does use.

use crate::tree::{assert_none, files, relative};
use std::fs;

/// Words and phrases, in lower case, and what to write instead. A word matches as a whole; an underscore or a change of
/// case ends a word, so that `hear_out` and `HearOut` match "hear out".
const DENIED: &[(&str, &str)] = &[
    ("at hand", "available, or cached"),
    ("became of", "the outcome"),
    ("carry on", "continue"),
    ("carried on", "continued"),
    ("comes to", "results in, or is"),
    ("excused", "allowed to fail"),
    ("foresee", "precompute"),
    ("foreseen", "precomputed"),
    ("foresees", "precomputes"),
    ("hear out", "drain"),
    ("in words", "name the error"),
    ("heard", "received"),
    ("lend", "pass"),
    ("lent", "passed"),
    ("made known", "registered"),
    ("make known", "register"),
    ("mend", "fix"),
    ("mended", "fixed"),
    ("mends", "fixes"),
    ("parking lot", "pool, or wait list"),
    ("reckon", "compute"),
    ("reckoned", "computed"),
    ("parked", "standby"),
    ("riddle", "say it plainly"),
    ("seat", "slot, or waiter"),
    ("set aside", "skip"),
    ("somebody", "a user, or another process"),
    ("spared", "not needed"),
    ("told", "notified, or acknowledged"),
    ("unproven", "unverified"),
    ("unsaid", "omitted"),
];

/// Text in lower case with its words separated by single spaces.
fn normalized(line: &str) -> String {
    let mut words = String::from(" ");
    let mut previous = ' ';
    for c in line.chars() {
        if c.is_ascii_uppercase() && previous.is_ascii_lowercase() {
            words.push(' ');
        }
        if c.is_alphanumeric() || c == '\'' {
            words.extend(c.to_lowercase());
        } else if !words.ends_with(' ') {
            words.push(' ');
        }
        previous = c;
    }
    words.push(' ');
    words
}

#[test]
fn words_are_those_of_the_field() {
    let phrases: Vec<(String, &str)> =
        DENIED.iter().map(|(denied, instead)| (format!(" {denied} "), *instead)).collect();
    let mut violations = Vec::new();
    for path in files(".", &["rs", "md", "py", "sh", "yml", "toml", "json"]) {
        // Inputs of tests, such as requests of git providers, have words of others.
        let is_input =
            path.components().any(|part| part.as_os_str() == "fixtures" || part.as_os_str() == "corpus");
        if is_input || path.ends_with("architecture/vocabulary.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            let line = normalized(line);
            for (denied, instead) in &phrases {
                if line.contains(denied) {
                    violations.push(format!(
                        "{}:{}: \"{}\": {instead}",
                        relative(&path),
                        number + 1,
                        denied.trim()
                    ));
                }
            }
        }
    }
    assert_none("write the standard term", &violations);
}

#[test]
fn constants_for_limits_begin_with_max() {
    let mut violations = Vec::new();
    for path in files(".", &["rs", "py"]) {
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let mut words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            if let Some(name) = words.find(|word| {
                ["MOST_", "LONGEST_", "LARGEST_"]
                    .iter()
                    .any(|start| word.starts_with(start) && word.len() > start.len())
            }) {
                violations.push(format!("{}:{}: {name}", relative(&path), number + 1));
            }
        }
    }
    assert_none("name it MAX_...", &violations);
}

#[test]
fn words_are_found_in_names_and_prose() {
    for line in ["fn hear_out()", "struct HearOut;", "// It may hear out all.", "HEAR_OUT"] {
        assert!(normalized(line).contains(" hear out "), "{line}");
    }
    assert!(!normalized("// amendment, recommend").contains(" mend "));
}
