//! Compares the reader with serde_yaml: an accepted file has the same value in both.
//!
//! serde_yaml reads YAML 1.1, the reader YAML 1.2. The newer version allows some texts that the older one rejects, such as a key of
//! two lines in braces; these have one meaning only, and are not compared.

use std::collections::HashSet;

use proptest::prelude::*;
use serde_yaml::Value;

use super::{parse_with_warnings, read_tree};
use crate::pipeline::yaml::tree::{Kind, Node};

/// Texts with a meaning in YAML, to be inserted into valid files.
const INSERTIONS: [&str; 33] = [
    "jobs:",
    "*base",
    "&base ",
    "&a:",
    "&a.b ",
    "*a:",
    "<<: *base",
    "- ",
    "? ",
    "{",
    "}",
    "[",
    "]",
    ": ",
    ", ",
    "\n",
    "\n  ",
    "\n    ",
    "\t",
    "'",
    "\"",
    "\\",
    "|",
    "|+\n",
    ">-\n",
    "~",
    "null",
    "!!str ",
    "! ",
    " #",
    "%",
    "\u{7f}",
    "\u{feff}",
];

/// The good fixtures and the examples.
const ACCEPTED_FILES: [&str; 11] = [
    include_str!("../../../tests/fixtures/good/anchors.yml"),
    include_str!("../../../tests/fixtures/good/design.yml"),
    include_str!("../../../tests/fixtures/good/list-form.yml"),
    include_str!("../../../tests/fixtures/good/parts.yml"),
    include_str!("../../../tests/fixtures/good/rest-of-the-language.yml"),
    include_str!("../../../tests/fixtures/good/retry-and-concurrency.yml"),
    include_str!("../../../tests/fixtures/good/templates.yml"),
    include_str!("../../../../examples/go.yml"),
    include_str!("../../../../examples/node.yml"),
    include_str!("../../../../examples/python.yml"),
    include_str!("../../../../examples/rust.yml"),
];

/// Whether an anchor may be defined twice. serde_yaml numbers anchors by how many names there are, so that the next anchor after
/// such a pair takes the number of another one.
fn repeats_an_anchor(source: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let mut names = HashSet::new();
    let mut found = source.split('&').skip(1).filter_map(|rest| rest.split(|c| !is_name(c)).next());
    found.any(|name| !name.is_empty() && !names.insert(name))
}

/// The value that serde_yaml reads, with merge keys applied; `None` if it rejects the text, or misreads anchors.
fn value_of(source: &str) -> Option<Value> {
    if repeats_an_anchor(source) {
        return None;
    }
    let mut value: Value = serde_yaml::from_str(source).ok()?;
    // A merged mapping may contain a merge key.
    for _ in 0..16 {
        value.apply_merge().ok()?;
    }
    Some(value)
}

/// The first difference between a node and a value.
fn difference(node: &Node, value: &Value) -> Option<String> {
    let same = match (&node.kind, value) {
        (Kind::Scalar { text, .. }, Value::String(value)) => text == value && !node.is_null(),
        (Kind::Scalar { .. }, Value::Null) => node.is_null(),
        (Kind::Scalar { text, plain: true }, Value::Bool(_) | Value::Number(_)) => same_plain(text, value),
        (Kind::Sequence(items), Value::Sequence(values)) if items.len() == values.len() => {
            return items.iter().zip(values).find_map(|(item, value)| difference(item, value));
        }
        (Kind::Mapping(mapping), Value::Mapping(values)) if mapping.entries.len() == values.len() => {
            return mapping.entries.iter().find_map(|entry| {
                let is_key = |key: &Value| match key {
                    Value::String(key) => *key == entry.key,
                    other => same_plain(&entry.key, other),
                };
                let value = values.iter().find(|(key, _)| is_key(key));
                value.map_or_else(
                    || Some(format!("no key {:?} in {values:?}", entry.key)),
                    |(_, value)| difference(&entry.value, value),
                )
            });
        }
        _ => false,
    };
    (!same).then(|| format!("{:?} is {value:?} to serde_yaml", node.kind))
}

/// Whether an unquoted text has this value.
fn same_plain(text: &str, value: &Value) -> bool {
    serde_yaml::from_str::<Value>(text).is_ok_and(|read| read == *value)
}

/// The first difference between the reader and serde_yaml in a file that the reader accepts.
fn disagreement(source: &str) -> Option<String> {
    parse_with_warnings(source).ok()?;
    // Templates, which are not part of YAML, are not applied yet.
    let tree = read_tree(source).ok()?;
    difference(tree.root.as_deref()?, &value_of(source)?)
}

