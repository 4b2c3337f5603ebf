//! Files that a pipeline file includes from other repositories, and their inputs.

use crate::elsewhere::{Elsewhere, commit, texts};
use tidemill_core::child::read_child;
use tidemill_core::gitlab::TranslateOptions;
use tidemill_core::pipeline::{ChildPipeline, PipelineErrors, PipelineWithSources, assemble_from, parse};
use tidemill_core::repository::includes::PinnedInclude;

const LIB: &str = "https://git.example/group/lib";
const TOP: &str = "top.yml";

const DECLARED: &str = "inputs:
  name: { pattern: '^[a-z]+$' }
  image: { type: string, default: 'rust:1.95', options: ['rust:1.95', 'rust:1.96'] }
  retry: { type: number, default: 1 }
  fails: { type: boolean, default: false }
  lines: { type: list, default: [echo] }
jobs:
  $[[ inputs.name ]]-job:
    image: $[[ inputs.image ]]
    retry: $[[inputs.retry]]
    allow_failure: $[[ inputs.fails ]]
    script: $[[ inputs.lines ]]
    variables: { V: 'v-$[[ inputs.retry ]]' }
";

fn lib(local: &[(&str, &str)]) -> Elsewhere {
    Elsewhere::new(local)
        .with_commit(
            LIB,
            &commit('1'),
            &["HEAD"],
            &[("ci/a.yml", "jobs: { head: { image: x, script: x } }\n")],
        )
        .with_commit(
            LIB,
            &commit('2'),
            &["tag:v2"],
            &[
                ("ci/a.yml", "include: ci/inner.yml\njobs: { a: { image: x, script: x } }\n"),
                ("ci/inner.yml", "jobs: { inner: { image: x, script: x } }\n"),
                ("ci/declared.yml", DECLARED),
            ],
        )
}

fn of(text: &str, files: &Elsewhere) -> Result<PipelineWithSources, PipelineErrors> {
    assemble_from(TOP, text, files)
}

fn good(text: &str, files: &Elsewhere) -> PipelineWithSources {
    let assembled = of(text, files).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    assert_eq!(parse(&assembled.text).unwrap(), assembled.parsed.pipeline, "{}", assembled.text);
    assembled
}

/// The only error about a text.
fn error(text: &str, files: &Elsewhere) -> String {
    match of(text, files) {
        Ok(assembled) => panic!("{}", assembled.text),
        Err(errors) => {
            let mut found = texts(&errors);
            assert_eq!(found.len(), 1, "{found:?}");
            found.remove(0)
        }
    }
}

#[test]
fn files_of_another_repository_are_pinned_and_include_their_own_files() {
    let files = lib(&[("ci/inner.yml", "jobs: { wrong: { image: x, script: x } }\n")]);
    let text = format!(
        "name: top\ninclude: {{ git: '{LIB}', ref: v2, file: [ci/a.yml] }}\njobs: {{ own: {{ image: x, script: x }} }}\n"
    );
    let assembled = good(&text, &files);
    let names: Vec<&str> = assembled.parsed.pipeline.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["inner", "a", "own"]);
    let pinned = |path: &str| PinnedInclude::Git {
        url: LIB.to_owned(),
        reference: Some("v2".to_owned()),
        commit: commit('2'),
        file: path.to_owned(),
    };
    assert_eq!(assembled.includes, [pinned("ci/a.yml"), pinned("ci/inner.yml")]);
    assert!(assembled.text.contains("git.example/group/lib@v2:ci/a.yml"), "{}", assembled.text);
    let default = good(&format!("name: top\ninclude: {{ git: '{LIB}', file: ci/a.yml }}\n"), &files);
    assert_eq!(default.includes[0].version(), commit('1'));
}

