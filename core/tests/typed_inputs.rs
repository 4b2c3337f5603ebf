//! The values that typed inputs take: one rule for the inputs of a pipeline, of an included file, and of a GitLab file.

use indexmap::IndexMap;
use tidemill_core::gitlab::{TranslateOptions, translate};
use tidemill_core::pipeline::{FileError, assemble, parse};

const NAME: &str = "ci/included.yml";

/// Whether the input of a pipeline takes the text of a user.
fn pipeline_takes(declaration: &str, value: &str) -> bool {
    let text = format!(
        "name: a\non: {{ manual: {{ inputs: {{ v: {{ {declaration} }} }} }} }}\njobs: {{ j: {{ image: x, script: [x] }} }}\n"
    );
    let given = IndexMap::from([("v".to_owned(), value.to_owned())]);
    parse(&text).unwrap().on.input_values(&given, true).is_ok()
}

/// Whether the input of an included file takes a value of `with`.
fn include_takes(declaration: &str, value: &str) -> bool {
    let included =
        format!("inputs: {{ v: {{ {declaration} }} }}\njobs: {{ j: {{ image: x, script: x }} }}\n");
    let read = |path: &str| (path == NAME).then(|| included.clone()).ok_or(FileError::NotListed);
    assemble("a.yml", &format!("name: a\ninclude: {{ local: {NAME}, with: {{ v: {value} }} }}\n"), &read)
        .is_ok()
}

/// Whether the input of an included GitLab file takes a value of `inputs`.
fn gitlab_takes(declaration: &str, value: &str) -> bool {
    let included =
        format!("spec:\n  inputs:\n    v: {{ {declaration} }}\n---\nj: {{ image: x, script: x }}\n");
    let read = |path: &str| (path == NAME).then(|| included.clone()).ok_or(FileError::NotListed);
    let text = format!("include: {{ local: {NAME}, inputs: {{ v: {value} }} }}\n");
    translate(".gitlab-ci.yml", &text, &read, &TranslateOptions::for_pipeline("a")).is_ok()
}

/// Returns the script of a GitLab file that is run with a value for its own input.
fn gitlab_run(declaration: &str, value: &str) -> Option<String> {
    let text = format!(
        "spec:\n  inputs:\n    v: {{ {declaration} }}\n---\nj: {{ image: x, script: ['$[[ inputs.v ]]'] }}\n"
    );
    let inputs = IndexMap::from([("v".to_owned(), value.to_owned())]);
    let options = TranslateOptions { inputs, ..TranslateOptions::for_pipeline("a") };
    let read = |_: &str| Err(FileError::NotListed);
    let translated = translate(".gitlab-ci.yml", &text, &read, &options).ok()?;
    Some(translated.parsed.pipeline.jobs[0].script.concat())
}

