//! Words that the project does not use, in names, comments, messages and documentation. `docs/glossary.md` has those that it does use.

use crate::tree::{PACKAGES, assert_none, files, relative, root, scripts};
use std::{collections::BTreeMap, fs};
use syn::visit::{self, Visit};

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

/// Names of types that say nothing of what the type is.
const DENIED_TYPES: &[&str] = &[
    "Asked", "Found", "Late", "Made", "Orders", "Parking", "Refused", "Stored", "Then", "Trouble",
    "Unproven", "Waiting", "Wanted", "Wave",
];

/// Names of types that one package gives to one type at most.
const GENERAL_TYPES: &[&str] = &["Change", "Entry", "Settings"];

/// Names of functions, and what to write instead.
const DENIED_FUNCTIONS: &[(&str, &str)] = &[
    ("become", "into_..."),
    ("foresee", "precompute"),
    ("happen", "apply_event"),
    ("lend", "pass"),
    ("made", "created"),
    ("settle_all", "finish"),
    ("tell", "notify"),
    ("told", "notified"),
    ("turn", "next_step"),
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
    let extensions =
        ["rs", "md", "py", "sh", "yml", "toml", "json", "ts", "tsx", "mjs", "css", "sql", "html"];
    let mut paths = files(".", &extensions);
    paths.extend(scripts());
    paths.push(root().join("Makefile"));
    for path in paths {
        let is_built = path.starts_with(root().join("web/dist"));
        // Inputs of tests, such as requests of git providers, have words of others.
        let is_input =
            path.components().any(|part| part.as_os_str() == "fixtures" || part.as_os_str() == "corpus");
        if is_input || is_built || path.ends_with("architecture/vocabulary.rs") {
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
    let mut paths = files(".", &["rs", "py", "ts", "tsx"]);
    paths.extend(scripts());
    for path in paths {
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let mut words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            if let Some(name) = words.find(|word| {
                ["MOST_", "LONGEST_", "LARGEST_", "KEPT_"]
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

/// The names of the types and functions of a source file.
#[derive(Default)]
struct Names {
    types: Vec<String>,
    functions: Vec<String>,
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.types.push(item.ident.to_string());
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.types.push(item.ident.to_string());
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.types.push(item.ident.to_string());
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.types.push(item.ident.to_string());
        visit::visit_item_trait(self, item);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.functions.push(signature.ident.to_string());
    }
}

fn names_of(text: &str) -> Names {
    let mut names = Names::default();
    names.visit_file(&syn::parse_file(text).unwrap());
    names
}

#[test]
fn types_and_functions_are_named_for_what_they_are() {
    let mut violations = Vec::new();
    let mut checked = 0;
    for package in PACKAGES {
        let mut general = BTreeMap::<String, Vec<String>>::new();
        for path in files(package, &["rs"]) {
            let names = names_of(&fs::read_to_string(&path).unwrap());
            checked += names.types.len() + names.functions.len();
            for name in names.types {
                if DENIED_TYPES.contains(&name.as_str()) {
                    violations.push(format!("{}: the type `{name}`", relative(&path)));
                }
                if GENERAL_TYPES.contains(&name.as_str()) {
                    general.entry(name).or_default().push(relative(&path));
                }
            }
            for name in names.functions {
                if let Some((_, instead)) = DENIED_FUNCTIONS.iter().find(|(denied, _)| *denied == name) {
                    violations.push(format!("{}: `{name}`: {instead}", relative(&path)));
                }
            }
        }
        let several = general.into_iter().filter(|(_, paths)| paths.len() > 1);
        violations.extend(several.map(|(name, paths)| format!("`{name}` in {}", paths.join(" and "))));
    }
    assert!(checked > 5_000, "only {checked} names were checked");
    assert_none("name it for what it is", &violations);
    let names = names_of("mod m { struct Wanted; } trait T { fn tell(); } impl A { fn turn() {} }");
    assert_eq!(
        (names.types, names.functions),
        (vec!["Wanted".into(), "T".into()], vec!["tell".into(), "turn".into()])
    );
}