#[test]
fn inputs_have_types_and_values() {
    let files = lib(&[]);
    let text = format!(
        "name: top\ninclude:\n  - git: {LIB}\n    ref: v2\n    file: ci/declared.yml\n    with: {{ name: one, retry: 3, fails: true, lines: [a, 'b: c'] }}\n  \
         - {{ git: '{LIB}', ref: v2, file: ci/declared.yml, with: {{ name: two, image: 'rust:1.96' }} }}\n"
    );
    let pipeline = good(&text, &files).parsed.pipeline;
    let [one, two] = pipeline.jobs.as_slice() else { panic!("{pipeline:?}") };
    assert_eq!((one.name.as_str(), one.image.as_str(), one.retry), ("one-job", "rust:1.95", 3));
    assert!(one.allow_failure && !two.allow_failure);
    assert_eq!(
        (one.script.as_slice(), one.variables["V"].as_str()),
        (&["a", "b: c"].map(String::from)[..], "v-3")
    );
    assert_eq!((two.name.as_str(), two.image.as_str(), two.retry), ("two-job", "rust:1.96", 1));
    assert_eq!(two.script, ["echo"]);
}

#[test]
fn wrong_inputs_are_errors_at_their_places() {
    let files = lib(&[("plain.yml", "jobs: { j: { image: x, script: x } }\n")]);
    for (with, place, message) in [
        ("{ }", "3:5:", "the input `name` has no default, and no value is given"),
        ("{ name: a, names: b }", "6:22:", "the included file has no input `names`"),
        ("{ name: A1 }", "6:19:", "does not match the `pattern` of `name`"),
        ("{ name: 5 }", "6:19:", "the input `name` takes a string"),
        ("{ name: [a] }", "6:19:", "the input `name` takes a string"),
        ("{ name: a, image: 'rust:1' }", "6:29:", "none of the options of `image`"),
        ("{ name: a, retry: many }", "6:29:", "the input `retry` takes a number"),
        ("{ name: a, retry: '2' }", "6:29:", "the input `retry` takes a number"),
        ("{ name: a, fails: 'true' }", "6:29:", "the input `fails` takes `true` or `false`"),
        ("{ name: a, lines: x }", "6:29:", "the input `lines` takes a list"),
        ("{ name: }", "6:13:", "the input `name` takes a string"),
    ] {
        let text = format!(
            "name: top\ninclude:\n  - git: {LIB}\n    ref: v2\n    file: ci/declared.yml\n    with: {with}\njobs:\n  j: {{ extends: .gone }}\n"
        );
        let errors = of(&text, &files).unwrap_err();
        let found = texts(&errors);
        assert!(found[0].starts_with(place) && found[0].contains(message), "{with}: {found:?}");
    }
    let list = format!("name: top\ninclude: {{ git: {LIB}, ref: v2, file: ci/declared.yml, with: [a] }}\n");
    let errors = of(&list, &files).unwrap_err();
    assert!(
        texts(&errors).iter().any(|found| found.contains("`with` takes a mapping")),
        "{:?}",
        texts(&errors)
    );
    let found = error("name: top\ninclude: { local: plain.yml, with: { a: b } }\n", &files);
    assert!(found.contains("declares no `inputs`"), "{found}");
}

#[test]
fn wrong_declarations_are_errors_in_their_file() {
    for (declared, place, message) in [
        ("  a: { type: array }\n", "2:14:", "`array` is not the type of an input"),
        ("  a: { typ: string }\n", "2:8:", "an input has no key `typ`"),
        ("  a b: { default: x }\n", "2:3:", "is not the name of an input"),
        ("  a: { default: x, pattern: '(' }\n", "2:29:", "the `pattern` of `a` is not valid"),
        ("  a: { type: number, default: x }\n", "2:31:", "the input `a` takes a number"),
        ("  a: x\n", "2:6:", "takes a mapping"),
        (
            "  a: { type: list, default: [x] }\njobs: { j: { image: 'x-$[[ inputs.a ]]', script: x } }\n",
            "3:21:",
            "is a list",
        ),
        (
            "  a: { default: x }\njobs: { j: { image: '$[[ inputs.b ]]', script: x } }\n",
            "3:21:",
            "declares no input `b`",
        ),
        (
            "  a: { default: x }\njobs: { j: { image: '$[[ a ]]', script: x } }\n",
            "3:21:",
            "write `$[[ inputs.name ]]`",
        ),
    ] {
        let files = Elsewhere::new(&[("i.yml", &format!("inputs:\n{declared}"))]);
        let found = error("name: top\ninclude: i.yml\n", &files);
        assert!(found.starts_with(&format!("i.yml:{place}")) && found.contains(message), "{declared}{found}");
    }
}