#[test]
fn three_kinds_of_inputs_take_values_by_one_rule() {
    // The three answers, of a pipeline, an included file and a GitLab file: `y`, `n`, or `-` where there is no such thing.
    for (declaration, value, expected) in [
        ("type: number", "1", "yyy"),
        ("type: number", "-1.5", "yyy"),
        ("type: number", "0", "yyy"),
        ("type: number", "many", "nnn"),
        ("type: number", "1e", "nnn"),
        // As JSON has them, and in GitLab files as YAML 1.1 has them.
        ("type: number", "2e3", "yyn"),
        ("type: number", "01", "nny"),
        ("type: number", "1.", "nny"),
        ("type: number", ".5", "nny"),
        ("type: number", "1_000", "nny"),
        ("type: number", "0x1F", "nny"),
        ("type: number", "08", "nnn"),
        ("type: number", "1e999", "nnn"),
        ("type: number", "NaN", "nnn"),
        ("type: number", "'1'", "-nn"),
        ("type: number", "", "nnn"),
        ("type: boolean", "true", "yyy"),
        ("type: boolean", "false", "yyy"),
        ("type: boolean", "yes", "nny"),
        ("type: boolean", "True", "nny"),
        ("type: boolean", "1", "nnn"),
        ("type: boolean", "'true'", "-nn"),
        ("type: string", "a", "yyy"),
        ("type: string", "'1'", "-yy"),
        // What a user writes for a string is one.
        ("type: string", "1", "ynn"),
        ("type: string", "true", "ynn"),
        ("type: string", "yes", "yyn"),
        ("type: string", "01", "yyn"),
        ("type: string", "1.", "yyn"),
        ("type: string", "[a]", "-nn"),
        ("type: string", "\"a\\0\"", "-nn"),
        ("type: string, pattern: '^v[0-9]+$'", "v2", "yyy"),
        ("type: string, pattern: '^v[0-9]+$'", "w2", "nnn"),
        ("type: string, pattern: '[0-9]'", "v2", "yyy"),
        ("type: choice, options: [dev, prod]", "dev", "yyy"),
        ("type: choice, options: [dev, prod]", "test", "nnn"),
        ("type: choice, options: ['1', prod]", "'1'", "-yy"),
        ("type: number, options: [1, 2.5]", "2.50", "-yy"),
        ("type: number, options: [1, 2.5]", "2", "-nn"),
        // An option of another type is none.
        ("type: number, options: ['1']", "1", "-nn"),
        ("type: list", "[a, 1, true]", "-yy"),
        ("type: list", "[]", "-yy"),
        ("type: list", "a", "-nn"),
        // GitLab's arrays have any items.
        ("type: list", "[[a]]", "-ny"),
        ("type: list", "[{ a: b }]", "-ny"),
        ("type: list, options: [a, b]", "[a, b]", "-yn"),
        ("type: list, options: [a, b]", "[a, c]", "-nn"),
        ("type: list, pattern: '^a'", "[a, ab]", "-yn"),
        // Declarations that have no meaning.
        ("type: boolean, options: ['true']", "true", "-nn"),
        ("type: boolean, pattern: t", "true", "-nn"),
        ("type: number, pattern: '1'", "1", "-nn"),
        ("type: string, pattern: '('", "(", "-nn"),
    ] {
        let included = declaration.replace("choice", "string");
        let gitlab = included.replace("list", "array").replace("pattern", "regex");
        let takes = |caller: usize| match caller {
            0 => pipeline_takes(declaration, value),
            1 => include_takes(&included, value),
            _ => gitlab_takes(&gitlab, value),
        };
        for (caller, expected) in expected.chars().enumerate().filter(|(_, expected)| *expected != '-') {
            assert_eq!(takes(caller), expected == 'y', "{caller}: {declaration}: {value}");
        }
    }
}

#[test]
fn long_values_are_for_files_only() {
    let long = "x".repeat((4 << 10) + 1);
    assert!(!pipeline_takes("type: string", &long));
    assert!(include_takes("type: string", &long) && gitlab_takes("type: string", &long));
    assert!(pipeline_takes("type: string", &long[1..]));
}

#[test]
fn options_are_bounded() {
    for (count, is_valid) in [(100, true), (101, false)] {
        let options: Vec<String> = (0..count).map(|n| format!("o{n}")).collect();
        let declaration = format!("options: [{}]", options.join(", "));
        assert_eq!(include_takes(&declaration, "o1"), is_valid, "{count}");
        assert_eq!(gitlab_takes(&declaration, "o1"), is_valid, "{count}");
    }
}

#[test]
fn values_for_a_run_of_a_gitlab_file_are_those_of_its_yaml() {
    assert_eq!(gitlab_run("type: number", "012").unwrap(), "10");
    assert_eq!(gitlab_run("type: boolean", "yes").unwrap(), "true");
    assert_eq!(gitlab_run("type: string", "012").unwrap(), "012");
    assert_eq!(gitlab_run("type: number", "x"), None);
}
