//! Pipelines composed from several files.
#![allow(clippy::format_collect)]

use proptest::prelude::*;
use std::collections::HashMap;
use tidemill_core::pipeline::{
    FileError, MAX_FILE_BYTES, MAX_FILES, PipelineErrors, PipelineWithSources, assemble, parse,
};

fn of(files: &[(&str, &str)]) -> Result<PipelineWithSources, PipelineErrors> {
    let known: HashMap<&str, &str> = files.iter().copied().collect();
    let read = |path: &str| known.get(path).map(|text| (*text).to_owned()).ok_or(FileError::Missing);
    assemble(files[0].0, files[0].1, &read)
}

fn good(files: &[(&str, &str)]) -> PipelineWithSources {
    let assembled = of(files).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    assert_eq!(
        parse(&assembled.text).unwrap(),
        assembled.parsed.pipeline,
        "the one text says the same:\n{}",
        assembled.text
    );
    assembled
}

const BASE: &str = r#"
variables: { LEVEL: base, ONLY: base }
defaults: { image: rust:1.95, timeout: 10m }
.job: { retry: 2, variables: { FROM: template } }
jobs:
  unit:
    script:
      - |
        for f in a b; do
          echo "$f: x"
        done
      - 'say: "hi" # not a comment'
    timeout: 5m
  lint: { script: "true" }
"#;

#[test]
fn including_file_overrides_included() {
    let top = "name: top\ninclude: /ci/base.yml\nvariables: { LEVEL: top }\njobs:\n  unit: { timeout: 7m }\n  own: { extends: .job, script: ls }\n";
    let assembled = good(&[("top.yml", top), ("ci/base.yml", BASE)]);
    let pipeline = &assembled.parsed.pipeline;
    assert_eq!((pipeline.variables["LEVEL"].as_str(), pipeline.variables["ONLY"].as_str()), ("top", "base"));
    let names: Vec<&str> = pipeline.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["unit", "lint", "own"]);
    let [unit, lint, own] = pipeline.jobs.as_slice() else { panic!() };
    assert_eq!((unit.timeout_s, lint.timeout_s, own.retry), (420, 600, 2));
    assert_eq!(unit.script[0], "for f in a b; do\n  echo \"$f: x\"\ndone\n");
    assert_eq!(unit.script[1], "say: \"hi\" # not a comment");
    assert_eq!(own.variables["FROM"], "template");
    assert_eq!(assembled.files.len(), 2);
    assert!(
        assembled.text.starts_with("# Made from top.yml, which includes ci/base.yml.\n"),
        "{}",
        assembled.text
    );
}

#[test]
fn later_includes_win_over_earlier_ones_and_each_is_read_once() {
    let top = "name: top\ninclude: [a.yml, { local: ./b.yml }]\ndefaults: { image: x }\n";
    let a = "include: c.yml\nvariables: { A: a, C: a }\n";
    let b = "include: c.yml\nvariables: { A: b }\n";
    let c = "variables: { C: c }\njobs: { one: { script: x } }\n";
    let assembled = good(&[("top.yml", top), ("a.yml", a), ("b.yml", b), ("c.yml", c)]);
    assert_eq!(assembled.files.len(), 4);
    assert_eq!(assembled.parsed.pipeline.variables["A"], "b");
    assert_eq!(assembled.parsed.pipeline.variables["C"], "c", "b.yml includes c.yml");
}

#[test]
fn file_without_include_is_unchanged() {
    let text = "name: top # include\njobs: { a: { image: x, script: x } }\n";
    assert_eq!(good(&[("top.yml", text)]).text, text);
}

#[test]
fn errors_are_located_in_their_file() {
    let top = "name: top\ninclude:\n  - ci/a.yml\njobs:\n  unit: { needs: [lnit] }\n";
    let a = "\n\njobs:\n  unit: { image: Rust, script: x }\n  lint: { image: x, scirpt: x }\n";
    let errors = of(&[("top.yml", top), ("ci/a.yml", a)]).unwrap_err();
    let positions: Vec<_> = errors
        .diagnostics
        .iter()
        .filter_map(|found| Some((found.file.as_deref(), found.location?.line, found.code.as_str())))
        .collect();
    assert!(positions.contains(&(Some("ci/a.yml"), 4, "bad-image")), "{positions:?}");
    assert!(positions.contains(&(None, 5, "unknown-need")), "{positions:?}");
    let shown = errors.diagnostics.iter().find(|found| found.code == "bad-image").unwrap().to_string();
    assert!(shown.starts_with("ci/a.yml:4:"), "{shown}");
}

#[test]
fn failed_includes_are_the_only_errors() {
    let top = "name: top\ninclude:\n  - ci/b.yml\n  - ci/none.yml\n  - https://example.org/x.yml\n  - ../up.yml\n  - { project: other, file: x }\n  - ci/*.yml\njobs:\n  unit: { needs: [gone], extends: .gone }\n";
    let b = "jobs:\n  other: { image: x, script: [\n";
    let errors = of(&[("top.yml", top), ("ci/b.yml", b)]).unwrap_err();
    insta::assert_snapshot!(errors.render(false));
}