#[test]
fn accepted_files_have_the_value_of_serde_yaml() {
    for file in ACCEPTED_FILES {
        assert!(parse_with_warnings(file).is_ok() && value_of(file).is_some(), "{file}");
        assert_eq!(disagreement(file), None, "{file}");
    }
}

#[test]
fn ambiguous_characters_and_tags_are_rejected() {
    for value in ["a\u{1}b", "a\u{7f}b", "'\u{85}\u{9f}'", "!!int 5", "! 5", "!x 5", "!!binary aGk="] {
        let source = format!("name: n\njobs: {{ a: {{ image: i, script: s }} }}\nx-data: {value}\n");
        assert!(parse_with_warnings(&source).is_err(), "{value:?}");
    }
    for value in ["!!str 5", "!!map { a: b }", "!!seq [a]", "\"\\u0001\"", "ä🦀"] {
        let source = format!("name: n\njobs: {{ a: {{ image: i, script: s }} }}\nx-data: {value}\n");
        assert_eq!(disagreement(&source), None, "{value:?}");
        assert!(parse_with_warnings(&source).is_ok() && value_of(&source).is_some(), "{value:?}");
    }
}

#[test]
fn anchor_and_alias_names_have_letters_digits_underscores_and_hyphens() {
    for source in ["x: &a-b_9 c\ny: *a-b_9\n", "x: [&a b, *a, &1]\n", "&a x: !!str &b 1\n*a : *b\n"] {
        assert!(read_tree(source).is_ok(), "{source}");
    }
    let cases = [
        ("x: &a: b\n", (1, 4, 3), "`a:` is not a valid anchor name"),
        ("x: !!str &a.b c\n", (1, 10, 4), "`a.b` is not a valid anchor name"),
        ("x: !!map # &c\n  &é\n  y: 1\n", (2, 3, 2), "`é` is not a valid anchor name"),
        ("ä: [&a:]\n", (1, 5, 3), "`a:` is not a valid anchor name"),
        ("x: &a b\ny: *a:\n", (2, 4, 3), "`a:` is not a valid alias name"),
    ];
    for (source, position, message) in cases {
        let found = read_tree(source).err().and_then(|mut found| found.pop());
        let location = found.as_ref().and_then(|found| found.location);
        assert_eq!(location.map(|at| (at.line, at.column, at.length)), Some(position), "{source}");
        assert_eq!(found.map(|found| found.message).as_deref(), Some(message), "{source}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_files_have_the_value_of_serde_yaml(
        file in 0..ACCEPTED_FILES.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize, 0..INSERTIONS.len()), 1..4),
    ) {
        let mut text: Vec<char> = ACCEPTED_FILES[file].chars().collect();
        for (at, cut, text_ix) in edits {
            let at = at.index(text.len());
            let end = (at + cut).min(text.len());
            text.splice(at..end, INSERTIONS[text_ix].chars());
        }
        let mut source: String = text.into_iter().collect();
        // At the end of a text without a final line break, saphyr-parser adds one to a block scalar, and serde_yaml does not.
        source.push('\n');
        prop_assert_eq!(disagreement(&source), None, "{}", source);
    }

    #[test]
    fn any_data_has_the_value_of_serde_yaml(
        data in "( {0,4}(- |[a-c]: ?|\\? )?(!!str )?([&*][a-c][a-c.:]? )?('[ -~]{0,6}'|\"[ -~]{0,6}\"|[|>][-+1-3]?|[a-z0-9.~:#\\[\\]{},!|>'\" -]{0,10})\n){1,6}",
    ) {
        let data = data.replace('\n', "\n  ");
        let source = format!("name: n\njobs: {{ a: {{ image: i, script: s }} }}\nx-data:\n  {data}\n");
        prop_assert_eq!(disagreement(&source), None, "{}", source);
    }
}

#[test]
fn key_of_a_job_is_located_in_it_or_among_the_defaults() {
    let line = |text: &str, job: &str| {
        super::locate_in_job(text, job, "services").map(|location| (location.line, location.column))
    };
    let gitlab = "default:\n  services: [a]\nj:\n  script: x\n  services: [b]\nk:\n  script: x\n";
    assert_eq!(line(gitlab, "j"), Some((5, 3)));
    assert_eq!(line(gitlab, "k"), Some((2, 3)));
    assert_eq!(line(gitlab, "elsewhere"), None);
    assert_eq!(line("j: { extends: .base, script: !reference [.base, script] }\n", "j"), Some((1, 1)));
    let native = "name: n\njobs:\n  j:\n    image: i\n    services: [{ image: b }]\n";
    assert_eq!(line(native, "j"), Some((5, 5)));
    assert_eq!(line("", "j"), None);
}