#[test]
fn text_of_values_is_bounded() {
    let use_all = "      - \"$[[ inputs.a ]]\"\n".repeat(100);
    let text = format!(
        "inputs:\n  a: {{ default: '{}' }}\njobs:\n  j:\n    image: x\n    script:\n{use_all}",
        "x".repeat(100_000)
    );
    let found = error("name: top\ninclude: i.yml\n", &Elsewhere::new(&[("i.yml", &text)]));
    assert!(found.contains("larger than"), "{found}");
}

#[test]
fn failed_include_is_one_error_at_its_place() {
    let files = lib(&[]);
    for (include, place, message) in [
        (format!("{{ git: {LIB}, ref: v9, file: a.yml }}"), "2:17:", "has no branch, tag or version `v9`"),
        (
            format!("{{ git: {LIB}, ref: v2, file: b.yml }}"),
            "2:63:",
            "lib@v2:b.yml` cannot be read: there is no such file",
        ),
        (format!("{{ git: {LIB} }}"), "2:10:", "names no `file`"),
        ("{ git: 'https://git.example/gone', file: a }".to_owned(), "2:17:", "the repository was not found"),
        ("{ git: 'http://git.other/lib', file: a }".to_owned(), "2:17:", "begins with https:// or ssh://"),
        ("{ git: 'git://git.other/lib', file: a }".to_owned(), "2:17:", "begins with https:// or ssh://"),
        ("{ git: 'https://me:word@git.other/lib', file: a }".to_owned(), "2:17:", "user name or a password"),
        ("{ git: '/srv/lib', file: a }".to_owned(), "2:17:", "is a local path"),
        ("{ git: 'ext::sh -c x', file: a }".to_owned(), "2:17:", "invalid characters"),
        (format!("{{ git: {LIB}, local: a, file: a }}"), "2:48:", "`local` or `git`, not both"),
        ("{ local: a.yml, ref: v2 }".to_owned(), "2:26:", "`ref` needs `git`"),
        ("{ project: a/b, file: a }".to_owned(), "2:12:", "`include` has no key `project`"),
    ] {
        let text = format!("name: top\ninclude: {include}\njobs: {{ j: {{ extends: .gone }} }}\n");
        let found = error(&text, &files);
        assert!(found.starts_with(place) && found.contains(message), "{include}: {found}");
        assert!(!found.contains("word@"), "{found}");
    }
}

#[test]
fn cycle_across_repositories_is_an_error() {
    let files = Elsewhere::new(&[]).with_commit(
        LIB,
        &commit('1'),
        &["HEAD"],
        &[("a.yml", "include: b.yml\n"), ("b.yml", &format!("include: {{ git: '{LIB}', file: a.yml }}\n"))],
    );
    let found = error(&format!("name: top\ninclude: {{ git: '{LIB}', file: a.yml }}\n"), &files);
    assert!(found.contains("include each other") && found.contains("lib:b.yml"), "{found}");
}

#[test]
fn child_includes_files_from_elsewhere() {
    let text = format!("name: c\ninclude: {{ git: '{LIB}', ref: v2, file: ci/a.yml }}\n");
    let files = lib(&[("child.yml", &text)]);
    let child = ChildPipeline { files: vec!["child.yml".to_owned()], ..ChildPipeline::default() };
    let read = read_child(&child, &[], &files, &TranslateOptions::for_pipeline("c")).unwrap();
    assert_eq!(read.includes.len(), 2, "{:?}", read.includes);
}