#[test]
fn include_cycles_are_reported_and_bounded() {
    let top = "name: top\ninclude: a.yml\njobs: { a: { image: x, script: x } }\n";
    let errors =
        of(&[("top.yml", top), ("a.yml", "include: b.yml\n"), ("b.yml", "include: ./a.yml\n")]).unwrap_err();
    assert_eq!(errors.diagnostics[0].message, "these files include each other: a.yml -> b.yml -> a.yml");
    assert_eq!(errors.diagnostics[0].file.as_deref(), Some("b.yml"));
    let read = |path: &str| Ok(format!("include: {path}x\n"));
    let errors = assemble("top.yml", top, &read).unwrap_err();
    assert_eq!(errors.diagnostics[0].code, "too-many-files");
    let many: Vec<String> = (0..60).map(|n| format!("f{n}.yml")).collect();
    let top =
        format!("name: top\ninclude: [{}]\njobs: {{ a: {{ image: x, script: x }} }}\n", many.join(", "));
    let errors = assemble("top.yml", &top, &|_| Ok("variables: { A: b }\n".to_owned())).unwrap_err();
    assert_eq!(errors.diagnostics[0].code, "too-many-files");
    assert_eq!(errors.files.len(), MAX_FILES);
}

#[test]
fn unreadable_includes_count_toward_limit() {
    for names in [(0..5000).map(|n| format!("f{n}.yml")).collect::<Vec<_>>(), vec!["{}".to_owned(); 5000]] {
        let top = format!("name: top\ninclude: [{}]\n", names.join(", "));
        let reads = std::cell::Cell::new(0);
        let read = |_: &str| {
            reads.set(reads.get() + 1);
            Err(FileError::NotListed)
        };
        let errors = assemble("top.yml", &top, &read).unwrap_err();
        assert!(
            reads.get() < MAX_FILES && errors.diagnostics.len() <= MAX_FILES + 5,
            "{}",
            errors.diagnostics.len()
        );
        assert!(errors.diagnostics.iter().any(|one| one.code == "too-many-files"));
    }
}

#[test]
fn oversized_includes_are_rejected() {
    let value = "x".repeat(30_000);
    let read = |path: &str| {
        Ok::<_, FileError>((0..15).map(|n| format!("x{path}{n}: {value}\n")).collect::<String>())
    };
    let read_good = |path: &str| {
        let path = path.replace('.', "_");
        read(&path).map(|text| {
            format!("variables:\n{}", text.lines().map(|line| format!("  {line}\n")).collect::<String>())
        })
    };
    let top = "name: top\ninclude: [a, b, c]\njobs: { a: { image: x, script: x } }\n";
    let errors = assemble("top.yml", top, &read_good).unwrap_err();
    assert_eq!(errors.diagnostics[0].code, "file-too-large");
    let huge = assemble("top.yml", top, &|_| Ok("x".repeat(MAX_FILE_BYTES + 1))).unwrap_err();
    assert_eq!(huge.diagnostics[0].code, "include-unreadable");
}

#[test]
fn template_expansion_is_bounded() {
    let big = format!(
        "name: a\n.big: {{ variables: {{ {} }} }}\njobs:\n",
        (0..20_000).map(|n| format!("v{n}: x")).collect::<Vec<_>>().join(", ")
    );
    let jobs: String =
        (0..5_000).map(|n| format!("  j{n}: {{ extends: .big, image: x, script: x }}\n")).collect();
    let found = parse(&(big + &jobs)).unwrap_err();
    assert_eq!(found[0].code, "alias-bomb");
    let chain: String = (0..5_000).map(|n| format!(".t{n}: {{ extends: .t{} }}\n", n + 1)).collect();
    let found = parse(&format!(
        "name: a\n{chain}.t5000: {{ image: x }}\njobs: {{ a: {{ extends: .t0, script: x }} }}\n"
    ))
    .unwrap_err();
    assert_eq!(found[0].code, "too-deep");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// The composed text has the same values as the files.
    #[test]
    fn combined_text_parses_the_same(texts in prop::collection::vec("[ \\n\\t\u{85}\u{2028}a-c:#'\"{}\\[\\],&*!|>%@`\\\\~🌊-]{0,12}", 1..6)) {
        let lines: Vec<String> = texts.iter().map(|text| serde_json::to_string(&text.replace('\u{85}', "\\u0085")).unwrap()).collect();
        let top = format!(
            "name: top\ninclude: a.yml\nvariables: {{ A: {} }}\njobs: {{ a: {{ image: x, script: [echo, {}] }} }}\n",
            lines[0], lines.join(", ")
        );
        let assembled = of(&[("top.yml", &top), ("a.yml", "variables: { B: 1.10, C: ~x, D: 0x1F, E: 'null' }\n")]);
        let assembled = assembled.map_err(|errors| TestCaseError::fail(errors.render(false)))?;
        let again = parse(&assembled.text).map_err(|found| TestCaseError::fail(format!("{found:?}\n{}", assembled.text)))?;
        prop_assert_eq!(again, assembled.parsed.pipeline);
    }
}

#[test]
fn merging_of_large_files_is_bounded() {
    let file = |value: &str| {
        let jobs: String = (0..20_000).map(|n| format!("  .k{n}: {value}\n")).collect();
        format!("jobs:\n{jobs}")
    };
    let list =
        |names: &[&str], times: usize| format!("include: [{}]\n", vec![names.join(", "); times].join(", "));
    let top = format!("name: top\n{}", list(&["ci/a.yml", "ci/b.yml"], 25));
    let (a, b) = (file("{ retry: 1 }"), file("{ retry: 2 }"));
    let errors = of(&[("top.yml", &top), ("ci/a.yml", &a), ("ci/b.yml", &b)]).unwrap_err();
    let shown = errors.render(false);
    assert_eq!(
        shown.matches("merging the included files takes more than 1000000 steps").count(),
        1,
        "{shown}"
    );
    assert!(shown.contains("top.yml:2:"), "{shown}");
}
